//! Finds the checkpoint behind whatever a person types.
//!
//! A checkpoint has no file of its own name: `model.ckpt-400` stands for `model.ckpt-400.index`,
//! `.meta` and `.data-00000-of-00001`. (In V1 it may be the file itself, or stand for
//! `model.ckpt-400-00000-of-00002`.) People give the prefix, any of those files, the folder, or
//! the `checkpoint` state file that TensorFlow writes, whose paths are often those of another
//! machine. Nothing is guessed: where several would do, the error lists them. Where nothing is found,
//! `missing` says what is there instead.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::address;
use super::foreign::Start;
use super::missing;
use super::prefix::{INDEX, META, Prefix, base_of, step_of, table_shard};
use super::regular::{Kind, is_absence};
use super::source::{self, Disk, LocalFile, Storage};
use super::state_file::{self, STATE_FILE, Stated};
use super::zip::Archive;
use super::{Error, Format, Limits, sstable};

/// How many names an error lists.
pub(super) const MAX_LISTED: usize = 8;

/// A checkpoint that was found: where it is, and the prefix that its files share.
#[derive(Clone, Debug)]
pub struct Location {
    storage: Arc<dyn Storage>,
    prefix: Prefix,
    files: Files,
    limits: Limits,
}

/// How the files behind a prefix are named.
#[derive(Clone, Copy, Debug)]
enum Files {
    /// `PREFIX.index`, `PREFIX.data-00000-of-00001`
    Bundle,
    /// `PREFIX`
    Table,
    /// `PREFIX-00000-of-00002`, with the number of them.
    Tables(usize),
}

impl Location {
    /// The path that the files share, such as `runs/model.ckpt-400`. It ends in a slash where the files
    /// have no base name (`runs/.index`).
    pub fn prefix(&self) -> &Path {
        self.prefix.path()
    }

    /// The folder that the files are in.
    pub fn folder(&self) -> &Path {
        self.prefix.directory()
    }

    /// How much memory reading the files may take.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What the files are in.
    pub fn storage(&self) -> &dyn Storage {
        self.storage.as_ref()
    }

    /// The format of the files.
    pub fn format(&self) -> Format {
        match self.files {
            Files::Bundle => Format::TensorBundle,
            Files::Table | Files::Tables(_) => Format::V1,
        }
    }

    /// The last part of the prefix, such as `model.ckpt-400`; the folder's name and a slash where the
    /// files have no base name.
    pub fn name(&self) -> String {
        self.prefix.name()
    }

    /// The training step, where the name ends in one: 400 in `model.ckpt-400`.
    pub fn step_in_name(&self) -> Option<u64> {
        self.prefix.step()
    }

    /// True for the files behind the prefix: `PREFIX`, `PREFIX.index`, `PREFIX-00000-of-00002`. The
    /// state file and other checkpoints, which training goes on writing, are not.
    pub(super) fn is_part(&self, path: &Path) -> bool {
        self.prefix.is_of(path)
    }

    /// The index of a bundle, `PREFIX.index`.
    pub fn index_path(&self) -> PathBuf {
        self.prefix.with(INDEX)
    }

    /// The training graph, `PREFIX.meta`, which need not exist.
    pub fn meta_path(&self) -> PathBuf {
        self.prefix.with(META)
    }

    /// A file with values: `PREFIX.data-00000-of-00001` of a bundle, a table of a V1 checkpoint.
    pub fn data_path(&self, shard: usize, shard_count: usize) -> PathBuf {
        let shard = match self.files {
            Files::Bundle => format!(".data-{shard:05}-of-{shard_count:05}"),
            Files::Table => String::new(),
            Files::Tables(_) => format!("-{shard:05}-of-{shard_count:05}"),
        };
        self.prefix.with(&shard)
    }

    /// The tables of a V1 checkpoint as one pattern, as TensorFlow takes them.
    #[cfg(feature = "tensorflow")]
    pub(super) fn table_pattern(&self) -> PathBuf {
        match self.files {
            Files::Tables(count) => self.prefix.with(&format!("-?????-of-{count:05}")),
            Files::Bundle | Files::Table => self.prefix().to_owned(),
        }
    }

    /// Number of tables of a V1 checkpoint, by the names of its files.
    pub(super) fn table_count(&self) -> usize {
        match self.files {
            Files::Tables(count) => count,
            Files::Bundle | Files::Table => 1,
        }
    }
}

/// Finds the checkpoint at `path`: a prefix, one of its files, a folder, a zip archive, or any of
/// these in an archive (`archive.zip!/folder/prefix`). `step` picks one of several.
pub fn locate(path: &Path, step: Option<u64>) -> Result<Location, Error> {
    locate_within(path, step, &Limits::default())
}

