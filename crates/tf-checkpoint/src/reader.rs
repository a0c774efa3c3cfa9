//! The operations that every format supports: listing variables and reading their pieces.

use std::fmt;

use crate::contiguous::Contiguous;
use crate::error::Error;
use crate::file_range::FileRange;
use crate::layout;
use crate::variable::Variable;

/// Reads the variables of a checkpoint of one format.
pub(crate) trait Reader: fmt::Debug + Send + Sync {
    /// Returns every variable, in the byte order of their names.
    fn variables(&self) -> &[Variable];

    /// Returns the number of files with values.
    fn shard_count(&self) -> usize;

    /// Checks that a piece of a variable is present, without reading it. `piece` is its index.
    fn check_present(&self, variable: &Variable, piece: usize) -> Result<(), Error>;

    /// Reads a piece of a variable into `buf`, which is as long as the piece.
    fn read_piece(&self, variable: &Variable, piece: usize, buf: &mut [u8]) -> Result<(), Error>;

    /// Returns every range that is read for a variable; none if it is read in another way.
    fn ranges<'a>(&'a self, variable: &'a Variable) -> Vec<FileRange<'a>>;

    /// Returns the variable as one run of bytes, if it is stored so.
    fn contiguous<'a>(&'a self, _variable: &'a Variable) -> Option<Contiguous<'a>> {
        None
    }

    /// Reads a whole variable.
    fn read(&self, variable: &Variable, buf: &mut [u8]) -> Result<(), Error> {
        for (at, piece) in variable.pieces.iter().enumerate() {
            match &piece.slice {
                None => self.read_piece(variable, at, buf)?,
                Some(ranges) => {
                    let len = usize::try_from(piece.len).expect("no longer than the buffer");
                    let mut slice = vec![0; len];
                    self.read_piece(variable, at, &mut slice)?;
                    layout::place(&slice, ranges, (variable.dtype, &variable.shape), buf);
                }
            }
        }
        Ok(())
    }
}
