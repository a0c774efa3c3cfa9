//! The outputs of the converted model for given rows.

use candle_core::{DType, Device, Result, Tensor};
use candle_electra::{ModelClass, Pass};

use super::outputs::{Output, TaskPart};
use super::rows::Rows;
use crate::streamed_model::StreamedModel;

/// The layers whose hidden states are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Layers {
    /// The last one.
    Last,
    /// The embeddings and all layers.
    All,
}

/// The hidden states of the converted model.
pub(super) struct ModelOutputs<'a> {
    model: StreamedModel<'a>,
    class: ModelClass,
    /// `[batch, sequence, hidden]`, the last layer at the end.
    hidden: Vec<Tensor>,
}

impl<'a> ModelOutputs<'a> {
    /// Runs the encoder of a converted model in `dtype`.
    pub(super) fn compute(
        model: StreamedModel<'a>,
        class: ModelClass,
        rows: &Rows,
        layers: Layers,
    ) -> Result<Self> {
        let inputs = rows.tensors()?;
        let passes = [Pass::new(inputs.batch())];
        let hidden = model.hidden(&passes, layers == Layers::All)?.remove(0);
        Ok(Self {
            model,
            class,
            hidden: hidden.all.unwrap_or_else(|| vec![hidden.last]),
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
        let logits =
            || -> Result<Tensor> { Ok(self.model.logits(self.class, &[&chosen])?.remove(0)) };
        let values = match output {
            Output::Encoder => last.clone(),
            Output::DiscriminatorLogits | Output::GeneratorLogits => logits()?,
            Output::Task { part, .. } => match part {
                TaskPart::Logits => logits()?,
                TaskPart::Start => logits()?.narrow(2, 0, 1)?,
                TaskPart::End => logits()?.narrow(2, 1, 1)?,
            },
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
