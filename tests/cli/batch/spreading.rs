//! Shares for several machines, and several processes in one directory.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::process::{Child, Stdio};

use testkit::{Run, command, listing, run, temp};

use super::{statuses, write_run};

/// Starts a batch of discriminators that prints JSON.
fn start(args: &[&dyn AsRef<OsStr>]) -> Child {
    let mut all: Vec<&dyn AsRef<OsStr>> = vec![&"batch", &"--json", &"--model", &"discriminator"];
    all.extend(args);
    let mut command = command(&all);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn shards_are_disjoint_complete_and_stable() {
    let folder = temp();
    let source = folder.path().join("a");
    let steps: Vec<u64> = (1..=12).map(|step| step * 100).collect();
    write_run(&source, &steps[..9]);
    let out = folder.path().join("out");
    let jobs_of = |index: usize| {
        let shard = format!("{index}/3");
        let run = run![
            "batch",
            "--json",
            "--model",
            "discriminator",
            "--shard",
            shard,
            source,
            out
        ];
        statuses(&run.ok())
    };
    let shards: Vec<BTreeMap<_, _>> = (0..3).map(jobs_of).collect();
    assert_eq!(shards.iter().map(BTreeMap::len).sum::<usize>(), 9);
    let expected = [
        "batch-0-of-3.json",
        "batch-1-of-3.json",
        "batch-2-of-3.json",
    ];
    assert_eq!(listing(&out).split_off(9), expected);
    // A run that has grown: what was in a shard stays there.
    write_run(&source, &steps[9..]);
    for (index, earlier) in shards.iter().enumerate() {
        let now = jobs_of(index);
        assert!(earlier.keys().all(|name| now[name] == "skipped"));
        assert!(earlier.values().all(|status| status == "converted"));
    }
    let all = run!["batch", "--json", "--model", "discriminator", source, out].ok();
    assert!(statuses(&all).values().all(|status| status == "skipped"));
    // A shard may be empty.
    let all_shards: Vec<String> = (0..50).map(|index| format!("{index}/50")).collect();
    let empty = all_shards.iter().map(|shard| {
        run![
            "batch",
            "--model",
            "discriminator",
            "--shard",
            shard,
            "--steps",
            "100",
            source,
            out
        ]
        .ok()
    });
    let empty = empty.filter(|run| run.stdout.contains("nothing to do in this shard"));
    assert_eq!(empty.count(), 49);
}

#[test]
fn processes_in_one_directory_never_convert_a_job_twice() {
    let folder = temp();
    let [source, out] = ["a", "out"].map(|name| folder.path().join(name));
    write_run(&source, &(1..=10).collect::<Vec<u64>>());
    let children: Vec<_> = (0..4).map(|_| start(&[&source, &out])).collect();
    let mut converted: BTreeMap<String, usize> = BTreeMap::new();
    for child in children {
        let run = Run::from(child.wait_with_output().unwrap()).ok();
        for (name, status) in statuses(&run) {
            assert!(
                status == "converted" || status == "skipped",
                "{name}: {status}"
            );
            *converted.entry(name).or_default() += usize::from(status == "converted");
        }
    }
    assert_eq!(converted.len(), 10);
    assert!(converted.values().all(|times| *times == 1), "{converted:?}");
    for name in converted.keys() {
        assert_eq!(listing(&out.join(name)), super::FILES);
    }
}

#[test]
fn a_locked_output_is_waited_for() {
    let folder = temp();
    let [source, out] = ["a", "out"].map(|name| folder.path().join(name));
    write_run(&source, &[100]);
    run!["batch", "--model", "discriminator", source, out].ok();
    // As another process would hold it while it converts.
    let export = out.join("a-100-discriminator");
    fs::remove_file(export.join("model.safetensors")).unwrap();
    let lock = fs::File::open(&export).unwrap();
    lock.lock().unwrap();
    let child = start(&[&"--force", &source, &out]);
    std::thread::sleep(std::time::Duration::from_millis(700));
    drop(lock);
    let run = Run::from(child.wait_with_output().unwrap()).ok();
    assert_eq!(statuses(&run)["a-100-discriminator"], "converted");
}
