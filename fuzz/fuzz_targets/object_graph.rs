//! The graph of objects in a TensorFlow 2 checkpoint, with the right checksum.
#![no_main]

use electra_convert_fuzz::{PREFIX, folder, objects, read_all};

libfuzzer_sys::fuzz_target!(|graph: &[u8]| {
    let prefix = folder().join(PREFIX);
    objects(graph).write(&prefix);
    read_all(&prefix);
});
