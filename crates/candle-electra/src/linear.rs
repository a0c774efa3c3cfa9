//! Dense layers and embeddings: their initial weights, and matrix products in every dtype.
//!
//! Initial weights, for builders that create tensors such as `VarMap`'s, are those of transformers
//! (`_init_weights` of `ElectraPreTrainedModel`): normal with `initializer_range` as the standard
//! deviation, biases 0. candle's CPU backend has no matrix product of bfloat16; it is computed in float32
//! there and rounded.

use candle_core::{DType, Result, Tensor};
use candle_nn::{Embedding, Init, Module as _, VarBuilder};

use crate::config::ElectraConfig;

/// A dense layer with a bias.
#[derive(Clone, Debug)]
pub(crate) struct Linear(candle_nn::Linear);

impl Linear {
    /// Creates a layer from `weight` `[output, input]` and `bias` `[output]`.
    pub(crate) fn new(weight: Tensor, bias: Tensor) -> Self {
        Self(candle_nn::Linear::new(weight, Some(bias)))
    }

    /// Returns `[…, output]` for `[…, input]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if has_matmul(x) {
            return self.0.forward(x);
        }
        let wide = |tensor: &Tensor| tensor.to_dtype(DType::F32);
        let bias = self.0.bias().map(wide).transpose()?;
        let layer = candle_nn::Linear::new(wide(self.0.weight())?, bias);
        layer.forward(&wide(x)?)?.to_dtype(x.dtype())
    }

    pub(crate) fn weight(&self) -> &Tensor {
        self.0.weight()
    }
}

/// Returns the matrix product of `[…, m, k]` and `[…, k, n]`.
pub(crate) fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if has_matmul(a) {
        return a.matmul(b);
    }
    let product = a.to_dtype(DType::F32)?.matmul(&b.to_dtype(DType::F32)?)?;
    product.to_dtype(a.dtype())
}

fn has_matmul(x: &Tensor) -> bool {
    !(x.dtype() == DType::BF16 && x.device().is_cpu())
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
    Ok(Linear::new(weight, bias))
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
