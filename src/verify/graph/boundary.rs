//! Where the training graph of a model is fed.
//!
//! The search starts at the node of an output and goes up to the lookups in the embedding tables, where the ids
//! of the tokens and their types are fed. What is before these tensors does not matter: an input pipeline, the
//! masking of tokens, a generator whose samples the discriminator reads.

use std::collections::HashSet;

use tf_checkpoint::{NodeId, Tensor};

use super::dependence::{BatchShape, Dependence, Slice};
use super::lookups::{Lookup, lookups, rows_behind};
use super::masks::{self, Mask};
use super::outputs;
use super::positions::{self, Positions};
use super::refusal::Refusal;
use crate::config::graph::View;
use crate::variables::Scopes;

/// Where the training graph of a model is fed, and which tensor is compared.
#[derive(Debug)]
pub(crate) struct Boundary {
    /// The tensor that is compared: the node that adds the last bias.
    pub(crate) output: Tensor,
    /// Each is fed with the token ids `[batch, sequence]`.
    pub(crate) ids: Vec<Tensor>,
    /// Each is fed with the token types `[batch, sequence]`. If there are none, all tokens have type 0.
    pub(crate) types: Vec<Tensor>,
    /// Each is fed with the position of every token, `[batch, sequence]`, counted from 0.
    pub(crate) position_ids: Vec<Tensor>,
    /// Each is fed with the attention mask.
    pub(crate) masks: Vec<Mask>,
    /// True if some attention has no mask, neither to feed nor computed from the ids.
    pub(crate) has_unmasked_attention: bool,
    /// Each is fed with the positions of chosen tokens.
    pub(crate) positions: Vec<Positions>,
    /// The number of rows; `None` if the graph takes any number.
    pub(crate) batch: Option<usize>,
    /// The length of a row; `None` if the graph takes any length.
    pub(crate) length: Option<usize>,
}

/// Finds where the graph is fed to compute the output that adds `variable` last. `scopes` are those of
/// the model.
pub(crate) fn find(view: &View<'_>, scopes: Scopes, variable: &str) -> Result<Boundary, Refusal> {
    let candidates = outputs::nodes(view, variable);
    if candidates.is_empty() {
        return Err(Refusal::lacking(format!("no node adds {variable}")));
    }
    let table = |name: &str| lookups(view, &format!("{}/{name}", scopes.embeddings));
    // A generator may share them alone.
    let words = format!("{}/word_embeddings", scopes.word_embeddings);
    let tables = Tables {
        words: lookups(view, &words)?,
        types: table("token_type_embeddings")?,
        positions: table("position_embeddings")?,
    };
    if tables.words.is_empty() {
        return Err(Refusal::lacking(format!("no node looks up {words}")));
    }
    // Each copy of the model in a graph has an output; they all compute the same.
    let mut refusal = None;
    for output in candidates {
        match tables.boundary(view, output) {
            Ok(Some(boundary)) => return Ok(boundary),
            Ok(None) => {}
            Err(error) => {
                refusal.get_or_insert(error);
            }
        }
    }
    Err(refusal.unwrap_or_else(|| {
        Refusal::lacking(format!(
            "no node that adds {variable} depends on a lookup of {words}"
        ))
    }))
}

/// The lookups in each embedding table.
struct Tables {
    words: Vec<Lookup>,
    types: Vec<Lookup>,
    positions: Vec<Lookup>,
}

impl Tables {
    /// Returns the boundary of an output; `None` if it does not depend on token ids.
    fn boundary(&self, view: &View<'_>, output: NodeId) -> Result<Option<Boundary>, Refusal> {
        let output = Tensor::from(output);
        let all = self.words.iter().chain(&self.types);
        let mut fed: HashSet<Tensor> = all.filter_map(|lookup| lookup.ids.clone().ok()).collect();
        let mut slice = Slice::new(view, output, &fed)?;

        let used: HashSet<Tensor> = slice.tensors().iter().copied().collect();
        let is_used = |lookup: &&Lookup| used.contains(&lookup.rows);
        let words: Vec<&Lookup> = self.words.iter().filter(is_used).collect();
        let rows: HashSet<Tensor> = words.iter().map(|lookup| lookup.rows).collect();
        if !slice.dependents(&rows).contains(&output) {
            return Ok(None);
        }
        let ids = distinct(words.iter().map(|lookup| lookup.ids.clone()))?;
        let shape = BatchShape::of(view, &ids)?;
        let data = slice.data(shape);
        let types = self.types.iter().filter(is_used);
        // Types that are not [batch, sequence] and not made from data are constant.
        let types = types.filter(|lookup| lookup.ids.is_ok() || data.contains(&lookup.index));
        let types = distinct(types.map(|lookup| lookup.ids.clone()))?;

        fed = ids.iter().chain(&types).copied().collect();
        slice = Slice::new(view, output, &fed)?;
        let mut on = Dependence {
            features: slice.dependents(&rows),
            fed: slice.dependents(&fed),
            data: slice.data(shape),
        };
        let masks = masks::find(view, &slice, &on, shape)?;
        fed.extend(masks.found.iter().map(|mask| mask.tensor));
        // Positions may be computed from the mask.
        slice = Slice::new(view, output, &fed)?;
        on.data = slice.data(shape);

        let is_fed = |lookup: &&Lookup| {
            used.contains(&lookup.rows)
                && on.data.contains(&lookup.index)
                && !on.fed.contains(&lookup.index)
        };
        let position_ids = self.positions.iter().filter(is_fed);
        let position_ids = distinct(position_ids.map(|lookup| rows_behind(view, lookup.index)))?;
        BatchShape::of(view, &[&ids[..], &position_ids].concat())?;
        fed.extend(&position_ids);

        slice = Slice::new(view, output, &fed)?;
        on.data = slice.data(shape);
        let positions = positions::find(view, &slice, &on, shape)?;
        Ok(Some(Boundary {
            output,
            ids,
            types,
            position_ids,
            masks: masks.found,
            has_unmasked_attention: masks.has_unmasked_attention,
            positions,
            batch: shape.batch,
            length: shape.length,
        }))
    }
}

/// Returns the distinct tensors, in the order of their nodes.
fn distinct(
    tensors: impl Iterator<Item = Result<Tensor, Refusal>>,
) -> Result<Vec<Tensor>, Refusal> {
    let mut found = tensors.collect::<Result<Vec<_>, _>>()?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}
