//! Dropout, found by structure and replaced by what it is on average: the identity.
//!
//! A dropout multiplies features by a mask that is drawn at random, or selects features or zero by such a
//! mask, and scales what it keeps. Values that depend on a random operation and values that depend on a
//! tensor that is fed form two sets. A node that joins an operand of the first set alone with one of the
//! second set must be a dropout. The mask's own operations are evaluated with
//! the same number in place of every random one, which shows the value that a kept element is multiplied
//! by and, by bisection, the probability that an element is kept. If the probability, the kept value and a
//! constant factor before the mask have the product 1, the node stands for its features.
//!
//! Anything else that is random (noise, a dropout that does not scale, layers that are left out) is
//! refused.

use std::collections::{HashMap, HashSet};

use tf_checkpoint::{NodeId, Tensor};

use crate::array::{Array, ArrayType};
use crate::constants::{constant, literal};
use crate::failure::Failure;
use crate::flow::Flow;
use crate::operations::{UNIFORM, is_random};
use crate::refusal::Refusal;
use crate::run::Run;
use crate::slice::Slice;
use crate::types::data_type;

/// The largest deviation from 1 of probability times kept value times factor.
const TOLERANCE: f64 = 1e-4;
/// The largest number below 1 that a float32 uniform can be, about.
const ALMOST_ONE: f64 = 0.999_999_9;
/// Steps of the bisection: 2^-30 is far below the tolerance.
const STEPS: usize = 30;

/// Returns the tensor that each dropout in the slice stands for.
pub(crate) fn neutralised(
    flow: &Flow<'_>,
    slice: &Slice,
) -> Result<HashMap<Tensor, Tensor>, Refusal> {
    let graph = flow.graph;
    let random = slice.dependent(flow, |node| is_random(graph.op(node)), |_| false);
    if random.is_empty() {
        return Ok(HashMap::new());
    }
    let features = slice.dependent(flow, |_| false, |tensor| flow.is_fed(tensor));
    let search = Search {
        flow,
        slice,
        random,
        features,
    };
    let mut aliases = HashMap::new();
    for &node in &slice.order {
        if let Some(stands_for) = search.dropout(node)? {
            aliases.insert(node.into(), stands_for);
        }
    }
    Ok(aliases)
}

struct Search<'a> {
    flow: &'a Flow<'a>,
    slice: &'a Slice,
    /// Nodes that depend on a random operation.
    random: HashSet<NodeId>,
    /// Nodes that depend on a tensor that is fed.
    features: HashSet<NodeId>,
}

