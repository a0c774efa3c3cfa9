//! The official library is the oracle of our reader: both read the same bytes.
//!
//! These tests need the library: `eval "$(scripts/libtensorflow.sh)"`, then
//! `cargo test --features tensorflow --test tensorflow -- --include-ignored`.

use std::fs;
use std::path::Path;
use std::process::Command;

use electra_convert::Checkpoint;
use testkit::bundle_writer::{self, Bundle, Field, SMALL, discriminator, message};
use testkit::fixtures;
use testkit::v1_writer::Tables;
use tf_checkpoint::{DType, Format, ReadBy, Variable, locate};

const NEEDS: &str = "needs libtensorflow.so";

fn open(path: &Path, read_by: ReadBy) -> Checkpoint {
    let location = locate(path, None).unwrap_or_else(|error| panic!("{error}"));
    Checkpoint::open_by(location, read_by).unwrap_or_else(|error| panic!("{error} ({NEEDS})"))
}

fn read(checkpoint: &Checkpoint, variable: &Variable) -> Vec<u8> {
    let mut bytes = vec![0xaa; usize::try_from(variable.bytes()).unwrap()];
    checkpoint
        .read(variable, &mut bytes)
        .unwrap_or_else(|error| panic!("{error}"));
    bytes
}

/// Reads every variable twice; returns how many there are, but for strings and the like.
fn compare(path: &Path) -> usize {
    let [ours, theirs] = [ReadBy::Native, ReadBy::TensorFlow].map(|by| open(path, by));
    let mut compared = 0;
    for variable in ours.variables() {
        if matches!(variable.dtype, DType::Other(_)) {
            continue;
        }
        assert!(
            read(&ours, variable) == read(&theirs, variable),
            "{} of {}",
            variable.name,
            path.display()
        );
        compared += 1;
    }
    compared
}

#[test]
#[ignore = "needs libtensorflow.so: scripts/libtensorflow.sh"]
fn both_readers_read_the_same_bytes_of_every_fixture() {
    let mut compared = Vec::new();
    let mut skipped = Vec::new();
    for entry in fs::read_dir(fixtures()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let path = if name == "fmt_no_state" {
            path.join("model.ckpt-400")
        } else {
            path
        };
        let is_checkpoint = locate(&path, None).is_ok_and(|location| {
            // Of some there is only the index; the library looks into no archives, as which SavedModels are kept, and
            // reads no HDF5.
            location.format() != Format::Hdf5
                && (location.data_path(0, 1).is_file() || location.data_path(0, 2).is_file())
        });
        if is_checkpoint {
            compared.push((name, compare(&path)));
        } else {
            skipped.push(name);
        }
    }
    skipped.sort();
    assert_eq!(
        skipped,
        [
            "README.md",
            "facts",
            "fmt_zip.zip",
            "garden_params",
            "garden_saved_models",
            "graphs",
            "h5_masked_lm",
            "h5_model",
            "h5_multiple_choice",
            "h5_pre_training",
            "h5_question_answering",
            "h5_sequence_classification",
            "h5_token_classification",
            "head_norms",
            "saved_models",
            "text",
            "tiny_small_like",
            "tokenizer",
            "unusual"
        ]
    );
    assert_eq!(compared.len(), 30, "{compared:?}");
    assert!(compared.iter().all(|(_, variables)| *variables > 20));
}

#[test]
#[ignore = "needs libtensorflow.so: scripts/libtensorflow.sh"]
fn both_readers_agree_on_what_the_fixtures_do_not_have() {
    let folder = tempfile::tempdir().unwrap();
    let mut bundle = discriminator(SMALL);
    let doubles: Vec<u8> = (0_u32..6)
        .flat_map(|i| (f64::from(i) / 7.0).to_le_bytes())
        .collect();
    bundle.add("doubles", bundle_writer::FLOAT64, &[2, 3], &doubles);
    let all = bundle.entries.len();

    let v1 = folder.path().join("v1.ckpt");
    fs::write(&v1, Tables::of(&bundle).bytes()).unwrap();
    assert_eq!(compare(&v1), all);

    let big = folder.path().join("big");
    let bundle = big_endian(bundle);
    bundle.write(&big);
    let header = message(&[(1, Field::Varint(1)), (2, Field::Varint(1))]);
    fs::write(
        big.with_extension("index"),
        bundle.index_with_header(&header),
    )
    .unwrap();
    assert_eq!(compare(&big), all);
}

