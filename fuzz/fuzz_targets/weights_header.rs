//! The bytes of a model.safetensors, verified beside a sound config.json.
#![no_main]

use candle_electra::ElectraConfig;
use electra_convert::verify::{CompareWith, References, verify};
use electra_convert_fuzz::{folder, put};

libfuzzer_sys::fuzz_target!(init: {
    let config = ElectraConfig { num_hidden_layers: 1, ..ElectraConfig::default() };
    put("config.json", config.to_json().as_bytes());
}, |bytes: &[u8]| {
    put("model.safetensors", bytes);
    let _ = verify(folder(), CompareWith::RecordedChecksums, References::default(), &());
});
