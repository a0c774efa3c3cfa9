//! The committed input files, and temporary folders.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Returns the folder of all fixtures.
pub fn fixtures() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package.ancestors().nth(2);
    root.expect("the package is in crates/").join("fixtures")
}

/// Returns the path of a fixture.
pub fn fixture(name: &str) -> PathBuf {
    fixtures().join(name)
}

/// Creates an empty folder, removed when the value is dropped.
pub fn temp() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Copies a fixture, so that a test can change it; links become files.
pub fn copy_of(name: &str) -> TempDir {
    let folder = temp();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    folder
}

/// Unpacks an archive of the fixtures, so that a test can change it.
pub fn unpacked(archive: &str) -> TempDir {
    let folder = temp();
    let file = fs::File::open(fixture(archive)).unwrap();
    let mut archive = zip::ZipArchive::new(file).unwrap();
    archive.extract(folder.path()).unwrap();
    folder
}
