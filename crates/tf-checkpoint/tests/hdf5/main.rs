//! HDF5 files of Keras weights: the files of h5py and transformers, and files that cannot be read.
//!
//! `data/hdf5` is written by `scripts/make_hdf5_files.py` with h5py, which also lists what h5py reads.

mod hostile;
mod writer;

use std::alloc::System;
use std::fs;
use std::path::{Path, PathBuf};

use cap::Cap;
use flate2::Crc;
use tempfile::TempDir;
use tf_checkpoint::{Checkpoint, DType, Error, FileKind, Format, Variable, locate};

/// A hostile file that takes more memory ends the process.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, 256 << 20);

fn data(name: &str) -> PathBuf {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/hdf5");
    data.join(name)
}

/// A model that transformers saved.
fn fixture(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    fixtures.join(name)
}

fn open(path: &Path) -> Result<Checkpoint, Error> {
    Checkpoint::open(locate(path, None)?)
}

fn read(checkpoint: &Checkpoint, variable: &Variable) -> Result<Vec<u8>, Error> {
    checkpoint.check_present(variable)?;
    let mut bytes = vec![0; usize::try_from(variable.bytes()).unwrap()];
    checkpoint.read(variable, &mut bytes)?;
    Ok(bytes)
}

/// The rows of a list: name, dtype, shape, offset, values or checksum.
fn rows(path: &Path) -> Vec<[String; 5]> {
    let text = fs::read_to_string(path).unwrap();
    let row = |line: &str| {
        let cells: Vec<String> = line.split('\t').map(str::to_owned).collect();
        cells.try_into().unwrap()
    };
    text.lines().map(row).collect()
}

fn numbers(dtype: DType, bytes: &[u8]) -> Vec<f64> {
    let size = dtype.size().unwrap_or(1);
    let number = |bytes: &[u8]| match (dtype, bytes) {
        (DType::Float32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]).into(),
        (DType::Int32, &[a, b, c, d]) => i32::from_le_bytes([a, b, c, d]).into(),
        (DType::Float16, &[a, b]) => half::f16::from_le_bytes([a, b]).into(),
        (DType::Float64, bytes) => f64::from_le_bytes(bytes.try_into().unwrap()),
        #[allow(clippy::cast_precision_loss, reason = "small numbers")]
        (DType::Int64, bytes) => i64::from_le_bytes(bytes.try_into().unwrap()) as f64,
        (_, bytes) => bytes[0].into(),
    };
    bytes.chunks_exact(size).map(number).collect()
}

/// Checks names, shapes and offsets against a list; returns each variable with its row.
fn check_list<'a>(
    checkpoint: &'a Checkpoint,
    rows: &'a [[String; 5]],
) -> impl Iterator<Item = (&'a Variable, &'a [String; 5])> {
    let names = checkpoint.variables().iter().map(|variable| &variable.name);
    assert!(names.eq(rows.iter().map(|row| &row[0])));
    let all = std::iter::zip(checkpoint.variables(), rows);
    all.inspect(|(variable, [name, dtype, shape, offset, _])| {
        let found: Vec<String> = variable.shape.iter().map(usize::to_string).collect();
        assert_eq!(&found.join(","), shape, "{name}");
        let extent = variable.pieces[0].extent.unwrap();
        assert_eq!(extent.crc32c, None);
        if offset != "-" && variable.bytes() > 0 {
            assert_eq!(&extent.offset.to_string(), offset, "{name}");
        }
        let dtype = dtype.trim_start_matches('>').replace("f4", "float32");
        match variable.dtype {
            DType::Other(number) => {
                let expected = [("uint8", 4), ("bool", 10)];
                assert!(expected.contains(&(&dtype, number)), "{name}");
            }
            found => assert_eq!(found.to_string(), dtype, "{name}"),
        }
    })
}

#[test]
fn variables_are_those_of_h5py() {
    for name in ["weights", "model"] {
        let checkpoint = open(&data(&format!("{name}.h5"))).unwrap();
        assert_eq!(checkpoint.location().format(), Format::Hdf5);
        assert!(!checkpoint.is_object_based());
        assert_eq!(checkpoint.shard_count(), 1);
        assert!(checkpoint.meta_graph().unwrap().is_none());
        let rows = rows(&data(&format!("{name}.tsv")));
        for (variable, row) in check_list(&checkpoint, &rows) {
            let expected: Vec<f64> = row[4]
                .split_whitespace()
                .map(|n| n.parse().unwrap())
                .collect();
            if let DType::Other(_) = variable.dtype {
                continue;
            }
            let bytes = read(&checkpoint, variable).unwrap();
            assert_eq!(numbers(variable.dtype, &bytes), expected, "{}", row[0]);
            let Some(run) = checkpoint.contiguous(variable) else {
                assert_eq!(row[0], "dtypes/big");
                continue;
            };
            assert!(!run.has_checksum());
            let mut again = vec![0; bytes.len()];
            let (front, back) = again.split_at_mut(bytes.len() / 3);
            run.read(front, 0).unwrap();
            run.read(back, front.len() as u64).unwrap();
            assert_eq!(again, bytes);
            run.check(1).unwrap();
        }
        checkpoint.check_unchanged().unwrap();
    }
    let checkpoint = open(&data("weights.h5")).unwrap();
    let of = |name: &str| {
        checkpoint
            .variables()
            .iter()
            .find(|v| v.name == name)
            .unwrap()
    };
    assert_eq!(checkpoint.read_integer(of("dtypes/i8")).unwrap(), Some(400));
    assert_eq!(of("scale").key, "top_level_model_weights/scale:0");
    // Stored with two layers, of which `electra` is the first.
    let shared = of("tf_model/electra/embeddings/weight");
    assert_eq!(shared.key, "electra/tf_model/electra/embeddings/weight:0");
}

