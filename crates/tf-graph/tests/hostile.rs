//! Graphs that try to take memory, time or the stack end in a refusal.

use std::path::Path;

use testkit::graph_writer::{Attr, Graph};
use tf_checkpoint::{Limits, MetaGraph, NodeId};
use tf_graph::{Array, Evaluation, Failure, Meter, Refusal, Variables};

struct NoVariables;

impl Variables for NoVariables {
    fn read(&self, _node: NodeId) -> Result<Array, String> {
        Err("there are no variables".to_owned())
    }
}

/// Evaluates the node with a name.
fn evaluate(graph: &Graph, name: &str) -> Result<Vec<Array>, Refusal> {
    let parsed = MetaGraph::parse(Path::new("graph"), graph.meta(), &Limits::default()).unwrap();
    let node = parsed
        .nodes()
        .find(|&node| parsed.name(node) == name)
        .unwrap();
    let meter = Meter::new(1 << 24, 1 << 24, &|| false);
    let evaluation = Evaluation::new(&parsed, &NoVariables).meter(meter);
    evaluation
        .run(&[node.into()])
        .map(|evaluated| evaluated.values)
}

#[track_caller]
fn refused(graph: &Graph, name: &str, words: &str) -> Refusal {
    let refusal = evaluate(graph, name).unwrap_err();
    assert!(refusal.to_string().contains(words), "{refusal}");
    refusal
}

#[test]
fn cycles_are_found() {
    let mut graph = Graph::default();
    graph.named("a", "Neg", &["b"], &[]);
    graph.named("b", "Neg", &["a"], &[]);
    refused(&graph, "a", "cycle");
    let mut graph = Graph::default();
    graph.named("a", "Identity", &["b"], &[]);
    graph.named("b", "Identity", &["a"], &[]);
    refused(&graph, "a", "cycle");
    let mut graph = Graph::default();
    graph.named("a", "Merge", &["a", "b"], &[]);
    graph.named("b", "Switch", &["a", "a"], &[]);
    evaluate(&graph, "a").unwrap_err();
}

#[test]
fn gigantic_shapes_allocate_nothing() {
    let mut graph = Graph::default();
    let shape = graph.ints(&[1 << 20, 1 << 20, 1 << 10]);
    let one = graph.float(1.0);
    graph.named("fill", "Fill", &[&shape, &one], &[]);
    let refusal = refused(&graph, "fill", "exceeds the limit");
    assert!(matches!(refusal.reason, Failure::TooLarge { .. }));
    // Small operands, a large product.
    let mut graph = Graph::default();
    let side = graph.ints(&[1 << 10, 1 << 10]);
    let one = graph.float(1.0);
    let matrix = graph.op("Fill", &[&side, &one]);
    graph.named("product", "MatMul", &[&matrix, &matrix], &[]);
    refused(&graph, "product", "exceeds the limit");
}

#[test]
fn inputs_that_are_missing_or_not_fed_are_named() {
    let mut graph = Graph::default();
    graph.named("a", "Neg", &["nowhere"], &[]);
    refused(&graph, "a", "not in the graph");
    let mut graph = Graph::default();
    graph.named("ids", "IteratorGetNext", &[], &[]);
    graph.named("a", "Neg", &["ids"], &[]);
    refused(&graph, "a", "not fed");
    let mut graph = Graph::default();
    graph.named("a", "Unheard", &[], &[]);
    refused(&graph, "a", "Unheard is not supported");
    let mut graph = Graph::default();
    let one = graph.float(1.0);
    graph.named("a", "Neg", &[&format!("{one}:7")], &[]);
    refused(&graph, "a", "does not exist");
}

#[test]
fn long_chains_do_not_use_the_stack() {
    let mut graph = Graph::default();
    let mut last = graph.float(1.0);
    for _ in 0..50_000 {
        last = graph.op("Neg", &[&last]);
    }
    assert_eq!(evaluate(&graph, &last).unwrap()[0].scalar(), Some(1.0));
    for _ in 0..100_000 {
        last = graph.op("Neg", &[&last]);
    }
    refused(&graph, &last, "more than");
}

#[test]
fn conditions_within_conditions_end() {
    let mut graph = Graph::default();
    let mut condition = graph.op("Placeholder", &[]);
    for _ in 0..100 {
        let one = graph.float(1.0);
        let branches = graph.op("Switch", &[&one, &condition]);
        let taken = graph.op("Neg", &[&format!("{branches}:1")]);
        condition = graph.op("Merge", &[&branches, &taken]);
    }
    refused(&graph, &condition, "nested too deeply");
}

/// Each condition depends eight times on the one before: 8^12 evaluations, unless each is evaluated once.
#[test]
fn each_condition_is_evaluated_once() {
    let mut graph = Graph::default();
    let [one, two] = [graph.ints(&[1]), graph.ints(&[2])];
    let mut condition = graph.op("Less", &[&one, &two]);
    for _ in 0..12 {
        let mut all = graph.op("Less", &[&one, &two]);
        for _ in 0..8 {
            let branches = graph.op("Switch", &[&all, &condition]);
            let other = graph.op("LogicalNot", &[&branches]);
            let merged = graph.op("Merge", &[&other, &format!("{branches}:1")]);
            all = graph.op("LogicalAnd", &[&all, &merged]);
        }
        condition = all;
    }
    assert_eq!(evaluate(&graph, &condition).unwrap()[0].scalar(), Some(1.0));
}

#[test]
fn a_mask_of_dropout_is_computed_within_the_limits() {
    let mut graph = Graph::default();
    graph.named("x", "Placeholder", &[], &[]);
    let size = graph.ints(&[1 << 12, 1 << 12]);
    let draw = graph.op("RandomUniform", &[&size]);
    let filled = graph.op("Fill", &[&size, &draw]);
    let mask = graph.op("MatMul", &[&filled, &filled]);
    graph.named("y", "Mul", &["x", &mask], &[]);
    let parsed = MetaGraph::parse(Path::new("graph"), graph.meta(), &Limits::default()).unwrap();
    let find = |name: &str| {
        parsed
            .nodes()
            .find(|&node| parsed.name(node) == name)
            .unwrap()
    };
    let fed = Array::from_floats(&[2], vec![1.0; 2]).unwrap();
    let meter = Meter::new(1 << 24, 1 << 24, &|| false);
    let evaluation = Evaluation::new(&parsed, &NoVariables).meter(meter);
    let evaluation = evaluation.feed(find("x").into(), fed.clone(), 1);
    let refusal = evaluation.run(&[find("y").into()]).unwrap_err();
    assert!(
        matches!(refusal.reason, Failure::TooLarge { .. }),
        "{refusal}"
    );
    // Cancelled before the first value.
    let meter = Meter::new(1 << 24, 1 << 24, &|| true);
    let evaluation = Evaluation::new(&parsed, &NoVariables).meter(meter);
    let evaluation = evaluation.feed(find("x").into(), fed, 1);
    assert!(
        evaluation
            .run(&[find("y").into()])
            .unwrap_err()
            .is_cancelled()
    );
}

#[test]
fn wrong_types_are_refused() {
    let mut graph = Graph::default();
    let (one, two) = (graph.float(1.0), graph.ints(&[2]));
    graph.named("sum", "AddV2", &[&one, &two], &[]);
    evaluate(&graph, "sum").unwrap_err();
    graph.named(
        "text",
        "Const",
        &[],
        &[("value", Attr::Strings(vec!["a".to_owned()]))],
    );
    graph.named("length", "Neg", &["text"], &[]);
    refused(&graph, "length", "unsupported dtype");
}