/// As [`locate`], with limits for reading an archive and, later, the checkpoint.
pub fn locate_within(path: &Path, step: Option<u64>, limits: &Limits) -> Result<Location, Error> {
    address::refuse(path, address::Use::Checkpoint)?;
    let opened = match Archive::behind(path, limits) {
        Ok(None) => return Finder::new(Disk::default(), limits).locate(path, step),
        Ok(Some((archive, inside))) => Finder::new(archive, limits).locate(&inside, step),
        Err(error) => Err(error),
    };
    // Some formats, such as PyTorch's, are zip archives.
    opened.map_err(|error| match error {
        Error::NotFound { .. } | Error::Archive { .. } | Error::Unsupported { .. } => {
            format_of(path).unwrap_or(error)
        }
        error => error,
    })
}

/// What a zip archive without a checkpoint is, if it is another format, whatever its name.
fn format_of(path: &Path) -> Option<Error> {
    let start = source::start(&LocalFile::open(path).ok()?).ok()?;
    let start = Start {
        bytes: &start,
        path,
        in_archive: false,
    };
    start.not_plain_zip()
}

/// Finds checkpoints in one storage.
pub(super) struct Finder {
    pub(super) storage: Arc<dyn Storage>,
    limits: Limits,
}

/// The names of a folder's files.
struct Names {
    all: HashSet<OsString>,
    /// By base name and number of tables, how many tables of a V1 checkpoint are there.
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
    fn new(storage: impl Storage + 'static, limits: &Limits) -> Self {
        Self {
            storage: Arc::new(storage),
            limits: *limits,
        }
    }

    fn locate(&self, path: &Path, step: Option<u64>) -> Result<Location, Error> {
        let kind = self.kind(path)?;
        if kind == Some(Kind::Directory) {
            return self.below(path, step);
        }
        if path.file_name() == Some(OsStr::new(STATE_FILE)) && kind.is_some() {
            return self.in_folder(Prefix::of(path).directory(), step);
        }
        let prefix = Prefix::of(path);
        let exact = self.at(&prefix)?;
        let Some(step) = step else {
            return exact.ok_or_else(|| self.not_found(path));
        };
        if let Some(location) = exact.filter(|location| location.step_in_name() == Some(step)) {
            return Ok(location);
        }
        // `--step 400 model.ckpt` is `model.ckpt-400`.
        self.at(&prefix.extended(&format!("-{step}")))?
            .ok_or_else(|| self.no_step(path, step, prefix.directory()))
    }

    /// Returns what is at a path.
    pub(super) fn kind(&self, path: &Path) -> Result<Option<Kind>, Error> {
        let kind = self.storage.kind(path);
        kind.map_err(|source| Error::reading(path, source))
    }

    /// The names in a folder; `None` if there is no such folder.
    pub(super) fn names(&self, folder: &Path) -> Result<Option<Vec<OsString>>, Error> {
        match self.storage.file_names(folder) {
            Ok(names) => Ok(Some(names)),
            Err(error) if is_absence(&error) => Ok(None),
            Err(source) => Err(Error::reading(folder, source)),
        }
    }

    /// The checkpoint with a prefix.
    fn at(&self, prefix: &Prefix) -> Result<Option<Location>, Error> {
        if let Some(location) = self.single(prefix)? {
            return Ok(Some(location));
        }
        let names = self.names(prefix.directory())?;
        names.map_or(Ok(None), |names| self.tables(prefix, &Names::new(names)))
    }

    /// The checkpoint with a prefix, if it is a bundle or a V1 checkpoint in one file.
    fn single(&self, prefix: &Prefix) -> Result<Option<Location>, Error> {
        if self.kind(&prefix.with(INDEX))? == Some(Kind::File) {
            return Ok(Some(self.location(prefix, Files::Bundle)));
        }
        let is_table = table_shard(prefix.base()).is_none() && self.is_table(prefix.path())?;
        Ok(is_table.then(|| self.location(prefix, Files::Table)))
    }

    /// The checkpoint with a prefix, if it is a V1 checkpoint in several files. Files of another number
    /// may be left over from an earlier run: the complete set counts.
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
            // The files that are missing are named when the first is opened.
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

    fn location(&self, prefix: &Prefix, files: Files) -> Location {
        Location {
            storage: Arc::clone(&self.storage),
            prefix: prefix.clone(),
            files,
            limits: self.limits,
        }
    }

    /// True when there is a file that ends as a table does.
    fn is_table(&self, path: &Path) -> Result<bool, Error> {
        if self.kind(path)? != Some(Kind::File) {
            return Ok(false);
        }
        let found = self.storage.open(path);
        let found = found.and_then(|file| sstable::has_magic(&file));
        found.map_err(|source| Error::reading(path, source))
    }

