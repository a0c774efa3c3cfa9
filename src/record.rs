//! The record of an export's inputs, `conversion.json`: what the checkpoint held, which options were given, and which
//! program converted. A finished export with the same record need not be made again.
//!
//! All values come from contents of files and from options, none from a clock, a path or the machine, so that the same
//! inputs give the same bytes. Files are identified by length and CRC-32C, which notices changes, not forgeries.

use std::fmt;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tf_checkpoint::storage::{ReadAt, Storage};

/// The version of the file's form.
const FORMAT_VERSION: u32 = 1;
/// How many bytes of a file are read at once.
const CHUNK: usize = 1 << 20;

/// Length and checksum of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    len: u64,
    crc32c: u32,
}

impl Fingerprint {
    /// Returns the fingerprint of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            len: bytes.len() as u64,
            crc32c: crc32c::crc32c(bytes),
        }
    }

    /// Reads a file and returns its fingerprint; `None` if there is no such file.
    pub(crate) fn of_file(storage: &dyn Storage, path: &Path) -> io::Result<Option<Self>> {
        if storage.kind(path)?.is_none() {
            return Ok(None);
        }
        let file = storage.open(path)?;
        let file: &dyn ReadAt = file.as_ref();
        let len = file.len();
        let mut crc32c = 0;
        let mut chunk = vec![0; CHUNK.min(usize::try_from(len).unwrap_or(CHUNK))];
        let mut at = 0;
        while at < len {
            let left = usize::try_from(len - at).unwrap_or(CHUNK);
            let read = &mut chunk[..left.min(CHUNK)];
            file.read_once(read, at)?;
            crc32c = crc32c::crc32c_append(crc32c, read);
            at += read.len() as u64;
        }
        Ok(Some(Self { len, crc32c }))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, CRC-32C {:08x}", self.len, self.crc32c)
    }
}

/// The inputs of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    format_version: u32,
    /// Name and version of the program.
    converter: String,
    /// `discriminator`, `generator`, `both` or `finetuned`.
    model: String,
    /// The files that were read, by what they are, with their fingerprints.
    pub(crate) inputs: Map<String, Value>,
    /// The options that were given, except those that change neither bytes nor checks.
    options: Map<String, Value>,
}

/// A record with the files that were written beside it.
#[derive(Debug, Serialize, Deserialize)]
struct RecordFile {
    #[serde(flatten)]
    record: Record,
    /// Name and length of each other file of the export.
    files: Map<String, Value>,
}

impl Record {
    /// Creates the record of an export by this program.
    pub(crate) fn new(
        model: &str,
        inputs: Map<String, Value>,
        options: Map<String, Value>,
    ) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            converter: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
            model: model.to_owned(),
            inputs,
            options,
        }
    }

    /// Returns the text of the file beside `files`, given with their lengths.
    pub(crate) fn text(&self, files: &[(&'static str, u64)]) -> String {
        let files = files
            .iter()
            .map(|(name, len)| ((*name).to_owned(), Value::from(*len)));
        let file = RecordFile {
            record: self.clone(),
            files: files.collect(),
        };
        let mut text = serde_json::to_string_pretty(&file).expect("keys are strings");
        text.push('\n');
        text
    }

    /// Parses a file. Returns the record, and the files beside it with their lengths.
    ///
    /// # Errors
    /// If it is not such a file, in words.
    pub(crate) fn parse(text: &[u8]) -> Result<(Self, Vec<(String, u64)>), String> {
        let file: RecordFile = serde_json::from_slice(text)
            .map_err(|error| format!("it is not a record of a conversion: {error}"))?;
        let files = file
            .files
            .into_iter()
            .map(|(name, len)| match len.as_u64() {
                Some(len) => Ok((name, len)),
                None => Err(format!("the length of {name} is {len}")),
            });
        Ok((file.record, files.collect::<Result<_, _>>()?))
    }

    /// Returns the first difference to the record that is expected, in words; `None` if they are equal.
    pub(crate) fn difference(&self, expected: &Self) -> Option<String> {
        let fields = [
            (
                "format version",
                self.format_version.to_string(),
                expected.format_version.to_string(),
            ),
            (
                "program",
                self.converter.clone(),
                expected.converter.clone(),
            ),
            ("model", self.model.clone(), expected.model.clone()),
        ];
        for (what, found, wanted) in fields {
            if found != wanted {
                return Some(format!("its {what} is {found}, not {wanted}"));
            }
        }
        map_difference("input", &self.inputs, &expected.inputs)
            .or_else(|| map_difference("option", &self.options, &expected.options))
    }
}

fn map_difference(
    what: &str,
    found: &Map<String, Value>,
    expected: &Map<String, Value>,
) -> Option<String> {
    let shown = |value: Option<&Value>| match value {
        None => "absent".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    let mut keys = found.keys().chain(expected.keys());
    let key = keys.find(|key| found.get(*key) != expected.get(*key))?;
    let [found, expected] = [found, expected].map(|map| shown(map.get(key)));
    Some(format!("its {what} {key} is {found}, not {expected}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let inputs = map(json!({"index": "3 bytes, CRC-32C 00000000"}));
        let record = Record::new("generator", inputs, map(json!({"dtype": "f16"})));
        let text = record.text(&[("config.json", 5), ("model.safetensors", 9)]);
        let (found, files) = Record::parse(text.as_bytes()).unwrap();
        assert_eq!(found.difference(&record), None);
        assert_eq!(
            files,
            [
                ("config.json".to_owned(), 5),
                ("model.safetensors".to_owned(), 9)
            ]
        );
        for text in ["", "{}", "[1]", &text.replace('9', "\"x\"")] {
            assert!(Record::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn differences_name_what_differs() {
        let record = |dtype: &str| Record::new("both", Map::new(), map(json!({"dtype": dtype})));
        let found = record("f16").difference(&record("f32"));
        assert_eq!(found.unwrap(), "its option dtype is f16, not f32");
        let other = Record::new("generator", Map::new(), map(json!({"dtype": "f16"})));
        let found = record("f16").difference(&other).unwrap();
        assert_eq!(found, "its model is both, not generator");
    }
}
