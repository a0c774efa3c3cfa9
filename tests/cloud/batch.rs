//! `batch` from a bucket, and into one.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use testkit::bucket_server::{Action, Fault, Operation};
use testkit::bundle_writer::{SMALL, discriminator};
use testkit::{Run, listing};

use crate::read::put;
use crate::world::{OUT, World};

fn statuses(run: &Run) -> BTreeMap<String, String> {
    let documents = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let documents: Vec<Value> = documents.collect();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let jobs = documents
        .iter()
        .filter(|document| document.get("name").is_some());
    jobs.map(|job| (text(&job["name"]), text(&job["status"])))
        .collect()
}

/// Two runs in the bucket, as directories below `runs`.
fn put_runs(world: &World) {
    for (run, steps) in [("a", &[100, 200][..]), ("group/b", &[100])] {
        let folder = world.folder.path().join("local");
        fs::create_dir_all(&folder).unwrap();
        for step in steps {
            let mut bundle = discriminator(SMALL);
            bundle.add("global_step", 9, &[], &u64::to_le_bytes(*step));
            bundle.write(&folder.join(format!("model.ckpt-{step}")));
        }
        put(world, &folder, &format!("runs/{run}"));
        fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn every_run_below_a_prefix_is_converted_once() {
    let world = World::new();
    put_runs(&world);
    let out = world.folder.path().join("out");
    let batch = || {
        world.run(&[
            &"batch",
            &"--json",
            &"--no-verify",
            &"--model",
            &"discriminator",
            &"s3://models/runs",
            &out,
        ])
    };
    let first = statuses(&batch().ok());
    let names = [
        "a-100-discriminator",
        "a-200-discriminator",
        "group-b-100-discriminator",
    ];
    assert_eq!(first.keys().collect::<Vec<_>>(), names);
    assert!(first.values().all(|status| status == "converted"));
    assert_eq!(
        listing(&out.join(names[1])),
        ["config.json", "conversion.json", "model.safetensors"]
    );
    let again = statuses(&batch().ok());
    assert!(
        again.values().all(|status| status == "skipped"),
        "{again:?}"
    );
    // A checkpoint that is replaced has another index.
    let mut bundle = discriminator(SMALL);
    bundle.add("global_step", 9, &[], &7_u64.to_le_bytes());
    let folder = world.folder.path().join("local");
    fs::create_dir_all(&folder).unwrap();
    bundle.write(&folder.join("model.ckpt-200"));
    put(&world, &folder, "runs/a");
    let changed = batch();
    assert_eq!(statuses(&changed)[names[1]], "failed");
    changed.fails(2, &["1 conversion failed"]);
}

#[test]
fn exports_in_a_bucket_are_skipped_by_their_records() {
    let world = World::new();
    put_runs(&world);
    let batch = |options: &[&'static str]| {
        let mut args: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![
            &"batch",
            &"--json",
            &"--no-verify",
            &"--model",
            &"discriminator",
        ];
        args.extend(
            options
                .iter()
                .map(|option| option as &dyn AsRef<std::ffi::OsStr>),
        );
        args.extend([&"s3://models/runs/a" as &dyn AsRef<std::ffi::OsStr>, &OUT]);
        world.run(&args)
    };
    let first = statuses(&batch(&[]).ok());
    assert_eq!(
        first
            .values()
            .filter(|status| *status == "converted")
            .count(),
        2
    );
    let keys: Vec<String> = world.objects().into_keys().collect();
    let files = ["config.json", "conversion.json", "model.safetensors"];
    let expected = ["a-100-discriminator", "a-200-discriminator"]
        .iter()
        .flat_map(|name| files.map(|file| format!("{name}/{file}")));
    let mut expected: Vec<String> = expected.collect();
    expected.push("batch.json".to_owned());
    assert_eq!(keys, expected);

    let written = world.written().len();
    let again = statuses(&batch(&[]).ok());
    assert!(
        again.values().all(|status| status == "skipped"),
        "{again:?}"
    );
    // The summary alone.
    assert_eq!(world.written().len(), written + 1);
    let other = batch(&["--dtype", "f16"]);
    assert!(
        other.stdout.contains("its option dtype is absent, not f16"),
        "{}",
        other.stdout
    );
    other.fails(2, &[]);
    let forced = statuses(&batch(&["--dtype", "f16", "--force"]).ok());
    assert!(forced.values().all(|status| status == "converted"));
    let deleted = world.server.seen().into_iter();
    assert_eq!(
        deleted
            .filter(|seen| seen.operation == Operation::Delete)
            .count(),
        0
    );
}

#[test]
fn a_killed_upload_is_resumed() {
    let world = World::new();
    put_runs(&world);
    let args: [&dyn AsRef<std::ffi::OsStr>; 6] = [
        &"batch",
        &"--no-verify",
        &"--model",
        &"discriminator",
        &"s3://models/runs/a/model.ckpt-100",
        &OUT,
    ];
    let slow = Action::Delay(Duration::from_secs(20));
    let fault = Fault::every(Operation::Put, "/model.safetensors", slow).times(1);
    world.server.add_fault(fault);
    let mut child = world.command(&args).stdout(Stdio::null()).spawn().unwrap();
    world
        .server
        .wait_for(Operation::Put, "/model.safetensors", 1);
    child.kill().unwrap();
    child.wait().unwrap();
    let left: Vec<String> = world.objects().into_keys().collect();
    let files = ["config.json", "conversion.json"];
    assert_eq!(
        left,
        files.map(|file| format!("a-100-discriminator/{file}"))
    );
    let command = world.command(&args).output().unwrap();
    Run::from(command).ok();
    assert!(
        world
            .objects()
            .contains_key("a-100-discriminator/model.safetensors")
    );
}
