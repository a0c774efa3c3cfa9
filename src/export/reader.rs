//! A `model.safetensors` from which candle takes one weight at a time.
//!
//! candle's own ways to read safetensors map the file, which kills the process when the file
//! shrinks, or hold the whole file beside the weights. Here a weight is read at its place into the
//! buffer that becomes the tensor, so that it exists once. float16 and bfloat16 are widened on the
//! way. The header is checked by the `safetensors` crate before anything else is read; what it would
//! take in memory is estimated first, because a value of two bytes decodes to dozens.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_electra::ElectraConfig;
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use tf_checkpoint::storage::{LocalFile, ReadAt, regular};
use tf_checkpoint::{Limits, refuse_stand_in, start};

use crate::progress::Watch;

/// Length of the header's length.
const LEN_BYTES: u64 = 8;
/// The longest header accepted, in bytes, as in the `safetensors` crate.
const MAX_HEADER_LEN: u64 = 100_000_000;

/// Why a model's files cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The operating system refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The header, or the length of the file, breaks a rule of the format.
    #[error("{} is no sound safetensors file: {what}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// config.json is none.
    #[error("{} is no ELECTRA configuration: {what}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// The largest config.json read, in bytes.
pub const MAX_CONFIG_LEN: u64 = 16 << 20;

/// Reads a config.json.
pub fn read_config(path: &Path) -> std::result::Result<ElectraConfig, LoadError> {
    let io_error = |source| LoadError::Io {
        path: path.to_owned(),
        source,
    };
    let bad = |what: String| LoadError::Config {
        path: path.to_owned(),
        what,
    };
    let text = regular::read(path, MAX_CONFIG_LEN).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => bad(error.to_string()),
        _ => io_error(error),
    })?;
    refuse_stand_in(path, &text).map_err(|error| bad(error.to_string()))?;
    Limits::default()
        .check_json(&text)
        .map_err(|error| bad(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))
}

/// An open safetensors file. Cloning shares it.
#[derive(Clone, Debug)]
pub struct WeightsFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: LocalFile,
    metadata: Metadata,
    data_start: u64,
}

impl WeightsFile {
    /// Opens the file and checks its header: that it is well-formed, and that the tensors fill the
    /// file exactly.
    pub fn open(path: &Path) -> std::result::Result<Self, LoadError> {
        let io_error = |source| LoadError::Io {
            path: path.to_owned(),
            source,
        };
        let bad = |what: String| LoadError::Header {
            path: path.to_owned(),
            what,
        };
        let file = LocalFile::open(path).map_err(io_error)?;
        let first = start(&file).map_err(io_error)?;
        refuse_stand_in(path, &first).map_err(|error| bad(error.to_string()))?;
        if file.len() < LEN_BYTES {
            return Err(bad(format!("{} bytes hold no header", file.len())));
        }
        let mut len = [0; size_of::<u64>()];
        file.read_exact_at(&mut len, 0).map_err(io_error)?;
        let len = u64::from_le_bytes(len);
        if len > MAX_HEADER_LEN || len > file.len() - LEN_BYTES {
            return Err(bad(format!(
                "its header is said to take {len} bytes, the file has {}",
                file.len()
            )));
        }
        let mut header = vec![0; usize::try_from(len).expect("bounded by MAX_HEADER_LEN")];
        file.read_exact_at(&mut header, LEN_BYTES)
            .map_err(io_error)?;
        Limits::default()
            .check_json(&header)
            .map_err(|error| bad(error.to_string()))?;
        let metadata: Metadata =
            serde_json::from_slice(&header).map_err(|error| bad(error.to_string()))?;
        let data_start = LEN_BYTES + len;
        let expected = data_start + metadata.data_len() as u64;
        if expected != file.len() {
            return Err(bad(format!(
                "its tensors end at byte {expected}, the file at {}: it is cut short or has \
                 something behind its end",
                file.len()
            )));
        }
        Ok(Self(Arc::new(Inner {
            path: path.to_owned(),
            file,
            metadata,
            data_start,
        })))
    }

    /// The tensors with their types and shapes, in the order of the file.
    pub fn tensors(&self) -> Vec<(String, &TensorInfo)> {
        let names = self.0.metadata.offset_keys();
        names
            .into_iter()
            .filter_map(|name| {
                let info = self.0.metadata.info(&name)?;
                Some((name, info))
            })
            .collect()
    }

