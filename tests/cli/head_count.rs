//! The head count that the weights show: in plans, in contradictions, in verification.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use electra_convert::{Conversion, ElectraCheckpoint, ErrorKind, Model, Progress};
use serde_json::{Value, json};
use tempfile::TempDir;

use testkit::bundle_writer::{Bundle, FLOAT16, FLOAT64, SMALL, Sizes, discriminator, plant_heads};
use testkit::v1_writer::Tables;
use testkit::{copy_of, export_again, export_bundle, fixtures, read_json, run, temp};

/// 64 does not divide this width.
const ODD: Sizes = Sizes {
    hidden: 96,
    ..SMALL
};
/// hidden size / 64 is 2.
const EVEN: Sizes = Sizes {
    hidden: 128,
    ..SMALL
};

/// A discriminator whose weights show 8 heads.
fn planted(sizes: Sizes) -> Bundle {
    let mut bundle = discriminator(sizes);
    plant_heads(&mut bundle, "electra", sizes, 8);
    bundle
}

/// Converts the discriminator; the document is that of `--json`.
fn converted(bundle: &Bundle, options: &[&str]) -> (TempDir, Value) {
    let options = [options, &["--json"]].concat();
    let (folder, run) = export_bundle(bundle, "discriminator", &options);
    let document = run.ok().json();
    (folder, document)
}

/// The number and its source, in the document of a conversion.
fn source(document: &Value) -> (&Value, &Value) {
    let export = &document["exports"][0];
    let key = "num_attention_heads";
    (&export["config"][key], &export["config_sources"][key])
}

fn change_heads(folder: &Path, heads: u64) {
    let path = folder.join("config.json");
    let mut config = read_json(&path);
    config["num_attention_heads"] = json!(heads);
    fs::write(path, config.to_string()).unwrap();
}

#[test]
fn the_weights_decide_where_no_graph_does() {
    for (sizes, note) in [
        (ODD, Value::Null),
        (EVEN, json!("hidden size / 64 would be 2")),
    ] {
        let (_folder, document) = converted(&planted(sizes), &[]);
        let (heads, source) = source(&document);
        assert_eq!(*heads, 8);
        assert_eq!(source["kind"], "weights");
        assert_eq!(source["agreed"], json!([]));
        assert_eq!(source["note"], note);
        let found = &document["exports"][0]["verification"]["head_count"];
        assert_eq!(found["configured"], 8);
        assert_eq!(found["verdict"], "confirmed");
        assert_eq!(found["count"], 8);
        assert!(found["margin"].as_f64().unwrap() > 62.0, "{found}");
    }
    let (_folder, run) = export_bundle(&planted(EVEN), "discriminator", &[]);
    run.ok().stdout_has(&[
        "How the settings were determined",
        "8      the weights (margin ",
        "; hidden size / 64 would be 2",
        "8 attention heads in config.json; the weights show the same",
    ]);
}

