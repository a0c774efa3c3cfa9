//! Evaluates elementwise parts of a graph on samples.
//!
//! Different spellings of the same activation give the same numbers, so that an evaluation recognises all
//! of them; a list of operations would have to contain every spelling. An evaluation starts from constants
//! and from given tensors (the input of an activation, a variance), each replaced by a column of samples.
//! All random operations return one given draw, so that a dropout mask can be evaluated at both ends.
//!
//! Everything is computed in float64. The evaluation ends with an error at an operation that is not
//! elementwise, at a constant whose elements differ, and at an input that is not in the graph.

use std::collections::HashMap;

use candle_electra::activation::{sigmoid, softplus};
use tf_checkpoint::{NodeId, Tensor};

use super::view::View;

/// The largest depth of operations between a result and its inputs.
const MAX_DEPTH: usize = 96;
/// The largest number of tensors in one evaluation; the longest activation takes about twenty.
const MAX_TENSORS: usize = 512;

/// Operations by their names.
type Table<F> = &'static [(&'static str, F)];

/// Functions of one number.
const UNARY: Table<fn(f64) -> f64> = &[
    ("Abs", f64::abs),
    ("Ceil", f64::ceil),
    ("Elu", |x| if x > 0.0 { x } else { x.exp_m1() }),
    ("Erf", libm::erf),
    ("Erfc", libm::erfc),
    ("Exp", f64::exp),
    ("Expm1", f64::exp_m1),
    ("Floor", f64::floor),
    ("Inv", f64::recip),
    ("Log", f64::ln),
    ("Log1p", f64::ln_1p),
    ("LogicalNot", |x| truth(x == 0.0)),
    ("Neg", |x| -x),
    ("OnesLike", |_| 1.0),
    ("Reciprocal", f64::recip),
    ("Relu", |x| x.max(0.0)),
    ("Relu6", |x| x.clamp(0.0, 6.0)),
    ("Round", f64::round_ties_even),
    ("Rsqrt", |x| x.sqrt().recip()),
    ("Selu", selu),
    ("Sigmoid", sigmoid),
    ("Sign", |x| if x == 0.0 { 0.0 } else { x.signum() }),
    ("Softplus", softplus),
    ("Softsign", |x| x / (1.0 + x.abs())),
    ("Sqrt", f64::sqrt),
    ("Square", |x| x * x),
    ("Tanh", f64::tanh),
    ("ZerosLike", |_| 0.0),
];

/// Functions of two numbers.
#[allow(clippy::float_cmp, reason = "the operations compare exactly")]
const BINARY: Table<fn(f64, f64) -> f64> = &[
    ("Add", |a, b| a + b),
    ("AddV2", |a, b| a + b),
    ("BiasAdd", |a, b| a + b),
    ("Div", |a, b| a / b),
    ("DivNoNan", |a, b| if b == 0.0 { 0.0 } else { a / b }),
    ("Equal", |a, b| truth(a == b)),
    ("Greater", |a, b| truth(a > b)),
    ("GreaterEqual", |a, b| truth(a >= b)),
    ("Less", |a, b| truth(a < b)),
    ("LessEqual", |a, b| truth(a <= b)),
    ("LogicalAnd", |a, b| truth(a != 0.0 && b != 0.0)),
    ("LogicalOr", |a, b| truth(a != 0.0 || b != 0.0)),
    ("Maximum", f64::max),
    ("Minimum", f64::min),
    ("Mul", |a, b| a * b),
    ("MulNoNan", |a, b| if b == 0.0 { 0.0 } else { a * b }),
    ("NotEqual", |a, b| truth(a != b)),
    ("Pow", f64::powf),
    ("RealDiv", |a, b| a / b),
    ("SquaredDifference", |a, b| (a - b) * (a - b)),
    ("Sub", |a, b| a - b),
];

/// Operations that draw uniform numbers between 0 and 1.
const RANDOM: &[&str] = &[
    "RandomUniform",
    "StatelessRandomUniform",
    "StatelessRandomUniformV2",
];

/// Operations that only repeat or reorder the elements of their first input: no change for single numbers.
const REARRANGING: &[&str] = &["Transpose", "BroadcastTo", "Tile"];

/// The slope of a `LeakyRelu` node without the attribute.
const DEFAULT_LEAKY_SLOPE: f32 = 0.2;

fn truth(value: bool) -> f64 {
    f64::from(u8::from(value))
}

fn selu(x: f64) -> f64 {
    const SCALE: f64 = 1.050_700_987_355_480_5;
    const ALPHA: f64 = 1.673_263_242_354_377_2;
    SCALE * if x > 0.0 { x } else { ALPHA * x.exp_m1() }
}

