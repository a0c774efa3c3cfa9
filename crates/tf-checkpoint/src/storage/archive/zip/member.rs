//! A member of a zip archive.

use std::io::{self, BufReader, Read};
use std::sync::Arc;

use flate2::read::DeflateDecoder;

use super::directory::Record;
use crate::storage::ReadAt;
use crate::storage::archive::inflation::{Inflation, READ_LEN};
use crate::storage::archive::packed::{Packed, Section, invalid, not_followed, unsupported};

/// The maximum compression ratio of a member; trained weights have less than 2.
const MAX_RATIO: u64 = 200;
/// Members up to this length, in bytes, may have any ratio.
const ANY_RATIO_LEN: u64 = 1 << 20;
/// The bits of a Unix mode with the type of the file, and two of their values (`sys/stat.h`).
const FILE_TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

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

/// A member of a zip archive.
pub(super) struct ZipMember {
    record: Record,
    archive: Arc<dyn ReadAt>,
    inflation: Arc<Inflation>,
}

impl ZipMember {
    pub(super) fn new(
        record: Record,
        archive: &Arc<dyn ReadAt>,
        inflation: &Arc<Inflation>,
    ) -> Self {
        Self {
            record,
            archive: Arc::clone(archive),
            inflation: Arc::clone(inflation),
        }
    }

    pub(super) fn into_packed(self) -> Box<dyn Packed> {
        Box::new(self)
    }

    /// Returns the compressed bytes.
    fn raw(&self) -> io::Result<Section> {
        Ok(Section {
            start: self.record.data_start(&self.archive)?,
            len: self.record.compressed_len,
            file: Arc::clone(&self.archive),
        })
    }
}

impl Packed for ZipMember {
    fn len(&self) -> u64 {
        self.record.len
    }

    fn crc32(&self) -> Option<u32> {
        Some(self.record.crc32)
    }

    fn max_memory(&self) -> u64 {
        let limits = self.inflation.limits();
        limits.memory_for(self.record.compressed_len)
    }

    fn check(&self) -> io::Result<()> {
        if let Some(what) = special(self.record.mode) {
            return Err(not_followed(what));
        }
        let Record {
            len,
            compressed_len,
            method,
            ..
        } = self.record;
        if self.record.is_encrypted {
            return Err(unsupported("it is encrypted; unpack the archive first"));
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
                return Err(unsupported(format!(
                    "it is compressed with {name}, which is not supported; unpack the archive first"
                )));
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

    fn in_place(&self) -> io::Result<Option<Section>> {
        if self.record.method == DEFLATED {
            return Ok(None);
        }
        self.raw().map(Some)
    }

    fn unpack(
        &self,
        len: u64,
        read: &mut dyn FnMut(&mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        let raw = self.raw()?;
        if len >= self.record.len {
            raw.prepare_all();
        }
        let raw = raw.reader();
        if self.record.method != DEFLATED {
            return read(&mut { raw });
        }
        self.inflation.take(len)?;
        read(&mut DeflateDecoder::new(BufReader::with_capacity(
            READ_LEN, raw,
        )))
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
