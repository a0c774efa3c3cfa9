//! The bytes of a table, footer, blocks and all.
#![no_main]

use tf_checkpoint::sstable::{self, Table};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(table) = Table::open(bytes) {
        let _ = table.scan(|_, _| Ok::<(), sstable::Error>(()));
    }
});
