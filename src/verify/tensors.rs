//! Reads every tensor once, for the checks of its checksum and of its values, and for the forward pass.
//!
//! A tensor is checked when the forward pass requests it ([`WeightSource`]), from the bytes that it gets; the
//! other tensors are checked in [`TensorChecks::end`]. A tensor is read in steps that stay in the cache. A kernel
//! is transposed back while it is read, because the matrix product is faster in the order of the variable; the
//! checksum of a variable is computed in that order, too.

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Shape, Tensor};
use candle_electra::WORD_EMBEDDINGS;
use half::{bf16, f16};
use parking_lot::Mutex;
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use tensor_bytes::{AlignedBytes, transpose_rows};

use super::checksums::{ChecksumCheck, ChecksumReport, Comparison, Whole};
use super::distribution::{Distribution, TensorStatistics};
use super::error::Error;
use super::failure::Failure;
use super::in_order::InOrder;
use super::inputs::CompareWith;
use super::tied_decoder;
use super::values::{Value, ValueCheck, Values};
use crate::export::{LoadError, STEP, WeightsFile};
use crate::head_norms::Squares;
use crate::progress::Watch;
use crate::streamed_model::{FileWeights, WeightSource};
use crate::threads;
use crate::variables::names::is_transposed;

/// The results of all tensors.
#[derive(Default)]
pub(super) struct TensorReport {
    pub(super) checksums: ChecksumReport,
    /// Names of tensors whose elements are all the same.
    pub(super) constant: Vec<String>,
    /// The norms of the units of attention heads, by the name of the tensor.
    pub(super) norms: BTreeMap<String, Vec<f64>>,
    /// The values of every tensor of floating-point numbers, if they are measured.
    pub(super) statistics: Vec<TensorStatistics>,
}

/// The results of one tensor.
#[derive(Default)]
struct Found {
    checksums: ChecksumReport,
    is_constant: bool,
    norms: Option<Vec<f64>>,
    statistics: Option<TensorStatistics>,
    failures: Vec<Failure>,
}

/// What is needed of a tensor besides its checks.
#[derive(Clone, Copy)]
enum Wanted<'r> {
    Nothing,
    All,
    /// Some rows of a matrix that is not transposed.
    Rows(&'r [u32]),
}

/// The checks of all tensors, which are under way.
pub(super) struct TensorChecks<'a> {
    weights: &'a WeightsFile,
    checksums: ChecksumCheck<'a>,
    watch: &'a Watch<'a>,
    is_measuring: bool,
    infos: HashMap<String, &'a TensorInfo>,
    /// By name. A tensor that is being checked is there without a result.
    found: Mutex<HashMap<String, Option<Found>>>,
    /// The first error. candle passes it on as text only.
    error: Mutex<Option<Error>>,
}

impl<'a> TensorChecks<'a> {
    /// Collects what the tensors are compared with. A tensor that the file does not have is a failure. With
    /// `is_measuring` the values of each tensor are counted, too.
    pub(super) fn new(
        weights: &'a WeightsFile,
        compare_with: CompareWith<'a>,
        is_measuring: bool,
        watch: &'a Watch<'a>,
        failures: &mut Vec<Failure>,
    ) -> Self {
        Self {
            weights,
            checksums: ChecksumCheck::new(weights, compare_with, failures),
            watch,
            is_measuring,
            infos: weights.tensors().into_iter().collect(),
            found: Mutex::default(),
            error: Mutex::default(),
        }
    }

    /// Takes the error of reading or checking a tensor, if there was one.
    pub(super) fn take_error(&self) -> Option<Error> {
        self.error.lock().take()
    }

