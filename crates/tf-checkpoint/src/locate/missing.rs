//! Errors for paths without a checkpoint: what is there instead, and what to do.
//!
//! The error does not depend on how the path is given: the file itself, the directory that holds it,
//! or a prefix that leads to it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::finder::{Finder, MAX_LISTED};
use crate::error::Error;
use crate::foreign::Start;
use crate::formats::Format;
use crate::locate::prefix::{INDEX, META, Prefix, is_part};
use crate::storage::regular::Kind;

/// The largest edit distance of a name that is suggested.
const MAX_TYPING_ERRORS: usize = 2;
/// The most files of a directory, and the most directories, that are examined.
const MAX_LOOKED_AT: usize = 100;
/// Returns the error for a path that leads to no checkpoint.
///
/// # Errors
/// If reading a directory or a file fails.
pub(crate) fn explain(finder: &Finder, path: &Path) -> Result<Error, Error> {
    match recognised(finder, path)? {
        Some(error) => Ok(error),
        None => plain(finder, path, finder.kind(path)?),
    }
}

/// Returns the error for what is recognised at a path; `None` if nothing is.
pub(crate) fn recognised(finder: &Finder, path: &Path) -> Result<Option<Error>, Error> {
    match finder.kind(path)? {
        Some(Kind::Directory) => match in_directory(finder, path)? {
            None if path.file_name().is_some_and(is_part) => lone_part(finder, &Prefix::of(path)),
            error => Ok(error),
        },
        Some(Kind::File) => match lone_part(finder, &Prefix::of(path))? {
            Some(error) => Ok(Some(error)),
            None => start(finder, path, |start| start.given()),
        },
        Some(other @ Kind::Other(_)) => {
            let error = other.check().err();
            Ok(error.map(|error| Error::reading(path, error)))
        }
        None => behind_prefix(finder, path),
    }
}

/// Returns that a directory holds no checkpoint of any format.
fn holds_none() -> String {
    let formats = Format::ALL.map(|format| format.to_string());
    format!("the directory holds no checkpoint ({})", formats.join(", "))
}

/// Returns the error for a path where nothing is recognised, with the nearest names.
fn plain(finder: &Finder, path: &Path, kind: Option<Kind>) -> Result<Error, Error> {
    let prefix = Prefix::of(path);
    let folder = prefix.directory();
    let mut found = match kind {
        Some(Kind::Directory) => {
            let names = finder.names(path)?.unwrap_or_default();
            let mut found = holds_none();
            if !names.is_empty() {
                found.push_str(&format!("; it holds {}", listed(names)));
            }
            found
        }
        Some(_) => "the file is not part of a checkpoint, or it is cut short".to_owned(),
        None if finder.kind(folder)? == Some(Kind::Directory) => {
            format!("there is no {}", prefix.with(INDEX).display())
        }
        None if !finder.storage.lists_directories() => format!(
            "there is no {}; a web server lists no directories: give the prefix of a checkpoint, one of its files, or an \
             archive",
            prefix.with(INDEX).display()
        ),
        None => format!("there is no directory {}", folder.display()),
    };
    let meant = meant(finder, path);
    if let Some(meant) = &meant {
        found.push_str(&format!("; did you mean {}?", meant.display()));
    } else if kind != Some(Kind::Directory) && finder.kind(folder)? == Some(Kind::Directory) {
        found.push_str(&format!("; {}", finder.listing(folder)));
    }
    Ok(Error::NotFound {
        path: path.to_owned(),
        found,
        checkpoint: None,
    })
}

fn listed(mut names: Vec<OsString>) -> String {
    names.sort();
    let more = names.len().saturating_sub(MAX_LISTED);
    names.truncate(MAX_LISTED);
    let names: Vec<_> = names.iter().map(|name| name.to_string_lossy()).collect();
    match more {
        0 => names.join(", "),
        _ => format!("{}, and {more} more", names.join(", ")),
    }
}

/// Returns the error for the first recognised file of a directory, or else of the directories in it.
fn in_directory(finder: &Finder, path: &Path) -> Result<Option<Error>, Error> {
    let mut folders = finder.folders(path)?;
    folders.truncate(MAX_LOOKED_AT);
    let mut deeper = Vec::new();
    for folder in &folders {
        let (error, directories) = among_files(finder, folder)?;
        if error.is_some() {
            return Ok(error);
        }
        deeper.extend(directories);
    }
    for directory in deeper {
        let found = finder.all_in(&directory)?;
        if let Some(location) = found.first() {
            return Ok(Some(Error::NotFound {
                path: path.to_owned(),
                found: format!(
                    "{}; did you mean {}?",
                    holds_none(),
                    location.folder().display()
                ),
                checkpoint: Some(location.folder().to_owned()),
            }));
        }
        let (error, _) = among_files(finder, &directory)?;
        if error.is_some() {
            return Ok(error);
        }
    }
    Ok(None)
}

