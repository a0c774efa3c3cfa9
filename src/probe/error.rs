//! Errors of running a model on text.

use std::path::PathBuf;

use crate::export::LoadError;
use crate::progress::Stopped;

/// An error of running a model on text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The files of the model cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The directory has no tokenizer.
    #[error(
        "{} is missing: convert the checkpoint again with --vocab FILE --force",
        path.display()
    )]
    NoTokenizer {
        /// The missing file.
        path: PathBuf,
    },
    /// The tokenizer cannot be read.
    #[error("{} is not a valid tokenizer: {what}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The class of the model is neither a generator nor a discriminator.
    #[error(
        "{} holds {}, which has neither the head of a generator nor that of a discriminator: give a \
         directory of one of them",
        folder.display(),
        if class.is_empty() { "a model without a class" } else { class.as_str() }
    )]
    NoHead {
        /// The directory.
        folder: PathBuf,
        /// Its class.
        class: String,
    },
    /// A discriminator where a generator is needed.
    #[error(
        "the model is a discriminator, a generator is needed: give the directory of a generator"
    )]
    NotAGenerator,
    /// A generator where a discriminator is needed.
    #[error(
        "the model is a generator, a discriminator is needed: give the directory of a discriminator"
    )]
    NotADiscriminator,
    /// The text cannot be tokenized.
    #[error("the text cannot be tokenized: {0}")]
    Encode(String),
    /// The text is too short for a measurement.
    #[error(
        "{}: {found} tokens are too few for a measurement: give a few kilobytes of text",
        path.display()
    )]
    TooLittleText {
        /// The file.
        path: PathBuf,
        /// Number of tokens found.
        found: usize,
    },
    /// Generator and discriminator have different vocabularies; their numbers of tokens.
    #[error(
        "generator and discriminator have vocabularies of {0} and {1} tokens: give two models of the same \
         checkpoint"
    )]
    OtherVocabulary(usize, usize),
    /// config.json and model.safetensors do not match.
    #[error("the model in {} cannot be loaded: {what}", folder.display())]
    Unfit {
        /// The directory.
        folder: PathBuf,
        /// What does not match.
        what: String,
    },
    /// [`Progress`](crate::Progress) cancelled the work.
    #[error("interrupted")]
    Interrupted,
    /// A computation failed.
    #[error("the model cannot be run")]
    Candle(#[from] candle_core::Error),
}

impl From<Stopped> for Error {
    fn from(Stopped: Stopped) -> Self {
        Self::Interrupted
    }
}
