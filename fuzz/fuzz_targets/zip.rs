//! The bytes of an archive.
#![no_main]

use electra_convert_fuzz::{put, read_all};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| read_all(&put("model.zip", bytes)));
