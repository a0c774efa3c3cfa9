//! Evaluates the training graph, to compare the exported model with it.
//!
//! The graph is fed and read at places that are found by the model's variables and the structure of the graph,
//! never by the names of nodes: an embedding table leads to its lookups and the ids, a bias to the output, a
//! softmax to the attention mask.
//!
//! | file | finds |
//! |---|---|
//! | `outputs` | the outputs of a model, and the nodes that compute them |
//! | `dependence` | the part of the graph that an output is computed from |
//! | `lookups` | token ids, behind the lookups in a table |
//! | `masks` | attention masks, beside the scores |
//! | `mask_effect` | whether 1 in a mask means *attended* |
//! | `positions` | the indices of chosen tokens |
//! | `boundary` | all places where the graph is fed for one output |
//!
//! | file | does |
//! |---|---|
//! | `rows` | draws the rows that both sides compute |
//! | `values` | reads the variables of the graph |
//! | `evaluate` | evaluates the graph, with the interpreter of [`tf_graph`] |
//! | `model` | runs the converted model |
//! | `compare` | compares the two |
//! | `deviation` | measures how far two outputs are apart |
//! | `difference` | checks the evaluation, and finds the first layer that differs |
//! | `decide` | determines settings that no rule recognises |
//! | `report` | holds the result |
//! | `describe` | describes what would be evaluated |
//!
//! What is not understood is a [`Refusal`](refusal::Refusal) that names the node.

mod boundary;
mod compare;
mod decide;
mod dependence;
mod describe;
mod deviation;
mod difference;
mod evaluate;
mod lookups;
mod mask_effect;
mod masks;
mod model;
mod outputs;
mod positions;
mod refusal;
mod report;
mod rows;
#[cfg(test)]
mod tests;
mod values;

pub use compare::TrainingGraph;
pub(super) use compare::check;
pub(crate) use decide::{Doubts, decide};
pub use describe::{DescribedOutput, DescribedPart, describe};
pub use evaluate::EvaluatedBy;
pub use report::{ComparedOutput, Difference, GraphReport, NotEvaluated};
