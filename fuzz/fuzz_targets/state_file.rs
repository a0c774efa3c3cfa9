//! The bytes of a state file, beside two checkpoints.
#![no_main]

use electra_convert_fuzz::{folder, put};
use tf_checkpoint::locate;

libfuzzer_sys::fuzz_target!(init: {
    put("model.ckpt-400.index", b"");
    put("model.ckpt-500.index", b"");
}, |bytes: &[u8]| {
    put("checkpoint", bytes);
    let _ = locate(folder(), None);
});
