//! What a sound V1 table says: the list of variables, their slices, their values.
#![no_main]

use electra_convert_fuzz::{PREFIX, pairs, put, read_all, table};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    read_all(&put(PREFIX, &table(&pairs(bytes))));
});
