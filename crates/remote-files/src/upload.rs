//! One large file, sent in parts.
//!
//! The file is read part by part while others are under way, so that memory does not grow with the file. Nothing is
//! visible in the bucket before [`Upload::complete`]. A store cannot be told to complete an upload only if there is no
//! object of that name; [`Upload::complete`] looks once more right before.
//!
//! The number of parts under way grows while they are fast and shrinks when they are slow: a client gives up a part
//! without an answer after a time, in which a slow line must have sent it.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, MultipartUpload, PutMultipartOptions, PutPayload};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::objects::Mode;
use crate::outbox::{Outbox, SETTLE};
use crate::runtime::{interrupted, runtime};
use crate::sys;

/// Files of more bytes are sent in parts.
pub const MULTIPART_FROM: u64 = 16 << 20;
const MIN_PART: u64 = 8 << 20;
/// The most parts that every store accepts.
const MAX_PARTS: u64 = 10_000;
/// The most bytes under way.
const MAX_UNDER_WAY: u64 = 64 << 20;
/// The time in which an upload must complete after a cancellation: it may be visible soon.
const COMPLETES: Duration = Duration::from_secs(5);
/// A part that takes less time lets one more be sent at once, one that takes more than the second one less.
const FAST: Duration = Duration::from_secs(5);
const SLOW: Duration = Duration::from_secs(15);

/// A file that is being sent in parts. It must be completed or aborted.
pub struct Upload {
    path: String,
    key: Path,
    /// Shared with the request that completes it, which outlives a cancellation.
    parts: Arc<Mutex<Box<dyn MultipartUpload>>>,
}

impl Upload {
    /// Begins to send the file at a path of `outbox`.
    ///
    /// If the answer is lost, the store keeps an upload without parts whose number nobody knows: only a lifecycle rule
    /// of the bucket removes it.
    ///
    /// # Errors
    /// An error of the store, or of a cancellation.
    pub fn begin(outbox: &Outbox, path: &str) -> io::Result<Self> {
        let (store, key) = (outbox.store()?, outbox.key(path)?);
        let options = PutMultipartOptions {
            attributes: outbox.marked(),
            ..PutMultipartOptions::default()
        };
        let to = key.clone();
        let begun = async move { store.put_multipart_opts(&to, options).await };
        let begun = runtime()?.block_on(outbox.settled(SETTLE, begun));
        let parts = begun
            .ok_or_else(interrupted)?
            .map_err(|error| Outbox::failure(&error))?;
        Ok(Self {
            path: path.to_owned(),
            key,
            parts: Arc::new(Mutex::new(parts)),
        })
    }

    /// Returns the path below the outbox.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Sends all parts of a file of `len` bytes. `sent` is given the length of each part that has arrived.
    ///
    /// # Errors
    /// An error of the file, of the store, or of a cancellation.
    pub fn send(
        &self,
        outbox: &Outbox,
        file: &File,
        len: u64,
        sent: &(dyn Fn(u64) + Sync),
    ) -> io::Result<()> {
        outbox.cancel.wait_for(self.send_parts(file, len, sent))?
    }

    async fn send_parts(
        &self,
        file: &File,
        len: u64,
        sent: &(dyn Fn(u64) + Sync),
    ) -> io::Result<()> {
        let part_len = part_len(len);
        let most = usize::try_from(MAX_UNDER_WAY / part_len)
            .unwrap_or(1)
            .max(1);
        let mut at_once = most.min(2);
        let mut upload = self.parts.lock().await;
        // Dropped on an error or a cancellation, which ends the requests.
        let mut tasks = JoinSet::new();
        let mut offset = 0;
        loop {
            while offset < len && tasks.len() < at_once {
                let count = part_len.min(len - offset);
                let mut bytes = vec![0; usize::try_from(count).map_err(io::Error::other)?];
                sys::read_exact_at(file, &mut bytes, offset)?;
                let part = upload.put_part(PutPayload::from_bytes(Bytes::from(bytes)));
                tasks.spawn(async move {
                    let started = Instant::now();
                    part.await.map(|()| (count, started.elapsed()))
                });
                offset += count;
            }
            let Some(done) = tasks.join_next().await else {
                return Ok(());
            };
            let (count, took) = done
                .map_err(io::Error::other)?
                .map_err(|error| Outbox::failure(&error))?;
            sent(count);
            if took < FAST {
                at_once = most.min(at_once + 1);
            } else if took > SLOW {
                at_once = at_once.saturating_sub(1).max(1);
            }
        }
    }

    /// Makes the object visible. Once it has begun, a cancellation no longer stops it.
    ///
    /// # Errors
    /// `AlreadyExists` if there is an object and `mode` is [`Mode::Create`]; an error of the store or of a cancellation
    /// otherwise, after which the object is not there, as far as the store answers.
    pub fn complete(&self, outbox: &Outbox, mode: Mode) -> io::Result<()> {
        if mode == Mode::Create {
            let found = outbox.cancel.wait_for(outbox.head(&self.key))??;
            if found.is_some() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
        }
        let parts = Arc::clone(&self.parts);
        runtime()?.block_on(async {
            let complete = async move { parts.lock().await.complete().await };
            let failed = match outbox.settled(COMPLETES, complete).await {
                Some(Ok(result)) => {
                    outbox.remember(&self.key, result);
                    return Ok(());
                }
                Some(Err(error)) => Outbox::failure(&error),
                None => interrupted(),
            };
            // The answer was lost, or that of the first of several requests.
            match outbox.briefly(outbox.head(&self.key)).await {
                Ok(Some(found)) if found.is_own => Ok(()),
                _ => Err(failed),
            }
        })
    }

    /// Discards the parts.
    pub(crate) async fn abort(&self) -> Result<(), Error> {
        // Twice: a part that was under way at the first time can arrive after it.
        for _ in 0..2 {
            match self.parts.lock().await.abort().await {
                Ok(()) => {}
                Err(Error::NotFound { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Returns the length of the parts of a file.
fn part_len(len: u64) -> u64 {
    len.div_ceil(MAX_PARTS)
        .next_multiple_of(1 << 20)
        .max(MIN_PART)
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Upload").field(&self.path).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_parts_than_stores_accept() {
        for len in [
            0,
            1,
            MULTIPART_FROM,
            80 << 30,
            (80 << 30) + 1,
            1 << 40,
            5 << 40,
        ] {
            let part = part_len(len);
            assert!(part >= MIN_PART && len.div_ceil(part) <= MAX_PARTS, "{len}");
        }
        assert_eq!(part_len(440 << 20), 8 << 20);
    }
}
