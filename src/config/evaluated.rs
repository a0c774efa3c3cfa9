//! Settings that an evaluation of the training graph determined.

use std::path::PathBuf;

use candle_electra::{Activation, ElectraConfig};

use crate::config::candidate::{Candidate, ValueSource};
use crate::config::epsilon::Epsilon;

/// Settings with which the model computes what the training graph computes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evaluated {
    /// The `.meta` file.
    pub(crate) path: PathBuf,
    /// The largest deviation of the two, relative to the largest value, or to 1.
    pub(crate) deviation: f64,
    /// The number of attention heads, if it was in doubt.
    pub(crate) heads: Option<usize>,
    /// The activation, if it was in doubt.
    pub(crate) activation: Option<Activation>,
    /// The epsilon of LayerNorm, if it was in doubt.
    pub(crate) epsilon: Option<Epsilon>,
}

impl Evaluated {
    /// Returns a value as a candidate, if it was in doubt.
    pub(super) fn candidate<T>(&self, value: Option<T>) -> Option<Candidate<T>> {
        let source = ValueSource::EvaluatedGraph {
            path: self.path.clone(),
            deviation: self.deviation,
        };
        value.map(|value| Candidate::new(value, source))
    }

    /// Returns a configuration with these settings.
    pub(crate) fn applied_to(&self, config: &ElectraConfig) -> ElectraConfig {
        let mut config = config.clone();
        if let Some(heads) = self.heads {
            config.num_attention_heads = heads;
        }
        if let Some(activation) = self.activation {
            config.hidden_act = activation;
        }
        if let Some(epsilon) = self.epsilon {
            config.layer_norm_eps = epsilon.value();
        }
        config
    }
}
