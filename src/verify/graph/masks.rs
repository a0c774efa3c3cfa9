//! The attention mask of a graph.
//!
//! A mask is added to the scores of attention, or selects from them, between their product and the softmax.
//! From the operands there that are not scores, the mask is the nearest tensor `[batch, sequence]` that
//! depends on data other than the ids. It is fed as early as possible, before `1 - mask` and casts, because
//! a head may read it there too. Whether 1 means *attended* is read from the graph, by evaluating both
//! values (`mask_effect`).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tf_checkpoint::Tensor;

use super::dependence::{BatchShape, Dependence, Slice, is_source, value_inputs};
use super::mask_effect::one_is_attended;
use super::refusal::Refusal;
use crate::config::graph::View;

/// The most operations between scores and their softmax.
const MAX_STEPS: usize = 64;
/// The most tensors between a mask and the scores.
const MAX_SIDE: usize = 1 << 10;
/// The most softmaxes in a model; one of 24 layers has 24.
const MAX_SOFTMAXES: usize = 1 << 10;
/// The most masks of one output; each copy of the model in a graph has one.
const MAX_MASKS: usize = 16;

/// A tensor of the graph that is fed with the attention mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mask {
    /// The tensor to feed.
    pub(crate) tensor: Tensor,
    /// Its axes.
    pub(crate) form: MaskForm,
    /// False if 1 marks padding.
    pub(crate) one_is_attended: bool,
}

/// The axes of an attention mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MaskForm {
    /// `[batch, sequence]`.
    Rows,
    /// `[batch, 1, sequence]` or `[batch, 1, 1, sequence]`.
    Keys,
    /// `[batch, sequence, sequence]` or `[batch, 1, sequence, sequence]`: the keys of every query.
    Pairs,
}

/// The masks of all softmaxes in a slice.
#[derive(Debug, Default)]
pub(super) struct Masks {
    /// The tensors to feed, without repetition.
    pub(super) found: Vec<Mask>,
    /// True if the softmax of some attention has no mask, neither to feed nor computed from the ids.
    pub(super) has_unmasked_attention: bool,
}

/// An operation between scores and their softmax.
struct Join {
    output: Tensor,
    /// Its operands that are not computed from scores.
    sides: Vec<Tensor>,
}

/// Finds the masks of a slice.
pub(super) fn find(
    view: &View<'_>,
    slice: &Slice<'_>,
    on: &Dependence,
    shape: BatchShape,
) -> Result<Masks, Refusal> {
    let graph = view.graph();
    let is_softmax = |tensor: &&Tensor| {
        matches!(graph.op(tensor.node), "Softmax" | "LogSoftmax") && on.features.contains(tensor)
    };
    let mut search = Search {
        view,
        on,
        shape,
        known: HashMap::new(),
    };
    let mut found: BTreeMap<Tensor, Mask> = BTreeMap::new();
    let mut has_unmasked_attention = false;
    for (count, &softmax) in slice.tensors().iter().filter(is_softmax).enumerate() {
        if count >= MAX_SOFTMAXES {
            let why = format!("the output is computed from more than {MAX_SOFTMAXES} softmaxes");
            return Err(Refusal::at(softmax.node, why));
        }
        let (joins, is_attention) = search.joins(softmax);
        let masks = search.masks(&joins)?;
        let mut sides = joins.iter().flat_map(|join| &join.sides);
        let is_masked = !masks.is_empty() || sides.any(|side| on.fed.contains(side));
        has_unmasked_attention |= is_attention && !is_masked;
        for mask in masks {
            let other = *found.entry(mask.tensor).or_insert(mask);
            if other != mask {
                let why = "1 is attended in one layer, and padding in another";
                return Err(Refusal::at(mask.tensor.node, why));
            }
        }
        if found.len() > MAX_MASKS {
            let why = format!("more than {MAX_MASKS} attention masks");
            return Err(Refusal::at(softmax.node, why));
        }
    }
    Ok(Masks {
        found: found.into_values().collect(),
        has_unmasked_attention,
    })
}

/// The search for masks, with what was found for earlier layers.
struct Search<'a> {
    view: &'a View<'a>,
    on: &'a Dependence,
    shape: BatchShape,
    /// The tensors to feed for an operand beside the scores.
    known: HashMap<Tensor, Vec<(Tensor, MaskForm)>>,
}

