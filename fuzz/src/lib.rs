//! What the fuzz targets share: a folder to put files into, pairs for tables, and reading all of a
//! checkpoint through the public API, as `inspect` and `convert` do.
//!
//! Files are in a folder of the process below `TMPDIR`; on a memory file system that is fast enough.

use std::alloc::System;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use cap::Cap;
use electra_convert::{ElectraCheckpoint, Model, PlanOptions};
use tempfile::TempDir;

use testkit::bundle_writer::{self, Bundle, Field, message};
use testkit::saved_model;

/// What an input may make the program hold, in bytes: several times the 32 MiB that every file may
/// take. An input that makes it ask for more ends the process.
const MEMORY: usize = 256 << 20;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, MEMORY);

/// The prefix of the checkpoint that the targets write.
pub const PREFIX: &str = "model.ckpt-400";

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));

/// Writes a file into the folder of this process.
pub fn put(name: &str, bytes: &[u8]) -> PathBuf {
    let path = FOLDER.path().join(name);
    fs::write(&path, bytes).expect("room for a file");
    path
}

/// The folder of this process.
pub fn folder() -> &'static Path {
    FOLDER.path()
}

/// Opens a checkpoint, plans both models and reads every variable that is there.
pub fn read_all(path: &Path) {
    let Ok(source) = ElectraCheckpoint::open(path) else {
        return;
    };
    for model in [Model::Discriminator, Model::Generator] {
        let _ = source.plan(model, &PlanOptions::default());
    }
    let _ = source.step();
    let checkpoint = source.checkpoint();
    for variable in checkpoint.variables() {
        if checkpoint.check_present(variable).is_ok() {
            let len = usize::try_from(variable.bytes()).expect("as long as its file at most");
            let _ = checkpoint.read(variable, &mut vec![0; len]);
        }
    }
}

/// Keys and values of a table, sorted.
pub type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// Takes fuzzed bytes for pairs: length of the key (1 byte), of the value (2 bytes), key, value. So
/// that the fuzzer changes what is in a table and not its checksums.
pub fn pairs(mut bytes: &[u8]) -> Pairs {
    let mut pairs = Pairs::new();
    while let [key_len, low, high, rest @ ..] = bytes {
        let (key, rest) = rest.split_at(rest.len().min(usize::from(*key_len)));
        let value_len = usize::from(u16::from_le_bytes([*low, *high]));
        let (value, rest) = rest.split_at(rest.len().min(value_len));
        pairs.insert(key.to_vec(), value.to_vec());
        bytes = rest;
    }
    pairs
}

/// The longest value of a seed, in bytes: with whole tensors in them, inputs are slow to change.
const MAX_VALUE_LEN: u16 = 1024;

/// The bytes that [`pairs`] takes for these, but for long ones.
pub fn unpaired(pairs: &Pairs) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in pairs {
        let lengths = (u8::try_from(key.len()), u16::try_from(value.len()));
        if let (Ok(key_len), Ok(value_len @ ..=MAX_VALUE_LEN)) = lengths {
            bytes.push(key_len);
            bytes.extend(value_len.to_le_bytes());
            bytes.extend(key);
            bytes.extend(value);
        }
    }
    bytes
}

/// A sound table of these pairs.
pub fn table(pairs: &Pairs) -> Vec<u8> {
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    bundle_writer::table(&pairs, 16, bundle_writer::Compression::None)
}

/// A training graph with the constants that say how many attention heads there are.
pub fn training_graph() -> Vec<u8> {
    let text = |text: &str| Field::Bytes(text.as_bytes().to_vec());
    let constant = |name: &str, dtype: u64, values: (u32, Field)| {
        let tensor = message(&[(1, Field::Varint(dtype)), values]);
        let value = message(&[(8, Field::Bytes(tensor))]);
        let attribute = message(&[(1, text("value")), (2, Field::Bytes(value))]);
        message(&[
            (1, text(name)),
            (2, text("Const")),
            (5, Field::Bytes(attribute)),
        ])
    };
    let layer = "electra/encoder/layer_0/attention/self";
    let nodes = [
        message(&[(1, text(&format!("{layer}/Mul"))), (2, text("Mul"))]),
        constant(
            &format!("{layer}/Mul/y"),
            1,
            (5, Field::Fixed32(0.25_f32.to_bits())),
        ),
        constant(
            &format!("{layer}/Reshape/shape/2"),
            3,
            (7, Field::Varint(2)),
        ),
        constant(
            &format!("{layer}/Reshape/shape"),
            3,
            (4, Field::Bytes(vec![2, 0, 0, 0])),
        ),
    ];
    let nodes: Vec<(u32, Field)> = nodes.map(|node| (1, Field::Bytes(node))).into();
    message(&[(2, Field::Bytes(message(&nodes)))])
}

