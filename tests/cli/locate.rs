//! Whatever a person types leads to the checkpoint, or to an error that says what to type.

use std::fs;

use serde_json::Value;

use testkit::{copy_of, fixture, listing, run, temp};

fn name(document: &Value) -> &str {
    document["checkpoint"]["name"].as_str().unwrap()
}

#[test]
fn a_checkpoint_is_found_by_prefix_by_any_file_and_by_folder() {
    let folder = fixture("tiny_default");
    for path in [
        "model.ckpt-400",
        "model.ckpt-400.index",
        "model.ckpt-400.meta",
        "model.ckpt-400.data-00000-of-00001",
        "checkpoint",
        "",
        ".",
    ] {
        let document = run!["inspect", folder.join(path), "--json"].ok().json();
        assert_eq!(name(&document), "model.ckpt-400", "{path}");
        assert_eq!(document["checkpoint"]["step"], 400);
    }
}

#[test]
fn a_path_of_another_machine_is_looked_up_beside_the_state_file() {
    for state in [
        "gs://bucket/a b/model.ckpt-400",
        "/home/nobody/here/model.ckpt-400",
        r"C:\\models\\x/model.ckpt-400",
        r"\303\274/model.ckpt-400",
    ] {
        let folder = copy_of("tiny_default");
        let text = format!("model_checkpoint_path: \"{state}\"\n");
        fs::write(folder.path().join("checkpoint"), text).unwrap();
        let document = run!["inspect", folder.path(), "--json"].ok().json();
        assert_eq!(name(&document), "model.ckpt-400", "{state}");
    }
}

#[test]
fn several_checkpoints_want_a_choice() {
    let folder = fixture("fmt_no_state");
    run!["inspect", folder].fails(3, &["model.ckpt-200, model.ckpt-400", "--step"]);
    let document = run!["inspect", folder, "--step", "200", "--json"]
        .ok()
        .json();
    assert_eq!(name(&document), "model.ckpt-200");
    run!["inspect", folder, "--step", "300"].fails(3, &["step 300", "model.ckpt-200"]);
    run!["inspect", folder.join("model.ckpt-400"), "--step", "200"].fails(3, &["step 200"]);
    let document = run![
        "inspect",
        folder.join("model.ckpt"),
        "--step",
        "400",
        "--json"
    ]
    .ok()
    .json();
    assert_eq!(name(&document), "model.ckpt-400");
}

#[test]
fn a_state_file_that_leads_nowhere_is_an_error_with_what_is_there() {
    let folder = copy_of("tiny_default");
    let state = folder.path().join("checkpoint");
    fs::write(&state, "model_checkpoint_path: \"model.ckpt-900\"\n").unwrap();
    run!["inspect", folder.path()].fails(3, &["model.ckpt-900", "model.ckpt-400"]);
    for text in [
        "",
        "model_checkpoint_path: model.ckpt-400",
        "model_checkpoint_path: \"\\x\"",
    ] {
        fs::write(&state, text).unwrap();
        run!["inspect", folder.path()].fails(3, &["model_checkpoint_path", "model.ckpt-400"]);
    }
    fs::write(&state, [0xff, 0xfe, 0]).unwrap();
    run!["inspect", folder.path()].fails(3, &["not text"]);
    // --step asks for no state file.
    run!["inspect", folder.path(), "--step", "400"].ok();
}

#[test]
fn paths_that_are_no_checkpoint_say_what_is_near() {
    let folder = temp();
    run!["inspect", folder.path()].fails(3, &["holds no checkpoint (TensorBundle, V1 checkpoint"]);
    run!["inspect", folder.path().join("no/model.ckpt")].fails(3, &["there is no directory"]);
    run!["inspect", fixture("tiny_default").join("model.ckpt-40")]
        .fails(3, &["model.ckpt-40.index", "model.ckpt-400"]);
    run!["inspect", fixture("tiny_default").join("vocab.txt")]
        .fails(3, &["not part of a checkpoint"]);
    run!["inspect", fixture("tiny_defualt")].fails(3, &["did you mean", "/tiny_default?"]);
    run!["inspect", fixture("tiny_defualt").join("model.ckpt-400")]
        .fails(3, &["there is no directory", "/tiny_default?"]);
    run!["inspect", "hdfs://host/electra/model.ckpt-400"].fails(3, &["hdfs dfs -get"]);
    let zip = folder.path().join("electra_small.zip");
    fs::write(&zip, "PK").unwrap();
    run!["inspect", zip].fails(3, &["electra_small.zip", "cannot read"]);
}

#[test]
fn a_report_beside_runs_does_not_hide_them() {
    let folder = temp();
    fs::write(folder.path().join("report.html"), "<!doctype html>").unwrap();
    let run = folder.path().join("a");
    fs::create_dir(&run).unwrap();
    for file in listing(&fixture("fmt_weights_only")) {
        fs::copy(fixture("fmt_weights_only").join(&file), run.join(&file)).unwrap();
    }
    run!["inspect", folder.path()].fails(3, &["did you mean", "/a?"]);
}

#[test]
fn odd_names_are_no_obstacle() {
    let folder = temp();
    let odd = folder.path().join("run — 1 (final)'s");
    fs::create_dir(&odd).unwrap();
    for suffix in [".index", ".data-00000-of-00001"] {
        let from = fixture("fmt_weights_only").join(format!("electra_tiny{suffix}"));
        fs::copy(from, odd.join(format!("ä b.c{suffix}"))).unwrap();
    }
    let document = run!["inspect", odd, "--json"].ok().json();
    assert_eq!(name(&document), "ä b.c");
    assert_eq!(document["checkpoint"]["step"], Value::Null);
    let shown = run!["inspect", odd].ok();
    assert!(shown.stdout.contains(r"(final)'\''s'"), "{}", shown.stdout);
}
