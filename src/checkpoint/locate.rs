//! Finds the checkpoint behind whatever a person types.
//!
//! A checkpoint has no file of its own name: `model.ckpt-400` stands for `model.ckpt-400.index`,
//! `.meta` and `.data-00000-of-00001`. (In V1 it may be the file itself, or stand for
//! `model.ckpt-400-00000-of-00002`.) People give the prefix, any of those files, the folder, or
//! the `checkpoint` state file that TensorFlow writes, whose paths are often those of another
//! machine. Nothing is guessed: where several would do, the error lists them.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::source::{Disk, Storage};
use super::state_file::{self, STATE_FILE};
use super::zip::Archive;
use super::{Error, Format, sstable};

/// How many names an error lists.
const MAX_LISTED: usize = 8;

/// How many letters a mistyped name may be off.
const MAX_TYPING_ERRORS: usize = 2;

/// A checkpoint that was found: where it is, and the prefix that its files share.
#[derive(Clone, Debug)]
pub struct Location {
    storage: Arc<dyn Storage>,
    prefix: PathBuf,
    files: Files,
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
    fn at(storage: &Arc<dyn Storage>, prefix: &Path) -> Option<Self> {
        let found = |prefix: &Path, files| {
            Some(Self {
                storage: Arc::clone(storage),
                prefix: prefix.to_owned(),
                files,
            })
        };
        if storage.is_file(&with_suffix(prefix, INDEX)) {
            return found(prefix, Files::Bundle);
        }
        if is_table(storage.as_ref(), prefix) && table_shard(file_name(prefix)).is_none() {
            return found(prefix, Files::Table);
        }
        let (base, count) = match table_shard(file_name(prefix)) {
            Some((base, count)) => (prefix.with_file_name(base), Some(count)),
            None => (prefix.to_owned(), None),
        };
        let names = storage.file_names(parent(&base)).ok()?;
        let shards = names
            .iter()
            .filter_map(|name| table_shard(name))
            .find(|(name, n)| *name == file_name(&base) && count.is_none_or(|count| *n == count));
        found(&base, Files::Tables(shards?.1))
    }

