//! Files that are not what their place asks for: named pipes, stand-ins, other formats, addresses,
//! names without a base, and paths whose state cannot be known.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::convert::assert_same_export;
use testkit::bundle_writer::{SMALL, discriminator};
use testkit::graph_writer::{ORIGINAL, encoder, gelu};
use testkit::{Run, command, copy_of, fixture, listing, run, temp, write_saved_model};

/// Runs the program, which must end within a few seconds.
#[track_caller]
fn ends(args: &[&dyn AsRef<OsStr>]) -> Run {
    let mut child = command(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > Duration::from_mins(1) {
            child.kill().unwrap();
            panic!("the program hangs");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().unwrap().into()
}

/// Puts something else in place of a file; returns what the program must call it.
fn replace(path: &Path, by: &str) -> &'static str {
    let _ = fs::remove_file(path);
    match by {
        "pipe" => {
            assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
            "a named pipe"
        }
        "socket" => {
            drop(UnixListener::bind(path).unwrap());
            "a socket"
        }
        "device" => {
            symlink("/dev/zero", path).unwrap();
            "a device"
        }
        _ => {
            fs::create_dir(path).unwrap();
            "a directory"
        }
    }
}

const OTHERS: [&str; 4] = ["pipe", "socket", "device", "directory"];

#[test]
fn files_of_a_checkpoint_must_be_regular() {
    for file in [
        "model.ckpt-400.index",
        "model.ckpt-400.meta",
        "model.ckpt-400.data-00000-of-00001",
        "vocab.txt",
        "checkpoint",
    ] {
        for by in OTHERS {
            let folder = copy_of("tiny_default");
            let what = replace(&folder.path().join(file), by);
            let out = folder.path().join("out");
            let run = ends(&[&"--model", &"discriminator", &folder.path(), &out]);
            if (file, by) == ("checkpoint", "directory") {
                // Somebody's directory of checkpoints.
                run.ok();
                continue;
            }
            run.fails(3, &[file, what]);
            assert!(!out.exists());
            if Path::new(file).extension() == Some("index".as_ref()) {
                ends(&[&"inspect", &folder.path().join("model.ckpt-400")]).fails(3, &[file, what]);
                ends(&[&"inspect", &folder.path().join(file)]).fails(3, &[what]);
            }
        }
    }
}

#[test]
fn a_checkpoint_that_is_a_pipe_is_refused() {
    let folder = temp();
    for name in ["a.zip", "model.ckpt"] {
        let path = folder.path().join(name);
        replace(&path, "pipe");
        ends(&[&"inspect", &path]).fails(3, &[name, "a named pipe"]);
    }
}

#[test]
fn files_of_options_must_be_regular_and_small() {
    let checkpoint = fixture("tiny_noproj");
    let folder = temp();
    let out = folder.path().join("out");
    let large = folder.path().join("large");
    fs::File::create(&large).unwrap().set_len(1 << 40).unwrap();
    for option in ["--config", "--text", "--vocab"] {
        let convert = |path: &Path| {
            let run = ends(&[
                &"--model",
                &"discriminator",
                &option,
                &path,
                &checkpoint,
                &out,
            ]);
            assert!(!out.exists());
            run
        };
        for by in OTHERS {
            let path = folder.path().join(format!("{option}{by}"));
            let what = replace(&path, by);
            convert(&path).fails(2, &[option, what]);
        }
        convert(Path::new("/dev/zero")).fails(2, &[option, "a device"]);
        convert(&folder.path().join("none")).fails(2, &[option, "no such file"]);
        convert(&large).fails(2, &[option, "1099511627776 bytes"]);
        let page = folder.path().join("page");
        fs::write(&page, "<!DOCTYPE html>\n<html>").unwrap();
        convert(&page).fails(2, &[option, "an HTML page"]);
    }
}

#[test]
fn files_of_an_export_must_be_regular() {
    let folder = temp();
    let export = folder.path().join("export");
    run!["--model", "discriminator", fixture("tiny_noproj"), export].ok();
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        for by in ["pipe", "device"] {
            let copy = folder.path().join(format!("{file}-{by}"));
            fs::create_dir(&copy).unwrap();
            for name in listing(&export) {
                fs::copy(export.join(&name), copy.join(&name)).unwrap();
            }
            let what = replace(&copy.join(file), by);
            if file != "tokenizer.json" {
                let run = ends(&[&"verify", &copy]);
                assert_ne!(run.code, Some(0));
                assert!(run.stderr.contains(what), "{}", run.stderr);
            }
            let run = ends(&[&"probe", &copy, &"some text"]);
            assert_ne!(run.code, Some(0));
            assert!(run.stderr.contains(what), "{}", run.stderr);
        }
    }
    let golden = folder.path().join("golden");
    replace(&golden, "pipe");
    let run = ends(&[&"verify", &export, &"--golden", &golden]);
    assert_ne!(run.code, Some(0));
    assert!(run.stderr.contains("a named pipe"), "{}", run.stderr);
}

