//! Dropout in every style, branches, loops and layouts of the batch, in graphs that TensorFlow wrote.
//! `scripts/make_graph_cases.py` made the cases.

use std::collections::HashMap;
use std::fs;

use crate::values::{Values, data, deviation, graph, nodes, tensor};
use tf_checkpoint::NodeId;
use tf_graph::{Array, Evaluation, Meter, Refusal, Variables};

struct Given(HashMap<NodeId, Array>);

impl Variables for Given {
    fn read(&self, node: NodeId) -> Result<Array, String> {
        self.0
            .get(&node)
            .cloned()
            .ok_or_else(|| "no value".to_owned())
    }
}

/// Evaluates a case; returns the largest deviation from TensorFlow, and whether it is to be refused.
fn evaluate(name: &str) -> (Result<f64, Refusal>, bool) {
    let folder = data("graphs");
    let graph = graph(&folder.join(format!("{name}.meta")));
    let nodes = nodes(&graph);
    let values = Values::open(&folder.join(format!("{name}.safetensors")));
    let to: usize = values.metadata("batch_to").parse().unwrap();
    let from = values.metadata("batch_from").parse().ok();
    let mut variables = HashMap::new();
    let mut feeds = Vec::new();
    let mut expected = Vec::new();
    for (key, array) in values.arrays() {
        match key.split_once('/').unwrap() {
            ("variable", node) => drop(variables.insert(nodes[node], array)),
            ("feed", key) => feeds.push((tensor(&nodes, key), array)),
            ("expected", key) => expected.push((tensor(&nodes, key), array)),
            other => panic!("{other:?}"),
        }
    }
    let variables = Given(variables);
    let meter = Meter::new(1 << 26, 1 << 30, &|| false);
    let mut evaluation = Evaluation::new(&graph, &variables).meter(meter);
    if let Some(from) = from {
        evaluation = evaluation.batch(from, to);
    }
    for (tensor, array) in feeds {
        let inner = array.shape()[0] / to;
        evaluation = evaluation.feed(tensor, array, inner);
    }
    let outputs: Vec<_> = expected.iter().map(|(tensor, _)| *tensor).collect();
    let found = evaluation.run(&outputs).map(|evaluated| {
        let pairs = std::iter::zip(&evaluated.values, &expected);
        let deviations = pairs.map(|(found, (_, expected))| deviation(found, expected));
        deviations.fold(0.0, f64::max)
    });
    (found, values.metadata("refused") == "true")
}

#[test]
fn graphs_compute_what_tensorflow_computes_without_dropout() {
    let mut names: Vec<String> = fs::read_dir(data("graphs"))
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".meta").map(str::to_owned)
        })
        .collect();
    names.sort();
    assert!(names.len() > 20, "{names:?}");
    let mut wrong = Vec::new();
    for name in &names {
        match evaluate(name) {
            // The output is after the loop, whose iterations are not counted.
            (Err(refusal), false) if name == "dropout_functional_while" => {
                assert!(refusal.to_string().contains("While"), "{refusal}");
            }
            (Ok(deviation), false) if deviation < 1e-5 => println!("{name}: {deviation:.1e}"),
            (Err(refusal), true) => println!("{name}: {refusal}"),
            (found, is_refused) => wrong.push(format!("{name} (refused: {is_refused}): {found:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
