//! What a variable is for.

use std::fmt;

use candle_electra::Part;

use crate::variables::names::{self, ELECTRA_BODY, ELECTRA_EMBEDDINGS, GENERATOR_EMBEDDINGS};

/// What a variable is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// `electra/embeddings/`
    Embeddings,
    /// The rest of `electra/`.
    Encoder,
    /// `discriminator_predictions/`
    DiscriminatorHead,
    /// `generator/embeddings/`
    GeneratorEmbeddings,
    /// The rest of `generator/`.
    GeneratorEncoder,
    /// `generator_predictions/`
    GeneratorHead,
    /// The two-tower generator of Electric and its head.
    ElectricGenerator,
    /// `task_specific/TASK/`, or the head of a class of transformers.
    TaskHead,
    /// The raw weight where averages are exported.
    RawWeight,
    /// The moving average of a weight.
    Average,
    /// Adam's moments of another variable, and what else an optimizer keeps.
    OptimizerSlot,
    /// `generator_predictions/temperature`, for drawing tokens.
    Temperature,
    /// `global_step`
    StepCounter,
    /// Counters, iterators, metrics, TensorFlow 2's graph of objects.
    Bookkeeping,
    /// None of these.
    Unknown,
}

/// Name in JSON, name in text.
const LABELS: &[(Role, &str, &str)] = &[
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
    (Role::RawWeight, "raw_weight", "raw weights"),
    (Role::Average, "average", "moving averages"),
    (Role::OptimizerSlot, "optimizer_slot", "optimizer state"),
    (Role::Temperature, "temperature", "sampling temperature"),
    (Role::StepCounter, "step_counter", "step counter"),
    (Role::Bookkeeping, "bookkeeping", "bookkeeping"),
    (Role::Unknown, "unknown", "unknown"),
];

/// Roles by the start of a name, for what the name table does not list.
const PREFIXES: &[(&str, Role)] = &[
    ("generator_ltr/", Role::ElectricGenerator),
    ("generator_rtl/", Role::ElectricGenerator),
    ("cloze_predictions/", Role::ElectricGenerator),
    ("task_specific/", Role::TaskHead),
];
impl Role {
    /// True for the state of a training run, which is no weight of any model.
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

    /// The role of a weight of this name.
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
        PREFIXES
            .iter()
            .find(|(prefix, _)| name.starts_with(prefix))
            .map_or(Self::Unknown, |(_, role)| *role)
    }

    /// Name in JSON.
    pub fn key(self) -> &'static str {
        self.label().1
    }

    fn label(self) -> &'static (Self, &'static str, &'static str) {
        LABELS
            .iter()
            .find(|row| row.0 == self)
            .expect("every role has a label")
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label().2)
    }
}
