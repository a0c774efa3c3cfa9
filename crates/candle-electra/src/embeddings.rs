//! The input of the encoder: word, position and token type embeddings, their LayerNorm, and the
//! projection to the hidden size.

use candle_core::{DType, Result, Tensor};
use candle_nn::{Embedding, Module as _, VarBuilder};

use crate::batch::Batch;
use crate::config::ElectraConfig;
use crate::linear::{Linear, embedding, linear};
use crate::norm::LayerNorm;

/// `ElectraEmbeddings` and `embeddings_project` of transformers.
///
/// The projection exists only if the embedding size and the hidden size differ.
#[derive(Clone, Debug)]
pub struct Embeddings {
    words: Embedding,
    positions: Embedding,
    token_types: Embedding,
    norm: LayerNorm,
    projection: Option<Linear>,
}

impl Embeddings {
    /// The tensor by which the prefix of a model is recognised.
    pub(crate) const WORDS: &'static str = "embeddings.word_embeddings.weight";

    /// Loads `embeddings.*` and `embeddings_project.*` below `vb`.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape than `config` implies.
    pub fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        let width = config.embedding_size;
        let below = vb.pp("embeddings");
        let table = |rows, name| embedding(rows, width, config, below.pp(name));
        Ok(Self {
            words: table(config.vocab_size, "word_embeddings")?,
            positions: table(config.max_position_embeddings, "position_embeddings")?,
            token_types: table(config.type_vocab_size, "token_type_embeddings")?,
            norm: LayerNorm::load(width, config.layer_norm_eps, below.pp("LayerNorm"))?,
            projection: if width == config.hidden_size {
                None
            } else {
                let vb = vb.pp("embeddings_project");
                Some(linear(width, config.hidden_size, config, vb)?)
            },
        })
    }

    /// Embeds the tokens of a batch: returns `[batch, sequence, hidden]`.
    ///
    /// # Errors
    /// If an id is not below the vocabulary size, or the sequence is longer than
    /// `max_position_embeddings`.
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

    /// Returns the word embeddings, `[vocabulary, embedding]`.
    pub(crate) fn words(&self) -> &Tensor {
        self.words.embeddings()
    }
}
