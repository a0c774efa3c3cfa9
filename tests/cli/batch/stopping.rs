//! Ctrl-C, kills, and files that change meanwhile.

use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::thread;
use std::time::{Duration, Instant};

use electra_convert::batch::{
    Batch, BatchOptions, BatchResult, JobOptions, NameTemplate, Outcome, PlannedBatch, Settings,
    find_jobs,
};
use electra_convert::{Error, Model, Progress};
use testkit::bundle_writer::{SMALL, Sizes};
use testkit::{command, listing, read_json, run, send_signal, temp};

use super::{checkpoint, write_run};

/// Checkpoints that take some seconds altogether.
fn write_large_run(folder: &Path, steps: u64) {
    let sizes = Sizes {
        vocab: 8_000,
        embedding: 128,
        hidden: 512,
        intermediate: 2048,
        layers: 3,
        ..SMALL
    };
    fs::create_dir_all(folder).unwrap();
    for step in 1..=steps {
        checkpoint(sizes, step).write(&folder.join(format!("model.ckpt-{step}")));
    }
}

fn start(source: &Path, out: &Path) -> Child {
    let mut command = command(&[&"batch", &"--model", &"discriminator", &source, &out]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Fails unless every directory in `out` is a complete export.
fn complete_exports(out: &Path) -> usize {
    let names = listing(out).into_iter();
    // A kill while the summary is written leaves `.batch-….json`.
    let is_summary = |name: &String| name.trim_start_matches('.').starts_with("batch");
    let names: Vec<String> = names.filter(|name| !is_summary(name)).collect();
    for name in &names {
        assert_eq!(listing(&out.join(name)), super::FILES, "{name}");
    }
    names.len()
}

#[test]
fn a_signal_stops_all_jobs_and_the_same_command_resumes() {
    let folder = temp();
    let [source, out] = ["a", "out"].map(|name| folder.path().join(name));
    write_large_run(&source, 4);
    let mut was_interrupted = 0;
    for (delay, signal) in [(150, "INT"), (600, "TERM"), (1200, "INT")] {
        let mut child = start(&source, &out);
        thread::sleep(Duration::from_millis(delay));
        send_signal(&child, signal);
        let since = Instant::now();
        let status = child.wait().unwrap();
        // Generous, because tests run beside each other without optimisation.
        assert!(
            since.elapsed() < Duration::from_secs(3),
            "{:?}",
            since.elapsed()
        );
        complete_exports(&out);
        if !status.success() {
            was_interrupted += 1;
            let signal = status.signal().unwrap();
            assert!(matches!(signal, 2 | 15), "{status:?}");
            // A signal during planning leaves no summary.
            if out.join("batch.json").exists() {
                let summary = read_json(&out.join("batch.json"));
                assert_eq!(summary["exit_code"], 128 + signal);
            }
            fs::remove_file(out.join("batch.json")).ok();
        }
    }
    assert!(was_interrupted > 0);
    run!["batch", "--model", "discriminator", source, out].ok();
    assert_eq!(complete_exports(&out), 4);
}

#[test]
fn a_killed_batch_is_resumed() {
    let folder = temp();
    let [source, out] = ["a", "out"].map(|name| folder.path().join(name));
    write_large_run(&source, 3);
    for delay in [300, 900] {
        let mut child = start(&source, &out);
        thread::sleep(Duration::from_millis(delay));
        send_signal(&child, "KILL");
        child.wait().unwrap();
    }
    run!["batch", "--model", "discriminator", source, out].ok();
    assert_eq!(complete_exports(&out), 3);
}

fn plan(source: &Path, out: &Path) -> PlannedBatch {
    plan_with(source, out, BatchOptions::default())
}

fn plan_with(source: &Path, out: &Path, batch_options: BatchOptions) -> PlannedBatch {
    let settings = Arc::new(Settings::new(Model::Discriminator));
    let options = JobOptions {
        steps: None,
        template: &NameTemplate::default(),
        settings: &settings,
    };
    let found = find_jobs(&[source.to_owned()], options).unwrap();
    let batch = Batch::new(out, found.jobs, batch_options).unwrap();
    batch.plan(&()).unwrap()
}

fn failures(result: &BatchResult) -> Vec<(&str, String)> {
    let jobs = result.jobs.iter();
    jobs.filter_map(|job| match &job.outcome {
        Outcome::Failed(error) => Some((&job.name[..], error.to_string())),
        _ => None,
    })
    .collect()
}

fn world() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = temp();
    let [source, out] = ["a", "out"].map(|name| folder.path().join(name));
    write_run(&source, &[100, 200, 300]);
    (folder, source, out)
}

#[test]
fn a_checkpoint_that_training_deletes_or_replaces_after_planning_is_reported() {
    let (_folder, source, out) = world();
    let planned = plan(&source, &out);
    for suffix in [".index", ".data-00000-of-00001"] {
        fs::remove_file(source.join(format!("model.ckpt-100{suffix}"))).unwrap();
    }
    // Another checkpoint under the same name.
    checkpoint(SMALL, 7).write(&source.join("model.ckpt-200"));
    let result = planned.run(&(), &|_, _| {});
    let failed = failures(&result);
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(failed[0].1.contains("model.ckpt-100"), "{failed:?}");
    assert!(
        failed[1].1.contains("has changed since it was planned"),
        "{failed:?}"
    );
    assert_eq!(listing(&out), ["a-300-discriminator"]);
}

/// Does something at the first progress of a conversion.
struct Meanwhile<F: Fn() + Sync>(Once, F);

impl<F: Fn() + Sync> Progress for Meanwhile<F> {
    fn advance(&self, units: u64) -> std::ops::ControlFlow<()> {
        if units > 0 {
            self.0.call_once(&self.1);
        }
        std::ops::ControlFlow::Continue(())
    }
}

#[test]
fn a_checkpoint_that_changes_while_it_is_converted_is_never_mixed() {
    let (_folder, source, out) = world();
    let planned = plan(&source, &out);
    let act = || {
        for step in [100, 200, 300] {
            checkpoint(SMALL, 7).write(&source.join(format!("model.ckpt-{step}")));
        }
    };
    let result = planned.run(&Meanwhile(Once::new(), act), &|_, _| {});
    let failed = failures(&result);
    assert_eq!(failed.len(), 3, "{failed:?}");
    assert!(listing(&out).is_empty());
}

/// Counts how many exports are staged at once. The first conversions wait for `expected` of them, up to a time.
struct Staged<'a> {
    out: &'a Path,
    expected: usize,
    patience: Duration,
    waits: AtomicUsize,
    most: AtomicUsize,
}

