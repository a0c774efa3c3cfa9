//! Finds the checkpoint behind whatever a person types.
//!
//! A checkpoint has no file of its own name: `model.ckpt-400` stands for `model.ckpt-400.index`,
//! `.meta` and `.data-00000-of-00001`. People give the prefix, any of those files, the folder, or
//! the `checkpoint` state file that TensorFlow writes, whose paths are often those of another
//! machine. Nothing is guessed: where several would do, the error lists them.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::Error;

/// The file in which TensorFlow notes the latest checkpoint of a folder.
const STATE_FILE: &str = "checkpoint";
/// A state file is two lines and one more for each checkpoint kept.
const MAX_STATE_LEN: u64 = 1 << 20;
/// How many names an error lists.
const MAX_LISTED: usize = 8;

/// A checkpoint that was found: the prefix that its files share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    prefix: PathBuf,
}

impl Location {
    fn at(prefix: PathBuf) -> Option<Self> {
        let location = Self { prefix };
        location.index_path().is_file().then_some(location)
    }

    /// The path that the files share, such as `runs/model.ckpt-400`.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// The folder that the files are in.
    pub fn folder(&self) -> &Path {
        parent(&self.prefix)
    }

    /// The last part of the prefix, such as `model.ckpt-400`.
    pub fn name(&self) -> String {
        file_name(&self.prefix)
    }

    /// The training step, where the name ends in one: 400 in `model.ckpt-400`.
    pub fn step_in_name(&self) -> Option<u64> {
        step_of(self.name())
    }

    /// The index, `PREFIX.index`.
    pub fn index_path(&self) -> PathBuf {
        with_suffix(&self.prefix, ".index")
    }

    /// The training graph, `PREFIX.meta`, which need not exist.
    pub fn meta_path(&self) -> PathBuf {
        with_suffix(&self.prefix, ".meta")
    }

    /// A data file, `PREFIX.data-00000-of-00001`.
    pub fn data_path(&self, shard: usize, shard_count: usize) -> PathBuf {
        with_suffix(
            &self.prefix,
            &format!(".data-{shard:05}-of-{shard_count:05}"),
        )
    }
}

/// Finds the checkpoint at `path`: a prefix, one of its files, or a folder. `step` picks one of
/// several.
pub fn locate(path: &Path, step: Option<u64>) -> Result<Location, Error> {
    refuse_other_containers(path)?;
    if path.is_dir() {
        return in_folder(path, step);
    }
    if path.file_name() == Some(OsStr::new(STATE_FILE)) && path.is_file() {
        return in_folder(parent(path), step);
    }
    let prefix = strip_suffix(path);
    let exact = Location::at(prefix.clone());
    let Some(step) = step else {
        return exact.ok_or_else(|| not_found(path));
    };
    // `--step 400 model.ckpt` is `model.ckpt-400`.
    exact
        .filter(|location| location.step_in_name() == Some(step))
        .or_else(|| Location::at(with_suffix(&prefix, &format!("-{step}"))))
        .ok_or_else(|| no_step(path, step, parent(&prefix)))
}

fn in_folder(folder: &Path, step: Option<u64>) -> Result<Location, Error> {
    let names = names_in(folder)?;
    if let Some(step) = step {
        let mut at_step = names.iter().filter(|name| step_of(name) == Some(step));
        return match (at_step.next(), at_step.next()) {
            (Some(name), None) => Ok(Location {
                prefix: folder.join(name),
            }),
            (Some(_), Some(_)) => Err(Error::Ambiguous {
                path: folder.to_owned(),
                names: names
                    .iter()
                    .filter(|name| step_of(name) == Some(step))
                    .map(|name| PathBuf::from(name).display().to_string())
                    .collect(),
            }),
            (None, _) => Err(no_step(folder, step, folder)),
        };
    }
    if let Some(latest) = latest_in_state(folder)? {
        let stated = PathBuf::from(&latest);
        let beside = stated.file_name().map(|name| folder.join(name));
        // `join` keeps an absolute path as it is; `gs://…` is then simply not found.
        return Location::at(folder.join(&stated))
            .or_else(|| Location::at(beside?))
            .ok_or_else(|| Error::NotFound {
                path: folder.to_owned(),
                found: format!(
                    "its `{STATE_FILE}` file names {latest}, which is not there; {}",
                    listing(folder)
                ),
            });
    }
    match names.as_slice() {
        [] => Err(not_found(folder)),
        [name] => Ok(Location {
            prefix: folder.join(name),
        }),
        _ => Err(Error::Ambiguous {
            path: folder.to_owned(),
            names: display(&names),
        }),
    }
}

