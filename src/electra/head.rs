//! The eight Hugging Face classes and the tensors that each expects.
//!
//! Heads that a checkpoint holds have their tensors in the name table; those that start anew in
//! fine-tuning are listed here. A new head is one more row.

use std::fmt;

use super::config::ElectraConfig;
use super::names::{self, Part};

/// A class of transformers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "named as the classes are")]
pub enum Head {
    Model,
    PreTraining,
    MaskedLm,
    TokenClassification,
    SequenceClassification,
    QuestionAnswering,
    MultipleChoice,
    CausalLm,
}

/// A size of a head's own tensors.
#[derive(Clone, Copy, Debug)]
enum Size {
    Hidden,
    Labels,
    Fixed(usize),
}

struct Row {
    head: Head,
    class: &'static str,
    /// The head's tensors, if a checkpoint can hold them.
    part: Option<Part>,
    /// The head's tensors otherwise.
    own: &'static [(&'static str, &'static [Size])],
}

/// Start and end of an answer.
const SPAN_ENDS: usize = 2;

use Size::{Fixed, Hidden, Labels};

#[rustfmt::skip]
const TABLE: &[Row] = &[
    Row { head: Head::Model,       class: "ElectraModel",          part: None,                          own: &[] },
    Row { head: Head::PreTraining, class: "ElectraForPreTraining", part: Some(Part::DiscriminatorHead), own: &[] },
    Row { head: Head::MaskedLm,    class: "ElectraForMaskedLM",    part: Some(Part::GeneratorHead),     own: &[] },
    Row {
        head: Head::TokenClassification,
        class: "ElectraForTokenClassification",
        part: None,
        own: &[
            ("classifier.bias", &[Labels]),
            ("classifier.weight", &[Labels, Hidden]),
        ],
    },
    Row {
        head: Head::SequenceClassification,
        class: "ElectraForSequenceClassification",
        part: None,
        own: &[
            ("classifier.dense.bias", &[Hidden]),
            ("classifier.dense.weight", &[Hidden, Hidden]),
            ("classifier.out_proj.bias", &[Labels]),
            ("classifier.out_proj.weight", &[Labels, Hidden]),
        ],
    },
    Row {
        head: Head::QuestionAnswering,
        class: "ElectraForQuestionAnswering",
        part: None,
        own: &[
            ("qa_outputs.bias", &[Labels]),
            ("qa_outputs.weight", &[Labels, Hidden]),
        ],
    },
    Row {
        head: Head::MultipleChoice,
        class: "ElectraForMultipleChoice",
        part: None,
        own: &[
            ("classifier.bias", &[Fixed(1)]),
            ("classifier.weight", &[Fixed(1), Hidden]),
            ("sequence_summary.summary.bias", &[Hidden]),
            ("sequence_summary.summary.weight", &[Hidden, Hidden]),
        ],
    },
    Row { head: Head::CausalLm,    class: "ElectraForCausalLM",    part: Some(Part::GeneratorHead),     own: &[] },
];

/// The decoder of a language model head, tied to the word embeddings unless a file has it.
pub const DECODER_WEIGHT: &str = "generator_lm_head.weight";
/// What a decoder is tied to.
pub const WORD_EMBEDDINGS: &str = "electra.embeddings.word_embeddings.weight";

impl Head {
    /// All eight, in the order of transformers' documentation.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.head)
    }

    /// The head of a class, by its name in config.json.
    pub fn of_class(class: &str) -> Option<Self> {
        TABLE
            .iter()
            .find(|row| row.class == class)
            .map(|row| row.head)
    }

    /// The class name.
    pub fn class(self) -> &'static str {
        self.row().class
    }

    /// The part of the name table that it has beside embeddings and encoder.
    pub fn part(self) -> Option<Part> {
        self.row().part
    }

    /// True when it predicts tokens, with a decoder that may be tied.
    pub fn has_decoder(self) -> bool {
        self.row().part == Some(Part::GeneratorHead)
    }

    /// False where transformers loads the class and cannot run it: it gives question answering an
    /// output for each label, and needs two.
    pub fn can_run(self, config: &ElectraConfig) -> bool {
        self != Self::QuestionAnswering || config.num_labels() == SPAN_ENDS
    }

    /// Every tensor of the class with its shape, but for a tied decoder.
    pub fn tensors(self, config: &ElectraConfig) -> Vec<(String, Vec<usize>)> {
        let row = self.row();
        let size = |size: &Size| match size {
            Hidden => config.hidden_size,
            Labels => config.num_labels(),
            Fixed(n) => *n,
        };
        let own = row.own.iter().map(|(name, shape)| {
            let shape = shape.iter().map(size).collect();
            ((*name).to_owned(), shape)
        });
        names::tensors(config, row.part)
            .map(|(rule, layer)| (rule.tensor(layer), rule.tensor_shape(config)))
            .chain(own)
            .collect()
    }

    fn row(self) -> &'static Row {
        TABLE
            .iter()
            .find(|row| row.head == self)
            .expect("every head has a row")
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.class())
    }
}
