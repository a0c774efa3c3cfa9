//! The CRC-32C of a matrix whose columns are read in bands.
//!
//! A checksum is defined over bytes in their order. For parts `s` of a run of bytes it is the exclusive or of
//! `shift(crc32c(s), bytes after s)`, where `shift` is how zero bytes after a part change its checksum. The
//! rows of a band are such parts, so that each band has a contribution of its own, and the exclusive or of those
//! of all bands is the checksum of the matrix. `shift` by one length is linear: a table has its results for each
//! value of each of the four bytes.

/// The contribution of one band of columns.
pub(super) struct ColumnsChecksum {
    /// The results of a shift by one row for each byte of a checksum.
    by_row: [[u32; 256]; 4],
    sum: u32,
}

impl ColumnsChecksum {
    /// Creates the contribution of columns of a matrix whose rows have `row` bytes.
    pub(super) fn new(row: usize) -> Self {
        let by_row = std::array::from_fn(|byte| {
            let mut table = [0; 256];
            for value in 1..256_usize {
                let lowest = value.trailing_zeros();
                let bit = 1 << (8 * byte + lowest as usize);
                table[value] = match value & (value - 1) {
                    0 => shift(bit, row),
                    rest => table[rest] ^ table[1 << lowest],
                };
            }
            table
        });
        Self { by_row, sum: 0 }
    }

    /// Adds the bytes of the columns in the next row.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let shifted = std::iter::zip(&self.by_row, self.sum.to_le_bytes());
        let shifted = shifted.fold(0, |sum, (table, byte)| sum ^ table[usize::from(byte)]);
        self.sum = shifted ^ crc32c::crc32c(bytes);
    }

    /// Returns the contribution; `after` is the number of bytes in a row after the columns.
    pub(super) fn end(self, after: usize) -> u32 {
        shift(self.sum, after)
    }
}

/// Returns the checksum of a part after which `len` zero bytes follow, without the checksum of these bytes.
fn shift(crc32c: u32, len: usize) -> u32 {
    crc32c::crc32c_combine(crc32c, 0, len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_together_have_the_checksum_of_the_matrix() {
        for (rows, row) in [(1, 5), (7, 1), (13, 40), (300, 64)] {
            let bytes: Vec<u8> = (0..rows * row)
                .map(|n| ((n * n + n / 7) % 251).try_into().unwrap())
                .collect();
            for band in [1, 3, 16, row] {
                let mut sum = 0;
                for start in (0..row).step_by(band) {
                    let end = row.min(start + band);
                    let mut columns = ColumnsChecksum::new(row);
                    for line in bytes.chunks(row) {
                        columns.add(&line[start..end]);
                    }
                    sum ^= columns.end(row - end);
                }
                assert_eq!(sum, crc32c::crc32c(&bytes), "{rows} rows, {row}, {band}");
            }
        }
    }
}
