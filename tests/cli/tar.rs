//! Checkpoints in tar archives: found and read as in a directory, and damaged or hostile archives are
//! refused.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};
use tempfile::TempDir;

use crate::convert::assert_same_export;
use crate::zip::{check_beside_the_checkpoint, files};
use testkit::bundle_writer::{SMALL, discriminator};
use testkit::{Tensor, command, fixture, listing, read_weights, run, temp};

/// The length that contents are filled up to.
const BLOCK: usize = 512;

/// An entry with any name and any type.
fn entry(name: &str, kind: EntryType, bytes: &[u8]) -> Vec<u8> {
    entry_of(name, kind, bytes.len() as u64, bytes)
}

/// As `entry`, with a length that need not be that of the contents.
fn entry_of(name: &str, kind: EntryType, len: u64, bytes: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(len);
    if matches!(kind, EntryType::Symlink | EntryType::Link) {
        header.set_link_name("/etc/passwd").unwrap();
    }
    header.set_cksum();
    let mut entry = header.as_bytes().to_vec();
    entry.extend(bytes);
    entry.resize(entry.len().next_multiple_of(BLOCK), 0);
    entry
}

fn file(name: &str, bytes: &[u8]) -> Vec<u8> {
    entry(name, EntryType::Regular, bytes)
}

/// An archive of entries, with its end.
fn ended(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = entries.concat();
    bytes.resize(bytes.len() + 2 * BLOCK, 0);
    bytes
}

/// An archive of files with these names and contents, as `tar` writes it.
fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// Writes an archive as it is and compressed.
fn write(bytes: &[u8]) -> (TempDir, [PathBuf; 2]) {
    let folder = temp();
    let paths = ["electra.tar", "electra.tar.gz"].map(|name| folder.path().join(name));
    fs::write(&paths[0], bytes).unwrap();
    fs::write(&paths[1], gzipped(bytes)).unwrap();
    (folder, paths)
}

/// The files of a small checkpoint.
fn small() -> [(String, Vec<u8>); 2] {
    let bundle = discriminator(SMALL);
    [
        ("m.index".to_owned(), bundle.index()),
        ("m.data-00000-of-00001".to_owned(), bundle.data),
    ]
}

/// The entries of a small checkpoint.
fn small_entries() -> Vec<Vec<u8>> {
    let files = small();
    files
        .iter()
        .map(|(name, bytes)| file(name, bytes))
        .collect()
}

/// Checks that both forms of an archive are refused with these words.
fn refused(bytes: &[u8], words: &[&str]) {
    let (folder, paths) = write(bytes);
    for path in paths {
        let out = folder.path().join("out");
        let run = run!["--model", "discriminator", path, out].fails(3, words);
        assert!(!run.stderr.contains('\x1b'), "{}", run.stderr);
        assert!(!out.exists());
    }
}

/// Checks that both forms of an archive are exported.
fn exported(bytes: &[u8]) {
    let (folder, paths) = write(bytes);
    for path in paths {
        let out = folder.path().join("out");
        run!["--model", "discriminator", "--force", path, out].ok();
    }
}

#[test]
fn an_archive_gives_the_same_export_as_its_directory() {
    for (name, folder) in [
        ("fmt_weights_only", ""),
        ("fmt_sharded", "a/b c/"),
        ("fmt_v1_sharded", "v1/"),
        ("fmt_v1", "./"),
    ] {
        let (_folder, paths) = write(&archive(&files(name, folder)));
        for path in paths {
            assert_same_export(&path, &fixture("tiny_default"));
        }
    }
}

#[test]
fn everything_beside_a_checkpoint_is_found_in_the_archive_too() {
    let (folder, paths) = write(&archive(&files("tiny_default", "run/")));
    for (path, described) in std::iter::zip(
        paths,
        [
            ", in a tar archive\n",
            ", in a tar archive compressed with gzip (",
        ],
    ) {
        check_beside_the_checkpoint(&path, &[described]);
        let inside = |inside: &str| PathBuf::from(format!("{}!/{inside}", path.display()));
        run!["inspect", inside("run/model.ckpt-9")].fails(3, &["!/run holds model.ckpt-400"]);
        run!["inspect", inside("nowhere/model")].fails(3, &["there is no directory", "nowhere"]);
        run!["inspect", path, "--step", "7"].fails(3, &["step 7", "run holds model.ckpt-400"]);
    }
    let report = |name: &str| {
        let path = folder.path().join(name);
        let report = run!["inspect", path, "--json"].ok().json();
        report["checkpoint"].clone()
    };
    let [plain, gzipped] = ["electra.tar", "electra.tar.gz"].map(report);
    assert_eq!(
        (&plain["archive"], &plain["inflated_bytes"]),
        (&"tar".into(), &0.into())
    );
    assert_eq!(gzipped["archive"], "tar_gz");
    assert_eq!(gzipped["step"], 400);
}

