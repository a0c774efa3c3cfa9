//! What goes into a model and what comes out of its encoder.

use candle_core::Tensor;

/// The inputs of one forward pass.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// `[batch, sequence]`, u32.
    pub input_ids: &'a Tensor,
    /// `[batch, sequence]`, u32; zeros where it is not given.
    pub token_type_ids: Option<&'a Tensor>,
    /// `[batch, sequence]`, u32: 1 for a token, 0 for padding; all ones where it is not given.
    pub attention_mask: Option<&'a Tensor>,
}

impl<'a> Batch<'a> {
    /// Sequences without padding, all of the first token type.
    pub fn new(input_ids: &'a Tensor) -> Self {
        Self {
            input_ids,
            token_type_ids: None,
            attention_mask: None,
        }
    }
}

/// What an [`ElectraModel`](crate::ElectraModel) computes.
#[derive(Clone, Debug)]
pub struct Hidden {
    /// Output of the last layer, `[batch, sequence, hidden]`.
    pub last: Tensor,
    /// Output of the embeddings (after the projection) and of every layer in turn, each
    /// `[batch, sequence, hidden]`, where it was asked for.
    pub all: Option<Vec<Tensor>>,
}
