//! The bare model, `ElectraModel`: embeddings and encoder.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::batch::{Batch, Hidden};
use crate::config::ElectraConfig;
use crate::embeddings::Embeddings;
use crate::encoder::{Attend, Encoder};

/// Start of the names of embeddings and encoder in a model with a head.
const BASE_PREFIX: &str = "electra";

/// Embeddings and encoder: `ElectraModel`, the part that all heads share.
///
/// Cloning shares the weights.
#[derive(Clone, Debug)]
pub struct ElectraModel {
    embeddings: Embeddings,
    encoder: Encoder,
}

impl ElectraModel {
    /// Loads tensors whose names start with `electra.`, or do not where there is
    /// `embeddings.word_embeddings.weight`, one after the other.
    pub fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        let vb = below_prefix(vb);
        Ok(Self {
            embeddings: Embeddings::load(vb.clone(), config)?,
            encoder: Encoder::load(vb.pp("encoder"), config)?,
        })
    }

    /// As [`load`](Self::load), the layers in parallel on rayon's pool: for builders that read a file.
    /// A builder that draws initial weights at random would draw them in no fixed order.
    pub fn load_parallel(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        let vb = below_prefix(vb);
        Ok(Self {
            embeddings: Embeddings::load(vb.clone(), config)?,
            encoder: Encoder::load_parallel(vb.pp("encoder"), config)?,
        })
    }

    /// Runs the encoder in both directions.
    pub fn forward(&self, batch: &Batch<'_>) -> Result<Tensor> {
        Ok(self.forward_with(batch, Attend::Everywhere, false)?.last)
    }

    /// As [`forward`](Self::forward), with the choice of where to attend and of all layers.
    pub fn forward_with(
        &self,
        batch: &Batch<'_>,
        attend: Attend,
        all_layers: bool,
    ) -> Result<Hidden> {
        self.forward_checked(batch, attend, all_layers, &|| Ok(()))
    }

    /// As [`forward_with`](Self::forward_with); calls `check` before each layer and stops on an error.
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

    /// Returns the same weights with another number of attention heads.
    ///
    /// # Errors
    /// If `heads` is zero or does not divide the hidden size.
    pub fn with_attention_heads(&self, heads: usize) -> Result<Self> {
        let mut model = self.clone();
        model.encoder.set_attention_heads(heads)?;
        Ok(model)
    }

    /// The word embeddings, `[vocabulary, embedding]`, which a decoder may be tied to.
    pub fn word_embeddings(&self) -> &Tensor {
        self.embeddings.words()
    }
}

/// Returns where embeddings and encoder are.
fn below_prefix(vb: VarBuilder<'_>) -> VarBuilder<'_> {
    if vb.contains_tensor(Embeddings::WORDS) {
        vb
    } else {
        vb.pp(BASE_PREFIX)
    }
}
