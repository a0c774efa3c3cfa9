//! The state file `checkpoint`, in which TensorFlow records the latest checkpoint of a directory.
//!
//! It is a `CheckpointState` in protobuf's text format, of which only `model_checkpoint_path` is read.
//! The path is often one of another machine; [`crate::locate`] decides what to do with it.

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::error::Error;
use crate::storage::Storage;
use crate::storage::regular::Kind;

/// The name of the state file.
pub(crate) const STATE_FILE: &str = "checkpoint";
/// The name of the field that is read.
const KEY: &str = "model_checkpoint_path";
/// The largest state file read, in bytes. It has two lines and one more for each checkpoint kept.
const MAX_LEN: u64 = 1 << 20;

/// Returns the prefix of the latest checkpoint according to a directory's state file; `None` if there is
/// no state file.
///
/// Errors end in `listing`, a list of the checkpoints in the directory.
pub(crate) fn latest(
    storage: &dyn Storage,
    folder: &Path,
    listing: impl Fn() -> String,
) -> Result<Option<String>, Error> {
    let path = folder.join(STATE_FILE);
    let bad = |found: &str| Error::NotFound {
        path: path.clone(),
        found: format!("{found}; {}", listing()),
        checkpoint: None,
    };
    let reading = |source| Error::reading(&path, source);
    // A directory of this name may hold checkpoints.
    if let None | Some(Kind::Directory) = storage.kind(&path).map_err(reading)? {
        return Ok(None);
    }
    let text = storage
        .read_if_there(&path, MAX_LEN)
        .map_err(|source| match source.kind() {
            io::ErrorKind::FileTooLarge => bad("the file is too large for a checkpoint state"),
            _ => reading(source),
        })?;
    let Some(text) = text else {
        return Ok(None);
    };
    parse(&text)
        .map_err(|found| storage.stand_in(&path).unwrap_or_else(|| bad(found)))
        .map(Some)
}

/// Returns the path in the text of a state file, or what is wrong with it.
fn parse(text: &[u8]) -> Result<String, &'static str> {
    let text = std::str::from_utf8(text).map_err(|_| "the file is not text")?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut latest = text.lines().filter_map(|line| {
        let value = line.trim().strip_prefix(KEY)?.trim_start();
        value.strip_prefix(':')
    });
    let first = latest
        .next()
        .ok_or("the file has no line model_checkpoint_path")?;
    if latest.any(|other| other.trim() != first.trim()) {
        return Err("the file has several lines model_checkpoint_path, which differ");
    }
    quoted(first.trim()).ok_or("its model_checkpoint_path is not a quoted path")
}

/// Decodes a quoted string of protobuf's text format.
fn quoted(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    unescape(inner).filter(|path| !path.contains('\0'))
}

/// Decodes protobuf's C-style escapes. A backslash before any other letter is kept, because it is part
/// of a Windows path written by hand.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let escaped = match rest.next()? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            digit @ b'0'..=b'7' => {
                let mut value = u32::from(digit - b'0');
                for _ in 0..2 {
                    if let Some(digit) = rest.next_if(|b| (b'0'..=b'7').contains(b)) {
                        value = value * 8 + u32::from(digit - b'0');
                    }
                }
                u8::try_from(value).ok()?
            }
            b'x' | b'X' => {
                let mut digits = String::new();
                for _ in 0..2 {
                    digits.extend(rest.next_if(u8::is_ascii_hexdigit).map(char::from));
                }
                u8::from_str_radix(&digits, 16).ok()?
            }
            quote @ (b'"' | b'\'' | b'\\' | b'?') => quote,
            letter => {
                bytes.push(b'\\');
                letter
            }
        };
        bytes.push(escaped);
    }
    String::from_utf8(bytes).ok()
}

/// The paths that a state file may mean.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StatePaths {
    /// Paths below the directory, in the order in which they are tried.
    pub(crate) inside: Vec<PathBuf>,
    /// The path itself, if it leads out of the directory.
    pub(crate) outside: Option<PathBuf>,
}

