//! Functions of a SavedModel: those that no signature calls, and those that call each other without end.

use std::path::Path;
use std::time::Instant;

use tf_checkpoint::{Error, Limits, MetaGraph};

/// Encodes a field of bytes of a protobuf message.
fn field(number: u8, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let mut field = vec![number << 3 | 2];
    let mut len = bytes.len();
    while len >= 0x80 {
        field.push(u8::try_from(len & 0x7f).unwrap() | 0x80);
        len >>= 7;
    }
    field.push(u8::try_from(len).unwrap());
    field.extend_from_slice(bytes);
    field
}

fn node(name: &str, op: &str, inputs: &[&str]) -> Vec<u8> {
    let inputs = inputs.iter().flat_map(|input| field(3, input));
    [field(1, name), field(2, op), inputs.collect()].concat()
}

/// A function of `x` that captures `kernel`, with a node of the given operation.
fn function(name: &str, op: &str) -> Vec<u8> {
    // An int64.
    let x = [field(1, "x"), vec![3 << 3, 9]].concat();
    let signature = [
        field(1, name),
        field(2, x),
        field(2, field(1, "kernel")),
        field(3, field(1, "y")),
    ];
    let nodes = [
        node("read", "ReadVariableOp", &["kernel"]),
        node("result", op, &["x", "read:value:0"]),
    ];
    let returned = [field(1, "y"), field(2, "result:output:0")].concat();
    let nodes = nodes.iter().flat_map(|node| field(3, node)).collect();
    [field(1, signature.concat()), nodes, field(4, returned)].concat()
}

