//! Compares config.json with the configuration that the checkpoint shows.

use candle_electra::ElectraConfig;

use super::failure::Failure;
use crate::plan::Plan;

/// Compares the values for which the plan has evidence: shapes, the training graph, and the params.yaml of the
/// training run.
pub(super) fn check(config: &ElectraConfig, plan: &Plan, failures: &mut Vec<Failure>) {
    let [found, expected] =
        [config, plan.config()].map(|config| serde_json::to_value(config).expect("plain data"));
    for (&key, source) in &plan.resolved.sources {
        if source.is_evidence() && found[key] != expected[key] {
            failures.push(Failure::Config {
                key,
                found: found[key].to_string(),
                expected: format!("{} ({source})", expected[key]),
            });
        }
    }
}

/// Checks that the head count divides the hidden size: no shape of a tensor shows it.
pub(super) fn check_heads(config: &ElectraConfig, failures: &mut Vec<Failure>) {
    let (heads, hidden) = (config.num_attention_heads, config.hidden_size);
    if heads == 0 || !hidden.is_multiple_of(heads) {
        failures.push(Failure::IndivisibleHeads { heads, hidden });
    }
}
