//! An open checkpoint.

use std::path::Path;

use crate::bundle::Bundle;
use crate::contiguous::Contiguous;
use crate::error::Error;
use crate::file_range::{self, FileRange};
use crate::formats::Format;
use crate::graph::MetaGraph;
use crate::hdf5;
use crate::locate::Location;
use crate::reader::Reader;
#[cfg(feature = "tensorflow")]
use crate::tensorflow;
use crate::v1::Tables;
use crate::variable::{DType, Variable, position};

/// The implementation that reads the values of variables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadBy {
    /// This crate.
    #[default]
    Native,
    /// TensorFlow's own library, loaded at run time.
    #[cfg(feature = "tensorflow")]
    TensorFlow,
}

/// An open checkpoint: the list of its variables, and access to their values.
///
/// Values may be read from several threads at once.
#[derive(Debug)]
pub struct Checkpoint {
    location: Location,
    reader: Box<dyn Reader>,
}

impl Checkpoint {
    /// Opens a checkpoint: reads and checks the list of variables. Values are not read.
    ///
    /// # Errors
    /// If the list cannot be read, or its contents are not those of a checkpoint.
    pub fn open(location: Location) -> Result<Self, Error> {
        Self::open_by(location, ReadBy::Native)
    }

    /// As [`open`](Self::open), with a choice of the implementation that reads values.
    ///
    /// # Errors
    /// As [`open`](Self::open), or if TensorFlow's library cannot be loaded.
    pub fn open_by(location: Location, read_by: ReadBy) -> Result<Self, Error> {
        let reader: Box<dyn Reader> = match location.format() {
            Format::TensorBundle | Format::SavedModel => Box::new(Bundle::open(&location)?),
            Format::V1 => Box::new(Tables::open(&location)?),
            Format::Hdf5 => Box::new(hdf5::Weights::open(&location)?),
        };
        let reader = match read_by {
            ReadBy::Native => reader,
            #[cfg(feature = "tensorflow")]
            ReadBy::TensorFlow => Box::new(tensorflow::TensorFlow::open(&location, reader)?),
        };
        Ok(Self { location, reader })
    }

    /// Returns the location of the checkpoint.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Returns every variable, in the byte order of their names.
    pub fn variables(&self) -> &[Variable] {
        self.reader.variables()
    }

    /// Returns true for an object-based checkpoint of TensorFlow 2, whose keys are paths through objects.
    pub fn is_object_based(&self) -> bool {
        let mut variables = self.variables().iter();
        variables.any(|variable| variable.object_path().is_some())
    }

    /// Returns the number of files with values.
    pub fn shard_count(&self) -> usize {
        self.reader.shard_count()
    }

    /// Checks that the data file of `variable` exists and is long enough, without reading it.
    ///
    /// # Errors
    /// [`Error::ShardMissing`] or [`Error::ShardTruncated`].
    pub fn check_present(&self, variable: &Variable) -> Result<(), Error> {
        self.check_own(variable)?;
        (0..variable.pieces.len()).try_for_each(|piece| self.reader.check_present(variable, piece))
    }

    /// Announces that these variables will be read: files in a bucket are fetched ahead, many ranges at once, in this
    /// order and before what was announced earlier.
    /// Returns at once; an error is reported by the reads.
    pub fn prepare<'a>(&self, variables: impl IntoIterator<Item = &'a Variable>) {
        let ranges = variables.into_iter().flat_map(|one| self.ranges(one));
        file_range::prepare(ranges.collect());
    }

    /// Returns every range that is read for a variable: its pieces, and further copies of their bytes.
    pub fn ranges<'a>(&'a self, variable: &'a Variable) -> Vec<FileRange<'a>> {
        match self.check_own(variable) {
            Ok(()) => self.reader.ranges(variable),
            Err(_) => Vec::new(),
        }
    }

    /// Checks that none of the files has changed since the checkpoint was opened, for example because
    /// training is still running.
    ///
    /// # Errors
    /// [`Error::Changed`], or [`Error::Io`] if the metadata of a file cannot be read.
    pub fn check_unchanged(&self) -> Result<(), Error> {
        let is_part = |path: &Path| self.location.is_part(path);
        match self.location.storage().changed(&is_part)? {
            Some(path) => Err(Error::Changed { path }),
            None => Ok(()),
        }
    }

    /// Checks that a variable is one of this checkpoint's, unmodified: readers trust its pieces.
    fn check_own(&self, variable: &Variable) -> Result<(), Error> {
        let variables = self.variables();
        match position(variables, &variable.name) {
            Some(at) if variables[at] == *variable => Ok(()),
            _ => Err(Error::UnknownVariable {
                path: self.location.prefix().to_owned(),
                variable: variable.name.clone(),
            }),
        }
    }

    /// Returns the variable as one run of bytes, to be read in parts; `None` if it is stored in slices,
    /// big-endian, or in a V1 checkpoint.
    pub fn contiguous<'a>(&'a self, variable: &'a Variable) -> Option<Contiguous<'a>> {
        self.check_own(variable).ok()?;
        self.reader.contiguous(variable)
    }

    /// Reads all of `variable` into `buf`, little-endian and row-major, and verifies the CRC-32C. HDF5 files
    /// have no checksums.
    ///
    /// # Errors
    /// [`Error::Checksum`] if the bytes are damaged, [`Error::CopiesDiffer`] if an HDF5 file stores other
    /// bytes with another layer, [`Error::UnknownVariable`] for a variable that is not one of
    /// [`variables`](Self::variables), or an error of the data file.
    ///
    /// # Panics
    /// If the length of `buf` is not [`Variable::bytes`].
    pub fn read(&self, variable: &Variable, buf: &mut [u8]) -> Result<(), Error> {
        self.check_own(variable)?;
        assert_eq!(buf.len() as u64, variable.bytes(), "size of the buffer");
        self.reader.read(variable, buf)
    }

    /// Reads a scalar `int64` or `int32` variable, such as the step counter; `None` for other shapes and
    /// dtypes.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_integer(&self, variable: &Variable) -> Result<Option<i64>, Error> {
        let is_integer = matches!(variable.dtype, DType::Int32 | DType::Int64);
        if !is_integer || !variable.shape.is_empty() {
            return Ok(None);
        }
        self.check_present(variable)?;
        let mut buf = vec![0; variable.dtype.size().expect("an integer type")];
        self.read(variable, &mut buf)?;
        Ok(match buf[..] {
            [a, b, c, d] => Some(i32::from_le_bytes([a, b, c, d]).into()),
            _ => buf.try_into().ok().map(i64::from_le_bytes),
        })
    }

    /// Reads the training graph, `PREFIX.meta`, or the graph of a SavedModel; `None` if there is no such
    /// file.
    ///
    /// # Errors
    /// [`Error::MetaGraph`] if the file holds no such graph, or an I/O error.
    pub fn meta_graph(&self) -> Result<Option<MetaGraph>, Error> {
        let location = &self.location;
        let open = match location.format() {
            Format::SavedModel => MetaGraph::open_saved_model,
            _ => MetaGraph::open,
        };
        open(
            location.storage(),
            &location.graph_path(),
            location.limits(),
        )
    }
}
