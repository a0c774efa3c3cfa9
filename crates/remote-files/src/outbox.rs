//! A directory in a bucket that is written to.
//!
//! Each object gets a mark as metadata, a random number of this [`Outbox`]. By the mark an object is recognised as
//! written by this process where the answer to a request was lost: it is not taken for an object of another program,
//! nor is an object of another program taken for its own and removed. In a store that keeps no metadata the ETag of
//! the answer recognises it; an object without a known ETag then counts as one of another program.
//!
//! A request that changes the bucket is not dropped on a cancellation: its answer is awaited for [`SETTLE`], so that
//! what it changed is known.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use std::{fmt, io};

use bytes::Bytes;
use futures_util::future::join_all;
use object_store::list::PaginatedListOptions;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, GetOptions, ObjectStore, PutMode, PutOptions, PutPayload,
    PutResult,
};
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use crate::address::Address;
use crate::connect::{Connection, WRITING, connect};
use crate::failure::{io_error, is_passing};
use crate::runtime::{Cancel, interrupted, runtime};

/// The metadata of the mark. Azure allows no hyphen, and proxies drop names with an underscore.
const MARK: &str = "uploadrun";
/// The most pages of names that are read of a directory. A page has 1,000 names or more.
const MAX_PAGES: usize = 20;
/// The time in which a store must answer for the first time.
const FIRST_ANSWER: Duration = Duration::from_secs(30);
/// The time in which a request that may have no answer is repeated.
const PATIENCE: Duration = Duration::from_secs(90);
/// The time that a request to the bucket gets after a cancellation.
pub(crate) const SETTLE: Duration = Duration::from_secs(2);
/// The pause before a request is repeated.
const PAUSE: Duration = Duration::from_millis(200);

/// What happens to an object of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It stays, and writing fails with `AlreadyExists`.
    Create,
    /// It is replaced.
    Replace,
}

