//! Verification by the training graph: what the model computes is what was trained.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use testkit::{Run, copy_of, export, fixture, graph_checkpoint, read_json, run, temp};

/// Converts a model and returns what verification says of the training graph.
fn graph_of(checkpoint: &Path, options: &[&str]) -> Value {
    let run = export(checkpoint).arg("--json").args(options).run().ok();
    run.json()["exports"][0]["verification"]["graph"].clone()
}

/// Checks that the named outputs were evaluated, and that the model agrees.
#[track_caller]
fn agrees(report: &Value, names: &[&str]) {
    assert_eq!(report["not_evaluated"], json!([]), "{report}");
    let outputs = report["outputs"].as_array().unwrap();
    let found: Vec<&str> = outputs
        .iter()
        .map(|output| output["name"].as_str().unwrap())
        .collect();
    assert_eq!(found, names);
    for output in outputs {
        let [deviation, tolerance] = ["deviation", "tolerance"].map(|key| output[key].as_f64());
        assert!(deviation.unwrap() <= tolerance.unwrap(), "{output}");
        assert!(tolerance.unwrap() <= 1e-4, "{output}");
    }
    assert!(report["nodes"].as_u64().unwrap() > 50, "{report}");
}

#[test]
fn pretrained_models_compute_what_their_graph_computes() {
    let trained = fixture("trained");
    let report = graph_of(&trained, &["--model", "discriminator"]);
    agrees(&report, &["encoder", "discriminator logits"]);
    let report = graph_of(&trained, &["--model", "generator"]);
    agrees(&report, &["encoder", "generator logits"]);
}

#[test]
fn graphs_of_other_code_are_evaluated() {
    let discriminator: &[&str] = &["encoder", "discriminator logits"];
    for (archive, names) in [
        ("conditional_dropout", discriminator),
        ("einsum_attention", discriminator),
        ("fused_layer_norm", discriminator),
        ("gelu_in_function", discriminator),
        ("layer_norm_1e-3", discriminator),
        ("linear", discriminator),
        ("mirrored", discriminator),
        ("name_scope", discriminator),
        ("swish", discriminator),
        ("tpu_loop", discriminator),
        ("two_towers", discriminator),
        ("first_token", &["encoder"]),
        ("masked_mean", &["encoder"]),
    ] {
        let checkpoint = graph_checkpoint(archive);
        let report = graph_of(checkpoint.path(), &["--model", "discriminator"]);
        println!("{archive}: {report}");
        agrees(&report, names);
    }
}

#[test]
fn heads_of_tasks_compute_what_their_graph_computes() {
    for (archive, outputs) in [("first_token", 2), ("flat_tagging", 2), ("plain_span", 3)] {
        let checkpoint = graph_checkpoint(archive);
        let report = graph_of(checkpoint.path(), &["--model", "finetuned"]);
        println!("{archive}: {report}");
        assert_eq!(report["not_evaluated"], json!([]), "{archive} {report}");
        assert_eq!(
            report["outputs"].as_array().unwrap().len(),
            outputs,
            "{archive} {report}"
        );
    }
}

#[test]
fn rounded_weights_are_compared_with_the_graph_of_rounded_weights() {
    for dtype in ["f16", "bf16"] {
        let options = ["--model", "discriminator", "--dtype", dtype];
        let report = graph_of(&fixture("trained"), &options);
        agrees(&report, &["encoder", "discriminator logits"]);
    }
}

/// Exports the trained discriminator and changes a key of its config.json.
fn edited(key: &str, value: &Value) -> TempDir {
    let out = temp();
    export(fixture("trained"))
        .model("discriminator")
        .args(["-q", "--no-verify"])
        .to(out.path())
        .run()
        .ok();
    let path = out.path().join("config.json");
    let mut config = read_json(&path);
    assert_ne!(&config[key], value);
    config[key] = value.clone();
    fs::write(&path, config.to_string()).unwrap();
    out
}