impl StatePaths {
    /// Interprets the path in the state file of `folder`. It is often one of another machine; then its
    /// base name is looked for in the directory.
    pub(crate) fn new(listed: &str, folder: &Path) -> Self {
        let path = Path::new(listed);
        let is_plain = |path: &Path| {
            let mut components = path.components();
            components.all(|c| matches!(c, Component::Normal(_) | Component::CurDir))
        };
        let absolute = std::path::absolute(folder).ok();
        // An absolute path into the directory itself does not lead out of it.
        let below = absolute.and_then(|folder| path.strip_prefix(folder).ok());
        let below = below.unwrap_or(path);
        let is_address = listed.contains("://");
        let mut inside = Vec::new();
        let leads_out = is_address || !is_plain(below);
        if !leads_out {
            // The path `.` stands for an empty base name.
            let trimmed: PathBuf = below
                .components()
                .filter(|c| *c != Component::CurDir)
                .collect();
            let is_empty = trimmed.as_os_str().is_empty() || listed.ends_with('/');
            inside.push(if is_empty { trimmed.join("") } else { trimmed });
        }
        let behind = |mark| {
            listed
                .rsplit_once(mark)
                .map(|(_, base)| PathBuf::from(base))
        };
        let bases = [behind('/'), behind('\\')].into_iter().flatten();
        for base in bases.filter(|base| is_plain(base)) {
            if !inside.contains(&base) {
                inside.push(base);
            }
        }
        Self {
            inside,
            outside: (leads_out && !is_address).then(|| folder.join(path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_unquoted() {
        for (text, expected) in [
            ("model_checkpoint_path: \"m-4\"\n", Ok("m-4")),
            (
                "\u{feff}model_checkpoint_path: \"m-4\"\r\nall_model_checkpoint_paths: \"m-3\"\r\n",
                Ok("m-4"),
            ),
            ("model_checkpoint_path : 'a b'", Ok("a b")),
            (r#"model_checkpoint_path: "C:\\a\\m-4""#, Ok(r"C:\a\m-4")),
            (r#"model_checkpoint_path: "C:\a\m-4""#, Ok(r"C:\a\m-4")),
            (r#"model_checkpoint_path: "\303\274\x2d4""#, Ok("ü-4")),
            ("model_checkpoint_path: \"\"", Ok("")),
            (
                "model_checkpoint_path: \"a\nmodel_checkpoint_path: \"b\"",
                Err("differ"),
            ),
            ("model_checkpoint_path: m", Err("not a quoted")),
            (r#"model_checkpoint_path: "\x""#, Err("not a quoted")),
            (r#"model_checkpoint_path: "a\000b""#, Err("not a quoted")),
            ("", Err("no line")),
        ] {
            match (parse(text.as_bytes()), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text}"),
                (Err(found), Err(words)) => assert!(found.contains(words), "{text}: {found}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }

    #[test]
    fn paths_that_lead_out_are_followed_by_their_base_name() {
        let folder = Path::new("/runs/a");
        let listed = |text| {
            let StatePaths { inside, outside } = StatePaths::new(text, folder);
            let shown = |path: PathBuf| path.into_os_string().into_string().unwrap();
            let inside: Vec<String> = inside.into_iter().map(shown).collect();
            (inside.join(" or "), outside.map(shown))
        };
        for (text, inside, outside) in [
            ("m-4", "m-4", None),
            ("./m-4", "m-4", None),
            ("sub/m-4", "sub/m-4 or m-4", None),
            ("/runs/a/sub/m-4", "sub/m-4 or m-4", None),
            (".", "", None),
            ("", "", None),
            ("/runs/a/", "", None),
            ("../b/m-4", "m-4", Some("/runs/a/../b/m-4")),
            ("/b/m-4", "m-4", Some("/b/m-4")),
            ("/b/", "", Some("/b/")),
            ("gs://b/m-4", "m-4", None),
            (r"C:\a\m-4", r"C:\a\m-4 or m-4", None),
            ("..", "", Some("/runs/a/..")),
        ] {
            let outside = outside.map(str::to_owned);
            let inside = if text == ".." { "" } else { inside };
            assert_eq!(listed(text), (inside.to_owned(), outside), "{text}");
        }
    }
}
