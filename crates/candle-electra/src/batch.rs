//! The inputs of a model and the outputs of its encoder.

use candle_core::Tensor;

/// The inputs of one forward pass. Ids are u32.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Token ids, `[batch, sequence]`.
    pub input_ids: &'a Tensor,
    /// Token types, `[batch, sequence]`; 0 for all tokens if `None`.
    pub token_type_ids: Option<&'a Tensor>,
    /// 1 for a token, 0 for padding, `[batch, sequence]`; no padding if `None`.
    pub attention_mask: Option<&'a Tensor>,
}

impl<'a> Batch<'a> {
    /// Creates a batch of `[batch, sequence]` ids without padding, with token type 0.
    pub fn new(input_ids: &'a Tensor) -> Self {
        Self {
            input_ids,
            token_type_ids: None,
            attention_mask: None,
        }
    }
}

/// The hidden states that an [`ElectraModel`](crate::ElectraModel) computes.
#[derive(Clone, Debug)]
pub struct Hidden {
    /// The output of the last layer, `[batch, sequence, hidden]`.
    pub last: Tensor,
    /// The output of the embeddings, after the projection, and of each layer, all
    /// `[batch, sequence, hidden]`; `None` unless requested.
    pub all: Option<Vec<Tensor>>,
}