fn verified(folder: &Path, options: &[&str]) -> Run {
    let mut command = testkit::command(&[&"verify", &"--source", &fixture("trained"), &folder]);
    command.args(options).output().unwrap().into()
}

#[test]
fn an_edited_configuration_differs_from_the_graph() {
    for (key, value) in [
        ("num_attention_heads", json!(1)),
        ("num_attention_heads", json!(2)),
        ("hidden_act", json!("gelu_new")),
        ("hidden_act", json!("relu")),
        ("layer_norm_eps", json!(1e-6)),
        ("layer_norm_eps", json!(1e-5)),
    ] {
        let folder = edited(key, &value);
        let run = verified(folder.path(), &["--json"]);
        assert_eq!(run.code, Some(5), "{key} {value}: {}", run.stderr);
        let report = run.json();
        let failures = report["failures"].to_string();
        assert!(
            failures.contains("the training graph"),
            "{key} {value}: {failures}"
        );
        assert!(
            failures.contains("encoder layer 0"),
            "{key} {value}: {failures}"
        );
        let first = &report["graph"]["outputs"][0]["first_difference"];
        assert!(first.as_str().unwrap().contains("layer 0"), "{first}");
    }
    let unchanged = temp();
    export(fixture("trained"))
        .model("discriminator")
        .arg("-q")
        .to(unchanged.path())
        .run()
        .ok();
    verified(unchanged.path(), &[])
        .ok()
        .prints("of the training graph");
}

#[test]
fn the_comparison_can_be_left_out() {
    let options = ["--model", "discriminator", "--no-graph"];
    assert_eq!(graph_of(&fixture("trained"), &options), Value::Null);
    let folder = edited("layer_norm_eps", &json!(1e-6));
    let run = verified(folder.path(), &["--no-graph", "--json"]);
    assert_eq!(run.json()["graph"], Value::Null);
    let reason = |options: &[&str]| verified(folder.path(), options).stdout;
    assert!(reason(&["--no-graph"]).contains("with a training graph: --no-graph"));
    run!["verify", folder.path()]
        .ok()
        .prints("with a training graph: --source CKPT gives one");
}

#[test]
fn a_checkpoint_without_graph_is_not_compared() {
    let report = graph_of(&fixture("tiny_mlm"), &["--model", "generator"]);
    assert_eq!(report, Value::Null);
}

/// A part of the graph that cannot be evaluated is neither a pass nor a failure.
#[test]
fn an_unknown_operation_is_named() {
    let folder = copy_of("trained");
    let meta = folder.path().join("model.ckpt-6000.meta");
    let mut bytes = fs::read(&meta).unwrap();
    // An operation of the same length, which no rule looks at.
    let [from, to] = [b"BatchMatMulV2", b"BatchMatMulX9"];
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
    fs::write(&meta, bytes).unwrap();
    let options = ["--model", "discriminator", "--num-attention-heads", "4"];
    let report = graph_of(folder.path(), &options);
    assert_eq!(report["outputs"], json!([]));
    let refused = report["not_evaluated"].as_array().unwrap();
    assert_eq!(refused.len(), 2);
    let reason = refused[0]["reason"].as_str().unwrap();
    assert!(reason.contains("BatchMatMulX9"), "{reason}");
    assert!(refused[0]["node"].is_string());
}

#[test]
fn inspect_shows_what_would_be_evaluated() {
    let run = run!["inspect", "--graph", fixture("trained")].ok();
    run.stdout_has(&[
        "discriminator logits: ",
        "token ids fed at",
        "attention mask fed at",
    ]);
    let run = run!["inspect", "--graph", "--json", fixture("trained")].ok();
    let outputs = &run.json()["models"][0]["graph"];
    assert_eq!(outputs[1]["name"], "discriminator logits");
    assert!(outputs[1]["nodes"].as_u64().unwrap() > 50);
    assert_eq!(outputs[1]["ids"].as_array().unwrap().len(), 1);
}

