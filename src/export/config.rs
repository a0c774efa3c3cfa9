//! Reads the configuration of an export.

use std::io;
use std::path::Path;

use candle_electra::ElectraConfig;
use tf_checkpoint::storage::regular;
use tf_checkpoint::{Limits, refuse_stand_in};

use super::LoadError;

/// The maximum length of a config.json in bytes.
pub const MAX_CONFIG_LEN: u64 = 16 << 20;

/// Reads a config.json of at most [`MAX_CONFIG_LEN`] bytes.
pub fn read_config(path: &Path) -> Result<ElectraConfig, LoadError> {
    let invalid = |what: String| LoadError::Config {
        path: path.to_owned(),
        what,
    };
    let text = regular::read(path, MAX_CONFIG_LEN).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => invalid(error.to_string()),
        _ => LoadError::reading(path)(error),
    })?;
    refuse_stand_in(path, &text).map_err(|error| invalid(error.to_string()))?;
    Limits::default()
        .check_json(&text)
        .map_err(|error| invalid(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))
}
