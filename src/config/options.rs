//! The user's choices about the configuration.

use candle_electra::{Activation, ElectraConfig};

use crate::config::config_file::ConfigFile;
use crate::config::epsilon::Epsilon;
use crate::config::evaluated::Evaluated;
use crate::config::params::ParamsFile;
use crate::config::task_kind::TaskKind;

/// The user's choices about the configuration; each is an option of the command line.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConfigOptions {
    /// `--num-attention-heads`
    pub num_attention_heads: Option<usize>,
    /// `--hidden-act`
    pub hidden_act: Option<Activation>,
    /// `--layer-norm-eps`
    pub layer_norm_eps: Option<Epsilon>,
    /// `--config`
    pub file: Option<ConfigFile>,
    /// `--task`
    pub task: Option<String>,
    /// `--task-kind`
    pub task_kind: Option<TaskKind>,
    /// `--labels`
    pub labels: Option<Vec<String>>,
    /// The configuration of an earlier export, which is compared with the checkpoint: the source of
    /// values that nothing else shows.
    pub fallback: Option<Box<ElectraConfig>>,
    /// What an evaluation of the training graph determined, where no rule recognises the graph.
    pub(crate) evaluated: Option<Evaluated>,
    /// The params.yaml of the training run, if Model Garden's code wrote the checkpoint.
    pub(crate) params: Option<ParamsFile>,
}

impl ConfigOptions {
    /// Returns the options for a generator, if `self` describes the discriminator of the same
    /// checkpoint: the original code derives the generator's configuration from the discriminator's,
    /// except sizes and head count.
    #[must_use]
    pub fn for_generator_beside(&self) -> Self {
        let mut options = self.clone();
        options.num_attention_heads = None;
        options.file = options.file.map(ConfigFile::without_sizes);
        options
    }
}