/// A file with these first bytes, and the words that its error must have.
#[allow(clippy::too_many_lines, reason = "a table")]
fn formats() -> Vec<(&'static str, Vec<u8>, [&'static str; 2])> {
    let zip = |name: &str| [b"PK\x03\x04", &[0; 26][..], name.as_bytes()].concat();
    let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n".to_vec();
    vec![
        (
            "vocab.txt.gz",
            b"\x1f\x8b\x08\0\0\0".to_vec(),
            ["gzip file", "gunzip -k "],
        ),
        (
            "model.tar.bz2",
            b"BZh91AY".to_vec(),
            ["tar archive", "tar xf "],
        ),
        (
            "model.tar.xz",
            b"\xfd7zXZ\0\0".to_vec(),
            ["tar archive", "tar xf "],
        ),
        (
            "model.7z",
            b"7z\xbc\xaf\x27\x1c\0".to_vec(),
            ["7z archive", "7z x "],
        ),
        (
            "model.rar",
            b"Rar!\x1a\x07\0".to_vec(),
            ["RAR archive", "unrar"],
        ),
        (
            "model.ckpt.zst",
            b"\x28\xb5\x2f\xfd\0".to_vec(),
            ["Zstandard", "unzstd"],
        ),
        (
            "model.keras",
            zip("metadata.json"),
            ["Keras 3", "save_weights"],
        ),
        (
            "pytorch_model.bin",
            zip("archive/data.pkl"),
            ["PyTorch", "no conversion"],
        ),
        (
            "model.pt",
            b"\x80\x02\x8a\x0al\xfc".to_vec(),
            ["PyTorch", "no conversion"],
        ),
        (
            "model.safetensors",
            b"\x02\0\0\0\0\0\0\0{\"a\":".to_vec(),
            ["safetensors", "verify"],
        ),
        (
            "model.onnx",
            b"\x08\x07".to_vec(),
            ["ONNX", "training checkpoint"],
        ),
        (
            "model.tflite",
            b"\x1c\0\0\0TFL3".to_vec(),
            ["TensorFlow Lite", "training checkpoint"],
        ),
        (
            "frozen.pb",
            b"\n\x10".to_vec(),
            ["frozen", "training checkpoint"],
        ),
        (
            "model.ckpt-4",
            lfs.clone(),
            ["Git LFS pointer", "git lfs pull"],
        ),
        (
            "model.ckpt-4.index",
            lfs.clone(),
            ["Git LFS pointer", "git lfs pull"],
        ),
        (
            "model.ckpt-4.data-00000-of-00001",
            lfs,
            ["Git LFS pointer", "git lfs pull"],
        ),
        (
            "model.ckpt-4.index",
            b"\n <!DOCTYPE html>\n".to_vec(),
            ["HTML page", "download"],
        ),
        (
            "model.zip",
            b"<?xml version='1.0'?><Error>".to_vec(),
            ["XML", "download"],
        ),
    ]
}

#[test]
fn other_formats_are_named_however_they_are_given() {
    for (name, bytes, words) in formats() {
        let folder = temp();
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        fs::write(folder.path().join("config.json"), "{}").unwrap();
        let (stem, _) = name.split_once('.').unwrap();
        let words = [name, words[0], words[1]];
        run!["inspect", path].fails(3, &words);
        run!["inspect", folder.path().join(stem)].fails(3, &words);
        if name != "model.zip" {
            run!["inspect", folder.path()].fails(3, &words);
        }
        let out = folder.path().join("out");
        run!["--model", "discriminator", path, out].fails(3, &words);
        assert!(!out.exists());
    }
}

