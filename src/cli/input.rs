//! Files and directories named by arguments, except the checkpoint.
//!
//! Files are read whole, up to a limit. A wrong path, or a file of another kind, is a usage error; a file
//! that exists and cannot be read is an I/O error.

use std::io;
use std::path::Path;

use anyhow::Context as _;
use tf_checkpoint::address::{self, Use, without_query};
use tf_checkpoint::refuse_stand_in;
use tf_checkpoint::storage::{self, regular};

use super::exit::Usage;

/// Reads the file of an option, of at most `limit` bytes.
pub(crate) fn read(option: &str, path: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    let shown = without_query(path);
    let usage = |what: String| Usage(format!("{option} {}: {what}", shown.display()));
    let opened = storage::of(path, Use::Input);
    let (storage, inside) = opened.map_err(|error| Usage(format!("{option}: {error}")))?;
    let read = if storage.is_remote() {
        storage.read(&inside, limit)
    } else {
        regular::read(path, limit)
    };
    let bytes = read.or_else(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Err(usage("there is no such file".into()).into())
        }
        io::ErrorKind::IsADirectory
        | io::ErrorKind::Unsupported
        | io::ErrorKind::FileTooLarge
        | io::ErrorKind::InvalidFilename => Err(usage(error.to_string()).into()),
        _ => Err(error).with_context(|| format!("cannot read {option} {}", shown.display())),
    })?;
    refuse_stand_in(shown, &bytes).map_err(|error| Usage(format!("{option}: {error}")))?;
    Ok(bytes)
}

/// Reads the file of an option as text.
pub(crate) fn read_text(option: &str, path: &Path, limit: u64) -> anyhow::Result<String> {
    let bytes = read(option, path, limit)?;
    let shown = without_query(path).display();
    let not_text = |_| Usage(format!("{option} {shown}: it is not UTF-8 text"));
    Ok(String::from_utf8(bytes).map_err(not_text)?)
}

/// Fails if an argument is an address in place of a path.
pub(crate) fn refuse_address(argument: &str, path: &Path, given_as: Use) -> anyhow::Result<()> {
    let refused = address::refuse(path, given_as);
    Ok(refused.map_err(|error| Usage(format!("{argument}: {error}")))?)
}
