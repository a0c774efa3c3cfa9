//! Memory for the bytes of a tensor.
//!
//! Transposing steps through a matrix a row apart, on ordinary pages of 4 KiB a new page each time:
//! on a matrix of 1024 by 4096 the misses of the address cache cost half of the speed. A large buffer
//! is therefore mapped and asks for huge pages, of 2 MiB, where the system has them; they also make
//! new memory cheap, since there are 512 times fewer pages to come by. The mapping is anonymous: no
//! file is behind it.
//!
//! Where the bytes begin matters too. The kernel copies between a file's pages and a buffer with one
//! instruction (`rep movsb`), which on AMD's processors takes four times as long when the destination
//! begins 1 to 15 bytes after the source, counted within lines of 64 bytes: reads fall from 11 to
//! 3 GB/s, writes from 6.5 to 2.5. Variables and tensors begin anywhere in their files; half a line
//! from there is right for both directions.

use bytemuck::Pod;
use memmap2::MmapMut;

/// Bytes of a huge page on the usual processors. Smaller buffers are ordinary memory.
const HUGE_PAGE: usize = 2 << 20;
/// Bytes of a line of the cache.
const LINE: usize = 64;

/// A buffer aligned for every element type, so that views of it never fail.
#[derive(Debug, Default)]
pub struct AlignedBytes {
    memory: Memory,
    /// Where in the memory the bytes begin.
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
    /// Zeroes, at least `len` of them.
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

/// New memory on huge pages; `None` for what would not fill one, and where there are none.
#[cfg(target_os = "linux")]
fn map_huge_pages(len: usize) -> Option<MmapMut> {
    if len < HUGE_PAGE {
        return None;
    }
    // Linux aligns a mapping to huge pages only if it is a multiple of them.
    let pages = MmapMut::map_anon(len.checked_next_multiple_of(HUGE_PAGE)?).ok()?;
    pages.advise(memmap2::Advice::HugePage).ok()?;
    Some(pages)
}

#[cfg(not(target_os = "linux"))]
fn map_huge_pages(_: usize) -> Option<MmapMut> {
    None
}

impl AlignedBytes {
    /// `len` zero bytes.
    pub fn zeroed(len: usize) -> Self {
        Self {
            memory: Memory::zeroed(len),
            start: 0,
            len,
        }
    }

    /// `len` zero bytes, to be copied from or to `offset` in a file.
    pub(crate) fn beside(len: usize, offset: u64) -> Self {
        let mut bytes = Self::default();
        bytes.resize_aligned_to(len, offset);
        bytes
    }

    /// Makes it `len` bytes long, to be copied from or to `offset` in a file. What they are is
    /// unspecified.
    pub(crate) fn resize_aligned_to(&mut self, len: usize, offset: u64) {
        if len + LINE > self.memory.as_bytes().len() {
            // The old memory goes before the new comes.
            self.memory = Memory::default();
            self.memory = Memory::zeroed(len + LINE);
        }
        let within_line = usize::try_from(offset % LINE as u64).expect("less than a line");
        self.start = (within_line.next_multiple_of(size_of::<u64>()) + LINE / 2) % LINE;
        self.len = len;
    }

    /// Number of bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All of it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.memory.as_bytes()[self.start..][..self.len]
    }

    /// All of it, to be changed.
    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory.as_bytes_mut()[self.start..][..self.len]
    }

    pub(crate) fn elements<T: Pod>(&self) -> &[T] {
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
                AlignedBytes::beside(len, at as u64),
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
    fn buffers_begin_half_a_line_from_where_the_bytes_begin_in_a_file() {
        for offset in 0..200 {
            let bytes = AlignedBytes::beside(HUGE_PAGE, offset);
            let distance = bytes.as_bytes().as_ptr().addr() as u64 + 4096 - offset % 4096;
            let line = LINE as u64;
            assert!((line / 2..line / 2 + 8).contains(&(distance % line)));
        }
    }
}
