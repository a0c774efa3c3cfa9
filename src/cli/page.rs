//! The file of `--report`.
//!
//! It is checked before anything else is done, and written as a whole: beside its place, then moved there.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::{Builder, NamedTempFile};
use tf_checkpoint::address::{self, Use};

use super::exit::Usage;

/// The ends of the names that are accepted: a wrong argument must not replace a checkpoint or a model.
const EXTENSIONS: [&str; 2] = ["html", "htm"];

/// The place of a page.
#[derive(Debug)]
pub(crate) struct PageFile {
    path: PathBuf,
    replace: bool,
}

impl PageFile {
    /// Checks the argument of `--report`; `replace` allows an existing file.
    pub(crate) fn new(path: &Path, replace: bool) -> anyhow::Result<Self> {
        let usage = |what: String| Usage(format!("--report {}: {what}", path.display()));
        // Not written to buckets, with the feature `cloud` either.
        if address::refuse(path, Use::Input).is_err() {
            let what =
                "a page is written to a disk only: give a path, and upload the page afterwards";
            return Err(usage(what.into()).into());
        }
        let extension = path.extension().and_then(|extension| extension.to_str());
        let is_page = |extension: &str| {
            EXTENSIONS
                .iter()
                .any(|known| extension.eq_ignore_ascii_case(known))
        };
        if !extension.is_some_and(is_page) {
            return Err(usage("the name of the page must end in .html".into()).into());
        }
        let folder = folder_of(path);
        match folder.metadata() {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(usage(format!("{} is not a directory", folder.display())).into()),
            Err(error) if is_missing(&error) => {
                let what = format!(
                    "there is no directory {}; create it first",
                    folder.display()
                );
                return Err(usage(what).into());
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", folder.display()));
            }
        }
        match path.symlink_metadata() {
            Ok(found) if found.is_dir() => return Err(usage("it is a directory".into()).into()),
            Ok(_) if !replace => return Err(exists(path).into()),
            Ok(_) => {}
            Err(error) if is_missing(&error) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        }
        // Checked before a long conversion starts.
        let probe = staged(folder).map_err(|error| io::Error::from(error.kind()));
        drop(probe.with_context(|| format!("cannot write --report {}", path.display()))?);
        Ok(Self {
            path: path.to_owned(),
            replace,
        })
    }

    /// Returns true if the page has this path.
    pub(crate) fn is(&self, path: &Path) -> bool {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        absolute(&self.path)
            .components()
            .eq(absolute(path).components())
    }

    /// Removes the earlier page: after a failed verification it is out of date.
    pub(crate) fn remove_earlier(&self) -> anyhow::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if !is_missing(&error) => {
                Err(error).with_context(|| format!("cannot remove {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }

    /// Returns the path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the page.
    pub(crate) fn write(&self, html: &str) -> anyhow::Result<()> {
        let context = || format!("cannot write --report {}", self.path.display());
        let mut staged = staged(folder_of(&self.path)).with_context(context)?;
        staged.write_all(html.as_bytes()).with_context(context)?;
        staged.as_file().sync_all().with_context(context)?;
        let published = if self.replace {
            staged.persist(&self.path)
        } else {
            staged.persist_noclobber(&self.path)
        };
        match published {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(exists(&self.path).into())
            }
            Err(error) => Err(error.error).with_context(context),
        }
    }
}

fn exists(path: &Path) -> Usage {
    Usage(format!(
        "--report {0}: {0} exists; --force replaces it",
        path.display()
    ))
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Creates a file that everyone may read whom the user lets read new files.
fn staged(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(".electra-convert-").suffix(".html");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}
