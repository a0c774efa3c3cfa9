//! An open checkpoint.

use std::path::Path;

use crate::bundle::Bundle;
use crate::contiguous::Contiguous;
use crate::error::Error;
use crate::graph::MetaGraph;
use crate::locate::{Format, Location};
use crate::reader::Reader;
#[cfg(feature = "tensorflow")]
use crate::tensorflow;
use crate::v1::Tables;
use crate::variable::{DType, Variable, position};

/// What reads the values of variables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadBy {
    /// This crate.
    #[default]
    Native,
    /// The official library, loaded at run time.
    #[cfg(feature = "tensorflow")]
    TensorFlow,
}

/// An open checkpoint: the list of its variables, and a way to read them.
#[derive(Debug)]
pub struct Checkpoint {
    location: Location,
    reader: Box<dyn Reader>,
}

impl Checkpoint {
    /// Reads and checks the list of variables; of the files with values only the lengths.
    pub fn open(location: Location) -> Result<Self, Error> {
        Self::open_by(location, ReadBy::Native)
    }

    /// As [`open`](Self::open), with a choice of what will read the values.
    pub fn open_by(location: Location, read_by: ReadBy) -> Result<Self, Error> {
        let reader: Box<dyn Reader> = match location.format() {
            Format::TensorBundle => Box::new(Bundle::open(&location)?),
            Format::V1 => Box::new(Tables::open(&location)?),
        };
        let reader = match read_by {
            ReadBy::Native => reader,
            #[cfg(feature = "tensorflow")]
            ReadBy::TensorFlow => Box::new(tensorflow::TensorFlow::open(&location, reader)?),
        };
        Ok(Self { location, reader })
    }

    /// Where it is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Every variable, in the byte order of their names.
    pub fn variables(&self) -> &[Variable] {
        self.reader.variables()
    }

    /// True when TensorFlow 2 saved objects, so that keys are paths through them.
    pub fn is_object_based(&self) -> bool {
        let mut variables = self.variables().iter();
        variables.any(|variable| variable.object_path().is_some())
    }

    /// Number of data files that the checkpoint was saved in.
    pub fn shard_count(&self) -> usize {
        self.reader.shard_count()
    }

    /// Checks that the data file of `variable` is there and long enough, without reading it.
    pub fn check_present(&self, variable: &Variable) -> Result<(), Error> {
        self.check_own(variable)?;
        (0..variable.pieces.len()).try_for_each(|piece| self.reader.check_present(variable, piece))
    }

    /// Checks that none of its files has changed since it was opened, as when training still runs.
    pub fn check_unchanged(&self) -> Result<(), Error> {
        let is_part = |path: &Path| self.location.is_part(path);
        match self.location.storage().changed(&is_part)? {
            Some(path) => Err(Error::Changed { path }),
            None => Ok(()),
        }
    }

    /// Checks that a variable is one of this checkpoint's, unchanged: its pieces are trusted from here on.
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

    /// Returns the variable as one run of bytes that can be read in parts; `None` if it is stored in
    /// slices, big-endian, or in a V1 checkpoint.
    pub fn contiguous<'a>(&'a self, variable: &'a Variable) -> Option<Contiguous<'a>> {
        self.check_own(variable).ok()?;
        self.reader.contiguous(variable)
    }

    /// Reads all of `variable` into `buf`, little-endian and row-major, and checks the CRC-32C of
    /// everything that it reads.
    ///
    /// # Errors
    /// [`Error::UnknownVariable`] for a variable that is not one of [`variables`](Self::variables).
    ///
    /// # Panics
    /// If `buf` is not [`Variable::bytes`] long.
    pub fn read(&self, variable: &Variable, buf: &mut [u8]) -> Result<(), Error> {
        self.check_own(variable)?;
        assert_eq!(buf.len() as u64, variable.bytes(), "size of the buffer");
        self.reader.read(variable, buf)
    }

    /// The value of a scalar `int64` or `int32` variable, such as the step counter. `None` when it is
    /// no such scalar.
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

    /// The training graph, if `PREFIX.meta` lies beside the checkpoint.
    pub fn meta_graph(&self) -> Result<Option<MetaGraph>, Error> {
        let location = &self.location;
        MetaGraph::open(location.storage(), &location.meta_path(), location.limits())
    }
}