    /// Checks the tensors that were not requested; returns the results of all, in the order of the file.
    pub(super) fn end(self, failures: &mut Vec<Failure>) -> Result<TensorReport, Error> {
        let tensors = self.weights.tensors();
        threads::map(tensors.len(), |at| {
            let (name, info) = &tensors[at];
            if self.begin(name) {
                self.check(name, info, Wanted::Nothing)?;
            }
            Ok::<_, Error>(())
        })?;
        let mut found = self.found.into_inner();
        let mut report = TensorReport::default();
        for (name, _) in tensors {
            let found = found.remove(&name).flatten();
            let found = found.expect("all tensors are checked");
            report.checksums.add(&found.checksums);
            failures.extend(found.failures);
            if found.is_constant {
                report.constant.push(name.clone());
            }
            report.statistics.extend(found.statistics);
            if let Some(norms) = found.norms {
                report.norms.insert(name, norms);
            }
        }
        tied_decoder::check(self.weights, failures)?;
        Ok(report)
    }

    /// Returns true if no thread has begun to check this tensor. The caller must then check it.
    fn begin(&self, name: &str) -> bool {
        let mut found = self.found.lock();
        let is_new = !found.contains_key(name);
        if is_new {
            found.insert(name.to_owned(), None);
        }
        is_new
    }

    /// Checks a tensor. Returns what is wanted of it, in float32 or float64; `None` if that is nothing.
    fn check(
        &self,
        name: &str,
        info: &TensorInfo,
        wanted: Wanted<'_>,
    ) -> Result<Option<Tensor>, Error> {
        let mut found = Found::default();
        let comparison =
            self.checksums
                .comparison(name, info, &mut found.checksums, &mut found.failures);
        let mut reading = Reading {
            checks: self,
            name,
            info,
            wanted,
            found: &mut found,
        };
        let tensor = match info.dtype {
            Dtype::F32 => reading.floats::<f32>(comparison),
            Dtype::F64 => reading.floats::<f64>(comparison),
            Dtype::F16 => reading.floats::<f16>(comparison),
            Dtype::BF16 => reading.floats::<bf16>(comparison),
            _ => reading.others(comparison),
        };
        let tensor = tensor?;
        self.found.lock().insert(name.to_owned(), Some(found));
        Ok(tensor)
    }

    /// Checks a tensor and returns what is wanted of it; `None` if that was done before, or the tensor is no
    /// weight.
    fn request(&self, name: &str, wanted: Wanted<'_>) -> candle_core::Result<Option<Tensor>> {
        let Some(info) = self.infos.get(name) else {
            return Ok(None);
        };
        if !self.begin(name) {
            return Ok(None);
        }
        self.check(name, info, wanted).map_err(|error| {
            let copy = candle_core::Error::msg(error.to_string());
            self.error.lock().get_or_insert(error);
            copy
        })
    }
}

/// The weights for a forward pass. The shapes are those of the structure check.
impl WeightSource for TensorChecks<'_> {
    fn tensor(&self, name: &str, shape: &Shape, dtype: DType) -> candle_core::Result<Tensor> {
        match self.request(name, Wanted::All)? {
            Some(tensor) if tensor.shape() == shape => tensor.to_dtype(dtype),
            Some(tensor) => candle_core::bail!(
                "{name} has the shape {:?}, expected {shape:?}",
                tensor.shape()
            ),
            None => FileWeights::new(self.weights, self.watch).tensor(name, shape, dtype),
        }
    }

    fn word_rows(&self, rows: &[u32], dtype: DType) -> candle_core::Result<Tensor> {
        match self.request(WORD_EMBEDDINGS, Wanted::Rows(rows))? {
            Some(tensor) => tensor.to_dtype(dtype),
            None => FileWeights::new(self.weights, self.watch).word_rows(rows, dtype),
        }
    }

    fn contains(&self, name: &str) -> bool {
        self.infos.contains_key(name)
    }
}

/// A tensor that is being read.
struct Reading<'a, 'c> {
    checks: &'a TensorChecks<'c>,
    name: &'a str,
    info: &'a TensorInfo,
    wanted: Wanted<'a>,
    found: &'a mut Found,
}

