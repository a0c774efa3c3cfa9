//! Dense layers and embeddings, and their initial weights.
//!
//! Initial weights, for builders that create tensors such as `VarMap`'s, are those of transformers
//! (`_init_weights` of `ElectraPreTrainedModel`): normal with `initializer_range` as the standard
//! deviation, biases 0.

use candle_core::{Result, Tensor};
use candle_nn::{Embedding, Init, VarBuilder};

use crate::activation::{Activation, activate};
use crate::config::ElectraConfig;
use crate::fused;

/// A dense layer with a bias.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// Creates a layer from `weight` `[output, input]` and `bias` `[output]`.
    pub(crate) fn new(weight: Tensor, bias: Tensor) -> Self {
        Self { weight, bias }
    }

    /// Returns `[…, output]` for `[…, input]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        fused::add_bias(self.product(x)?, &self.bias)
    }

    /// As [`forward`](Self::forward), followed by an activation.
    pub(crate) fn forward_activated(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        match activation {
            Activation::Gelu => fused::add_bias_gelu(self.product(x)?, &self.bias),
            _ => activate(activation, &self.forward(x)?),
        }
    }

    /// Returns the product with the weight, in one matrix product for all leading axes.
    fn product(&self, x: &Tensor) -> Result<Tensor> {
        let (output, input) = self.weight.dims2()?;
        let mut shape = x.dims().to_vec();
        let rows: usize = shape.iter().rev().skip(1).product();
        if shape.pop() != Some(input) {
            candle_core::bail!(
                "a dense layer of {input} inputs cannot take {:?}",
                x.shape()
            );
        }
        shape.push(output);
        x.reshape((rows, input))?
            .matmul(&self.weight.t()?)?
            .reshape(shape)
    }

    pub(crate) fn weight(&self) -> &Tensor {
        &self.weight
    }
}

/// Loads `weight` `[output, input]`, then `bias` `[output]`, below `vb`.
pub(crate) fn linear(
    input: usize,
    output: usize,
    config: &ElectraConfig,
    vb: VarBuilder<'_>,
) -> Result<Linear> {
    let weight = vb.get_with_hints((output, input), "weight", initial(config))?;
    let bias = vb.get_with_hints(output, "bias", Init::Const(0.0))?;
    Ok(Linear::new(by_input(weight)?, bias))
}

/// Stores the elements of a weight `[output, input]` in the order of its transpose.
///
/// candle's matrix product on the CPU rearranges a weight in the other order each time, which doubles the
/// time of a pass of 128 tokens.
fn by_input(weight: Tensor) -> Result<Tensor> {
    if weight.track_op() || !weight.device().is_cpu() {
        return Ok(weight);
    }
    weight.t()?.contiguous()?.t()
}

/// Loads `weight` `[rows, width]` below `vb`.
pub(crate) fn embedding(
    rows: usize,
    width: usize,
    config: &ElectraConfig,
    vb: VarBuilder<'_>,
) -> Result<Embedding> {
    let weight = vb.get_with_hints((rows, width), "weight", initial(config))?;
    Ok(Embedding::new(weight, width))
}

fn initial(config: &ElectraConfig) -> Init {
    Init::Randn {
        mean: 0.0,
        stdev: config.initializer_range,
    }
}
