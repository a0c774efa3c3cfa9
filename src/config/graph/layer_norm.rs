//! The epsilon of a LayerNorm, from the dependence of gamma's factor on the variance.
//!
//! A LayerNorm multiplies gamma by `1/√(variance + ε)`, in one of several orders. From a product with
//! gamma, the other operand is followed back to the variance, the mean of squared deviations from a mean.
//! The factor is then evaluated on sample variances: the value at 0 gives `ε`, and all other values must
//! fit the formula with this `ε`. Keras computes some LayerNorms as `FusedBatchNormV3`, whose epsilon is an
//! attribute.

use std::collections::HashMap;

use tf_checkpoint::{NodeId, Tensor};

use super::elementwise::Elementwise;
use super::unrecognised::Unrecognised;
use super::view::View;
use crate::config::epsilon::Epsilon;

/// The sample variances; at 0 only epsilon remains.
const VARIANCES: [f64; 5] = [0.0, 1e-3, 0.37, 1.0, 2.5];
/// The largest relative deviation of the factor from `1/√(variance + ε)`.
const TOLERANCE: f64 = 1e-9;
/// The largest number of operations between gamma and the variance.
const MAX_DEPTH: usize = 12;
/// The largest number of products with one gamma that are followed.
const MAX_PRODUCTS: usize = 64;
/// Elementwise operations that may lie between gamma and the variance.
const STEPS: &[&str] = &[
    "Mul",
    "RealDiv",
    "Div",
    "Rsqrt",
    "Sqrt",
    "Add",
    "AddV2",
    "Pow",
    "Reciprocal",
    "Maximum",
];
/// Operations that normalise by themselves.
const FUSED: &[&str] = &["FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"];

/// Reads the epsilon of the LayerNorm in `scope`; `None` if the graph does not compute it.
pub(super) fn read(
    view: &View<'_>,
    scope: &str,
) -> Result<Option<(Epsilon, NodeId)>, Unrecognised> {
    let mut found: Option<(Epsilon, NodeId)> = None;
    let unknown = |node, why: String, is_foreign| Unrecognised {
        subject: format!("the epsilon of {scope}"),
        node,
        why,
        is_foreign,
    };
    for factor in factors(view, scope) {
        let (epsilon, node) = match factor.variance {
            Variance::Fused(node) => (Some(fused_epsilon(view, node)), node),
            Variance::Of(variance) => {
                if !is_of_deviations(view, variance) {
                    let why = "the variance is not a mean of squared deviations from the mean of the \
                               same values";
                    return Err(unknown(variance.node, why.to_owned(), true));
                }
                (
                    epsilon_between(view, factor.tensor, variance),
                    factor.tensor.node,
                )
            }
        };
        let Some(epsilon) = epsilon else {
            let why = "the factor of gamma is not 1/√(variance + epsilon)".to_owned();
            return Err(unknown(node, why, true));
        };
        match found {
            Some((first, _)) if first != epsilon => {
                let why = format!("{epsilon} here, but {first} elsewhere in the same LayerNorm");
                return Err(unknown(node, why, true));
            }
            _ => found = Some((epsilon, node)),
        }
    }
    // An unknown operation that normalises by itself and reads gamma.
    let readers = view.reads(&format!("{scope}/gamma"));
    let readers = readers
        .iter()
        .flat_map(|gamma| view.graph().consumers(gamma.node));
    let normalises = |node: &NodeId| view.graph().op(*node).contains("Norm");
    if let (None, Some(node)) = (found, readers.map(|next| next.node).find(normalises)) {
        let op = view.graph().op(node);
        return Err(unknown(node, format!("operation {op} is not known"), false));
    }
    // No rule followed the LayerNorm, but a node adds its beta: it is computed in an unknown way.
    match (found, &view.norm_outputs(scope)[..]) {
        (None, [output, ..]) => {
            let why = "no product with gamma depends on a variance".to_owned();
            Err(unknown(*output, why, false))
        }
        _ => Ok(found),
    }
}

