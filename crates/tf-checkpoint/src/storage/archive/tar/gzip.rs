//! A tar archive that is compressed with gzip.
//!
//! Such an archive can only be read from its start. It is inflated once to list its entries; that pass
//! checks gzip's checksums, and keeps in one temporary file what searching for a checkpoint reads: small
//! members, and the first and the last bytes of larger ones. A larger member is inflated when it is read,
//! into a file of its own, in a second pass that ends behind it. The next member that is read continues
//! that pass if it lies behind, so that the data files of one checkpoint take one pass together.

use std::fs::File;
use std::io::{self, BufReader, Read, Write as _};
use std::sync::Arc;

use flate2::Crc;
use flate2::bufread::MultiGzDecoder;
use parking_lot::Mutex;

use super::entries::Input;
use crate::storage::archive::inflation::{Inflation, READ_LEN, inflating, temporary_file, writing};
use crate::storage::archive::packed::{Section, SectionReader};
use crate::storage::{LocalFile, ReadAt};

/// The longest member that is kept, in bytes. Data files are longer, and other files of a checkpoint
/// shorter.
const MAX_KEPT_LEN: u64 = 32 << 20;
/// The number of bytes of all such members that are kept.
const MAX_KEPT: u64 = 256 << 20;
/// The number of bytes at the start and at the end of a member that are kept of any other.
pub(super) const EDGE: u64 = 1 << 10;

/// Where the contents of a member are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// In the file of what was kept, from this offset on.
    Kept(u64),
    /// In the archive.
    Packed {
        /// The offset in the inflated archive.
        start: u64,
        crc32: u32,
        /// The offset of the first and the last [`EDGE`] bytes in the file of what was kept.
        edges: u64,
    },
}

/// Returns the offset, in the two [`EDGE`]s that are kept of a member, of a range of the member; `None` if
/// the range is not in one of them.
pub(super) fn offset_in_edges(len: u64, range_start: u64, range_len: u64) -> Option<u64> {
    let end = range_start.checked_add(range_len)?;
    let last_edge = len.checked_sub(EDGE)?;
    if end <= EDGE {
        Some(range_start)
    } else if range_start >= last_edge && end <= len {
        Some(EDGE + (range_start - last_edge))
    } else {
        None
    }
}

/// A position in the inflated archive.
struct Cursor {
    decoder: MultiGzDecoder<BufReader<SectionReader>>,
    at: u64,
}

impl Cursor {
    fn new(archive: &Arc<dyn ReadAt>) -> Self {
        let whole = Section {
            start: 0,
            len: archive.len(),
            file: Arc::clone(archive),
        };
        let raw = BufReader::with_capacity(READ_LEN, whole.reader());
        Self {
            decoder: MultiGzDecoder::new(raw),
            at: 0,
        }
    }
}

impl Read for Cursor {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(buf)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// The inflated archive, for reading members after the archive was listed.
pub(super) struct Stream {
    archive: Arc<dyn ReadAt>,
    inflation: Arc<Inflation>,
    /// Behind the member that was read last.
    cursor: Mutex<Option<Cursor>>,
}

impl Stream {
    pub(super) fn new(archive: &Arc<dyn ReadAt>, inflation: &Arc<Inflation>) -> Self {
        Self {
            archive: Arc::clone(archive),
            inflation: Arc::clone(inflation),
            cursor: Mutex::default(),
        }
    }

