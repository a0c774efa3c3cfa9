//! Every operation computes what TensorFlow computes. `scripts/make_op_cases.py` made the cases.

use std::collections::BTreeSet;

use crate::values::{Values, data, deviation, graph, nodes, tensor};
use tf_checkpoint::NodeId;
use tf_graph::{Array, ArrayType, Evaluation, Meter, Precision, Variables};

/// The largest deviation: float32, in another order of additions.
const TOLERANCE: f64 = 2e-6;

/// Cases that compute in 16 bits.
const ROUNDED: [&str; 4] = [
    "Exp/half",
    "Cast/float32_truncated_widened",
    "Cast/float32_bfloat16_widened",
    "Cast/float32_float16",
];

struct NoVariables;

impl Variables for NoVariables {
    fn read(&self, _node: NodeId) -> Result<Array, String> {
        Err("the cases have no variables".to_owned())
    }
}

#[test]
fn operations_compute_what_tensorflow_computes() {
    let graph = graph(&data("operations/ops.meta"));
    let nodes = nodes(&graph);
    let expected = Values::open(&data("operations/expected.safetensors")).arrays();
    assert!(expected.len() > 500, "{}", expected.len());
    let mut wrong = Vec::new();
    let mut operations = BTreeSet::new();
    for (key, expected) in &expected {
        // 16-bit results are not rounded.
        if ROUNDED.iter().any(|name| key.starts_with(name)) {
            continue;
        }
        let output = tensor(&nodes, key);
        operations.insert(graph.op(output.node).to_owned());
        for precision in [Precision::OfGraph, Precision::Double] {
            let meter = Meter::new(1 << 24, 1 << 24, &|| false);
            let evaluation = Evaluation::new(&graph, &NoVariables).meter(meter);
            match evaluation.precision(precision).run(&[output]) {
                Ok(evaluated) => {
                    let found = &evaluated.values[0];
                    if found.shape() != expected.shape() {
                        let [found, expected] = [found.shape(), expected.shape()];
                        wrong.push(format!("{key}: shape {found:?}, expected {expected:?}"));
                        continue;
                    }
                    let is_float = |array: &Array| {
                        matches!(array.dtype(), ArrayType::Float32 | ArrayType::Float64)
                    };
                    let deviation = deviation(found, expected);
                    if deviation > TOLERANCE || is_float(found) != is_float(expected) {
                        let kind = found.dtype();
                        wrong.push(format!("{key}: {kind:?} deviates by {deviation:e}"));
                    }
                }
                Err(refusal) => wrong.push(format!("{key}: {refusal}")),
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        expected.len(),
        wrong.join("\n")
    );
    assert!(operations.len() > 100, "{operations:?}");
}
