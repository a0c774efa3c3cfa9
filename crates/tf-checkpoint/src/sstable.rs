//! Reads LevelDB-format sorted string tables, the container of a checkpoint's index.
//!
//! A table is a run of blocks, an index block that lists them, and a 48-byte footer that points to
//! the index block. Every block ends in a compression type and a masked CRC-32C, both checked here.
//! Blocks must not overlap and keys must ascend, so that scanning a table takes time and memory in
//! proportion to its length; an uncompressed block may take what [`Limits`] allow.
//! Format: `doc/table_format.md` in LevelDB, `tensorflow/core/lib/io/format.cc`.
//!
//! Why not the crate `sstable` (0.11): it trusts the file. It allocates whatever size a block
//! handle claims, and unwraps and asserts on varints, restart points and block lengths, so that a
//! damaged index is a panic. Only a scan in order is needed here, a small part of that crate.

use std::io;
use std::ops::Range;

use crate::crc;
use crate::limits::{Limits, TooDense};
use crate::storage::ReadAt;

/// Two padded block handles and the magic number.
const FOOTER_LEN: usize = 48;
const MAGIC: u64 = 0xdb47_7524_8b80_fb57;
/// Compression type and checksum behind each block.
const TRAILER_LEN: usize = 5;
/// Restart point count at the end of each block, and each restart point.
const RESTART_LEN: usize = 4;

/// The largest block accepted of an index, in bytes. TensorFlow cuts blocks at 256 KiB.
pub(crate) const MAX_BLOCK_LEN: u64 = 64 << 20;
/// The longest key accepted, in bytes. Keys share prefixes, so that a small file can hold a great
/// many long ones.
const MAX_KEY_LEN: usize = 8 << 10;
/// Snappy's densest element is a copy of 64 bytes in three, so more than this ratio is a lie.
const MAX_SNAPPY_RATIO: usize = 24;

/// Why a table cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The read itself failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Too short to hold a footer.
    #[error("{found} bytes is too short for a table, whose footer alone takes {FOOTER_LEN}")]
    TooShort {
        /// Length of the file.
        found: u64,
    },
    /// The last eight bytes are not the magic number.
    #[error("it does not end in the magic number {MAGIC:#018x} of a table (found {found:#018x})")]
    BadMagic {
        /// The last eight bytes, little-endian.
        found: u64,
    },
    /// A block handle that points outside the file.
    #[error("a block is said to take {len} bytes from {offset}, the file has {file_len}")]
    BlockOutside {
        /// Claimed start.
        offset: u64,
        /// Claimed length without its trailer.
        len: u64,
        /// Length of the file.
        file_len: u64,
    },
    /// A block that starts before its predecessor ends.
    #[error("the block at {offset} starts inside the one before it")]
    BlocksOverlap {
        /// Claimed start.
        offset: u64,
    },
    /// A block over the limit.
    #[error("the block at {offset} takes {len} bytes, more than the {limit} allowed")]
    BlockTooLong {
        /// Start of the block.
        offset: u64,
        /// Its length in the file.
        len: u64,
        /// The longest one allowed.
        limit: u64,
    },
    /// A block that takes more memory than allowed.
    #[error(transparent)]
    TooDense(#[from] TooDense),
    /// A block whose bytes changed since they were written.
    #[error(
        "the checksum of the block at {offset} does not match: \
         expected {expected:#010x}, found {found:#010x}"
    )]
    Checksum {
        /// Start of the block.
        offset: u64,
        /// The CRC-32C stored behind the block.
        expected: u32,
        /// The CRC-32C of the bytes there.
        found: u32,
    },
    /// A compression type that LevelDB does not define.
    #[error("the block at {offset} has the unknown compression type {found}")]
    Compression {
        /// Start of the block.
        offset: u64,
        /// The type byte.
        found: u8,
    },
    /// A block that Snappy cannot inflate.
    #[error("the block at {offset} is not valid Snappy data")]
    Snappy {
        /// Start of the block.
        offset: u64,
    },
    /// An entry, handle or restart list that contradicts itself.
    #[error("the block at {offset} is malformed: {what}")]
    Malformed {
        /// Start of the block.
        offset: u64,
        /// What does not fit.
        what: &'static str,
    },
}

