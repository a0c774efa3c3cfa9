//! What the user states of the configuration.

use std::path::PathBuf;

use candle_electra::{Activation, ElectraConfig};
use serde_json::{Map, Value};

use crate::config::epsilon::Epsilon;
use crate::config::task_kind::TaskKind;

pub(super) const HEADS: &str = "num_attention_heads";
pub(super) const ACTIVATION: &str = "hidden_act";
pub(super) const EPSILON: &str = "layer_norm_eps";
pub(super) const LAYERS: &str = "num_hidden_layers";

/// Values that nothing in a checkpoint tells and that a config.json can.
pub(super) const CARRIED: &[&str] = &[
    "attention_probs_dropout_prob",
    "bos_token_id",
    "classifier_dropout",
    "eos_token_id",
    "hidden_dropout_prob",
    "initializer_range",
    "pad_token_id",
    "summary_activation",
    "summary_last_dropout",
    "summary_type",
    "summary_use_proj",
    "use_cache",
];

/// What the user says of the configuration.
#[derive(Clone, Debug, Default)]
pub struct ConfigOptions {
    /// `--num-attention-heads`
    pub num_attention_heads: Option<usize>,
    /// `--hidden-act`
    pub hidden_act: Option<Activation>,
    /// `--layer-norm-eps`
    pub layer_norm_eps: Option<Epsilon>,
    /// `--config`
    pub config: Option<ConfigFile>,
    /// `--task`
    pub task: Option<String>,
    /// `--task-kind`
    pub task_kind: Option<TaskKind>,
    /// `--labels`
    pub labels: Option<Vec<String>>,
    /// What to take where nothing else shows a value: the configuration of a converted directory
    /// that is compared with the checkpoint.
    pub fallback: Option<Box<ElectraConfig>>,
}

/// A Hugging Face or BERT config.json.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// Where it was read from.
    pub path: PathBuf,
    /// Its keys.
    pub values: Map<String, Value>,
}

impl ConfigOptions {
    /// What it says of a generator when it describes the discriminator of the same checkpoint: the
    /// original code takes the generator's configuration from the discriminator's, but for sizes
    /// and head count.
    #[must_use]
    pub fn for_generator_beside(&self) -> Self {
        let mut stated = self.clone();
        stated.num_attention_heads = None;
        if let Some(config) = &mut stated.config {
            config.values.retain(|key, _| {
                key == ACTIVATION || key == EPSILON || CARRIED.contains(&key.as_str())
            });
        }
        stated
    }
}
