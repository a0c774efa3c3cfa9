//! A --rename and a name that it is applied to.
#![no_main]

use electra_convert::Rename;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(rename) = Rename::parse(text)
    {
        let _ = rename.apply("electra/encoder/layer_0/attention/self/query/kernel");
    }
});
