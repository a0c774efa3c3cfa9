//! The names of a checkpoint's files.
//!
//! A checkpoint's files share a prefix: `runs/model.ckpt-400` stands for `runs/model.ckpt-400.index`,
//! `.meta` and `.data-00000-of-00001`, and in V1 for `runs/model.ckpt-400` itself or
//! `runs/model.ckpt-400-00000-of-00002`. `saver.save(session, "runs/")` leaves an empty base name:
//! `runs/.index`. Names are therefore taken apart as text; `Path` would take `runs` for the base name.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Suffix of a bundle's index.
pub(crate) const INDEX: &str = ".index";
/// Suffix of the training graph.
pub(crate) const META: &str = ".meta";

/// A prefix, with the directory in front.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Prefix(PathBuf);

impl Prefix {
    /// Returns the prefix of a checkpoint's file; any other path is a prefix already.
    pub(crate) fn of(path: &Path) -> Self {
        let text = path.as_os_str().as_bytes();
        let base = base_name(path);
        let directory = &text[..text.len() - base.len()];
        match &text[..directory.len() + without_suffix(base).len()] {
            // `.index` in the working directory.
            [] => Self(PathBuf::from("./")),
            prefix => Self(PathBuf::from(OsStr::from_bytes(prefix))),
        }
    }

    /// The prefix with this base name in a directory.
    pub(crate) fn within(directory: &Path, base: &OsStr) -> Self {
        // Joining an empty name adds a slash.
        Self(directory.join(base))
    }

    /// The prefix with a suffix that belongs to the base name, such as `-400`.
    pub(crate) fn extended(&self, suffix: &str) -> Self {
        Self(self.with(suffix))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The directory that the files are in; `.` for a bare name.
    pub(crate) fn directory(&self) -> &Path {
        let text = self.0.as_os_str().as_bytes();
        match text.iter().rposition(|&byte| byte == b'/') {
            None => Path::new("."),
            Some(0) => Path::new("/"),
            Some(slash) => Path::new(OsStr::from_bytes(&text[..slash])),
        }
    }

    /// The part behind the last slash, which may be empty.
    pub(crate) fn base(&self) -> &OsStr {
        OsStr::from_bytes(base_name(&self.0))
    }

    /// The base name for people: `model.ckpt-400`, or `runs/` where it is empty.
    pub(crate) fn name(&self) -> String {
        if !self.base().is_empty() {
            return self.base().to_string_lossy().into_owned();
        }
        let directory = self.directory().file_name();
        format!(
            "{}/",
            directory.unwrap_or(OsStr::new(".")).to_string_lossy()
        )
    }

    /// The number behind the last hyphen of the base name.
    pub(crate) fn step(&self) -> Option<u64> {
        step_of(self.base())
    }

    /// The path of the file with this suffix.
    pub(crate) fn with(&self, suffix: &str) -> PathBuf {
        let mut path = self.0.as_os_str().to_owned();
        path.push(suffix);
        path.into()
    }

    /// True for the files behind the prefix: `PREFIX`, `PREFIX.index`, `PREFIX-00000-of-00002`.
    pub(crate) fn is_of(&self, path: &Path) -> bool {
        let Self(prefix) = Self::of(path);
        let text = prefix.as_os_str().as_bytes();
        let own = self.0.as_os_str().as_bytes();
        text == own
            || table_shard(OsStr::from_bytes(base_name(path))).is_some_and(|(base, _)| {
                let directory = text.len() - base_name(&prefix).len();
                text[..directory + base.len()] == *own
            })
    }
}

/// What follows the last slash.
fn base_name(path: &Path) -> &[u8] {
    let text = path.as_os_str().as_bytes();
    let slash = text.iter().rposition(|&byte| byte == b'/');
    slash.map_or(text, |slash| &text[slash + 1..])
}

/// The name without `.index`, `.meta` or `.data-00000-of-00001`.
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
    std::str::from_utf8(suffix).is_ok_and(|text| text == INDEX || text == META || is_data(text))
}

/// True for `model.ckpt-400.index`, `.meta` and `.data-00000-of-00001`.
pub(crate) fn is_part(name: &OsStr) -> bool {
    without_suffix(name.as_bytes()).len() < name.len()
}

/// Takes the name of a V1 checkpoint's table apart: `model.ckpt-400` and 2 of
/// `model.ckpt-400-00000-of-00002`, or of `model.ckpt-400-?????-of-00002`, as state files have it.
pub(crate) fn table_shard(name: &OsStr) -> Option<(&OsStr, usize)> {
    let (rest, count) = name.to_str()?.rsplit_once("-of-")?;
    let (base, shard) = rest.rsplit_once('-')?;
    let is_shard = |text: &str| text == "?????" || (text.len() >= 5 && is_number(text));
    let is_data = base.as_bytes().ends_with(b".data");
    let is_table = is_shard(shard) && is_shard(count) && !is_data;
    Some((OsStr::new(base), count.parse().ok()?)).filter(|_| is_table)
}

/// The base name of the checkpoint that a file of this name may belong to; `None` if it belongs to
/// none. `has` says whether a file of another name is there too.
///
/// A V1 checkpoint is a file of any name: those that everybody chooses are recognised, and those that a
/// training graph lies beside.
pub(crate) fn base_of(name: &OsStr, has: impl Fn(&OsStr) -> bool) -> Option<OsString> {
    let bytes = name.as_bytes();
    // macOS leaves such files beside those that it copies or packs; they hold no contents.
    if bytes.starts_with(b"._") {
        return None;
    }
    if let Some(base) = bytes.strip_suffix(INDEX.as_bytes()) {
        return Some(OsStr::from_bytes(base).to_owned());
    }
    if let Some((base, _)) = table_shard(name) {
        return Some(base.to_owned());
    }
    let mut meta = name.to_owned();
    meta.push(META);
    let may_be_table = name.to_string_lossy().contains(".ckpt") || has(&meta);
    (may_be_table && !is_part(name)).then(|| name.to_owned())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The number behind the last hyphen.
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
