//! Jobs as lines of a manifest.

use std::fs;
use std::path::Path;

use serde_json::json;
use testkit::{Run, fixture, listing, read_json, run, temp};

use super::{statuses, write_run, write_runs};

fn run_manifest(manifest: &Path, out: &Path) -> Run {
    run![
        "batch",
        "--model",
        "discriminator",
        "--manifest",
        manifest,
        out
    ]
}

#[test]
fn lines_have_their_own_options() {
    let folder = temp();
    let runs = write_runs(folder.path());
    let manifest = folder.path().join("jobs.jsonl");
    let lines = [
        json!({"checkpoint": runs.join("a/model.ckpt-100")}),
        json!({"checkpoint": runs.join("a"), "step": 200, "out": "named/two", "options": {"dtype": "f16"}}),
        json!({"checkpoint": fixture("tiny_default"), "model": "both", "options": {"no_verify": true, "vocab": "none", "labels": null}}),
        json!({"checkpoint": fixture("ft_sst"), "model": "finetuned", "options": {"labels": ["bad", "good"], "do_lower_case": true, "dtype": "keep"}}),
    ];
    let text: Vec<String> = lines.iter().map(ToString::to_string).collect();
    fs::write(&manifest, text.join("\n\n") + "\n").unwrap();
    let out = folder.path().join("out");
    let options = ["--model", "discriminator", "--dtype", "bf16"];
    let run = run![
        "batch",
        "--json",
        options[0],
        options[1],
        options[2],
        options[3],
        "--manifest",
        manifest,
        out
    ]
    .ok();
    let found: Vec<String> = statuses(&run).into_keys().collect();
    let expected = [
        "a-100-discriminator",
        "ft_sst-32-finetuned",
        "named/two",
        "tiny_default-400-both",
    ];
    assert_eq!(found, expected);
    let record = |name: &str| read_json(&out.join(name).join("conversion.json"))["options"].clone();
    assert_eq!(record("a-100-discriminator"), json!({"dtype": "bf16"}));
    assert_eq!(record("named/two"), json!({"dtype": "f16"}));
    assert_eq!(
        record("tiny_default-400-both/generator"),
        json!({"dtype": "bf16", "no_verify": true})
    );
    let config = read_json(&out.join("ft_sst-32-finetuned/config.json"));
    assert_eq!(config["id2label"]["1"], "good");
}

#[test]
fn a_line_that_is_not_understood_is_refused_by_its_number() {
    let folder = temp();
    let runs = write_runs(folder.path());
    let manifest = folder.path().join("jobs.jsonl");
    let out = folder.path().join("out");
    let good = json!({"checkpoint": runs.join("a/model.ckpt-100")}).to_string();
    for (line, words) in [
        ("not json".to_owned(), "expected"),
        ("[1, 2]".to_owned(), "line 2"),
        (json!({"chekpoint": "a"}).to_string(), "chekpoint"),
        (
            json!({"checkpoint": "a", "options": {"dtyp": "f16"}}).to_string(),
            "there is no option \"dtyp\"",
        ),
        (
            json!({"checkpoint": "a", "options": {"dtype": "f8"}}).to_string(),
            "f8",
        ),
        (
            json!({"checkpoint": "a", "options": {"force": true}}).to_string(),
            "\"force\"",
        ),
        (
            json!({"checkpoint": "a", "options": {"dtype": {"a": 1}}}).to_string(),
            "expected a string",
        ),
        (json!({"checkpoint": "a", "model": "x"}).to_string(), "x"),
        (
            json!({"checkpoint": "a", "options": {"dtype": "f16", "model": "both"}}).to_string(),
            "give it beside options",
        ),
        (
            json!({"checkpoint": "a", "options": {"labels": ["a,b"]}}).to_string(),
            "no item may contain ','",
        ),
    ] {
        fs::write(&manifest, format!("{good}\n{line}\n")).unwrap();
        run_manifest(&manifest, &out).fails(2, &["jobs.jsonl, line 2", words]);
    }
    // A value is no option.
    let line = json!({"checkpoint": runs.join("a"), "options": {"vocab": "--force"}});
    fs::write(&manifest, line.to_string()).unwrap();
    run_manifest(&manifest, &out).fails(2, &["--vocab", "--force", "no such file"]);
    // An output that escapes.
    for name in [
        "../x",
        "/x",
        "a/../../x",
        "..",
        "",
        "batch.json",
        "batch.json/x",
    ] {
        let line = json!({"checkpoint": runs.join("a"), "out": name});
        fs::write(&manifest, line.to_string()).unwrap();
        run_manifest(&manifest, &out).fails(2, &["output name"]);
    }
    fs::write(&manifest, "\n").unwrap();
    run_manifest(&manifest, &out).fails(2, &["has no line"]);
    run_manifest(&folder.path().join("none"), &out).fails(2, &["--manifest", "no such file"]);
    assert!(!out.exists());
}

#[test]
fn a_checkpoint_that_is_missing_does_not_stop_the_others() {
    let folder = temp();
    write_run(&folder.path().join("a"), &[100]);
    let manifest = folder.path().join("jobs.jsonl");
    let signed = format!(
        "https://127.0.0.1:9/x.zip?signature=secret{}",
        "1".repeat(300)
    );
    let lines = [
        json!({"checkpoint": folder.path().join("a"), "model": "discriminator"}),
        json!({"checkpoint": folder.path().join("gone/model.ckpt-5"), "model": "discriminator"}),
        json!({"checkpoint": signed, "model": "discriminator"}),
    ];
    let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    fs::write(&manifest, lines.join("\n")).unwrap();
    let out = folder.path().join("out");
    let run = run!["batch", "--json", "--manifest", manifest, out];
    let found = statuses(&run);
    assert_eq!(found["a-100-discriminator"], "converted");
    assert_eq!(found["gone-model.ckpt-5-discriminator"], "failed");
    let run = run.fails(3, &["2 conversions failed"]);
    assert_eq!(listing(&out), ["a-100-discriminator", "batch.json"]);
    let summary = fs::read_to_string(out.join("batch.json")).unwrap();
    for text in [run.stdout, run.stderr, summary] {
        assert!(!text.contains("secret"), "{text}");
    }
    run![
        "batch",
        "--manifest",
        manifest,
        folder.path().join("a"),
        out
    ]
    .fails(2, &["--manifest lists the checkpoints"]);
    let unnamed = json!({"checkpoint": folder.path().join("a")}).to_string();
    fs::write(&manifest, unnamed).unwrap();
    run!["batch", "--manifest", manifest, out].fails(2, &["--model", "line 1"]);
}