/// The latest checkpoint according to the folder's state file, if it has one.
fn latest_in_state(folder: &Path) -> Result<Option<String>, Error> {
    let path = folder.join(STATE_FILE);
    let io_error = |source| Error::Io {
        path: path.clone(),
        source,
    };
    let len = match fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(error)),
    };
    let bad = |found: &str| Error::NotFound {
        path: path.clone(),
        found: format!("{found}; {}", listing(folder)),
    };
    if len > MAX_STATE_LEN {
        return Err(bad("the file is too large for a checkpoint state"));
    }
    let text = fs::read(&path).map_err(io_error)?;
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

/// Names of the checkpoints in a folder, by step, then by name.
fn names_in(folder: &Path) -> Result<Vec<OsString>, Error> {
    let io_error = |source| Error::Io {
        path: folder.to_owned(),
        source,
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(io_error)? {
        let path = PathBuf::from(entry.map_err(io_error)?.file_name());
        if path.extension() == Some(OsStr::new("index"))
            && let Some(stem) = path.file_stem()
        {
            names.push(stem.to_owned());
        }
    }
    names.sort_by_cached_key(|name| (step_of(name), name.clone()));
    Ok(names)
}

/// Containers that a later reader may learn, and places that are not on this disk.
fn refuse_other_containers(path: &Path) -> Result<(), Error> {
    let text = path.to_string_lossy();
    let unsupported = |kind: &str, advice: String| {
        Err(Error::Unsupported {
            path: path.to_owned(),
            kind: kind.into(),
            advice,
        })
    };
    if let Some((scheme @ ("gs" | "s3" | "http" | "https"), _)) = text.split_once("://") {
        let copy = match scheme {
            "gs" => format!("gsutil cp '{text}*' ."),
            "s3" => "aws s3 cp".to_owned(),
            _ => "curl -O".to_owned(),
        };
        return unsupported(
            "not on this disk",
            format!("copy its files here first ({copy})"),
        );
    }
    if path.is_file() && text.ends_with(".zip") {
        return unsupported("an archive", "unpack it first and give the folder".into());
    }
    if path.is_file() && strip_suffix(path) == path && is_table(path) {
        return unsupported(
            "a V1 checkpoint",
            "load and save it again with tf.compat.v1.train.Saver, whose default is V2".into(),
        );
    }
    Ok(())
}

/// True when the file can be opened as a table.
fn is_table(path: &Path) -> bool {
    super::source::LocalFile::open(path).is_ok_and(|file| super::sstable::Table::open(file).is_ok())
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

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The number behind the last hyphen.
fn step_of(name: impl AsRef<OsStr>) -> Option<u64> {
    let name = name.as_ref().to_str()?;
    let (_, step) = name.rsplit_once('-')?;
    is_number(step).then(|| step.parse().ok())?
}

fn no_step(path: &Path, step: u64, folder: &Path) -> Error {
    Error::NotFound {
        path: path.to_owned(),
        found: format!("there is none of step {step}; {}", listing(folder)),
    }
}

/// The error for a path that leads nowhere, with what lies nearest.
fn not_found(path: &Path) -> Error {
    let folder = if path.is_dir() { path } else { parent(path) };
    let mut found = if path.is_file() {
        "the file is no part of a checkpoint".to_owned()
    } else if path.is_dir() {
        "the folder has no .index file".to_owned()
    } else if folder.is_dir() {
        format!("there is no {}.index", strip_suffix(path).display())
    } else {
        format!("there is no folder {}", folder.display())
    };
    if folder.is_dir() && !path.is_dir() {
        let _ = write!(found, "; {}", listing(folder));
    }
    Error::NotFound {
        path: path.to_owned(),
        found,
    }
}

/// The checkpoints of a folder, as the end of an error.
fn listing(folder: &Path) -> String {
    match names_in(folder) {
        Ok(names) if !names.is_empty() => {
            format!("{} holds {}", folder.display(), display(&names).join(", "))
        }
        _ => format!("{} holds no checkpoint", folder.display()),
    }
}

fn display(names: &[OsString]) -> Vec<String> {
    let mut shown: Vec<String> = names
        .iter()
        .take(MAX_LISTED)
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    if names.len() > MAX_LISTED {
        shown.push(format!("and {} more", names.len() - MAX_LISTED));
    }
    shown
}

/// The folder of a path; `.` for a bare name.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}