/// The parts of a `MetaGraphDef`.
#[derive(Default)]
struct Parts {
    nodes: Vec<Vec<u8>>,
    functions: Vec<Vec<u8>>,
    /// The name of a node of each signature.
    signatures: Vec<&'static str>,
    /// The names and the numbers of the children of the first object; no such object if there are none.
    root: Vec<(&'static str, u8)>,
    /// The names of variables.
    objects: Vec<&'static str>,
    /// The names of functions, with the numbers of the variables that they capture.
    captures: Vec<(&'static str, Vec<u8>)>,
}

impl Parts {
    fn parse(&self) -> Result<MetaGraph, Error> {
        let library = self
            .functions
            .iter()
            .flat_map(|function| field(1, function));
        let library = field(2, library.collect::<Vec<u8>>());
        let nodes = self.nodes.iter().flat_map(|node| field(1, node));
        let graph = [nodes.collect::<Vec<u8>>(), library].concat();
        let signatures = self.signatures.iter().flat_map(|tensor| {
            let output = [field(1, "output"), field(2, field(1, tensor))].concat();
            field(
                5,
                [field(1, "serving"), field(2, field(2, output))].concat(),
            )
        });
        let child =
            |(name, number): &(&str, u8)| field(1, [vec![8, *number], field(2, name)].concat());
        let root: Vec<u8> = self.root.iter().flat_map(child).collect();
        let root = if root.is_empty() {
            Vec::new()
        } else {
            field(1, root)
        };
        let objects = self
            .objects
            .iter()
            .flat_map(|name| field(1, field(7, field(6, name))));
        let captures = self.captures.iter().flat_map(|(name, objects)| {
            field(2, [field(1, name), field(2, field(2, objects))].concat())
        });
        let objects: Vec<u8> = root.into_iter().chain(objects).chain(captures).collect();
        let parts = [field(2, graph), signatures.collect(), field(7, objects)];
        let bytes = field(2, parts.concat());
        MetaGraph::parse_saved_model(Path::new("saved_model.pb"), bytes, &Limits::default())
    }
}

fn names(graph: &MetaGraph) -> Vec<String> {
    graph.nodes().map(|node| graph.name(node)).collect()
}

#[test]
fn functions_that_no_signature_calls_are_a_part_of_the_graph() {
    let mut parts = Parts {
        nodes: vec![
            node("other", "VarHandleOp", &[]),
            node("kernel", "VarHandleOp", &[]),
            node("serving", "Identity", &["other"]),
        ],
        functions: vec![function("f", "MatMul"), function("g", "MatMul")],
        objects: vec!["missing", "kernel"],
        // `g` reads no other variable.
        captures: vec![("g", vec![1]), ("f", vec![1]), ("unknown", vec![1])],
        signatures: vec!["serving:0"],
        ..Parts::default()
    };
    let graph = parts.parse().unwrap();
    assert_eq!(
        names(&graph),
        ["other", "kernel", "serving", "x", "f", "f/read", "f/result"]
    );
    let nodes: Vec<_> = graph.nodes().collect();
    let [x, call, read, product] = nodes[3..] else {
        panic!("four nodes more")
    };
    assert_eq!(
        (graph.op(x), graph.data_type(x, "dtype")),
        ("Placeholder", Some(9))
    );
    assert_eq!(graph.shape(x.into()), None);
    assert_eq!(graph.op(call), "IdentityN");
    assert_eq!(graph.input(read, 0), Some(nodes[1].into()));
    assert_eq!(graph.inputs(product), [x.into(), read.into()]);
    assert_eq!(graph.inputs(call), [product.into()]);

    parts.captures[1].1 = vec![0];
    parts.captures[0].1 = vec![0];
    parts.captures.pop();
    // Of an unknown object nothing is known to be missing.
    assert_eq!(names(&parts.parse().unwrap()).len(), 3);
    parts.captures = vec![("f", vec![1])];
    parts.signatures = vec!["reads_all:0"];
    parts
        .nodes
        .push(node("reads_all", "IdentityN", &["kernel", "other"]));
    assert_eq!(names(&parts.parse().unwrap()).len(), 4);
    // Two variables with the same name are indistinguishable.
    parts.signatures.clear();
    parts.objects = vec!["kernel", "kernel"];
    parts.captures = vec![("f", vec![0]), ("g", vec![1])];
    assert_eq!(names(&parts.parse().unwrap()).len(), 4);
    // More captured objects than arguments.
    parts.objects = vec!["other", "kernel", "serving"];
    parts.captures = vec![("f", vec![0, 1, 2])];
    assert_eq!(names(&parts.parse().unwrap()).len(), 4);
    parts.captures = vec![("f", vec![0xff])];
    let error = parts.parse().unwrap_err().to_string();
    assert!(error.contains("object graph is malformed"), "{error}");
}

/// The nodes of a saver of variables, with the path of each.
fn saver(saved: &[(&str, &str)]) -> Vec<Vec<u8>> {
    let keys = saved.iter().flat_map(|(path, _)| {
        let key = format!("{path}/.ATTRIBUTES/VARIABLE_VALUE");
        field(8, key)
    });
    let tensor = [vec![8, 7], keys.collect()].concat();
    let attribute = [field(1, "value"), field(2, field(8, tensor))].concat();
    let names = [node("names", "Const", &[]), field(5, attribute)].concat();
    let reads: Vec<String> = saved
        .iter()
        .map(|(_, name)| format!("{name}/read"))
        .collect();
    let mut inputs = vec!["prefix", "names", "slices"];
    inputs.extend(reads.iter().map(String::as_str));
    let reads = std::iter::zip(saved, &reads);
    let reads = reads.map(|((_, name), read)| node(read, "ReadVariableOp", &[name]));
    let save = node("save", "SaveV2", &inputs);
    reads.chain([names, save]).collect()
}

#[test]
fn a_saver_identifies_variables_with_the_same_name() {
    let mut parts = Parts {
        nodes: vec![
            node("kernel", "VarHandleOp", &[]),
            node("kernel_1", "VarHandleOp", &[]),
        ],
        functions: vec![function("f", "MatMul")],
        // Names are escaped in keys.
        root: vec![("a.S", 1), ("b/c", 2), ("last", 1)],
        objects: vec!["kernel", "kernel"],
        captures: vec![("f", vec![1])],
        ..Parts::default()
    };
    let captured = |parts: &Parts| {
        let graph = parts.parse().unwrap();
        let read = graph.nodes().find(|node| graph.name(*node) == "f/read")?;
        Some(graph.name(graph.input(read, 0).unwrap().node))
    };
    // The name alone would be that of another variable.
    assert_eq!(captured(&parts), None);
    parts
        .nodes
        .extend(saver(&[("a..S", "kernel_1"), ("b.Sc", "kernel")]));
    assert_eq!(captured(&parts).unwrap(), "kernel_1");
    parts.captures[0].1 = vec![2];
    assert_eq!(captured(&parts).unwrap(), "kernel");
    // A key that leads to no object.
    parts.nodes.truncate(2);
    parts
        .nodes
        .extend(saver(&[("a..S/x", "kernel_1"), ("b", "kernel")]));
    assert_eq!(captured(&parts), None);
    // A variable of another object.
    parts.objects[1] = "kernel_1";
    parts.nodes.truncate(2);
    parts.nodes.extend(saver(&[("last", "kernel_1")]));
    assert_eq!(captured(&parts), None);
}

#[test]
fn object_graphs_with_many_edges_take_linear_time() {
    let start = Instant::now();
    let children: Vec<(&str, u8)> = (0..100_000).map(|_| ("x", 0)).collect();
    let keys: Vec<String> = (0..2_000)
        .map(|n| format!("{}{n}", "x/".repeat(100)))
        .collect();
    let saved: Vec<(&str, &str)> = keys.iter().map(|key| (&key[..], "kernel")).collect();
    let mut parts = Parts {
        nodes: vec![node("kernel", "VarHandleOp", &[])],
        functions: vec![function("f", "MatMul")],
        root: children,
        objects: vec!["kernel"; 1000],
        captures: vec![("f", vec![1; 20_000])],
        ..Parts::default()
    };
    parts.nodes.extend(saver(&saved));
    parts.parse().unwrap();
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

#[test]
fn recursion_and_many_functions_are_bounded() {
    let start = Instant::now();
    let recursive = Parts {
        nodes: vec![
            node("kernel", "VarHandleOp", &[]),
            node("call", "f", &["kernel", "kernel"]),
        ],
        functions: vec![function("f", "g"), function("g", "f")],
        objects: vec!["kernel"],
        captures: vec![("f", vec![0])],
        ..Parts::default()
    };
    let graph = recursive.parse().unwrap();
    assert!(graph.nodes().count() < 200, "{}", graph.nodes().count());

    // Each call doubles the number of nodes.
    let level = |depth: usize| {
        let signature = [
            field(1, format!("f{depth}")),
            field(2, field(1, "x")),
            field(3, field(1, "y")),
        ];
        let op = format!("f{}", depth + 1);
        let nodes = ["a", "b", "c", "d"]
            .iter()
            .flat_map(|name| field(3, node(name, &op, &["x"])));
        let nodes: Vec<u8> = nodes.collect();
        [field(1, signature.concat()), nodes].concat()
    };
    let doubling = Parts {
        nodes: vec![node("call", "f0", &["kernel"])],
        functions: (0..40).map(level).collect(),
        ..Parts::default()
    };
    assert!(doubling.parse().unwrap().nodes().count() <= 1 + (1 << 17));

    let many = Parts {
        nodes: vec![node("call", "f7", &["kernel"])],
        functions: (0..50_000)
            .map(|number| function(&format!("f{number}"), "MatMul"))
            .collect(),
        ..Parts::default()
    };
    assert_eq!(many.parse().unwrap().nodes().count(), 3);
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}
