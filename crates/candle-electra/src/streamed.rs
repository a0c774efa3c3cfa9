//! Runs embeddings and layers without holding the weights.
//!
//! Half a layer, its attention or its feed-forward network, is loaded while the half before it is computed, and
//! dropped afterwards: the weights of one layer are in memory at a time. All batches go through a layer
//! together: each weight is read once.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::batch::{Batch, Hidden};
use crate::config::ElectraConfig;
use crate::embeddings::Embeddings;
use crate::encoder::{Attend, Attention, FeedForward, Loading, Sequences, split};
use crate::model::below_prefix;

/// A batch, and what its tokens attend to.
#[derive(Clone, Copy, Debug)]
pub struct Pass<'a> {
    /// The input.
    pub batch: Batch<'a>,
    /// The tokens that a token attends to.
    pub attend: Attend,
}

impl<'a> Pass<'a> {
    /// Creates a pass in which tokens attend to all tokens.
    pub fn new(batch: Batch<'a>) -> Self {
        Self {
            batch,
            attend: Attend::Everywhere,
        }
    }
}

/// Half a layer.
enum Half {
    Attention(Attention),
    FeedForward(FeedForward),
}

impl Half {
    /// Loads a half by its number: those of layer `n` are `2 * n` and `2 * n + 1`. `layers` is the scope of all
    /// layers.
    fn load(number: usize, layers: &VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        let layer = layers.pp(number / 2);
        Ok(match number % 2 {
            0 => {
                let attention = Attention::load(layer.pp("attention"), config, Loading::Parallel)?;
                Self::Attention(attention)
            }
            _ => Self::FeedForward(FeedForward::load(layer, config, Loading::Parallel)?),
        })
    }

    fn forward(&self, hidden: &Tensor, groups: &[Sequences]) -> Result<Tensor> {
        match self {
            Self::Attention(attention) => attention.forward(hidden, groups),
            Self::FeedForward(feed_forward) => feed_forward.forward(hidden),
        }
    }
}

/// Runs a model whose weights `vb` reads when they are requested. The result has the hidden states of each
/// pass, with `all_layers` those of every layer.
///
/// The tensors of half a layer are requested in parallel in the current rayon pool, each once. `check` is
/// called before each half, and its error is returned.
///
/// # Errors
/// If a tensor is missing or has another shape than `config` implies, or a batch does not fit.
pub fn forward_streamed(
    vb: VarBuilder<'_>,
    config: &ElectraConfig,
    passes: &[Pass<'_>],
    all_layers: bool,
    check: &dyn Fn() -> Result<()>,
) -> Result<Vec<Hidden>> {
    check()?;
    let vb = below_prefix(vb);
    let layers = vb.pp("encoder").pp("layer");
    let halves = 2 * config.num_hidden_layers;
    let load = |n: usize| (n < halves).then(|| Half::load(n, &layers, config));
    let embed = || -> Result<(Vec<Sequences>, Tensor)> {
        let embeddings = Embeddings::load(vb.clone(), config)?;
        let mut groups = Vec::with_capacity(passes.len());
        let mut embedded = Vec::with_capacity(passes.len());
        for pass in passes {
            let hidden = embeddings.forward(&pass.batch)?;
            groups.push(Sequences::of_batch(&pass.batch, pass.attend, &hidden)?);
            embedded.push(hidden.flatten(0, 1)?);
        }
        Ok((groups, Tensor::cat(&embedded, 0)?))
    };
    let (embedded, mut next) = rayon::join(embed, || load(0).transpose());
    let (groups, mut hidden) = embedded?;
    let mut states = vec![hidden.clone()];
    for n in 0..halves {
        let half = next?.expect("halves below their number are loaded");
        check()?;
        let compute = || half.forward(&hidden, &groups);
        let (computed, loaded) = rayon::join(compute, || load(n + 1).transpose());
        (hidden, next) = (computed?, loaded);
        if all_layers && matches!(half, Half::FeedForward(_)) {
            states.push(hidden.clone());
        }
    }
    if !all_layers {
        states = vec![hidden];
    }
    let mut of_passes: Vec<Vec<Tensor>> = vec![Vec::new(); groups.len()];
    for tokens in &states {
        let parts = split(tokens, &groups)?;
        for ((part, group), states) in std::iter::zip(parts, &groups).zip(&mut of_passes) {
            states.push(group.unflatten(&part)?);
        }
    }
    let hidden = |states: Vec<Tensor>| Hidden {
        last: states.last().expect("one at least").clone(),
        all: all_layers.then_some(states),
    };
    Ok(of_passes.into_iter().map(hidden).collect())
}