#[test]
fn stand_ins_for_files_of_a_checkpoint_are_named() {
    let stand_ins: [(&str, &str); 3] = [
        (
            "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "Git LFS pointer",
        ),
        ("<html><body>Sign in</body></html>", "an HTML page"),
        (
            "<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
            "an XML document",
        ),
    ];
    for (text, words) in stand_ins {
        for file in [
            "model.ckpt-400.index",
            "model.ckpt-400.meta",
            "model.ckpt-400.data-00000-of-00001",
            "vocab.txt",
        ] {
            let folder = copy_of("tiny_default");
            fs::write(folder.path().join(file), text).unwrap();
            let out = folder.path().join("out");
            run!["--model", "discriminator", folder.path(), out].fails(3, &[file, words]);
            assert!(!out.exists());
        }
    }
    for file in ["config.json", "model.safetensors"] {
        let folder = temp();
        let out = folder.path().join("out");
        run!["--model", "discriminator", fixture("tiny_noproj"), out].ok();
        fs::write(out.join(file), stand_ins[0].0).unwrap();
        run!["verify", out].fails(5, &[file, "git lfs pull"]);
    }
}

#[test]
fn lone_files_of_a_checkpoint_say_which_are_missing() {
    for (file, words) in [
        (
            "model.ckpt-400.data-00000-of-00001",
            ["model.ckpt-400.index", "to the same directory"],
        ),
        (
            "model.ckpt-400.meta",
            ["training graph", "to the same directory"],
        ),
    ] {
        let folder = temp();
        fs::copy(fixture("tiny_default").join(file), folder.path().join(file)).unwrap();
        for path in ["", file, "model.ckpt-400"] {
            run!["inspect", folder.path().join(path)].fails(3, &[file, words[0], words[1]]);
        }
    }
    let folder = temp();
    let file = "model.ckpt-400.index";
    fs::copy(fixture("tiny_default").join(file), folder.path().join(file)).unwrap();
    run!["inspect", folder.path()].ok();
    let out = folder.path().join("out");
    run!["--model", "discriminator", folder.path(), out]
        .fails(3, &["model.ckpt-400.data-00000-of-00001", "missing"]);
}

#[test]
fn a_saved_model_is_named_from_anywhere_in_it() {
    let folder = temp();
    let model = folder.path().join("my model");
    let variables = model.join("variables");
    let graph = encoder(SMALL, 4, |_| ORIGINAL).with_discriminator(gelu);
    write_saved_model(&model, &graph.meta(), &discriminator(SMALL));
    fs::create_dir(model.join("assets")).unwrap();
    fs::write(model.join("assets/vocab.txt"), "[PAD]\n").unwrap();
    for path in [
        "my model",
        "my model/",
        "my model/saved_model.pb",
        "my model/saved_model",
        "my model/variables",
        "my model/variables/variables",
        "my model/variables/variables.index",
        "my model/variables/variables.data-00000-of-00001",
        "my model/assets",
        "my model/assets/vocab.txt",
        "my model/fingerprint.pb",
    ] {
        let report = run!["inspect", folder.path().join(path), "--json"].ok();
        let checkpoint = report.json()["checkpoint"].clone();
        assert_eq!(checkpoint["format"], "saved_model", "{path}");
        assert_eq!(checkpoint["name"], "saved_model.pb", "{path}");
        let prefix = Path::new(checkpoint["prefix"].as_str().unwrap()).to_owned();
        assert_eq!(prefix, model, "{path}");
    }
    for (directory, path) in [
        (&model, "."),
        (&model, "saved_model.pb"),
        (&variables, "."),
        (&variables, "variables"),
        (&variables, "variables.index"),
        (&variables, "../saved_model.pb"),
    ] {
        let mut command = testkit::command(&[&"inspect", &path, &"--json"]);
        let report = Run::from(command.current_dir(directory).output().unwrap()).ok();
        assert_eq!(
            report.json()["checkpoint"]["format"],
            "saved_model",
            "{path}"
        );
    }
    let mistyped = run!["inspect", folder.path().join("my modle")];
    mistyped.fails(3, &["did you mean", "my model"]);
    // One level above there may be other things.
    run!["inspect", folder.path()].fails(3, &["did you mean", "my model"]);
}

/// A checkpoint without a base name, as `saver.save(session, "dir/")` leaves it.
fn without_base() -> TempDir {
    let folder = temp();
    for (suffix, from) in [
        (".index", "model.ckpt-400.index"),
        (".data-00000-of-00001", "model.ckpt-400.data-00000-of-00001"),
        (".meta", "model.ckpt-400.meta"),
    ] {
        fs::create_dir_all(folder.path().join("dir-7")).unwrap();
        let to = folder.path().join("dir-7").join(suffix);
        fs::copy(fixture("tiny_default").join(from), to).unwrap();
    }
    folder
}

