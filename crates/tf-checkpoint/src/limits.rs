//! How much reading a file may cost, in proportion to the file's real size.
//!
//! A few bytes can describe a great deal: a key that shares a prefix of kilobytes with the key before
//! it, an empty protobuf message, a member of an archive that inflates a thousandfold. Sound files can
//! be as dense as damaged ones. Therefore a parser walks the raw bytes and subtracts what it is about
//! to keep from a [`Budget`] before it allocates anything, and stops with [`TooDense`] when the budget
//! is used up. The budget is a constant, generous for every checkpoint of any ELECTRA, plus a multiple
//! of the file's length.

/// Memory that a file of any length may take, in bytes.
const MEMORY: u64 = 32 << 20;
/// Memory for each byte of a file. The indexes in `fixtures/` take seven to eleven.
const MEMORY_PER_BYTE: u64 = 16;
/// What an archive of any length may inflate to, in bytes.
const INFLATED: u64 = 64 << 20;
/// What an archive may inflate to for each byte of it. Trained weights shrink by less than half.
const INFLATED_PER_BYTE: u64 = 200;
/// Bytes of memory for a value in a JSON document, while serde buffers it or keeps it in a map.
const JSON_VALUE: usize = 96;

/// Limits on the memory and the disk space that reading a checkpoint takes.
///
/// They bound what is kept of a file beside its own bytes: names, shapes and places of variables,
/// uncompressed blocks, names of files in an archive. Buffers that a caller provides do not count.
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
    /// Memory that a file of any length may take, in bytes: 32 MiB by default.
    pub memory: u64,
    /// Memory for each byte of the file: 16 by default.
    pub memory_per_byte: u64,
    /// What an archive of any length may inflate to, in bytes: 64 MiB by default.
    pub inflated: u64,
    /// What an archive may inflate to for each byte of it: 200 by default.
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
    /// Returns the memory that a file of `len` bytes may take, in bytes.
    pub fn memory_for(&self, len: u64) -> u64 {
        (self.memory_per_byte.saturating_mul(len)).saturating_add(self.memory)
    }

    /// Returns the bytes that an archive of `len` bytes may inflate to.
    pub fn inflated_for(&self, len: u64) -> u64 {
        (self.inflated_per_byte.saturating_mul(len)).saturating_add(self.inflated)
    }

    /// Checks that a JSON document, decoded into a tree of values, fits into the memory for its length.
    ///
    /// Counts on the raw bytes what separates values; punctuation in strings counts as well.
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

/// A file would take more memory than [`Limits`] allow for its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "its contents would take more than {allowed} bytes of memory, the most that is allowed for {len} \
     bytes"
)]
pub struct TooDense {
    /// Memory that was allowed, in bytes.
    pub allowed: u64,
    /// Length of the file in bytes.
    pub len: u64,
}

/// The memory that a file may still take.
#[derive(Debug)]
pub(crate) struct Budget {
    left: u64,
    limit: TooDense,
}

impl Budget {
    /// Adds what another file of the same checkpoint may take.
    pub(crate) fn add(&mut self, limits: &Limits, len: u64) {
        let more = limits.memory_per_byte.saturating_mul(len);
        self.left = self.left.saturating_add(more);
        self.limit.allowed = self.limit.allowed.saturating_add(more);
        self.limit.len = self.limit.len.saturating_add(len);
    }

    /// Subtracts memory that is about to be allocated and kept.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), TooDense> {
        self.check(bytes)?;
        self.left -= bytes as u64;
        Ok(())
    }

    /// Checks that memory may be allocated that is freed soon.
    pub(crate) fn check(&self, bytes: usize) -> Result<(), TooDense> {
        if bytes as u64 > self.left {
            return Err(self.limit);
        }
        Ok(())
    }
}
