//! A tar archive that is not compressed; its members are read in place.

use std::io;
use std::sync::Arc;

use super::entries::Input;
use crate::storage::ReadAt;
use crate::storage::archive::inflation::READ_LEN;

/// The bytes of an archive, by position.
pub(super) struct Plain {
    archive: Arc<dyn ReadAt>,
    at: u64,
}

impl Plain {
    pub(super) fn new(archive: &Arc<dyn ReadAt>) -> Self {
        Self {
            archive: Arc::clone(archive),
            at: 0,
        }
    }
}

impl Input for Plain {
    /// The offset in the archive.
    type Place = u64;

    fn fill(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        if self.at == self.archive.len() {
            return Ok(false);
        }
        self.archive.read_exact_at(buf, self.at)?;
        self.at += buf.len() as u64;
        Ok(true)
    }

    fn place(&mut self, len: u64) -> io::Result<u64> {
        let start = self.at;
        self.skip(len)?;
        Ok(start)
    }

    fn skip(&mut self, len: u64) -> io::Result<()> {
        let end = self.at.checked_add(len);
        let end = end.filter(|end| *end <= self.archive.len());
        self.at = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(())
    }

    fn ends_in_zeros(&mut self) -> io::Result<bool> {
        let mut buf = vec![0; READ_LEN];
        loop {
            let left = self.archive.len() - self.at;
            let len = usize::try_from(left).map_or(READ_LEN, |left| left.min(READ_LEN));
            if len == 0 {
                return Ok(true);
            }
            self.fill(&mut buf[..len])?;
            if buf[..len].iter().any(|&byte| byte != 0) {
                return Ok(false);
            }
        }
    }
}