impl Search<'_> {
    /// Returns the operations between a softmax and the product before it, and whether the product is one of
    /// two tensors that both depend on the text: queries and keys.
    fn joins(&self, softmax: Tensor) -> (Vec<Join>, bool) {
        let is_feature = |tensor: &Tensor| self.on.features.contains(tensor);
        let mut joins = Vec::new();
        let mut is_attention = false;
        let mut seen = HashSet::new();
        let mut open: Vec<Tensor> = value_inputs(self.view, softmax);
        while let Some(tensor) = open.pop() {
            if !is_feature(&tensor) || seen.len() >= MAX_STEPS || !seen.insert(tensor) {
                continue;
            }
            let operands = value_inputs(self.view, tensor);
            if self.view.is_product(tensor.node) {
                is_attention |= operands.len() == 2 && operands.iter().all(is_feature);
                continue;
            }
            let (features, sides): (Vec<_>, Vec<_>) = operands.into_iter().partition(is_feature);
            open.extend(features);
            if !sides.is_empty() {
                joins.push(Join {
                    output: tensor,
                    sides,
                });
            }
        }
        (joins, is_attention)
    }

    /// Returns the masks that operations apply to scores.
    fn masks(&mut self, joins: &[Join]) -> Result<Vec<Mask>, Refusal> {
        let mut found: BTreeMap<Tensor, (MaskForm, Result<bool, Refusal>)> = BTreeMap::new();
        for join in joins {
            let mut tensors: BTreeMap<Tensor, MaskForm> = BTreeMap::new();
            for &side in &join.sides {
                if !self.known.contains_key(&side) {
                    let behind = self.behind(side)?;
                    self.known.insert(side, behind);
                }
                tensors.extend(self.known[&side].iter().copied());
            }
            let all: BTreeSet<Tensor> = tensors.keys().copied().collect();
            for (tensor, form) in tensors {
                let effect = one_is_attended(self.view, self.on, join.output, tensor, &all);
                let known = found
                    .entry(tensor)
                    .or_insert_with(|| (form, effect.clone()));
                // Scores may also be multiplied by a mask, which alone does not remove a token.
                if known.1.is_err() {
                    known.1 = effect;
                }
            }
        }
        let mask = |(tensor, (form, effect)): (_, (_, Result<bool, Refusal>))| {
            Ok(Mask {
                tensor,
                form,
                one_is_attended: effect?,
            })
        };
        found.into_iter().map(mask).collect()
    }

    /// Returns the tensors to feed behind an operand beside the scores.
    fn behind(&self, side: Tensor) -> Result<Vec<(Tensor, MaskForm)>, Refusal> {
        let graph = self.view.graph();
        let mut found = Vec::new();
        let mut sources = Vec::new();
        let mut seen = HashSet::from([side]);
        let mut level = vec![side];
        while !level.is_empty() {
            let mut next = Vec::new();
            for tensor in level {
                if !self.on.data.contains(&tensor) {
                    continue;
                }
                let shape = graph.shape(tensor);
                if shape
                    .as_ref()
                    .is_some_and(|shape| self.shape.is_rows(shape))
                {
                    found.push((self.earliest(tensor), MaskForm::Rows));
                    continue;
                }
                if is_source(self.view, tensor) {
                    // A scalar is a scale or a rate of dropout.
                    if shape.as_ref().is_none_or(|shape| !shape.is_empty()) {
                        sources.push((tensor, shape));
                    }
                    continue;
                }
                let inputs = value_inputs(self.view, tensor).into_iter();
                next.extend(inputs.filter(|input| seen.insert(*input)));
            }
            if seen.len() > MAX_SIDE || found.len() > MAX_MASKS {
                let why = format!(
                    "an operand beside scores is computed from more than {MAX_SIDE} tensors"
                );
                return Err(Refusal::at(side.node, why));
            }
            level = next;
        }
        if found.is_empty() {
            for (source, shape) in sources {
                let form = self.form(shape.as_deref()).ok_or_else(|| {
                    let why = format!("an attention mask of shape {}", text(shape.as_deref()));
                    Refusal::at(source.node, why)
                })?;
                found.push((source, form));
            }
        }
        Ok(found)
    }

    fn form(&self, shape: Option<&[i64]>) -> Option<MaskForm> {
        let is_rows = |batch: i64, length: i64| self.shape.is_rows(&[batch, length]);
        match *shape.unwrap_or(&[-1, -1]) {
            [batch, length] if is_rows(batch, length) => Some(MaskForm::Rows),
            [batch, 1, length] | [batch, 1, 1, length] if is_rows(batch, length) => {
                Some(MaskForm::Keys)
            }
            [batch, queries, keys] | [batch, 1, queries, keys]
                if is_rows(batch, queries) && is_rows(batch, keys) =>
            {
                Some(MaskForm::Pairs)
            }
            _ => None,
        }
    }

    /// Returns the tensor that a mask is made from without comparing: by casts, changes of shape, affine
    /// functions, or as the condition that selects between two constants.
    fn earliest(&self, mask: Tensor) -> Tensor {
        const TRANSPARENT: &[&str] = &[
            "Sub",
            "Add",
            "AddV2",
            "Mul",
            "RealDiv",
            "Neg",
            "LogicalNot",
            "Select",
            "SelectV2",
            "IdentityN",
            "Merge",
        ];
        let graph = self.view.graph();
        let is_rows = |tensor: Tensor| match graph.shape(tensor) {
            Some(shape) => self.shape.is_rows(&shape),
            None => is_source(self.view, tensor),
        };
        let mut found = mask;
        let mut tensor = mask;
        for _ in 0..MAX_STEPS {
            let op = graph.op(tensor.node);
            let inputs = value_inputs(self.view, tensor).into_iter();
            let data: Vec<Tensor> = inputs
                .filter(|input| self.on.data.contains(input))
                .collect();
            let [input] = data[..] else { break };
            let passes = self.view.passes_on(tensor.node) || TRANSPARENT.contains(&op);
            if !passes || self.on.fed.contains(&input) {
                break;
            }
            tensor = input;
            if is_rows(tensor) {
                found = tensor;
            }
        }
        found
    }
}

fn text(shape: Option<&[i64]>) -> String {
    shape.map_or_else(|| "unknown rank".to_owned(), |shape| format!("{shape:?}"))
}
