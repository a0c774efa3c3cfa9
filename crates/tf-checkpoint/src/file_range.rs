//! Where the bytes of a variable are: ranges of files, to be fetched ahead.

use std::ops::Range;
use std::ptr;

use crate::storage::ReadAt;

/// A range of a file.
#[derive(Clone, Debug)]
pub struct FileRange<'a> {
    /// The file.
    pub file: &'a dyn ReadAt,
    /// The range in bytes.
    pub range: Range<u64>,
}

impl FileRange<'_> {
    /// Returns a part of it.
    #[must_use]
    pub fn part(&self, part: &Range<u64>) -> Self {
        let Range { start, .. } = self.range;
        Self {
            file: self.file,
            range: start + part.start..start + part.end,
        }
    }

    /// Returns true if a read would wait because the range is still being fetched: see [`ReadAt::is_pending`].
    pub fn is_pending(&self) -> bool {
        self.file.is_pending(&self.range)
    }
}

/// Announces ranges that will be read, in this order.
pub(crate) fn prepare(ranges: Vec<FileRange<'_>>) {
    let mut files: Vec<(&dyn ReadAt, Vec<Range<u64>>)> = Vec::new();
    for FileRange { file, range } in ranges {
        match files
            .iter_mut()
            .find(|(known, _)| ptr::addr_eq(*known, file))
        {
            Some((_, ranges)) => ranges.push(range),
            None => files.push((file, vec![range])),
        }
    }
    for (file, ranges) in files {
        file.prepare(&ranges);
    }
}