#[test]
fn files_of_transformers_are_read() {
    for name in [
        "h5_masked_lm",
        "h5_model",
        "h5_multiple_choice",
        "h5_pre_training",
        "h5_question_answering",
        "h5_sequence_classification",
        "h5_token_classification",
    ] {
        let folder = fixture(name);
        let checkpoint = open(&folder).unwrap();
        assert_eq!(checkpoint.location().name(), "tf_model.h5");
        let rows = rows(&folder.join("variables.tsv"));
        for (variable, row) in check_list(&checkpoint, &rows) {
            let mut sum = Crc::new();
            sum.update(&read(&checkpoint, variable).unwrap());
            assert_eq!(format!("{:08x}", sum.sum()), row[4], "{}", row[0]);
        }
    }
}

#[test]
fn copies_of_a_variable_must_be_equal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tf_model.h5");
    let mut bytes = fs::read(fixture("h5_masked_lm/tf_model.h5")).unwrap();
    // The second copy of the word embeddings, which h5py finds at 149120.
    bytes[149_120 + 7000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let checkpoint = open(&path).unwrap();
    let mut damaged = Vec::new();
    for variable in checkpoint.variables() {
        if let Err(error) = read(&checkpoint, variable) {
            assert!(
                matches!(
                    error,
                    Error::CopiesDiffer {
                        offsets: [11_688, 149_120],
                        ..
                    }
                ),
                "{error}"
            );
            damaged.push(&variable.name[..]);
            let run = checkpoint.contiguous(variable).unwrap();
            let mut part = [0; 8];
            run.read(&mut part, 0).unwrap();
            run.read(&mut part, 6996).unwrap_err();
        }
    }
    assert_eq!(
        damaged,
        ["tf_electra_for_masked_lm/electra/embeddings/word_embeddings/weight"]
    );
}

#[test]
fn other_files_are_refused_in_words() {
    for (name, words) in [
        (
            "chunked.h5",
            &[
                "dataset \"layer/layer/kernel:0\"",
                "in chunks",
                "h5repack -l CONTI -f NONE",
            ][..],
        ),
        (
            "gzip.h5",
            &["dataset \"layer/layer/kernel:0\"", "compressed", "h5repack"],
        ),
        (
            "latest.h5",
            &["superblock has version 3", "libver", "h5repack"],
        ),
        ("tracked.h5", &["root group", "version 2", "track_order"]),
        ("user_block.h5", &["behind a block", "h5unjam"]),
        ("keras3.weights.h5", &["Keras 3", "save_weights"]),
        ("other.h5", &["without Keras weights", "layer_names"]),
        ("shard.h5", &["shards", "max_shard_size"]),
        ("soft_link.h5", &["dataset \"a/kernel:0\"", "soft link"]),
    ] {
        let error = open(&data(name)).unwrap_err();
        let kind = match &error {
            Error::Unsupported { kind, .. } => Some(*kind),
            _ => None,
        };
        assert_eq!(kind, Some(FileKind::Model), "{error}");
        let text = error.to_string();
        for word in words.iter().chain([&name]) {
            assert!(text.contains(word), "{name}: {text}");
        }
    }
    for (name, words) in [
        (
            "two_shapes.h5",
            &["\"a/kernel:0\"", "\"b/kernel:0\"", "same name"][..],
        ),
        (
            "hard_link.h5",
            &["variable other", "shares bytes", "variable kernel"],
        ),
        ("unwritten.h5", &["dataset \"a/kernel:0\"", "never written"]),
        (
            "missing.h5",
            &["group \"a\"", "lists \"b/kernel:0\" in weight_names"],
        ),
    ] {
        let text = open(&data(name)).unwrap_err().to_string();
        for word in words.iter().chain([&name]) {
            assert!(text.contains(word), "{name}: {text}");
        }
    }
}

fn put(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn files_are_found_by_content_and_directories_by_what_else_they_hold() {
    let weights = fs::read(data("model.h5")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = put(&folder, "download", &weights);
    assert_eq!(open(&path).unwrap().location().prefix(), path);
    // Any name, but only where its path is given.
    assert!(matches!(open(folder.path()), Err(Error::NotFound { .. })));

    let path = put(&folder, "tf_model.h5", &weights);
    let location = locate(folder.path(), None).unwrap();
    assert_eq!(location.prefix(), path);
    assert_eq!(location.folder(), folder.path());
    assert_eq!(location.data_path(0, 1), path);
    assert_eq!(location.step_in_name(), None);
    let error = locate(folder.path(), Some(4)).unwrap_err().to_string();
    assert!(
        error.contains("no step 4") && error.contains("tf_model.h5"),
        "{error}"
    );

    let other = put(&folder, "other.H5", &weights);
    let error = locate(folder.path(), None).unwrap_err();
    assert!(
        matches!(&error, Error::Ambiguous { names, .. } if names == &["other.H5", "tf_model.h5"])
    );
    fs::write(&other, b"text").unwrap();
    locate(folder.path(), None).unwrap();

    // Of the same weights in two frameworks, transformers reads PyTorch's.
    let pytorch = put(&folder, "pytorch_model.bin", b"\x80\x02}q");
    let error = locate(folder.path(), None).unwrap_err().to_string();
    assert!(
        error.contains("PyTorch") && error.contains("no conversion"),
        "{error}"
    );
    locate(&path, None).unwrap();
    fs::remove_file(pytorch).unwrap();

    put(&folder, "model.ckpt-4.index", b"");
    let location = locate(folder.path(), None).unwrap();
    assert_eq!(location.format(), Format::TensorBundle);
    assert_eq!(locate(&path, None).unwrap().format(), Format::Hdf5);
}
