//! The user's choices about an export.

use std::path::PathBuf;

use super::cast::TargetDtype;
use crate::config::ConfigOptions;
use crate::tokenizer::TokenizerSetup;

/// The user's choices about an export.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PlanOptions {
    /// Choices about the configuration.
    pub config: ConfigOptions,
    /// The element type to write.
    pub dtype: TargetDtype,
    /// True to leave variables without a role out; otherwise they are an error.
    pub allow_unknown: bool,
    /// True to export a generator whose head transformers computes differently; otherwise it is an error.
    pub allow_inexact: bool,
    /// The weights to write, if a checkpoint also holds moving averages.
    pub weights: Weights,
    /// The tokenizer to write.
    pub tokenizer: TokenizerChoice,
}

/// The tokenizer of an export.
#[derive(Clone, Debug, Default)]
pub enum TokenizerChoice {
    /// Tokenizer files are written for a vocabulary.
    Write(Box<TokenizerSetup>),
    /// None is written: no vocabulary was found at these paths, of which the plan warns.
    NotFound(Vec<PathBuf>),
    /// None is written.
    #[default]
    Omit,
}

impl TokenizerChoice {
    /// Returns the tokenizer to write.
    pub fn setup(&self) -> Option<&TokenizerSetup> {
        match self {
            Self::Write(setup) => Some(setup),
            Self::NotFound(_) | Self::Omit => None,
        }
    }

    /// Returns where a vocabulary was looked for, such as ` (looked for a/vocab.txt)`; empty if it was not.
    pub(crate) fn looked_for(&self) -> String {
        let Self::NotFound(places) = self else {
            return String::new();
        };
        let places = places.iter().map(|path| path.display().to_string());
        let places: Vec<String> = places.collect();
        format!(" (looked for {})", places.join(", "))
    }
}

/// The values of a variable to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Weights {
    /// The variable itself.
    #[default]
    Raw,
    /// Its moving average.
    Average,
}

impl Weights {
    /// Returns the name in options, in JSON and in the metadata of the weights.
    pub fn key(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Average => "average",
        }
    }
}
