//! Limits on memory and disk space, in proportion to the length of a file.
//!
//! A few bytes can describe a great deal: a key that shares a prefix of kilobytes with the previous key,
//! an empty protobuf message, a member of an archive that inflates a thousandfold. A parser therefore
//! walks the raw bytes, subtracts what it is about to keep from a [`Budget`] before it allocates, and
//! stops with [`TooDense`] when the budget is used up. The budget is a constant plus a multiple of the
//! file's length.

/// Constant part of the memory limit, in bytes.
const MEMORY: u64 = 32 << 20;
/// Memory for each byte of a file. Indexes of real checkpoints take seven to eleven.
const MEMORY_PER_BYTE: u64 = 16;
/// Constant part of the limit on inflated bytes.
const INFLATED: u64 = 64 << 20;
/// Inflated bytes for each byte of an archive. Trained weights have a ratio below 2.
const INFLATED_PER_BYTE: u64 = 200;
/// Memory of a value in a JSON document, in bytes, while serde buffers it or keeps it in a map.
const JSON_VALUE: usize = 96;

/// Limits on the memory and the disk space that reading a checkpoint takes.
///
/// They apply to what is kept of a file: names, shapes and locations of variables, uncompressed blocks,
/// names of files in an archive. Buffers that the caller provides are not counted.
///
/// ```
/// use tf_checkpoint::Limits;
///
/// let mut limits = Limits::default();
/// limits.memory_per_byte = 64;
/// assert_eq!(limits.memory_for(1000), limits.memory + 64_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Memory for a file of any length, in bytes; 32 MiB by default.
    pub memory: u64,
    /// Additional memory for each byte of the file, in bytes; 16 by default.
    pub memory_per_byte: u64,
    /// Inflated bytes of an archive of any length; 64 MiB by default.
    pub inflated: u64,
    /// Additional inflated bytes for each byte of the archive; 200 by default.
    pub inflated_per_byte: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: MEMORY,
            memory_per_byte: MEMORY_PER_BYTE,
            inflated: INFLATED,
            inflated_per_byte: INFLATED_PER_BYTE,
        }
    }
}

impl Limits {
    /// Returns the memory limit for a file of `len` bytes, in bytes.
    pub fn memory_for(&self, len: u64) -> u64 {
        (self.memory_per_byte.saturating_mul(len)).saturating_add(self.memory)
    }

    /// Returns the limit on inflated bytes for an archive of `len` bytes.
    pub fn inflated_for(&self, len: u64) -> u64 {
        (self.inflated_per_byte.saturating_mul(len)).saturating_add(self.inflated)
    }

    /// Checks that a JSON document, decoded into a tree of values, stays within the memory limit for its
    /// length.
    ///
    /// The values are estimated by their separators in the raw bytes, including those in strings.
    ///
    /// # Errors
    /// [`TooDense`] with the limit.
    pub fn check_json(&self, text: &[u8]) -> Result<(), TooDense> {
        let separators = text.iter().filter(|byte| b",:[{".contains(byte)).count();
        let budget = self.budget(text.len() as u64);
        budget.check(separators.saturating_mul(JSON_VALUE))
    }

    pub(crate) fn budget(&self, len: u64) -> Budget {
        let allowed = self.memory_for(len);
        Budget {
            left: allowed,
            limit: TooDense { allowed, len },
        }
    }
}

/// The contents of a file exceed the memory that [`Limits`] allow for its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "its contents would take more than {allowed} bytes of memory, the most that is allowed for {len} \
     bytes"
)]
pub struct TooDense {
    /// The memory limit in bytes.
    pub allowed: u64,
    /// Length of the file in bytes.
    pub len: u64,
}

/// The memory that is left for a file.
#[derive(Debug)]
pub(crate) struct Budget {
    left: u64,
    limit: TooDense,
}

impl Budget {
    /// Adds the allowance of another file of the same checkpoint.
    pub(crate) fn add(&mut self, limits: &Limits, len: u64) {
        let more = limits.memory_per_byte.saturating_mul(len);
        self.left = self.left.saturating_add(more);
        self.limit.allowed = self.limit.allowed.saturating_add(more);
        self.limit.len = self.limit.len.saturating_add(len);
    }

    /// Subtracts `bytes` that are about to be allocated and kept.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), TooDense> {
        self.check(bytes)?;
        self.left -= bytes as u64;
        Ok(())
    }

    /// Checks that `bytes` may be allocated temporarily.
    pub(crate) fn check(&self, bytes: usize) -> Result<(), TooDense> {
        if bytes as u64 > self.left {
            return Err(self.limit);
        }
        Ok(())
    }
}
