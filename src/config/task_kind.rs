//! The kinds of tasks that a fine-tuned model is trained for.

use std::fmt;

use candle_electra::ModelClass;

/// What the head of a fine-tuned model classifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskKind {
    /// Each token.
    Tagging,
    /// The whole text.
    Classification,
    /// The start and the end of an answer.
    Span,
    /// One of several texts; only in transformers' code.
    Choice,
}

/// Each kind with its name in options and JSON, and its class.
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

    /// Returns the class that computes a head of this kind.
    pub fn class(self) -> ModelClass {
        self.row().2
    }

    /// Returns the kind that a class computes; `None` for the classes of pre-training.
    pub fn of_class(class: ModelClass) -> Option<Self> {
        let row = KINDS.iter().find(|row| row.2 == class);
        row.map(|row| row.0)
    }

    /// Returns true if `--task-kind` can give the kind: variables do not always show it.
    pub fn can_be_given(self) -> bool {
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
