//! Reads an uploaded file again and compares it with the one that was sent.
//!
//! S3 verifies the SHA-256 of each request, which its signature covers. The other stores get no checksum from
//! `object_store`, so that only the bytes themselves show what arrived.

use std::fs::File;
use std::io;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::fetch::{Failure, Identity, Source};
use crate::outbox::Outbox;
use crate::parts::PART;
use crate::remote_file::REQUESTS;
use crate::sys;

impl Outbox {
    /// Returns true if the store itself compares what arrives with a checksum.
    ///
    /// # Errors
    /// `NotConnected` before [`Outbox::connect`].
    pub fn verifies_uploads(&self) -> io::Result<bool> {
        Ok(self.connected()?.verifies_uploads)
    }

    /// Compares all bytes of an object with those of a file of `len` bytes. `compared` is given the length of each
    /// part that is the same.
    ///
    /// # Errors
    /// If a byte differs, or an error of the file, of the store, or of a cancellation.
    pub fn compare(
        &self,
        path: &str,
        file: &File,
        len: u64,
        compared: &(dyn Fn(u64) + Sync),
    ) -> io::Result<()> {
        let (store, key) = (self.store()?, self.key(path)?);
        let identity = Identity::default();
        let source = Source {
            store: store.as_ref(),
            path: &key,
            len,
            identity: &identity,
        };
        let starts = (0..len).step_by(usize::try_from(PART).map_err(io::Error::other)?);
        let parts = stream::iter(starts).map(|start| {
            let end = len.min(start + PART);
            let mut own = Vec::new();
            let source = &source;
            async move {
                let same = source.fetch(start..end, move |at, bytes| {
                    own.resize(bytes.len(), 0);
                    sys::read_exact_at(file, &mut own, at)?;
                    match std::iter::zip(&own, bytes).position(|(a, b)| a != b) {
                        None => Ok(()),
                        Some(first) => Err(differs(at + first as u64)),
                    }
                });
                match same.await {
                    Ok(()) => {
                        compared(end - start);
                        Ok(())
                    }
                    Err(Failure::Io(error)) => Err(error),
                    Err(Failure::NoRanges) => Err(io::Error::other(
                        "the store sends no ranges, so that the upload cannot be compared",
                    )),
                }
            }
        });
        let all = parts.buffer_unordered(REQUESTS).try_collect::<()>();
        self.cancel.wait_for(all)?
    }
}

fn differs(at: u64) -> io::Error {
    io::Error::other(format!(
        "the object differs from the file after the upload, first at byte {at}"
    ))
}
