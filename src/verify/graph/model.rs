//! The outputs of the converted model for given rows.

use candle_core::{DType, Device, Result, Tensor};
use candle_electra::{Attend, ElectraConfig, ElectraModel, Head, ModelClass};

use super::outputs::{Output, TaskPart};
use super::rows::Rows;
use crate::export::WeightsFile;
use crate::progress::Watch;

/// The layers whose hidden states are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Layers {
    /// The last one.
    Last,
    /// The embeddings and all layers.
    All,
}

/// The hidden states of the converted model.
pub(super) struct ModelOutputs {
    /// `[batch, sequence, hidden]`, the last layer at the end.
    hidden: Vec<Tensor>,
    head: Head,
}

impl ModelOutputs {
    /// Runs the encoder of a converted model in `dtype`, and loads the head of `class`.
    pub(super) fn compute(
        weights: &WeightsFile,
        (config, class): (&ElectraConfig, ModelClass),
        rows: &Rows,
        (dtype, layers): (DType, Layers),
        watch: &Watch<'_>,
    ) -> Result<Self> {
        let vb = weights.watched_builder(watch).set_dtype(dtype);
        let model = ElectraModel::load_parallel(vb.clone(), config)?;
        let inputs = rows.tensors()?;
        let check = || watch.check_candle();
        let all = layers == Layers::All;
        let hidden = model.forward_checked(&inputs.batch(), Attend::Everywhere, all, &check)?;
        Ok(Self {
            hidden: hidden.all.unwrap_or_else(|| vec![hidden.last]),
            head: Head::load(class, vb, config, &model)?,
        })
    }

    /// Returns an output in row-major order. A generator's logits are those at `positions` of each row, if
    /// there are any.
    pub(super) fn values(&self, output: &Output, positions: &[usize]) -> Result<Vec<f64>> {
        let last = self.hidden.last().expect("one at least");
        let chosen = if positions.is_empty() {
            last.clone()
        } else {
            let narrow = |&position: &usize| u32::try_from(position).unwrap_or(u32::MAX);
            let index: Vec<u32> = positions.iter().map(narrow).collect();
            last.index_select(&Tensor::new(index, &Device::Cpu)?, 1)?
        };
        let values = match output {
            Output::Encoder => last.clone(),
            Output::DiscriminatorLogits | Output::GeneratorLogits => self.head.forward(&chosen)?,
            Output::Task { part, .. } => {
                let logits = self.head.forward(&chosen)?;
                match part {
                    TaskPart::Logits => logits,
                    TaskPart::Start => logits.narrow(2, 0, 1)?,
                    TaskPart::End => logits.narrow(2, 1, 1)?,
                }
            }
        };
        to_f64(&values)
    }

    /// Returns the output of the embeddings (0) or of a layer (from 1), if all are kept.
    pub(super) fn layer(&self, layer: usize) -> Result<Option<Vec<f64>>> {
        self.hidden.get(layer).map(to_f64).transpose()
    }
}

fn to_f64(values: &Tensor) -> Result<Vec<f64>> {
    values.flatten_all()?.to_dtype(DType::F64)?.to_vec1()
}
