//! What the comparison with the training graph found.

use std::fmt;

/// The comparison of a model with the training graph.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GraphReport {
    /// The outputs that were evaluated in both.
    pub outputs: Vec<ComparedOutput>,
    /// The number of nodes of the graph that were computed, for all outputs.
    pub nodes: usize,
    /// The outputs that were not evaluated.
    pub not_evaluated: Vec<NotEvaluated>,
    /// Time taken, in seconds.
    pub seconds: f64,
}

/// An output that the model and the training graph both computed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ComparedOutput {
    /// Its name, such as `discriminator logits`.
    pub name: String,
    /// The largest absolute deviation, relative to the largest value of the output, or to 1.
    pub deviation: f64,
    /// The largest deviation allowed.
    pub tolerance: f64,
    /// The first part of the model whose output deviates by more than allowed, if the outputs differ.
    pub first_difference: Option<Difference>,
}

/// The first part of a model that deviates from the training graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Such as `encoder layer 3`.
    pub part: String,
    /// The largest deviation of its output, relative to the largest value, or to 1; `None` if all layers
    /// agree and only what follows them deviates.
    pub deviation: Option<f64>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.deviation {
            Some(deviation) => write!(f, "{} (by {deviation:.1e})", self.part),
            None => f.write_str(&self.part),
        }
    }
}

/// An output that was not evaluated, which proves nothing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NotEvaluated {
    /// The name of the output.
    pub output: String,
    /// The node of the graph where the evaluation stopped; `None` if the reason lies in no node.
    pub node: Option<String>,
    /// The reason.
    pub reason: String,
}
