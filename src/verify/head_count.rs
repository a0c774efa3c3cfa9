//! Compares the head count in config.json with what the weights show.

use std::collections::BTreeMap;

use candle_electra::ElectraConfig;

use super::failure::Failure;
use crate::config::HeadCount;
use crate::export::CONFIG_FILE;

/// The head count in config.json, and what the weights show of it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct HeadCountReport {
    /// `num_attention_heads`
    pub configured: usize,
    /// What the weights show.
    pub found: HeadCount,
}

/// Another decided count is a failure. `norms` are those of the attention matrices, by name.
pub(super) fn check(
    config: &ElectraConfig,
    norms: &BTreeMap<String, Vec<f64>>,
    failures: &mut Vec<Failure>,
) -> HeadCountReport {
    let norms: Vec<Vec<f64>> = norms.values().cloned().collect();
    let found = HeadCount::new(config.hidden_size, &norms);
    let configured = config.num_attention_heads;
    if let HeadCount::Decided { count, margin } = found
        && count != configured
    {
        let what =
            format!("{count} attention heads (margin {margin:.0}), {CONFIG_FILE} has {configured}");
        failures.push(Failure::Heads { what });
    }
    HeadCountReport { configured, found }
}
