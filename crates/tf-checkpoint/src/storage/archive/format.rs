//! The formats of archives, and how a file of each is recognised.

use std::path::Path;
use std::{fmt, io};

use super::{tar, zip};
use crate::foreign;
use crate::storage::LocalFile;

/// The format of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ArchiveFormat {
    /// A zip archive.
    Zip,
    /// A tar archive.
    Tar,
    /// A tar archive that is compressed with gzip.
    TarGz,
}

impl ArchiveFormat {
    /// Returns the identifier for machines: `zip`, `tar` or `tar_gz`.
    pub fn key(self) -> &'static str {
        match self {
            Self::Zip => "zip",
            Self::Tar => "tar",
            Self::TarGz => "tar_gz",
        }
    }

    /// Returns true if members may be compressed, so that reading them may inflate them.
    pub fn is_compressed(self) -> bool {
        !matches!(self, Self::Tar)
    }

    /// Returns the format of the file at `path`; `None` if it is not an archive. The content decides. Only
    /// for a file whose content is not recognised, such as one without members, the name does.
    pub(super) fn of(path: &Path) -> io::Result<Option<Self>> {
        let start = foreign::start(&LocalFile::open(path)?)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let ends = |endings: &[&str]| {
            let name = name.to_ascii_lowercase();
            endings.iter().any(|ending| name.ends_with(ending))
        };
        let format = if start.starts_with(zip::MAGIC) {
            Self::Zip
        } else if tar::is_gzipped_tar(&start)
            || (start.starts_with(tar::GZIP) && ends(tar::GZIPPED_NAMES))
        {
            Self::TarGz
        } else if tar::is_tar(&start) {
            Self::Tar
        } else if start.starts_with(tar::GZIP) {
            return Ok(None);
        } else if ends(&[".zip"]) {
            Self::Zip
        } else if ends(&[".tar"]) {
            Self::Tar
        } else {
            return Ok(None);
        };
        Ok(Some(format))
    }
}

impl fmt::Display for ArchiveFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Zip => "zip archive",
            Self::Tar => "tar archive",
            Self::TarGz => "tar archive compressed with gzip",
        })
    }
}
