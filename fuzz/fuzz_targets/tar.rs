//! The bytes of a tar archive, compressed with gzip or not.
//!
//! The checksums of headers are made right, so that the fuzzer changes what is in them.
#![no_main]

use electra_convert_fuzz::{put, read_all};
use tar::Header;

/// The length of a header, and the unit in which an archive is divided.
const BLOCK: usize = 512;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    read_all(&put("model.tgz", bytes));
    let mut bytes = bytes.to_vec();
    for block in bytes.as_chunks_mut::<BLOCK>().0 {
        if block[257..].starts_with(b"ustar") {
            let mut header = Header::new_old();
            *header.as_mut_bytes() = *block;
            header.set_cksum();
            *block = *header.as_bytes();
        }
    }
    read_all(&put("model.tar", &bytes));
});
