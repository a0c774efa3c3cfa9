//! The models that can be exported.

use std::fmt;

/// A model that can be exported from a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Model {
    /// Detects replaced tokens; the encoder used for fine-tuning.
    Discriminator,
    /// Predicts masked tokens.
    Generator,
    /// A discriminator's encoder with the head of a task.
    FineTuned,
}

impl Model {
    /// All models, in the order in which they are listed.
    pub const ALL: [Self; 3] = [Self::Discriminator, Self::Generator, Self::FineTuned];
    /// The two models of pre-training.
    pub const BOTH: [Self; 2] = [Self::Discriminator, Self::Generator];

    /// Returns the name in options, JSON and directory names.
    pub fn key(self) -> &'static str {
        match self {
            Self::Discriminator => "discriminator",
            Self::Generator => "generator",
            Self::FineTuned => "finetuned",
        }
    }

    /// Returns the name in messages.
    pub fn noun(self) -> &'static str {
        match self {
            Self::FineTuned => "fine-tuned model",
            _ => self.key(),
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.noun())
    }
}
