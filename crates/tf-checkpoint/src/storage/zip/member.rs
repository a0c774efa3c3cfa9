//! A member of a zip archive, stored or deflated.
//!
//! A stored member is read in place. A deflated one is inflated once, when it is first read, into an
//! unnamed file in the directory for temporary files ([`env::temp_dir`]), never into memory. The bytes
//! that all members inflate to are limited together ([`Inflation`]), which bounds time and disk space.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fmt};

use flate2::Crc;
use flate2::read::DeflateDecoder;
use parking_lot::Mutex;

use crate::limits::Limits;
use crate::storage::regular::check_limit;
use crate::storage::zip::directory::Record;
use crate::storage::{LocalFile, ReadAt};
use crate::sys::{self, TEMP_VARIABLE};

/// The maximum compression ratio of a member; trained weights have less than 2.
const MAX_RATIO: u64 = 200;
/// Members up to this length, in bytes, may have any ratio.
const ANY_RATIO_LEN: u64 = 1 << 20;
/// The bits of a Unix mode with the type of the file, and two of their values (`sys/stat.h`).
const FILE_TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
/// The number of times that a member is inflated for a few bytes before all of it is kept.
const MAX_GLANCES: u32 = 4;
/// Size of the buffer for writing inflated bytes.
const CHUNK_LEN: usize = 1 << 20;
/// Size of the buffer for reading deflated bytes.
const READ_LEN: usize = 64 << 10;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// Names of unsupported methods (section 4.4.5 of APPNOTE.TXT).
const OTHER_METHODS: &[(u16, &str)] = &[
    (9, "Deflate64"),
    (12, "bzip2"),
    (14, "LZMA"),
    (93, "Zstandard"),
    (95, "xz"),
];

/// The limit on what all members of an archive inflate to.
pub(crate) struct Inflation {
    left: Mutex<u64>,
    allowed: u64,
    limits: Limits,
}

impl Inflation {
    pub(crate) fn new(limits: &Limits, archive_len: u64) -> Self {
        let allowed = limits.inflated_for(archive_len);
        Self {
            left: Mutex::new(allowed),
            allowed,
            limits: *limits,
        }
    }

    fn take(&self, len: u64) -> io::Result<()> {
        let mut left = self.left.lock();
        *left = left.checked_sub(len).ok_or_else(|| {
            let allowed = self.allowed;
            invalid(format!(
                "the archive inflates to more than the {allowed} bytes allowed for its length; unpack \
                 it by hand if you trust it"
            ))
        })?;
        Ok(())
    }
}

/// A member of an archive.
pub(crate) struct Member {
    record: Record,
    archive: Arc<LocalFile>,
    inflation: Arc<Inflation>,
    inflated: Mutex<Option<Arc<LocalFile>>>,
    glances: AtomicU32,
}

impl Member {
    pub(crate) fn new(
        mut record: Record,
        archive: &Arc<LocalFile>,
        inflation: &Arc<Inflation>,
    ) -> Self {
        // The path holds the name already.
        record.name = Vec::new();
        Self {
            record,
            archive: Arc::clone(archive),
            inflation: Arc::clone(inflation),
            inflated: Mutex::default(),
            glances: AtomicU32::new(0),
        }
    }

    /// Opens the member for positioned reads.
    pub(crate) fn open(member: &Arc<Self>) -> io::Result<Arc<dyn ReadAt>> {
        member.check()?;
        if member.record.method == DEFLATED {
            return Ok(Arc::new(Deflated(Arc::clone(member))));
        }
        Ok(Arc::new(Stored {
            start: member.record.data_start(&member.archive)?,
            len: member.record.len,
            archive: Arc::clone(&member.archive),
        }))
    }

    /// Reads the whole member into memory.
    pub(crate) fn read(&self, limit: u64) -> io::Result<Vec<u8>> {
        self.check()?;
        let memory = self.inflation.limits.memory_for(self.record.compressed_len);
        let len = check_limit(self.record.len, limit.min(memory))?;
        if self.record.method == DEFLATED {
            self.inflation.take(self.record.len)?;
        }
        let mut bytes = Vec::new();
        self.copy_to(&mut bytes)?;
        check_len(bytes.len() as u64, len as u64)?;
        Ok(bytes)
    }

    /// Returns the length of the member's temporary file, if there is one.
    pub(crate) fn inflated_len(&self) -> Option<u64> {
        self.inflated.lock().as_deref().map(ReadAt::len)
    }

    /// Fails for members that cannot be read and for those that are not plausible files.
    fn check(&self) -> io::Result<()> {
        let unsupported = |what: String| Err(io::Error::new(io::ErrorKind::Unsupported, what));
        if let Some(what) = special(self.record.mode) {
            return unsupported(format!(
                "it is {what} in the archive, which is not followed; unpack the archive if you trust it"
            ));
        }
        let Record {
            len,
            compressed_len,
            method,
            ..
        } = self.record;
        if self.record.is_encrypted {
            return unsupported("it is encrypted; unpack the archive first".into());
        }
        match method {
            STORED if len != compressed_len => {
                let what = format!("it is stored in {compressed_len} bytes and has {len}");
                return Err(invalid(what));
            }
            STORED | DEFLATED => {}
            other => {
                let known = OTHER_METHODS.iter().find(|row| row.0 == other);
                let name = known.map_or_else(|| format!("method {other}"), |row| row.1.to_owned());
                return unsupported(format!(
                    "it is compressed with {name}, which is not supported; unpack the archive first"
                ));
            }
        }
        let ratio = len / compressed_len.max(1);
        if len > ANY_RATIO_LEN && ratio > MAX_RATIO {
            return Err(invalid(format!(
                "{compressed_len} bytes inflate to {len}, which exceeds the maximum compression ratio \
                 of {MAX_RATIO}"
            )));
        }
        Ok(())
    }

