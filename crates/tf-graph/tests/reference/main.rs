//! Compares evaluations with values that TensorFlow computed.

mod graphs;
mod operations;
mod values;