/// Where a block lies, without its trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockHandle {
    offset: u64,
    len: u64,
}

impl BlockHandle {
    /// The most bytes that the block can have when it is inflated.
    pub(crate) fn longest(self) -> u64 {
        self.len.saturating_mul(MAX_SNAPPY_RATIO as u64)
    }
}

/// True when the file ends in the magic number of a table.
pub(crate) fn has_magic(source: &impl ReadAt) -> io::Result<bool> {
    let mut magic = [0; size_of::<u64>()];
    let Some(start) = source.len().checked_sub(magic.len() as u64) else {
        return Ok(false);
    };
    source.read_exact_at(&mut magic, start)?;
    Ok(u64::from_le_bytes(magic) == MAGIC)
}

/// The most bytes that a block may take in the file, and in memory.
#[derive(Clone, Copy, Debug)]
struct Caps {
    stored: u64,
    memory: TooDense,
}

/// An open table.
#[derive(Debug)]
pub struct Table<R> {
    source: R,
    caps: Caps,
    /// The index block, inflated, with its place.
    index: (Vec<u8>, u64),
    blocks: Vec<BlockHandle>,
}

impl<R: ReadAt> Table<R> {
    /// Reads the footer and the index block.
    pub fn open(source: R) -> Result<Self, Error> {
        Self::within(&Limits::default(), MAX_BLOCK_LEN, source)
    }

    /// Opens a table whose blocks take up to `max_block_len` bytes in the file.
    pub(crate) fn within(limits: &Limits, max_block_len: u64, source: R) -> Result<Self, Error> {
        let file_len = source.len();
        let caps = |stored| Caps {
            stored,
            memory: TooDense {
                allowed: limits.memory_for(file_len),
                len: file_len,
            },
        };
        let footer_offset = file_len
            .checked_sub(FOOTER_LEN as u64)
            .ok_or(Error::TooShort { found: file_len })?;
        let mut footer = [0; FOOTER_LEN];
        source.read_exact_at(&mut footer, footer_offset)?;
        let (mut handles, magic) = footer.split_at(FOOTER_LEN - 8);
        let magic = u64::from_le_bytes(magic.try_into().expect("eight bytes"));
        if magic != MAGIC {
            return Err(Error::BadMagic { found: magic });
        }

        let bad_footer = Error::Malformed {
            offset: footer_offset,
            what: "the footer holds no block handles",
        };
        let (Some(_meta_index), Some(index)) =
            (take_handle(&mut handles), take_handle(&mut handles))
        else {
            return Err(bad_footer);
        };

        let block = read_block(&source, index, caps(MAX_BLOCK_LEN))?;
        let mut blocks = Vec::new();
        let mut end = 0;
        scan_block(&block, index.offset, &mut Vec::new(), &mut |_, value| {
            let handle = index_entry(value, index.offset)?;
            // Blocks that overlap would let a small file claim unbounded work.
            if handle.offset < end {
                return Err(Error::BlocksOverlap {
                    offset: handle.offset,
                });
            }
            end = check_bounds(handle, file_len, max_block_len)?;
            blocks.push(handle);
            Ok(())
        })?;
        Ok(Self {
            source,
            caps: caps(max_block_len),
            index: (block, index.offset),
            blocks,
        })
    }

    /// Calls `visit` with every key and value, in the order of the keys. One block is held in
    /// memory at a time.
    pub fn scan<E: From<Error>>(
        &self,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut last_key = Vec::new();
        for &handle in &self.blocks {
            let block = self.read_block(handle)?;
            scan_block(&block, handle.offset, &mut last_key, &mut visit)?;
        }
        Ok(())
    }

