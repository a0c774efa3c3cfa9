//! Finds checkpoints in one storage: at a prefix, in a directory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::location::{Files, Location};
use super::prefix::{INDEX, Prefix, base_of, is_unfinished_save, step_of, table_shard};
use crate::error::Error;
use crate::hdf5;
use crate::limits::Limits;
use crate::sstable;
use crate::storage::regular::{Kind, is_absence};
use crate::storage::{ReadAt, Storage};

/// The models of transformers that need no conversion.
const PYTORCH: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];
/// The usual extensions of HDF5 files.
const HDF5_EXTENSIONS: [&str; 2] = ["h5", "hdf5"];
/// The most names that an error lists.
pub(super) const MAX_LISTED: usize = 8;

/// Finds checkpoints in one storage.
pub(super) struct Finder {
    pub(super) storage: Arc<dyn Storage>,
    limits: Limits,
}

/// The names of the files in a directory.
struct Names {
    all: HashSet<OsString>,
    /// For each base name and stated number of tables, the number of tables that are present.
    tables: HashMap<OsString, BTreeMap<usize, usize>>,
}

impl Names {
    fn new(all: Vec<OsString>) -> Self {
        let mut tables: HashMap<OsString, BTreeMap<usize, usize>> = HashMap::new();
        for (base, count) in all.iter().filter_map(|name| table_shard(name)) {
            let counts = tables.entry(base.to_owned()).or_default();
            *counts.entry(count).or_default() += 1;
        }
        Self {
            all: all.into_iter().collect(),
            tables,
        }
    }
}

impl Finder {
    pub(super) fn new(storage: Arc<dyn Storage>, limits: &Limits) -> Self {
        Self {
            storage,
            limits: *limits,
        }
    }

    /// Returns the kind of file at a path.
    pub(super) fn kind(&self, path: &Path) -> Result<Option<Kind>, Error> {
        let kind = self.storage.kind(path);
        kind.map_err(|source| Error::reading(path, source))
    }

    /// Returns the names in a directory; `None` if there is no directory.
    pub(super) fn names(&self, folder: &Path) -> Result<Option<Vec<OsString>>, Error> {
        match self.storage.file_names(folder) {
            Ok(names) => Ok(Some(names)),
            Err(error) if is_absence(&error) => Ok(None),
            Err(source) => Err(Error::reading(folder, source)),
        }
    }

    /// Returns the directories to search for checkpoints when `folder` is given: itself and, in an archive, those
    /// below it, except those in which a save was interrupted.
    pub(super) fn folders(&self, folder: &Path) -> Result<Vec<PathBuf>, Error> {
        let mut folders = Vec::new();
        for below in self.storage.folders(folder) {
            let is_searched = below == folder
                || !is_unfinished_save(&below, &self.names(&below)?.unwrap_or_default());
            folders.extend(is_searched.then_some(below));
        }
        Ok(folders)
    }

    /// Returns the checkpoint with a prefix.
    pub(super) fn at(&self, prefix: &Prefix) -> Result<Option<Location>, Error> {
        if let Some(location) = self.single(prefix)? {
            return Ok(Some(location));
        }
        let tables = match self.names(prefix.directory())? {
            Some(names) => self.tables(prefix, &Names::new(names))?,
            None => self.tables_unlisted(prefix)?,
        };
        match tables {
            None => self.hdf5(prefix),
            tables => Ok(tables),
        }
    }

    /// Returns the HDF5 file at a path, by its content.
    fn hdf5(&self, path: &Prefix) -> Result<Option<Location>, Error> {
        if self.kind(path.path())? != Some(Kind::File) {
            return Ok(None);
        }
        let start = self.storage.start(path.path());
        let start = start.map_err(|source| Error::reading(path.path(), source))?;
        let is_hdf5 = start.starts_with(hdf5::SIGNATURE);
        Ok(is_hdf5.then(|| self.location(path, Files::Hdf5)))
    }

    /// Returns the checkpoint with a prefix, if it is a TensorBundle or a V1 checkpoint in one file.
    fn single(&self, prefix: &Prefix) -> Result<Option<Location>, Error> {
        if self.kind(&prefix.with(INDEX))? == Some(Kind::File) {
            let saved_model = self.saved_model_of(prefix)?;
            let bundle = || self.location(prefix, Files::Bundle);
            return Ok(Some(saved_model.unwrap_or_else(bundle)));
        }
        let is_table = table_shard(prefix.base()).is_none() && self.is_table(prefix.path())?;
        Ok(is_table.then(|| self.location(prefix, Files::Table)))
    }