    /// Type and shape of one tensor.
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.0.metadata.info(name)
    }

    /// The `__metadata__` of the header.
    pub fn metadata(&self) -> Option<&HashMap<String, String>> {
        self.0.metadata.metadata().as_ref()
    }

    /// Where a tensor of this file begins, in bytes.
    pub(crate) fn offset(&self, info: &TensorInfo) -> u64 {
        self.0.data_start + info.data_offsets.0 as u64
    }

    /// Fills `buf` with the bytes of a tensor of this file.
    ///
    /// # Panics
    /// If `buf` is not as long as the tensor.
    pub fn read(&self, info: &TensorInfo, buf: &mut [u8]) -> std::result::Result<(), LoadError> {
        let (start, end) = info.data_offsets;
        assert_eq!(buf.len(), end - start, "size of the buffer");
        self.0
            .file
            .read_exact_at(buf, self.offset(info))
            .map_err(|source| LoadError::Io {
                path: self.0.path.clone(),
                source,
            })
    }

    /// A [`VarBuilder`] over this file on the CPU, in float32.
    pub fn var_builder(&self) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), DType::F32, Device::Cpu)
    }

    /// As [`var_builder`](Self::var_builder); each weight that is read counts in `watch`, which can
    /// stop it.
    pub(crate) fn watched_builder<'a>(&self, watch: &'a Watch<'a>) -> VarBuilder<'a> {
        let weights = WatchedWeights::new(self.clone(), watch);
        VarBuilder::from_backend(Box::new(weights), DType::F32, Device::Cpu)
    }

    fn load(
        &self,
        name: &str,
        shape: Option<&Shape>,
        dtype: DType,
        dev: &Device,
    ) -> Result<Tensor> {
        let info = self.info(name).ok_or_else(|| {
            candle_core::Error::CannotFindTensor {
                path: name.to_owned(),
            }
            .bt()
        })?;
        if let Some(shape) = shape
            && shape.dims() != info.shape
        {
            return Err(candle_core::Error::UnexpectedShape {
                msg: format!("shape mismatch for {name}"),
                expected: shape.clone(),
                got: info.shape.clone().into(),
            }
            .bt());
        }
        let shape = &info.shape[..];
        let tensor = match info.dtype {
            Dtype::F32 => Tensor::from_vec(self.elements::<f32>(info)?, shape, dev)?,
            Dtype::F16 => Tensor::from_vec(self.elements::<f16>(info)?, shape, dev)?,
            Dtype::BF16 => Tensor::from_vec(self.elements::<bf16>(info)?, shape, dev)?,
            Dtype::F64 => Tensor::from_vec(self.elements::<f64>(info)?, shape, dev)?,
            other => candle_core::bail!("{name} has the type {other}, which is no weight's"),
        };
        tensor.to_dtype(dtype)
    }

    fn elements<T: bytemuck::Pod>(&self, info: &TensorInfo) -> Result<Vec<T>> {
        let mut elements = vec![T::zeroed(); info.shape.iter().product()];
        self.read(info, bytemuck::cast_slice_mut(&mut elements))
            .map_err(candle_core::Error::wrap)?;
        Ok(elements)
    }
}

impl SimpleBackend for WeightsFile {
    fn get(&self, s: Shape, name: &str, _: Init, dtype: DType, dev: &Device) -> Result<Tensor> {
        self.load(name, Some(&s), dtype, dev)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, dev: &Device) -> Result<Tensor> {
        self.load(name, None, dtype, dev)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.info(name).is_some()
    }
}

/// A [`WeightsFile`] whose reading can be watched and stopped.
pub(crate) struct WatchedWeights<'a> {
    weights: WeightsFile,
    watch: &'a Watch<'a>,
}

impl<'a> WatchedWeights<'a> {
    pub(crate) fn new(weights: WeightsFile, watch: &'a Watch<'a>) -> Self {
        Self { weights, watch }
    }

    fn count(&self, name: &str) -> Result<()> {
        let info = self.weights.info(name);
        let len = info.map_or(0, |info| info.data_offsets.1 - info.data_offsets.0);
        let counted = self.watch.advance(len as u64);
        counted.map_err(candle_core::Error::wrap)
    }
}

impl SimpleBackend for WatchedWeights<'_> {
    fn get(&self, s: Shape, name: &str, h: Init, dtype: DType, dev: &Device) -> Result<Tensor> {
        self.count(name)?;
        self.weights.get(s, name, h, dtype, dev)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, dev: &Device) -> Result<Tensor> {
        self.count(name)?;
        self.weights.get_unchecked(name, dtype, dev)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.weights.contains_tensor(name)
    }
}