#[test]
fn the_content_decides_not_the_name() {
    let bytes = archive(&small());
    let folder = temp();
    let out = folder.path().join("out");
    for (name, bytes) in [
        ("plain.tgz", bytes.clone()),
        ("gzipped.tar", gzipped(&bytes)),
        ("download", gzipped(&bytes)),
        ("electra.ckpt", bytes.clone()),
        ("electra.zip", bytes.clone()),
        ("ELECTRA.TGZ", gzipped(&bytes)),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        run!["--model", "discriminator", "--force", path, out].ok();
    }
    // The oldest format has no magic number.
    let mut old = Vec::new();
    for (name, bytes) in small() {
        let mut header = Header::new_old();
        header.set_path(&name).unwrap();
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        let mut entry = [&header.as_bytes()[..], &bytes].concat();
        entry.resize(entry.len().next_multiple_of(BLOCK), 0);
        old.push(entry);
    }
    let path = folder.path().join("old");
    fs::write(&path, ended(&old)).unwrap();
    run!["--model", "discriminator", "--force", path, out].ok();
    // A directory that holds only an archive.
    let only = folder.path().join("only");
    fs::create_dir(&only).unwrap();
    for (name, bytes) in [("electra.tar", bytes.clone()), ("electra", gzipped(&bytes))] {
        let path = only.join(name);
        fs::write(&path, bytes).unwrap();
        run!["inspect", only].fails(3, &[name, "tar archive", "give its path"]);
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn gzip_files_that_hold_no_archive_are_named() {
    let folder = temp();
    let index = discriminator(SMALL).index();
    for (name, bytes, words) in [
        ("m.index.gz", gzipped(&index), ["a gzip file", "gunzip -k"]),
        (
            "m",
            gzipped(b"[PAD]\n[UNK]\n"),
            ["a gzip file", "gunzip < "],
        ),
        ("m.tgz", gzipped(&index), ["m.tgz", "not a tar archive"]),
        ("n.tgz", b"<html>sign in</html>".to_vec(), ["n.tgz", "HTML"]),
        ("m.tar", b"<html>sign in</html>".to_vec(), ["m.tar", "HTML"]),
        ("n.tar", vec![7; 2048], ["n.tar", "not a tar archive"]),
        (
            "empty.tar",
            vec![0; 10240],
            ["empty.tar!", "holds no checkpoint"],
        ),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        run!["inspect", path].fails(3, &words);
    }
}

#[test]
fn a_checkpoint_with_long_names_and_lengths_in_pax_headers() {
    let [index, data] = small();
    let deep = format!("{}/{}", "d".repeat(90), "e".repeat(120));
    // GNU's long names.
    exported(&archive(&[
        (format!("{deep}/m.index"), index.1.clone()),
        (format!("{deep}/m.data-00000-of-00001"), data.1.clone()),
    ]));
    // Pax headers with binary values, and a length that the header does not have.
    let mut pax = Vec::new();
    pax.push(entry(
        "pax_global_header",
        EntryType::XGlobalHeader,
        b"22 comment=0123456789\n",
    ));
    for (name, bytes) in small() {
        let record = |key: &str, value: &str| {
            let rest = format!(" {key}={value}\n");
            let len = (1..1000)
                .find(|len| format!("{len}{rest}").len() == *len)
                .unwrap();
            format!("{len}{rest}")
        };
        let records = [
            record("SCHILY.xattr.com.apple.provenance", "\u{1}\n\0"),
            record("path", &format!("{deep}/{name}")),
            record("size", &bytes.len().to_string()),
        ];
        pax.push(entry("x", EntryType::XHeader, records.concat().as_bytes()));
        pax.push(entry_of("short", EntryType::Regular, 0, &bytes));
    }
    exported(&ended(&pax));
    // A length in binary, as GNU writes those above 8 GiB.
    let binary = small().map(|(name, bytes)| {
        let mut entry = file(&name, &bytes);
        let mut header = Header::new_ustar();
        *header.as_mut_bytes() = *entry.first_chunk().unwrap();
        let len = &mut header.as_old_mut().size;
        *len = [0; 12];
        len[0] = 0x80;
        len[4..].copy_from_slice(&(bytes.len() as u64).to_be_bytes());
        header.set_cksum();
        entry[..BLOCK].copy_from_slice(header.as_bytes());
        entry
    });
    exported(&ended(&binary));
}

#[test]
fn names_that_lead_elsewhere_or_occur_twice_are_refused() {
    let with = |name: &str| {
        let mut entries = small_entries();
        entries.push(file(name, b"secret"));
        ended(&entries)
    };
    exported(&with("a/b"));
    for name in ["../../c", "/a/b", "a/../../c", "a/\x1b[31m/c"] {
        refused(&with(name), &["electra.tar", "leads out of the archive"]);
    }
    refused(&with("./m.index"), &["electra.tar", "m.index", "twice"]);
    refused(
        &with("m.index/x"),
        &["m.index", "as a file and as a directory"],
    );
    let mut two_names = small_entries();
    two_names.push(entry("x", EntryType::XHeader, b"9 path=a\n"));
    two_names.push(entry("x", EntryType::GNULongName, b"b\0"));
    two_names.push(file("c", b""));
    refused(&ended(&two_names), &["electra.tar", "two names"]);
    let mut global = small_entries();
    global.insert(0, entry("x", EntryType::XGlobalHeader, b"9 size=1\n"));
    refused(&ended(&global), &["electra.tar", "all later entries"]);
}

#[test]
fn links_devices_and_sparse_files_are_refused_where_they_matter() {
    let [index, data] = small();
    let index_entry = file(&index.0, &index.1);
    let data_entry = file(&data.0, &data.1);
    for (kind, what) in [
        (EntryType::Symlink, "a symbolic link"),
        (EntryType::Link, "a hard link"),
        (EntryType::Char, "a special file"),
        (EntryType::Fifo, "a special file"),
        (EntryType::GNUSparse, "a sparse file"),
    ] {
        let special = |name: &str| entry(name, kind, b"");
        for (name, others) in [
            ("vocab.txt", vec![index_entry.clone(), data_entry.clone()]),
            ("m.meta", vec![index_entry.clone(), data_entry.clone()]),
            (&data.0, vec![index_entry.clone()]),
            (&index.0, vec![data_entry.clone()]),
        ] {
            let mut entries = others;
            entries.push(special(name));
            refused(&ended(&entries), &[name, what]);
        }
        exported(&ended(&[
            index_entry.clone(),
            special("README"),
            data_entry.clone(),
        ]));
        if kind != EntryType::GNUSparse {
            let with_bytes = entry("README", kind, b"abc");
            let entries = [index_entry.clone(), with_bytes, data_entry.clone()];
            refused(
                &ended(&entries),
                &["README", "is not a file and has 3 bytes"],
            );
        }
    }
    // A sparse file of the pax format.
    let records = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n\
                    41 GNU.sparse.name=m.data-00000-of-00001\n";
    let sparse = [
        index_entry.clone(),
        entry("x", EntryType::XHeader, records),
        file("GNUSparseFile.1/m.data-00000-of-00001", &data.1),
    ];
    refused(&ended(&sparse), &["m.data-00000-of-00001", "a sparse file"]);
    // An entry of another archiver.
    let other = [
        index_entry,
        entry("x", EntryType::new(b'M'), b""),
        data_entry,
    ];
    refused(&ended(&other), &["electra.tar", "the type 'M'"]);
}

#[test]
fn an_archive_that_is_cut_short_or_continues_is_refused() {
    let whole = ended(&small_entries());
    for len in [whole.len() - 2 * BLOCK, whole.len() - 3 * BLOCK, 1000, 512] {
        refused(&whole[..len], &["electra.tar", "cut short"]);
    }
    exported(&whole[..whole.len() - BLOCK]);
    exported(&[&whole[..], &[0; 10_000]].concat());
    refused(
        &[&whole[..], &whole[..]].concat(),
        &["electra.tar", "follow its end"],
    );
    for len in [1 << 20, u64::MAX] {
        let mut lying = small_entries();
        let mut entry = entry_of("README", EntryType::Regular, 0, b"");
        let mut header = Header::new_ustar();
        *header.as_mut_bytes() = *entry.first_chunk().unwrap();
        header.as_old_mut().size = [0; 12];
        header.as_old_mut().size[0] = 0x80;
        header.as_old_mut().size[4..].copy_from_slice(&len.to_be_bytes());
        header.set_cksum();
        entry[..BLOCK].copy_from_slice(header.as_bytes());
        lying.push(entry);
        refused(&ended(&lying), &["electra.tar", "README"]);
    }
    let mut wrong = whole.clone();
    wrong[0] ^= 1;
    refused(&wrong, &["electra.tar", "another checksum"]);
    let last = vec![entry("x", EntryType::GNULongName, b"m\0")];
    refused(&ended(&last), &["electra.tar", "last entry has no header"]);
    let long = entry_of("x", EntryType::GNULongName, 1 << 40, b"m\0");
    refused(&ended(&[long]), &["electra.tar", "1099511627776"]);
    let pax = entry("x", EntryType::XHeader, b"99 path=m\n");
    refused(&ended(&[pax]), &["electra.tar", "pax header", "malformed"]);
}

#[test]
fn damaged_gzip_data_are_refused() {
    let sound = gzipped(&archive(&small()));
    let folder = temp();
    let path = folder.path().join("electra.tgz");
    let out = folder.path().join("out");
    let convert = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        run!["--model", "discriminator", path, out]
    };
    // The CRC-32 and the length are at the end.
    for at in 1..=8 {
        let mut bytes = sound.clone();
        let at = bytes.len() - at;
        bytes[at] ^= 1;
        convert(&bytes).fails(3, &["electra.tgz", "gzip data are damaged"]);
        assert!(!out.exists());
    }
    for len in [sound.len() - 1, sound.len() - 8, sound.len() / 2, 700] {
        convert(&sound[..len]).fails(3, &["electra.tgz"]);
        assert!(!out.exists());
    }
    convert(&[&sound[..], b"more"].concat()).fails(3, &["electra.tgz", "damaged"]);
    // Several gzip members are one file.
    let whole = archive(&small());
    let (a, b) = whole.split_at(777);
    convert(&[gzipped(a), gzipped(b"").clone(), gzipped(b)].concat()).ok();
}

#[test]
fn a_changed_byte_is_an_error_or_does_not_matter() {
    let files = small();
    let export = |bytes: &[u8], name: &str| {
        let folder = temp();
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let out = folder.path().join("out");
        let run = run!["--model", "discriminator", "--no-verify", path, out];
        (run, out.exists().then(|| read_weights(&out)))
    };
    let plain = archive(&files);
    for (name, sound) in [
        ("electra.tar", plain.clone()),
        ("electra.tgz", gzipped(&plain)),
    ] {
        let expected = export(&sound, name).1.unwrap();
        let (mut errors, mut harmless) = (0, 0);
        for at in (0..sound.len()).filter(|at| at % 397 == 0 || *at < 60) {
            let mut bytes = sound.clone();
            bytes[at] ^= 1 << (at % 8);
            let (run, weights) = export(&bytes, name);
            if let Some(weights) = weights {
                let same = |(name, t): (&String, &Tensor)| t.bytes == expected[name].bytes;
                assert!(weights.iter().all(same), "byte {at} changed the export");
                harmless += 1;
            } else {
                run.fails(3, &["electra.t"]);
                errors += 1;
            }
        }
        // One of the two blocks of zeros is enough.
        let lengths = (0..sound.len() - BLOCK).step_by(379);
        println!(
            "{name}: {errors} errors, {harmless} without effect, {} truncations",
            lengths.len()
        );
        for len in lengths {
            export(&sound[..len], name).0.fails(3, &["electra.t"]);
        }
    }
}

#[test]
fn a_temporary_file_is_needed_for_compressed_archives_only() {
    let (folder, paths) = write(&archive(&small()));
    for (path, is_needed) in std::iter::zip(paths, [false, true]) {
        let out = folder.path().join("out");
        let run = command(&[&"--model", &"discriminator", &path, &out])
            .env("TMPDIR", "/nowhere/to/be/found")
            .output()
            .unwrap();
        let run = testkit::Run::from(run);
        if is_needed {
            run.fails(1, &["electra.tar.gz", "/nowhere/to/be/found"]);
        } else {
            run.ok();
            fs::remove_dir_all(&out).unwrap();
        }
        assert!(!out.exists());
    }
}

#[test]
fn state_files_and_files_of_macos_are_read_as_in_a_zip_archive() {
    let mut all = files("fmt_weights_only", "run/");
    for suffix in ["index", "data-00000-of-00001"] {
        let name = format!("run/._electra_tiny.{suffix}");
        all.push((name, b"\0\x05\x16\x07".to_vec()));
    }
    all.retain(|(name, _)| !name.ends_with("checkpoint"));
    let state = b"model_checkpoint_path: \"../other/electra_tiny\"\n".to_vec();
    all.push(("run/checkpoint".into(), state));
    let (folder, paths) = write(&archive(&all));
    for path in paths {
        let found = run!["inspect", path, "--json"].ok().json();
        assert_eq!(found["checkpoint"]["name"], "electra_tiny");
    }
    assert_eq!(listing(folder.path()), ["electra.tar", "electra.tar.gz"]);
}