#[test]
fn a_checkpoint_without_a_base_name_is_found_in_every_way() {
    let folder = without_base();
    for path in [
        "dir-7",
        "dir-7/",
        "dir-7/.index",
        "dir-7/.meta",
        "dir-7/.data-00000-of-00001",
    ] {
        let document = run!["inspect", folder.path().join(path), "--json"]
            .ok()
            .json();
        assert_eq!(document["checkpoint"]["name"], "dir-7/", "{path}");
        let prefix = document["checkpoint"]["prefix"].as_str().unwrap();
        assert!(prefix.ends_with("/dir-7/"), "{prefix}");
        assert_eq!(document["checkpoint"]["step"], 400);
    }
    let shown = run!["inspect", folder.path().join("dir-7")].ok().stdout;
    // The head count is in the graph.
    assert!(shown.contains("Reshape in .meta"), "{shown}");
    let here = Command::new(testkit::program())
        .args(["inspect", ".index", "--json"])
        .current_dir(folder.path().join("dir-7"))
        .output()
        .unwrap();
    assert_eq!(Run::from(here).ok().json()["checkpoint"]["name"], "./");
    let state = folder.path().join("dir-7/checkpoint");
    for text in [".", "", "/elsewhere/dir-7/", "gs://bucket/dir-7/", "./"] {
        fs::write(&state, format!("model_checkpoint_path: \"{text}\"\r\n")).unwrap();
        let document = run!["inspect", folder.path().join("dir-7"), "--json"]
            .ok()
            .json();
        assert_eq!(document["checkpoint"]["name"], "dir-7/", "{text}");
    }
    fs::remove_file(state).unwrap();
    assert_same_export(&folder.path().join("dir-7"), &fixture("tiny_default"));
    // With a step the base name is `-400`.
    for suffix in [".index", ".data-00000-of-00001", ".meta"] {
        let [from, to] = ["", "-400"].map(|base| format!("dir-7/{base}{suffix}"));
        fs::rename(folder.path().join(from), folder.path().join(to)).unwrap();
    }
    for path in ["dir-7", "dir-7/-400", "dir-7/-400.index"] {
        let document = run![
            "inspect",
            folder.path().join(path),
            "--step",
            "400",
            "--json"
        ];
        assert_eq!(document.ok().json()["checkpoint"]["name"], "-400");
    }
}

#[test]
fn a_state_file_leads_nowhere_outside_of_its_folder() {
    let folder = temp();
    let run_folder = folder.path().join("run");
    let other = folder.path().join("other");
    for (to, name) in [(&run_folder, "model.ckpt-1"), (&other, "model.ckpt-2")] {
        fs::create_dir(to).unwrap();
        for suffix in [".index", ".data-00000-of-00001"] {
            let from = fixture("fmt_weights_only").join(format!("electra_tiny{suffix}"));
            fs::copy(from, to.join(format!("{name}{suffix}"))).unwrap();
        }
    }
    let state = |text: &str| {
        let text = format!("model_checkpoint_path: \"{text}\"\n");
        fs::write(run_folder.join("checkpoint"), text).unwrap();
        run!["inspect", run_folder, "--json"]
    };
    let absolute = other.join("model.ckpt-2").display().to_string();
    for outside in ["../other/model.ckpt-2", &absolute] {
        let run = state(outside).fails(3, &[outside, "outside of the directory"]);
        let command = run.stderr.split("try: electra-convert inspect ").nth(1);
        let path = command.unwrap().trim();
        run!["inspect", path].ok();
    }
    let inside = run_folder.join("model.ckpt-1").display().to_string();
    for (text, name) in [
        ("../other/model.ckpt-1", "model.ckpt-1"),
        (r"C:\\runs\\model.ckpt-1", "model.ckpt-1"),
        (r"..\\model.ckpt-1", "model.ckpt-1"),
        (&inside, "model.ckpt-1"),
    ] {
        let document = state(text).ok().json();
        assert_eq!(document["checkpoint"]["name"], name, "{text}");
    }
    state("../nowhere/model.ckpt-3").fails(3, &["which is not there", "model.ckpt-1"]);
}