/// The keys of the variables that [`objects`] has: places in a list, a slot, a path.
pub const OBJECT_KEYS: [&str; 5] = [
    "variables/0",
    "variables/1",
    "variables/0/.OPTIMIZER_SLOT/optimizer/m",
    "model/layer_with_weights-0/embeddings",
    "model/layer_with_weights-4/_output_dense/kernel",
];

/// A checkpoint with this graph of objects.
pub fn objects(graph: &[u8]) -> Bundle {
    const NAME: &str = "_CHECKPOINTABLE_OBJECT_GRAPH";
    const STRING: u64 = 7;
    let mut bundle = Bundle::default();
    for path in OBJECT_KEYS {
        bundle.add_floats(&format!("{path}/.ATTRIBUTES/VARIABLE_VALUE"), &[2, 2]);
    }
    let len = u32::try_from(graph.len()).expect("a short input");
    let sum = crc32c::crc32c(&len.to_le_bytes());
    let stored = bundle_writer::mask(sum).to_le_bytes();
    let bytes = [&bundle_writer::varint(len.into())[..], &stored, graph].concat();
    bundle.add(NAME, STRING, &[], &bytes);
    let sum = crc32c::crc32c_append(sum, &stored);
    bundle.entry(NAME).crc32c = crc32c::crc32c_append(sum, graph);
    bundle
}

/// The graph of the objects of a SavedModel, with two variables in a list and in a layer.
pub fn object_graph() -> Vec<u8> {
    let text = |text: &str| Field::Bytes(text.as_bytes().to_vec());
    let object = |children: &[(u64, &str)], path: Option<&str>| {
        let children = children.iter().map(|(number, name)| {
            let child = [(1, Field::Varint(*number)), (2, text(name))];
            (1, Field::Bytes(message(&child)))
        });
        let value = path.map(|path| {
            let key = format!("{path}/.ATTRIBUTES/VARIABLE_VALUE");
            let value = [
                (1, text("VARIABLE_VALUE")),
                (2, text("kernel")),
                (3, text(&key)),
            ];
            (2, Field::Bytes(message(&value)))
        });
        let fields: Vec<(u32, Field)> = children.chain(value).collect();
        (1, Field::Bytes(message(&fields)))
    };
    message(&[
        object(
            &[
                (1, "variables"),
                (2, "layer_with_weights-4"),
                (3, "keras_api"),
            ],
            None,
        ),
        object(&[(4, "0"), (5, "1")], None),
        object(&[(4, "_output_dense"), (5, "bias"), (0, "parent")], None),
        object(&[(2, "layer-0")], None),
        object(&[(6, "kernel")], Some(OBJECT_KEYS[0])),
        object(&[], Some(OBJECT_KEYS[1])),
        object(&[], Some(OBJECT_KEYS[4])),
    ])
}

/// A SavedModel with a function that no signature calls, and the variable that it captures.
pub fn saved_function() -> Vec<u8> {
    let text = |text: &str| Field::Bytes(text.as_bytes().to_vec());
    let node = |name: &str, op: &str, inputs: &[&str]| {
        let mut fields = vec![(1, text(name)), (2, text(op))];
        fields.extend(inputs.iter().map(|input| (3, text(input))));
        Field::Bytes(message(&fields))
    };
    let named = |name: &str| Field::Bytes(message(&[(1, text(name))]));
    let kernel = "electra/encoder/layer_0/intermediate/dense/kernel";
    let signature = [
        (1, text("f")),
        (2, named("x")),
        (2, named("k")),
        (3, named("y")),
    ];
    let function = message(&[
        (1, Field::Bytes(message(&signature))),
        (3, node("read", "ReadVariableOp", &["k"])),
        (3, node("product", "MatMul", &["x", "read:value:0"])),
        (
            4,
            Field::Bytes(message(&[(1, text("y")), (2, text("product:product:0"))])),
        ),
    ]);
    let graph = message(&[
        (1, node(kernel, "VarHandleOp", &[])),
        (2, Field::Bytes(message(&[(1, Field::Bytes(function))]))),
    ]);
    let variable = message(&[(7, Field::Bytes(message(&[(6, text(kernel))])))]);
    let captured = message(&[(2, Field::Bytes(vec![0]))]);
    let objects = message(&[
        (1, Field::Bytes(variable)),
        (
            2,
            Field::Bytes(message(&[(1, text("f")), (2, Field::Bytes(captured))])),
        ),
    ]);
    let meta = message(&[(2, Field::Bytes(graph)), (7, Field::Bytes(objects))]);
    saved_model(&[(&["serve"], &meta)])
}
