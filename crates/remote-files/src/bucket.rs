//! A bucket, container or host as a place with directories.
//!
//! A directory is the common start of names. Its names are listed once, when a second question about it is asked;
//! the first is answered by a request for the name itself, so that one question about a large directory does not list
//! it. Web servers list nothing: there only names can be asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::{fmt, io};

use object_store::path::Path;
use object_store::{Attribute, Error, GetOptions, GetRange, GetResult};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::address::{Address, Scheme};
use crate::connect::{Connection, READING, connect};
use crate::failure::{io_error, is_gone, is_refused, is_without_ranges, is_without_right};
use crate::fetch::Identity;
use crate::pages::{MAX_PAGES, each_page};
use crate::remote_file::{Client, REQUESTS, RemoteFile};
use crate::runtime::Cancel;

/// Files that make the address of a web server's directory, which it does not list.
const DIRECTORY_FILES: [&str; 2] = ["checkpoint", "saved_model.pb"];

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A file of this length in bytes.
    File(u64),
    /// A directory.
    Directory,
}

/// A bucket, container or host. Paths are below it, without slashes at either end.
pub struct Bucket {
    address: Address,
    connection: Connection,
    client: Client,
    known: Mutex<Known>,
    opened: Mutex<Vec<Opened>>,
}

/// A file that was opened.
#[derive(Clone)]
struct Opened {
    path: String,
    len: u64,
    identity: Arc<Identity>,
}

#[derive(Default)]
struct Known {
    entries: BTreeMap<String, Option<Entry>>,
    /// Directories about which a question was asked.
    asked: BTreeSet<String>,
    listings: BTreeMap<String, Listing>,
}

enum Listing {
    /// The names, complete.
    Names(BTreeMap<String, Entry>),
    /// It has too many names to list them.
    TooLong,
    /// It is not asked for: there are no credentials, or it is on a web server.
    Unknown,
    /// The store refuses to list it.
    Refused {
        words: String,
        /// The credentials are valid, but do not allow to list.
        is_valid: bool,
    },
}

impl Bucket {
    /// Connects to the bucket, container or host of an address.
    ///
    /// # Errors
    /// If a setting in the environment cannot be used.
    pub fn open(address: &Address) -> io::Result<Self> {
        Self::open_until(address, &Cancel::default())
    }