impl Progress for Staged<'_> {
    fn advance(&self, units: u64) -> std::ops::ControlFlow<()> {
        if units > 0 && self.waits.fetch_add(1, Ordering::Relaxed) < 3 {
            let end = Instant::now() + self.patience;
            while self.count() < self.expected && Instant::now() < end {
                thread::sleep(Duration::from_millis(5));
            }
        }
        std::ops::ControlFlow::Continue(())
    }
}

impl Staged<'_> {
    fn count(&self) -> usize {
        let exports = fs::read_dir(self.out).unwrap();
        let staged = exports.filter(|export| {
            let path = export.as_ref().unwrap().path();
            path.join(".electra-convert").exists()
        });
        let count = staged.count();
        self.most.fetch_max(count, Ordering::Relaxed);
        count
    }
}

#[test]
fn conversions_run_at_once_within_jobs_and_memory() {
    let long = Duration::from_secs(20);
    let short = Duration::from_millis(300);
    for (jobs, memory, most, patience) in [
        (3, None, 3, long),
        (2, None, 2, short),
        // Each exceeds the budget, and runs alone.
        (3, Some(1), 1, short),
    ] {
        let (_folder, source, out) = world();
        let mut options = BatchOptions::default();
        options.jobs = NonZeroUsize::new(jobs);
        options.threads = NonZeroUsize::new(3);
        options.memory = memory;
        let planned = plan_with(&source, &out, options);
        fs::create_dir(&out).unwrap();
        let progress = Staged {
            out: &out,
            expected: 3,
            patience,
            waits: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        };
        let result = planned.run(&progress, &|_, _| {});
        assert!(failures(&result).is_empty(), "{result:?}");
        assert_eq!(progress.most.into_inner(), most, "{jobs} {memory:?}");
    }
}

#[test]
fn progress_stops_a_batch() {
    struct Stop;
    impl Progress for Stop {
        fn advance(&self, _: u64) -> std::ops::ControlFlow<()> {
            std::ops::ControlFlow::Break(())
        }
    }
    let (_folder, source, out) = world();
    let result = plan(&source, &out).run(&Stop, &|_, _| {});
    assert!(result.is_interrupted);
    assert!(
        result
            .jobs
            .iter()
            .all(|job| matches!(job.outcome, Outcome::NotRun))
    );
    assert!(!out.exists());
    let settings = Arc::new(Settings::new(Model::Discriminator));
    let options = JobOptions {
        steps: None,
        template: &NameTemplate::default(),
        settings: &settings,
    };
    let found = find_jobs(&[source], options).unwrap();
    let batch = Batch::new(&out, found.jobs, BatchOptions::default()).unwrap();
    assert!(matches!(
        batch.plan(&Stop),
        Err(Error::Export(electra_convert::export::Error::Interrupted))
    ));
}
