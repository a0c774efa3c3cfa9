//! The superblock: versions, and the address of the root group.

use super::UNDEFINED;
use super::cursor::Cursor;
use super::problem::Problem;
use super::source::Source;

/// The first bytes of a file.
pub(crate) const SIGNATURE: &[u8] = b"\x89HDF\r\n\x1a\n";

/// The length of version 0, in bytes.
const LEN: u64 = 96;
/// The bytes that version 1 has more, after the flags.
const MORE_IN_V1: usize = 4;

/// Reads the superblock; returns the address of the root group's object header.
pub(super) fn read_root(source: &mut Source) -> Result<u64, Problem> {
    let start = source.read(0, LEN.min(source.file_len()))?;
    let mut cursor = Cursor::new(&start);
    if cursor.bytes(SIGNATURE.len())? != SIGNATURE {
        return Err(Problem::damaged("does not start with HDF5's signature"));
    }
    let version = cursor.u8()?;
    if version > 1 {
        return Err(Problem::Unsupported(format!(
            "has version {version}, which h5py writes with the option libver"
        )));
    }
    // Versions of the free space, the root group and shared messages, each with a reserved byte.
    cursor.skip(4)?;
    let sizes = [cursor.u8()?, cursor.u8()?];
    if sizes != [8, 8] {
        return Err(Problem::Unsupported(format!(
            "has addresses and lengths of {} and {} bytes, not of 8",
            sizes[0], sizes[1]
        )));
    }
    // A reserved byte, two sizes of nodes, flags.
    cursor.skip(1 + 2 + 2 + 4)?;
    if version == 1 {
        cursor.skip(MORE_IN_V1)?;
    }
    let base = cursor.u64()?;
    if base != 0 {
        return Err(Problem::Unsupported(format!(
            "has the base address {base}, not 0"
        )));
    }
    let _free_space = cursor.u64()?;
    let end = cursor.u64()?;
    if end > source.file_len() {
        return Err(Problem::Damaged(format!(
            "gives the file {end} bytes, but it has {}: it is cut short",
            source.file_len()
        )));
    }
    if cursor.u64()? != UNDEFINED {
        return Err(Problem::unsupported("has a block of another file driver"));
    }
    // The root group's symbol table entry: the offset of its name, then the address.
    cursor.skip(8)?;
    cursor.u64()
}