    /// Passes a reader of `len` bytes from `start` on to `read`.
    pub(super) fn read(
        &self,
        start: u64,
        len: u64,
        read: &mut dyn FnMut(&mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut place = self.cursor.lock();
        let before = place.take().filter(|cursor| cursor.at <= start);
        let mut cursor = before.unwrap_or_else(|| Cursor::new(&self.archive));
        let skipped = start - cursor.at;
        self.inflation.take(skipped.saturating_add(len))?;
        let found = io::copy(&mut cursor.by_ref().take(skipped), &mut io::sink());
        if found.map_err(inflating)? < skipped {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read(&mut cursor.by_ref().take(len))?;
        *place = Some(cursor);
        Ok(())
    }
}

/// The inflated archive while its entries are listed.
pub(super) struct ListedStream {
    cursor: Cursor,
    inflation: Arc<Inflation>,
    kept: io::BufWriter<File>,
    /// The number of bytes in `kept`.
    kept_len: u64,
    buf: Vec<u8>,
}

impl ListedStream {
    pub(super) fn new(archive: &Arc<dyn ReadAt>, inflation: &Arc<Inflation>) -> io::Result<Self> {
        archive.prepare_all();
        Ok(Self {
            cursor: Cursor::new(archive),
            inflation: Arc::clone(inflation),
            kept: io::BufWriter::with_capacity(READ_LEN, temporary_file(0)?),
            kept_len: 0,
            buf: vec![0; READ_LEN],
        })
    }

    /// Returns the file of what was kept, and its length.
    pub(super) fn into_kept(self) -> io::Result<(Arc<dyn ReadAt>, u64)> {
        let len = self.kept_len;
        let file = self.kept.into_inner();
        let file = file.map_err(|error| writing(error.into_error(), len))?;
        Ok((Arc::new(LocalFile::new(file)?), len))
    }

    /// Inflates at most `limit` bytes into the buffer and returns how many; 0 at the end.
    fn next(&mut self, limit: u64) -> io::Result<usize> {
        let len = usize::try_from(limit).map_or(READ_LEN, |limit| limit.min(READ_LEN));
        loop {
            match self.cursor.read(&mut self.buf[..len]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => {
                    let read = read.map_err(damaged)?;
                    self.inflation.take(read as u64)?;
                    return Ok(read);
                }
            }
        }
    }

    /// Inflates `len` bytes; `each` gets them in pieces, with the offset of each.
    fn pass(
        &mut self,
        len: u64,
        mut each: impl FnMut(&mut Self, u64, usize) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut done = 0;
        while done < len {
            let read = self.next(len - done)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            each(self, done, read)?;
            done += read as u64;
        }
        Ok(())
    }

    /// Keeps a range of the buffer.
    fn keep(&mut self, range: std::ops::Range<usize>) -> io::Result<()> {
        self.kept_len += range.len() as u64;
        let written = self.kept.write_all(&self.buf[range]);
        written.map_err(|error| writing(error, self.kept_len))
    }
}

impl Input for ListedStream {
    type Place = Place;

    fn fill(&mut self, mut buf: &mut [u8]) -> io::Result<bool> {
        let whole = buf.len();
        while !buf.is_empty() {
            let read = self.next(buf.len() as u64)?;
            if read == 0 && buf.len() == whole {
                return Ok(false);
            }
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buf[..read].copy_from_slice(&self.buf[..read]);
            buf = &mut buf[read..];
        }
        Ok(true)
    }

    fn place(&mut self, len: u64) -> io::Result<Place> {
        let kept_start = self.kept_len;
        let is_short =
            len <= 2 * EDGE || (len <= MAX_KEPT_LEN && kept_start.saturating_add(len) <= MAX_KEPT);
        if is_short {
            self.pass(len, |input, _, read| input.keep(0..read))?;
            return Ok(Place::Kept(kept_start));
        }
        let start = self.cursor.at;
        let mut crc = Crc::new();
        self.pass(len, |input, at, read| {
            crc.update(&input.buf[..read]);
            let within = |offset: u64| {
                let inside = offset.saturating_sub(at).min(read as u64);
                usize::try_from(inside).expect("at most the length of the buffer")
            };
            input.keep(0..within(EDGE))?;
            input.keep(within(len - EDGE)..read)
        })?;
        Ok(Place::Packed {
            start,
            crc32: crc.sum(),
            edges: kept_start,
        })
    }

    fn skip(&mut self, len: u64) -> io::Result<()> {
        self.pass(len, |_, _, _| Ok(()))
    }

    fn ends_in_zeros(&mut self) -> io::Result<bool> {
        loop {
            let read = self.next(READ_LEN as u64)?;
            if read == 0 {
                return Ok(true);
            }
            if self.buf[..read].iter().any(|&byte| byte != 0) {
                return Ok(false);
            }
        }
    }
}

/// Turns an error of the decoder into one about the archive.
fn damaged(error: io::Error) -> io::Error {
    let error = inflating(error);
    match error.kind() {
        io::ErrorKind::InvalidData => io::Error::new(
            io::ErrorKind::InvalidData,
            format!("its gzip data are damaged or cut short: {error}"),
        ),
        _ => error,
    }
}