/// Returns the tensors that the LayerNorm in `scope` normalises.
pub(super) fn inputs(view: &View<'_>, scope: &str) -> Vec<Tensor> {
    let graph = view.graph();
    let mut inputs: Vec<Tensor> = factors(view, scope)
        .iter()
        .filter_map(|factor| match factor.variance {
            Variance::Fused(node) => graph.input(node, 0),
            Variance::Of(variance) => deviation(view, variance).map(|(value, _)| value),
        })
        .map(|tensor| view.flat_origin(tensor))
        .collect();
    inputs.sort_unstable();
    inputs.dedup();
    inputs
}

/// A factor of gamma.
#[derive(Debug)]
struct Factor {
    tensor: Tensor,
    variance: Variance,
}

/// The source of a factor's variance.
#[derive(Clone, Copy, Debug)]
enum Variance {
    /// A mean of squares.
    Of(Tensor),
    /// A node that normalises by itself.
    Fused(NodeId),
}

/// Returns the factors of gamma that depend on a variance: the other operand of a product with gamma, or of
/// the next product or division. Gradients also multiply by gamma, by the same factors.
fn factors(view: &View<'_>, scope: &str) -> Vec<Factor> {
    let graph = view.graph();
    let gammas = view.reads(&format!("{scope}/gamma"));
    let mut factors = Vec::new();
    for gamma in &gammas {
        let consumers = graph.consumers(gamma.node).iter().take(MAX_PRODUCTS);
        let products = consumers.filter(|next| next.output == gamma.output);
        for product in products.filter(|product| graph.op(product.node) == "Mul") {
            let other = graph.input(product.node, 1 - (product.operand as usize).min(1));
            let next = graph.consumers(product.node).iter().take(MAX_PRODUCTS);
            let next = next.map(|next| next.node);
            let next = next.filter(|&node| matches!(graph.op(node), "Mul" | "RealDiv" | "Div"));
            let candidates = other.into_iter().chain(next.map(Tensor::from));
            let mut candidates = candidates.filter(|candidate| !gammas.contains(candidate));
            factors.extend(candidates.find_map(|tensor| {
                let variance = variance_behind(view, tensor, 0)?;
                Some(Factor { tensor, variance })
            }));
        }
    }
    factors.sort_by_key(|factor| factor.tensor);
    factors.dedup_by_key(|factor| factor.tensor);
    factors
}

/// Follows a factor back to its variance.
fn variance_behind(view: &View<'_>, tensor: Tensor, depth: usize) -> Option<Variance> {
    let graph = view.graph();
    let tensor = view.flat_origin(tensor);
    let op = graph.op(tensor.node);
    if FUSED.contains(&op) {
        return Some(Variance::Fused(tensor.node));
    }
    if op == "Mean" && squared(view, tensor).is_some() {
        return Some(Variance::Of(tensor));
    }
    if depth >= MAX_DEPTH || !STEPS.contains(&op) {
        return None;
    }
    let mut inputs = [0, 1]
        .into_iter()
        .filter_map(|at| graph.input(tensor.node, at));
    inputs.find_map(|input| variance_behind(view, input, depth + 1))
}

/// Returns the operands of the squares in a mean of squares: `[a]` for a square of `a`, `[a, b]` for a
/// squared difference.
fn squared(view: &View<'_>, mean: Tensor) -> Option<Vec<Tensor>> {
    let graph = view.graph();
    let square = view.flat_origin(graph.input(mean.node, 0)?);
    let [a, b] = [0, 1].map(|operand| graph.input(square.node, operand));
    match graph.op(square.node) {
        "SquaredDifference" => Some(vec![a?, b?]),
        "Square" => Some(vec![a?]),
        "Mul" if a == b => Some(vec![a?]),
        "Pow" => {
            let power = Elementwise::new(view, 0.0).value(b?).ok()?;
            (power == [2.0]).then_some(vec![a?])
        }
        _ => None,
    }
}