impl Reading<'_, '_> {
    /// Reads and checks a tensor of floating-point numbers.
    fn floats<T: Value>(&mut self, comparison: Comparison<'_>) -> Result<Option<Tensor>, Error> {
        match comparison {
            Comparison::None => self.in_steps::<T>(false, None),
            Comparison::InOrder(is_transposed, in_order) => {
                self.in_steps::<T>(is_transposed, Some(in_order))
            }
            Comparison::Whole(whole) => self.at_once::<T>(&whole),
        }
    }

    /// Reads a tensor in steps. With `by_variable`, it is compared in the order of its variable, which is
    /// transposed.
    fn in_steps<T: Value>(
        &mut self,
        by_variable: bool,
        mut comparison: Option<InOrder<'_>>,
    ) -> Result<Option<Tensor>, Error> {
        let (height, width) = match self.info.shape[..] {
            [height, width] => (height, width),
            _ => (self.info.shape.iter().product(), 1),
        };
        let is_weight = matches!(self.wanted, Wanted::All) && self.info.shape.len() == 2;
        let is_transposed = by_variable || (is_weight && is_transposed(self.name));
        let row = width * size_of::<T>();
        let rows_of_step = (STEP / row.max(1)).max(1);
        let mut values = ValueCheck::<T>::new();
        let mut squares = Squares::of_tensor(self.name, &self.info.shape);
        let mut distribution = self.distribution();
        let mut whole = match self.wanted {
            _ if is_transposed => vec![T::zeroed(); height * width],
            Wanted::All => Vec::with_capacity(height * width),
            Wanted::Nothing | Wanted::Rows(_) => Vec::new(),
        };
        let mut chosen = match self.wanted {
            Wanted::Rows(rows) => vec![T::zeroed(); rows.len() * width],
            _ => Vec::new(),
        };
        let mut step = AlignedBytes::default();
        for first in (0..height).step_by(rows_of_step) {
            let rows = rows_of_step.min(height - first);
            let place = self.info.data_offsets.0 + first * row;
            step.resize_aligned_to(rows * row, self.checks.weights.data_offset(place));
            self.checks.weights.read_at(place, step.as_bytes_mut())?;
            let elements = step.elements::<T>();
            values.add(elements);
            if let Some(squares) = &mut squares {
                squares.add(elements);
            }
            if let Some(distribution) = &mut distribution {
                distribution.add(elements);
            }
            if is_transposed {
                let target = bytemuck::cast_slice_mut(&mut whole);
                transpose_rows(&step, height, first, size_of::<T>(), target);
            }
            if let Some(comparison) = comparison.as_mut().filter(|_| !by_variable) {
                comparison.add(step.as_bytes())?;
            }
            match self.wanted {
                Wanted::All if !is_transposed => whole.extend_from_slice(elements),
                Wanted::Rows(rows) => choose(rows, first, (elements, width), &mut chosen),
                _ => {}
            }
            self.checks.watch.advance(step.len() as u64)?;
        }
        if let Some(mut comparison) = comparison {
            if by_variable {
                for step in whole.chunks(STEP / size_of::<T>()) {
                    comparison.add(bytemuck::cast_slice(step))?;
                }
            }
            self.differs(comparison.end());
        }
        self.found.norms = squares.map(Squares::log);
        self.add_statistics(distribution.as_ref());
        self.add_values(values.end());
        let device = &Device::Cpu;
        let tensor = match self.wanted {
            Wanted::Nothing => return Ok(None),
            Wanted::All if is_transposed => {
                T::tensor(whole, (width, height).into(), device)?.t()?
            }
            Wanted::All => T::tensor(whole, self.info.shape.clone().into(), device)?,
            Wanted::Rows(rows) => T::tensor(chosen, (rows.len(), width).into(), device)?,
        };
        Ok(Some(tensor))
    }

