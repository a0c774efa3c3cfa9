//! Where a SavedModel is found, the files around it, and damaged ones.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::saved_model::{PRETRAINED, assert_same};
use testkit::bundle_writer::{SMALL, discriminator};
use testkit::graph_writer::{ORIGINAL, encoder, gelu};
use testkit::{Run, copy_of, export, fixture, read_json, run, temp, write_saved_model};

#[test]
fn every_path_leads_to_the_same_export() {
    let folder = PRETRAINED.unpacked();
    let archive = PRETRAINED.archive();
    let root = folder.path();
    let expected = root.join("out");
    export(root).model("finetuned").to(&expected).run().ok();
    let below = [
        "",
        "saved_model",
        "saved_model/1",
        "saved_model/1/saved_model.pb",
    ];
    let below = below
        .into_iter()
        .chain(["saved_model/1/variables/variables"]);
    for path in below {
        let inside = format!("{}!/{path}", archive.display());
        for given in [root.join(path), inside.into()] {
            let out = temp();
            let run = export(&given).model("finetuned").to(out.path()).run().ok();
            run.stdout_has(&["saved_model/1\n", "SavedModel of TensorFlow 2 objects"]);
            assert_same(out.path(), &expected);
            // Paths differ, the files do not.
            let [found, expected] =
                [out.path(), &expected].map(|out| fs::read(out.join("model.safetensors")).unwrap());
            assert!(found == expected, "{}", given.display());
        }
    }
}

#[test]
fn versions_are_listed() {
    let folder = PRETRAINED.unpacked();
    let root = folder.path();
    let graph = encoder(SMALL, 4, |_| ORIGINAL).with_discriminator(gelu);
    write_saved_model(
        &root.join("saved_model/2"),
        &graph.meta(),
        &discriminator(SMALL),
    );
    for path in ["", "saved_model"] {
        let run = run!["inspect", root.join(path)].fails(3, &["several checkpoints", "1, ", "2"]);
        assert!(!run.stderr.contains("--step"), "{}", run.stderr);
    }
    run!["inspect", root.join("saved_model/2")].ok();
}

#[test]
fn a_config_that_contradicts_the_graph_is_an_error() {
    let folder = PRETRAINED.unpacked();
    let root = folder.path();
    let path = root.join("config.json");
    let sound = read_json(&path);
    for (key, value) in [
        ("hidden_act", json!("gelu")),
        ("num_attention_heads", json!(4)),
        ("layer_norm_eps", json!(1e-12)),
        ("hidden_size", json!(32)),
    ] {
        let mut config = sound.clone();
        config[key] = value.clone();
        fs::write(&path, config.to_string()).unwrap();
        let out = root.join("out");
        let words = [key, &value.to_string().replace('"', ""), "config.json"];
        for given in [root.to_owned(), root.join("saved_model/1")] {
            export(&given)
                .model("finetuned")
                .to(&out)
                .run()
                .fails(4, &words);
        }
        assert!(!out.exists());
    }
    // In another place, its origin is unknown.
    fs::rename(&path, root.join("saved_model/config.json")).unwrap();
    run!["inspect", root].ok().prints("saved_model.pb");
}

#[test]
fn vocabularies_are_found_among_the_assets_and_around() {
    let folder = PRETRAINED.unpacked();
    let root = folder.path();
    let assets = root.join("saved_model/1/assets/vocab.txt");
    let found = |given: &Path| -> PathBuf {
        let run = export(given)
            .model("finetuned")
            .args(["--dry-run", "--json"]);
        let report = run.run().ok().json();
        let path = &report["exports"][0]["tokenizer"]["vocabulary"];
        Path::new(path.as_str().unwrap()).canonicalize().unwrap()
    };
    let root = root.canonicalize().unwrap();
    let variables = root.join("saved_model/1/variables/variables");
    for to in [
        "saved_model/1/vocab.txt",
        "saved_model/vocab.txt",
        "vocab.txt",
    ] {
        let to = root.join(to);
        assert_eq!(found(&root), assets.canonicalize().unwrap());
        fs::copy(&assets, &to).unwrap();
        let kept = assets.with_extension("kept");
        fs::rename(&assets, &kept).unwrap();
        for given in [&root, &variables] {
            assert_eq!(found(given), to);
        }
        fs::remove_file(&to).unwrap();
        fs::rename(&kept, &assets).unwrap();
    }
}

/// Converts a directory with two saves of a model.
fn convert_both(root: &Path) -> Run {
    export(root).model("finetuned").to(root.join("out")).run()
}

