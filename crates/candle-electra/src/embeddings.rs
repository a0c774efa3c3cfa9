//! Word, position and token type embeddings, their sum normalised, and the projection to the
//! encoder's width where the two widths differ.

use candle_core::{DType, Result, Tensor};
use candle_nn::{Embedding, Linear, Module, VarBuilder, embedding, linear};

use crate::batch::Batch;
use crate::config::ElectraConfig;
use crate::norm::LayerNorm;

/// `ElectraEmbeddings` and `embeddings_project`.
#[derive(Clone, Debug)]
pub struct Embeddings {
    words: Embedding,
    positions: Embedding,
    token_types: Embedding,
    norm: LayerNorm,
    projection: Option<Linear>,
}

impl Embeddings {
    /// The tensor by which a model is recognised.
    pub(crate) const WORDS: &'static str = "embeddings.word_embeddings.weight";

    /// Loads `embeddings.*` and `embeddings_project.*` below `vb`.
    pub fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        let width = config.embedding_size;
        let below = vb.pp("embeddings");
        let projection = if width == config.hidden_size {
            None
        } else {
            let vb = vb.pp("embeddings_project");
            Some(linear(width, config.hidden_size, vb)?)
        };
        Ok(Self {
            words: embedding(config.vocab_size, width, below.pp("word_embeddings"))?,
            positions: embedding(
                config.max_position_embeddings,
                width,
                below.pp("position_embeddings"),
            )?,
            token_types: embedding(
                config.type_vocab_size,
                width,
                below.pp("token_type_embeddings"),
            )?,
            norm: LayerNorm::load(width, config.layer_norm_eps, below.pp("LayerNorm"))?,
            projection,
        })
    }

    /// `[batch, sequence]` ids to `[batch, sequence, hidden]`.
    pub fn forward(&self, batch: &Batch<'_>) -> Result<Tensor> {
        let ids = batch.input_ids;
        let (_, length) = ids.dims2()?;
        let positions = Tensor::arange(0, u32::try_from(length)?, ids.device())?;
        let token_types = match batch.token_type_ids {
            Some(token_types) => token_types.clone(),
            None => ids.zeros_like()?.to_dtype(DType::U32)?,
        };
        let sum = (self.words.forward(ids)? + self.token_types.forward(&token_types)?)?
            .broadcast_add(&self.positions.forward(&positions)?)?;
        let normalised = self.norm.forward(&sum)?;
        match &self.projection {
            Some(projection) => projection.forward(&normalised),
            None => Ok(normalised),
        }
    }

    /// `[vocabulary, embedding]`
    pub(crate) fn words(&self) -> &Tensor {
        self.words.embeddings()
    }
}
