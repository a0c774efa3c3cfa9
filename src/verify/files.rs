//! Checks that a directory holds an export at all.

use std::path::Path;

use tf_checkpoint::storage::regular::{self, Kind};

use super::error::Error;
use crate::export::{CONFIG_FILE, LoadError, STAGING, WEIGHTS_FILE};

/// Checks that a directory holds an export: `config.json` and `model.safetensors`, both regular files.
pub fn check_files(folder: &Path) -> Result<(), Error> {
    let kind = |path: &Path| regular::kind(path).map_err(LoadError::reading(path));
    let no_directory = |what| Error::NoDirectory {
        path: folder.to_owned(),
        what,
    };
    match kind(folder)? {
        Some(Kind::Directory) => {}
        Some(Kind::File | Kind::Other(_)) => return Err(no_directory("is not a directory")),
        None => return Err(no_directory("does not exist")),
    }
    for file in [CONFIG_FILE, WEIGHTS_FILE] {
        let path = folder.join(file);
        match kind(&path)? {
            Some(Kind::File) => {}
            Some(other) => {
                let what = format!("it is {other}, not a regular file");
                return Err(Error::Incomplete { path, what });
            }
            None => {
                // A conversion that is killed while it publishes leaves its staging directory.
                let what = if folder.join(STAGING).is_dir() {
                    "a conversion into this directory is running or was killed: convert again, which \
                     first restores the earlier export"
                } else {
                    "the directory does not hold a complete export: convert the checkpoint again"
                };
                let what = format!("it is missing; {what}");
                return Err(Error::Incomplete { path, what });
            }
        }
    }
    Ok(())
}