    /// The path that the files share, such as `runs/model.ckpt-400`.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// The folder that the files are in.
    pub fn folder(&self) -> &Path {
        parent(&self.prefix)
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

    /// The last part of the prefix, such as `model.ckpt-400`.
    pub fn name(&self) -> String {
        file_name(&self.prefix).to_string_lossy().into_owned()
    }

    /// The training step, where the name ends in one: 400 in `model.ckpt-400`.
    pub fn step_in_name(&self) -> Option<u64> {
        step_of(file_name(&self.prefix))
    }

    /// True for the files behind the prefix: `PREFIX`, `PREFIX.index`, `PREFIX-00000-of-00002`. The state
    /// file and other checkpoints, which training goes on writing, are none of them.
    pub(super) fn is_part(&self, path: &Path) -> bool {
        let prefix = self.prefix.as_os_str().as_encoded_bytes();
        let rest = path.as_os_str().as_encoded_bytes().strip_prefix(prefix);
        rest.is_some_and(|rest| matches!(rest, [] | [b'.' | b'-', ..]))
    }

    /// The index of a bundle, `PREFIX.index`.
    pub fn index_path(&self) -> PathBuf {
        with_suffix(&self.prefix, INDEX)
    }

    /// The training graph, `PREFIX.meta`, which need not exist.
    pub fn meta_path(&self) -> PathBuf {
        with_suffix(&self.prefix, META)
    }

    /// A file with values: `PREFIX.data-00000-of-00001` of a bundle, a table of a V1 checkpoint.
    pub fn data_path(&self, shard: usize, shard_count: usize) -> PathBuf {
        let shard = match self.files {
            Files::Bundle => format!(".data-{shard:05}-of-{shard_count:05}"),
            Files::Table => String::new(),
            Files::Tables(_) => format!("-{shard:05}-of-{shard_count:05}"),
        };
        with_suffix(&self.prefix, &shard)
    }

    /// The tables of a V1 checkpoint as one pattern, as TensorFlow takes them.
    #[cfg(feature = "tensorflow")]
    pub(super) fn table_pattern(&self) -> PathBuf {
        match self.files {
            Files::Tables(count) => with_suffix(&self.prefix, &format!("-?????-of-{count:05}")),
            Files::Bundle | Files::Table => self.prefix.clone(),
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
    refuse_addresses(path)?;
    match Archive::behind(path)? {
        Some((archive, path)) => Finder::new(archive).locate(&path, step),
        None => Finder::new(Disk::default()).locate(path, step),
    }
}

/// Finds checkpoints in one storage.
struct Finder {
    storage: Arc<dyn Storage>,
}

impl Finder {
    fn new(storage: impl Storage + 'static) -> Self {
        Self {
            storage: Arc::new(storage),
        }
    }

    fn locate(&self, path: &Path, step: Option<u64>) -> Result<Location, Error> {
        if self.storage.is_dir(path) {
            return self.below(path, step);
        }
        if path.file_name() == Some(OsStr::new(STATE_FILE)) && self.storage.is_file(path) {
            let folder = parent(path);
            return self.in_folder(folder, self.all_in(folder)?, step);
        }
        let prefix = strip_suffix(path);
        let exact = Location::at(&self.storage, &prefix);
        let Some(step) = step else {
            return exact.ok_or_else(|| self.not_found(path));
        };
        // `--step 400 model.ckpt` is `model.ckpt-400`.
        exact
            .filter(|location| location.step_in_name() == Some(step))
            .or_else(|| Location::at(&self.storage, &with_suffix(&prefix, &format!("-{step}"))))
            .ok_or_else(|| self.no_step(path, step, parent(&prefix)))
    }

    /// Looks in a folder, and where checkpoints may lie deeper, in those below it.
    fn below(&self, folder: &Path, step: Option<u64>) -> Result<Location, Error> {
        let mut inhabited = Vec::new();
        for folder in self.storage.folders(folder) {
            let found = self.all_in(&folder)?;
            if !found.is_empty() {
                inhabited.push((folder, found));
            }
        }
        if inhabited.len() < 2 {
            let only = inhabited.pop();
            let (folder, found) = only.unwrap_or_else(|| (folder.to_owned(), Vec::new()));
            return self.in_folder(&folder, found, step);
        }
        let found = inhabited.into_iter().flat_map(|(_, found)| found);
        let is_meant = |at: &Location| step.is_none_or(|_| at.step_in_name() == step);
        let mut found: Vec<Location> = found.filter(is_meant).collect();
        match found.len() {
            0 => Err(self.no_step(folder, step.unwrap_or_default(), folder)),
            1 => Ok(found.remove(0)),
            _ => Err(Error::Ambiguous {
                path: folder.to_owned(),
                names: listed(&found, |at| at.prefix.display().to_string()),
            }),
        }
    }

    /// Picks one of the checkpoints that were found in a folder.
    fn in_folder(
        &self,
        folder: &Path,
        mut found: Vec<Location>,
        step: Option<u64>,
    ) -> Result<Location, Error> {
        let ambiguous = |found: &[Location]| Error::Ambiguous {
            path: folder.to_owned(),
            names: listed(found, Location::name),
        };
        if let Some(step) = step {
            found.retain(|location| location.step_in_name() == Some(step));
            return match found.len() {
                0 => Err(self.no_step(folder, step, folder)),
                1 => Ok(found.remove(0)),
                _ => Err(ambiguous(&found)),
            };
        }
        let listing = || self.listing(folder);
        if let Some(latest) = state_file::latest(self.storage.as_ref(), folder, listing)? {
            let stated = PathBuf::from(&latest);
            let beside = stated.file_name().map(|name| folder.join(name));
            // `join` keeps an absolute path as it is; `gs://…` is then simply not found.
            return Location::at(&self.storage, &folder.join(&stated))
                .or_else(|| Location::at(&self.storage, &beside?))
                .ok_or_else(|| Error::NotFound {
                    path: folder.to_owned(),
                    found: format!(
                        "its `{STATE_FILE}` file names {latest}, which is not there; {}",
                        self.listing(folder)
                    ),
                });
        }
        match found.len() {
            0 => Err(self.not_found(folder)),
            1 => Ok(found.remove(0)),
            _ => Err(ambiguous(&found)),
        }
    }

    /// The checkpoints in a folder, by step, then by name.
    fn all_in(&self, folder: &Path) -> Result<Vec<Location>, Error> {
        let names = self
            .storage
            .file_names(folder)
            .map_err(|source| Error::reading(folder, source))?;
        let mut prefixes: Vec<OsString> = names
            .iter()
            .filter_map(|name| {
                let path = Path::new(name);
                match table_shard(name) {
                    _ if path.extension() == Some(OsStr::new(&INDEX[1..])) => {
                        path.file_stem().map(OsStr::to_owned)
                    }
                    Some((base, _)) => Some(base.to_owned()),
                    None => may_be_table(name, &names).then(|| name.clone()),
                }
            })
            .collect();
        prefixes.sort_by_cached_key(|name| (step_of(name), name.clone()));
        prefixes.dedup();
        Ok(prefixes
            .iter()
            .filter_map(|name| Location::at(&self.storage, &folder.join(name)))
            .collect())
    }

    fn no_step(&self, path: &Path, step: u64, folder: &Path) -> Error {
        Error::NotFound {
            path: path.to_owned(),
            found: format!("there is none of step {step}; {}", self.listing(folder)),
        }
    }

    /// The error for a path that leads nowhere, with what lies nearest.
    fn not_found(&self, path: &Path) -> Error {
        let is_dir = |path| self.storage.is_dir(path);
        let folder = if is_dir(path) { path } else { parent(path) };
        let mut found = if self.storage.is_file(path) {
            "the file is no part of a checkpoint, or cut short".to_owned()
        } else if is_dir(path) {
            "the folder has no .index file and no V1 checkpoint".to_owned()
        } else if is_dir(folder) {
            format!("there is no {}{INDEX}", strip_suffix(path).display())
        } else {
            format!("there is no folder {}", folder.display())
        };
        if let Some(meant) = self.meant(path) {
            let _ = write!(found, "; did you mean {}?", meant.display());
        } else if is_dir(folder) && !is_dir(path) {
            let _ = write!(found, "; {}", self.listing(folder));
        }
        Error::NotFound {
            path: path.to_owned(),
            found,
        }
    }

    /// The folder whose name is mistyped in a path, if there is one with nearly that name.
    fn meant(&self, path: &Path) -> Option<PathBuf> {
        let is_missing = |path: &&Path| !self.storage.is_dir(path) && !self.storage.is_file(path);
        let missing = path.ancestors().take_while(is_missing).last()?;
        let name = missing.file_name()?.to_str()?;
        let names = self.storage.file_names(parent(missing)).ok()?;
        let near = names.iter().filter_map(|found| {
            let distance = strsim::damerau_levenshtein(found.to_str()?, name);
            (distance <= MAX_TYPING_ERRORS).then(|| (distance, missing.with_file_name(found)))
        });
        let mut folders: Vec<_> = near.filter(|(_, path)| self.storage.is_dir(path)).collect();
        folders.sort();
        folders.into_iter().next().map(|(_, path)| path)
    }

    /// The checkpoints of a folder, as the end of an error.
    fn listing(&self, folder: &Path) -> String {
        let folders = self.storage.folders(folder);
        let found = folders.iter().flat_map(|folder| self.all_in(folder));
        let found: Vec<Location> = found.flatten().collect();
        if found.is_empty() {
            return format!("{} holds no checkpoint", folder.display());
        }
        let below = |at: &Location| {
            let below = at.prefix.strip_prefix(folder).unwrap_or(&at.prefix);
            below.display().to_string()
        };
        let names = listed(&found, below).join(", ");
        format!("{} holds {names}", folder.display())
    }
}

/// Refuses addresses of places that are not on this disk.
fn refuse_addresses(path: &Path) -> Result<(), Error> {
    let text = path.to_string_lossy();
    let copy = match text.split_once("://") {
        Some(("gs", _)) => format!("gsutil cp '{text}*' ."),
        Some(("s3", _)) => "aws s3 cp".to_owned(),
        Some(("http" | "https", _)) => "curl -O".to_owned(),
        _ => return Ok(()),
    };
    Err(Error::Unsupported {
        path: path.to_owned(),
        kind: "not on this disk".into(),
        advice: format!("copy its files here first ({copy})"),
    })
}

const INDEX: &str = ".index";
const META: &str = ".meta";

/// True when there is a file that ends as a table does.
fn is_table(storage: &dyn Storage, path: &Path) -> bool {
    storage.is_file(path)
        && storage
            .open(path)
            .is_ok_and(|file| sstable::has_magic(&file))
}

/// True when a file may be a V1 checkpoint by its name alone, which is whatever the user chose: the
/// one that everybody chooses, or one that a training graph lies beside.
fn may_be_table(name: &OsStr, names: &[OsString]) -> bool {
    let meta = with_suffix(Path::new(name), META);
    let path = Path::new(name);
    strip_suffix(path) == path
        && (name.to_string_lossy().contains(".ckpt") || names.iter().any(|name| *name == meta))
}

/// The prefix of a checkpoint's file; any other path unchanged.
fn strip_suffix(path: &Path) -> PathBuf {
    let is_data = |extension: &str| {
        extension
            .strip_prefix("data-")
            .and_then(|rest| rest.split_once("-of-"))
            .is_some_and(|(a, b)| [a, b].iter().all(|s| s.len() >= 5 && is_number(s)))
    };
    match path.extension().and_then(OsStr::to_str) {
        Some(extension) if matches!(extension, "index" | "meta") || is_data(extension) => {
            path.with_extension("")
        }
        _ => path.to_owned(),
    }
}

/// Takes the name of a V1 checkpoint's table apart: `model.ckpt-400` and 2 of
/// `model.ckpt-400-00000-of-00002`, or of `model.ckpt-400-?????-of-00002`, as state files have it.
fn table_shard(name: &OsStr) -> Option<(&OsStr, usize)> {
    let (rest, count) = name.to_str()?.rsplit_once("-of-")?;
    let (base, shard) = rest.rsplit_once('-')?;
    let is_shard = |text: &str| text == "?????" || (text.len() >= 5 && is_number(text));
    let is_data = Path::new(base).extension() == Some(OsStr::new("data"));
    let is_table = is_shard(shard) && is_shard(count) && !base.is_empty() && !is_data;
    Some((OsStr::new(base), count.parse().ok()?)).filter(|_| is_table)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The number behind the last hyphen.
fn step_of(name: &OsStr) -> Option<u64> {
    let (_, step) = name.to_str()?.rsplit_once('-')?;
    is_number(step).then(|| step.parse().ok())?
}

/// The first few names, and how many more there are.
fn listed(found: &[Location], name: impl Fn(&Location) -> String) -> Vec<String> {
    let mut names: Vec<String> = found.iter().take(MAX_LISTED).map(name).collect();
    if found.len() > MAX_LISTED {
        names.push(format!("and {} more", found.len() - MAX_LISTED));
    }
    names
}

/// The folder of a path; `.` for a bare name.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn file_name(path: &Path) -> &OsStr {
    path.file_name().unwrap_or(path.as_os_str())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}