/// Returns the two operands of the squared difference in a variance: the value and its mean.
fn deviation(view: &View<'_>, variance: Tensor) -> Option<(Tensor, Tensor)> {
    let graph = view.graph();
    match squared(view, variance)?[..] {
        [a, b] => Some((a, b)),
        [difference] => {
            let difference = view.flat_origin(difference).node;
            let is_difference = graph.op(difference) == "Sub";
            let [a, b] = [0, 1].map(|operand| graph.input(difference, operand));
            if is_difference { a.zip(b) } else { None }
        }
        _ => None,
    }
}

/// Returns true if the variance is a mean of squared deviations from the mean of the same values.
fn is_of_deviations(view: &View<'_>, variance: Tensor) -> bool {
    let Some((value, mean)) = deviation(view, variance) else {
        return false;
    };
    let mean = view.flat_origin(mean);
    let of = view.graph().input(mean.node, 0);
    view.graph().op(mean.node) == "Mean"
        && of.is_some_and(|of| view.flat_origin(of) == view.flat_origin(value))
}

/// Returns the epsilon of a factor; `None` if the factor is not `1/√(variance + ε)`.
fn epsilon_between(view: &View<'_>, factor: Tensor, variance: Tensor) -> Option<Epsilon> {
    let mut evaluation = Elementwise::new(view, 0.0);
    evaluation.set(variance, &VARIANCES);
    replace_others(
        view,
        factor,
        variance,
        &mut evaluation,
        &mut HashMap::new(),
        0,
    );
    let values = evaluation.value(factor).ok()?;
    let at_zero = *values.first()?;
    let epsilon = if at_zero.is_infinite() {
        0.0
    } else {
        1.0 / (at_zero * at_zero)
    };
    let fits = std::iter::zip(VARIANCES, &values)
        .skip(1)
        .all(|(variance, value)| (value * (variance + epsilon).sqrt() - 1.0).abs() <= TOLERANCE);
    (values.len() == VARIANCES.len() && fits).then(|| Epsilon::from_float32(epsilon))
}

/// Replaces every operand that does not depend on the variance, such as the normalised deviation, by 1;
/// constants keep their value. Returns true if `tensor` depends on the variance.
fn replace_others(
    view: &View<'_>,
    tensor: Tensor,
    variance: Tensor,
    evaluation: &mut Elementwise<'_>,
    known: &mut HashMap<Tensor, bool>,
    depth: usize,
) -> bool {
    let tensor = view.flat_origin(tensor);
    if tensor == variance {
        return true;
    }
    if let Some(depends) = known.get(&tensor) {
        return *depends;
    }
    let graph = view.graph();
    let mut depends = false;
    if depth < MAX_DEPTH && STEPS.contains(&graph.op(tensor.node)) {
        let inputs: Vec<Tensor> = graph.inputs(tensor.node).to_vec();
        let on_variance: Vec<bool> = inputs
            .iter()
            .map(|&input| {
                !input.is_missing()
                    && replace_others(view, input, variance, evaluation, known, depth + 1)
            })
            .collect();
        depends = on_variance.contains(&true);
        for (input, _) in std::iter::zip(inputs, on_variance).filter(|(_, on)| depends && !on) {
            if !input.is_missing() && Elementwise::new(view, 0.0).value(input).is_err() {
                evaluation.set(input, &[1.0]);
            }
        }
    }
    known.insert(tensor, depends);
    depends
}

fn fused_epsilon(view: &View<'_>, node: NodeId) -> Epsilon {
    /// The epsilon of a node without the attribute.
    const DEFAULT: f32 = 1e-4;
    let attribute = view.graph().float(node, "epsilon");
    Epsilon::from_float32(attribute.unwrap_or(DEFAULT).into())
}
