//! Sorted string tables in LevelDB's format, the container of a checkpoint's index.
//!
//! A table is a sequence of blocks, an index block that lists them, and a 48-byte footer with the
//! location of the index block. Every block ends in a compression type and a masked CRC-32C, both
//! checked here. Blocks must not overlap and keys must ascend, so that scanning a table takes time and
//! memory in proportion to its length; the length of a decompressed block is subject to [`Limits`].
//! Format: `doc/table_format.md` in LevelDB, `tensorflow/core/lib/io/format.cc`.
//!
//! The crate `sstable` (0.11) is not used because it trusts the file: it allocates the length that a
//! block handle states, and panics on invalid varints, restart points and block lengths.

mod block;
mod error;

pub(crate) use block::{Block, BlockHandle};
pub use error::Error;

use std::io;
use std::ops::Range;

use crate::file_range::FileRange;
use crate::limits::{Limits, TooDense};
use crate::storage::ReadAt;
use block::{Caps, check_bounds, index_entry, read_block, scan_block, scan_entries, take_handle};

/// The length of the footer, two padded block handles and the magic number, in bytes.
const FOOTER_LEN: usize = 48;
const MAGIC: u64 = 0xdb47_7524_8b80_fb57;

/// The longest block of an index, in bytes. TensorFlow ends blocks at 256 KiB.
pub(crate) const MAX_BLOCK_LEN: u64 = 64 << 20;

/// Returns true if the file ends in the magic number of a table.
pub(crate) fn has_magic<R: ReadAt>(
    source: &R,
    read: impl Fn(&R, &mut [u8], u64) -> io::Result<()>,
) -> io::Result<bool> {
    let mut magic = [0; size_of::<u64>()];
    let Some(start) = source.len().checked_sub(magic.len() as u64) else {
        return Ok(false);
    };
    read(source, &mut magic, start)?;
    Ok(u64::from_le_bytes(magic) == MAGIC)
}

/// An open table: keys and values in the order of the keys.
#[derive(Debug)]
pub struct Table<R> {
    source: R,
    caps: Caps,
    /// The index block, decompressed, and its offset in the file.
    index: (Vec<u8>, u64),
    blocks: Vec<BlockHandle>,
}

impl<R: ReadAt> Table<R> {
    /// Opens a table with the default [`Limits`]: reads the footer and the index block.
    ///
    /// # Errors
    /// If reading fails, or the file is not a valid table.
    pub fn open(source: R) -> Result<Self, Error> {
        Self::within(&Limits::default(), MAX_BLOCK_LEN, source)
    }

    /// Opens a table whose blocks have up to `max_block_len` bytes in the file.
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
            // Blocks that overlap would let a small file cause unbounded work.
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

    /// Calls `visit` with every key and value, in the order of the keys. One block is held in memory at a
    /// time.
    ///
    /// # Errors
    /// If a block cannot be read or is damaged, or the error of `visit`.
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

    /// Returns the length of the file in bytes.
    pub(crate) fn file_len(&self) -> u64 {
        self.caps.memory.len
    }

    /// Returns the block that can contain each of the keys, which must ascend. The index block has a key
    /// for each block that is not smaller than any in it, and smaller than any in the next.
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

    /// Returns where a block is.
    pub(crate) fn range(&self, block: BlockHandle) -> FileRange<'_> {
        FileRange {
            file: &self.source,
            range: block.stored(),
        }
    }

    /// Reads a block and indexes its values.
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

    /// Reads a block, verifies its CRC-32C and decompresses it.
    fn read_block(&self, handle: BlockHandle) -> Result<Vec<u8>, Error> {
        read_block(&self.source, handle, self.caps)
    }
}
