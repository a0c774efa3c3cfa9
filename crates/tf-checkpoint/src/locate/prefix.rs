//! The names of a checkpoint's files.
//!
//! A checkpoint's files share a prefix: `runs/model.ckpt-400` stands for `runs/model.ckpt-400.index`,
//! `.meta` and `.data-00000-of-00001`, and in V1 for `runs/model.ckpt-400` itself or
//! `runs/model.ckpt-400-00000-of-00002`. `saver.save(session, "runs/")` leaves an empty base name:
//! `runs/.index`. Names are therefore split as text; `Path` would take `runs` for the base name.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::sys;

/// Suffix of a TensorBundle's index.
pub(crate) const INDEX: &str = ".index";
/// Suffix of the training graph.
pub(crate) const META: &str = ".meta";
/// The file with the graph of a SavedModel.
pub(crate) const SAVED_MODEL_GRAPH: &str = "saved_model.pb";

/// The path that a checkpoint's files share, in its parts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Prefix {
    path: PathBuf,
    directory: PathBuf,
    base: OsString,
}

impl Prefix {
    fn new(path: PathBuf) -> Self {
        let text = path.as_os_str().as_encoded_bytes();
        let base = base_name(text);
        let directory = &text[..text.len() - base.len()];
        Self {
            directory: match directory {
                [] => PathBuf::from("."),
                [parent @ .., _] => {
                    let directory = PathBuf::from(sys::os_string(directory));
                    // A root keeps its separator.
                    match directory.parent() {
                        None => directory,
                        Some(_) => sys::os_string(parent).into(),
                    }
                }
            },
            base: sys::os_string(base),
            path,
        }
    }

    /// Returns the prefix of a checkpoint's file; any other path is its own prefix.
    pub(crate) fn of(path: &Path) -> Self {
        let text = path.as_os_str().as_encoded_bytes();
        let base = base_name(text);
        let directory = text.len() - base.len();
        Self::new(match &text[..directory + without_suffix(base).len()] {
            // `.index` in the working directory.
            [] => PathBuf::from("./"),
            prefix => sys::os_string(prefix).into(),
        })
    }

    /// Returns the prefix with this base name in a directory.
    pub(crate) fn within(directory: &Path, base: &OsStr) -> Self {
        // Joining an empty name adds a separator.
        Self::new(directory.join(base))
    }

