//! Memory for the bytes of a tensor.
//!
//! Transposing walks through a matrix one row after the other, which on pages of 4 KiB touches a new page
//! for each row: on a 1024 by 4096 matrix the misses of the TLB cost half of the speed. A large buffer is
//! therefore an anonymous mapping with huge pages of 2 MiB, where the system has them; they also make new
//! memory cheap, because there are 512 times fewer page faults.
//!
//! The alignment matters too. The kernel copies between the page cache and a buffer with one instruction
//! (`rep movsb`), which on AMD processors takes four times as long if the destination begins 1 to 15 bytes
//! after the source, modulo the cache line of 64 bytes: reads drop from 11 to 3 GB/s, writes from 6.5 to
//! 2.5 GB/s. Variables and tensors begin at any offset of their files; a buffer that begins half a cache line
//! away from that offset is fast in both directions.

use bytemuck::Pod;
use memmap2::MmapMut;

/// Bytes of a huge page on x86-64 and AArch64. Smaller buffers are ordinary memory.
#[cfg(any(target_os = "linux", test))]
const HUGE_PAGE: usize = 2 << 20;
/// Bytes of a cache line.
const LINE: usize = 64;

/// A buffer that is aligned for every element type, so that it can be viewed as a slice of any of them.
#[derive(Debug, Default)]
pub struct AlignedBytes {
    memory: Memory,
    /// Offset of the bytes in the memory.
    start: usize,
    len: usize,
}

#[derive(Debug)]
enum Memory {
    Words(Vec<u64>),
    Pages(MmapMut),
}

impl Default for Memory {
    fn default() -> Self {
        Self::Words(Vec::new())
    }
}

impl Memory {
    /// Allocates at least `len` zero bytes.
    fn zeroed(len: usize) -> Self {
        map_huge_pages(len).map_or_else(
            || Self::Words(vec![0; len.div_ceil(size_of::<u64>())]),
            Self::Pages,
        )
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Words(words) => bytemuck::must_cast_slice(words),
            Self::Pages(pages) => pages,
        }
    }

    fn as_bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Words(words) => bytemuck::must_cast_slice_mut(words),
            Self::Pages(pages) => pages,
        }
    }
}

/// Maps memory on huge pages; `None` for less than one page, or if the system has none.
#[cfg(target_os = "linux")]
fn map_huge_pages(len: usize) -> Option<MmapMut> {
    if len < HUGE_PAGE {
        return None;
    }
    // Linux aligns a mapping to huge pages only if its length is a multiple of them.
    let pages = MmapMut::map_anon(len.checked_next_multiple_of(HUGE_PAGE)?).ok()?;
    pages.advise(memmap2::Advice::HugePage).ok()?;
    Some(pages)
}

#[cfg(not(target_os = "linux"))]
fn map_huge_pages(_: usize) -> Option<MmapMut> {
    None
}

impl AlignedBytes {
    /// Creates a buffer of `len` zero bytes.
    pub fn zeroed(len: usize) -> Self {
        Self {
            memory: Memory::zeroed(len),
            start: 0,
            len,
        }
    }

    /// Creates a buffer that holds these elements.
    pub fn of<T: Pod>(elements: &[T]) -> Self {
        let mut bytes = Self::zeroed(size_of_val(elements));
        bytes
            .as_bytes_mut()
            .copy_from_slice(bytemuck::cast_slice(elements));
        bytes
    }

    /// Creates a buffer of `len` zero bytes, aligned for a copy from or to `offset` in a file.
    pub fn zeroed_for(len: usize, offset: u64) -> Self {
        let mut bytes = Self::default();
        bytes.resize_aligned_to(len, offset);
        bytes
    }

    /// Resizes the buffer to `len` bytes, aligned for a copy from or to `offset` in a file. Its contents
    /// are unspecified.
    pub fn resize_aligned_to(&mut self, len: usize, offset: u64) {
        if len + LINE > self.memory.as_bytes().len() {
            // Frees the old memory before the new one is allocated.
            self.memory = Memory::default();
            self.memory = Memory::zeroed(len + LINE);
        }
        let within_line = usize::try_from(offset % LINE as u64).expect("less than a line");
        self.start = (within_line.next_multiple_of(size_of::<u64>()) + LINE / 2) % LINE;
        self.len = len;
    }

    /// Returns true if the buffer has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns all bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.memory.as_bytes()[self.start..][..self.len]
    }

    /// Returns all bytes, mutable.
    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory.as_bytes_mut()[self.start..][..self.len]
    }

    /// Returns the bytes as elements of one type.
    pub fn elements<T: Pod>(&self) -> &[T] {
        bytemuck::cast_slice(self.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_of_every_size_can_be_viewed() {
        let mut bytes = AlignedBytes::default();
        for (at, len) in [0, 1, 8, HUGE_PAGE - 8, HUGE_PAGE, 3 * HUGE_PAGE + 16, 24]
            .into_iter()
            .enumerate()
        {
            for new in [
                AlignedBytes::zeroed(len),
                AlignedBytes::zeroed_for(len, at as u64),
            ] {
                assert_eq!(new.as_bytes().len(), len);
                assert!(new.as_bytes().iter().all(|&byte| byte == 0));
            }
            bytes.resize_aligned_to(len, 4 * at as u64);
            bytes.as_bytes_mut().fill(1);
            assert_eq!(bytes.as_bytes().len(), len);
            if len % 8 == 0 {
                assert_eq!(
                    bytes.elements::<u64>(),
                    vec![0x0101_0101_0101_0101; len / 8]
                );
            }
        }
    }

    #[test]
    fn buffers_begin_half_a_cache_line_away_from_the_offset_in_the_file() {
        for offset in 0..200 {
            let bytes = AlignedBytes::zeroed_for(HUGE_PAGE, offset);
            let distance = bytes.as_bytes().as_ptr().addr() as u64 + 4096 - offset % 4096;
            let line = LINE as u64;
            assert!((line / 2..line / 2 + 8).contains(&(distance % line)));
        }
    }
}