    /// Opens another address of the same bucket, of which nothing is known yet. [`cancel`](Self::cancel) of this one ends
    /// the wait for credentials.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn reopened(&self, address: &Address) -> io::Result<Self> {
        Self::open_until(address, &self.client.cancel)
    }

    fn open_until(address: &Address, opening: &Cancel) -> io::Result<Self> {
        let connection = opening.wait_for(connect(address, READING))??;
        let client = Client {
            store: Arc::clone(&connection.store),
            requests: Arc::new(Semaphore::new(REQUESTS)),
            cancel: Arc::default(),
            fetched: Arc::default(),
        };
        Ok(Self {
            address: address.clone(),
            connection,
            client,
            known: Mutex::default(),
            opened: Mutex::default(),
        })
    }

    /// Returns the address that was opened.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Returns the number of bytes that were fetched of files so far.
    pub fn fetched(&self) -> u64 {
        self.client.fetched.load(Ordering::Relaxed)
    }

    /// Ends everything that waits for this bucket, with an error.
    pub fn cancel(&self) {
        self.client.cancel.cancel();
    }

    /// Returns what is at a path; `None` if nothing is.
    ///
    /// # Errors
    /// If the store cannot tell.
    pub fn entry(&self, path: &str) -> io::Result<Option<Entry>> {
        if path.is_empty() {
            if self.address.path().is_empty() {
                self.check_directory()?;
            }
            return Ok(Some(Entry::Directory));
        }
        if let Some(known) = self.known.lock().entries.get(path) {
            return Ok(*known);
        }
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let is_new = self.known.lock().asked.insert(directory.to_owned());
        if !is_new && self.list(directory)? {
            let known = self.known.lock();
            if let Some(Listing::Names(names)) = known.listings.get(directory) {
                return Ok(names.get(name).copied());
            }
        }
        if path == self.address.path() && self.lists() {
            // Both at once: it is a file or a directory.
            let (head, listing) = self
                .client
                .cancel
                .wait_for(async { futures_util::join!(self.ask(path), self.read_names(path)) })?;
            self.known.lock().listings.insert(path.to_owned(), listing?);
            let entry = match self.entry_of(path, head)? {
                None if self.is_directory(path)? => Some(Entry::Directory),
                entry => entry,
            };
            self.known.lock().entries.insert(path.to_owned(), entry);
            return Ok(entry);
        }
        let mut entry = self.head(path)?;
        if entry.is_none() && self.is_directory(path)? {
            self.check_directory()?;
            entry = Some(Entry::Directory);
        }
        self.known.lock().entries.insert(path.to_owned(), entry);
        Ok(entry)
    }

    /// Returns the names in a directory.
    ///
    /// # Errors
    /// `NotFound` if there is no such directory or the server lists none, `PermissionDenied` if there are no credentials,
    /// or an error of the store.
    pub fn names(&self, path: &str) -> io::Result<Vec<String>> {
        self.list(path)?;
        match self.known.lock().listings.get(path) {
            Some(Listing::Names(names)) if !names.is_empty() => Ok(names.keys().cloned().collect()),
            Some(Listing::TooLong) => Err(io::Error::other(format!(
                "the directory has too many names to list them ({MAX_PAGES} pages were read); give the prefix of the \
                 checkpoint"
            ))),
            Some(Listing::Unknown) => {
                self.check_directory()?;
                Err(io::ErrorKind::NotFound.into())
            }
            Some(Listing::Refused { words, .. }) => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!(
                    "the directory cannot be listed, {words}; give the prefix of a checkpoint, or get the right to list"
                ),
            )),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Returns false for a web server, where only names can be asked for.
    pub fn lists_directories(&self) -> bool {
        self.address.scheme() != Scheme::Http
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// `NotFound` if there is no file, `IsADirectory` for a directory, or an error of the store.
    pub fn file(&self, path: &str) -> io::Result<RemoteFile> {
        let len = match self.entry(path)? {
            None => return Err(io::ErrorKind::NotFound.into()),
            Some(Entry::Directory) => return Err(io::ErrorKind::IsADirectory.into()),
            Some(Entry::File(len)) => len,
        };
        let file = RemoteFile::new(self.client.clone(), self.key(path)?, len);
        self.opened.lock().push(Opened {
            path: path.to_owned(),
            len,
            identity: Arc::clone(file.identity()),
        });
        Ok(file)
    }

    /// Returns the path of one of the opened files for which `is_part` is true and that was replaced since it was
    /// opened. A removed file counts as unchanged.
    ///
    /// # Errors
    /// If the store cannot tell.
    pub fn changed(&self, is_part: impl Fn(&str) -> bool) -> io::Result<Option<String>> {
        let opened = self.opened.lock().clone();
        let mut checked = BTreeSet::new();
        for file in opened.into_iter().filter(|file| is_part(&file.path)) {
            if !file.identity.is_known() || !checked.insert(file.path.clone()) {
                continue;
            }
            match self.client.cancel.wait_for(self.ask(&file.path))? {
                Ok(answer) if file.identity.check(&answer.meta, file.len).is_err() => {
                    return Ok(Some(file.path));
                }
                Ok(_) => {}
                Err(error) if self.is_absence(&error) => {}
                Err(error) => return Err(self.failure(&error)),
            }
        }
        Ok(None)
    }

    fn key(&self, path: &str) -> io::Result<Path> {
        let key = match self.address.scheme() {
            Scheme::Http => Path::from_url_path(path),
            _ => Path::parse(path),
        };
        key.map_err(|error| io::Error::new(io::ErrorKind::InvalidFilename, error))
    }

    /// Asks for one name.
    fn head(&self, path: &str) -> io::Result<Option<Entry>> {
        let answer = self.client.cancel.wait_for(self.ask(path))?;
        self.entry_of(path, answer)
    }

    /// Asks for one name; a name that cannot be one is not there.
    async fn ask(&self, path: &str) -> Result<GetResult, Error> {
        let key = self.key(path).map_err(|source| Error::NotFound {
            path: path.to_owned(),
            source: source.into(),
        })?;
        let store = &self.connection.store;
        match store.get_opts(&key, head()).await {
            // A signed address may be good for GET alone.
            Err(Error::PermissionDenied { .. }) if self.address.query().is_some() => {
                match store.get_opts(&key, first_byte()).await {
                    Err(error) if is_without_ranges(&error) => {
                        store.get_opts(&key, GetOptions::default()).await
                    }
                    answer => answer,
                }
            }
            answer => answer,
        }
    }

    fn entry_of(&self, path: &str, answer: Result<GetResult, Error>) -> io::Result<Option<Entry>> {
        match answer {
            Ok(answer) => {
                let content = answer.attributes.get(&Attribute::ContentType);
                let is_page = content.is_some_and(|content| content.starts_with("text/html"));
                // A web server answers for a directory with a page.
                if is_page && self.address.scheme() == Scheme::Http && self.is_directory(path)? {
                    return Ok(Some(Entry::Directory));
                }
                Ok(Some(Entry::File(answer.meta.size)))
            }
            Err(error) if self.is_absence(&error) => Ok(None),
            // Whoever may not list is answered so about a name that is not there, too.
            Err(error @ Error::PermissionDenied { .. }) => {
                let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
                self.list(directory)?;
                match self.known.lock().listings.get(directory) {
                    Some(Listing::Names(names)) if !names.contains_key(name) => Ok(None),
                    Some(Listing::Refused { is_valid: true, .. }) => Ok(None),
                    // Unlike the answer about a name, it states the reason.
                    Some(Listing::Refused { words, .. }) => Err(io::Error::new(
                        io::ErrorKind::PermissionDenied,
                        words.clone(),
                    )),
                    _ => Err(self.failure(&error)),
                }
            }
            Err(error) => Err(self.failure(&error)),
        }
    }

    /// Returns true if there are names below a path.
    fn is_directory(&self, path: &str) -> io::Result<bool> {
        if self.lists() {
            self.list(path)?;
            match self.known.lock().listings.get(path) {
                Some(Listing::Names(names)) => return Ok(!names.is_empty()),
                Some(Listing::TooLong) => return Ok(true),
                _ => {}
            }
        }
        if path != self.address.path() {
            return Ok(false);
        }
        for file in DIRECTORY_FILES {
            if self.head(&format!("{path}/{file}"))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Fails for a directory in a bucket that is read without credentials: what is not there and what may not be read
    /// have the same answer.
    fn check_directory(&self) -> io::Result<()> {
        let Some(tried) = &self.connection.unsigned else {
            return Ok(());
        };
        let variable = match self.address.scheme() {
            Scheme::Gcs => "GOOGLE_SKIP_SIGNATURE",
            Scheme::Azure => "AZURE_SKIP_SIGNATURE",
            // A web server is asked without credentials in any case.
            Scheme::S3 | Scheme::Http => "AWS_SKIP_SIGNATURE",
        };
        let what = format!(
            "the directory cannot be listed: there are no credentials (looked for {tried}); give the prefix of the \
             checkpoint or one of its files, or set {variable}=true if the bucket is public"
        );
        Err(io::Error::new(io::ErrorKind::PermissionDenied, what))
    }

    /// Returns true if directories are listed. Without credentials, names are asked for one by one, as on a web
    /// server: objects are often public in a bucket that lists nothing.
    fn lists(&self) -> bool {
        self.connection.pages.is_some() && self.connection.unsigned.is_none()
    }

    /// Lists a directory unless that was done; returns false if its names cannot be known.
    fn list(&self, directory: &str) -> io::Result<bool> {
        let is_known = self.known.lock().listings.contains_key(directory);
        if !is_known {
            let listing = self.client.cancel.wait_for(self.read_names(directory))??;
            self.known
                .lock()
                .listings
                .insert(directory.to_owned(), listing);
        }
        Ok(matches!(
            self.known.lock().listings.get(directory),
            Some(Listing::Names(_))
        ))
    }

    async fn read_names(&self, directory: &str) -> io::Result<Listing> {
        let Some(pages) = self.connection.pages.as_ref().filter(|_| self.lists()) else {
            return Ok(Listing::Unknown);
        };
        let prefix = match directory {
            "" => String::new(),
            directory => format!("{directory}/"),
        };
        let mut names = BTreeMap::new();
        let listed = each_page(pages.as_ref(), &prefix, |page| {
            for object in page.objects {
                let name = object.location.filename().unwrap_or_default();
                // A placeholder for the directory itself has the directory's name.
                let is_inside = object.location.as_ref().strip_prefix(&prefix[..]) == Some(name);
                if is_inside && !name.is_empty() {
                    names.insert(name.to_owned(), Entry::File(object.size));
                }
            }
            for below in page.common_prefixes {
                if let Some(name) = below.filename() {
                    names.entry(name.to_owned()).or_insert(Entry::Directory);
                }
            }
        });
        match listed.await {
            Ok(true) => Ok(Listing::Names(names)),
            Ok(false) => Ok(Listing::TooLong),
            Err(error) if is_refused(&error) => Ok(Listing::Refused {
                words: self.failure(&error).to_string(),
                is_valid: is_without_right(&error),
            }),
            // The bucket itself.
            Err(error) => Err(self.failure(&error)),
        }
    }

    /// True for an answer that means that there is no file. Whoever may list nothing is refused what is not there.
    fn is_absence(&self, error: &Error) -> bool {
        match error {
            Error::NotFound { .. } => true,
            Error::PermissionDenied { .. } => !self.lists(),
            error => is_gone(error),
        }
    }

    fn failure(&self, error: &Error) -> io::Error {
        let error = io_error(error);
        if error.kind() == io::ErrorKind::PermissionDenied {
            return io::Error::new(error.kind(), self.with_credentials(&error.to_string()));
        }
        error
    }

    fn with_credentials(&self, what: &str) -> String {
        match &self.connection.unsigned {
            Some(tried) => format!("{what}; there are no credentials (looked for {tried})"),
            None => what.to_owned(),
        }
    }
}

fn head() -> GetOptions {
    GetOptions {
        head: true,
        ..GetOptions::default()
    }
}

fn first_byte() -> GetOptions {
    GetOptions {
        range: Some(GetRange::Bounded(0..1)),
        ..GetOptions::default()
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bucket").field(&self.address).finish()
    }
}
