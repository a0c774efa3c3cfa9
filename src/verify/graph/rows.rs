//! The rows that the training graph and the converted model both compute.
//!
//! Two sequences of random tokens, padded to the sequence length of the graph. The second one is shorter:
//! its padding has token id 0 and mask 0, so that a graph that computes its mask from the ids agrees with
//! one that gets a mask.

use candle_core::{Device, Result, Tensor};
use candle_electra::{Batch, ElectraConfig};

use super::boundary::Boundary;
use super::refusal::Refusal;

/// Sequences of the batch. With a single one, a wrong axis could broadcast unnoticed.
const SEQUENCES: usize = 2;
/// Length of the sequences where the graph takes any length.
const LENGTH: usize = 24;
/// The longest sequences that are evaluated.
const MAX_LENGTH: usize = 1 << 14;

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
    /// Draws rows for a graph that is fed at `boundary`. `is_padded` is false if all tokens are to be attended.
    ///
    /// # Errors
    /// [`Refusal`] for a sequence length that the model does not have.
    pub(super) fn new(
        config: &ElectraConfig,
        boundary: &Boundary,
        is_padded: bool,
    ) -> std::result::Result<Self, Refusal> {
        let most = config.max_position_embeddings.min(MAX_LENGTH);
        let length = boundary.length.unwrap_or(LENGTH.min(most));
        if length == 0 || length > most {
            let why = format!("its sequences have {length} tokens, the model has {most} positions");
            return Err(Refusal::lacking(why));
        }
        // Another number than the graph's own, so that data of its own batch cannot pass for ours.
        let batch = match boundary.batch {
            Some(SEQUENCES) => SEQUENCES + 1,
            _ => SEQUENCES,
        };
        // Without a feed for types, all tokens have type 0.
        let types = if boundary.types.is_empty() {
            1
        } else {
            config.type_vocab_size
        };
        let limit = |size: usize| u32::try_from(size).unwrap_or(u32::MAX).max(1);
        let (tokens, types) = (limit(config.vocab_size), limit(types));
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
            let present = if is_padded { length - padding } else { length };
            for position in 0..length {
                let is_present = position < present;
                // Id 0 is padding. The first and the last ids may be special tokens, which a graph may
                // treat as padding.
                let first = (tokens / 4).max(1).min(tokens - 1);
                let id = random.u32(first..(tokens - tokens / 4).max(first + 1));
                rows.ids.push(if is_present { id } else { 0 });
                let kind = random.u32(..types);
                rows.types.push(if is_present { kind } else { 0 });
                rows.mask.push(is_present.into());
            }
        }
        Ok(rows)
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

#[cfg(test)]
mod tests {
    use candle_electra::ElectraConfig;
    use tf_checkpoint::Tensor;

    use super::Rows;
    use crate::verify::graph::boundary::Boundary;

    fn boundary(batch: Option<usize>, length: Option<usize>) -> Boundary {
        Boundary {
            output: Tensor::MISSING,
            ids: Vec::new(),
            types: Vec::new(),
            position_ids: Vec::new(),
            masks: Vec::new(),
            has_unmasked_attention: false,
            positions: Vec::new(),
            batch,
            length,
        }
    }

    /// The shapes that a graph records are not trusted.
    #[test]
    fn lengths_that_the_model_does_not_have_are_refused() {
        let config = ElectraConfig::default();
        for length in [0, 513, 1 << 40, usize::MAX] {
            let refusal = Rows::new(&config, &boundary(Some(8), Some(length)), true);
            let reason = refusal.unwrap_err().reason;
            assert!(reason.contains("512 positions"), "{reason}");
        }
        let vast = ElectraConfig {
            max_position_embeddings: usize::MAX,
            ..config
        };
        Rows::new(&vast, &boundary(None, Some(1 << 40)), true).unwrap_err();
    }

    #[test]
    fn the_shortest_rows_have_a_token() {
        let config = ElectraConfig {
            vocab_size: 1,
            max_position_embeddings: 1,
            type_vocab_size: 1,
            ..ElectraConfig::default()
        };
        let rows = Rows::new(&config, &boundary(Some(2), None), true).unwrap();
        assert_eq!((rows.batch, rows.length), (3, 1));
        assert_eq!(rows.mask, [1, 1, 1]);
        assert_eq!(rows.ids, [0, 0, 0]);
    }
}
