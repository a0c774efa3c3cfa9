//! The eight classes of transformers.

use std::fmt;

use crate::config::ElectraConfig;
use crate::tensors::{Part, TENSORS};

/// A class of transformers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "named as the classes are")]
pub enum ModelClass {
    Model,
    PreTraining,
    MaskedLm,
    TokenClassification,
    SequenceClassification,
    QuestionAnswering,
    MultipleChoice,
    CausalLm,
}

/// Class, name, head; in the order of transformers' documentation. A new class is one more row.
#[rustfmt::skip]
const CLASSES: &[(ModelClass, &str, Option<Part>)] = &[
    (ModelClass::Model,                  "ElectraModel",                     None),
    (ModelClass::PreTraining,            "ElectraForPreTraining",            Some(Part::DiscriminatorHead)),
    (ModelClass::MaskedLm,               "ElectraForMaskedLM",               Some(Part::GeneratorHead)),
    (ModelClass::TokenClassification,    "ElectraForTokenClassification",    Some(Part::TokenClassificationHead)),
    (ModelClass::SequenceClassification, "ElectraForSequenceClassification", Some(Part::SequenceClassificationHead)),
    (ModelClass::QuestionAnswering,      "ElectraForQuestionAnswering",      Some(Part::QuestionAnsweringHead)),
    (ModelClass::MultipleChoice,         "ElectraForMultipleChoice",         Some(Part::MultipleChoiceHead)),
    (ModelClass::CausalLm,               "ElectraForCausalLM",               Some(Part::GeneratorHead)),
];

/// The decoder of a language model, tied to the word embeddings unless a file has it.
pub const DECODER_WEIGHT: &str = "generator_lm_head.weight";
/// What a decoder is tied to.
pub const WORD_EMBEDDINGS: &str = "electra.embeddings.word_embeddings.weight";

/// Outputs of question answering: start and end of the answer.
pub(crate) const SPAN_OUTPUTS: usize = 2;

impl ModelClass {
    /// Returns all eight classes.
    pub fn all() -> impl Iterator<Item = Self> {
        CLASSES.iter().map(|(class, _, _)| *class)
    }

    /// Returns the class of this name, such as `ElectraForMaskedLM`.
    pub fn from_name(name: &str) -> Option<Self> {
        let row = CLASSES.iter().find(|(_, known, _)| *known == name);
        row.map(|(class, _, _)| *class)
    }

    /// Returns the name in transformers and in config.json.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Returns the head; `None` for the bare model.
    pub fn head(self) -> Option<Part> {
        self.row().2
    }

    /// True if it predicts tokens, with a decoder that may be tied.
    pub fn has_decoder(self) -> bool {
        self.head() == Some(Part::GeneratorHead)
    }

    /// True if it has logits for each token, not for each sequence.
    pub fn is_per_token(self) -> bool {
        !matches!(self, Self::SequenceClassification | Self::MultipleChoice)
    }

    /// False where transformers loads the class and cannot run it: its question answering has an
    /// output for each label, and needs two.
    pub fn can_run(self, config: &ElectraConfig) -> bool {
        self != Self::QuestionAnswering || config.num_labels() == SPAN_OUTPUTS
    }

    /// Returns every tensor of the class with its shape, except a decoder weight that is tied.
    pub fn tensors(self, config: &ElectraConfig) -> Vec<(String, Vec<usize>)> {
        let mut tensors = Vec::new();
        for spec in TENSORS {
            for layer in 0..spec.part.count(config, self.head()) {
                tensors.push((spec.name_in(layer), spec.shape_in(config)));
            }
        }
        tensors
    }

    fn row(self) -> &'static (Self, &'static str, Option<Part>) {
        let mut rows = CLASSES.iter();
        rows.find(|(class, _, _)| *class == self)
            .expect("every class has a row")
    }
}

impl fmt::Display for ModelClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
