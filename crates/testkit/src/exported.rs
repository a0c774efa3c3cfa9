//! Exported files and variables, read without the program.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// The files of an export, sorted.
pub const EXPORTED: [&str; 6] = [
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
];

/// A tensor of a safetensors file.
pub struct Tensor {
    /// The type of the elements.
    pub dtype: Dtype,
    /// The size of each axis.
    pub shape: Vec<usize>,
    /// The elements, in row-major order and little endian.
    pub bytes: Vec<u8>,
}

/// Reads all tensors of `model.safetensors` in a folder.
pub fn read_weights(folder: &Path) -> BTreeMap<String, Tensor> {
    let bytes = fs::read(folder.join("model.safetensors")).unwrap();
    SafeTensors::deserialize(&bytes)
        .unwrap()
        .iter()
        .map(|(name, view)| {
            let tensor = Tensor {
                dtype: view.dtype(),
                shape: view.shape().to_vec(),
                bytes: view.data().to_vec(),
            };
            (name.to_owned(), tensor)
        })
        .collect()
}

/// Reads a JSON file.
pub fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Reads the bytes of a variable from the data files: `variable` is its object in the output of
/// `inspect --json`.
pub fn raw_variable(folder: &Path, variable: &Value) -> Vec<u8> {
    let shape: Vec<usize> = serde_json::from_value(variable["shape"].clone()).unwrap();
    let pieces = variable["pieces"].as_array().unwrap();
    let read = |piece: &Value| {
        let data = fs::read(folder.join(piece["file"].as_str().unwrap())).unwrap();
        let start = usize::try_from(piece["offset"].as_u64().unwrap()).unwrap();
        let len = usize::try_from(piece["bytes"].as_u64().unwrap()).unwrap();
        data[start..start + len].to_vec()
    };
    if let [piece] = &pieces[..]
        && piece["slice"].is_null()
    {
        return read(piece);
    }
    // The fixtures are partitioned along the first axis only, so that slices follow each other.
    let mut slices: Vec<(u64, Vec<u8>)> = pieces
        .iter()
        .map(|piece| (piece["slice"][0][0].as_u64().unwrap(), read(piece)))
        .collect();
    slices.sort();
    let bytes: Vec<u8> = slices.into_iter().flat_map(|(_, bytes)| bytes).collect();
    assert_eq!(bytes.len() % shape.iter().product::<usize>(), 0);
    bytes
}

/// Returns the transpose of a matrix, element by element.
pub fn transposed(bytes: &[u8], shape: &[usize]) -> Vec<u8> {
    let [rows, columns] = shape[..] else {
        panic!("a matrix has two axes, not {shape:?}")
    };
    let element = bytes.len() / (rows * columns);
    let mut out = Vec::with_capacity(bytes.len());
    for column in 0..columns {
        for row in 0..rows {
            let at = (row * columns + column) * element;
            out.extend_from_slice(&bytes[at..at + element]);
        }
    }
    out
}

/// Returns the names of all entries of a folder, sorted; empty if the folder does not exist.
pub fn listing(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Checks that no two elements are further apart than `tolerance`.
#[track_caller]
pub fn assert_close(a: &candle_core::Tensor, b: &candle_core::Tensor, tolerance: f32) {
    assert_eq!(a.dims(), b.dims());
    let difference = (a - b).unwrap().abs().unwrap().flatten_all().unwrap();
    let largest: f32 = difference.max(0).unwrap().to_scalar().unwrap();
    assert!(largest <= tolerance, "{largest:e}");
}
