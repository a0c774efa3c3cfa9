//! A training graph, each of whose first nodes is evaluated.
#![no_main]

use std::path::Path;

use tf_checkpoint::{Limits, MetaGraph, NodeId};
use tf_graph::{Array, Evaluation, Meter, Variables};

/// Variables with the same small matrix as their value.
struct Matrix;

impl Variables for Matrix {
    fn read(&self, _node: NodeId) -> Result<Array, String> {
        Array::from_floats(&[2, 3], vec![0.5; 6]).map_err(|error| error.to_string())
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    /// Nodes to evaluate.
    const NODES: usize = 64;
    let parsed = MetaGraph::parse(Path::new("graph"), bytes.to_vec(), &Limits::default());
    let Ok(graph) = parsed else { return };
    let first = graph.nodes().next();
    for node in graph.nodes().take(NODES) {
        let meter = Meter::new(32 << 20, 1 << 20, &|| false);
        let mut evaluation = Evaluation::new(&graph, &Matrix).meter(meter);
        if let (Some(first), Ok(fed)) = (first, Matrix.read(node)) {
            evaluation = evaluation.feed(first.into(), fed, 1).batch(3, 2);
        }
        let _ = evaluation.run(&[node.into()]);
    }
});
