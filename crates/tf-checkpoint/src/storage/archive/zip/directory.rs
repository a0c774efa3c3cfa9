//! The central directory of a zip archive: the list of members and their locations.
//!
//! It is not read by the crate `zip`, which keeps several times the directory's size in memory before
//! anything can be counted. The raw bytes are read, at most as many as the archive has; then each record
//! is checked and its memory counted before it is kept. Records that run over the end, members outside of
//! the archive and members that share bytes (with which a small archive can hold petabytes) are errors.
//! Source: APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12 to 4.3.16 and 4.5.3.

use std::io;

use crate::limits::Budget;
use crate::storage::ReadAt;

/// "End of central directory record", without the comment.
const END_LEN: usize = 22;
const END_MAGIC: &[u8] = b"PK\x05\x06";
/// The longest comment after it.
const MAX_COMMENT_LEN: usize = 0xffff;
/// "Zip64 end of central directory locator", before the end record.
const LOCATOR_LEN: usize = 20;
const LOCATOR_MAGIC: &[u8] = b"PK\x06\x07";
/// "Zip64 end of central directory record", without extensions.
const END64_LEN: usize = 56;
const END64_MAGIC: &[u8] = b"PK\x06\x06";
/// "Central directory header", without name, extra fields and comment.
const RECORD_LEN: usize = 46;
const RECORD_MAGIC: &[u8] = b"PK\x01\x02";
/// "Local file header", without name and extra fields.
const LOCAL_LEN: usize = 30;
const LOCAL_MAGIC: &[u8] = b"PK\x03\x04";
/// The systems that store a mode with a member: Unix and macOS (section 4.4.2).
const UNIX_LIKE: [u8; 2] = [3, 19];
/// The extra field with the numbers that do not fit into 32 bits.
const ZIP64_FIELD: u16 = 1;
/// The placeholder for a number in that field.
const IN_ZIP64_FIELD: u64 = 0xffff_ffff;

/// A member, as the directory describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The name, usually UTF-8.
    pub(crate) name: Vec<u8>,
    /// The number of the compression method.
    pub(crate) method: u16,
    pub(crate) is_encrypted: bool,
    /// CRC-32 of the inflated bytes.
    pub(crate) crc32: u32,
    pub(crate) compressed_len: u64,
    /// Length when inflated.
    pub(crate) len: u64,
    /// The Unix mode of the file, if the archive was written on such a system.
    pub(crate) mode: Option<u32>,
    /// The offset of its local header in the archive.
    pub(crate) header: u64,
}

impl Record {
    pub(crate) fn is_folder(&self) -> bool {
        matches!(self.name.last(), Some(b'/' | b'\\'))
    }

    /// Reads the local header; returns the offset of the member's bytes.
    pub(crate) fn data_start(&self, archive: &impl ReadAt) -> io::Result<u64> {
        let mut local = [0; LOCAL_LEN];
        archive.read_exact_at(&mut local, self.header)?;
        if !local.starts_with(LOCAL_MAGIC) {
            return Err(damaged("the header of the member is missing"));
        }
        let names = u64::from(u16_at(&local, 26)) + u64::from(u16_at(&local, 28));
        let start = self.header + LOCAL_LEN as u64 + names;
        let end = start.checked_add(self.compressed_len);
        if end.is_none_or(|end| end > archive.len()) {
            return Err(damaged("the member lies outside of the archive"));
        }
        Ok(start)
    }
}

/// The location of the records.
struct Directory {
    start: u64,
    len: usize,
    count: u64,
    /// False if `count` has only the lower 16 bits.
    is_counted: bool,
    /// The number of bytes before the archive, such as those of a self-extracting program.
    prefix: u64,
}

/// Reads the records of all members, in the order of the directory.
pub(crate) fn read(archive: &impl ReadAt, budget: &mut Budget) -> io::Result<Vec<Record>> {
    let directory = find(archive)?;
    take(budget, directory.len)?;
    let mut bytes = vec![0; directory.len];
    archive.read_exact_at(&mut bytes, directory.start)?;

    let mut records = Vec::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let record = take_record(&mut rest, &directory)
            .ok_or_else(|| damaged("its directory is malformed"))?;
        // A list that grows holds its elements twice for a moment.
        take(budget, 2 * size_of::<Record>() + record.name.len())?;
        records.push(Record {
            name: record.name.to_vec(),
            ..record.fixed
        });
    }
    let count = records.len() as u64;
    let counted = if directory.is_counted {
        count
    } else {
        count & 0xffff
    };
    if counted != directory.count {
        let claimed = directory.count;
        return Err(damaged(&format!(
            "its directory lists {count} members, not {claimed}"
        )));
    }
    check_apart(&records, directory.start)?;
    Ok(records)
}