    /// Length of the file in bytes.
    pub(crate) fn file_len(&self) -> u64 {
        self.caps.memory.len
    }

    /// The block that each of these keys can be in; the keys ascend. The index block has a key for each
    /// block that is no smaller than any in it, and smaller than any in the next.
    pub(crate) fn blocks_of(
        &self,
        keys: impl Iterator<Item = Vec<u8>>,
    ) -> Result<Vec<Option<BlockHandle>>, Error> {
        let (index, offset) = &self.index;
        let mut keys = keys.peekable();
        let mut found = Vec::new();
        scan_block(index, *offset, &mut Vec::new(), &mut |last, value| {
            let handle = index_entry(value, *offset)?;
            while keys.next_if(|key| &key[..] <= last).is_some() {
                found.push(Some(handle));
            }
            Ok::<(), Error>(())
        })?;
        found.extend(keys.map(|_| None));
        Ok(found)
    }

    /// Reads a block, checks its CRC-32C, inflates it, and notes where its values are.
    pub(crate) fn load_block(&self, handle: BlockHandle) -> Result<Block, Error> {
        let bytes = self.read_block(handle)?;
        let mut left = self.caps.memory.allowed;
        let mut entries = Vec::new();
        scan_entries(&bytes, handle.offset, &mut Vec::new(), |key, value| {
            let takes = key.len() + 2 * size_of::<(Vec<u8>, Range<usize>)>();
            left = (left.checked_sub(takes as u64)).ok_or(self.caps.memory)?;
            entries.push((key.to_vec(), value));
            Ok::<(), Error>(())
        })?;
        Ok(Block { bytes, entries })
    }

    /// Reads a block, checks its CRC-32C and inflates it.
    fn read_block(&self, handle: BlockHandle) -> Result<Vec<u8>, Error> {
        read_block(&self.source, handle, self.caps)
    }
}

/// A block in memory, to look keys up in.
pub(crate) struct Block {
    bytes: Vec<u8>,
    /// Keys in ascending order, with the places of their values.
    entries: Vec<(Vec<u8>, Range<usize>)>,
}

impl Block {
    /// The value of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let found = self.entries.binary_search_by(|(at, _)| at[..].cmp(key));
        Some(&self.bytes[self.entries[found.ok()?].1.clone()])
    }
}

fn index_entry(mut value: &[u8], offset: u64) -> Result<BlockHandle, Error> {
    take_handle(&mut value).ok_or(Error::Malformed {
        offset,
        what: "an index entry is not a block handle",
    })
}

/// Checks that a block and its trailer lie in the file; returns where they end.
fn check_bounds(handle: BlockHandle, file_len: u64, limit: u64) -> Result<u64, Error> {
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

fn read_block(source: &impl ReadAt, handle: BlockHandle, caps: Caps) -> Result<Vec<u8>, Error> {
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
fn scan_block<E: From<Error>>(
    block: &[u8],
    offset: u64,
    key: &mut Vec<u8>,
    visit: &mut impl FnMut(&[u8], &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    scan_entries(block, offset, key, |key, value| visit(key, &block[value]))
}

/// Calls `visit` with the key of each entry of a block and the place of its value. `key` is the last
/// key before the block, and the last key of the block on return: keys must ascend throughout a table.
fn scan_entries<E: From<Error>>(
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

/// Takes `len` bytes off the front.
fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

/// Takes a base-128 varint of up to 64 bits off the front.
fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    prost::encoding::decode_varint(bytes).ok()
}

fn take_len(bytes: &mut &[u8]) -> Option<usize> {
    usize::try_from(take_varint(bytes)?).ok()
}

fn take_handle(bytes: &mut &[u8]) -> Option<BlockHandle> {
    Some(BlockHandle {
        offset: take_varint(bytes)?,
        len: take_varint(bytes)?,
    })
}
