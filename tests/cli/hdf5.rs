//! HDF5 files of Hugging Face's TensorFlow classes.

use std::fs;
use std::path::{Path, PathBuf};

use ::zip::CompressionMethod;

use crate::zip;
use testkit::{copy_of, fixture, raw_variable, read_weights, run, temp, transposed};

/// Fixture, model, class.
const MODELS: [(&str, &str, &str); 7] = [
    ("h5_pre_training", "discriminator", "ElectraForPreTraining"),
    ("h5_masked_lm", "generator", "ElectraForMaskedLM"),
    (
        "h5_sequence_classification",
        "finetuned",
        "ElectraForSequenceClassification",
    ),
    ("h5_model", "discriminator", "ElectraModel"),
    (
        "h5_token_classification",
        "finetuned",
        "ElectraForTokenClassification",
    ),
    (
        "h5_question_answering",
        "finetuned",
        "ElectraForQuestionAnswering",
    ),
    (
        "h5_multiple_choice",
        "finetuned",
        "ElectraForMultipleChoice",
    ),
];

/// A file that `scripts/make_hdf5_files.py` wrote.
fn written(name: &str) -> PathBuf {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/tf-checkpoint/tests/data/hdf5");
    data.join(name)
}

#[test]
fn every_tensor_is_its_variable() {
    for (name, model, class) in MODELS {
        let source = fixture(name);
        let out = temp();
        let run = run!["--model", model, source, out.path(), "--json"].ok();
        let report = run.json();
        assert_eq!(report["checkpoint"]["format"], "hdf5");
        run!["verify", out.path()].ok();
        run!["verify", out.path(), "--source", source].ok();

        let config = testkit::read_json(&out.path().join("config.json"));
        assert_eq!(config["architectures"][0], class);
        let listed = run!["inspect", source, "--json"].ok().json();
        let variables = listed["variables"].as_array().unwrap();
        let mut known: Vec<(Vec<u8>, Vec<u64>)> = Vec::new();
        for variable in variables {
            assert!(variable["pieces"][0]["crc32c"].is_null());
            let bytes = raw_variable(&source, variable);
            let shape: Vec<u64> = serde_json::from_value(variable["shape"].clone()).unwrap();
            if let [rows, columns] = shape[..] {
                let sizes = [rows, columns].map(|size| usize::try_from(size).unwrap());
                known.push((transposed(&bytes, &sizes), vec![columns, rows]));
            }
            known.push((bytes, shape));
        }
        let weights = read_weights(out.path());
        assert_eq!(weights.len(), variables.len());
        for (tensor, found) in weights {
            let shape = found.shape.iter().map(|&size| size as u64).collect();
            assert!(known.contains(&(found.bytes, shape)), "{name} {tensor}");
        }
    }
}

#[test]
fn outputs_are_those_of_the_keras_model() {
    for (name, model, _) in MODELS {
        let source = fixture(name);
        let golden = source.join("golden.safetensors");
        let out = temp();
        let file = source.join("tf_model.h5");
        run!["--model", model, file, out.path()].ok();
        let run = run!["verify", out.path(), "--golden", golden, "--json"].ok();
        let compared = run.json()["golden"]["outputs"].as_array().unwrap().len();
        assert_eq!(compared, 1, "{name}");
    }
}

#[test]
fn settings_are_those_of_the_config_beside_the_file() {
    let folder = copy_of("h5_pre_training");
    let path = folder.path().join("config.json");
    let out = folder.path().join("out");
    let convert = || run!["--model", "discriminator", folder.path(), out, "--json"];
    let sound = testkit::read_json(&path);
    let mut config = sound.clone();
    config["hidden_act"] = "relu".into();
    config["layer_norm_eps"] = 1e-5.into();
    fs::write(&path, config.to_string()).unwrap();
    let report = convert().ok().json();
    let sources = &report["exports"][0]["config_sources"];
    for key in ["hidden_act", "layer_norm_eps", "num_attention_heads"] {
        assert_eq!(sources[key]["kind"], "config_file", "{sources}");
    }
    let written = testkit::read_json(&out.join("config.json"));
    assert_eq!(written["hidden_act"], "relu");
    assert_eq!(written["num_attention_heads"], sound["num_attention_heads"]);
    fs::remove_dir_all(&out).unwrap();

    config["hidden_size"] = 48.into();
    fs::write(&path, config.to_string()).unwrap();
    convert().fails(4, &["hidden_size", "48", "config.json"]);
    fs::write(&path, "[]").unwrap();
    convert().fails(4, &["config.json", "not a JSON object", "--config"]);
    fs::remove_file(&path).unwrap();
    convert().fails(4, &["--num-attention-heads"]);
    assert!(!out.exists());
}

#[test]
fn copies_that_differ_are_an_error() {
    let folder = copy_of("h5_masked_lm");
    let path = folder.path().join("tf_model.h5");
    let mut bytes = fs::read(&path).unwrap();
    // In the second copy of the word embeddings.
    bytes[149_120 + 7000] ^= 1;
    fs::write(&path, bytes).unwrap();
    let out = folder.path().join("out");
    run!["--model", "generator", path, out].fails(
        3,
        &[
            "word_embeddings/weight",
            "byte 11688",
            "byte 149120",
            "different values",
        ],
    );
    assert!(!out.exists());
}

#[test]
fn files_that_are_not_read_are_named() {
    for (name, words) in [
        ("gzip.h5", ["compressed", "h5repack"]),
        ("latest.h5", ["superblock", "libver"]),
        ("keras3.weights.h5", ["Keras 3", "save_weights"]),
        ("user_block.h5", ["a block of other contents", "h5unjam"]),
        // The same file in an archive of Keras.
        ("model.keras", ["Keras 3", "unzip"]),
        // Not an ELECTRA.
        ("other.h5", ["without Keras weights", "layer_names"]),
    ] {
        let folder = temp();
        let path = folder.path().join(name);
        if name == "model.keras" {
            let weights = fs::read(written("keras3.weights.h5")).unwrap();
            let config = b"{\"module\": ".repeat(200);
            let files = [
                ("metadata.json".to_owned(), b"{}".to_vec()),
                ("config.json".to_owned(), config),
                ("model.weights.h5".to_owned(), weights),
            ];
            fs::write(&path, zip::archive(&files, CompressionMethod::Stored)).unwrap();
        } else {
            fs::copy(written(name), &path).unwrap();
        }
        let out = folder.path().join("out");
        for given in [&path, &folder.path().to_owned()] {
            run!["inspect", given].fails(3, &[name, words[0], words[1]]);
            run!["--model", "discriminator", given, out].fails(3, &[name, words[0], words[1]]);
            assert!(!out.exists());
        }
    }
}
