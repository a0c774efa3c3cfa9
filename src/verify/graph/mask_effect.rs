//! The effect of a mask on attention scores: whether 1 means *attended* or *padding*.
//!
//! The operations between a mask and the scores are evaluated at one position, for a mask of 0 and a mask of 1.
//! A token is attended where its score is larger. A tensor that changes the scores little is not a mask.

use std::collections::{BTreeSet, HashMap};

use tf_checkpoint::{NodeId, Tensor};

use super::dependence::{Dependence, is_source, value_inputs};
use super::refusal::Refusal;
use crate::config::graph::{View, apply, constant};

/// The smallest difference that a mask makes to scores. Masks of real code add from 1,000 to infinity.
const MIN_EFFECT: f64 = 100.0;
/// The most steps of one evaluation.
const MAX_STEPS: usize = 1 << 11;
/// Operations that select, repeat or pass on elements of their first input.
const REARRANGING: &[&str] = &[
    "Transpose",
    "Tile",
    "BroadcastTo",
    "StridedSlice",
    "Slice",
    "GatherV2",
    "Pack",
    "IdentityN",
    "Merge",
];

/// The value of a tensor at one position, for a mask of 0 and a mask of 1.
type Pair = [f64; 2];

/// Returns true if the scores in `masked` are larger where `mask` is 1 than where it is 0. `all` are the masks
/// that are combined.
pub(super) fn one_is_attended(
    view: &View<'_>,
    on: &Dependence,
    masked: Tensor,
    mask: Tensor,
    all: &BTreeSet<Tensor>,
) -> Result<bool, Refusal> {
    let name = view.graph().name(mask.node);
    let mut failure = Refusal::at(
        masked.node,
        format!("{name} does not switch off scores here, neither with 0 nor with 1"),
    );
    // Another mask may switch the same scores off, with 1 or with 0.
    for others in [1.0, 0.0] {
        let mut evaluation = Evaluation {
            view,
            on,
            values: all.iter().map(|&tensor| (tensor, [others; 2])).collect(),
        };
        evaluation.values.insert(mask, [0.0, 1.0]);
        match evaluation.value(masked) {
            Ok([zero, one]) if one - zero >= MIN_EFFECT => return Ok(true),
            Ok([zero, one]) if zero - one >= MIN_EFFECT => return Ok(false),
            Ok(_) => {}
            Err(node) => {
                let op = view.graph().op(node);
                let why = format!("{op} between the mask {name} and the scores is not known");
                failure = Refusal::at(node, why);
            }
        }
    }
    Err(failure)
}

/// The values of tensors between masks and scores.
struct Evaluation<'a> {
    view: &'a View<'a>,
    on: &'a Dependence,
    values: HashMap<Tensor, Pair>,
}

impl Evaluation<'_> {
    /// Evaluates `output`. The error is the node where the evaluation ended.
    fn value(&mut self, output: Tensor) -> Result<Pair, NodeId> {
        let mut open = vec![output];
        for _ in 0..MAX_STEPS {
            let Some(&tensor) = open.last() else { break };
            if tensor != output && !self.values.contains_key(&tensor) {
                self.values
                    .extend(self.given(tensor).map(|value| (tensor, value)));
            }
            if self.values.contains_key(&tensor) {
                open.pop();
                continue;
            }
            let inputs = value_inputs(self.view, tensor);
            let mut unknown = inputs
                .iter()
                .filter(|input| !self.values.contains_key(input));
            match unknown.next() {
                Some(input) if open.contains(input) => return Err(input.node),
                Some(&input) => open.push(input),
                None => {
                    let value = self.apply(tensor, &inputs)?;
                    self.values.insert(tensor, value);
                }
            }
        }
        self.values.get(&output).copied().ok_or(output.node)
    }

    /// Returns the value of a tensor that does not depend on a mask: a constant, or else 1, as scores, ids and
    /// scales only matter by their sign.
    fn given(&self, tensor: Tensor) -> Option<Pair> {
        let is_data = self.on.data.contains(&tensor);
        let is_scores = self.on.features.contains(&tensor);
        let is_ids = self.on.fed.contains(&tensor) && !is_data;
        if is_scores || is_ids || is_source(self.view, tensor) {
            Some([1.0; 2])
        } else if is_data {
            None
        } else {
            Some([constant(self.view, tensor).unwrap_or(1.0); 2])
        }
    }

    /// Applies one operation.
    fn apply(&self, tensor: Tensor, inputs: &[Tensor]) -> Result<Pair, NodeId> {
        let node = tensor.node;
        let values: Vec<(Tensor, Pair)> = inputs
            .iter()
            .filter_map(|input| Some((*input, *self.values.get(input)?)))
            .collect();
        let &(_, first) = values.first().ok_or(node)?;
        if self.view.passes_on(node) || REARRANGING.contains(&self.view.graph().op(node)) {
            return Ok(first);
        }
        if self.view.is_product(node) {
            let factors = values.iter().map(|(_, value)| *value);
            return Ok(factors.fold([1.0; 2], |[a, b], [c, d]| [a * c, b * d]));
        }
        match apply(self.view, tensor, &values)?[..] {
            [value] => Ok([value; 2]),
            [zero, one] => Ok([zero, one]),
            _ => Err(node),
        }
    }
}