    /// Writes the member's bytes to `target`, at most one more than its length, and checks their CRC-32.
    fn copy_to(&self, target: &mut impl io::Write) -> io::Result<u64> {
        let mut crc = Crc::new();
        let mut copied = 0;
        let raw = self.raw()?;
        let mut reader: Box<dyn Read> = match self.record.method {
            DEFLATED => Box::new(DeflateDecoder::new(io::BufReader::with_capacity(
                READ_LEN, raw,
            ))),
            _ => Box::new(raw),
        };
        let mut reader = reader.by_ref().take(self.record.len.saturating_add(1));
        let longest = usize::try_from(self.record.len).map_or(READ_LEN, |len| len.min(READ_LEN));
        let mut buf = vec![0; longest.max(1)];
        loop {
            let read = match reader.read(&mut buf) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(inflating(error)),
            };
            crc.update(&buf[..read]);
            target.write_all(&buf[..read])?;
            copied += read as u64;
        }
        check_len(copied, self.record.len)?;
        if crc.sum() != self.record.crc32 {
            let (found, expected) = (crc.sum(), self.record.crc32);
            return Err(invalid(format!(
                "it has the CRC-32 {found:#010x}, the archive says {expected:#010x}"
            )));
        }
        Ok(copied)
    }

    /// Fills `buf` with the bytes from `offset` on of a deflated member and keeps nothing else.
    fn glance(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.inflation
            .take(offset.saturating_add(buf.len() as u64))?;
        let raw = self.raw()?;
        let mut data = DeflateDecoder::new(io::BufReader::with_capacity(READ_LEN, raw));
        let skipped = io::copy(&mut data.by_ref().take(offset), &mut io::sink());
        if skipped.map_err(inflating)? < offset {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        data.read_exact(buf).map_err(inflating)
    }

    /// Returns the compressed bytes.
    fn raw(&self) -> io::Result<Section<'_>> {
        Ok(Section {
            start: self.record.data_start(&self.archive)?,
            left: self.record.compressed_len,
            archive: &self.archive,
        })
    }

    fn inflated(&self) -> io::Result<Arc<LocalFile>> {
        let mut inflated = self.inflated.lock();
        if let Some(file) = &*inflated {
            return Ok(Arc::clone(file));
        }
        self.inflation.take(self.record.len)?;
        let file = Arc::new(self.inflate()?);
        *inflated = Some(Arc::clone(&file));
        Ok(file)
    }

    fn inflate(&self) -> io::Result<LocalFile> {
        let folder = env::temp_dir();
        let needs = self.record.len;
        let full = |has: String| {
            let what = format!(
                "it takes {needs} bytes to inflate, {} has {has}; \
                 set {TEMP_VARIABLE} to a directory with more space",
                folder.display()
            );
            io::Error::new(io::ErrorKind::StorageFull, what)
        };
        let file: File = tempfile::tempfile_in(&folder).map_err(|error| {
            let what = format!("no temporary file in {}: {error}", folder.display());
            io::Error::new(error.kind(), what)
        })?;
        if let Some(free) = sys::free_space(&file).filter(|&free| free < needs) {
            return Err(full(format!("{free} free")));
        }
        let mut target = io::BufWriter::with_capacity(CHUNK_LEN, &file);
        self.copy_to(&mut target)
            .and_then(|_| target.flush())
            .map_err(|error| match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => full("too few".into()),
                _ => error,
            })?;
        drop(target);
        LocalFile::new(file)
    }
}

/// Returns what a member is by its mode, if it is not a regular file.
fn special(mode: Option<u32>) -> Option<&'static str> {
    match mode? & FILE_TYPE {
        0 | REGULAR => None,
        LINK => Some("a symbolic link"),
        _ => Some("a special file"),
    }
}

/// Turns an error of the decoder into one about damaged data, apart from errors of the disk.
fn inflating(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            io::Error::new(io::ErrorKind::InvalidData, error)
        }
        _ => error,
    }
}

fn check_len(found: u64, expected: u64) -> io::Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(invalid(format!(
        "it inflates to another length than its {expected} bytes"
    )))
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A range of the archive, read from start to end.
struct Section<'a> {
    archive: &'a LocalFile,
    start: u64,
    left: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = usize::try_from(self.left).map_or(buf.len(), |left| left.min(buf.len()));
        self.archive.read_exact_at(&mut buf[..len], self.start)?;
        self.start += len as u64;
        self.left -= len as u64;
        Ok(len)
    }
}

/// A member that is stored without compression.
#[derive(Debug)]
struct Stored {
    archive: Arc<LocalFile>,
    start: u64,
    len: u64,
}

impl ReadAt for Stored {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.archive.read_exact_at(buf, self.start + offset)
    }
}

/// A deflated member.
struct Deflated(Arc<Member>);

impl ReadAt for Deflated {
    fn len(&self) -> u64 {
        self.0.record.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.inflated()?.read_exact_at(buf, offset)
    }

    fn read_once(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let is_kept = self.0.inflated.lock().is_some();
        if is_kept || self.0.glances.fetch_add(1, Ordering::Relaxed) >= MAX_GLANCES {
            return self.read_exact_at(buf, offset);
        }
        self.0.glance(buf, offset)
    }
}

impl fmt::Debug for Deflated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Deflated").field(&self.0.record).finish()
    }
}