fn find(archive: &impl ReadAt) -> io::Result<Directory> {
    let not_found = || damaged("it is not a zip archive, or cut short: its directory is missing");
    let tail_len = archive.len().min((END_LEN + MAX_COMMENT_LEN) as u64);
    let tail_start = archive.len() - tail_len;
    let mut tail = vec![0; usize::try_from(tail_len).map_err(|_| not_found())?];
    archive.read_exact_at(&mut tail, tail_start)?;
    let last = tail.len().checked_sub(END_LEN).ok_or_else(not_found)?;
    let at = (0..=last)
        .rev()
        .find(|&at| {
            let comment = usize::from(u16_at(&tail[at..], 20));
            tail[at..].starts_with(END_MAGIC) && at + END_LEN + comment == tail.len()
        })
        .ok_or_else(not_found)?;
    let end = &tail[at..];
    let at = tail_start + at as u64;
    if u16_at(end, 4) != u16_at(end, 6) || ![0, 0xffff].contains(&u16_at(end, 4)) {
        return Err(damaged("it is one part of an archive in several files"));
    }
    let len = u64::from(u32_at(end, 12));
    let offset = u64::from(u32_at(end, 16));
    let count = u64::from(u16_at(end, 10));

    if let Some(locator_at) = at.checked_sub(LOCATOR_LEN as u64) {
        let mut locator = [0; LOCATOR_LEN];
        archive.read_exact_at(&mut locator, locator_at)?;
        if locator.starts_with(LOCATOR_MAGIC) {
            return find64(archive, u64_at(&locator, 8), locator_at);
        }
    }
    let (start, prefix) = place(at, len, offset)?;
    Ok(Directory {
        start,
        len: usize::try_from(len).map_err(|_| not_found())?,
        count,
        is_counted: false,
        prefix,
    })
}

fn find64(archive: &impl ReadAt, at: u64, before: u64) -> io::Result<Directory> {
    let missing = || damaged("the zip64 record of its directory is missing");
    if at
        .checked_add(END64_LEN as u64)
        .is_none_or(|end| end > before)
    {
        return Err(missing());
    }
    let mut end = [0; END64_LEN];
    archive.read_exact_at(&mut end, at)?;
    if !end.starts_with(END64_MAGIC) {
        return Err(missing());
    }
    let len = u64_at(&end, 40);
    let (start, prefix) = place(at, len, u64_at(&end, 48))?;
    Ok(Directory {
        start,
        len: usize::try_from(len).map_err(|_| missing())?,
        count: u64_at(&end, 32),
        is_counted: true,
        prefix,
    })
}

/// Returns the start of the directory that ends at `end`, and the number of bytes before the archive;
/// `offset` is the start as the archive states it.
fn place(end: u64, len: u64, offset: u64) -> io::Result<(u64, u64)> {
    let start = end.checked_sub(len);
    start
        .and_then(|start| Some((start, start.checked_sub(offset)?)))
        .ok_or_else(|| damaged("its directory lies outside of it"))
}

/// A record whose name is borrowed from the directory's bytes.
struct Borrowed<'a> {
    name: &'a [u8],
    fixed: Record,
}

/// Takes the first record.
fn take_record<'a>(rest: &mut &'a [u8], directory: &Directory) -> Option<Borrowed<'a>> {
    let (fixed, after) = rest.split_at_checked(RECORD_LEN)?;
    if !fixed.starts_with(RECORD_MAGIC) {
        return None;
    }
    let (name, after) = after.split_at_checked(u16_at(fixed, 28).into())?;
    let (extra, after) = after.split_at_checked(u16_at(fixed, 30).into())?;
    let (_comment, after) = after.split_at_checked(u16_at(fixed, 32).into())?;
    *rest = after;

    let mut large = zip64_field(extra);
    let mut number = |at: usize| match u64::from(u32_at(fixed, at)) {
        IN_ZIP64_FIELD => {
            let (bytes, after) = large.split_first_chunk()?;
            large = after;
            Some(u64::from_le_bytes(*bytes))
        }
        number => Some(number),
    };
    let len = number(24)?;
    let compressed_len = number(20)?;
    let header = number(42)?.checked_add(directory.prefix)?;
    Some(Borrowed {
        name,
        fixed: Record {
            name: Vec::new(),
            method: u16_at(fixed, 10),
            is_encrypted: u16_at(fixed, 8) & 1 == 1,
            crc32: u32_at(fixed, 16),
            compressed_len,
            len,
            mode: UNIX_LIKE
                .contains(&fixed[5])
                .then(|| u32_at(fixed, 38) >> 16),
            header,
        },
    })
}

/// Returns the contents of the zip64 field; empty if there is no such field.
fn zip64_field(mut extra: &[u8]) -> &[u8] {
    while let Some((head, after)) = extra.split_at_checked(4) {
        let len = usize::from(u16_at(head, 2)).min(after.len());
        let (content, after) = after.split_at(len);
        if u16_at(head, 0) == ZIP64_FIELD {
            return content;
        }
        extra = after;
    }
    &[]
}

/// Checks that all members lie before the directory and no two share bytes.
fn check_apart(records: &[Record], directory: u64) -> io::Result<()> {
    let mut places: Vec<(u64, u64)> = Vec::with_capacity(records.len());
    for record in records {
        let end = (record.header.checked_add(LOCAL_LEN as u64))
            .and_then(|end| end.checked_add(record.compressed_len))
            .filter(|&end| end <= directory)
            .ok_or_else(|| damaged("a member lies outside of it"))?;
        places.push((record.header, end));
    }
    places.sort_unstable();
    if places.array_windows().any(|[a, b]| b.0 < a.1) {
        return Err(damaged("two members share bytes"));
    }
    Ok(())
}

fn take(budget: &mut Budget, bytes: usize) -> io::Result<()> {
    let taken = budget.take(bytes);
    taken.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