#[test]
fn the_weights_agree_with_options_or_contradict_them() {
    let bundle = planted(EVEN);
    let (folder, document) = converted(&bundle, &["--num-attention-heads", "8"]);
    let (heads, source) = source(&document);
    assert_eq!((heads, &source["kind"]), (&json!(8), &json!("option")));
    assert_eq!(source["agreed"][0]["kind"], "weights");
    assert_eq!(source["agreed"].as_array().unwrap().len(), 1);

    let config = folder.path().join("config.json");
    fs::write(&config, r#"{"num_attention_heads": 4}"#).unwrap();
    let config = config.to_str().unwrap();
    for (option, value, stated) in [
        (
            "--num-attention-heads",
            "2",
            "num_attention_heads is 2 by --num-attention-heads",
        ),
        ("--config", config, "num_attention_heads is 4 by"),
    ] {
        for verify in [&[][..], &["--no-verify"]] {
            let options = [&[option, value], verify].concat();
            let (folder, run) = export_bundle(&bundle, "discriminator", &options);
            run.fails(4, &[stated, "but 8 by the weights (margin "]);
            assert!(!folder.path().join("out").exists());
        }
    }
}

#[test]
fn the_rule_is_used_where_the_weights_do_not_decide() {
    let (folder, document) = converted(&discriminator(EVEN), &[]);
    let (heads, source) = source(&document);
    assert_eq!(
        (heads, &source["kind"]),
        (&json!(2), &json!("original_code"))
    );
    assert_eq!(
        source["note"],
        "the weights do not decide: compare it with your training configuration"
    );
    let found = &document["exports"][0]["verification"]["head_count"];
    assert_eq!(found["verdict"], "undecided");
    // Nothing contradicts another count.
    export_again(&folder, "discriminator", &["--num-attention-heads", "4"]).ok();

    let (_folder, run) = export_bundle(&discriminator(ODD), "discriminator", &[]);
    run.fails(4, &["the weights do not decide", "--num-attention-heads"]);
}

#[test]
fn verification_finds_a_config_that_contradicts_the_weights() {
    let (folder, _) = converted(&planted(EVEN), &[]);
    let [checkpoint, out] = ["m", "out"].map(|name| folder.path().join(name));
    run!["verify", out]
        .ok()
        .prints("8 attention heads in config.json; the weights show the same");
    change_heads(&out, 2);
    let words = ["the weights show 8 attention heads", "config.json has 2"];
    run!["verify", out].fails(5, &words);
    run!["verify", out, "--source", checkpoint].fails(5, &words);
    let document = run!["verify", out, "--json"].json();
    assert_eq!(document["head_count"]["verdict"], "contradicted");
    assert_eq!(document["head_count"]["configured"], 2);
    assert_eq!(document["head_count"]["count"], 8);

    // Rounding changes nothing.
    for dtype in ["f16", "bf16"] {
        export_again(&folder, "discriminator", &["--dtype", dtype]).ok();
        change_heads(&out, 4);
        run!["verify", out].fails(5, &words[..1]);
    }
}

/// The same bundle with attention kernels of another type.
fn retyped(bundle: &Bundle, dtype: u64, encode: impl Fn(f32) -> Vec<u8>) -> Bundle {
    let mut other = bundle.clone();
    let is_kernel = |name: &str| name.contains("/attention/") && name.ends_with("/kernel");
    for entry in &bundle.entries {
        let name = std::str::from_utf8(&entry.name).unwrap();
        if !is_kernel(name) {
            continue;
        }
        let start = usize::try_from(entry.offset).unwrap();
        let bytes = &bundle.data[start..start + usize::try_from(entry.size).unwrap()];
        let values = bytes
            .chunks_exact(4)
            .map(|x| f32::from_le_bytes(x.try_into().unwrap()));
        let bytes: Vec<u8> = values.flat_map(&encode).collect();
        other.remove(name);
        other.add(name, dtype, &entry.shape, &bytes);
    }
    other
}

#[test]
fn checkpoints_of_every_kind_show_their_heads() {
    let bundle = planted(ODD);
    for (dtype, encode) in [
        (
            FLOAT16,
            (|x| half::f16::from_f32(x).to_le_bytes().to_vec()) as fn(f32) -> Vec<u8>,
        ),
        (FLOAT64, |x| f64::from(x).to_le_bytes().to_vec()),
    ] {
        let (_folder, document) = converted(&retyped(&bundle, dtype, encode), &[]);
        assert_eq!(*source(&document).0, 8);
    }
    // V1.
    let folder = temp();
    let path = folder.path().join("old.ckpt");
    fs::write(&path, Tables::of(&bundle).bytes()).unwrap();
    let out = folder.path().join("out");
    let options = ["--vocab", "none", "--dry-run", "--json"];
    let run = run![
        "--model",
        "discriminator",
        path,
        out,
        options[0],
        options[1],
        options[2],
        options[3]
    ];
    assert_eq!(
        run.ok().json()["exports"][0]["config"]["num_attention_heads"],
        8
    );
}

#[test]
fn inspect_reports_the_head_count_of_the_weights() {
    let folder = temp();
    let prefix = folder.path().join("m");
    planted(EVEN).write(&prefix);
    run!["inspect", prefix]
        .ok()
        .prints("attention heads from the weights (margin ");
    // Without the values only the rule is left.
    fs::remove_file(folder.path().join("m.data-00000-of-00001")).unwrap();
    run!["inspect", prefix]
        .ok()
        .prints("the weights were not read: compare it with your training configuration");
}

/// The models in the fixtures were hardly trained.
#[test]
fn the_weights_of_the_fixtures_do_not_decide() {
    let mut models = 0;
    for entry in fs::read_dir(fixtures()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = entry.path();
        if !path.is_dir() || tf_checkpoint::locate(&path, None).is_err() {
            continue;
        }
        // Without the training graph.
        let folder = copy_of(&name);
        for file in fs::read_dir(folder.path()).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|end| end == "meta") {
                fs::remove_file(path).unwrap();
            }
        }
        let found = run!["inspect", "--json", folder.path()].ok().json();
        for model in found["models"].as_array().unwrap() {
            let source = &model["config_sources"]["num_attention_heads"];
            assert_ne!(source["kind"], "weights", "{name}: {source}");
            models += 1;
        }
    }
    assert!(models > 40, "{models}");
}

/// Cancels the work at a call.
struct StopAt(AtomicU64);

impl Progress for StopAt {
    fn advance(&self, _units: u64) -> ControlFlow<()> {
        match self.0.fetch_sub(1, Ordering::Relaxed) {
            0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

#[test]
fn reading_the_weights_can_be_cancelled() {
    let folder = temp();
    let prefix = folder.path().join("m");
    planted(ODD).write(&prefix);
    let checkpoint = ElectraCheckpoint::open(&prefix).unwrap();
    // Two layers have eight matrices.
    for call in 0..9 {
        let out = folder.path().join("out");
        let stop = StopAt(AtomicU64::new(call));
        let result = Conversion::new(&checkpoint, Model::Discriminator).run(&out, &stop);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Interrupted, "{call}");
        assert!(!out.exists());
    }
}