    /// Looks in a folder, and where checkpoints may lie deeper, in those below it.
    fn below(&self, folder: &Path, step: Option<u64>) -> Result<Location, Error> {
        let folders = self.storage.folders(folder);
        if let [folder] = &folders[..] {
            return self.in_folder(folder, step);
        }
        let mut inhabited = Vec::new();
        for folder in folders {
            let found = self.all_in(&folder)?;
            if !found.is_empty() {
                inhabited.push((folder, found));
            }
        }
        if inhabited.len() < 2 {
            let only = inhabited.pop();
            return self.in_folder(only.as_ref().map_or(folder, |(folder, _)| folder), step);
        }
        let found = inhabited.into_iter().flat_map(|(_, found)| found);
        let is_meant = |at: &Location| step.is_none_or(|_| at.step_in_name() == step);
        let mut found: Vec<Location> = found.filter(is_meant).collect();
        match found.len() {
            0 => Err(self.no_step(folder, step.unwrap_or_default(), folder)),
            1 => Ok(found.remove(0)),
            _ => Err(Error::Ambiguous {
                path: folder.to_owned(),
                names: listed(&found, |at| at.prefix().display().to_string()),
            }),
        }
    }

    /// Picks one of the checkpoints in a folder.
    fn in_folder(&self, folder: &Path, step: Option<u64>) -> Result<Location, Error> {
        if step.is_none()
            && let Some(latest) = self.latest(folder)?
        {
            return Ok(latest);
        }
        let mut found = self.all_in(folder)?;
        found.retain(|location| step.is_none_or(|_| location.step_in_name() == step));
        match (found.len(), step) {
            (0, Some(step)) => Err(self.no_step(folder, step, folder)),
            (0, None) => Err(self.not_found(folder)),
            (1, _) => Ok(found.remove(0)),
            _ => Err(Error::Ambiguous {
                path: folder.to_owned(),
                names: listed(&found, Location::name),
            }),
        }
    }

    /// The checkpoint that the state file of a folder names; `None` if there is no state file.
    fn latest(&self, folder: &Path) -> Result<Option<Location>, Error> {
        let listing = || self.listing(folder);
        let Some(text) = state_file::latest(self.storage.as_ref(), folder, listing)? else {
            return Ok(None);
        };
        let stated = Stated::new(&text, folder);
        for inside in &stated.inside {
            let prefix = Prefix::within(folder, inside.as_os_str());
            if let Some(location) = self.at(&prefix)? {
                return Ok(Some(location));
            }
        }
        for inside in &stated.inside {
            let prefix = Prefix::within(folder, inside.as_os_str());
            if self.kind(prefix.path())? != Some(Kind::Directory)
                && let Some(error) = missing::recognised(self, prefix.path())?
            {
                return Err(error);
            }
        }
        let outside = stated.outside.filter(|outside| {
            // One that cannot be reached may well be there.
            let found = self.storage.plain_path(outside);
            found.is_some_and(|path| !matches!(self.at(&Prefix::of(&path)), Ok(None)))
        });
        let found = match outside {
            Some(outside) => format!(
                "its `{STATE_FILE}` file names {text}, which is outside of the folder and is not \
                 followed; to take that one, give its path: electra-convert inspect {}",
                address::quoted(outside.as_os_str())
            ),
            None => format!(
                "its `{STATE_FILE}` file names {text}, which is not there; {}",
                self.listing(folder)
            ),
        };
        Err(Error::NotFound {
            path: folder.to_owned(),
            found,
        })
    }

    /// The checkpoints in a folder, by step, then by name.
    pub(super) fn all_in(&self, folder: &Path) -> Result<Vec<Location>, Error> {
        let names = Names::new(self.names(folder)?.unwrap_or_default());
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
                None => self.tables(&prefix, &names)?,
            });
        }
        Ok(found)
    }

    fn no_step(&self, path: &Path, step: u64, folder: &Path) -> Error {
        Error::NotFound {
            path: path.to_owned(),
            found: format!("there is no step {step}; {}", self.listing(folder)),
        }
    }

    /// The error for a path that leads nowhere.
    fn not_found(&self, path: &Path) -> Error {
        missing::explain(self, path).unwrap_or_else(|error| error)
    }

    /// The checkpoints of a folder, as the end of an error.
    pub(super) fn listing(&self, folder: &Path) -> String {
        let mut found = Vec::new();
        for folder in self.storage.folders(folder) {
            match self.all_in(&folder) {
                Ok(locations) => found.extend(locations),
                Err(error) => return error.to_string(),
            }
        }
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

/// The first few names, and how many more there are.
fn listed(found: &[Location], name: impl Fn(&Location) -> String) -> Vec<String> {
    let mut names: Vec<String> = found.iter().take(MAX_LISTED).map(name).collect();
    if found.len() > MAX_LISTED {
        names.push(format!("and {} more", found.len() - MAX_LISTED));
    }
    names
}
