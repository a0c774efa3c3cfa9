//! A directory in a bucket that is written to.
//!
//! Each object gets a mark as metadata, a random number of this [`Outbox`]. By the mark an object is recognised as
//! written by this process where the answer to a request was lost: it is not taken for an object of another program,
//! nor is an object of another program taken for its own and removed. In a store that keeps no metadata the ETag of
//! the answer recognises it; an object without a known ETag then counts as one of another program.
//!
//! A request that changes the bucket is not dropped on a cancellation: its answer is awaited for [`SETTLE`], so that
//! what it changed is known.

use std::collections::BTreeMap;
use std::future::Future;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{fmt, io};

use object_store::path::Path;
use object_store::{Attribute, Attributes, Error, GetOptions, ObjectStore, PutResult};
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use crate::address::Address;
use crate::connect::{Connection, WRITING, connect};
use crate::failure::io_error;
use crate::runtime::{Cancel, interrupted};

/// The metadata of the mark. Azure allows no hyphen, and proxies drop names with an underscore.
const MARK: &str = "uploadrun";
/// The time that a request to the bucket gets after a cancellation.
pub(crate) const SETTLE: Duration = Duration::from_secs(2);
/// A directory in a bucket that is written to. Paths are below it. The functions block.
pub struct Outbox {
    address: Address,
    connection: OnceLock<Connection>,
    pub(crate) cancel: Arc<Cancel>,
    mark: String,
    /// The ETags of what was written.
    written: Mutex<BTreeMap<Path, String>>,
}

impl Outbox {
    /// Returns the directory of an address, which must be one of a bucket; nothing is asked of the network.
    pub fn new(address: Address) -> Self {
        let [high, low] = [(); 2].map(|()| RandomState::new().build_hasher().finish());
        Self {
            address,
            connection: OnceLock::new(),
            cancel: Arc::default(),
            mark: format!("{high:016x}{low:016x}"),
            written: Mutex::default(),
        }
    }

    /// Returns the address.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Returns the URL of a path below the directory.
    pub fn url(&self, path: &str) -> String {
        match path {
            "" => self.address.to_string(),
            path => format!("{}/{path}", self.address),
        }
    }

    /// Ends everything that waits for the bucket, with an error, except what removes and restores.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Connects with the credentials of the environment.
    ///
    /// # Errors
    /// If there are none, or a setting in the environment cannot be used.
    pub fn connect(&self) -> io::Result<()> {
        if self.connection.get().is_some() {
            return Ok(());
        }
        let connection = self.cancel.wait_for(connect(&self.address, WRITING))??;
        if let Some(tried) = &connection.unsigned {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("there are no credentials (looked for {tried})"),
            ));
        }
        let _ = self.connection.set(connection);
        Ok(())
    }

    /// Returns what is known of an object; `None` if it does not exist.
    pub(crate) async fn head(&self, key: &Path) -> io::Result<Option<Found>> {
        let options = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        match self.store()?.get_opts(key, options).await {
            Ok(answer) => {
                let mark = answer.attributes.get(&Attribute::Metadata(MARK.into()));
                let etag = answer.meta.e_tag.as_deref().map(unquoted);
                let is_written =
                    etag.is_some_and(|etag| self.written.lock().get(key) == Some(&etag));
                let is_own = mark.map_or(is_written, |mark| **mark == *self.mark);
                Ok(Some(Found {
                    len: answer.meta.size,
                    is_own,
                }))
            }
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(Self::failure(&error)),
        }
    }

    /// Runs a request that changes the bucket. After a cancellation its answer is awaited for the time `patience`;
    /// `None` if there is no answer.
    pub(crate) async fn settled<T: Send + 'static>(
        &self,
        patience: Duration,
        request: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let mut task = tokio::spawn(request);
        tokio::select! {
            answer = &mut task => answer.ok(),
            () = self.cancel.cancelled() => {
                let answer = timeout(patience, &mut task).await;
                task.abort();
                answer.ok()?.ok()
            }
        }
    }

    /// Runs a question to the store, which a cancellation gives a moment.
    pub(crate) async fn briefly<T>(
        &self,
        question: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        tokio::select! {
            answer = question => answer,
            () = async {
                self.cancel.cancelled().await;
                sleep(SETTLE).await;
            } => Err(interrupted()),
        }
    }

    /// Remembers the ETag of an object that was written.
    pub(crate) fn remember(&self, key: &Path, result: PutResult) {
        if let Some(etag) = result.e_tag {
            self.written.lock().insert(key.clone(), unquoted(&etag));
        }
    }

    /// Returns the attributes of the objects of this outbox.
    pub(crate) fn marked(&self) -> Attributes {
        Attributes::from_iter([(Attribute::Metadata(MARK.into()), self.mark.clone())])
    }

    pub(crate) fn connected(&self) -> io::Result<&Connection> {
        self.connection
            .get()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    pub(crate) fn store(&self) -> io::Result<Arc<dyn ObjectStore>> {
        Ok(Arc::clone(&self.connected()?.store))
    }

    /// Returns the name of the object at a path below the directory.
    pub(crate) fn key(&self, path: &str) -> io::Result<Path> {
        let whole = match (self.address.path(), path) {
            (above, "") => above.to_owned(),
            ("", path) => path.to_owned(),
            (above, path) => format!("{above}/{path}"),
        };
        Path::parse(whole)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidFilename, error.to_string()))
    }

    /// Turns an error of the store into words that state what to do.
    pub(crate) fn failure(error: &Error) -> io::Error {
        let error = io_error(error);
        // The kind of a refused listing is another one.
        let is_refused = error.kind() == io::ErrorKind::PermissionDenied
            || error.to_string().starts_with("the server answered 403");
        if !is_refused {
            return error;
        }
        let what = format!(
            "{error}; the credentials must allow to list, read, write and delete objects and to abort multipart uploads"
        );
        io::Error::new(error.kind(), what)
    }
}

/// Returns an ETag without quotes, which are written as entities in XML.
fn unquoted(etag: &str) -> String {
    etag.replace("&quot;", "").replace('"', "")
}

/// What is known of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) len: u64,
    /// True if this outbox wrote it.
    pub(crate) is_own: bool,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Outbox").field(&self.address).finish()
    }
}
