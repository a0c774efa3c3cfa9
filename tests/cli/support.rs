//! What the tests share: running the program, and reading fixtures without its help.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_electra-convert");

/// The files of an export, sorted.
pub(crate) const EXPORTED: [&str; 6] = [
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
];

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

pub(crate) fn temp() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A copy of a fixture that may be damaged; links become files.
pub(crate) fn copy_of(name: &str) -> TempDir {
    let folder = temp();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    folder
}

/// What a run of the program did.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Run {
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self
    }

    /// Fails unless the exit code is `code` and standard error has all of `words`.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        for word in words {
            assert!(
                self.stderr.contains(word),
                "no {word:?} in:\n{}",
                self.stderr
            );
        }
        self
    }

    /// Fails unless standard output has `words`.
    #[track_caller]
    pub(crate) fn prints(self, words: &str) -> Self {
        assert!(
            self.stdout.contains(words),
            "no {words:?} in:\n{}",
            self.stdout
        );
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }
}

pub(crate) fn command(args: &[&dyn AsRef<std::ffi::OsStr>]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(args);
    command
}

/// Runs the program with arguments of any kind of string or path.
macro_rules! run {
    ($($arg:expr),* $(,)?) => {
        $crate::support::Run::from(
            $crate::support::command(&[$(&$arg),*]).output().unwrap()
        )
    };
}
pub(crate) use run;

/// A tensor of a safetensors file.
pub(crate) struct Tensor {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn read_weights(folder: &Path) -> BTreeMap<String, Tensor> {
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

pub(crate) fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The bytes of a variable, straight from the data file: `variable` is its object in the output
/// of `inspect --json`.
pub(crate) fn raw_variable(folder: &Path, variable: &Value) -> Vec<u8> {
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

/// Element (row, column) of a matrix goes to (column, row), the plainest way.
pub(crate) fn transposed(bytes: &[u8], shape: &[usize]) -> Vec<u8> {
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

/// Names of everything in a folder, sorted; empty when there is no such folder.
pub(crate) fn listing(folder: &Path) -> Vec<String> {
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
pub(crate) fn assert_close(a: &candle_core::Tensor, b: &candle_core::Tensor, tolerance: f32) {
    assert_eq!(a.dims(), b.dims());
    let difference = (a - b).unwrap().abs().unwrap().flatten_all().unwrap();
    let largest: f32 = difference.max(0).unwrap().to_scalar().unwrap();
    assert!(largest <= tolerance, "{largest:e}");
}