    /// Returns the checkpoint with a prefix, if it is a V1 checkpoint in several files. A complete set is
    /// preferred: files with another number may be left over from an earlier run.
    fn tables(&self, prefix: &Prefix, names: &Names) -> Result<Option<Location>, Error> {
        let (base, stated) = match table_shard(prefix.base()) {
            Some((base, count)) => (base, Some(count)),
            None => (prefix.base(), None),
        };
        let Some(counts) = names.tables.get(base) else {
            return Ok(None);
        };
        let complete = |(count, found): (&usize, &usize)| (count == found).then_some(*count);
        let complete: Vec<usize> = counts.iter().filter_map(complete).collect();
        let picked = match (stated, &complete[..]) {
            (Some(stated), _) => counts.contains_key(&stated).then_some(stated),
            (None, [count]) => Some(*count),
            // Opening reports the missing files.
            (None, []) if counts.len() == 1 => counts.keys().next().copied(),
            _ => {
                let names = counts
                    .keys()
                    .map(|count| format!("{}-?????-of-{count:05}", base.to_string_lossy()));
                return Err(Error::Ambiguous {
                    path: prefix.directory().to_owned(),
                    names: names.collect(),
                });
            }
        };
        let base = Prefix::within(prefix.directory(), base);
        Ok(picked.map(|count| self.location(&base, Files::Tables(count))))
    }

    /// As [`tables`](Self::tables), where directories are not listed: a name that states the number of files states
    /// all of their names.
    fn tables_unlisted(&self, prefix: &Prefix) -> Result<Option<Location>, Error> {
        if self.storage.lists_directories() {
            return Ok(None);
        }
        let Some((base, count)) = table_shard(prefix.base()) else {
            return Ok(None);
        };
        let base = Prefix::within(prefix.directory(), base);
        let location = self.location(&base, Files::Tables(count));
        Ok(self
            .is_table(&location.data_path(0, count))?
            .then_some(location))
    }

    pub(super) fn location(&self, prefix: &Prefix, files: Files) -> Location {
        Location {
            storage: Arc::clone(&self.storage),
            prefix: prefix.clone(),
            files,
            limits: self.limits,
            passed_over: Vec::new(),
        }
    }

    /// Returns true if the file ends in the magic number of a table.
    fn is_table(&self, path: &Path) -> Result<bool, Error> {
        if self.kind(path)? != Some(Kind::File) {
            return Ok(false);
        }
        // A look at the end of a compressed member inflates all of it, which is worth keeping. Of other files, such as
        // many in a bucket, nothing is kept.
        let read = match self.storage.archive() {
            Some(_) => ReadAt::read_exact_at,
            None => ReadAt::read_once,
        };
        let found = self.storage.open(path);
        let found = found.and_then(|file| sstable::has_magic(&file, read));
        found.map_err(|source| Error::reading(path, source))
    }

    /// Returns the checkpoints in a directory, ordered by step, then by name.
    ///
    /// SavedModels in directories below and HDF5 files count if there is no other checkpoint, and no model of
    /// PyTorch beside them: transformers often publishes the same weights in both forms. `save_pretrained`
    /// writes the weights of a SavedModel to an HDF5 file too; the SavedModel is taken, which has a graph.
    pub(super) fn all_in(&self, folder: &Path) -> Result<Vec<Location>, Error> {
        let names = Names::new(self.names(folder)?.unwrap_or_default());
        let mut found = self.of_tensorflow(folder, &names)?;
        let is_checkpoint = !found.is_empty();
        found.extend(self.saved_model(folder)?);
        let has_pytorch = PYTORCH
            .iter()
            .any(|name| names.all.contains(OsStr::new(name)));
        if is_checkpoint || has_pytorch {
            return Ok(found);
        }
        if found.is_empty() {
            found = self.versions_below(folder)?;
        }
        let hdf5 = self.of_keras(folder, names)?;
        if found.is_empty() {
            return Ok(hdf5);
        }
        for saved_model in &mut found {
            let paths = hdf5.iter().map(|location| location.prefix().to_owned());
            saved_model.passed_over = paths.collect();
        }
        Ok(found)
    }

