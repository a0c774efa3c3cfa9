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

/// A role in words.
struct Named {
    role: Role,
    /// The name in JSON.
    key: &'static str,
    /// The name in text.
    text: &'static str,
    /// The reason why an export does without such variables.
    reason: &'static str,
}

const OTHER_MODEL: &str = "part of a model that is not in this export";
const OTHER_HEAD: &str = "a head that the class of this export does not have";
const OTHER_VALUES: &str = "this export has the other values of these weights";
const TRAINING: &str = "needed only to continue the training";

const NAMES: &[Named] = &[
    row(Role::Embeddings, "embeddings", "embeddings", OTHER_MODEL),
    row(Role::Encoder, "encoder", "encoder", OTHER_MODEL),
    row(
        Role::DiscriminatorHead,
        "discriminator_head",
        "discriminator head",
        OTHER_HEAD,
    ),
    row(
        Role::GeneratorEmbeddings,
        "generator_embeddings",
        "generator embeddings",
        OTHER_MODEL,
    ),
    row(
        Role::GeneratorEncoder,
        "generator_encoder",
        "generator encoder",
        OTHER_MODEL,
    ),
    row(
        Role::GeneratorHead,
        "generator_head",
        "generator head",
        OTHER_HEAD,
    ),
    row(
        Role::ElectricGenerator,
        "electric_generator",
        "Electric generator",
        "no class of transformers has the two towers of Electric",
    ),
    row(Role::TaskHead, "task_head", "fine-tuning head", OTHER_HEAD),
    row(
        Role::Pooler,
        "pooler",
        "pooler",
        "no ELECTRA has this layer",
    ),
    row(
        Role::SentenceHead,
        "sentence_head",
        "next-sentence head",
        "no ELECTRA predicts the next sentence",
    ),
    row(Role::RawWeight, "raw_weight", "raw weights", OTHER_VALUES),
    row(Role::Average, "average", "moving averages", OTHER_VALUES),
    row(
        Role::OptimizerSlot,
        "optimizer_slot",
        "optimizer state",
        TRAINING,
    ),
    row(
        Role::Temperature,
        "temperature",
        "sampling temperature",
        "used only to draw tokens during training",
    ),
    row(
        Role::StepCounter,
        "step_counter",
        "step counter",
        "not a weight; the step is in the metadata of model.safetensors",
    ),
    row(Role::Bookkeeping, "bookkeeping", "bookkeeping", TRAINING),
    row(
        Role::Unknown,
        "unknown",
        "unknown",
        "not part of any ELECTRA; left out by --allow-unknown",
    ),
];

const fn row(role: Role, key: &'static str, text: &'static str, reason: &'static str) -> Named {
    Named {
        role,
        key,
        text,
        reason,
    }
}

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
        self.named().key
    }

    /// Returns the reason why an export does without variables of this role.
    pub fn reason(self) -> &'static str {
        self.named().reason
    }

    fn named(self) -> &'static Named {
        NAMES
            .iter()
            .find(|named| named.role == self)
            .expect("every role has a row")
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.named().text)
    }
}
