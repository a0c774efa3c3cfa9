//! How an archive is recognised.

use std::io;
use std::path::Path;

use super::{tar, zip};
use crate::formats::ArchiveFormat;
use crate::storage::Storage;

impl ArchiveFormat {
    /// Returns the format of the file at `path`; `None` if it is not an archive. The content decides. Only
    /// for a file whose content is not recognised, such as one without members, the name does.
    pub(super) fn of(storage: &dyn Storage, path: &Path) -> io::Result<Option<Self>> {
        let start = storage.start(path)?;
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
