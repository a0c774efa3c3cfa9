//! Choices that shape a plan.

use super::cast::TargetDtype;
use crate::config::ConfigOptions;
use crate::tokenizer::TokenizerSetup;

/// Choices that shape a plan.
#[derive(Clone, Debug, Default)]
pub struct PlanOptions {
    /// What the user says of the configuration.
    pub stated: ConfigOptions,
    /// Element type to write.
    pub dtype: TargetDtype,
    /// Leave variables without a role out instead of failing.
    pub allow_unknown: bool,
    /// Export a generator whose head transformers computes differently.
    pub allow_inexact: bool,
    /// Which weights to write, where a checkpoint holds averages too.
    pub weights: Weights,
    /// The vocabulary to write tokenizer files for.
    pub tokenizer: Option<TokenizerSetup>,
}

/// Which of a variable's values to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weights {
    /// The variable itself.
    #[default]
    Raw,
    /// Its moving average.
    Average,
}

impl Weights {
    /// The name in options, in JSON and in the metadata of the weights.
    pub fn key(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Average => "average",
        }
    }
}
