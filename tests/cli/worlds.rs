//! Machines and places that are not as one would like them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use testkit::bundle_writer::{SMALL, discriminator};
use testkit::{EXPORTED, Run, command, fixture, listing, program, run, temp};

/// Runs the program in a shell, which has set the world up: `$0` is the program, `$1` a checkpoint,
/// `$2` OUT.
fn shell(script: &str, out: &Path) -> Run {
    Command::new("bash")
        .args(["-c", script, program()])
        .args([&fixture("trained"), out])
        .output()
        .unwrap()
        .into()
}

#[test]
fn two_conversions_into_one_folder_are_one_too_many() {
    let out = temp();
    let lock = File::open(out.path()).unwrap();
    lock.lock().unwrap();
    run![
        "--model",
        "discriminator",
        fixture("tiny_noproj"),
        out.path()
    ]
    .fails(1, &["another conversion is writing into", "wait for it"]);
    assert!(listing(out.path()).is_empty());
    drop(lock);
    run![
        "--model",
        "discriminator",
        fixture("tiny_noproj"),
        out.path()
    ]
    .ok();
    assert_eq!(listing(out.path()), EXPORTED);
}

#[test]
fn of_many_conversions_at_once_one_wins() {
    for _ in 0..5 {
        let folder = temp();
        let out = folder.path().join("new/out");
        let checkpoint = fixture("tiny_noproj");
        let arguments: [&dyn AsRef<OsStr>; 4] = [&"--model", &"discriminator", &checkpoint, &out];
        let start = || command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
        let children: Vec<_> = (0..4).map(|_| start()).collect();
        let mut won = 0;
        for child in children {
            let ended: Run = child.wait_with_output().unwrap().into();
            match ended.code {
                Some(0) => won += 1,
                // Too late, or at the same time.
                Some(2) => assert!(ended.stderr.contains("exists already"), "{}", ended.stderr),
                _ => drop(ended.fails(1, &["another conversion"])),
            }
        }
        assert_eq!(won, 1);
        assert_eq!(listing(&out), EXPORTED);
    }
}

#[test]
fn an_empty_environment_is_enough() {
    let out = temp();
    let output = command(&[
        &"--model",
        &"discriminator",
        &fixture("fmt_zip.zip"),
        &out.path(),
    ])
    .env_clear()
    .output()
    .unwrap();
    Run::from(output).ok();
    assert_eq!(listing(out.path()), EXPORTED);
}

#[test]
fn a_poor_terminal_gets_plain_text() {
    for world in ["LC_ALL=C TERM=dumb", "LC_ALL=POSIX TERM=", "NO_COLOR=1"] {
        let out = temp();
        let script = format!("{world} exec \"$0\" --force --model discriminator \"$1\" \"$2\"");
        let run = shell(&script, out.path()).ok();
        assert!(!format!("{}{}", run.stdout, run.stderr).contains('\x1b'));
    }
}

#[test]
fn closed_streams_are_no_obstacle() {
    for closed in [">&-", "2>&-", "<&-", ">&- 2>&- <&-"] {
        let folder = temp();
        let out = folder.path().join("out");
        let script = format!("\"$0\" --model discriminator \"$1\" \"$2\" {closed}");
        shell(&script, &out).ok();
        assert_eq!(listing(&out), EXPORTED, "{closed}");
    }
}

#[test]
fn half_a_gibibyte_of_addresses_is_enough() {
    let out = temp();
    let script = "ulimit -v 524288; exec \"$0\" --force --model discriminator \"$1\" \"$2\"";
    shell(script, out.path()).ok();
    assert_eq!(listing(out.path()), EXPORTED);
}

#[test]
fn names_may_be_long_and_of_any_bytes() {
    let folder = temp();
    let long = "n".repeat(255);
    for name in [
        OsStr::new("with a space"),
        OsStr::new(&long),
        OsStr::from_bytes(b"\xff\xfe\n"),
    ] {
        let out = folder.path().join(name);
        run!["--model", "discriminator", fixture("tiny_noproj"), out].ok();
        assert_eq!(listing(&out), EXPORTED);

        let checkpoint = folder.path().join("from").join(name);
        fs::create_dir_all(&checkpoint).unwrap();
        for file in listing(&fixture("tiny_noproj")) {
            fs::copy(fixture("tiny_noproj").join(&file), checkpoint.join(&file)).unwrap();
        }
        run!["inspect", checkpoint].ok();
    }
    let out = folder.path().join("n".repeat(256));
    run!["--model", "discriminator", fixture("tiny_noproj"), out].fails(1, &["cannot write"]);
}

#[test]
fn a_data_file_may_be_larger_than_four_gibibytes() {
    const FAR: u64 = 5 << 30;
    let folder = temp();
    let mut bundle = discriminator(SMALL);
    bundle.write(&folder.path().join("near"));
    for entry in &mut bundle.entries {
        entry.offset += FAR;
    }
    let prefix = folder.path().join("far");
    fs::write(prefix.with_extension("index"), bundle.index()).unwrap();
    // A hole takes no room.
    let mut data = File::create(prefix.with_extension("data-00000-of-00001")).unwrap();
    data.seek(SeekFrom::Start(FAR)).unwrap();
    data.write_all(&bundle.data).unwrap();
    let [near, far] = ["near", "far"].map(|name| {
        let out = folder.path().join("out").join(name);
        run!["--model", "discriminator", folder.path().join(name), out].ok();
        fs::read(out.join("model.safetensors")).unwrap()
    });
    // The name of the checkpoint is in the metadata.
    let tail = near.len() - bundle.data.len();
    assert_eq!(near[tail..], far[far.len() - bundle.data.len()..]);
}
