//! Activation functions: their names in config.json, and their values.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

/// The activation of the feed-forward network, `hidden_act`: those that transformers 4 and 5 know by the
/// same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x · Φ(x)`, with erf.
    #[serde(alias = "gelu_python")]
    Gelu,
    /// The approximation of gelu with tanh.
    #[serde(
        alias = "gelu_fast",
        alias = "gelu_pytorch_tanh",
        alias = "gelu_accurate"
    )]
    GeluNew,
    /// `x` above 0, `0.01 · x` below.
    LeakyRelu,
    /// `x`
    Linear,
    /// `x · tanh(softplus(x))`
    Mish,
    /// `x · sigmoid(1.702 · x)`
    QuickGelu,
    /// `max(0, x)`
    Relu,
    /// `max(0, x)²`
    Relu2,
    /// `min(max(0, x), 6)`
    Relu6,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `x · sigmoid(x)`
    #[serde(alias = "swish")]
    Silu,
    /// Hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// All activations, in the order of their names.
    pub const ALL: [Self; 12] = [
        Self::Gelu,
        Self::GeluNew,
        Self::LeakyRelu,
        Self::Linear,
        Self::Mish,
        Self::QuickGelu,
        Self::Relu,
        Self::Relu2,
        Self::Relu6,
        Self::Sigmoid,
        Self::Silu,
        Self::Tanh,
    ];

    /// Returns the name in config.json.
    pub fn key(self) -> &'static str {
        match self {
            Self::Gelu => "gelu",
            Self::GeluNew => "gelu_new",
            Self::LeakyRelu => "leaky_relu",
            Self::Linear => "linear",
            Self::Mish => "mish",
            Self::QuickGelu => "quick_gelu",
            Self::Relu => "relu",
            Self::Relu2 => "relu2",
            Self::Relu6 => "relu6",
            Self::Sigmoid => "sigmoid",
            Self::Silu => "silu",
            Self::Tanh => "tanh",
        }
    }

    /// Returns the value at `x`, by the formula in `activations.py` of transformers.
    pub fn value(self, x: f64) -> f64 {
        match self {
            Self::Gelu => 0.5 * x * (1.0 + libm::erf(x * FRAC_1_SQRT_2)),
            Self::GeluNew => {
                let inner = FRAC_2_PI.sqrt() * (x + 0.044_715 * x * x * x);
                0.5 * x * (1.0 + inner.tanh())
            }
            Self::LeakyRelu => x.max(0.01 * x),
            Self::Linear => x,
            Self::Mish => x * softplus(x).tanh(),
            Self::QuickGelu => x * sigmoid(1.702 * x),
            Self::Relu => x.max(0.0),
            Self::Relu2 => x.max(0.0) * x.max(0.0),
            Self::Relu6 => x.clamp(0.0, 6.0),
            Self::Sigmoid => sigmoid(x),
            Self::Silu => x * sigmoid(x),
            Self::Tanh => x.tanh(),
        }
    }
}

/// Returns `1 / (1 + exp(-x))`.
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Returns `ln(1 + exp(x))`.
pub fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

impl std::fmt::Display for Activation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.key())
    }
}

/// Applies `activation` to each element.
///
/// # Errors
/// If the dtype is not a floating-point type.
pub fn activate(activation: Activation, x: &Tensor) -> Result<Tensor> {
    match activation {
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluNew => x.gelu(),
        Activation::LeakyRelu => candle_nn::ops::leaky_relu(x, 0.01),
        Activation::Linear => Ok(x.clone()),
        Activation::Mish => x * softplus_of(x)?.tanh()?,
        Activation::QuickGelu => x * candle_nn::ops::sigmoid(&(x * 1.702)?)?,
        Activation::Relu => x.relu(),
        Activation::Relu2 => x.relu()?.sqr(),
        Activation::Relu6 => x.clamp(0_f32, 6_f32),
        Activation::Sigmoid => candle_nn::ops::sigmoid(x),
        Activation::Silu => x.silu(),
        Activation::Tanh => x.tanh(),
    }
}

/// Returns `ln(1 + exp(x))` of each element, without overflow for large ones.
fn softplus_of(x: &Tensor) -> Result<Tensor> {
    x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn activations_have_one_name() {
        for activation in Activation::ALL {
            assert_eq!(
                serde_json::to_value(activation).unwrap(),
                activation.key(),
                "serde and key() must agree"
            );
        }
    }

    #[test]
    fn activations_are_those_of_their_formulas() {
        let values: Vec<f32> = (-240_i16..=240).map(|i| f32::from(i) * 0.05).collect();
        let x = Tensor::new(values.as_slice(), &Device::Cpu).unwrap();
        for activation in Activation::ALL {
            let found: Vec<f32> = activate(activation, &x).unwrap().to_vec1().unwrap();
            for (&x, found) in std::iter::zip(&values, found) {
                let expected = activation.value(x.into());
                let tolerance = 2e-6 * expected.abs().max(1.0);
                assert!(
                    (f64::from(found) - expected).abs() <= tolerance,
                    "{activation} of {x} is {expected}, not {found}"
                );
            }
        }
    }
}
