//! `batch`: finding, planning, converting, resuming and sharing many conversions.

mod finding;
mod manifest;
mod planning;
mod resuming;
mod spreading;
mod stopping;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testkit::bundle_writer::{Bundle, SMALL, Sizes, discriminator};
use testkit::{Run, listing};

/// `DT_INT64`.
const INT64: u64 = 9;

/// A discriminator with a step counter, so that no two steps have the same index.
fn checkpoint(sizes: Sizes, step: u64) -> Bundle {
    let mut bundle = discriminator(sizes);
    bundle.add("global_step", INT64, &[], &step.to_le_bytes());
    bundle
}

/// Writes checkpoints of a few kilobytes into a directory, which is created.
fn write_run(folder: &Path, steps: &[u64]) {
    fs::create_dir_all(folder).unwrap();
    for step in steps {
        checkpoint(SMALL, *step).write(&folder.join(format!("model.ckpt-{step}")));
    }
}

/// Two runs below `runs`, one of them deeper, with other files beside the checkpoints.
fn write_runs(root: &Path) -> PathBuf {
    let runs = root.join("runs");
    write_run(&runs.join("a"), &[100, 200]);
    write_run(&runs.join("group/b"), &[100]);
    fs::write(
        runs.join("a/checkpoint"),
        "model_checkpoint_path: \"model.ckpt-200\"\n",
    )
    .unwrap();
    fs::create_dir(runs.join("a/eval")).unwrap();
    fs::write(runs.join("a/eval/events.out.tfevents.1"), "x").unwrap();
    runs
}

/// The documents that a batch prints with `--json`, the summary last.
fn documents(run: &Run) -> Vec<Value> {
    let lines = run.stdout.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

/// The status of each job by its name.
fn statuses(run: &Run) -> BTreeMap<String, String> {
    let documents = documents(run);
    let (summary, jobs) = documents.split_last().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of = |job: &Value| (text(&job["name"]), text(&job["status"]));
    let found: BTreeMap<_, _> = jobs.iter().map(of).collect();
    let summed: BTreeMap<_, _> = summary["jobs"].as_array().unwrap().iter().map(of).collect();
    assert_eq!(found, summed);
    found
}

/// The files of an export without a tokenizer.
const FILES: [&str; 3] = ["config.json", "conversion.json", "model.safetensors"];

/// Fails unless these are the exports in a directory, and nothing else is there but the summary.
#[track_caller]
fn assert_exports(out: &Path, names: &[&str]) {
    let mut expected: Vec<&str> = names.iter().copied().chain(["batch.json"]).collect();
    expected.sort_unstable();
    assert_eq!(listing(out), expected);
    for name in names {
        assert_eq!(listing(&out.join(name)), FILES, "{name}");
    }
}
