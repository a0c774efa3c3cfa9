//! The bytes of a V1 checkpoint.
#![no_main]

use electra_convert_fuzz::{PREFIX, put, read_all};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| read_all(&put(PREFIX, bytes)));
