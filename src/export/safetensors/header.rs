//! The header of a safetensors file.
//!
//! It is encoded here because `safetensors::serialize` needs all tensors at once and writes the metadata
//! in the random order of a `HashMap`. The parser of that crate checks every header, the encoded ones
//! included; before it parses a header from a file, the memory that it would take is estimated, because
//! two bytes of JSON can decode to dozens of bytes.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Metadata, TensorInfo};
use serde::Serialize;
use serde_json::{Map, Value};
use tf_checkpoint::storage::{LocalFile, ReadAt};
use tf_checkpoint::{Limits, refuse_stand_in, start};

use crate::export::LoadError;

/// Bytes of the header's length, and the multiple that the header is padded to.
const WORD: usize = size_of::<u64>();
/// The maximum length of a header in bytes, as in the `safetensors` crate.
const MAX_LEN: u64 = 100_000_000;

/// Encodes length, JSON and padding. The tensors are listed in the given order.
///
/// # Errors
/// If the result breaks a rule of the format.
pub(super) fn encode<'a>(
    metadata: &BTreeMap<String, String>,
    tensors: impl Iterator<Item = (&'a str, TensorInfo)>,
) -> Result<Vec<u8>, String> {
    let mut json = Map::new();
    json.insert("__metadata__".into(), to_value(metadata));
    json.extend(tensors.map(|(name, info)| (name.to_owned(), to_value(&info))));
    let mut text = serde_json::to_vec(&json).expect("plain data");
    serde_json::from_slice::<Metadata>(&text).map_err(|error| error.to_string())?;
    text.resize(text.len().next_multiple_of(WORD), b' ');
    let mut header = (text.len() as u64).to_le_bytes().to_vec();
    header.append(&mut text);
    Ok(header)
}

fn to_value(value: impl Serialize) -> Value {
    serde_json::to_value(value).expect("plain data")
}

/// A header that was read from a file.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) metadata: Metadata,
    /// Offset of the first tensor in the file.
    pub(super) data_start: u64,
}

impl Header {
    /// Reads the header of a file. Checks that it is valid, and that the tensors fill the file exactly.
    /// `path` is the path of the file, for errors.
    pub(super) fn read(file: &LocalFile, path: &Path) -> Result<Self, LoadError> {
        let invalid = |what: String| LoadError::Header {
            path: path.to_owned(),
            what,
        };
        let first = start(file).map_err(LoadError::reading(path))?;
        refuse_stand_in(path, &first).map_err(|error| invalid(error.to_string()))?;
        let mut len = [0; WORD];
        let Some(limit) = file.len().checked_sub(WORD as u64) else {
            return Err(invalid(format!(
                "it has {} bytes, too few for a header",
                file.len()
            )));
        };
        file.read_exact_at(&mut len, 0)
            .map_err(LoadError::reading(path))?;
        let len = u64::from_le_bytes(len);
        if len > MAX_LEN.min(limit) {
            return Err(invalid(format!(
                "the length of its header is {len} bytes, the file has {} bytes (at most {MAX_LEN} are \
                 allowed)",
                file.len()
            )));
        }
        let mut json = vec![0; usize::try_from(len).expect("at most MAX_LEN")];
        file.read_exact_at(&mut json, WORD as u64)
            .map_err(LoadError::reading(path))?;
        Limits::default()
            .check_json(&json)
            .map_err(|error| invalid(error.to_string()))?;
        let metadata: Metadata =
            serde_json::from_slice(&json).map_err(|error| invalid(error.to_string()))?;
        let data_start = WORD as u64 + len;
        let expected = data_start + metadata.data_len() as u64;
        if expected != file.len() {
            return Err(invalid(format!(
                "its tensors end at byte {expected}, the file ends at byte {}: it is truncated or has \
                 data after its end",
                file.len()
            )));
        }
        Ok(Self {
            metadata,
            data_start,
        })
    }
}
