//! The transformer encoder: self-attention, feed-forward, each with a residual and a LayerNorm.

use candle_core::{D, DType, Result, Tensor};
use candle_nn::ops::softmax_last_dim;
use candle_nn::{Linear, Module, VarBuilder, linear};
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use crate::activation::{Activation, activate};
use crate::batch::Hidden;
use crate::config::ElectraConfig;
use crate::norm::LayerNorm;

/// Which tokens a token may look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attend {
    /// All that are no padding.
    Everywhere,
    /// Only those before it and itself, as a causal language model.
    Backwards,
}

/// `ElectraEncoder`: a stack of layers.
#[derive(Clone, Debug)]
pub struct Encoder {
    layers: Vec<Layer>,
}

impl Encoder {
    /// Loads `layer.N.*` below `vb`.
    pub fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        let vb = vb.pp("layer");
        let layers = (0..config.num_hidden_layers).map(|n| Layer::load(vb.pp(n), config));
        let layers = layers.collect::<Result<_>>()?;
        Ok(Self { layers })
    }

    /// As [`load`](Self::load), with the layers in parallel on rayon's pool.
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

    /// `embedded` is `[batch, sequence, hidden]`, `attention_mask` `[batch, sequence]`.
    pub fn forward(
        &self,
        embedded: Tensor,
        attention_mask: Option<&Tensor>,
        attend: Attend,
        all_layers: bool,
    ) -> Result<Hidden> {
        self.forward_checked(embedded, attention_mask, attend, all_layers, &|| Ok(()))
    }

    /// As [`forward`](Self::forward); calls `check` before each layer and stops on an error.
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

/// Where a token may look, `[batch or 1, 1, sequence or 1, sequence]`: 1 where it may, 0 where it may
/// not; `None` where nothing is masked.
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

/// Puts the lowest finite number for the scores that `visible` hides.
///
/// Not minus infinity, which would make a sequence of nothing but padding NaN; and not as a sum,
/// which in float16 is minus infinity again.
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
            intermediate: linear(hidden, inner, vb.pp("intermediate").pp("dense"))?,
            activation: config.hidden_act,
            output: linear(inner, hidden, output.pp("dense"))?,
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
            query: linear(hidden, hidden, projections.pp("query"))?,
            key: linear(hidden, hidden, projections.pp("key"))?,
            value: linear(hidden, hidden, projections.pp("value"))?,
            heads,
            output: linear(hidden, hidden, output.pp("dense"))?,
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
        let scores = (query.matmul(&key.transpose(D::Minus2, D::Minus1)?)? * scale)?;
        let scores = match mask {
            Some(mask) => hide(&scores, mask)?,
            None => scores,
        };
        let context = softmax_last_dim(&scores)?
            .matmul(&value)?
            .transpose(1, 2)?
            .reshape((batch, length, width))?;
        self.norm
            .forward(&(self.output.forward(&context)? + hidden)?)
    }
}
