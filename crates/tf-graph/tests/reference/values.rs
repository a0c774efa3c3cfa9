//! Values that TensorFlow computed, in safetensors files.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use tf_checkpoint::{Limits, MetaGraph, NodeId, Tensor};
use tf_graph::{Array, ArrayType};

/// Returns the path of a file with test data.
pub(crate) fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

/// Reads a graph.
pub(crate) fn graph(path: &Path) -> MetaGraph {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    MetaGraph::parse(path, bytes, &Limits::default()).unwrap()
}

/// Returns the nodes of a graph by name.
pub(crate) fn nodes(graph: &MetaGraph) -> HashMap<String, NodeId> {
    graph.nodes().map(|node| (graph.name(node), node)).collect()
}

/// Returns the tensor of a key `NODE:OUTPUT`.
pub(crate) fn tensor(nodes: &HashMap<String, NodeId>, key: &str) -> Tensor {
    let (name, output) = key.rsplit_once(':').unwrap();
    Tensor {
        node: *nodes.get(name).unwrap_or_else(|| panic!("no node {name}")),
        output: output.parse().unwrap(),
    }
}

/// A file of values.
pub(crate) struct Values {
    bytes: Vec<u8>,
}

impl Values {
    pub(crate) fn open(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { bytes }
    }

    /// Returns all values by key, sorted.
    pub(crate) fn arrays(&self) -> Vec<(String, Array)> {
        let tensors = SafeTensors::deserialize(&self.bytes).unwrap();
        let mut found: Vec<(String, Array)> = tensors
            .iter()
            .map(|(key, view)| {
                let data = view.data();
                let (kind, values): (_, Vec<f64>) = match view.dtype() {
                    Dtype::F32 => (
                        ArrayType::Float32,
                        read(data, |x| f32::from_le_bytes(x).into()),
                    ),
                    Dtype::F64 => (ArrayType::Float64, read(data, f64::from_le_bytes)),
                    Dtype::F16 => (
                        ArrayType::Float32,
                        read(data, |x| half::f16::from_le_bytes(x).into()),
                    ),
                    Dtype::I32 => (
                        ArrayType::Int32,
                        read(data, |x| i32::from_le_bytes(x).into()),
                    ),
                    #[allow(clippy::cast_precision_loss, reason = "small values")]
                    Dtype::I64 => (
                        ArrayType::Int64,
                        read(data, |x| i64::from_le_bytes(x) as f64),
                    ),
                    Dtype::U8 => (ArrayType::Int32, read(data, |[x]: [u8; 1]| x.into())),
                    Dtype::I8 => (
                        ArrayType::Int32,
                        read(data, |[x]: [u8; 1]| x.cast_signed().into()),
                    ),
                    Dtype::I16 => (
                        ArrayType::Int32,
                        read(data, |x| i16::from_le_bytes(x).into()),
                    ),
                    other => panic!("{key} has the type {other}"),
                };
                let array = Array::of_type(kind, view.shape(), values).unwrap();
                (key.to_owned(), array)
            })
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }

    /// Returns the value of a key in the metadata.
    pub(crate) fn metadata(&self, key: &str) -> String {
        let (_, header) = SafeTensors::read_metadata(&self.bytes).unwrap();
        let metadata = header.metadata().as_ref().unwrap();
        metadata[key].clone()
    }
}

fn read<const N: usize>(data: &[u8], convert: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    let (chunks, rest) = data.as_chunks::<N>();
    assert!(rest.is_empty());
    chunks.iter().map(|&chunk| convert(chunk)).collect()
}

/// Returns the largest difference, relative to the largest value or to 1; infinite if one value is NaN or
/// infinite and the other is not the same.
pub(crate) fn deviation(found: &Array, expected: &Array) -> f64 {
    assert_eq!(found.shape(), expected.shape());
    let (found, expected) = (found.to_f64(), expected.to_f64());
    let (mut worst, mut largest) = (0.0_f64, 1.0_f64);
    for (found, expected) in std::iter::zip(found, expected) {
        #[allow(clippy::float_cmp, reason = "infinities")]
        if found == expected || (found.is_nan() && expected.is_nan()) {
            continue;
        }
        let difference = (found - expected).abs();
        worst = if difference.is_finite() {
            worst.max(difference)
        } else {
            f64::INFINITY
        };
        largest = largest.max(expected.abs());
    }
    worst / largest
}
