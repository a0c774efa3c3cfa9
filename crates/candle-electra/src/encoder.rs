//! The transformer encoder: layers of self-attention and feed-forward, each with a residual connection
//! and a LayerNorm.

use candle_core::{D, DType, Result, Tensor};
use candle_nn::VarBuilder;
use candle_nn::ops::softmax_last_dim;
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use crate::activation::{Activation, activate};
use crate::batch::Hidden;
use crate::config::ElectraConfig;
use crate::linear::{Linear, linear, matmul};
use crate::norm::LayerNorm;

/// The tokens that a token attends to. Padding is never attended to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attend {
    /// All tokens of the sequence.
    Everywhere,
    /// The token itself and those before it, as in a causal language model.
    Backwards,
}

/// `ElectraEncoder` of transformers: a stack of layers.
#[derive(Clone, Debug)]
pub struct Encoder {
    layers: Vec<Layer>,
}

impl Encoder {
    /// Loads `layer.N.*` below `vb`, one layer after the other.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape than `config` implies, or the number of attention
    /// heads does not divide the hidden size.
    pub fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        let vb = vb.pp("layer");
        let layers = (0..config.num_hidden_layers).map(|n| Layer::load(vb.pp(n), config));
        let layers = layers.collect::<Result<_>>()?;
        Ok(Self { layers })
    }

    /// As [`load`](Self::load), with the layers in parallel in the current rayon pool.
    pub fn load_parallel(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        let vb = vb.pp("layer");
        let layers = (0..config.num_hidden_layers).into_par_iter();
        let layers = layers.map(|n| Layer::load(vb.pp(n), config));
        let layers = layers.collect::<Result<_>>()?;
        Ok(Self { layers })
    }

    pub(crate) fn set_attention_heads(&mut self, heads: usize) -> Result<()> {
        for layer in &mut self.layers {
            check_heads(heads, layer.attention.query.weight().dim(0)?)?;
            layer.attention.heads = heads;
        }
        Ok(())
    }

    /// Runs the layers.
    ///
    /// `embedded` is `[batch, sequence, hidden]`, `attention_mask` `[batch, sequence]` of u32 with 0 for
    /// padding. With `all_layers` the result has the hidden states of every layer.
    ///
    /// # Errors
    /// If the shapes do not match.
    pub fn forward(
        &self,
        embedded: Tensor,
        attention_mask: Option<&Tensor>,
        attend: Attend,
        all_layers: bool,
    ) -> Result<Hidden> {
        self.forward_checked(embedded, attention_mask, attend, all_layers, &|| Ok(()))
    }

    /// As [`forward`](Self::forward); calls `check` before each layer and returns its error.
    pub(crate) fn forward_checked(
        &self,
        embedded: Tensor,
        attention_mask: Option<&Tensor>,
        attend: Attend,
        all_layers: bool,
        check: &dyn Fn() -> Result<()>,
    ) -> Result<Hidden> {
        let mask = visible(&embedded, attention_mask, attend)?;
        let mut all = all_layers.then(|| vec![embedded.clone()]);
        let mut hidden = embedded;
        for layer in &self.layers {
            check()?;
            hidden = layer.forward(&hidden, mask.as_ref())?;
            if let Some(all) = &mut all {
                all.push(hidden.clone());
            }
        }
        Ok(Hidden { last: hidden, all })
    }
}

/// Returns the mask, `[batch or 1, 1, sequence or 1, sequence]` of u8: 1 where a token is attended to;
/// `None` if nothing is masked.
fn visible(
    embedded: &Tensor,
    attention_mask: Option<&Tensor>,
    attend: Attend,
) -> Result<Option<Tensor>> {
    let (batch, length, _) = embedded.dims3()?;
    let device = embedded.device();
    let backwards = || -> Result<Tensor> {
        Tensor::tril2(length, DType::U8, device)?.reshape((1, 1, length, length))
    };
    let present = attention_mask
        .map(|mask| mask.ne(0_u32)?.reshape((batch, 1, 1, length)))
        .transpose()?;
    match (attend, present) {
        (Attend::Everywhere, present) => Ok(present),
        (Attend::Backwards, None) => Ok(Some(backwards()?)),
        (Attend::Backwards, Some(present)) => Ok(Some(backwards()?.broadcast_mul(&present)?)),
    }
}

