//! The densest zip and tar archives, and archives that lie about lengths and places.

use std::io::{Cursor, Write as _};
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use tf_checkpoint::{Error, locate};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::dense::within;
use super::*;

/// An archive of empty files with these names.
fn empty_files(names: impl Iterator<Item = String>) -> Vec<u8> {
    archive(
        names.map(|name| (name, Vec::new())),
        CompressionMethod::Stored,
    )
}

fn archive(files: impl Iterator<Item = (String, Vec<u8>)>, method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, bytes) in files {
        zip.start_file(name, options).unwrap();
        zip.write_all(&bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// What looking for a checkpoint in an archive says.
fn find(bytes: &[u8]) -> Result<PathBuf, Error> {
    let folder = temp();
    let path = folder.path().join("archive");
    fs::write(&path, bytes).unwrap();
    within(bytes.len(), || {
        locate(&path, None).map(|location| location.prefix().to_owned())
    })
}

fn nothing_in(bytes: &[u8]) {
    let error = find(bytes).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

fn damaged(bytes: &[u8], word: &str) {
    let error = find(bytes).unwrap_err();
    assert!(matches!(error, Error::Archive { .. }), "{error}");
    assert!(error.to_string().contains(word), "{error}");
}

#[test]
fn folders_in_folders() {
    let _alone = alone();
    // Each name has 32,000 folders, and each is as long as its name.
    let deep = |last: &str| format!("{}{last}", "a/".repeat(32_000));
    nothing_in(&empty_files(["x", "y", "z.ckpt"].map(deep).into_iter()));
    // A file in each of a thousand folders inside each other.
    nothing_in(&empty_files(
        (0..1000).map(|n| format!("{}m.ckpt", "a/".repeat(n))),
    ));
}

#[test]
fn many_files() {
    let _alone = alone();
    nothing_in(&empty_files((0..30_000).map(|n| format!("{n:05}/m"))));
    nothing_in(&empty_files((0..30_000).map(|n| format!("{n:05}.ckpt"))));
    let found = find(&empty_files((0..30_000).map(|n| format!("{n:05}/m.index"))));
    let error = found.unwrap_err();
    assert!(matches!(error, Error::Ambiguous { .. }), "{error}");
}

#[test]
fn files_that_inflate() {
    let _alone = alone();
    // Each looks like a V1 checkpoint by its name, so that its end is read.
    let zeros = (0..200).map(|n| (format!("{n:03}.ckpt"), vec![0; 1 << 20]));
    damaged(
        &archive(zeros, CompressionMethod::Deflated),
        "inflates to more than",
    );
}

/// Where the central directory begins.
fn directory(bytes: &[u8]) -> usize {
    let first = bytes.windows(4).position(|bytes| bytes == b"PK\x01\x02");
    first.unwrap()
}

#[test]
fn members_that_share_their_bytes() {
    let _alone = alone();
    let mut bytes = archive(
        [("a", 1000), ("b", 1000)]
            .map(|(name, len)| (name.into(), vec![7; len]))
            .into_iter(),
        CompressionMethod::Stored,
    );
    let second = directory(&bytes) + 46 + 1;
    let header = second + 42;
    bytes[header..header + 4].copy_from_slice(&[0; 4]);
    damaged(&bytes, "share bytes");
}

#[test]
fn records_that_lie() {
    let _alone = alone();
    let sound = empty_files(["a".to_owned(), "b".to_owned()].into_iter());
    nothing_in(&sound);
    let directory = directory(&sound);
    let end = sound.len() - 22;
    for (at, bytes, word) in [
        // The lengths of a name, of the directory, and its place; how many members there are.
        (directory + 28, &[0xff, 0xff][..], "malformed"),
        (end + 12, &[0xff; 4], "outside of it"),
        (end + 12, &[1, 0, 0, 0], "malformed"),
        (end + 16, &[0xf0, 0xff, 0xff, 0x7f], "outside of it"),
        (end + 10, &[0xfe, 0xff], "lists 2 members"),
        // The place of a member, and its length.
        (directory + 42, &[0xf0, 0xff, 0xff, 0x7f], "outside of it"),
        (directory + 20, &[0xf0, 0xff, 0xff, 0x7f], "outside of it"),
        // The first of several files.
        (end + 4, &[1], "in several files"),
    ] {
        let mut lying = sound.clone();
        lying[at..at + bytes.len()].copy_from_slice(bytes);
        damaged(&lying, word);
    }

    // A zip64 record that claims 2^60 members, and a directory of 2^60 bytes.
    let mut zip64 = sound[..end].to_vec();
    let at = zip64.len() as u64;
    zip64.extend(b"PK\x06\x06");
    zip64.extend(44_u64.to_le_bytes());
    zip64.extend([0; 12]);
    for claimed in [1_u64 << 60, 1 << 60, 1 << 60, 0] {
        zip64.extend(claimed.to_le_bytes());
    }
    zip64.extend(b"PK\x06\x07\0\0\0\0");
    zip64.extend(at.to_le_bytes());
    zip64.extend(1_u32.to_le_bytes());
    zip64.extend(&sound[end..]);
    damaged(&zip64, "outside of it");
}

/// The entries of a tar archive with these names, types and contents.
fn tar_entries(entries: impl Iterator<Item = (String, tar::EntryType, Vec<u8>)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, kind, contents) in entries {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(contents.len() as u64);
        header.set_cksum();
        bytes.extend(header.as_bytes());
        bytes.extend(contents);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

#[test]
fn tar_archives_of_many_entries() {
    let _alone = alone();
    let file = tar::EntryType::Regular;
    let many = |count: usize| {
        tar_entries((0..count).map(move |n| (format!("{n:06}/m"), file, Vec::new())))
    };
    let bytes = many(30_000);
    nothing_in(&bytes);
    nothing_in(&gzipped(&bytes));
    // Compressed, an entry takes a few bytes.
    let error = find(&gzipped(&many(400_000))).unwrap_err();
    let is_refused = matches!(error, Error::Archive { .. } | Error::TooDense { .. });
    assert!(is_refused, "{error}");
    let listed = (0..30_000).map(|n| (format!("{n:05}.ckpt"), file, Vec::new()));
    nothing_in(&gzipped(&tar_entries(listed)));
    // Pax headers without an entry, and names that replace each other.
    let headers = (0..30_000).map(|_| {
        let header = b"12 path=a/b\n".to_vec();
        ("x".to_owned(), tar::EntryType::XHeader, header)
    });
    damaged(&tar_entries(headers), "two pax headers");
    // Each has a name of 64,000 bytes with 32,000 directories.
    let deep = ["x", "y", "z.ckpt"].map(|last| {
        let name = format!("{}{last}", "a/".repeat(32_000));
        [
            ("x".into(), tar::EntryType::GNULongName, name.into_bytes()),
            ("y".into(), file, Vec::new()),
        ]
    });
    let deep = tar_entries(deep.into_iter().flatten());
    nothing_in(&deep);
    nothing_in(&gzipped(&deep));
}

#[test]
fn a_tar_archive_that_inflates() {
    let _alone = alone();
    let file = tar::EntryType::Regular;
    let zeros = (0..100).map(|n| (format!("{n:03}.ckpt"), file, vec![0; 1 << 20]));
    damaged(&gzipped(&tar_entries(zeros)), "inflates to more than");
    // A name as long as the archive, and zeros behind its end.
    let name = vec![b'a'; 30 << 20];
    let long = [("x".to_owned(), tar::EntryType::GNULongName, name)];
    damaged(&gzipped(&tar_entries(long.into_iter())), "exceeds the");
    let mut end = tar_entries(std::iter::empty());
    end.insert(0, 0);
    let mut end = tar_entries([("a".to_owned(), file, end)].into_iter());
    end.resize(100 << 20, 0);
    damaged(&gzipped(&end), "inflates to more than");
}
