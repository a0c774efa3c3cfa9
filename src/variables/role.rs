//! The role of a variable.

use std::fmt;

use candle_electra::Part;

use crate::variables::names::{
    self, ELECTRA_BODY, ELECTRA_EMBEDDINGS, GENERATOR_EMBEDDINGS, TASK_HEAD,
};

/// The role of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Variables in `electra/embeddings/`.
    Embeddings,
    /// All other variables in `electra/`.
    Encoder,
    /// Variables in `discriminator_predictions/`.
    DiscriminatorHead,
    /// Variables in `generator/embeddings/`.
    GeneratorEmbeddings,
    /// All other variables in `generator/`.
    GeneratorEncoder,
    /// Variables in `generator_predictions/`.
    GeneratorHead,
    /// The two-tower generator of Electric and its head.
    ElectricGenerator,
    /// Variables in `task_specific/TASK/`, or in the head of a transformers class.
    TaskHead,
    /// The dense layer behind a Model Garden encoder, which no ELECTRA has.
    Pooler,
    /// The head for the next sentence of a Model Garden generator, which ELECTRA does not use.
    SentenceHead,
    /// A raw weight whose moving average is exported instead.
    RawWeight,
    /// The moving average of a weight.
    Average,
    /// Adam's moments of another variable, and other state of an optimizer.
    OptimizerSlot,
    /// `generator_predictions/temperature`, used to sample tokens.
    Temperature,
    /// `global_step`.
    StepCounter,
    /// Counters, iterators, metrics, TensorFlow 2's object graph.
    Bookkeeping,
    /// Any other variable.
    Unknown,
}

/// Each role with its name in JSON and its name in text.
const NAMES: &[(Role, &str, &str)] = &[
    (Role::Embeddings, "embeddings", "embeddings"),
    (Role::Encoder, "encoder", "encoder"),
    (
        Role::DiscriminatorHead,
        "discriminator_head",
        "discriminator head",
    ),
    (
        Role::GeneratorEmbeddings,
        "generator_embeddings",
        "generator embeddings",
    ),
    (
        Role::GeneratorEncoder,
        "generator_encoder",
        "generator encoder",
    ),
    (Role::GeneratorHead, "generator_head", "generator head"),
    (
        Role::ElectricGenerator,
        "electric_generator",
        "Electric generator",
    ),
    (Role::TaskHead, "task_head", "fine-tuning head"),
    (Role::Pooler, "pooler", "pooler"),
    (Role::SentenceHead, "sentence_head", "next-sentence head"),
    (Role::RawWeight, "raw_weight", "raw weights"),
    (Role::Average, "average", "moving averages"),
    (Role::OptimizerSlot, "optimizer_slot", "optimizer state"),
    (Role::Temperature, "temperature", "sampling temperature"),
    (Role::StepCounter, "step_counter", "step counter"),
    (Role::Bookkeeping, "bookkeeping", "bookkeeping"),
    (Role::Unknown, "unknown", "unknown"),
];

/// Roles by scope, for variables that are not in the name table.
const SCOPES: &[(&str, Role)] = &[
    ("generator_ltr", Role::ElectricGenerator),
    ("generator_rtl", Role::ElectricGenerator),
    ("cloze_predictions", Role::ElectricGenerator),
    (TASK_HEAD, Role::TaskHead),
];

impl Role {
    /// Returns true for the state of a training run, which is not a weight of any model.
    pub(crate) fn is_state(self) -> bool {
        matches!(
            self,
            Self::Average
                | Self::OptimizerSlot
                | Self::Temperature
                | Self::StepCounter
                | Self::Bookkeeping
        )
    }

    /// Returns the role of a weight with this name.
    pub fn of(name: &str) -> Self {
        if let Some(found) = names::lookup(name) {
            return match (found.rule.part(), found.scope) {
                (Part::DiscriminatorHead, _) => Self::DiscriminatorHead,
                (Part::GeneratorHead, _) => Self::GeneratorHead,
                (part, _) if part.is_task_head() => Self::TaskHead,
                (_, Some(ELECTRA_EMBEDDINGS)) => Self::Embeddings,
                (_, Some(GENERATOR_EMBEDDINGS)) => Self::GeneratorEmbeddings,
                (_, Some(ELECTRA_BODY)) => Self::Encoder,
                _ => Self::GeneratorEncoder,
            };
        }
        SCOPES
            .iter()
            .find(|(scope, _)| names::below(name, scope).is_some())
            .map_or(Self::Unknown, |(_, role)| *role)
    }

    /// Returns the name in JSON.
    pub fn key(self) -> &'static str {
        self.row().1
    }

    fn row(self) -> &'static (Self, &'static str, &'static str) {
        NAMES
            .iter()
            .find(|row| row.0 == self)
            .expect("every role has a row")
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.row().2)
    }
}
