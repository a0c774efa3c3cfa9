//! Removing and restoring objects after a failure.
//!
//! A cancellation does not stop this, but limits its time.

use std::io;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use object_store::{Error, PutOptions, PutPayload};
use tokio::time::{sleep, timeout};

use crate::objects::Stored;
use crate::outbox::Outbox;
use crate::runtime::runtime;
use crate::upload::Upload;

/// The time for all requests of a failure.
const TIME: Duration = Duration::from_mins(1);
/// The time that is left after a cancellation.
const TIME_AFTER_CANCELLATION: Duration = Duration::from_secs(4);
/// The pause before a request is repeated.
const PAUSE: Duration = Duration::from_millis(300);

/// One change to take back.
#[derive(Debug)]
pub enum Undo {
    /// Discards the parts of an upload.
    Abort(Upload),
    /// Removes an object if the outbox wrote it.
    Remove(String),
    /// Writes an earlier object again.
    Restore(String, Stored),
}

impl Undo {
    /// Returns the path of the object.
    pub fn path(&self) -> &str {
        match self {
            Self::Abort(upload) => upload.path(),
            Self::Remove(path) | Self::Restore(path, _) => path,
        }
    }
}

impl Outbox {
    /// Takes changes back, all at once, and repeats what fails. Returns those that failed, with the last error.
    pub fn undo(&self, changes: Vec<Undo>) -> Vec<(Undo, io::Error)> {
        let Ok(runtime) = runtime() else {
            return Vec::new();
        };
        let all = changes.into_iter().map(async |change| {
            let mut last = io::ErrorKind::TimedOut.into();
            let repeated = async {
                loop {
                    match self.undo_one(&change).await {
                        Ok(()) => return,
                        Err(error) => last = error,
                    }
                    sleep(PAUSE).await;
                }
            };
            let is_done = tokio::select! {
                () = repeated => true,
                () = sleep(TIME) => false,
                () = async {
                    self.cancel.cancelled().await;
                    sleep(TIME_AFTER_CANCELLATION).await;
                } => false,
            };
            (!is_done).then_some((change, last))
        });
        let failed = runtime.block_on(join_all(all));
        failed.into_iter().flatten().collect()
    }

    async fn undo_one(&self, change: &Undo) -> io::Result<()> {
        match change {
            Undo::Abort(upload) => {
                let aborted = upload.abort().await;
                aborted.map_err(|error| Self::failure(&error))
            }
            Undo::Remove(path) => {
                let key = self.key(path)?;
                match self.head(&key).await? {
                    Some(found) if found.is_own => self.delete(path).await,
                    _ => Ok(()),
                }
            }
            Undo::Restore(path, stored) => {
                let options = PutOptions {
                    attributes: stored.attributes.clone(),
                    ..PutOptions::default()
                };
                let body = PutPayload::from_bytes(stored.bytes.clone());
                let put = self.store()?;
                let put = put.put_opts(&self.key(path)?, body, options).await;
                put.map(drop).map_err(|error| Self::failure(&error))
            }
        }
    }

    /// Removes an object, whoever wrote it.
    ///
    /// # Errors
    /// An error of the store.
    pub fn remove(&self, path: &str) -> io::Result<()> {
        match runtime()?.block_on(async { timeout(TIME, self.delete(path)).await }) {
            Ok(removed) => removed,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    async fn delete(&self, path: &str) -> io::Result<()> {
        let key = self.key(path)?;
        let keys = futures_util::stream::iter([Ok(key)]).boxed();
        match self.store()?.delete_stream(keys).next().await {
            None | Some(Ok(_) | Err(Error::NotFound { .. })) => Ok(()),
            Some(Err(error)) => Err(Self::failure(&error)),
        }
    }
}
