//! The summary of a batch: a file in its output directory.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use tf_checkpoint::storage::regular;

use super::error::Error;
use super::shard::Shard;
use crate::export::Destination;

/// The command is named in this many bytes at the start of a summary.
const START: u64 = 100;
/// The name of the summary of a whole batch.
const SUMMARY_FILE: &str = "batch.json";

/// Returns the name of the summary of a batch, or of one of its shards.
fn file_name(shard: Option<Shard>) -> String {
    match shard {
        None => SUMMARY_FILE.to_owned(),
        Some(shard) => format!("batch-{}-of-{}.json", shard.index(), shard.count()),
    }
}

/// Returns true for the name of a summary, and for one that is the same on a file system that ignores case.
pub(super) fn is_summary(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let numbers = name
        .strip_prefix("batch-")
        .and_then(|name| name.strip_suffix(".json"))
        .and_then(|name| name.split_once("-of-"));
    let shard = numbers.map(|(index, count)| Shard::parse(&format!("{index}/{count}")));
    name == SUMMARY_FILE || matches!(shard, Some(Ok(_)))
}

/// Writes the summary of a batch, or of one of its shards, as a whole: readers find the earlier one or this one.
///
/// # Errors
/// [`Error::Summary`].
pub fn write_summary(out: &Path, shard: Option<Shard>, text: &str) -> Result<(), Error> {
    let name = file_name(shard);
    let failed = |source| Error::Summary {
        path: out.join(&name),
        source,
    };
    #[cfg(feature = "cloud")]
    if let Ok(Destination::Bucket(outbox)) = Destination::of(out) {
        use remote_files::Mode;

        outbox.connect().map_err(failed)?;
        let files = vec![(name.clone(), text.as_bytes().to_vec())];
        let put = outbox.put_all(files, Mode::Replace, &|_| {});
        return put.map_err(|(_, source)| failed(source));
    }
    write(out, &name, text).map_err(|error| failed(plain(error)))
}

/// Creates the output directory of a batch on a disk, and checks that the summary can be written there, before the
/// conversions start.
///
/// # Errors
/// [`Error::Unwritable`], [`Error::NoSummary`] for a file of the user, or [`Error::Summary`] for one that cannot be read.
pub fn make_output(out: &Path, shard: Option<Shard>) -> Result<(), Error> {
    if Destination::of(out).is_ok_and(|destination| destination.is_remote()) {
        return Ok(());
    }
    let path = out.join(file_name(shard));
    match is_summary_or_absent(&path) {
        Ok(true) => {}
        Ok(false) => return Err(Error::NoSummary { path }),
        Err(source) => return Err(Error::Summary { path, source }),
    }
    let made = std::fs::create_dir_all(out).and_then(|()| tempfile::tempfile_in(out));
    made.map(drop).map_err(|source| Error::Unwritable {
        path: out.to_owned(),
        source: plain(source),
    })
}

/// Returns false for a file that is no summary.
fn is_summary_or_absent(path: &Path) -> io::Result<bool> {
    let file = match regular::open(path) {
        Ok(file) => file,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound => Ok(true),
                io::ErrorKind::IsADirectory | io::ErrorKind::Unsupported => Ok(false),
                _ => Err(error),
            };
        }
    };
    let mut start = Vec::new();
    file.take(START).read_to_end(&mut start)?;
    Ok(String::from_utf8_lossy(&start).contains("\"command\": \"batch\""))
}

/// Returns the error without the name of a temporary file.
fn plain(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(_) => error,
        None => error.kind().into(),
    }
}

fn write(out: &Path, name: &str, text: &str) -> io::Result<()> {
    std::fs::create_dir_all(out)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".batch-").suffix(".json");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;

        // Those of any new file: the process's mask applies.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(out)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(out.join(name))?;
    Ok(())
}