impl Search<'_> {
    fn is_feature(&self, tensor: Tensor) -> bool {
        self.flow.is_fed(tensor) || self.features.contains(&tensor.node)
    }

    fn is_mask(&self, tensor: Tensor) -> bool {
        self.random.contains(&tensor.node) && !self.is_feature(tensor)
    }

    /// Returns the tensor that a dropout stands for; `None` for a node that is no dropout.
    fn dropout(&self, node: NodeId) -> Result<Option<Tensor>, Refusal> {
        let graph = self.flow.graph;
        let inputs = self.slice.inputs(node);
        let at = |test: &dyn Fn(Tensor) -> bool| -> Vec<usize> {
            let found = inputs.iter().enumerate().filter(|(_, input)| test(**input));
            found.map(|(at, _)| at).collect()
        };
        let masks = at(&|input| self.is_mask(input));
        let features = at(&|input| self.is_feature(input));
        if masks.is_empty() || !self.features.contains(&node) {
            return Ok(None);
        }
        let op = graph.op(node);
        let refused = |why: &str| Err(Refusal::unsupported(node, why));
        let (&[mask], &[feature]) = (&masks[..], &features[..]) else {
            return refused("random numbers change the features, and not as dropout does");
        };
        let (kept, probability) = match (op, mask) {
            ("Mul", _) => self.kept(node, inputs[mask])?,
            ("Select" | "SelectV2", 0) => {
                if !self.is_zero(inputs[3 - feature]) {
                    return refused("elements that this dropout drops do not become zero");
                }
                let (value, probability) = self.kept(node, inputs[mask])?;
                #[allow(clippy::float_cmp, reason = "a boolean")]
                let is_one = value == 1.0;
                match feature {
                    1 if is_one => (1.0, probability),
                    2 if is_one => (1.0, 1.0 - probability),
                    _ => return refused("the condition of this dropout is not random"),
                }
            }
            _ => return refused("random numbers change the features, and not as dropout does"),
        };
        let feature = inputs[feature];
        let (unscaled, factor) = self.unscaled(feature);
        let is_one = |product: f64| (product - 1.0).abs() < TOLERANCE;
        if is_one(probability * kept * factor) {
            return Ok(Some(unscaled));
        }
        if is_one(probability * kept) {
            return Ok(Some(feature));
        }
        refused(&format!(
            "elements are kept with probability {probability:.4} and multiplied by {:.4}, which is not \
             its reciprocal",
            kept * factor
        ))
    }

    /// Removes a constant factor from a tensor.
    fn unscaled(&self, tensor: Tensor) -> (Tensor, f64) {
        let one = (tensor, 1.0);
        if self.flow.is_fed(tensor) {
            return one;
        }
        let &[left, right] = self.slice.inputs(tensor.node) else {
            return one;
        };
        let scalar = |tensor| {
            let is_constant = !self.is_feature(tensor) && !self.random.contains(&tensor.node);
            let value = is_constant.then(|| constant(self.flow, tensor));
            value.flatten().and_then(|array| array.scalar())
        };
        match self.flow.graph.op(tensor.node) {
            "Mul" => {
                let scaled = scalar(right).map(|factor| (left, factor));
                scaled
                    .or_else(|| scalar(left).map(|factor| (right, factor)))
                    .unwrap_or(one)
            }
            "RealDiv" | "Div" => match scalar(right) {
                Some(divisor) if divisor != 0.0 => (left, 1.0 / divisor),
                _ => one,
            },
            _ => one,
        }
    }

    fn is_zero(&self, tensor: Tensor) -> bool {
        self.flow.graph.op(tensor.node) == "ZerosLike"
            || constant(self.flow, tensor)
                .is_some_and(|array| array.to_f64().iter().all(|&value| value == 0.0))
    }

    /// Returns the value of a mask where elements are kept, and the probability of that.
    fn kept(&self, node: NodeId, mask: Tensor) -> Result<(f64, f64), Refusal> {
        let slice = Slice::new(self.flow, &[mask])?;
        let at = |uniform: f64| self.mask_at(&slice, mask, uniform);
        let (low, high) = (at(0.0)?, at(ALMOST_ONE)?);
        #[allow(clippy::float_cmp, reason = "the same computation")]
        if low == high {
            return Ok((high, 1.0));
        }
        if low != 0.0 && high != 0.0 {
            let why = "the mask of this dropout is never zero";
            return Err(Refusal::unsupported(node, why));
        }
        let (mut below, mut above) = (0.0, ALMOST_ONE);
        for _ in 0..STEPS {
            let middle = f64::midpoint(below, above);
            #[allow(clippy::float_cmp, reason = "the same computation")]
            if at(middle)? == low {
                below = middle;
            } else {
                above = middle;
            }
        }
        Ok(if high == 0.0 {
            (low, below)
        } else {
            (high, 1.0 - below)
        })
    }

    /// Returns the mask's value for a random number.
    fn mask_at(&self, slice: &Slice, mask: Tensor, uniform: f64) -> Result<f64, Refusal> {
        let graph = self.flow.graph;
        let leaf = |node: NodeId| {
            let op = graph.op(node);
            if UNIFORM.contains(&op) {
                let kind = data_type(graph, node.into()).unwrap_or(ArrayType::Float32);
                return Ok(Array::scalar_of(kind, uniform));
            }
            if is_random(op) {
                let why = format!("the mask of a dropout comes from {op}");
                return Err(Failure::Unsupported(why));
            }
            literal(graph, node, self.flow.walk.meter())
        };
        let run = Run {
            flow: self.flow,
            leaf: &leaf,
            feeds: &HashMap::new(),
            rebatch: None,
            widens: false,
            meter: self.flow.walk.meter(),
        };
        let values = run.outputs(slice)?;
        let value = values.first().and_then(Array::scalar);
        let why = "the mask of this dropout is not computed element by element";
        value.ok_or_else(|| Refusal::unsupported(mask.node, why))
    }
}
