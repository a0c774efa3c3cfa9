//! The file that the tensors are written to, and the places of the tensors.

use std::fs::File;
use std::path::Path;

use parking_lot::Mutex;
use tf_checkpoint::{Checkpoint, Contiguous};

use crate::export::Error;
use crate::plan::PlannedTensor;
use crate::sys;

/// The file that the tensors are written to.
pub(super) struct Target<'a> {
    /// On Linux, threads that wait for the kernel's lock on a file spin (measured in `stream`).
    pub(super) file: &'a Mutex<File>,
    pub(super) path: &'a Path,
    /// The tensors with their offsets in the file.
    pub(super) tensors: &'a [(&'a PlannedTensor, u64)],
}

impl<'a> Target<'a> {
    /// Returns a tensor that is copied or transposed from one run of bytes; `None` for the others.
    pub(super) fn streamed(
        &self,
        tensor: usize,
        checkpoint: &'a Checkpoint,
    ) -> Option<Streamed<'a>> {
        let (tensor, offset) = self.tensors[tensor];
        if !tensor.recipe.is_reversible() {
            return None;
        }
        let variable = checkpoint.contiguous(&tensor.variables[0])?;
        // Without a checksum in the checkpoint, that of the written tensor is recorded, for which the tensor
        // is made in memory.
        variable.has_checksum().then_some(Streamed {
            tensor,
            variable,
            offset,
        })
    }

    /// Writes at an offset of the file.
    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> Result<(), Error> {
        let file = self.file.lock();
        sys::write_all_at(&file, bytes, offset).map_err(Error::writing(self.path))
    }
}

/// A tensor that is streamed from a variable in the checkpoint to its place in the file.
pub(super) struct Streamed<'a> {
    pub(super) tensor: &'a PlannedTensor,
    pub(super) variable: Contiguous<'a>,
    /// The offset of the tensor in the file.
    pub(super) offset: u64,
}

impl Streamed<'_> {
    /// Returns the number of bytes of the tensor that `len` bytes of the variable become.
    pub(super) fn written_len(&self, len: u64) -> u64 {
        let cast = self.tensor.cast;
        len / cast.source_size() as u64 * cast.to_size() as u64
    }
}
