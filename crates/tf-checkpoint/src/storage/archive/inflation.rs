//! Inflating within limits: the bytes that an archive may inflate to, errors of the decoder, and the
//! temporary files for the result.

use std::fs::File;
use std::{env, io};

use parking_lot::Mutex;

use super::packed::invalid;
use crate::limits::Limits;
use crate::sys::{self, TEMP_VARIABLE};

/// Size of the buffer for reading compressed bytes, and of the pieces in which they are inflated.
pub(super) const READ_LEN: usize = 64 << 10;

/// The limit on the bytes that an archive inflates to, those that are inflated again included. It bounds
/// time and disk space.
pub(super) struct Inflation {
    left: Mutex<u64>,
    allowed: u64,
    limits: Limits,
}

impl Inflation {
    pub(super) fn new(limits: &Limits, archive_len: u64) -> Self {
        let allowed = limits.inflated_for(archive_len);
        Self {
            left: Mutex::new(allowed),
            allowed,
            limits: *limits,
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Subtracts `len` bytes that are about to be inflated.
    pub(super) fn take(&self, len: u64) -> io::Result<()> {
        let mut left = self.left.lock();
        *left = left.checked_sub(len).ok_or_else(|| {
            let allowed = self.allowed;
            invalid(format!(
                "the archive inflates to more than the {allowed} bytes allowed for its length; unpack \
                 it by hand if you trust it"
            ))
        })?;
        Ok(())
    }
}

/// Turns an error of the decoder into one about damaged data, apart from errors of the disk.
pub(super) fn inflating(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            io::Error::new(io::ErrorKind::InvalidData, error)
        }
        _ => error,
    }
}

/// Creates an unnamed file in the directory for temporary files ([`env::temp_dir`]), on a file system with
/// `needs` bytes of free space.
pub(super) fn temporary_file(needs: u64) -> io::Result<File> {
    let folder = env::temp_dir();
    let file = tempfile::tempfile_in(&folder).map_err(|error| {
        let what = format!("no temporary file in {}: {error}", folder.display());
        io::Error::new(error.kind(), what)
    })?;
    match sys::free_space(&file).filter(|&free| free < needs) {
        Some(free) => Err(no_space(needs, &format!("{free} free"))),
        None => Ok(file),
    }
}

/// Turns an error of writing a temporary file of `needs` bytes into one that states what to do.
pub(super) fn writing(error: io::Error, needs: u64) -> io::Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => no_space(needs, "too few"),
        _ => error,
    }
}

fn no_space(needs: u64, has: &str) -> io::Error {
    let what = format!(
        "it takes {needs} bytes to inflate, {} has {has}; set {TEMP_VARIABLE} to a directory with more \
         space",
        env::temp_dir().display()
    );
    io::Error::new(io::ErrorKind::StorageFull, what)
}
