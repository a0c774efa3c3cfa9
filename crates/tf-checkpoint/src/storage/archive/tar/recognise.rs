//! Recognises tar archives, compressed with gzip or not, by the first bytes of a file.

use std::io::Read as _;

use flate2::read::GzDecoder;
use tar::Header;

/// The first bytes of a gzip file.
pub(crate) const GZIP: &[u8] = b"\x1f\x8b\x08";
/// The usual endings of the names of compressed archives.
pub(crate) const GZIPPED_NAMES: &[&str] = &[".tar.gz", ".tgz"];
/// The length of a header, and the unit in which an archive is divided.
pub(super) const BLOCK: usize = 512;
/// The word in the headers of every format but the oldest, and its offset.
const MAGIC: (usize, &[u8]) = (257, b"ustar");

/// Returns true if the start of a file is that of a tar archive: its first header has the word `ustar` or
/// the right checksum.
pub(crate) fn is_tar(start: &[u8]) -> bool {
    let Some(block) = start.first_chunk::<BLOCK>() else {
        return false;
    };
    let mut header = Header::new_old();
    *header.as_mut_bytes() = *block;
    block[MAGIC.0..].starts_with(MAGIC.1) || is_sound(&header)
}

/// Returns true if the start of a file is that of a tar archive compressed with gzip.
pub(crate) fn is_gzipped_tar(start: &[u8]) -> bool {
    if !start.starts_with(GZIP) {
        return false;
    }
    let mut block = [0; BLOCK];
    // An error means that less than a block can be inflated.
    GzDecoder::new(start).read_exact(&mut block).is_ok() && is_tar(&block)
}

/// Returns true if the header has the checksum that it states.
pub(super) fn is_sound(header: &Header) -> bool {
    const CHECKSUM: std::ops::Range<usize> = 148..156;
    let mut bytes = *header.as_bytes();
    // The field itself counts as spaces.
    bytes[CHECKSUM].fill(b' ');
    let found = bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
    header.cksum().is_ok_and(|stated| stated == found)
}
