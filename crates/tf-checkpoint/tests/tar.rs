//! Members of a compressed tar archive that are too long to be kept when the archive is listed.

mod writer;

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;
use tf_checkpoint::ArchiveFormat;
use tf_checkpoint::storage::ReadAt;
use tf_checkpoint::{Limits, Location, locate, locate_within};
use writer::{Entry, write_bundle};

/// Longer than what is kept.
const LONG: usize = (32 << 20) + 12_345;

/// Bytes that differ between members and positions.
fn contents(seed: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LONG + 64);
    for block in 0.. {
        if bytes.len() >= LONG {
            break;
        }
        let word: u32 = block ^ (seed << 24);
        bytes.extend(word.to_le_bytes().repeat(16));
    }
    bytes.truncate(LONG);
    bytes
}

/// An archive with a checkpoint and three long files.
fn archive() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.tgz");
    let gzip = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    let mut append = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, bytes).unwrap();
    };
    let prefix = folder.path().join("m");
    let step = Entry::int64("global_step", 4);
    write_bundle(&prefix, &[Entry::floats("bias", &[2], &[1.0, -2.0]), step]);
    append("a.bin", &contents(1));
    for suffix in ["index", "data-00000-of-00001"] {
        let bytes = fs::read(prefix.with_extension(suffix)).unwrap();
        append(&format!("m.{suffix}"), &bytes);
    }
    append("b.bin", &contents(2));
    append("c.bin", &contents(3));
    tar.into_inner().unwrap().finish().unwrap();
    (folder, path)
}

fn open(location: &Location, name: &str) -> Arc<dyn ReadAt> {
    let path = location.folder().join(name);
    location.storage().open(&path).unwrap()
}

fn inflated(location: &Location) -> u64 {
    location.storage().inflated_bytes().unwrap()
}

#[test]
fn long_members_are_inflated_when_they_are_read() {
    let (_folder, path) = archive();
    let location = locate(&path, None).unwrap();
    assert_eq!(location.name(), "m");
    assert_eq!(location.storage().archive(), Some(ArchiveFormat::TarGz));
    // The checkpoint, and the first and last bytes of the others.
    let listed = inflated(&location);
    assert!(listed < 10_000, "{listed}");

    let range = |file: &dyn ReadAt, start: usize, len: usize| {
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, start as u64).unwrap();
        bytes
    };
    // The last member first, so that the others lie before it.
    for (seed, name) in [(3, "c.bin"), (1, "a.bin"), (2, "b.bin")] {
        let expected = contents(seed);
        let file = open(&location, name);
        assert_eq!(file.len(), LONG as u64);
        let before = inflated(&location);
        for (start, len) in [(0, 1024), (1000, 24), (LONG - 1024, 1024), (LONG - 8, 8)] {
            assert_eq!(range(&*file, start, len), expected[start..start + len]);
        }
        // A few bytes are read without a temporary file.
        let mut few = [0; 16];
        file.read_once(&mut few, 2_000_000).unwrap();
        assert_eq!(few, expected[2_000_000..][..16]);
        assert_eq!(inflated(&location), before);
        for (start, len) in [(1000, 25), (LONG - 1025, 2), (0, LONG)] {
            assert!(range(&*file, start, len) == expected[start..start + len]);
        }
        assert_eq!(inflated(&location), before + LONG as u64);
        for start in [LONG - 1, LONG, usize::MAX - 1] {
            for read in [ReadAt::read_exact_at, ReadAt::read_once] {
                let error = read(&*file, &mut [0; 2], start as u64).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{start}");
            }
        }
    }
}

#[test]
fn inflating_again_counts() {
    let (_folder, path) = archive();
    let mut limits = Limits::default();
    limits.inflated_per_byte = 0;
    // Listing inflates all three, and each further pass as much as it passes.
    limits.inflated = 5 * LONG as u64;
    let location = locate_within(&path, None, &limits).unwrap();
    let file = open(&location, "a.bin");
    file.read_exact_at(&mut [0; 4], 1 << 20).unwrap();
    let error = open(&location, "c.bin").read_exact_at(&mut [0; 4], 1 << 20);
    let error = error.unwrap_err();
    assert!(
        error.to_string().contains("inflates to more than"),
        "{error}"
    );

    limits.inflated = 2 * LONG as u64;
    let error = locate_within(&path, None, &limits).unwrap_err();
    assert!(
        error.to_string().contains("inflates to more than"),
        "{error}"
    );
}

#[test]
fn a_long_member_that_changes_after_listing_is_an_error() {
    let (_folder, path) = archive();
    let location = locate(&path, None).unwrap();
    let file = open(&location, "c.bin");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() * 5 / 6;
    bytes[at] ^= 1;
    // In place, so that the open file changes.
    fs::write(&path, bytes).unwrap();
    let error = file.read_exact_at(&mut [0; 4], 1 << 20).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
}
