//! Checkpoints in zip archives: found and read as in a folder, and archives that lie are refused.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::convert::assert_same_export;
use testkit::bundle_writer::{SMALL, discriminator};
use testkit::{Tensor, command, fixture, listing, read_weights, run, temp};

const STORED: CompressionMethod = CompressionMethod::Stored;
const DEFLATED: CompressionMethod = CompressionMethod::Deflated;

/// An archive of files with these names and contents.
pub(crate) fn archive(files: &[(String, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, bytes) in files {
        zip.start_file(name.as_str(), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The files of a fixture, under a folder.
pub(crate) fn files(name: &str, folder: &str) -> Vec<(String, Vec<u8>)> {
    let names = listing(&fixture(name)).into_iter();
    names
        .filter(|file| !file.starts_with("golden"))
        .map(|file| {
            let bytes = fs::read(fixture(name).join(&file)).unwrap();
            (format!("{folder}{file}"), bytes)
        })
        .collect()
}

fn write(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = temp();
    let path = folder.path().join("electra.zip");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn an_archive_gives_the_same_export_as_its_folder() {
    assert_same_export(&fixture("fmt_zip.zip"), &fixture("tiny_default"));
    for method in [STORED, DEFLATED] {
        for (name, folder) in [
            ("fmt_weights_only", ""),
            ("fmt_sharded", "a/b c/"),
            ("fmt_v1_sharded", "v1/"),
        ] {
            let (_folder, path) = write(&archive(&files(name, folder), method));
            assert_same_export(&path, &fixture("tiny_default"));
        }
    }
}

/// Converts the checkpoint in `run/` of an archive from every path that leads to it. The training graph and the
/// vocabulary beside it are found, and the reports have `words`.
pub(crate) fn check_beside_the_checkpoint(archive: &Path, words: &[&str]) {
    let inside = |inside: &str| PathBuf::from(format!("{}!/{inside}", archive.display()));
    for from in [
        archive.to_owned(),
        inside(""),
        inside("run"),
        inside("run/checkpoint"),
        inside("run/model.ckpt-400"),
        inside("run/model.ckpt-400.index"),
    ] {
        let out = temp();
        let run = run!["--model", "discriminator", from, out.path()].ok();
        // The head count comes from the training graph.
        assert!(run.stdout.contains("model.ckpt-400.meta"), "{}", run.stdout);
        assert!(out.path().join("vocab.txt").is_file());
        for word in words {
            assert!(run.stdout.contains(word), "{}", run.stdout);
        }
    }
}

#[test]
fn everything_beside_a_checkpoint_is_found_in_the_archive_too() {
    let (_folder, path) = write(&archive(&files("tiny_default", "run/"), DEFLATED));
    check_beside_the_checkpoint(&path, &["in a zip archive (", "electra.zip!/run/"]);
    let inside = |inside: &str| PathBuf::from(format!("{}!/{inside}", path.display()));
    let stored = write(&archive(&files("tiny_default", "run/"), STORED));
    let found = run!["inspect", stored.1, "--json"].ok().json();
    assert_eq!(found["checkpoint"]["inflated_bytes"], 0);
    let shown = run!["inspect", inside("run/model.ckpt-400")].ok().stdout;
    assert!(shown.contains("zip!/run/model.ckpt-400' OUT"), "{shown}");
    run!["inspect", inside("run/model.ckpt-9")].fails(3, &["zip!/run holds model.ckpt-400"]);
    run!["inspect", inside("nowhere/model")].fails(3, &["there is no directory", "nowhere"]);
    run!["inspect", path, "--step", "7"].fails(3, &["step 7", "run holds model.ckpt-400"]);
}

#[test]
fn several_checkpoints_want_a_choice() {
    let mut all = files("fmt_weights_only", "first/");
    all.extend(files("tiny_uniform", "second/"));
    let (_folder, path) = write(&archive(&all, DEFLATED));
    run!["inspect", path].fails(
        3,
        &[
            "electra.zip!/first/electra_tiny",
            "electra.zip!/second/model.ckpt-60",
        ],
    );
    let found = run!["inspect", path, "--step", "60", "--json"].ok().json();
    assert_eq!(found["checkpoint"]["name"], "model.ckpt-60");
    let picked = format!("{}!/first", path.display());
    let found = run!["inspect", picked, "--json"].ok().json();
    assert_eq!(found["checkpoint"]["name"], "electra_tiny");
    run![
        "inspect",
        write(&archive(&[("a/b".into(), vec![])], STORED)).1
    ]
    .fails(3, &["holds no checkpoint"]);
}

/// Replaces a name of the same length wherever it is in an archive.
fn renamed(mut bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut found = 0;
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from.as_bytes()) {
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
            found += 1;
        }
    }
    // In the header of the member and in the directory.
    assert_eq!(found, 2);
    bytes
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let mut all = files("fmt_weights_only", "x/");
    all.push(("aaa/bbb/ccc".into(), b"secret".to_vec()));
    let sound = archive(&all, DEFLATED);
    run!["inspect", write(&sound).1].ok();
    for name in [
        "../../ccccc",
        "/aa/bbb/ccc",
        "aaa/../../c",
        "aaa/\x1b[31m/c",
    ] {
        let (_folder, path) = write(&renamed(sound.clone(), "aaa/bbb/ccc", name));
        let run = run!["inspect", path].fails(3, &["electra.zip", "leads out of the archive"]);
        assert!(!run.stderr.contains('\x1b'), "{}", run.stderr);
    }
    let twice = renamed(sound, "aaa/bbb/ccc", "x/vocab.txt");
    run!["inspect", write(&twice).1].fails(3, &["electra.zip", "twice"]);
}

#[test]
fn members_that_cannot_be_honest_are_refused() {
    let bundle = discriminator(SMALL);
    let zeros = vec![0; 8 << 20];
    let with_data = |data: &[u8]| {
        let files = [
            ("m.index".to_owned(), bundle.index()),
            ("m.data-00000-of-00001".to_owned(), data.to_vec()),
        ];
        archive(&files, DEFLATED)
    };
    let convert = |bytes: &[u8]| {
        let (folder, path) = write(bytes);
        let out = folder.path().join("out");
        let run = run!["--model", "discriminator", path, out];
        assert!(!out.exists());
        run
    };
    convert(&with_data(&zeros)).fails(
        3,
        &["zip!/m.data-00000-of-00001", "maximum compression ratio"],
    );

    // The directory claims another length than the data inflate to.
    let mut lying = with_data(&bundle.data);
    let len = u32::try_from(bundle.data.len()).unwrap().to_le_bytes();
    let at = lying.windows(4).rposition(|bytes| bytes == len).unwrap();
    lying[at..at + 4].copy_from_slice(&(u32::from_le_bytes(len) + 4).to_le_bytes());
    convert(&lying).fails(3, &["m.data-00000-of-00001"]);

    // Bit 0 of the flags says that a member is encrypted.
    let mut encrypted = with_data(&bundle.data);
    let directory = encrypted
        .windows(4)
        .rposition(|bytes| bytes == b"PK\x01\x02")
        .unwrap();
    encrypted[directory + 8] |= 1;
    convert(&encrypted).fails(3, &["m.data-00000-of-00001", "encrypted"]);
    convert(b"PK\x03\x04 and nothing more").fails(3, &["electra.zip"]);
}

#[test]
fn a_damaged_archive_is_an_error_or_does_not_matter() {
    let bundle = discriminator(SMALL);
    let files = [
        ("m.index".to_owned(), bundle.index()),
        ("m.data-00000-of-00001".to_owned(), bundle.data.clone()),
    ];
    for method in [STORED, DEFLATED] {
        let sound = archive(&files, method);
        let export = |bytes: &[u8]| {
            let (folder, path) = write(bytes);
            let out = folder.path().join("out");
            let run = run!["--model", "discriminator", "--no-verify", path, out];
            (run, out.exists().then(|| read_weights(&out)))
        };
        let expected = export(&sound).1.unwrap();
        let (mut errors, mut harmless) = (0, 0);
        let near_the_end = |at: usize| at + 260 > sound.len();
        for at in (0..sound.len()).filter(|at| at % 397 == 0 || *at < 60 || near_the_end(*at)) {
            let mut bytes = sound.clone();
            bytes[at] ^= 1 << (at % 8);
            let (run, weights) = export(&bytes);
            if let Some(weights) = weights {
                let same = |(name, t): (&String, &Tensor)| t.bytes == expected[name].bytes;
                assert!(weights.iter().all(same), "byte {at} changed the export");
                harmless += 1;
            } else {
                run.fails(3, &["electra.zip"]);
                errors += 1;
            }
        }
        let lengths = (0..sound.len()).step_by(379);
        println!(
            "archive, {method}: {errors} errors, {harmless} without effect, {} truncations",
            lengths.len()
        );
        for len in lengths {
            export(&sound[..len]).0.fails(3, &["electra.zip"]);
        }
    }
}

#[test]
fn a_temporary_file_that_cannot_be_made_is_named() {
    let out = temp();
    let nowhere = Path::new("/nowhere/to/be/found");
    let run = command(&[
        &"--model",
        &"discriminator",
        &fixture("fmt_zip.zip"),
        &out.path().join("out"),
    ])
    .env("TMPDIR", nowhere)
    .output()
    .unwrap();
    testkit::Run::from(run).fails(1, &["fmt_zip.zip!/", "/nowhere/to/be/found"]);
}

#[test]
fn links_and_names_twice_in_an_archive_are_refused_where_they_matter() {
    let bundle = discriminator(SMALL);
    let parts = |index: &str| {
        [
            (index.to_owned(), bundle.index()),
            ("m.data-00000-of-00001".to_owned(), bundle.data.clone()),
        ]
    };
    let mut twice = parts("m.index").to_vec();
    twice.push(("./m.index".into(), bundle.index()));
    run!["inspect", write(&archive(&twice, DEFLATED)).1].fails(3, &["m.index", "twice"]);
    let mut both = parts("m.index").to_vec();
    both.push(("m.index/x".into(), vec![]));
    run!["inspect", write(&archive(&both, DEFLATED)).1].fails(3, &["m.index", "directory"]);

    let with_link = |link: &str, files: &[(String, Vec<u8>)]| {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default();
        for (name, bytes) in files {
            zip.start_file(name.as_str(), options).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.add_symlink(link, "/etc/passwd", options).unwrap();
        write(&zip.finish().unwrap().into_inner())
    };
    let convert = |link: &str, files: &[(String, Vec<u8>)]| {
        let (folder, path) = with_link(link, files);
        let out = folder.path().join("out");
        (run!["--model", "discriminator", path, out], out.exists())
    };
    let all = parts("m.index");
    for (link, files) in [
        ("vocab.txt", &all[..]),
        ("m.meta", &all[..]),
        ("m.data-00000-of-00001", &all[..1]),
        ("m.index", &all[1..]),
    ] {
        let (run, exists) = convert(link, files);
        run.fails(3, &[link, "a symbolic link"]);
        assert!(!exists);
    }
    convert("README", &all).0.ok();
}

#[test]
fn other_formats_in_an_archive_are_named() {
    for (name, bytes, words) in [
        (
            "a/tf_model.h5",
            &b"\x89HDF\r\n\x1a\n"[..],
            ["a/tf_model.h5", "superblock"],
        ),
        (
            "a/e.tar.gz",
            b"\x1f\x8b\x08\0",
            ["after unpacking the archive", "give its path, e.tar.gz"],
        ),
        (
            "a/m.index",
            b"version https://git-lfs.github.com/spec/v1\n",
            ["m.index", "Git LFS"],
        ),
        ("archive/data.pkl", b"\x80\x02", ["electra.zip", "PyTorch"]),
        ("m.data-00000-of-00001", b"x", ["m.index", "missing"]),
        ("1/saved_model.pb", b"\n", ["electra.zip!/1", "SavedModel"]),
    ] {
        for method in [STORED, DEFLATED] {
            let files = [
                (name.to_owned(), bytes.to_vec()),
                ("z/config.json".into(), b"{}".to_vec()),
            ];
            run!["inspect", write(&archive(&files, method)).1].fails(3, &words);
        }
    }
}

#[test]
fn what_macos_packs_beside_a_checkpoint_is_no_checkpoint() {
    let mut all = files("fmt_weights_only", "run/");
    for suffix in ["index", "data-00000-of-00001"] {
        let name = format!("__MACOSX/run/._electra_tiny.{suffix}");
        all.push((name, b"\0\x05\x16\x07".to_vec()));
        all.push((
            format!("run/._electra_tiny.{suffix}"),
            b"\0\x05\x16\x07".to_vec(),
        ));
    }
    let (_folder, path) = write(&archive(&all, DEFLATED));
    let found = run!["inspect", path, "--json"].ok().json();
    assert_eq!(found["checkpoint"]["name"], "electra_tiny");
}

#[test]
fn a_checkpoint_without_a_base_name_and_state_files_in_an_archive() {
    let mut all = files("fmt_weights_only", "run/");
    for (name, bytes) in &mut all {
        *name = name.replace("electra_tiny", "");
        if name.ends_with("/checkpoint") {
            *bytes = b"model_checkpoint_path: \".\"\n".to_vec();
        }
    }
    let (_folder, path) = write(&archive(&all, DEFLATED));
    for inside in ["", "!/run", "!/run/.index", "!/run/.data-00000-of-00001"] {
        let from = format!("{}{inside}", path.display());
        let found = run!["inspect", from, "--json"].ok().json();
        assert_eq!(found["checkpoint"]["name"], "run/", "{inside}");
    }
    let mut two = files("fmt_weights_only", "a/");
    two.extend(files("fmt_weights_only", "b/"));
    let state = b"model_checkpoint_path: \"../b/electra_tiny\"\n".to_vec();
    two.retain(|(name, _)| name != "a/checkpoint");
    two.push(("a/checkpoint".into(), state));
    let (_folder, path) = write(&archive(&two, DEFLATED));
    let inside = format!("{}!/a", path.display());
    let found = run!["inspect", inside, "--json"].ok().json();
    assert!(
        found["checkpoint"]["prefix"]
            .as_str()
            .unwrap()
            .ends_with("!/a/electra_tiny")
    );
    two.retain(|(name, _)| name == "a/checkpoint" || !name.starts_with("a/"));
    let (_folder, path) = write(&archive(&two, DEFLATED));
    let inside = format!("{}!/a", path.display());
    run!["inspect", inside].fails(3, &["../b/electra_tiny", "outside of the directory"]);
}

#[test]
fn looking_at_an_archive_inflates_no_data() {
    let (_folder, path) = write(&archive(&files("tiny_default", "run/"), DEFLATED));
    let found = run!["inspect", path, "--json"].ok().json();
    assert_eq!(found["checkpoint"]["step"], 400);
    let index = fs::metadata(fixture("tiny_default").join("model.ckpt-400.index")).unwrap();
    assert!(found["checkpoint"]["inflated_bytes"].as_u64().unwrap() <= index.len());
}
