//! The model without a head: embeddings and encoder.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::batch::{Batch, Hidden};
use crate::config::ElectraConfig;
use crate::embeddings::Embeddings;
use crate::encoder::{Attend, Encoder};

/// The prefix of the tensors of embeddings and encoder in a model with a head.
const BASE_PREFIX: &str = "electra";

/// `ElectraModel` of transformers: embeddings and encoder, which all classes share.
///
/// A clone shares the weights.
#[derive(Clone, Debug)]
pub struct ElectraModel {
    embeddings: Embeddings,
    encoder: Encoder,
}

impl ElectraModel {
    /// Loads the embeddings, then the layers, in the order of [`TENSORS`](crate::TENSORS).
    ///
    /// The names start with `electra.`, unless there is a tensor
    /// `embeddings.word_embeddings.weight` below `vb`.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape than `config` implies, or the number of attention
    /// heads does not divide the hidden size.
    pub fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        let vb = below_prefix(vb);
        Ok(Self {
            embeddings: Embeddings::load(vb.clone(), config)?,
            encoder: Encoder::load(vb.pp("encoder"), config)?,
        })
    }

    /// As [`load`](Self::load), with the layers in parallel in the current rayon pool, for builders that
    /// read a file. The order in which the layers' tensors are requested is not fixed.
    pub fn load_parallel(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        let vb = below_prefix(vb);
        Ok(Self {
            embeddings: Embeddings::load(vb.clone(), config)?,
            encoder: Encoder::load_parallel(vb.pp("encoder"), config)?,
        })
    }

    /// Returns the hidden states of the last layer, `[batch, sequence, hidden]`.
    ///
    /// # Errors
    /// If the shapes of the batch do not match, or an id is out of range.
    pub fn forward(&self, batch: &Batch<'_>) -> Result<Tensor> {
        Ok(self.forward_with(batch, Attend::Everywhere, false)?.last)
    }

    /// As [`forward`](Self::forward), with a choice of attention and, with `all_layers`, the hidden states
    /// of every layer.
    pub fn forward_with(
        &self,
        batch: &Batch<'_>,
        attend: Attend,
        all_layers: bool,
    ) -> Result<Hidden> {
        self.forward_checked(batch, attend, all_layers, &|| Ok(()))
    }

    /// As [`forward_with`](Self::forward_with); calls `check` before each layer and returns its error, so
    /// that a long pass can be cancelled.
    pub fn forward_checked(
        &self,
        batch: &Batch<'_>,
        attend: Attend,
        all_layers: bool,
        check: &dyn Fn() -> Result<()>,
    ) -> Result<Hidden> {
        let embedded = self.embeddings.forward(batch)?;
        self.encoder
            .forward_checked(embedded, batch.attention_mask, attend, all_layers, check)
    }

    /// Returns a model with the same weights and another number of attention heads.
    ///
    /// # Errors
    /// If `heads` is 0 or does not divide the hidden size.
    pub fn with_attention_heads(&self, heads: usize) -> Result<Self> {
        let mut model = self.clone();
        model.encoder.set_attention_heads(heads)?;
        Ok(model)
    }

    /// Returns the word embeddings, `[vocabulary, embedding]`, to which a decoder may be tied.
    pub fn word_embeddings(&self) -> &Tensor {
        self.embeddings.words()
    }
}

/// Returns `vb` at the tensors of embeddings and encoder.
pub(crate) fn below_prefix(vb: VarBuilder<'_>) -> VarBuilder<'_> {
    if vb.contains_tensor(Embeddings::WORDS) {
        vb
    } else {
        vb.pp(BASE_PREFIX)
    }
}
