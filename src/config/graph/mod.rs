//! What the training graph shows of a model: head count, activation, LayerNorm epsilon, and the part of
//! the encoder that the head of a task reads.
//!
//! All rules start from variables and follow the structure of the graph; they never depend on the names
//! that one code base gives to operations. For example, the intermediate kernel of a layer is a variable,
//! the node that multiplies by it is its product, and the node that adds the bias to the product is the
//! layer's output. Each file follows one structure:
//!
//! | file | follows |
//! |---|---|
//! | `view` | a variable to the nodes that read it, multiply by it, add it |
//! | `elementwise` | a computation on single numbers, by evaluating it on samples |
//! | `dropout` | a dropout mask, to the factor that it has on average |
//! | `activation` | a dense layer's output, to the next product |
//! | `layer_norm` | a variance, to gamma |
//! | `attention` | queries and keys, to the softmax |
//! | `wiring` | a head's kernel, back to the encoder's layers |
//! | `selection` | a slice or gather, back to the tokens that it selects |
//! | `facts` | all parts of a model, with the rules above |
//!
//! A structure that no rule recognises is an [`Unrecognised`](unrecognised::Unrecognised) value; no default replaces it.

mod activation;
mod attention;
mod dropout;
mod elementwise;
mod facts;
mod findings;
mod layer_norm;
mod selection;
mod unrecognised;
mod view;
mod wiring;

pub(crate) use dropout::constant;
pub(crate) use elementwise::apply;
pub(crate) use facts::{GraphFacts, ModelScopes};
pub(crate) use findings::Findings;
pub(crate) use view::View;
pub(crate) use wiring::{Reads, Wiring, read as wiring};
