//! The models that can be exported.

use std::fmt;

/// What can be exported: one of the two models, or what was made of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Model {
    /// Tells which tokens were replaced; what ELECTRA is for.
    Discriminator,
    /// Fills masked tokens.
    Generator,
    /// A discriminator with the head of a task.
    FineTuned,
}

impl Model {
    /// All, in the order in which they are listed.
    pub const ALL: [Self; 3] = [Self::Discriminator, Self::Generator, Self::FineTuned];
    /// The two of pre-training.
    pub const BOTH: [Self; 2] = [Self::Discriminator, Self::Generator];

    /// The name in options, JSON and folder names.
    pub fn key(self) -> &'static str {
        match self {
            Self::Discriminator => "discriminator",
            Self::Generator => "generator",
            Self::FineTuned => "finetuned",
        }
    }

    /// What people call it.
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
