//! LayerNorm with a variance computed in two passes, as in the original code.
//!
//! `candle_nn::LayerNorm` computes the variance in one pass, as the mean of squares minus the square of
//! the mean. This loses digits (logits of test models moved by 1.8e-5) and can be negative, which an
//! epsilon of 1e-12 does not prevent: the result is NaN.

use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder};

use crate::fused;

/// A LayerNorm over the last axis.
#[derive(Clone, Debug)]
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f32,
}

impl LayerNorm {
    /// Loads `weight` and `bias`, each `[size]`, below `vb`.
    pub(crate) fn load(size: usize, eps: f64, vb: VarBuilder<'_>) -> Result<Self> {
        #[allow(clippy::cast_possible_truncation, reason = "computed in float32")]
        Ok(Self {
            weight: vb.get_with_hints(size, "weight", Init::Const(1.0))?,
            bias: vb.get_with_hints(size, "bias", Init::Const(0.0))?,
            eps: eps as f32,
        })
    }

    /// Normalises `[…, size]` over the last axis; the shape stays the same.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        fused::layer_norm(x, &self.weight, &self.bias, self.eps)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};
    use candle_nn::VarBuilder;

    use super::LayerNorm;

    #[test]
    fn a_large_mean_does_not_hide_a_small_variance() {
        let vb = VarBuilder::from_tensors(
            [
                (
                    "weight".to_owned(),
                    Tensor::ones(4, DType::F32, &Device::Cpu).unwrap(),
                ),
                (
                    "bias".to_owned(),
                    Tensor::zeros(4, DType::F32, &Device::Cpu).unwrap(),
                ),
            ]
            .into(),
            DType::F32,
            &Device::Cpu,
        );
        let norm = LayerNorm::load(4, 1e-12, vb).unwrap();
        let x = Tensor::new(&[[4096.0_f32, 4096.5, 4097.0, 4097.5]], &Device::Cpu).unwrap();
        let y: Vec<f32> = norm
            .forward(&x)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap();
        // Mean 4096.75, variance 0.3125.
        for (found, expected) in
            std::iter::zip(y, [-1.341_640_8, -0.447_213_6, 0.447_213_6, 1.341_640_8])
        {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
}
