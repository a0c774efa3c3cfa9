//! The bytes of a vocab.txt, and the tokenizer that comes of it.
#![no_main]

use std::path::Path;

use electra_convert::tokenizer::Vocabulary;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = Vocabulary::parse(Path::new("vocab.txt"), bytes);
});