    /// Returns the prefix with `suffix`, such as `-400`, appended to the base name.
    pub(crate) fn extended(&self, suffix: &str) -> Self {
        Self::new(self.with(suffix))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the directory of the files; `.` for a bare name.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the part after the last separator, which may be empty.
    pub(crate) fn base(&self) -> &OsStr {
        &self.base
    }

    /// Returns the base name for display: `model.ckpt-400`, or `runs/` where it is empty.
    pub(crate) fn name(&self) -> String {
        if !self.base.is_empty() {
            return self.base.to_string_lossy().into_owned();
        }
        let directory = self.directory.file_name().unwrap_or(OsStr::new("."));
        format!("{}/", directory.to_string_lossy())
    }

    /// Returns the number after the last hyphen of the base name.
    pub(crate) fn step(&self) -> Option<u64> {
        step_of(&self.base)
    }

    /// Returns the path of the file with this suffix.
    pub(crate) fn with(&self, suffix: &str) -> PathBuf {
        let mut path = self.path.as_os_str().to_owned();
        path.push(suffix);
        path.into()
    }

    /// Returns true for the files of the prefix: `PREFIX`, `PREFIX.index`, `PREFIX-00000-of-00002`.
    pub(crate) fn is_of(&self, path: &Path) -> bool {
        let own = self.path.as_os_str();
        let text = path.as_os_str().as_encoded_bytes();
        let name = base_name(text);
        let directory = text.len() - name.len();
        let table = str::from_utf8(name).ok().and_then(split_table_name);
        Self::of(path).path.as_os_str() == own
            || table
                .is_some_and(|(base, _)| text[..directory + base.len()] == *own.as_encoded_bytes())
    }
}

/// Returns the part of a path after the last separator.
fn base_name(path: &[u8]) -> &[u8] {
    let separator = path.iter().rposition(|&byte| sys::is_separator(byte));
    separator.map_or(path, |at| &path[at + 1..])
}

/// Returns the name without `.index`, `.meta` or `.data-00000-of-00001`.
fn without_suffix(name: &[u8]) -> &[u8] {
    let dot = name.iter().rposition(|&byte| byte == b'.');
    match dot.map(|dot| name.split_at(dot)) {
        Some((base, suffix)) if is_suffix(suffix) => base,
        _ => name,
    }
}

fn is_suffix(suffix: &[u8]) -> bool {
    let is_data = |text: &str| {
        let numbers = text
            .strip_prefix(".data-")
            .and_then(|rest| rest.split_once("-of-"));
        numbers.is_some_and(|(a, b)| [a, b].iter().all(|s| s.len() >= 5 && is_number(s)))
    };
    str::from_utf8(suffix).is_ok_and(|text| text == INDEX || text == META || is_data(text))
}

/// Returns true for `model.ckpt-400.index`, `.meta` and `.data-00000-of-00001`.
pub(crate) fn is_part(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    without_suffix(name).len() < name.len()
}

/// Returns true for a directory in which a Saver writes the shards of a checkpoint before it moves them:
/// `model.ckpt-400_temp_0123abcd`, or `ckpt-4_temp`, with files such as `part-00000-of-00001.index`. Users may give
/// such names to directories, but not to their checkpoints.
///
/// Source: `_AddShardedSaveOpsForV2` in `training/saver.py`, `MultiDeviceSaver.save` in
/// `checkpoint/functional_saver.py`. On S3 the shards are beside the checkpoint: see [`is_unfinished_shard`].
pub(crate) fn is_unfinished_save(folder: &Path, names: &[OsString]) -> bool {
    let folder = folder.file_name().unwrap_or_default().to_string_lossy();
    let rest = folder.rsplit_once("_temp").map(|(_, rest)| rest);
    let is_save = rest.is_some_and(|rest| {
        let number = rest.strip_prefix('_').unwrap_or(rest);
        number.bytes().all(|byte| byte.is_ascii_hexdigit())
    });
    let is_shard = |name: &OsString| name.as_encoded_bytes().starts_with(b"part-");
    is_save && names.iter().all(is_shard)
}

/// Returns true for the base name of a shard that a Saver writes to S3 before it merges them:
/// `model.ckpt-400.part-00000-of-00001`.
pub(crate) fn is_unfinished_shard(base: &OsStr) -> bool {
    table_shard(base).is_some_and(|(base, _)| base.as_encoded_bytes().ends_with(b".part"))
}

/// Splits the name of a V1 checkpoint's table into base name and number of tables: `model.ckpt-400` and
/// 2 for `model.ckpt-400-00000-of-00002`, and for `model.ckpt-400-?????-of-00002`, as state files have
/// it.
pub(crate) fn table_shard(name: &OsStr) -> Option<(&OsStr, usize)> {
    let (base, count) = split_table_name(name.to_str()?)?;
    Some((OsStr::new(base), count))
}

fn split_table_name(name: &str) -> Option<(&str, usize)> {
    let (rest, count) = name.rsplit_once("-of-")?;
    let (base, shard) = rest.rsplit_once('-')?;
    let is_shard = |text: &str| text == "?????" || (text.len() >= 5 && is_number(text));
    let is_table = is_shard(shard) && is_shard(count) && !base.as_bytes().ends_with(b".data");
    Some((base, count.parse().ok()?)).filter(|_| is_table)
}

/// Returns the base name of the checkpoint that a file of this name may belong to; `None` if it belongs
/// to none. `has` returns true for the names of files in the same directory.
///
/// A V1 checkpoint is a file of any name: the usual names are recognised, and those that have a training
/// graph beside them.
pub(crate) fn base_of(name: &OsStr, has: impl Fn(&OsStr) -> bool) -> Option<OsString> {
    let bytes = name.as_encoded_bytes();
    // Training writes no hidden files. rsync names its partial copies so, and macOS its files of attributes.
    if bytes.starts_with(b".") && !without_suffix(bytes).is_empty() {
        return None;
    }
    if let Some(base) = bytes.strip_suffix(INDEX.as_bytes()) {
        return Some(sys::os_string(base)).filter(|base| !is_unfinished_shard(base));
    }
    if let Some((base, _)) = table_shard(name) {
        return Some(base.to_owned());
    }
    let mut meta = name.to_owned();
    meta.push(META);
    let text = name.to_string_lossy();
    // A file of a TensorBundle under another name, such as `.index.part` and `.data-00000-of-00001.tempstate12`.
    let is_partial = text.contains(".data-")
        || [INDEX, META]
            .iter()
            .any(|suffix| text.contains(&format!("{suffix}.")));
    let may_be_table = has(&meta) || (text.contains(".ckpt") && !is_partial);
    (may_be_table && !is_part(name)).then(|| name.to_owned())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Returns the number after the last hyphen.
pub(crate) fn step_of(name: &OsStr) -> Option<u64> {
    let (_, step) = name.to_str()?.rsplit_once('-')?;
    is_number(step).then(|| step.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_the_prefix_of_its_checkpoint() {
        for (path, prefix, directory, name, step) in [
            ("a/m-4.index", "a/m-4", "a", "m-4", Some(4)),
            ("a/m-4.data-00000-of-00001", "a/m-4", "a", "m-4", Some(4)),
            ("m.ckpt.meta", "m.ckpt", ".", "m.ckpt", None),
            ("a-4/.index", "a-4/", "a-4", "a-4/", None),
            ("a/.data-00000-of-00001", "a/", "a", "a/", None),
            ("a/-4.meta", "a/-4", "a", "-4", Some(4)),
            (".index", "./", ".", "./", None),
            ("/.meta", "/", "/", "./", None),
            ("a b/ü.index", "a b/ü", "a b", "ü", None),
        ] {
            let found = Prefix::of(Path::new(path));
            assert_eq!(found.path().as_os_str(), prefix, "{path}");
            assert_eq!(found.directory(), Path::new(directory), "{path}");
            assert_eq!(found.name(), name, "{path}");
            assert_eq!(found.step(), step, "{path}");
            assert!(found.is_of(Path::new(path)), "{path}");
        }
        let prefix = Prefix::within(Path::new("a"), OsStr::new("m-1"));
        for other in ["a/m-1.5.index", "a/m-10", "a/checkpoint", "b/m-1.index"] {
            assert!(!prefix.is_of(Path::new(other)), "{other}");
        }
        assert!(prefix.is_of(Path::new("a/m-1-00001-of-00002")));
        let empty = Prefix::within(Path::new("a"), OsStr::new(""));
        assert!(empty.is_of(Path::new("a/.index")));
        assert!(empty.is_of(Path::new("a/-00001-of-00002")));
        assert!(!empty.is_of(Path::new("a/checkpoint")));
    }
}
