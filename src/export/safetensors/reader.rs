//! An open `model.safetensors`, from which candle takes one weight at a time.
//!
//! candle's own readers map the file, so that the process is killed when the file shrinks, or hold the whole
//! file in memory beside the weights. Here a weight is read at its place into the buffer of its tensor, so
//! that it is in memory once. float16 and bfloat16 are widened when the tensor is made.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use tf_checkpoint::storage::{LocalFile, ReadAt};

use super::checksums::{self, RecordedChecksums};
use super::header::Header;
use crate::export::LoadError;
use crate::progress::Watch;

/// An open safetensors file. Clones share the file.
#[derive(Clone, Debug)]
pub struct WeightsFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: LocalFile,
    header: Header,
}

impl WeightsFile {
    /// Opens a file and checks its header: that it is valid, and that the tensors fill the file exactly.
    pub fn open(path: &Path) -> std::result::Result<Self, LoadError> {
        let file = LocalFile::open(path).map_err(LoadError::reading(path))?;
        let header = Header::read(&file, path)?;
        Ok(Self(Arc::new(Inner {
            path: path.to_owned(),
            file,
            header,
        })))
    }

    /// Returns the tensors with their element types, shapes and places, in the order of the file.
    pub fn tensors(&self) -> Vec<(String, &TensorInfo)> {
        let names = self.0.header.metadata.offset_keys().into_iter();
        names
            .filter_map(|name| {
                let info = self.info(&name)?;
                Some((name, info))
            })
            .collect()
    }

    /// Returns element type, shape and place of a tensor; `None` if the file does not have it.
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.0.header.metadata.info(name)
    }

    /// Returns the `__metadata__` of the header.
    pub fn metadata(&self) -> Option<&HashMap<String, String>> {
        self.0.header.metadata.metadata().as_ref()
    }

    /// Returns the checksums that a conversion recorded in the metadata; `None` if there are none.
    ///
    /// # Errors
    /// The reason if they cannot be parsed.
    pub(crate) fn recorded_checksums(
        &self,
    ) -> Option<std::result::Result<RecordedChecksums, String>> {
        let text = self.metadata()?.get(checksums::KEY)?;
        Some(RecordedChecksums::from_json(text))
    }

    /// Returns the offset in the file of a byte of the tensors.
    pub(crate) fn data_offset(&self, at: usize) -> u64 {
        self.0.header.data_start + at as u64
    }

    /// Fills `buf` with the bytes of the tensors from `at` on, which
    /// [`TensorInfo::data_offsets`] counts.
    pub(crate) fn read_at(&self, at: usize, buf: &mut [u8]) -> std::result::Result<(), LoadError> {
        self.0
            .file
            .read_exact_at(buf, self.data_offset(at))
            .map_err(LoadError::reading(&self.0.path))
    }

    /// Returns a [`VarBuilder`] over this file, on the CPU and in float32.
    pub fn var_builder(&self) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), DType::F32, Device::Cpu)
    }

    /// As [`var_builder`](Self::var_builder); reading is counted in `watch`, which can cancel it.
    pub(crate) fn watched_builder<'a>(&self, watch: &'a Watch<'a>) -> VarBuilder<'a> {
        let weights = WatchedWeights::new(self.clone(), watch);
        VarBuilder::from_backend(Box::new(weights), DType::F32, Device::Cpu)
    }

    fn load_named(
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
        self.load(name, info, dtype)?.to_device(dev)
    }

    /// Returns some rows of a matrix, on the CPU.
    ///
    /// # Errors
    /// If there is no such tensor, it is not a matrix, or it has fewer rows.
    pub(crate) fn rows(&self, name: &str, rows: Range<usize>, dtype: DType) -> Result<Tensor> {
        let part = self.info(name).and_then(|info| rows_of(info, &rows));
        let Some(part) = part else {
            candle_core::bail!("{name} has no rows {rows:?}");
        };
        self.load(name, &part, dtype)
    }

    fn load(&self, name: &str, info: &TensorInfo, dtype: DType) -> Result<Tensor> {
        let (shape, dev) = (&info.shape[..], &Device::Cpu);
        let tensor = match info.dtype {
            Dtype::F32 => Tensor::from_vec(self.elements::<f32>(info)?, shape, dev)?,
            Dtype::F16 => Tensor::from_vec(self.elements::<f16>(info)?, shape, dev)?,
            Dtype::BF16 => Tensor::from_vec(self.elements::<bf16>(info)?, shape, dev)?,
            Dtype::F64 => Tensor::from_vec(self.elements::<f64>(info)?, shape, dev)?,
            other => candle_core::bail!(
                "tensor {name} has the element type {other}, not a floating-point type"
            ),
        };
        tensor.to_dtype(dtype)
    }

    fn elements<T: bytemuck::Pod>(&self, info: &TensorInfo) -> Result<Vec<T>> {
        let mut elements = vec![T::zeroed(); info.shape.iter().product()];
        self.read_at(info.data_offsets.0, bytemuck::cast_slice_mut(&mut elements))
            .map_err(candle_core::Error::wrap)?;
        Ok(elements)
    }
}

/// Returns the place of rows of a matrix; `None` if there are no such rows.
fn rows_of(info: &TensorInfo, rows: &Range<usize>) -> Option<TensorInfo> {
    let &[height, width] = &info.shape[..] else {
        return None;
    };
    let row = width * info.dtype.bitsize() / 8;
    let start = info.data_offsets.0;
    (rows.end <= height).then(|| TensorInfo {
        dtype: info.dtype,
        shape: vec![rows.len(), width],
        data_offsets: (start + rows.start * row, start + rows.end * row),
    })
}

impl SimpleBackend for WeightsFile {
    fn get(&self, s: Shape, name: &str, _: Init, dtype: DType, dev: &Device) -> Result<Tensor> {
        self.load_named(name, Some(&s), dtype, dev)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, dev: &Device) -> Result<Tensor> {
        self.load_named(name, None, dtype, dev)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.info(name).is_some()
    }
}

/// A [`WeightsFile`] with progress and cancellation.
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
