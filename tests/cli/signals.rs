//! Ctrl-C in every phase, progress within its total, and the number of threads.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::ops::ControlFlow;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use electra_convert::export::Error as ExportError;
use electra_convert::plan::TokenizerChoice;
use electra_convert::tokenizer::TokenizerSetup;
use electra_convert::{
    Conversion, ElectraCheckpoint, Error, Model, Models, Phase, PlanOptions, Progress, TextRequest,
};

use testkit::bundle_writer::{SMALL, Sizes, discriminator};
use testkit::{fixture, listing, program, send_signal, temp};

/// The phases with their totals and the units that were counted; stops in one of them.
#[derive(Default)]
struct Recorder {
    phases: Mutex<Vec<(Phase, u64, u64)>>,
    /// The phase to stop in, and after how many calls.
    stop: Option<(Phase, usize)>,
    calls: Mutex<BTreeMap<&'static str, usize>>,
}

impl Progress for Recorder {
    fn begin(&self, phase: Phase, total: u64) {
        self.phases.lock().unwrap().push((phase, total, 0));
    }

    fn advance(&self, units: u64) -> ControlFlow<()> {
        let mut phases = self.phases.lock().unwrap();
        let (phase, _, done) = phases.last_mut().unwrap();
        *done += units;
        let mut calls = self.calls.lock().unwrap();
        let calls = calls.entry(phase.name()).or_default();
        *calls += 1;
        match self.stop {
            Some((stop, after)) if stop == *phase && *calls > after => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn conversion(
    checkpoint: &ElectraCheckpoint,
    models: impl Into<Models>,
    with_text: bool,
) -> Conversion<'_> {
    let path = fixture("text/english.txt");
    let text = with_text.then(|| TextRequest {
        text: fs::read_to_string(&path).unwrap(),
        path,
        seed: 0,
    });
    let mut options = PlanOptions::default();
    if with_text {
        let vocabulary = checkpoint.vocabulary().unwrap().unwrap();
        let tokenizer = TokenizerSetup::new(vocabulary, None, None);
        options.tokenizer = TokenizerChoice::Write(tokenizer.into());
    }
    Conversion::new(checkpoint, models)
        .options(options)
        .text(text)
}

#[test]
fn no_phase_exceeds_its_total() {
    for (name, models, with_text) in [
        ("tiny_default", Models::Both, false),
        ("fmt_partitioned", Model::Generator.into(), false),
        ("fmt_f16", Model::Discriminator.into(), false),
        ("fmt_v1", Model::Discriminator.into(), false),
        ("fmt_zip.zip", Model::Discriminator.into(), false),
        ("ft_sst", Model::FineTuned.into(), false),
        ("trained", Model::Discriminator.into(), true),
    ] {
        let out = temp();
        let checkpoint = ElectraCheckpoint::open(fixture(name)).unwrap();
        let recorder = Recorder::default();
        let conversion = conversion(&checkpoint, models, with_text);
        conversion.run(out.path(), &recorder).unwrap();
        let phases = recorder.phases.into_inner().unwrap();
        let has = |phase| phases.iter().any(|(found, ..)| *found == phase);
        assert!(has(Phase::Reading) && has(Phase::Converting) && has(Phase::Verifying));
        assert_eq!(has(Phase::Measuring), with_text);
        let has_graph = checkpoint.training_graph().is_some();
        assert!(has_graph || !has(Phase::Comparing), "{name}");
        assert!(has(Phase::Comparing) || name != "trained");
        for (phase, total, done) in phases {
            assert_eq!(done, total, "{name} {}", phase.name());
        }
    }
}

#[test]
fn every_phase_can_be_stopped_at_any_call() {
    let checkpoint = ElectraCheckpoint::open(fixture("trained")).unwrap();
    for phase in [
        Phase::Reading,
        Phase::Converting,
        Phase::Verifying,
        Phase::Comparing,
        Phase::Measuring,
    ] {
        for after in [0, 1, 5, 30, 60, 90] {
            let folder = temp();
            let out = folder.path().join("new/out");
            let with_text = phase == Phase::Measuring;
            let conversion = conversion(&checkpoint, Model::Discriminator, with_text);
            let recorder = Recorder {
                stop: Some((phase, after)),
                ..Recorder::default()
            };
            let result = conversion.run(&out, &recorder);
            let calls = recorder.calls.lock().unwrap()[phase.name()];
            if calls > after {
                let stopped = matches!(result, Err(Error::Export(ExportError::Interrupted)));
                assert!(stopped, "{} {after}", phase.name());
                assert!(
                    listing(folder.path()).is_empty(),
                    "{} {after}",
                    phase.name()
                );
            } else {
                assert!(result.is_ok());
            }
        }
    }
}

/// A model that takes seconds to convert and verify.
fn large(folder: &Path) -> PathBuf {
    let sizes = Sizes {
        vocab: 30_000,
        embedding: 512,
        hidden: 1024,
        intermediate: 4096,
        layers: 8,
        ..SMALL
    };
    let prefix = folder.join("model");
    discriminator(sizes).write(&prefix);
    prefix
}

fn start(args: &[&dyn AsRef<std::ffi::OsStr>]) -> Child {
    let mut command = Command::new(program());
    command
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Waits until it ends; how long that took.
fn end(child: &mut Child) -> (std::process::ExitStatus, Duration) {
    let start = Instant::now();
    (child.wait().unwrap(), start.elapsed())
}

/// Generous, because tests run beside each other without optimisation.
const SOON: Duration = Duration::from_secs(3);

#[test]
fn a_signal_ends_a_conversion_soon_at_any_moment() {
    let folder = temp();
    let checkpoint = large(folder.path());
    let out = folder.path().join("new/out");
    let mut was_interrupted = 0;
    for delay in [5, 50, 150, 300, 600, 1000, 1500, 2200, 3000] {
        let mut child = start(&[&"--model", &"discriminator", &checkpoint, &out]);
        thread::sleep(Duration::from_millis(delay));
        send_signal(&child, "INT");
        let (status, took) = end(&mut child);
        if status.success() {
            fs::remove_dir_all(folder.path().join("new")).unwrap();
            continue;
        }
        was_interrupted += 1;
        assert_eq!(status.signal(), Some(2), "after {delay} ms: {status:?}");
        assert!(took < SOON, "after {delay} ms: {took:?}");
        assert!(!folder.path().join("new").exists(), "after {delay} ms");
    }
    assert!(was_interrupted >= 3);
}

#[test]
fn a_signal_ends_the_other_commands_at_once() {
    let folder = temp();
    let checkpoint = large(folder.path());
    let out = folder.path().join("out");
    assert!(
        start(&[
            &"--model",
            &"discriminator",
            &"--no-verify",
            &checkpoint,
            &out
        ])
        .wait()
        .unwrap()
        .success()
    );
    for delay in [5, 200, 600] {
        let mut child = start(&[&"verify", &out, &"--source", &checkpoint]);
        thread::sleep(Duration::from_millis(delay));
        send_signal(&child, "TERM");
        let (status, took) = end(&mut child);
        assert!(took < SOON, "{took:?}");
        assert!(
            status.signal() == Some(15) || status.success(),
            "{status:?}"
        );
    }
    assert_eq!(listing(&out), ["config.json", "model.safetensors"]);
    // Waits for a text.
    let mut child = Command::new(program())
        .args([&"probe" as &dyn AsRef<std::ffi::OsStr>, &out])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(100));
    send_signal(&child, "INT");
    let (status, took) = end(&mut child);
    assert!(took < SOON, "{took:?}");
    assert_eq!(status.signal(), Some(2));
}

#[test]
fn a_signal_ends_the_inflation_of_an_archive_at_once() {
    let folder = temp();
    let checkpoint = large(folder.path());
    let archives = ["model.zip", "model.tar.gz"].map(|name| folder.path().join(name));
    // Compressed as a whole, by the tool that everybody has.
    let script = "import sys, tarfile, zipfile\n\
        z = zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED, compresslevel=1)\n\
        t = tarfile.open(sys.argv[2], 'w:gz', compresslevel=1)\n\
        for s in ('.index', '.data-00000-of-00001'):\n \
        z.write(sys.argv[3] + s, 'm/model' + s)\n \
        t.add(sys.argv[3] + s, 'm/model' + s)\n\
        z.close()\n\
        t.close()";
    let packed = Command::new("python3")
        .args(["-c", script])
        .args(&archives)
        .arg(&checkpoint)
        .status();
    if !packed.is_ok_and(|status| status.success()) {
        eprintln!("there is no python3 to make an archive");
        return;
    }
    let out = folder.path().join("out");
    // Of a tar archive, listing it takes as long as inflating its data.
    for (archive, delay) in [
        (&archives[0], 50),
        (&archives[0], 300),
        (&archives[1], 50),
        (&archives[1], 300),
        (&archives[1], 1500),
    ] {
        let mut child = start(&[&"--model", &"discriminator", archive, &out]);
        thread::sleep(Duration::from_millis(delay));
        send_signal(&child, "INT");
        let (status, took) = end(&mut child);
        assert!(took < SOON, "{took:?}");
        assert_eq!(
            status.signal(),
            Some(2),
            "{}, {delay} ms",
            archive.display()
        );
        assert!(!out.exists());
    }
}

#[test]
fn an_ignored_signal_stays_ignored() {
    let folder = temp();
    let out = folder.path().join("out");
    let script = "trap '' HUP INT; \"$0\" -q --model discriminator \"$1\" \"$2\" & \
        for n in 1 2 3 4 5 6; do kill -HUP $!; kill -INT $!; sleep 0.005; done; wait $!";
    let status = Command::new("bash")
        .args(["-c", script, program()])
        .args([&fixture("trained"), &out])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{status:?}");
    assert!(out.join("model.safetensors").exists());
}

#[test]
fn one_thread_is_one_thread_in_verification_too() {
    let folder = temp();
    let checkpoint = large(folder.path());
    let out = folder.path().join("out");
    let mut child = start(&[
        &"--threads",
        &"1",
        &"--model",
        &"discriminator",
        &checkpoint,
        &out,
    ]);
    let path = format!("/proc/{}/task", child.id());
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        most = most.max(fs::read_dir(&path).map_or(0, Iterator::count));
        thread::sleep(Duration::from_millis(1));
    }
    assert!(child.wait().unwrap().success());
    // The first thread waits while the one of the pool works.
    assert!(most <= 2, "{most} threads");
}

#[test]
fn the_bar_names_the_phase_and_ends_at_100_percent() {
    // `script` gives the program a terminal.
    let folder = temp();
    let checkpoint = large(folder.path());
    let command = format!(
        "{} --model discriminator {} {}",
        program(),
        checkpoint.display(),
        folder.path().join("out").display()
    );
    let log = folder.path().join("log");
    let child = Command::new("script")
        .args(["-qec", &command])
        .arg(&log)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("there is no `script` to make a terminal");
        return;
    };
    let mut shown = Vec::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_end(&mut shown)
        .unwrap();
    assert!(child.wait().unwrap().success());
    let shown = String::from_utf8_lossy(&shown);
    for phase in ["converting", "verifying"] {
        assert!(shown.contains(phase), "{shown}");
    }
    let _ = std::io::stdout().flush();
}