#[test]
fn an_hdf5_file_of_another_save_is_refused() {
    let folder = PRETRAINED.unpacked();
    let root = folder.path();
    let path = root.join("tf_model.h5");
    let sound = fs::read(&path).unwrap();
    let mut bytes = sound.clone();
    // The first float of the last dataset.
    let weights = read_last_dataset(&sound);
    bytes[weights] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let saved = root.join("saved_model/1");
    let commands = [
        format!("electra-convert --model MODEL {} OUT", saved.display()),
        format!("electra-convert --model MODEL {} OUT", path.display()),
    ];
    convert_both(root).fails(
        3,
        &["different weights", "CRC-32C", &commands[0], &commands[1]],
    );
    let dry = export(root).model("finetuned").arg("--dry-run").run();
    dry.fails(3, &["different weights"]);
    assert!(!root.join("out").exists());
    // The two paths choose one of them.
    for given in [&saved, &path] {
        let out = temp();
        export(given).model("finetuned").to(out.path()).run().ok();
    }
    run!["inspect", root].ok();

    // A model of other sizes, and one with another head.
    for (other, words) in [
        (
            "h5_sequence_classification",
            ["the SavedModel and", "the HDF5 file"],
        ),
        (
            "h5_pre_training",
            ["has no variable", "classifier/dense/bias"],
        ),
    ] {
        fs::copy(fixture(other).join("tf_model.h5"), &path).unwrap();
        convert_both(root).fails(3, &["different weights", words[0], words[1]]);
    }
    fs::write(&path, &sound[..sound.len() - 8]).unwrap();
    convert_both(root).fails(3, &["tf_model.h5"]);
    fs::write(&path, &sound).unwrap();
    convert_both(root).ok();
}

/// Returns the offset of the values that are stored last in an HDF5 file.
fn read_last_dataset(hdf5: &[u8]) -> usize {
    let folder = temp();
    let path = folder.path().join("tf_model.h5");
    fs::write(&path, hdf5).unwrap();
    let listed = run!["inspect", path, "--json"].ok().json();
    let variables = listed["variables"].as_array().unwrap().iter();
    let offsets = variables.map(|variable| variable["pieces"][0]["offset"].as_u64().unwrap());
    offsets.max().unwrap().try_into().unwrap()
}

#[test]
fn damaged_saved_models_are_errors() {
    let damaged = |change: &dyn Fn(&Path), words: &[&str]| {
        let folder = PRETRAINED.unpacked();
        let root = folder.path();
        change(&root.join("saved_model/1"));
        for given in [root.to_owned(), root.join("saved_model/1")] {
            let run = export(given).model("finetuned").to(root.join("out"));
            run.run().fails(3, words);
        }
        assert!(!root.join("out").exists());
    };
    for part in [1, 100, 500, 999] {
        let cut = |directory: &Path| {
            let path = directory.join("saved_model.pb");
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..bytes.len() / 1000 * part]).unwrap();
        };
        damaged(&cut, &["saved_model.pb", "copy its directory again"]);
    }
    let empty = |directory: &Path| fs::write(directory.join("saved_model.pb"), "").unwrap();
    damaged(&empty, &["saved_model.pb", "no graph in it"]);
    let page = |directory: &Path| {
        fs::write(directory.join("saved_model.pb"), "<!DOCTYPE html>").unwrap();
    };
    damaged(&page, &["saved_model.pb", "an HTML page"]);
    let text = |directory: &Path| {
        let path = directory.join("saved_model.pb");
        fs::rename(&path, path.with_extension("pbtxt")).unwrap();
    };
    damaged(&text, &["saved_model.pbtxt", "as_text=True"]);
    let variables = |directory: &Path| fs::remove_dir_all(directory.join("variables")).unwrap();
    damaged(
        &variables,
        &["without variables", "variables.index is missing"],
    );
    let data = |directory: &Path| {
        fs::remove_file(directory.join("variables/variables.data-00000-of-00001")).unwrap();
    };
    damaged(&data, &["variables.data-00000-of-00001", "missing"]);
    let values = |directory: &Path| {
        let path = directory.join("variables/variables.data-00000-of-00001");
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.len() / 3;
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
    };
    damaged(&values, &["variables.data-00000-of-00001", "CRC-32C"]);
}

#[test]
fn a_saved_model_beside_pytorch_weights_is_not_searched() {
    let folder = copy_of("h5_masked_lm");
    let root = folder.path();
    let graph = encoder(SMALL, 4, |_| ORIGINAL).with_discriminator(gelu);
    write_saved_model(
        &root.join("saved_model/1"),
        &graph.meta(),
        &discriminator(SMALL),
    );
    fs::write(root.join("pytorch_model.bin"), b"\x80\x02}q").unwrap();
    run!["inspect", root].fails(3, &["PyTorch", "needs no conversion"]);
}
