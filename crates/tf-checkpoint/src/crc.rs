//! CRC-32C as TensorFlow and LevelDB store it.

/// Added after the rotation, so that a checksum of data that holds checksums is not degenerate
/// (`kMaskDelta` in LevelDB's `util/crc32c.h`).
const MASK_DELTA: u32 = 0xa282_ead8;

/// Returns the stored form of a CRC-32C.
#[cfg(test)]
pub(crate) fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(MASK_DELTA)
}

/// Returns the CRC-32C of its stored form.
pub(crate) fn unmask(masked: u32) -> u32 {
    masked.wrapping_sub(MASK_DELTA).rotate_left(15)
}

#[cfg(test)]
mod tests {
    use super::{mask, unmask};

    #[test]
    fn masking_is_leveldbs() {
        // Rotated right by 15, then kMaskDelta added, worked out by hand.
        let crc = crc32c::crc32c(b"a");
        assert_eq!(crc, 0xc1d0_4330);
        assert_eq!(mask(crc), 0x28e4_6e78);
        assert_eq!(unmask(mask(crc)), crc);
    }
}