// With the feature, buckets and web servers are asked.
#[cfg(not(feature = "cloud"))]
#[test]
fn addresses_are_not_taken_for_paths() {
    let checkpoint = fixture("tiny_noproj");
    let folder = temp();
    let mut addresses = vec!["hdfs://host/x", "wasb://a@b/x"];
    // Of a program that would ask them.
    if cfg!(not(feature = "cloud")) {
        addresses.extend(["gs://bucket/x", "s3://bucket/x", "https://host/x"]);
    }
    for address in addresses {
        for option in ["--vocab", "--config", "--text"] {
            let out = folder.path().join("out");
            run!["--model", "discriminator", option, address, checkpoint, out]
                .fails(2, &[option, address, "an address", "copy it here first"]);
            assert!(!out.exists());
        }
        let output = Command::new(testkit::program())
            .args([OsStr::new("--model"), OsStr::new("discriminator")])
            .args([checkpoint.as_os_str(), OsStr::new(address)])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let run = Run::from(output).fails(2, &["OUT", address, "cannot be written to"]);
        let is_bucket = ["gs:", "s3:"]
            .iter()
            .any(|start| address.starts_with(start));
        let build = run
            .stderr
            .contains("cargo install --path . --features cloud");
        assert_eq!(build, is_bucket, "{}", run.stderr);
        run!["inspect", address].fails(3, &[address, "an address"]);
        run!["verify", checkpoint, "--golden", address].fails(2, &["--golden", address]);
        run!["verify", address].fails(2, &[address]);
        run!["probe", address, "x"].fails(2, &[address]);
        run!["verify", folder.path(), "--source", address].fails(3, &[address]);
    }
    assert!(listing(folder.path()).is_empty());
}

#[test]
fn what_cannot_be_known_is_an_error() {
    for file in [
        "vocab.txt",
        "checkpoint",
        "model.ckpt-400.meta",
        "model.ckpt-400.index",
    ] {
        let folder = copy_of("tiny_default");
        let path = folder.path().join(file);
        fs::remove_file(&path).unwrap();
        symlink(&path, &path).unwrap();
        let out = folder.path().join("out");
        run!["--model", "discriminator", folder.path(), out].fails(1, &[file]);
        assert!(!out.exists());
        // A link that leads nowhere is a file that is not there.
        if file != "model.ckpt-400.index" {
            fs::remove_file(&path).unwrap();
            symlink(folder.path().join("nothing"), &path).unwrap();
            run!["inspect", folder.path()].ok();
        }
    }
    let folder = copy_of("fmt_v1_sharded");
    let names = listing(folder.path());
    let table = names
        .iter()
        .find(|name| name.contains("-00001-of-"))
        .unwrap();
    let path = folder.path().join(table);
    fs::remove_file(&path).unwrap();
    symlink(&path, &path).unwrap();
    run!["inspect", folder.path()].fails(1, &[table]);
    fs::remove_file(&path).unwrap();
    run!["inspect", folder.path()].fails(3, &[table, "is missing"]);

    let far: PathBuf = std::iter::repeat_n("d".repeat(200), 25).collect();
    let checkpoint = fixture("tiny_noproj");
    let out = folder.path().join("out");
    for option in ["--config", "--vocab", "--text"] {
        run!["--model", "discriminator", option, far, checkpoint, out]
            .fails(2, &[option, "too long"]);
    }
    let link = folder.path().join("loop");
    symlink(&link, &link).unwrap();
    for option in ["--config", "--vocab", "--text"] {
        run!["--model", "discriminator", option, link, checkpoint, out].fails(1, &[option, "loop"]);
    }
    run!["probe", folder.path(), link.join("x"), "text"].fails(1, &["loop"]);
}

#[test]
fn tables_left_over_from_another_number_are_ignored() {
    let folder = copy_of("fmt_v1_sharded");
    let names = listing(folder.path());
    let first = names
        .iter()
        .find(|name| name.contains("-00000-of-"))
        .unwrap();
    let (base, count) = first.split_once("-00000-of-").unwrap();
    let stale = format!("{base}-00002-of-00007");
    fs::write(folder.path().join(&stale), "stale").unwrap();
    let _ = fs::remove_file(folder.path().join("checkpoint"));
    for path in [folder.path().to_owned(), folder.path().join(base)] {
        let document = run!["inspect", path, "--json"].ok().json();
        let count: usize = count.parse().unwrap();
        assert_eq!(document["checkpoint"]["shards"], count);
    }
    run!["inspect", folder.path().join(&stale)].fails(3, &["-00000-of-00007", "is missing"]);
    fs::remove_file(folder.path().join(first)).unwrap();
    run!["inspect", folder.path().join(base)].fails(3, &["of-00007", &format!("of-{count}")]);
}
