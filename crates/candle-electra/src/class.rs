//! The eight ELECTRA classes of transformers.

use std::fmt;

use crate::config::ElectraConfig;
use crate::tensors::{Part, TENSORS};

/// An ELECTRA class of transformers.
///
/// ```
/// use candle_electra::{ElectraConfig, ModelClass};
///
/// let class = ModelClass::from_name("ElectraForPreTraining").unwrap();
/// let tensors = class.tensors(&ElectraConfig::default());
/// let (name, shape) = tensors.last().unwrap();
/// assert_eq!(name, "discriminator_predictions.dense_prediction.bias");
/// assert_eq!(shape, &[1]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModelClass {
    /// `ElectraModel`: no head.
    Model,
    /// `ElectraForPreTraining`: the discriminator.
    PreTraining,
    /// `ElectraForMaskedLM`: the generator.
    MaskedLm,
    /// `ElectraForTokenClassification`
    TokenClassification,
    /// `ElectraForSequenceClassification`
    SequenceClassification,
    /// `ElectraForQuestionAnswering`
    QuestionAnswering,
    /// `ElectraForMultipleChoice`
    MultipleChoice,
    /// `ElectraForCausalLM`: the tensors of `ElectraForMaskedLM`, with causal attention.
    CausalLm,
}

/// Class, name, head; in the order of transformers' documentation.
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

/// The decoder weight of a language model, `[vocabulary, embedding]`. It is tied to the word embeddings
/// in a file without it.
pub const DECODER_WEIGHT: &str = "generator_lm_head.weight";
/// The word embeddings, `[vocabulary, embedding]`, to which a decoder may be tied.
pub const WORD_EMBEDDINGS: &str = "electra.embeddings.word_embeddings.weight";

/// The outputs of question answering: start and end of the answer.
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

    /// Returns the name of the class in transformers and in config.json.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Returns the head; `None` for the bare model.
    pub fn head(self) -> Option<Part> {
        self.row().2
    }

    /// Returns true for the language models, whose decoder may be tied to the word embeddings.
    pub fn has_decoder(self) -> bool {
        self.head() == Some(Part::GeneratorHead)
    }

    /// Returns true if the class has outputs for each token, not for each sequence.
    pub fn is_per_token(self) -> bool {
        !matches!(self, Self::SequenceClassification | Self::MultipleChoice)
    }

    /// Returns false if transformers loads the class with this configuration but cannot run it: question
    /// answering has one output for each label and needs exactly two.
    pub fn can_run(self, config: &ElectraConfig) -> bool {
        self != Self::QuestionAnswering || config.num_labels() == SPAN_OUTPUTS
    }

    /// Returns the name and the shape of every tensor of the class, in the order in which they are loaded;
    /// without [`DECODER_WEIGHT`], which is optional.
    pub fn tensors(self, config: &ElectraConfig) -> Vec<(String, Vec<usize>)> {
        let mut tensors = Vec::new();
        for part in TENSORS.chunk_by(|a, b| a.part == b.part) {
            for layer in 0..part[0].part.count(config, self.head()) {
                let layer = part
                    .iter()
                    .map(|spec| (spec.name_in(layer), spec.shape_in(config)));
                tensors.extend(layer);
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
