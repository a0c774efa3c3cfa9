//! ELECTRA in candle: embeddings, encoder and eight heads, for verification and for anyone.
//!
//! Reads top to bottom like `modeling_electra.py` in transformers, whose computation it follows:
//! [`Embeddings`] and the [`Encoder`] make an [`ElectraModel`], a head on top makes each of the
//! other classes. All compute in the dtype of the [`VarBuilder`]; over a [`WeightsFile`] that is
//! float32 whatever the file holds, and each weight is read when it is asked for, once.
//!
//! ```no_run
//! use candle_core::{Device, Tensor};
//! use electra_convert::model::{Batch, ElectraForPreTraining, WeightsFile, read_config};
//!
//! let config = read_config("out/config.json".as_ref())?;
//! let weights = WeightsFile::open("out/model.safetensors".as_ref())?;
//! let model = ElectraForPreTraining::load(weights.var_builder(), &config)?;
//!
//! let input_ids = Tensor::new(&[[2_u32, 45, 67, 3]], &Device::Cpu)?;
//! let logits = model.forward(&Batch::new(&input_ids))?; // [1, 4], before the sigmoid
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![allow(
    clippy::needless_pass_by_value,
    reason = "a VarBuilder is a handle, which candle's models take by value"
)]

mod embeddings;
mod encoder;
mod heads;
mod norm;
mod weights;

pub use embeddings::Embeddings;
pub use encoder::{Attend, Encoder};
pub use heads::{
    DiscriminatorHead, ElectraForCausalLM, ElectraForMaskedLM, ElectraForMultipleChoice,
    ElectraForPreTraining, ElectraForQuestionAnswering, ElectraForSequenceClassification,
    ElectraForTokenClassification, LanguageModelHead, MultipleChoiceHead, QuestionAnsweringHead,
    SequenceClassificationHead, SpanLogits, TokenClassificationHead,
};
pub(crate) use weights::WatchedWeights;
pub use weights::{LoadError, MAX_CONFIG_LEN, WeightsFile, read_config};

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::electra::{Activation, ElectraConfig};

/// Start of the names of embeddings and encoder in a model with a head.
const BASE_PREFIX: &str = "electra";

/// The inputs of one forward pass.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// `[batch, sequence]`, u32.
    pub input_ids: &'a Tensor,
    /// `[batch, sequence]`, u32; zeros where it is not given.
    pub token_type_ids: Option<&'a Tensor>,
    /// `[batch, sequence]`, u32: 1 for a token, 0 for padding; all ones where it is not given.
    pub attention_mask: Option<&'a Tensor>,
}

impl<'a> Batch<'a> {
    /// Sequences without padding, all of the first token type.
    pub fn new(input_ids: &'a Tensor) -> Self {
        Self {
            input_ids,
            token_type_ids: None,
            attention_mask: None,
        }
    }
}

/// What an [`ElectraModel`] computes.
#[derive(Clone, Debug)]
pub struct Hidden {
    /// Output of the last layer, `[batch, sequence, hidden]`.
    pub last: Tensor,
    /// Output of the embeddings (after the projection) and of every layer in turn, each
    /// `[batch, sequence, hidden]`, where it was asked for.
    pub all: Option<Vec<Tensor>>,
}

/// Embeddings and encoder: `ElectraModel`, the part that all heads share.
///
/// Cloning shares the weights.
#[derive(Clone, Debug)]
pub struct ElectraModel {
    embeddings: Embeddings,
    encoder: Encoder,
}

impl ElectraModel {
    /// Loads from names that start with `electra.`, or from names without it where there are none.
    pub fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        let vb = if vb.contains_tensor(&format!("{BASE_PREFIX}.{}", Embeddings::WORDS)) {
            vb.pp(BASE_PREFIX)
        } else {
            vb
        };
        Ok(Self {
            embeddings: Embeddings::load(vb.clone(), config)?,
            encoder: Encoder::load(vb.pp("encoder"), config)?,
        })
    }

    /// Runs the encoder in both directions.
    pub fn forward(&self, batch: &Batch<'_>) -> Result<Tensor> {
        Ok(self.forward_with(batch, Attend::Everywhere, false)?.last)
    }

    /// As [`forward`](Self::forward), with the choice of where to attend and of all layers.
    pub fn forward_with(
        &self,
        batch: &Batch<'_>,
        attend: Attend,
        all_layers: bool,
    ) -> Result<Hidden> {
        self.forward_checked(batch, attend, all_layers, &|| Ok(()))
    }

    /// As [`forward_with`](Self::forward_with); calls `check` before each layer and stops on an error.
    pub(crate) fn forward_checked(
        &self,
        batch: &Batch<'_>,
        attend: Attend,
        all_layers: bool,
        check: &dyn Fn() -> Result<()>,
    ) -> Result<Hidden> {
        let embedded = self.embeddings.forward(batch)?;
        self.encoder
            .forward_checked(embedded, batch.attention_mask, attend, all_layers, check)
    }

    /// Returns the same weights with another number of attention heads.
    ///
    /// # Errors
    /// If `heads` is zero or does not divide the hidden size.
    pub fn with_attention_heads(&self, heads: usize) -> Result<Self> {
        let mut model = self.clone();
        model.encoder.set_attention_heads(heads)?;
        Ok(model)
    }

    /// The word embeddings, `[vocabulary, embedding]`, which a decoder may be tied to.
    pub fn word_embeddings(&self) -> &Tensor {
        self.embeddings.words()
    }
}

/// Applies `activation` to each element, as `ACT2FN` in transformers does.
fn activate(activation: Activation, x: &Tensor) -> Result<Tensor> {
    match activation {
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluNew => x.gelu(),
        Activation::LeakyRelu => candle_nn::ops::leaky_relu(x, 0.01),
        Activation::Linear => Ok(x.clone()),
        Activation::Mish => x * softplus(x)?.tanh()?,
        Activation::QuickGelu => x * candle_nn::ops::sigmoid(&(x * 1.702)?)?,
        Activation::Relu => x.relu(),
        Activation::Relu2 => x.relu()?.sqr(),
        Activation::Relu6 => x.clamp(0_f32, 6_f32),
        Activation::Sigmoid => candle_nn::ops::sigmoid(x),
        Activation::Silu => x.silu(),
        Activation::Tanh => x.tanh(),
    }
}

/// `ln(1 + exp(x))`, without overflow for a large `x`.
fn softplus(x: &Tensor) -> Result<Tensor> {
    x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::activate;
    use crate::electra::Activation;

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
