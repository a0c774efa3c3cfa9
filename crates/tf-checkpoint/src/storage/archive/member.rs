//! A member of an archive, for positioned reads.
//!
//! A member that is not compressed is read in place. A compressed one is inflated once, when it is first
//! read, into an unnamed temporary file, never into memory.

use std::fmt;
use std::io::{self, Read, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use flate2::Crc;
use parking_lot::Mutex;

use super::inflation::{READ_LEN, inflating, temporary_file, writing};
use super::packed::{Packed, invalid};
use crate::storage::regular::check_limit;
use crate::storage::{LocalFile, ReadAt};

/// The number of times that a member is inflated for a few bytes before all of it is kept.
const MAX_GLANCES: u32 = 4;
/// Size of the buffer for writing inflated bytes.
const CHUNK_LEN: usize = 1 << 20;

/// A member of an archive.
pub(super) struct Member {
    packed: Box<dyn Packed>,
    inflated: Mutex<Option<Arc<LocalFile>>>,
    glances: AtomicU32,
}

impl Member {
    pub(super) fn new(packed: Box<dyn Packed>) -> Self {
        Self {
            packed,
            inflated: Mutex::default(),
            glances: AtomicU32::new(0),
        }
    }

    /// Opens the member for positioned reads.
    pub(super) fn open(member: &Arc<Self>) -> io::Result<Arc<dyn ReadAt>> {
        member.packed.check()?;
        Ok(match member.packed.in_place()? {
            Some(section) => Arc::new(section),
            None => Arc::new(Compressed(Arc::clone(member))),
        })
    }

    /// Reads the whole member into memory.
    pub(super) fn read(&self, limit: u64) -> io::Result<Vec<u8>> {
        self.packed.check()?;
        let len = self.packed.len();
        check_limit(len, limit.min(self.packed.max_memory()))?;
        let mut bytes = Vec::new();
        self.copy_to(&mut bytes)?;
        Ok(bytes)
    }

    /// Returns the length of the member's temporary file, if there is one.
    pub(super) fn inflated_len(&self) -> Option<u64> {
        self.inflated.lock().as_deref().map(ReadAt::len)
    }

    /// Writes the member's bytes to `target`, at most one more than its length, and checks their CRC-32.
    fn copy_to(&self, target: &mut impl io::Write) -> io::Result<()> {
        let len = self.packed.len();
        let mut crc = Crc::new();
        let mut copied = 0;
        self.packed.unpack(len, &mut |reader| {
            let mut reader = reader.take(len.saturating_add(1));
            let longest = usize::try_from(len).map_or(READ_LEN, |len| len.min(READ_LEN));
            let mut buf = vec![0; longest.max(1)];
            loop {
                let read = match reader.read(&mut buf) {
                    Ok(0) => return Ok(()),
                    Ok(read) => read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(inflating(error)),
                };
                crc.update(&buf[..read]);
                target.write_all(&buf[..read])?;
                copied += read as u64;
            }
        })?;
        if copied != len {
            return Err(invalid(format!(
                "it inflates to another length than its {len} bytes"
            )));
        }
        let expected = self.packed.crc32();
        if let Some(expected) = expected.filter(|expected| *expected != crc.sum()) {
            let found = crc.sum();
            return Err(invalid(format!(
                "it has the CRC-32 {found:#010x}, the archive says {expected:#010x}"
            )));
        }
        Ok(())
    }

    /// Fills `buf` with the bytes from `offset` on of a compressed member and keeps nothing else.
    fn glance(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.saturating_add(buf.len() as u64);
        self.packed.unpack(end, &mut |reader| {
            let skipped = io::copy(&mut reader.take(offset), &mut io::sink());
            if skipped.map_err(inflating)? < offset {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            reader.read_exact(buf).map_err(inflating)
        })
    }

    fn inflated(&self) -> io::Result<Arc<LocalFile>> {
        let mut inflated = self.inflated.lock();
        if let Some(file) = &*inflated {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(self.inflate()?);
        *inflated = Some(Arc::clone(&file));
        Ok(file)
    }

    fn inflate(&self) -> io::Result<LocalFile> {
        let needs = self.packed.len();
        let file = temporary_file(needs)?;
        let mut target = io::BufWriter::with_capacity(CHUNK_LEN, &file);
        self.copy_to(&mut target)
            .and_then(|()| target.flush())
            .map_err(|error| writing(error, needs))?;
        drop(target);
        LocalFile::new(file)
    }
}

/// A compressed member.
struct Compressed(Arc<Member>);

impl Compressed {
    /// Fails for a range that is not in the member.
    fn check_range(&self, len: usize, offset: u64) -> io::Result<()> {
        let end = offset.checked_add(len as u64);
        let is_inside = end.is_some_and(|end| end <= self.len());
        let outside = || io::ErrorKind::UnexpectedEof.into();
        is_inside.then_some(()).ok_or_else(outside)
    }
}

impl ReadAt for Compressed {
    fn len(&self) -> u64 {
        self.0.packed.len()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.check_range(buf.len(), offset)?;
        if self.0.packed.read_kept(buf, offset)? {
            return Ok(());
        }
        self.0.inflated()?.read_exact_at(buf, offset)
    }

    fn read_once(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.check_range(buf.len(), offset)?;
        if self.0.packed.read_kept(buf, offset)? {
            return Ok(());
        }
        let is_kept = self.0.inflated.lock().is_some();
        if is_kept || self.0.glances.fetch_add(1, Ordering::Relaxed) >= MAX_GLANCES {
            return self.read_exact_at(buf, offset);
        }
        self.0.glance(buf, offset)
    }
}

impl fmt::Debug for Compressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Compressed").field(&self.len()).finish()
    }
}