/// Returns the values of `tensor` for samples of its inputs. The error is the node where the evaluation
/// ended.
pub(crate) fn apply(
    view: &View<'_>,
    tensor: Tensor,
    inputs: &[(Tensor, [f64; 2])],
) -> Result<Vec<f64>, NodeId> {
    /// The result of random operations, which an evaluation must not depend on.
    const DRAW: f64 = 0.5;
    let mut evaluation = Elementwise::new(view, DRAW);
    for (input, samples) in inputs {
        evaluation.set(*input, samples);
    }
    evaluation.value(tensor)
}

/// An evaluation on a column of samples.
#[derive(Debug)]
pub(super) struct Elementwise<'a> {
    view: &'a View<'a>,
    /// The values of the start tensors, and of every tensor evaluated so far.
    values: HashMap<Tensor, Vec<f64>>,
    /// The result of every random operation.
    draw: f64,
    /// The operations evaluated so far, in order.
    operations: Vec<String>,
}

impl<'a> Elementwise<'a> {
    /// Creates an evaluation that starts from constants alone.
    pub(super) fn new(view: &'a View<'a>, draw: f64) -> Self {
        Self {
            view,
            values: HashMap::new(),
            draw,
            operations: Vec::new(),
        }
    }

    /// Replaces a tensor by samples.
    pub(super) fn set(&mut self, tensor: Tensor, samples: &[f64]) {
        self.values.insert(tensor, samples.to_vec());
    }

    /// Returns the operations evaluated so far.
    pub(super) fn operations(&self) -> &[String] {
        &self.operations
    }

    /// Evaluates a tensor: one number, or one number for each sample. The error is the node where the
    /// evaluation ended.
    pub(super) fn value(&mut self, tensor: Tensor) -> Result<Vec<f64>, NodeId> {
        self.value_at(tensor, 0)
    }

    fn value_at(&mut self, tensor: Tensor, depth: usize) -> Result<Vec<f64>, NodeId> {
        if let Some(value) = self.values.get(&tensor) {
            return Ok(value.clone());
        }
        if depth > MAX_DEPTH || self.values.len() >= MAX_TENSORS {
            return Err(tensor.node);
        }
        let value = self.compute(tensor, depth)?;
        self.values.insert(tensor, value.clone());
        Ok(value)
    }

    fn compute(&mut self, tensor: Tensor, depth: usize) -> Result<Vec<f64>, NodeId> {
        let graph = self.view.graph();
        let node = tensor.node;
        let op = graph.op(node);
        let input = |this: &mut Self, operand: usize| {
            let input = graph.input(node, operand).ok_or(node)?;
            this.value_at(input, depth + 1)
        };
        if op == "Const" {
            let values = graph.constant(node).ok_or(node)?.values;
            return match &values[..] {
                [first, ..] if values.iter().all(|value| value.total_cmp(first).is_eq()) => {
                    Ok(vec![*first])
                }
                _ => Err(node),
            };
        }
        if RANDOM.contains(&op) {
            return Ok(vec![self.draw]);
        }
        let origin = self.view.flat_origin(tensor);
        if origin != tensor {
            return self.value_at(origin, depth + 1);
        }
        if REARRANGING.contains(&op) {
            return input(self, 0);
        }
        let result = match op {
            // Only the value matters, not the shape.
            "Fill" => return input(self, 1),
            "AddN" => {
                let mut sum = vec![0.0];
                for operand in 0..graph.inputs(node).len() {
                    sum = zip(&sum, &input(self, operand)?, |a, b| a + b);
                }
                sum
            }
            "Select" | "SelectV2" => {
                let [condition, yes, no] = [input(self, 0)?, input(self, 1)?, input(self, 2)?];
                let yes = zip(&condition, &yes, |c, y| if c == 0.0 { 0.0 } else { y });
                let no = zip(&condition, &no, |c, n| if c == 0.0 { n } else { 0.0 });
                zip(&yes, &no, |a, b| a + b)
            }
            "LeakyRelu" => {
                let slope = graph.float(node, "alpha");
                let slope = f64::from(slope.unwrap_or(DEFAULT_LEAKY_SLOPE));
                let leak = |x: &f64| if *x > 0.0 { *x } else { slope * x };
                input(self, 0)?.iter().map(leak).collect()
            }
            _ => {
                if let Some((_, function)) = UNARY.iter().find(|(name, _)| *name == op) {
                    input(self, 0)?.into_iter().map(function).collect()
                } else if let Some((_, function)) = BINARY.iter().find(|(name, _)| *name == op) {
                    let [a, b] = [input(self, 0)?, input(self, 1)?];
                    zip(&a, &b, function)
                } else {
                    return Err(node);
                }
            }
        };
        self.operations.push(op.to_owned());
        Ok(result)
    }
}

/// Applies a function element by element; a single number is broadcast to a column.
fn zip(a: &[f64], b: &[f64], function: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let len = a.len().max(b.len());
    let at = |values: &[f64], index: usize| values[if values.len() == 1 { 0 } else { index }];
    (0..len)
        .map(|index| function(at(a, index), at(b, index)))
        .collect()
}
