//! The rows that the training graph and the converted model both compute.
//!
//! Two sequences of random tokens, padded to the sequence length of the graph. The second one is shorter:
//! its padding has token id 0 and mask 0, so that a graph that computes its mask from the ids agrees with
//! one that gets a mask.

use candle_core::{Device, Result, Tensor};
use candle_electra::{Batch, ElectraConfig};

/// Sequences of the batch. With a single one, a wrong axis could broadcast unnoticed.
const SEQUENCES: usize = 2;
/// Length of the sequences where the graph takes any length.
const LENGTH: usize = 24;

/// The inputs of one comparison, row-major `[batch, sequence]`.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    pub(super) batch: usize,
    pub(super) length: usize,
    pub(super) ids: Vec<u32>,
    pub(super) types: Vec<u32>,
    /// 1 for a token, 0 for padding.
    pub(super) mask: Vec<u32>,
}

impl Rows {
    /// Draws rows for a graph with this batch size and sequence length, where they are fixed.
    /// `has_padding` is false for a graph without attention mask.
    pub(super) fn new(
        config: &ElectraConfig,
        batch: Option<usize>,
        length: Option<usize>,
        has_padding: bool,
    ) -> Self {
        let length = length.unwrap_or(LENGTH.min(config.max_position_embeddings));
        // Another number than the graph's own, so that data of its own batch cannot pass for ours.
        let batch = match batch {
            Some(SEQUENCES) => SEQUENCES + 1,
            _ => SEQUENCES,
        };
        let limit = |size: usize| u32::try_from(size).unwrap_or(u32::MAX).max(1);
        let (tokens, types) = (limit(config.vocab_size), limit(config.type_vocab_size));
        let mut random = fastrand::Rng::with_seed(16);
        let mut rows = Self {
            batch,
            length,
            ids: Vec::new(),
            types: Vec::new(),
            mask: Vec::new(),
        };
        for row in 0..batch {
            // No padding in the first row, and at least one token in every row.
            let padding = (length * row)
                .div_ceil(2 * batch)
                .min(length.saturating_sub(1));
            let present = if has_padding {
                length - padding
            } else {
                length
            };
            for position in 0..length {
                let is_present = position < present;
                // Id 0 is padding.
                let id = random.u32(1.min(tokens - 1)..tokens);
                rows.ids.push(if is_present { id } else { 0 });
                let kind = random.u32(..types);
                rows.types.push(if is_present { kind } else { 0 });
                rows.mask.push(is_present.into());
            }
        }
        rows
    }

    /// Returns the same rows in the opposite order.
    pub(super) fn reversed(&self) -> Self {
        let reverse = |values: &[u32]| -> Vec<u32> {
            values
                .chunks(self.length)
                .rev()
                .flatten()
                .copied()
                .collect()
        };
        Self {
            ids: reverse(&self.ids),
            types: reverse(&self.types),
            mask: reverse(&self.mask),
            ..*self
        }
    }

    /// Returns `batch` rows: these, from the start again where there are fewer.
    pub(super) fn repeated(&self, batch: usize) -> Self {
        let repeat = |values: &[u32]| -> Vec<u32> {
            let all = values.iter().copied().cycle();
            all.take(batch * self.length).collect()
        };
        Self {
            batch,
            ids: repeat(&self.ids),
            types: repeat(&self.types),
            mask: repeat(&self.mask),
            ..*self
        }
    }

    /// Returns the rows with other token ids in place of the padding's.
    pub(super) fn with_other_padding(&self, config: &ElectraConfig) -> Self {
        let last = u32::try_from(config.vocab_size.saturating_sub(1)).unwrap_or(0);
        let ids = std::iter::zip(&self.ids, &self.mask);
        let ids = ids.map(|(&id, &mask)| if mask == 1 { id } else { last });
        Self {
            ids: ids.collect(),
            ..self.clone()
        }
    }

    /// Returns the position of each token in its row.
    pub(super) fn positions(&self) -> Vec<u32> {
        let one = 0..u32::try_from(self.length).unwrap_or(u32::MAX);
        (0..self.batch).flat_map(|_| one.clone()).collect()
    }

    /// Returns true for a token of a row that is not padding.
    pub(super) fn is_token(&self, at: usize) -> bool {
        self.mask.get(at) == Some(&1)
    }

    /// Returns the inputs of a model.
    pub(super) fn tensors(&self) -> Result<ModelInputs> {
        let tensor =
            |values: &[u32]| Tensor::from_slice(values, (self.batch, self.length), &Device::Cpu);
        Ok(ModelInputs {
            ids: tensor(&self.ids)?,
            types: tensor(&self.types)?,
            mask: tensor(&self.mask)?,
        })
    }
}

/// The inputs of a model in candle, `[batch, sequence]`.
pub(super) struct ModelInputs {
    ids: Tensor,
    types: Tensor,
    mask: Tensor,
}

impl ModelInputs {
    pub(super) fn batch(&self) -> Batch<'_> {
        Batch {
            input_ids: &self.ids,
            token_type_ids: Some(&self.types),
            attention_mask: Some(&self.mask),
        }
    }
}