/// Returns the error for the files of a directory, and the directories in it.
fn among_files(finder: &Finder, folder: &Path) -> Result<(Option<Error>, Vec<PathBuf>), Error> {
    let mut names = finder.names(folder)?.unwrap_or_default();
    names.sort();
    if let Some(part) = names.iter().find(|name| is_part(name)) {
        let error = lone_part(finder, &Prefix::of(&folder.join(part)))?;
        if error.is_some() {
            return Ok((error, Vec::new()));
        }
    }
    names.truncate(MAX_LOOKED_AT);
    let mut directories = Vec::new();
    let mut best: Option<(usize, Error)> = None;
    for path in names.iter().map(|name| folder.join(name)) {
        match finder.kind(&path)? {
            Some(Kind::Directory) => directories.push(path),
            // A page under its own name, such as a report, is in no other file's place.
            Some(Kind::File) if !is_page(&path) => {
                let Some((rank, error)) = start(finder, &path, |start| start.beside())? else {
                    continue;
                };
                if best.as_ref().is_none_or(|(least, _)| rank < *least) {
                    best = Some((rank, error));
                }
            }
            _ => {}
        }
    }
    Ok((best.map(|(_, error)| error), directories))
}

fn is_page(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("html"))
}

/// Returns the error for a prefix whose own files are not those of a checkpoint.
fn behind_prefix(finder: &Finder, path: &Path) -> Result<Option<Error>, Error> {
    let prefix = Prefix::of(path);
    if let Some(error) = lone_part(finder, &prefix)? {
        return Ok(Some(error));
    }
    // `electra_small` of `electra_small.tar.gz`
    let mut names = finder.names(prefix.directory())?.unwrap_or_default();
    names.sort();
    let base = prefix.base().as_encoded_bytes();
    let is_behind = |name: &OsString| {
        let rest = name.as_encoded_bytes().strip_prefix(base);
        !base.is_empty() && rest.is_some_and(|rest| rest.starts_with(b"."))
    };
    for name in names
        .iter()
        .filter(|name| is_behind(name))
        .take(MAX_LOOKED_AT)
    {
        let path = prefix.directory().join(name);
        if finder.kind(&path)? != Some(Kind::File) {
            continue;
        }
        if let Some((_, error)) = start(finder, &path, |start| start.beside())? {
            return Ok(Some(error));
        }
    }
    Ok(None)
}

/// Returns the error for files of a checkpoint whose index is missing, or is not a regular file.
fn lone_part(finder: &Finder, prefix: &Prefix) -> Result<Option<Error>, Error> {
    let index = prefix.with(INDEX);
    if let Some(kind) = finder.kind(&index)? {
        let error = kind.check().err();
        return Ok(error.map(|error| Error::reading(&index, error)));
    }
    let mut names = finder.names(prefix.directory())?.unwrap_or_default();
    names.retain(|name| is_part(name) && prefix.is_of(&prefix.directory().join(name)));
    if names.is_empty() {
        return Ok(None);
    }
    names.sort();
    // A stand-in for a data file explains more than the missing index.
    for name in &names {
        let path = prefix.directory().join(name);
        if finder.kind(&path)? == Some(Kind::File)
            && let Some(error) = finder.storage.stand_in(&path)
        {
            return Ok(Some(error));
        }
    }
    let only_graph = names
        .iter()
        .all(|name| name.as_encoded_bytes().ends_with(META.as_bytes()));
    let what = if only_graph {
        "a training graph, which holds no values; the checkpoint's .index and .data files are \
                 missing: copy them to the same directory"
    } else {
        "the .index file of the checkpoint is missing, without which its .data files cannot be \
                  read: copy it to the same directory"
    };
    Ok(Some(Error::NotFound {
        path: prefix.path().to_owned(),
        found: format!(
            "there is {}, but no {}: {what}",
            listed(names),
            index.display()
        ),
        checkpoint: None,
    }))
}

/// Applies `judge` to the start of a file.
fn start<T>(
    finder: &Finder,
    path: &Path,
    judge: impl Fn(Start<'_>) -> Option<T>,
) -> Result<Option<T>, Error> {
    let bytes = finder.storage.start(path);
    let bytes = bytes.map_err(|source| Error::reading(path, source))?;
    Ok(judge(Start {
        bytes: &bytes,
        path,
        in_archive: finder.storage.archive().is_some(),
    }))
}

/// Returns the directory that a path with a mistyped component may have meant.
fn meant(finder: &Finder, path: &Path) -> Option<PathBuf> {
    let is_missing = |path: &&Path| matches!(finder.storage.kind(path), Ok(None));
    let missing = path.ancestors().take_while(is_missing).last()?;
    let name = missing.file_name()?.to_str()?;
    let names = finder.names(Prefix::of(missing).directory()).ok()??;
    let near = names.iter().filter_map(|found| {
        let distance = strsim::damerau_levenshtein(found.to_str()?, name);
        (distance <= MAX_TYPING_ERRORS).then(|| (distance, missing.with_file_name(found)))
    });
    let is_directory = |path: &Path| finder.storage.kind(path).ok() == Some(Some(Kind::Directory));
    let mut folders: Vec<_> = near.filter(|(_, path)| is_directory(path)).collect();
    folders.sort();
    folders.into_iter().next().map(|(_, path)| path)
}
