//! The reasons why a table cannot be read.

use super::{FOOTER_LEN, MAGIC};
use crate::limits::TooDense;

/// The reason why a table cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reading the file failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The file is too short for a footer.
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
    /// A block lies outside of the file.
    #[error("a block of {len} bytes at {offset} lies outside of the file, which has {file_len}")]
    BlockOutside {
        /// Start of the block, as stated.
        offset: u64,
        /// Length of the block without its trailer, as stated.
        len: u64,
        /// Length of the file.
        file_len: u64,
    },
    /// A block starts before the previous one ends.
    #[error("the block at {offset} starts inside the one before it")]
    BlocksOverlap {
        /// Start of the block, as stated.
        offset: u64,
    },
    /// A block exceeds the limit for its length in the file.
    #[error("the block at {offset} takes {len} bytes, more than the {limit} allowed")]
    BlockTooLong {
        /// Start of the block.
        offset: u64,
        /// Its length in the file.
        len: u64,
        /// The limit.
        limit: u64,
    },
    /// A block exceeds the memory limit.
    #[error(transparent)]
    TooDense(#[from] TooDense),
    /// The checksum of a block does not match its bytes.
    #[error(
        "the checksum of the block at {offset} does not match: \
         expected {expected:#010x}, found {found:#010x}"
    )]
    Checksum {
        /// Start of the block.
        offset: u64,
        /// The CRC-32C in the trailer.
        expected: u32,
        /// The CRC-32C of the bytes.
        found: u32,
    },
    /// A block has a compression type that LevelDB does not define.
    #[error("the block at {offset} has the unknown compression type {found}")]
    Compression {
        /// Start of the block.
        offset: u64,
        /// The type byte.
        found: u8,
    },
    /// A block cannot be decompressed by Snappy.
    #[error("the block at {offset} is not valid Snappy data")]
    Snappy {
        /// Start of the block.
        offset: u64,
    },
    /// An entry, a handle or the list of restart points is invalid.
    #[error("the block at {offset} is malformed: {what}")]
    Malformed {
        /// Start of the block.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}