/// An object as it was, to restore it.
#[derive(Clone)]
pub struct Stored {
    /// Its bytes.
    pub bytes: Bytes,
    pub(crate) attributes: Attributes,
}

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

    /// Returns those of `names` that are objects in a directory.
    ///
    /// # Errors
    /// If the store refuses to list, or there is no such bucket.
    pub fn existing(&self, directory: &str, names: &[&str]) -> io::Result<BTreeSet<String>> {
        let find = async {
            match timeout(FIRST_ANSWER, self.find(directory, names)).await {
                Ok(found) => found,
                Err(_) => Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the store does not answer",
                )),
            }
        };
        self.cancel.wait_for(find)?
    }

    async fn find(&self, directory: &str, names: &[&str]) -> io::Result<BTreeSet<String>> {
        let Some(pages) = &self.connected()?.pages else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let mut prefix = self.key(directory)?.to_string();
        if !prefix.is_empty() {
            prefix.push('/');
        }
        let mut found = BTreeSet::new();
        let mut page_token = None;
        for _ in 0..MAX_PAGES {
            let options = PaginatedListOptions {
                delimiter: Some("/".into()),
                page_token: page_token.take(),
                ..PaginatedListOptions::default()
            };
            let below = (!prefix.is_empty()).then_some(&prefix[..]);
            let page = pages.list_paginated(below, options).await;
            let page = page.map_err(|error| Self::failure(&error))?;
            for object in page.result.objects {
                if let Some(name) = object.location.as_ref().strip_prefix(&prefix[..])
                    && names.contains(&name)
                {
                    found.insert(name.to_owned());
                }
            }
            page_token = page.page_token;
            if page_token.is_none() {
                return Ok(found);
            }
        }
        // Too many names: only those that matter are asked for.
        let heads = names.iter().map(async |name| {
            let path = match directory {
                "" => (*name).to_owned(),
                directory => format!("{directory}/{name}"),
            };
            io::Result::Ok((name, self.head(&self.key(&path)?).await?.is_some()))
        });
        let found: io::Result<Vec<_>> = join_all(heads).await.into_iter().collect();
        let found = found?.into_iter().filter(|(_, is_there)| *is_there);
        Ok(found.map(|(name, _)| (*name).to_owned()).collect())
    }

    /// Reads objects of at most `limit` bytes each.
    ///
    /// # Errors
    /// The path of the object, and `FileTooLarge` above the limit or an error of the store.
    pub fn read_all(
        &self,
        paths: &[String],
        limit: u64,
    ) -> Result<Vec<Option<Stored>>, (String, io::Error)> {
        let read = join_all(paths.iter().map(async |path| {
            let read = self.read(path, limit).await;
            read.map_err(|error| (path.clone(), error))
        }));
        let read = self.cancel.wait_for(read);
        let read = read.map_err(|error| (paths.first().cloned().unwrap_or_default(), error))?;
        read.into_iter().collect()
    }

    async fn read(&self, path: &str, limit: u64) -> io::Result<Option<Stored>> {
        let key = self.key(path)?;
        let started = Instant::now();
        loop {
            match self.read_once(&key, limit).await? {
                Ok(stored) => return Ok(stored),
                Err(error) if is_passing(&error) && started.elapsed() < PATIENCE => {
                    sleep(PAUSE).await;
                }
                Err(error) => return Err(Self::failure(&error)),
            }
        }
    }

    async fn read_once(&self, key: &Path, limit: u64) -> io::Result<Result<Option<Stored>, Error>> {
        let answer = match self.store()?.get_opts(key, GetOptions::default()).await {
            Err(Error::NotFound { .. }) => return Ok(Ok(None)),
            Err(error) => return Ok(Err(error)),
            Ok(answer) => answer,
        };
        if answer.meta.size > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let attributes = answer.attributes.clone();
        let bytes = answer.bytes().await;
        Ok(bytes.map(|bytes| Some(Stored { bytes, attributes })))
    }

    /// Writes small objects, several at once, and waits for all of them. `written` is given the length of each.
    ///
    /// # Errors
    /// The path of an object, and `AlreadyExists` or an error of the store.
    pub fn put_all(
        &self,
        files: Vec<(String, Vec<u8>)>,
        mode: Mode,
        written: &(dyn Fn(u64) + Sync),
    ) -> Result<(), (String, io::Error)> {
        let puts = join_all(files.into_iter().map(async |(path, bytes)| {
            let len = bytes.len() as u64;
            match self.put(&path, Bytes::from(bytes), mode).await {
                Ok(()) => {
                    written(len);
                    Ok(())
                }
                Err(error) => Err((path, error)),
            }
        }));
        let runtime = runtime().map_err(|error| (String::new(), error))?;
        // All are awaited: what each did is known.
        runtime.block_on(puts).into_iter().collect()
    }

    async fn put(&self, path: &str, bytes: Bytes, mode: Mode) -> io::Result<()> {
        let key = self.key(path)?;
        let started = Instant::now();
        let mut put_mode = match mode {
            Mode::Create => PutMode::Create,
            Mode::Replace => PutMode::Overwrite,
        };
        loop {
            if self.cancel.is_cancelled() {
                return Err(interrupted());
            }
            let options = PutOptions {
                mode: put_mode.clone(),
                attributes: self.marked(),
                ..PutOptions::default()
            };
            let (store, to, body) = (
                self.store()?,
                key.clone(),
                PutPayload::from_bytes(bytes.clone()),
            );
            let put = self.settled(
                SETTLE,
                async move { store.put_opts(&to, body, options).await },
            );
            let Some(answer) = put.await else {
                return Err(interrupted());
            };
            let error = match answer {
                Ok(result) => {
                    self.remember(&key, result);
                    return Ok(());
                }
                Err(error) => error,
            };
            match &error {
                // A repeated request whose first answer was lost finds its own object.
                Error::AlreadyExists { .. } => match self.briefly(self.head(&key)).await? {
                    Some(found) if found.is_own => return Ok(()),
                    Some(_) => return Err(io::ErrorKind::AlreadyExists.into()),
                    None => {}
                },
                // A store without conditions, by a setting.
                Error::NotImplemented { .. } if put_mode == PutMode::Create => {
                    if self.briefly(self.head(&key)).await?.is_some() {
                        return Err(io::ErrorKind::AlreadyExists.into());
                    }
                    put_mode = PutMode::Overwrite;
                    continue;
                }
                error if is_passing(error) => {}
                error => return Err(Self::failure(error)),
            }
            if started.elapsed() > PATIENCE {
                return Err(Self::failure(&error));
            }
            sleep(PAUSE).await;
        }
    }

    /// Fails unless an object has this length and was written by this outbox.
    ///
    /// # Errors
    /// With what was found, or an error of the store.
    pub fn check(&self, path: &str, len: u64) -> io::Result<()> {
        let found = runtime()?.block_on(self.briefly(self.head(&self.key(path)?)))?;
        let what = match found {
            Some(found) if found.is_own && found.len == len => return Ok(()),
            Some(found) if found.is_own => {
                format!(
                    "the store has {} bytes of {len} after the upload",
                    found.len
                )
            }
            Some(_) => "it was replaced by another program after the upload".to_owned(),
            None => "it is not there after the upload".to_owned(),
        };
        Err(io::Error::other(what))
    }

    /// Returns what is known of an object; `None` if there is none.
    pub(crate) async fn head(&self, key: &Path) -> io::Result<Option<Found>> {
        let options = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        match self.store()?.get_opts(key, options).await {
            Ok(answer) => {
                let mark = answer.attributes.get(&Attribute::Metadata(MARK.into()));
                let is_own = match mark {
                    Some(mark) => **mark == *self.mark,
                    None => {
                        let etag = answer.meta.e_tag.as_deref().map(unquoted);
                        etag.is_some_and(|etag| self.written.lock().get(key) == Some(&etag))
                    }
                };
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

    fn connected(&self) -> io::Result<&Connection> {
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

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stored({} bytes)", self.bytes.len())
    }
}
