//! The graph of a SavedModel, beside sound variables.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use electra_convert_fuzz::{folder, read_all};
use testkit::bundle_writer::{SMALL, discriminator};
use testkit::write_saved_model;

/// A SavedModel whose graph the fuzzer replaces.
static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = folder().join("saved_model");
    write_saved_model(&directory, &[], &discriminator(SMALL));
    directory
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fs::write(DIRECTORY.join("saved_model.pb"), bytes).expect("room for a file");
    read_all(&DIRECTORY);
});
