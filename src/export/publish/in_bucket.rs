//! A directory in a bucket, as far as it decides which objects conflict with an export.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use remote_files::{Address, Outbox};

use super::export_files::{Entry, Place, known_names};
use crate::export::Error;
use crate::variables::Model;

/// The objects of a bucket as a [`Place`]. Each directory is listed once.
pub(super) struct InBucket<'a> {
    outbox: &'a Outbox,
    known: RefCell<BTreeMap<String, BTreeSet<String>>>,
}

impl<'a> InBucket<'a> {
    /// Connects to the bucket, unless that was done.
    pub(super) fn connect(outbox: &'a Outbox) -> Result<Self, Error> {
        outbox.connect().map_err(failed(outbox, ""))?;
        Ok(Self {
            outbox,
            known: RefCell::default(),
        })
    }

    /// Returns the URL of a file.
    pub(super) fn url(outbox: &Outbox, file: &Path) -> PathBuf {
        PathBuf::from(outbox.url(&below(file)))
    }
}

impl Place for InBucket<'_> {
    fn path(&self, file: &Path) -> PathBuf {
        Self::url(self.outbox, file)
    }

    fn find(&self, file: &Path) -> Result<Option<Entry>, Error> {
        let file = below(file);
        let (folder, name) = file.rsplit_once('/').unwrap_or(("", &file));
        // The listing of the output directory shows that there is nothing to list.
        let is_there = folder.is_empty() || self.contains("", &format!("{folder}/"))?;
        // The common start of other names is no obstacle to an object.
        Ok((is_there && self.contains(folder, name)?).then_some(Entry::Other))
    }

    fn is_folder(&self, _: &Path) -> Result<bool, Error> {
        Ok(true)
    }

    fn is_same(&self, file: &Path, path: &Path) -> bool {
        let parse = |path: &Path| Address::parse(path.to_str()?)?.ok();
        let own = parse(&self.path(file));
        own.is_some_and(|own| parse(path).is_some_and(|path| own.is_same(&path)))
    }
}

impl InBucket<'_> {
    /// Returns true if a directory has an object of this name, or a directory if the name ends with a slash.
    fn contains(&self, folder: &str, name: &str) -> Result<bool, Error> {
        let mut known = self.known.borrow_mut();
        if !known.contains_key(folder) {
            let folders = Model::BOTH.map(|model| format!("{}/", model.key()));
            let mut names: Vec<&str> = known_names().collect();
            names.extend(folders.iter().map(String::as_str));
            let found = self.outbox.existing(folder, &names);
            let found = found.map_err(|source| Error::Read {
                path: self.outbox.url(folder).into(),
                source,
            })?;
            known.insert(folder.to_owned(), found);
        }
        Ok(known[folder].contains(name))
    }
}

/// Returns a function that adds the URL of an object to an error of writing it.
pub(super) fn failed(outbox: &Outbox, path: &str) -> impl FnOnce(io::Error) -> Error {
    let path = PathBuf::from(outbox.url(path));
    |source| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists { path },
        _ => Error::Write { path, source },
    }
}

/// Returns a function that adds the URL of an object to an error of reading it.
pub(super) fn unread(outbox: &Outbox, path: &str) -> impl FnOnce(io::Error) -> Error {
    let path = PathBuf::from(outbox.url(path));
    |source| Error::Read { path, source }
}

/// Returns a relative path with the separators of a bucket.
pub(super) fn below(path: &Path) -> String {
    let parts = path.iter().map(|part| part.to_string_lossy());
    parts.collect::<Vec<_>>().join("/")
}