/// No rule reads head count and epsilon from the graph of this checkpoint.
#[test]
fn the_evaluated_graph_decides_where_no_rule_recognises_it() {
    let checkpoint = fixture("unusual/split_heads.zip");
    let run = export(&checkpoint)
        .model("discriminator")
        .arg("--json")
        .run()
        .ok();
    let exported = &run.json()["exports"][0];
    assert_eq!(exported["config"]["num_attention_heads"], 4);
    assert_eq!(exported["config"]["layer_norm_eps"], 1e-5);
    for key in ["num_attention_heads", "layer_norm_eps"] {
        let source = &exported["config_sources"][key];
        assert_eq!(source["kind"], "training_graph", "{source}");
        assert!(
            source["detail"].as_str().unwrap().contains("agrees within"),
            "{source}"
        );
    }
    agrees(
        &exported["verification"]["graph"],
        &["encoder", "discriminator logits"],
    );
    let wrong = ["--num-attention-heads", "8", "--layer-norm-eps", "1e-5"];
    let run = export(&checkpoint).model("discriminator").args(wrong).run();
    run.fails(5, &["encoder layer 0", "the training graph"]);
}

#[test]
fn settings_are_decided_whatever_is_written() {
    for dtype in ["f16", "bf16"] {
        let run = export(fixture("unusual/split_heads.zip"))
            .model("discriminator")
            .args(["--json", "--dtype", dtype])
            .run()
            .ok();
        let exported = &run.json()["exports"][0];
        assert_eq!(exported["config"]["num_attention_heads"], 4);
        agrees(
            &exported["verification"]["graph"],
            &["encoder", "discriminator logits"],
        );
    }
}

#[test]
fn masks_and_types_that_are_not_fed_are_those_of_the_graph() {
    for variant in ["padding_id_1", "padding_id_39", "selected_mask", "one_type"] {
        let checkpoint = fixture("unusual").join(format!("{variant}.zip"));
        let report = graph_of(&checkpoint, &["--model", "discriminator"]);
        agrees(&report, &["encoder", "discriminator logits"]);
    }
}

/// The encoder is compared even if an operation of the head is unknown.
#[test]
fn each_output_is_compared_on_its_own() {
    let folder = copy_of("trained");
    let meta = folder.path().join("model.ckpt-6000.meta");
    let mut bytes = fs::read(&meta).unwrap();
    let node = b"discriminator_predictions/dense/Erf\x12\x03Erf";
    let mut found = 0;
    for at in 0..bytes.len() - node.len() {
        if bytes[at..].starts_with(node) {
            bytes[at + node.len() - 1] = b'g';
            found += 1;
        }
    }
    assert!(found > 0);
    fs::write(&meta, bytes).unwrap();
    let report = graph_of(
        folder.path(),
        &["--model", "discriminator", "--hidden-act", "gelu"],
    );
    assert_eq!(report["outputs"][0]["name"], "encoder", "{report}");
    assert_eq!(report["not_evaluated"][0]["output"], "discriminator logits");
    let reason = report["not_evaluated"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("Erg"), "{reason}");
}

#[test]
fn what_no_class_computes_is_not_published() {
    let options = ["--num-attention-heads", "4", "--layer-norm-eps", "1e-5"];
    for (variant, part) in [
        ("causal", "encoder layer 0"),
        ("halved_residual", "encoder layer 0"),
        ("scaled_embeddings", "encoder layer 0"),
    ] {
        let checkpoint = fixture("unusual").join(format!("{variant}.zip"));
        let out = temp();
        let folder = out.path().join("out");
        let run = export(&checkpoint)
            .model("discriminator")
            .args(options)
            .to(&folder)
            .run();
        run.fails(5, &[part, "the training graph", "was not published"]);
        assert!(!folder.exists());
        // Without options nothing agrees, so that nothing is decided.
        let run = export(&checkpoint).model("discriminator").run();
        run.fails(4, &["is not recognised"]);
    }
}
