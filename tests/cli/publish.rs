//! The output appears complete or not at all, and nothing that was there is lost.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use testkit::bundle_writer::{SMALL, Sizes, discriminator};
use testkit::{EXPORTED, command, copy_of, fixture, listing, run, send_signal, temp};

#[test]
fn unrelated_files_are_never_touched() {
    let out = temp();
    fs::write(out.path().join("README.md"), "mine").unwrap();
    fs::create_dir(out.path().join(".git")).unwrap();
    run![
        "--model",
        "discriminator",
        fixture("tiny_noproj"),
        out.path()
    ]
    .ok();
    assert_eq!(
        listing(out.path()),
        [&[".git", "README.md"], &EXPORTED[..]].concat()
    );
    assert_eq!(fs::read(out.path().join("README.md")).unwrap(), b"mine");
}

#[test]
fn a_file_of_ours_is_replaced_only_with_force() {
    let out = temp();
    fs::write(out.path().join("config.json"), "precious").unwrap();
    run![
        "--model",
        "discriminator",
        fixture("tiny_noproj"),
        out.path()
    ]
    .fails(2, &["config.json exists already", "--force"]);
    assert_eq!(listing(out.path()), ["config.json"]);
    assert_eq!(
        fs::read(out.path().join("config.json")).unwrap(),
        b"precious"
    );
    run![
        "--force",
        "--model",
        "discriminator",
        fixture("tiny_noproj"),
        out.path()
    ]
    .ok();
    assert_eq!(listing(out.path()), EXPORTED);
    run![
        "--force",
        "--model",
        "generator",
        fixture("tiny_noproj"),
        out.path()
    ]
    .ok();
    assert_eq!(listing(out.path()), EXPORTED);
    let config = fs::read_to_string(out.path().join("config.json")).unwrap();
    assert!(config.contains("ElectraForMaskedLM"));
}

#[test]
fn a_folder_in_the_way_is_not_removed_even_with_force() {
    let out = temp();
    fs::create_dir(out.path().join("config.json")).unwrap();
    run![
        "--force",
        "--model",
        "discriminator",
        fixture("tiny_noproj"),
        out.path()
    ]
    .fails(2, &["config.json is a directory"]);
    assert_eq!(listing(out.path()), ["config.json"]);
}

#[test]
fn a_failure_leaves_an_earlier_export_as_it_was() {
    let source = copy_of("tiny_default");
    let out = temp();
    run!["--model", "both", source.path(), out.path()].ok();
    let before = snapshot(out.path());

    // The last tensor that is read is damaged.
    let data = source.path().join("model.ckpt-400.data-00000-of-00001");
    let inspected = run!["inspect", source.path(), "--json"].ok().json();
    let last = inspected["variables"]
        .as_array()
        .unwrap()
        .iter()
        .find(|v| v["name"] == "generator_predictions/output_bias")
        .unwrap();
    let offset = usize::try_from(last["pieces"][0]["offset"].as_u64().unwrap()).unwrap();
    let mut bytes = fs::read(&data).unwrap();
    bytes[offset] ^= 1;
    fs::write(&data, bytes).unwrap();
    run!["--force", "--model", "both", source.path(), out.path()].fails(3, &["output_bias"]);
    assert_eq!(snapshot(out.path()), before);

    let fresh = out.path().join("a/b/c");
    run!["--model", "both", source.path(), fresh].fails(3, &["output_bias"]);
    assert_eq!(
        snapshot(out.path()),
        before,
        "folders made for a failed export are gone"
    );
}

/// Every file below a folder with its content.
fn snapshot(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for name in listing(folder) {
        let path = folder.join(&name);
        if path.is_dir() {
            files.push((name.clone(), Vec::new()));
            let below = snapshot(&path).into_iter();
            files.extend(below.map(|(file, bytes)| (format!("{name}/{file}"), bytes)));
        } else {
            files.push((name, fs::read(path).unwrap()));
        }
    }
    files
}

#[test]
fn a_signal_leaves_nothing_behind() {
    use std::os::unix::process::ExitStatusExt as _;
    // Large enough that the signal arrives while it is being written.
    let sizes = Sizes {
        vocab: 60_000,
        embedding: 256,
        hidden: 1024,
        intermediate: 2048,
        layers: 6,
        ..SMALL
    };
    let folder = temp();
    discriminator(sizes).write(&folder.path().join("model"));
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("config.json"), "old").unwrap();
    for (name, number) in [("INT", 2), ("TERM", 15)] {
        let args: [&dyn AsRef<std::ffi::OsStr>; 5] = [
            &"--force",
            &"--model",
            &"discriminator",
            &folder.path(),
            &out,
        ];
        let mut child = command(&args).stderr(Stdio::piped()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while listing(&out).len() < 2 && Instant::now() < deadline {
            assert!(
                child.try_wait().unwrap().is_none(),
                "it ended before the signal"
            );
        }
        send_signal(&child, name);
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(number), "{status:?}");
        assert_eq!(listing(&out), ["config.json"], "after SIG{name}");
        assert_eq!(fs::read(out.join("config.json")).unwrap(), b"old");
    }
}

#[test]
fn a_full_disk_is_reported_and_leaves_nothing() {
    // A file size limit makes writing fail as a full disk does, and needs no rights.
    let folder = temp();
    let out = folder.path().join("out");
    let checkpoint = fixture("trained");
    let script = "ulimit -f 64; exec \"$0\" --model discriminator \"$1\" \"$2\"";
    let run: testkit::Run = std::process::Command::new("bash")
        .args(["-c", script, testkit::program()])
        .args([&checkpoint, &out])
        .output()
        .unwrap()
        .into();
    run.fails(1, &["cannot write", "model.safetensors"]);
    assert!(!out.exists());
}

#[test]
fn written_files_have_the_usual_rights() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = temp();
    let out = folder.path().join("out");
    let script = "umask 027; exec \"$0\" --model discriminator \"$1\" \"$2\"";
    let status = std::process::Command::new("bash")
        .args(["-c", script, testkit::program()])
        .args([&fixture("tiny_noproj"), &out])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    for (path, mode) in [
        ("", 0o750),
        ("config.json", 0o640),
        ("model.safetensors", 0o640),
    ] {
        let metadata = fs::metadata(out.join(path)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{path}");
    }
}

#[test]
fn out_may_be_a_link_to_a_folder() {
    let folder = temp();
    let (real, link) = (folder.path().join("real"), folder.path().join("link"));
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    run!["--model", "discriminator", fixture("tiny_noproj"), link].ok();
    assert_eq!(listing(&real), EXPORTED);
}