    /// Reads a tensor that is compared as a whole.
    fn at_once<T: Value>(&mut self, whole: &Whole<'_>) -> Result<Option<Tensor>, Error> {
        let bytes = self.read()?;
        let elements = bytes.elements::<T>();
        let mut values = ValueCheck::new();
        values.add(elements);
        self.add_values(values.end());
        self.found.norms = Squares::of_tensor(self.name, &self.info.shape).map(|mut squares| {
            squares.add(elements);
            squares.log()
        });
        let mut distribution = self.distribution();
        if let Some(distribution) = &mut distribution {
            distribution.add(elements);
        }
        self.add_statistics(distribution.as_ref());
        let device = &Device::Cpu;
        let tensor = match self.wanted {
            Wanted::Nothing => None,
            Wanted::All => {
                let shape = self.info.shape.clone().into();
                Some(T::tensor(elements.to_vec(), shape, device)?)
            }
            Wanted::Rows(rows) => {
                let width = self.info.shape.last().copied().unwrap_or(1);
                let mut chosen = vec![T::zeroed(); rows.len() * width];
                choose(rows, 0, (elements, width), &mut chosen);
                Some(T::tensor(chosen, (rows.len(), width).into(), device)?)
            }
        };
        let differences = whole.compare(self.info, bytes)?;
        self.differs(differences);
        Ok(tensor)
    }

    /// Reads and compares a tensor that is not of floating-point numbers.
    fn others(&mut self, comparison: Comparison<'_>) -> Result<Option<Tensor>, Error> {
        let bytes = self.read()?;
        match comparison {
            Comparison::None => {}
            Comparison::InOrder(_, mut in_order) => {
                in_order.add(bytes.as_bytes())?;
                self.differs(in_order.end());
            }
            Comparison::Whole(whole) => {
                let differences = whole.compare(self.info, bytes)?;
                self.differs(differences);
            }
        }
        // The model has no use for it: reading it as a weight is an error.
        Ok(None)
    }

    fn read(&self) -> Result<AlignedBytes, Error> {
        let bytes = read(self.checks.weights, self.info)?;
        self.checks.watch.advance(bytes.len() as u64)?;
        Ok(bytes)
    }

    fn differs(&mut self, differences: impl IntoIterator<Item = String>) {
        let differences = differences.into_iter();
        let failures = differences.map(|what| self.checks.checksums.different(self.name, what));
        self.found.failures.extend(failures);
    }

    /// Returns what counts the values, if they are measured.
    fn distribution(&self) -> Option<Distribution> {
        let is_short = self.info.dtype == Dtype::BF16;
        (self.checks.is_measuring).then(|| Distribution::new(is_short))
    }

    fn add_statistics(&mut self, distribution: Option<&Distribution>) {
        let (name, shape) = (self.name, &self.info.shape);
        self.found.statistics = distribution.map(|distribution| distribution.end(name, shape));
    }

    fn add_values(&mut self, values: Values) {
        match values {
            Values::Ordinary => {}
            Values::Constant => self.found.is_constant = true,
            // Before the difference that it causes.
            Values::NotFinite { index, value } => self.found.failures.insert(
                0,
                Failure::NotFinite {
                    tensor: self.name.to_owned(),
                    index,
                    value,
                },
            ),
        }
    }
}

/// Copies the chosen rows that are among the elements of consecutive rows from `first` on.
fn choose<T: Copy>(rows: &[u32], first: usize, (elements, width): (&[T], usize), chosen: &mut [T]) {
    let count = elements.len() / width.max(1);
    for (&row, chosen) in std::iter::zip(rows, chosen.chunks_mut(width.max(1))) {
        if let Some(at) = (row as usize).checked_sub(first).filter(|&at| at < count) {
            chosen.copy_from_slice(&elements[at * width..][..width]);
        }
    }
}

fn read(weights: &WeightsFile, info: &TensorInfo) -> Result<AlignedBytes, LoadError> {
    let (start, end) = info.data_offsets;
    let mut bytes = AlignedBytes::zeroed_for(end - start, weights.data_offset(start));
    weights.read_at(start, bytes.as_bytes_mut())?;
    Ok(bytes)
}
