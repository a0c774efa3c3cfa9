//! The blocks of a table: checksum, compression, and entries whose keys share prefixes.

use std::ops::Range;

use super::Error;
use crate::crc;
use crate::limits::TooDense;
use crate::storage::ReadAt;

/// The length of the trailer after each block, compression type and checksum, in bytes.
const TRAILER_LEN: usize = 5;
/// The length of a restart point, and of their number at the end of each block, in bytes.
const RESTART_LEN: usize = 4;
/// The longest key, in bytes. Keys share prefixes, so that a small file can hold many long ones.
const MAX_KEY_LEN: usize = 8 << 10;
/// The maximum compression ratio of Snappy: its densest element is a copy of 64 bytes in three.
const MAX_SNAPPY_RATIO: usize = 24;

/// The location of a block, without its trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockHandle {
    pub(super) offset: u64,
    pub(super) len: u64,
}

impl BlockHandle {
    /// Returns the bytes of the file with the block and its trailer.
    pub(super) fn stored(self) -> Range<u64> {
        let end = self.offset.saturating_add(self.len);
        self.offset..end.saturating_add(TRAILER_LEN as u64)
    }

    /// Returns the largest length that the block can have after decompression, in bytes.
    pub(crate) fn longest(self) -> u64 {
        self.len.saturating_mul(MAX_SNAPPY_RATIO as u64)
    }
}

/// The limits on a block's length in the file and in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caps {
    pub(super) stored: u64,
    pub(super) memory: TooDense,
}

/// A block in memory, in which keys can be looked up.
pub(crate) struct Block {
    pub(super) bytes: Vec<u8>,
    /// Keys in ascending order, with the ranges of their values.
    pub(super) entries: Vec<(Vec<u8>, Range<usize>)>,
}

impl Block {
    /// Returns the value of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let found = self.entries.binary_search_by(|(at, _)| at[..].cmp(key));
        Some(&self.bytes[self.entries[found.ok()?].1.clone()])
    }
}

/// Decodes the value of an entry of the index block at `offset`.
pub(super) fn index_entry(mut value: &[u8], offset: u64) -> Result<BlockHandle, Error> {
    take_handle(&mut value).ok_or(Error::Malformed {
        offset,
        what: "an index entry is not a block handle",
    })
}

/// Checks that a block and its trailer lie within the file; returns their end.
pub(super) fn check_bounds(handle: BlockHandle, file_len: u64, limit: u64) -> Result<u64, Error> {
    let BlockHandle { offset, len } = handle;
    if len > limit {
        return Err(Error::BlockTooLong { offset, len, limit });
    }
    offset
        .checked_add(len + TRAILER_LEN as u64)
        .filter(|&end| end <= file_len)
        .ok_or(Error::BlockOutside {
            offset,
            len,
            file_len,
        })
}

/// Reads a block, verifies its CRC-32C and decompresses it.
pub(super) fn read_block(
    source: &impl ReadAt,
    handle: BlockHandle,
    caps: Caps,
) -> Result<Vec<u8>, Error> {
    check_bounds(handle, source.len(), caps.stored)?;
    let BlockHandle { offset, len } = handle;
    let len = usize::try_from(len).expect("bounded by the limit");

    let mut block = vec![0; len + TRAILER_LEN];
    source.read_exact_at(&mut block, offset)?;
    let stored = u32::from_le_bytes(block[len + 1..].try_into().expect("four bytes"));
    let (expected, found) = (crc::unmask(stored), crc32c::crc32c(&block[..=len]));
    if expected != found {
        return Err(Error::Checksum {
            offset,
            expected,
            found,
        });
    }
    let compression = block[len];
    block.truncate(len);
    match compression {
        0 => Ok(block),
        1 => inflate(&block, offset, caps.memory),
        found => Err(Error::Compression { offset, found }),
    }
}

fn inflate(block: &[u8], offset: u64, memory: TooDense) -> Result<Vec<u8>, Error> {
    let claimed = snap::raw::decompress_len(block).map_err(|_| Error::Snappy { offset })?;
    if claimed > block.len().saturating_mul(MAX_SNAPPY_RATIO) {
        return Err(Error::Snappy { offset });
    }
    if claimed as u64 > memory.allowed {
        return Err(memory.into());
    }
    snap::raw::Decoder::new()
        .decompress_vec(block)
        .map_err(|_| Error::Snappy { offset })
}

/// Calls `visit` with the key and the value of each entry of a block, see [`scan_entries`].
pub(super) fn scan_block<E: From<Error>>(
    block: &[u8],
    offset: u64,
    key: &mut Vec<u8>,
    visit: &mut impl FnMut(&[u8], &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    scan_entries(block, offset, key, |key, value| visit(key, &block[value]))
}

/// Calls `visit` with the key of each entry of a block and the range of its value. `key` is the last
/// key before the block, and on return the last key of the block: keys must ascend throughout a table.
pub(super) fn scan_entries<E: From<Error>>(
    block: &[u8],
    offset: u64,
    key: &mut Vec<u8>,
    mut visit: impl FnMut(&[u8], Range<usize>) -> Result<(), E>,
) -> Result<(), E> {
    let malformed = |what| Error::Malformed { offset, what };

    let count_at = block
        .len()
        .checked_sub(RESTART_LEN)
        .ok_or_else(|| malformed("too short to count its restart points"))?;
    let restarts = u32::from_le_bytes(block[count_at..].try_into().expect("four bytes"));
    let entries_end = usize::try_from(restarts)
        .ok()
        .and_then(|n| n.checked_mul(RESTART_LEN))
        .and_then(|len| count_at.checked_sub(len))
        .ok_or_else(|| malformed("more restart points than the block has room for"))?;

    let mut rest = &block[..entries_end];
    // The first entry of a block is stored whole: it shares nothing with the block before.
    let mut previous_len = 0;
    let mut first_in_table = key.is_empty();
    while !rest.is_empty() {
        let header = (
            take_len(&mut rest),
            take_len(&mut rest),
            take_len(&mut rest),
        );
        let (Some(shared), Some(unshared), Some(value_len)) = header else {
            return Err(malformed("the lengths of an entry are malformed").into());
        };
        let (Some(suffix), Some(value)) = (take(&mut rest, unshared), take(&mut rest, value_len))
        else {
            return Err(malformed("an entry runs over the end").into());
        };
        if shared > previous_len {
            return Err(malformed("an entry shares more of the key before than there is").into());
        }
        if shared + suffix.len() > MAX_KEY_LEN {
            return Err(malformed("a key is longer than any variable name may be").into());
        }
        if !first_in_table && suffix <= &key[shared.min(key.len())..] {
            return Err(malformed("its keys do not ascend").into());
        }
        first_in_table = false;
        key.truncate(shared);
        key.extend_from_slice(suffix);
        previous_len = key.len();
        let end = entries_end - rest.len();
        visit(key, end - value.len()..end)?;
    }
    Ok(())
}

/// Takes the first `len` bytes.
fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

/// Takes a base-128 varint of up to 64 bits.
fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    prost::encoding::decode_varint(bytes).ok()
}

fn take_len(bytes: &mut &[u8]) -> Option<usize> {
    usize::try_from(take_varint(bytes)?).ok()
}

pub(super) fn take_handle(bytes: &mut &[u8]) -> Option<BlockHandle> {
    Some(BlockHandle {
        offset: take_varint(bytes)?,
        len: take_varint(bytes)?,
    })
}
