//! The transformer encoder: layers of self-attention and feed-forward, each with a residual connection
//! and a LayerNorm.
//!
//! A layer computes on a matrix with one row for each token, `[tokens, hidden]`. Only the attention needs to
//! know which tokens form a sequence ([`Sequences`]), so that several batches go through the matrix products
//! of a layer together.

use candle_core::{D, DType, Result, Tensor};
use candle_nn::VarBuilder;
use candle_nn::ops::softmax_last_dim;
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use crate::activation::Activation;
use crate::batch::{Batch, Hidden};
use crate::config::ElectraConfig;
use crate::linear::{Linear, linear};
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
        let (batch, length, width) = embedded.dims3()?;
        let sequences = [Sequences::new(
            (batch, length),
            attention_mask,
            attend,
            &embedded,
        )?];
        let mut hidden = embedded.reshape((batch * length, width))?;
        let mut all = all_layers.then(|| vec![embedded]);
        for layer in &self.layers {
            check()?;
            hidden = layer.forward(&hidden, &sequences)?;
            if let Some(all) = &mut all {
                all.push(hidden.reshape((batch, length, width))?);
            }
        }
        let last = hidden.reshape((batch, length, width))?;
        Ok(Hidden { last, all })
    }
}

/// How the rows of a matrix of tokens form sequences of one length, and what their tokens attend to.
#[derive(Clone, Debug)]
pub(crate) struct Sequences {
    batch: usize,
    length: usize,
    /// `[batch or 1, 1, sequence or 1, sequence]` of u8: 1 where a token is attended to; `None` if nothing
    /// is masked.
    visible: Option<Tensor>,
}

impl Sequences {
    fn new(
        (batch, length): (usize, usize),
        attention_mask: Option<&Tensor>,
        attend: Attend,
        hidden: &Tensor,
    ) -> Result<Self> {
        let device = hidden.device();
        let backwards = || -> Result<Tensor> {
            Tensor::tril2(length, DType::U8, device)?.reshape((1, 1, length, length))
        };
        let present = attention_mask
            .map(|mask| mask.ne(0_u32)?.reshape((batch, 1, 1, length)))
            .transpose()?;
        let visible = match (attend, present) {
            (Attend::Everywhere, present) => present,
            (Attend::Backwards, None) => Some(backwards()?),
            (Attend::Backwards, Some(present)) => Some(backwards()?.broadcast_mul(&present)?),
        };
        Ok(Self {
            batch,
            length,
            visible,
        })
    }

    /// Returns the sequences of a batch that is embedded as `hidden`.
    pub(crate) fn of_batch(batch: &Batch<'_>, attend: Attend, hidden: &Tensor) -> Result<Self> {
        Self::new(
            batch.input_ids.dims2()?,
            batch.attention_mask,
            attend,
            hidden,
        )
    }

    fn tokens(&self) -> usize {
        self.batch * self.length
    }

    /// Returns `[batch, sequence, hidden]` for rows of these tokens.
    pub(crate) fn unflatten(&self, tokens: &Tensor) -> Result<Tensor> {
        tokens.reshape((self.batch, self.length, tokens.dim(D::Minus1)?))
    }
}

/// Cuts rows of tokens into those of each group of sequences.
pub(crate) fn split(tokens: &Tensor, groups: &[Sequences]) -> Result<Vec<Tensor>> {
    let mut start = 0;
    groups
        .iter()
        .map(|group| {
            let part = tokens.narrow(0, start, group.tokens())?;
            start += group.tokens();
            Ok(part)
        })
        .collect()
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

/// How the tensors of a layer are requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loading {
    /// One after the other, in the order of the table.
    InOrder,
    /// In parallel in the current rayon pool.
    Parallel,
}

impl Loading {
    fn both<A: Send, B: Send>(
        self,
        first: impl FnOnce() -> A + Send,
        second: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        match self {
            Self::InOrder => (first(), second()),
            Self::Parallel => rayon::join(first, second),
        }
    }
}

/// `ElectraLayer`: self-attention, then a feed-forward network.
#[derive(Clone, Debug)]
struct Layer {
    attention: Attention,
    feed_forward: FeedForward,
}

impl Layer {
    fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        Ok(Self {
            attention: Attention::load(vb.pp("attention"), config, Loading::InOrder)?,
            feed_forward: FeedForward::load(vb, config, Loading::InOrder)?,
        })
    }

    /// Returns the hidden states of the tokens, `[tokens, hidden]`; `groups` covers all of them in order.
    fn forward(&self, hidden: &Tensor, groups: &[Sequences]) -> Result<Tensor> {
        let attended = self.attention.forward(hidden, groups)?;
        self.feed_forward.forward(&attended)
    }
}

