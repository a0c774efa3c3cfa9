//! What the head of a fine-tuned model predicts.

use std::fmt;

use candle_electra::ModelClass;

/// What a head says something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    /// Each token.
    Tagging,
    /// The whole text.
    Classification,
    /// Where an answer starts and ends.
    Span,
    /// Which of several texts; in transformers' code only.
    Choice,
}

/// Kind, its name in options and in JSON, and its class.
#[rustfmt::skip]
const KINDS: &[(TaskKind, &str, ModelClass)] = &[
    (TaskKind::Tagging,        "tagging",         ModelClass::TokenClassification),
    (TaskKind::Classification, "classification",  ModelClass::SequenceClassification),
    (TaskKind::Span,           "span",            ModelClass::QuestionAnswering),
    (TaskKind::Choice,         "multiple_choice", ModelClass::MultipleChoice),
];

impl TaskKind {
    /// Returns the name in options and in JSON.
    pub fn key(self) -> &'static str {
        self.row().1
    }

    /// Returns the class that computes it.
    pub fn class(self) -> ModelClass {
        self.row().2
    }

    /// Returns the kind that a class computes; `None` for a class of pre-training.
    pub fn of_class(class: ModelClass) -> Option<Self> {
        let row = KINDS.iter().find(|row| row.2 == class);
        row.map(|row| row.0)
    }

    /// True for the kinds that `--task-kind` can state, where variables alone do not show them.
    pub fn can_be_stated(self) -> bool {
        self != Self::Choice
    }

    fn row(self) -> &'static (Self, &'static str, ModelClass) {
        let mut rows = KINDS.iter();
        rows.find(|row| row.0 == self)
            .expect("every kind has a row")
    }
}

impl fmt::Display for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.key())
    }
}
