//! The file `checkpoint`, in which TensorFlow notes the latest checkpoint of a folder.
//!
//! It is the text form of a `CheckpointState`, of which one line matters. The path in it is often
//! that of another machine; what to make of it is up to [`super::locate()`].

use std::io;
use std::path::Path;

use super::Error;
use super::source::Storage;

/// Its name.
pub(super) const STATE_FILE: &str = "checkpoint";
/// A state file is two lines and one more for each checkpoint kept.
const MAX_LEN: u64 = 1 << 20;

/// The latest checkpoint according to the folder's state file; `None` when it has none.
///
/// Errors end in `listing`, which says what the folder holds instead.
pub(super) fn latest(
    storage: &dyn Storage,
    folder: &Path,
    listing: impl Fn() -> String,
) -> Result<Option<String>, Error> {
    let path = folder.join(STATE_FILE);
    let bad = |found: &str| Error::NotFound {
        path: path.clone(),
        found: format!("{found}; {}", listing()),
    };
    let text = storage
        .read_if_there(&path, MAX_LEN)
        .map_err(|source| match source.kind() {
            io::ErrorKind::FileTooLarge => bad("the file is too large for a checkpoint state"),
            _ => Error::reading(&path, source),
        })?;
    let Some(text) = text else {
        return Ok(None);
    };
    let text = String::from_utf8(text).map_err(|_| bad("the file is not text"))?;
    let latest = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("model_checkpoint_path:"))
        .ok_or_else(|| bad("the file has no line model_checkpoint_path"))?;
    let quoted = latest
        .trim()
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .and_then(unescape);
    match quoted {
        Some(path) if !path.is_empty() => Ok(Some(path)),
        _ => Err(bad("its model_checkpoint_path is not a quoted path")),
    }
}

/// Undoes protobuf's C-style text escapes.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next()? {
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
            quote @ (b'"' | b'\'' | b'\\') => quote,
            _ => return None,
        });
    }
    String::from_utf8(bytes).ok()
}
