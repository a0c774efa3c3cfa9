//! TensorFlow's own library as a second reader, with the feature `tensorflow`.
//!
//! The list of variables with their dtypes and shapes is read by this crate, because the library's C
//! interface cannot list a checkpoint. Values come from its `RestoreV2` operation, which reads
//! TensorBundles and V1 checkpoints, verifies checksums and joins slices by itself, so that the two
//! readers share no code where it matters. Each tensor must have the dtype and shape of the list.
//!
//! The library is loaded when the reader is opened, from `TENSORFLOW_DIR` or `LD_LIBRARY_PATH`. It is a
//! C++ library and can crash the process; therefore it is not the default.

use std::fmt;

use ::tensorflow::{
    BFloat16, DataType, Graph, Operation, Session, SessionOptions, SessionRunArgs, Status, Tensor,
    TensorType, library,
};
use half::f16;

use crate::error::Error;
use crate::file_range::FileRange;
use crate::formats::Format;
use crate::locate::Location;
use crate::reader::Reader;
use crate::variable::{DType, Variable};

/// Reads values with TensorFlow's library.
pub(crate) struct TensorFlow {
    /// The reader that lists the variables.
    listing: Box<dyn Reader>,
    /// The `prefix` input: the prefix of a bundle, the file or file pattern of a V1 checkpoint.
    prefix: String,
    session: Session,
    inputs: [Operation; 3],
    /// A `RestoreV2` operation for each dtype.
    restore: Vec<(DType, Operation)>,
}

/// The inputs of `RestoreV2`, in its order.
const INPUTS: [&str; 3] = ["prefix", "tensor_names", "shape_and_slices"];
/// The dtypes that are read, with the library's names for them.
const TYPES: [(DType, DataType); 6] = [
    (DType::Float32, DataType::Float),
    (DType::Float64, DataType::Double),
    (DType::Float16, DataType::Half),
    (DType::BFloat16, DataType::BFloat16),
    (DType::Int32, DataType::Int32),
    (DType::Int64, DataType::Int64),
];

impl TensorFlow {
    pub(crate) fn open(location: &Location, listing: Box<dyn Reader>) -> Result<Self, Error> {
        if location.format() == Format::Hdf5 {
            return Err(Error::OutOfReach {
                path: location.prefix().to_owned(),
                why: "an HDF5 file",
            });
        }
        let prefix = location.pattern();
        let out_of_reach = |why| Error::OutOfReach {
            path: prefix.clone(),
            why,
        };
        if location.storage().archive().is_some() {
            return Err(out_of_reach("in an archive"));
        }
        let text = prefix.to_str().ok_or_else(|| out_of_reach("not UTF-8"))?;
        library::load().map_err(|what| Error::Library { what })?;
        let built = Self::build(text.to_owned(), listing);
        built.map_err(|status| Error::Library {
            what: status.to_string(),
        })
    }

    fn build(prefix: String, listing: Box<dyn Reader>) -> Result<Self, Status> {
        let mut graph = Graph::new();
        let mut placeholder = |name: &str| {
            let mut operation = graph.new_operation("Placeholder", name)?;
            operation.set_attr_type("dtype", DataType::String)?;
            operation.finish()
        };
        let [a, b, c] = INPUTS;
        let inputs = [placeholder(a)?, placeholder(b)?, placeholder(c)?];
        let mut restore = Vec::new();
        for (dtype, data_type) in TYPES {
            let mut operation = graph.new_operation("RestoreV2", &format!("restore_{dtype}"))?;
            for input in &inputs {
                operation.add_input(input.clone());
            }
            operation.set_attr_type_list("dtypes", &[data_type])?;
            restore.push((dtype, operation.finish()?));
        }
        Ok(Self {
            listing,
            prefix,
            session: Session::new(&SessionOptions::new(), &graph)?,
            inputs,
            restore,
        })
    }

    /// Reads a variable with the library.
    fn restore<T: TensorType>(&self, variable: &Variable) -> Result<Tensor<T>, Status> {
        let prefix = Tensor::from(self.prefix.clone());
        let name = Tensor::new(&[1]).with_values(std::slice::from_ref(&variable.key))?;
        let whole = Tensor::new(&[1]).with_values(&[String::new()])?;
        let mut run = SessionRunArgs::new();
        for (input, value) in std::iter::zip(&self.inputs, [&prefix, &name, &whole]) {
            run.add_feed(input, 0, value);
        }
        let restore = self
            .restore
            .iter()
            .find(|(dtype, _)| *dtype == variable.dtype);
        let (_, restore) = restore.expect("every type that is read has an operation");
        let token = run.request_fetch(restore, 0);
        self.session.run(&mut run)?;
        run.fetch(token)
    }

    /// Reads a variable into `buf`; `to_bytes` encodes an element in little-endian order.
    fn copy<T: TensorType, const N: usize>(
        &self,
        variable: &Variable,
        buf: &mut [u8],
        to_bytes: impl Fn(&T) -> [u8; N],
    ) -> Result<(), Error> {
        let failed = |what: String| Error::LibraryRead {
            path: self.prefix.clone().into(),
            variable: variable.name.clone(),
            what,
        };
        let tensor: Tensor<T> = self
            .restore(variable)
            .map_err(|status| failed(status.to_string()))?;
        let shape: Vec<u64> = variable.shape.iter().map(|&n| n as u64).collect();
        if tensor.dims() != shape {
            return Err(failed(format!(
                "it has the shape {:?} there, {shape:?} in the list of variables",
                tensor.dims()
            )));
        }
        for (to, from) in std::iter::zip(buf.chunks_exact_mut(N), tensor.iter()) {
            to.copy_from_slice(&to_bytes(from));
        }
        Ok(())
    }
}

impl Reader for TensorFlow {
    fn variables(&self) -> &[Variable] {
        self.listing.variables()
    }

    fn shard_count(&self) -> usize {
        self.listing.shard_count()
    }

    fn check_present(&self, variable: &Variable, piece: usize) -> Result<(), Error> {
        self.listing.check_present(variable, piece)
    }

    /// The library reads the files itself.
    fn ranges<'a>(&'a self, _: &'a Variable) -> Vec<FileRange<'a>> {
        Vec::new()
    }

    fn read_piece(&self, variable: &Variable, piece: usize, buf: &mut [u8]) -> Result<(), Error> {
        self.listing.read_piece(variable, piece, buf)
    }

    fn read(&self, variable: &Variable, buf: &mut [u8]) -> Result<(), Error> {
        match variable.dtype {
            DType::Float32 => self.copy(variable, buf, |x: &f32| x.to_le_bytes()),
            DType::Float64 => self.copy(variable, buf, |x: &f64| x.to_le_bytes()),
            DType::Float16 => self.copy(variable, buf, |x: &f16| x.to_le_bytes()),
            // The library's type gives its bits only as the upper half of a float32.
            DType::BFloat16 => self.copy(variable, buf, |x: &BFloat16| {
                let [_, _, low, high] = f32::from(*x).to_le_bytes();
                [low, high]
            }),
            DType::Int32 => self.copy(variable, buf, |x: &i32| x.to_le_bytes()),
            DType::Int64 => self.copy(variable, buf, |x: &i64| x.to_le_bytes()),
            DType::Other(_) => Err(Error::LibraryRead {
                path: self.prefix.clone().into(),
                variable: variable.name.clone(),
                what: format!("its dtype {} is not supported", variable.dtype),
            }),
        }
    }
}

impl fmt::Debug for TensorFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TensorFlow").field(&self.prefix).finish()
    }
}