    /// Returns the HDF5 files in a directory, ordered by name.
    fn of_keras(&self, folder: &Path, names: Names) -> Result<Vec<Location>, Error> {
        let names = names.all.into_iter();
        let mut names: Vec<OsString> = names.filter(|name| is_hdf5_name(name)).collect();
        names.sort();
        let mut found = Vec::new();
        for name in names {
            found.extend(self.hdf5(&Prefix::within(folder, &name))?);
        }
        Ok(found)
    }

    /// Returns the TensorBundles and V1 checkpoints in a directory, ordered by step, then by name.
    fn of_tensorflow(&self, folder: &Path, names: &Names) -> Result<Vec<Location>, Error> {
        let has = |name: &OsStr| names.all.contains(name);
        let mut bases: Vec<OsString> = names
            .all
            .iter()
            .filter_map(|name| base_of(name, has))
            .collect();
        bases.sort_by_cached_key(|name| (step_of(name), name.clone()));
        bases.dedup();
        let mut found = Vec::new();
        for base in bases {
            let prefix = Prefix::within(folder, &base);
            found.extend(match self.single(&prefix)? {
                Some(location) => Some(location),
                None => self.tables(&prefix, names)?,
            });
        }
        Ok(found)
    }

    /// Returns the checkpoints of a directory in words, for the end of an error.
    pub(super) fn listing(&self, folder: &Path) -> String {
        let all = |folders: Vec<PathBuf>| {
            let each = folders.iter().map(|folder| self.all_in(folder));
            each.collect::<Result<Vec<_>, _>>()
        };
        let found: Vec<Location> = match self.folders(folder).and_then(all) {
            Ok(found) => found.into_iter().flatten().collect(),
            Err(error) => return error.to_string(),
        };
        if found.is_empty() {
            return format!("{} holds no checkpoint", folder.display());
        }
        let below = |at: &Location| {
            let below = at.prefix().strip_prefix(folder).unwrap_or(at.prefix());
            if below.as_os_str().is_empty() {
                at.prefix().display().to_string()
            } else {
                below.display().to_string()
            }
        };
        let names = listed(&found, below).join(", ");
        format!("{} holds {names}", folder.display())
    }
}

/// Returns true for the usual names of an HDF5 file.
fn is_hdf5_name(name: &OsStr) -> bool {
    let extension = Path::new(name).extension().unwrap_or_default();
    let is_hidden = name.as_encoded_bytes().starts_with(b".");
    !is_hidden
        && HDF5_EXTENSIONS
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
}

/// Returns the first names, and the number of others.
pub(super) fn listed(found: &[Location], name: impl Fn(&Location) -> String) -> Vec<String> {
    let mut names: Vec<String> = found.iter().take(MAX_LISTED).map(name).collect();
    if found.len() > MAX_LISTED {
        names.push(format!("and {} more", found.len() - MAX_LISTED));
    }
    names
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::storage::{Disk, ReadAt};

    /// The local file system, as a web server shows it: without lists of names.
    #[derive(Debug, Default)]
    struct Unlisted(Disk);

    impl Storage for Unlisted {
        fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
            self.0.kind(path)
        }

        fn file_names(&self, _: &Path) -> io::Result<Vec<OsString>> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn lists_directories(&self) -> bool {
            false
        }

        fn above(&self, folder: &Path) -> Option<PathBuf> {
            self.0.above(folder)
        }

        fn changed(&self, is_part: &dyn Fn(&Path) -> bool) -> Result<Option<PathBuf>, Error> {
            self.0.changed(is_part)
        }

        fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>> {
            self.0.open(path)
        }
    }

    #[test]
    fn tables_are_found_by_a_name_that_states_their_number() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/fmt_v1_sharded");
        let finder = Finder::new(Arc::new(Unlisted::default()), &Limits::default());
        for name in ["-00000-of-00002", "-00001-of-00002", "-?????-of-00002"] {
            let path = folder.join(format!("model.ckpt-400{name}"));
            let found = finder.at(&Prefix::of(&path)).unwrap().expect(name);
            assert_eq!(found.prefix(), folder.join("model.ckpt-400"), "{name}");
            assert_eq!(found.table_count(), 2, "{name}");
        }
        for name in ["-00000-of-00003", ""] {
            let path = folder.join(format!("model.ckpt-400{name}"));
            assert!(finder.at(&Prefix::of(&path)).unwrap().is_none(), "{name}");
        }
    }
}
