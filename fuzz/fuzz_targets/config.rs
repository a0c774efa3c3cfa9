//! The bytes of a config.json.
#![no_main]

use candle_electra::ElectraConfig;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(config) = serde_json::from_slice::<ElectraConfig>(bytes) {
        let again: ElectraConfig = serde_json::from_str(&config.to_json()).expect("our own");
        assert_eq!(again.to_json(), config.to_json());
    }
});