/// Replaces the scores where `visible` is 0 by the lowest finite number of their dtype.
///
/// Minus infinity would make a sequence that consists of padding NaN. Adding the number, as
/// transformers 4 does, would overflow to minus infinity in float16.
fn hide(scores: &Tensor, visible: &Tensor) -> Result<Tensor> {
    let lowest = match scores.dtype() {
        DType::F16 => f64::from(half::f16::MIN),
        DType::BF16 => f64::from(half::bf16::MIN),
        DType::F64 => f64::MIN,
        _ => f64::from(f32::MIN),
    };
    let lowest = Tensor::full(lowest, (), scores.device())?
        .to_dtype(scores.dtype())?
        .broadcast_as(scores.shape())?;
    visible
        .broadcast_as(scores.shape())?
        .where_cond(scores, &lowest)
}

/// `ElectraLayer`.
#[derive(Clone, Debug)]
struct Layer {
    attention: Attention,
    intermediate: Linear,
    activation: Activation,
    output: Linear,
    norm: LayerNorm,
}

impl Layer {
    fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let output = vb.pp("output");
        Ok(Self {
            attention: Attention::load(vb.pp("attention"), config)?,
            intermediate: linear(hidden, inner, config, vb.pp("intermediate").pp("dense"))?,
            activation: config.hidden_act,
            output: linear(inner, hidden, config, output.pp("dense"))?,
            norm: LayerNorm::load(hidden, config.layer_norm_eps, output.pp("LayerNorm"))?,
        })
    }

    fn forward(&self, hidden: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let attended = self.attention.forward(hidden, mask)?;
        let inner = activate(self.activation, &self.intermediate.forward(&attended)?)?;
        self.norm
            .forward(&(self.output.forward(&inner)? + attended)?)
    }
}

fn check_heads(heads: usize, hidden: usize) -> Result<()> {
    if heads == 0 || !hidden.is_multiple_of(heads) {
        candle_core::bail!("{heads} attention heads do not divide the hidden size {hidden}");
    }
    Ok(())
}

/// `ElectraAttention`: multi-head self-attention with its output projection.
#[derive(Clone, Debug)]
struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    heads: usize,
    output: Linear,
    norm: LayerNorm,
}

impl Attention {
    fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        let hidden = config.hidden_size;
        let heads = config.num_attention_heads;
        check_heads(heads, hidden)?;
        let (projections, output) = (vb.pp("self"), vb.pp("output"));
        Ok(Self {
            query: linear(hidden, hidden, config, projections.pp("query"))?,
            key: linear(hidden, hidden, config, projections.pp("key"))?,
            value: linear(hidden, hidden, config, projections.pp("value"))?,
            heads,
            output: linear(hidden, hidden, config, output.pp("dense"))?,
            norm: LayerNorm::load(hidden, config.layer_norm_eps, output.pp("LayerNorm"))?,
        })
    }

    fn forward(&self, hidden: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let (batch, length, width) = hidden.dims3()?;
        let head_size = width / self.heads;
        // [batch, heads, sequence, head size]
        let split = |projection: &Linear| -> Result<Tensor> {
            projection
                .forward(hidden)?
                .reshape((batch, length, self.heads, head_size))?
                .transpose(1, 2)?
                .contiguous()
        };
        let (query, key, value) = (split(&self.query)?, split(&self.key)?, split(&self.value)?);

        #[allow(clippy::cast_precision_loss, reason = "head sizes are small")]
        let scale = 1.0 / (head_size as f64).sqrt();
        let scores = (matmul(&query, &key.transpose(D::Minus2, D::Minus1)?)? * scale)?;
        let scores = match mask {
            Some(mask) => hide(&scores, mask)?,
            None => scores,
        };
        let context = matmul(&softmax_last_dim(&scores)?, &value)?
            .transpose(1, 2)?
            .reshape((batch, length, width))?;
        self.norm
            .forward(&(self.output.forward(&context)? + hidden)?)
    }
}
