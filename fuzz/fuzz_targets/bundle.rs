//! What a sound index says: header, entries, slices, the graph of objects.
#![no_main]

use electra_convert_fuzz::{PREFIX, folder, pairs, put, read_all, table};

libfuzzer_sys::fuzz_target!(init: {
    for shard in 0..2 {
        put(&format!("{PREFIX}.data-0000{shard}-of-00002"), &[1; 4096]);
    }
    put(&format!("{PREFIX}.data-00000-of-00001"), &[1; 4096]);
}, |bytes: &[u8]| {
    put(&format!("{PREFIX}.index"), &table(&pairs(bytes)));
    read_all(&folder().join(PREFIX));
});
