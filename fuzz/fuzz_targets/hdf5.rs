//! The bytes of an HDF5 file.
#![no_main]

use electra_convert_fuzz::{put, read_all};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| read_all(&put("tf_model.h5", bytes)));