/// `ElectraIntermediate` and `ElectraOutput`.
#[derive(Clone, Debug)]
pub(crate) struct FeedForward {
    intermediate: Linear,
    activation: Activation,
    output: Linear,
    norm: LayerNorm,
}

impl FeedForward {
    /// Loads the tensors below `vb`, the scope of the layer.
    pub(crate) fn load(
        vb: VarBuilder<'_>,
        config: &ElectraConfig,
        loading: Loading,
    ) -> Result<Self> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let output = vb.pp("output");
        let (intermediate, projection) = loading.both(
            || linear(hidden, inner, config, vb.pp("intermediate").pp("dense")),
            || linear(inner, hidden, config, output.pp("dense")),
        );
        Ok(Self {
            intermediate: intermediate?,
            activation: config.hidden_act,
            output: projection?,
            norm: LayerNorm::load(hidden, config.layer_norm_eps, output.pp("LayerNorm"))?,
        })
    }

    /// `attended` and the result are `[tokens, hidden]`.
    pub(crate) fn forward(&self, attended: &Tensor) -> Result<Tensor> {
        let inner = self
            .intermediate
            .forward_activated(attended, self.activation)?;
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
pub(crate) struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    heads: usize,
    output: Linear,
    norm: LayerNorm,
}

impl Attention {
    /// Loads the tensors below `vb`.
    pub(crate) fn load(
        vb: VarBuilder<'_>,
        config: &ElectraConfig,
        loading: Loading,
    ) -> Result<Self> {
        let hidden = config.hidden_size;
        let heads = config.num_attention_heads;
        check_heads(heads, hidden)?;
        let (projections, output) = (vb.pp("self"), vb.pp("output"));
        let square = |vb| linear(hidden, hidden, config, vb);
        let ((query, key), (value, projection)) = loading.both(
            || {
                loading.both(
                    || square(projections.pp("query")),
                    || square(projections.pp("key")),
                )
            },
            || {
                loading.both(
                    || square(projections.pp("value")),
                    || square(output.pp("dense")),
                )
            },
        );
        Ok(Self {
            query: query?,
            key: key?,
            value: value?,
            heads,
            output: projection?,
            norm: LayerNorm::load(hidden, config.layer_norm_eps, output.pp("LayerNorm"))?,
        })
    }

    /// `hidden` and the result are `[tokens, hidden]`; `groups` covers all tokens in order.
    pub(crate) fn forward(&self, hidden: &Tensor, groups: &[Sequences]) -> Result<Tensor> {
        let project = |projection: &Linear| split(&projection.forward(hidden)?, groups);
        let (queries, keys, values) = (
            project(&self.query)?,
            project(&self.key)?,
            project(&self.value)?,
        );
        let mut contexts = Vec::with_capacity(groups.len());
        for (n, group) in groups.iter().enumerate() {
            contexts.push(self.context(group, [&queries[n], &keys[n], &values[n]])?);
        }
        let context = match &contexts[..] {
            [context] => context.clone(),
            contexts => Tensor::cat(contexts, 0)?,
        };
        self.norm
            .forward(&(self.output.forward(&context)? + hidden)?)
    }

    /// Returns the values that the tokens of sequences attend to, `[tokens, hidden]`, as their projections
    /// are.
    fn context(&self, group: &Sequences, projections: [&Tensor; 3]) -> Result<Tensor> {
        let (batch, length) = (group.batch, group.length);
        let width = projections[0].dim(D::Minus1)?;
        let head_size = width / self.heads;
        // [batch, heads, sequence, head size]
        let split = |projection: &Tensor| -> Result<Tensor> {
            projection
                .reshape((batch, length, self.heads, head_size))?
                .transpose(1, 2)?
                .contiguous()
        };
        let [query, key, value] = projections.map(split);

        #[allow(clippy::cast_precision_loss, reason = "head sizes are small")]
        let scale = 1.0 / (head_size as f64).sqrt();
        let scores = (query?.matmul(&key?.transpose(D::Minus2, D::Minus1)?)? * scale)?;
        let scores = match &group.visible {
            Some(visible) => hide(&scores, visible)?,
            None => scores,
        };
        softmax_last_dim(&scores)?
            .matmul(&value?)?
            .transpose(1, 2)?
            .reshape((batch * length, width))
    }
}
