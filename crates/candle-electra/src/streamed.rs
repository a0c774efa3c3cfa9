//! Runs embeddings and layers without holding the weights.
//!
//! A layer is loaded while the one before it is computed, and dropped afterwards: two layers are in memory at a
//! time. All batches go through a layer together: each weight is read once.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::batch::{Batch, Hidden};
use crate::config::ElectraConfig;
use crate::embeddings::Embeddings;
use crate::encoder::{Attend, Layer, Sequences, split};
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

/// Runs a model whose weights `vb` reads when they are requested. The result has the hidden states of each
/// pass, with `all_layers` those of every layer.
///
/// The tensors of a layer are requested in parallel in the current rayon pool, each once. `check` is called
/// before each layer, and its error is returned.
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
    let load = |n: usize| {
        let vb = layers.pp(n);
        (n < config.num_hidden_layers).then(|| Layer::load_parallel(vb, config))
    };
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
    for n in 0..config.num_hidden_layers {
        let layer = next?.expect("layers below the number of layers are loaded");
        check()?;
        let compute = || layer.forward(&hidden, &groups);
        let (computed, loaded) = rayon::join(compute, || load(n + 1).transpose());
        (hidden, next) = (computed?, loaded);
        if all_layers {
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
