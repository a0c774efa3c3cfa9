//! What is in the output directory of a job already.

use std::io;
use std::path::Path;

use crate::conversion::Models;
use crate::error::Error;
use crate::export::{self, Destination, RECORD_FILE, WEIGHTS_FILE};
use crate::record::Record;

/// The greatest length of a record, in bytes.
const MAX_RECORD_LEN: u64 = 1 << 20;

/// What is in an output directory.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Existing {
    /// No weights: no export is complete.
    Nothing,
    /// Weights are missing, and the records are those of the same inputs: an upload that was killed. The same files replace
    /// it.
    Unfinished,
    /// A complete export of the same inputs.
    Same,
    /// Another export; how it differs, in words.
    Other(String),
}

/// Looks at an output directory. A directory with weights is a complete export, because weights are published last.
pub(super) fn look(
    destination: &Destination,
    models: Models,
    expected: &Record,
) -> Result<Existing, Error> {
    let mut has_weights = Vec::new();
    for model in models.list() {
        let weights = models.below_out(model, WEIGHTS_FILE);
        has_weights.push(destination.len(&weights)?.is_some());
    }
    let is_killed_upload = destination.is_remote()
        && has_weights.contains(&false)
        && have_records(destination, models, &has_weights, expected)?;
    if is_killed_upload {
        return Ok(Existing::Unfinished);
    }
    if !has_weights.contains(&true) {
        return Ok(Existing::Nothing);
    }
    let mut other = has_weights
        .contains(&false)
        .then(|| "it has one of the two models".to_owned());
    for model in models.list() {
        if other.is_none() {
            other = difference(destination, &models.below_out(model, ""), expected)?;
        }
    }
    match other {
        None => Ok(Existing::Same),
        // The next conversion finishes the moves or takes them back; what it finds then is looked at again.
        Some(_) if destination.is_unfinished()? => Ok(Existing::Nothing),
        Some(what) => Ok(Existing::Other(what)),
    }
}

/// Returns true if each model has the record of the expected inputs, and those with weights all files.
fn have_records(
    destination: &Destination,
    models: Models,
    has_weights: &[bool],
    expected: &Record,
) -> Result<bool, Error> {
    for (model, has_weights) in models.list().into_iter().zip(has_weights) {
        let folder = models.below_out(model, "");
        let matches = if *has_weights {
            difference(destination, &folder, expected)?.is_none()
        } else {
            record_difference(destination, &folder, expected)?.is_ok()
        };
        if !matches {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns the files that a record names, or how its inputs differ.
fn record_difference(
    destination: &Destination,
    folder: &Path,
    expected: &Record,
) -> Result<Result<Vec<(String, u64)>, String>, Error> {
    let text = match destination.read(&folder.join(RECORD_FILE), MAX_RECORD_LEN) {
        Ok(Some(text)) => text,
        Ok(None) => {
            return Ok(Err(format!(
                "it has no {RECORD_FILE}, so that its inputs are not known"
            )));
        }
        Err(export::Error::Read { source, .. }) if is_no_record(&source) => {
            return Ok(Err(format!("{RECORD_FILE}: {source}")));
        }
        Err(error) => return Err(error.into()),
    };
    let (record, files) = match Record::parse(&text) {
        Ok(parsed) => parsed,
        Err(what) => return Ok(Err(format!("{RECORD_FILE}: {what}"))),
    };
    Ok(match record.difference(expected) {
        Some(what) => Err(what),
        None => Ok(files),
    })
}

fn difference(
    destination: &Destination,
    folder: &Path,
    expected: &Record,
) -> Result<Option<String>, Error> {
    let files = match record_difference(destination, folder, expected)? {
        Ok(files) => files,
        Err(what) => return Ok(Some(what)),
    };
    for (name, len) in files {
        // A name comes from a file, and must not lead elsewhere.
        let is_plain = Path::new(&name).file_name() == Some(name.as_ref());
        let found = if is_plain {
            destination.len(&folder.join(&name))?
        } else {
            None
        };
        match found {
            Some(found) if found == len => {}
            Some(found) => {
                return Ok(Some(format!(
                    "its {name} has {found} bytes, not {len} as written"
                )));
            }
            None => return Ok(Some(format!("its {name} is missing"))),
        }
    }
    Ok(None)
}

/// True for the error of reading something that no batch wrote.
fn is_no_record(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, IsADirectory, Unsupported};
    matches!(error.kind(), FileTooLarge | IsADirectory | Unsupported)
}