/// The same variables with the bytes of each element turned around.
fn big_endian(mut bundle: Bundle) -> Bundle {
    for entry in &mut bundle.entries {
        let start = usize::try_from(entry.offset).unwrap();
        let bytes = &mut bundle.data[start..start + usize::try_from(entry.size).unwrap()];
        let size = if entry.dtype == bundle_writer::FLOAT64 {
            8
        } else {
            4
        };
        bytes.chunks_mut(size).for_each(<[u8]>::reverse);
        entry.crc32c = crc32c::crc32c(bytes);
    }
    bundle
}

fn run(args: &[&str], path: &Path) -> Command {
    let mut command = Command::new(testkit::program());
    command.args(args).arg(path);
    command
}

#[test]
#[ignore = "needs libtensorflow.so: scripts/libtensorflow.sh"]
fn what_the_library_says_of_damage_is_passed_on() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("m");
    let mut bundle = discriminator(SMALL);
    bundle.data[40] ^= 1;
    bundle.write(&prefix);
    let args = ["--reader", "tensorflow", "--model", "discriminator"];
    let output = run(&args, &prefix)
        .arg(folder.path().join("out"))
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(
        stderr.contains("TensorFlow cannot read variable electra/"),
        "{stderr}"
    );
    assert!(stderr.contains("Checksum"), "{stderr}");

    let zip = fixtures().join("fmt_zip.zip");
    let output = run(&["inspect", "--reader", "tensorflow"], &zip)
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("in an archive"), "{stderr}");
}

/// Exports a model and returns what `verify` says of its training graph, evaluated by the library.
fn graph_by_tensorflow(checkpoint: &Path, model: &str) -> serde_json::Value {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let options = ["-q", "--no-graph"];
    testkit::export(checkpoint)
        .model(model)
        .args(options)
        .to(&out)
        .run()
        .ok();
    let options = ["verify", "--json", "--graph-by", "tensorflow", "--source"];
    let output = run(&options, checkpoint).arg(&out).output().unwrap();
    let run = testkit::Run::from(output).ok();
    run.json()["graph"].clone()
}

#[test]
#[ignore = "needs libtensorflow.so: scripts/libtensorflow.sh"]
fn models_compute_what_the_library_computes_from_their_graphs() {
    let mut compared = 0;
    let mut check = |name: &str, checkpoint: &Path, model: &str| {
        let graph = graph_by_tensorflow(checkpoint, model);
        println!("{name} {model}: {graph}");
        assert_eq!(
            graph["not_evaluated"],
            serde_json::json!([]),
            "{name} {model}"
        );
        for output in graph["outputs"].as_array().unwrap() {
            let [deviation, tolerance] = ["deviation", "tolerance"].map(|key| output[key].as_f64());
            assert!(deviation.unwrap() <= tolerance.unwrap(), "{name} {output}");
            compared += 1;
        }
    };
    let trained = fixtures().join("trained");
    check("trained", &trained, "discriminator");
    check("trained", &trained, "generator");
    for (name, model) in [
        ("conditional_dropout", "discriminator"),
        ("einsum_attention", "discriminator"),
        ("first_token", "finetuned"),
        ("flat_tagging", "finetuned"),
        ("fused_layer_norm", "discriminator"),
        ("gelu_in_function", "discriminator"),
        ("layer_norm_1e-3", "discriminator"),
        ("linear", "discriminator"),
        ("mirrored", "discriminator"),
        ("plain_span", "finetuned"),
        ("swish", "discriminator"),
        ("tpu_loop", "discriminator"),
        ("two_towers", "discriminator"),
    ] {
        let checkpoint = testkit::graph_checkpoint(name);
        check(name, checkpoint.path(), model);
    }
    assert!(compared >= 28, "{compared}");
}

#[test]
fn a_missing_library_is_an_error_that_says_how_to_get_it() {
    let mut command = run(
        &["inspect", "--reader", "tensorflow"],
        &fixtures().join("fmt_v1"),
    );
    command
        .env("TENSORFLOW_DIR", "/nowhere")
        .env_remove("LD_LIBRARY_PATH");
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("scripts/libtensorflow.sh"), "{stderr}");
}
