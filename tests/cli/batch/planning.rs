//! What is found out before the first byte is written.

use std::fs;

use testkit::bundle_writer::{SMALL, Sizes, discriminator, plant_heads};
use testkit::{copy_of, fixture, listing, read_json, run, temp};

use super::{assert_exports, statuses, write_run, write_runs};

#[test]
fn a_dry_run_prints_the_plan_and_writes_nothing() {
    let folder = temp();
    let runs = write_runs(folder.path());
    let out = folder.path().join("out");
    let run = run![
        "batch",
        "--dry-run",
        "--memory",
        "2GiB",
        "--model",
        "discriminator",
        runs,
        out
    ]
    .ok();
    run.stdout_has(&[
        "convert  a-100-discriminator",
        "model.ckpt-200",
        "Would convert 3 checkpoints",
        "within 2.00 GiB of memory",
    ]);
    assert!(!out.exists());
    let run = run![
        "batch",
        "--dry-run",
        "--json",
        "--model",
        "discriminator",
        runs,
        out
    ]
    .ok();
    let plan = run.json();
    assert_eq!(plan["status"], "planned");
    assert_eq!(plan["jobs"][2]["action"], "convert");
    let sum: u64 = plan["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(plan["bytes"], sum);
    assert!(!out.exists());
}

#[test]
fn a_head_count_that_only_the_weights_show_is_read_from_them() {
    let folder = temp();
    // 64 divides none of the sizes.
    for (hidden, heads) in [(96, 6), (160, 10), (224, 7)] {
        let [source, out] = ["a", "out"].map(|name| folder.path().join(format!("{hidden}/{name}")));
        let sizes = Sizes {
            hidden,
            layers: 4,
            ..SMALL
        };
        let mut bundle = discriminator(sizes);
        plant_heads(&mut bundle, "electra", sizes, heads);
        fs::create_dir_all(&source).unwrap();
        bundle.write(&source.join("model.ckpt-5"));
        run!["batch", "--model", "discriminator", source, out].ok();
        let config = read_json(&out.join("a-5-discriminator/config.json"));
        assert_eq!(config["num_attention_heads"], heads);
    }
}

#[test]
fn an_output_that_is_a_file_is_refused_at_once() {
    let folder = temp();
    let runs = write_runs(folder.path());
    let out = folder.path().join("out");
    fs::write(&out, "a file").unwrap();
    for options in [&[][..], &["--dry-run"]] {
        let mut command = testkit::command(&[&"batch", &"--model", &"discriminator"]);
        let output = command.args(options).args([&runs, &out]).output().unwrap();
        let run = testkit::Run::from(output);
        run.fails(2, &["out is not a directory: give a directory"]);
    }
    assert_eq!(fs::read(&out).unwrap(), b"a file");
}

#[test]
fn a_quiet_batch_prints_what_fails() {
    let folder = temp();
    let runs = write_runs(folder.path());
    fs::write(runs.join("a/model.ckpt-100.data-00000-of-00001"), "short").unwrap();
    let out = folder.path().join("out");
    let run = run!["batch", "--quiet", "--model", "discriminator", runs, out];
    run.fails(3, &["a-100-discriminator", "model.ckpt-100.data", "failed"]);
}

#[test]
fn names_that_conflict_are_refused() {
    let folder = temp();
    for run in ["x/run", "y/run"] {
        write_run(&folder.path().join(run), &[100]);
    }
    let [x, y] = ["x/run", "y/run"].map(|run| folder.path().join(run));
    let out = folder.path().join("out");
    run!["batch", "--model", "discriminator", x, y, out].fails(
        2,
        &[
            "x/run/model.ckpt-100",
            "y/run/model.ckpt-100",
            "run-100-discriminator",
            "--name-template",
        ],
    );
    // Below one directory their paths differ.
    run!["batch", "--model", "discriminator", folder.path(), out].ok();
    assert_exports(
        &out,
        &["x-run-100-discriminator", "y-run-100-discriminator"],
    );
    run![
        "batch",
        "--model",
        "discriminator",
        "--name-template",
        "all",
        x,
        y,
        out
    ]
    .fails(2, &["all"]);
}

#[test]
fn names_never_leave_the_output_directory() {
    let folder = temp();
    let runs = write_runs(folder.path()).join("group/b");
    let out = folder.path().join("out");
    for template in [
        "../{run}",
        "/tmp/{run}",
        "a/../../{run}",
        "",
        "batch.json",
        "a\\b",
    ] {
        run![
            "batch",
            "--model",
            "discriminator",
            "--name-template",
            template,
            runs,
            out
        ]
        .fails(2, &["output name"]);
        assert_eq!(listing(folder.path()), ["runs"], "{template}");
    }
}

#[test]
fn a_model_that_is_missing_is_a_failure_of_its_job() {
    let folder = temp();
    let runs = write_runs(folder.path());
    let out = folder.path().join("out");
    let run = run!["batch", "--dry-run", "--model", "generator", runs, out];
    run.fails(4, &["3 checkpoints cannot be converted"]);
    run!["batch", "--model", "generator", runs, out].fails(4, &["3 conversions failed"]);
    assert_eq!(listing(&out), ["batch.json"]);
}

#[test]
fn the_worst_failure_decides_the_exit_code() {
    let folder = temp();
    let runs = write_runs(folder.path());
    fs::remove_file(runs.join("a/model.ckpt-100.index")).unwrap();
    fs::write(runs.join("a/model.ckpt-200.index"), "x").unwrap();
    let out = folder.path().join("out");
    run!["batch", "--model", "discriminator", runs, out].fails(3, &["2 conversions failed"]);
    // The generator of `group/b` is missing: 4.
    run!["batch", "--model", "generator", runs, out].fails(4, &["3 conversions failed"]);
}

#[test]
fn one_failure_stops_all_on_request() {
    let folder = temp();
    let runs = write_runs(folder.path());
    fs::remove_file(runs.join("group/b/model.ckpt-100.index")).unwrap();
    let out = folder.path().join("out");
    let run = run![
        "batch",
        "--json",
        "--fail-fast",
        "--model",
        "discriminator",
        runs,
        out
    ];
    let found = statuses(&run);
    assert_eq!(found["a-100-discriminator"], "not_run");
    assert_eq!(found["a-200-discriminator"], "not_run");
    run.fails(3, &["1 conversion failed, 2 not run"]);
    assert_eq!(listing(&out), ["batch.json"]);
}

#[test]
fn a_job_beyond_the_budget_runs_alone() {
    let folder = temp();
    let runs = write_runs(folder.path());
    let out = folder.path().join("out");
    let run = run![
        "batch",
        "--memory",
        "1MiB",
        "--model",
        "discriminator",
        runs,
        out
    ]
    .ok();
    assert!(
        run.stderr
            .contains("3 of the conversions may need more memory"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("run alone"), "{}", run.stderr);
}

#[test]
fn wrong_usage_is_explained() {
    let folder = temp();
    let runs = write_runs(folder.path());
    run!["batch", "--model", "discriminator", runs].fails(2, &["OUT is missing"]);
    let out = folder.path().join("out");
    run!["batch", runs, out].fails(2, &["--model"]);
    for (option, value) in [
        ("--shard", "8/8"),
        ("--memory", "much"),
        ("--jobs", "0"),
        ("--step", "100"),
    ] {
        run![
            "batch",
            "--model",
            "discriminator",
            option,
            value,
            runs,
            out
        ]
        .fails(2, &[option]);
    }
    assert!(!out.exists());
}

#[test]
fn options_of_convert_apply() {
    let folder = copy_of("tiny_default");
    let out = temp();
    run![
        "batch",
        "--model",
        "generator",
        "--dtype",
        "bf16",
        "--vocab",
        "none",
        "--model-card",
        "--license",
        "apache-2.0",
        "--no-graph",
        "--name-template",
        "x",
        folder.path(),
        out.path()
    ]
    .ok();
    assert_eq!(
        listing(&out.path().join("x")),
        [
            "README.md",
            "config.json",
            "conversion.json",
            "model.safetensors"
        ]
    );
    let record = testkit::read_json(&out.path().join("x/conversion.json"));
    let options = &record["options"];
    assert_eq!(options["dtype"], "bf16");
    assert_eq!(options["license"], "apache-2.0");
    assert_eq!(options["no_graph"], true);
    let files = record["files"].as_object().unwrap().keys();
    assert!(files.eq(["config.json", "model.safetensors"]));
    let vocabulary = fixture("tiny_default/vocab.txt");
    run![
        "batch",
        "--model",
        "generator",
        "--vocab",
        vocabulary,
        "--name-template",
        "y",
        folder.path(),
        out.path()
    ]
    .ok();
    assert!(out.path().join("y/tokenizer.json").exists());
}

#[test]
fn a_file_in_the_place_of_the_summary_stays() {
    let folder = temp();
    let runs = write_runs(folder.path());
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    let summary = out.join("batch.json");
    for text in [r#"{"my": "own"}"#, ""] {
        fs::write(&summary, text).unwrap();
        run!["batch", "--model", "discriminator", runs, out]
            .fails(2, &["batch.json is not the summary of a batch"]);
        assert_eq!(listing(&out), ["batch.json"]);
        assert_eq!(fs::read_to_string(&summary).unwrap(), text);
    }
    fs::remove_file(&summary).unwrap();
    for _ in 0..2 {
        run!["batch", "--model", "discriminator", runs, out].ok();
    }
}

#[test]
fn a_default_of_the_head_count_is_a_warning() {
    let out = temp();
    let source = fixture("fmt_weights_only");
    let run = run!["batch", "--model", "discriminator", source, out.path()].ok();
    let words = "the head count 1 of --model discriminator comes from the original code's rule";
    assert!(run.stderr.contains(words), "{}", run.stderr);
    let summary = testkit::read_json(&out.path().join("batch.json"));
    let warning = summary["jobs"][0]["warnings"][0].as_str().unwrap();
    assert!(warning.contains(words), "{warning}");
    // The original code computes that of a generator.
    let generated = run![
        "--no-verify",
        "--vocab",
        "none",
        "--model",
        "generator",
        fixture("fmt_weights_only"),
        out.path().join("generator")
    ];
    assert_eq!(generated.ok().stderr, "");
}
