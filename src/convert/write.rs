//! Writes `model.safetensors`.
//!
//! The layout follows from the plan alone, so every tensor is an independent job: read its
//! variable, check it, transform it, write it at its place. The model is never in memory as a whole.
//!
//! The header is serialised here rather than by `safetensors::serialize`, which wants all tensors at
//! once and writes the metadata in the random order of a `HashMap`; it is then read back with that
//! crate, whose checks it must pass. Tensors are ordered as the crate orders them: wider element
//! types first, then by name. The same plan gives the same bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::path::Path;

use safetensors::tensor::{Metadata, TensorInfo};
use serde::Serialize;
use serde_json::{Map, Value};

use super::Error;
use super::buffer::AlignedBytes;
use super::lift::{identity, lift, lowered_bias};
use super::plan::{Plan, PlannedTensor};
use super::record::{self, Record};
use super::stream::{Target, stream};
use super::transform::{Overflow, cast, concat, from_floats, to_floats, transpose};
use crate::checkpoint::{Checkpoint, DType, Variable};
use crate::electra::Recipe;
use crate::progress::Watch;

/// Length of the header's length, and the multiple that the header is padded to.
const WORD: usize = 8;

/// Where everything goes in the file.
#[derive(Debug)]
struct Layout<'a> {
    /// Length, JSON and padding.
    header: Vec<u8>,
    /// The tensors with their places, from the start of the file.
    tensors: Vec<(&'a PlannedTensor, u64)>,
    len: u64,
}

impl<'a> Layout<'a> {
    fn new(
        plan: &'a Plan,
        metadata: &BTreeMap<String, String>,
        record: &Record,
    ) -> Result<Self, Error> {
        let mut metadata = metadata.clone();
        metadata.insert(record::KEY.to_owned(), record::to_json(record));
        let mut ordered: Vec<&PlannedTensor> = plan.tensors.iter().collect();
        ordered.sort_by(|a, b| b.cast.to.cmp(&a.cast.to).then_with(|| a.name.cmp(&b.name)));

        let mut json = Map::new();
        json.insert("__metadata__".into(), to_value(&metadata));
        let mut end: usize = 0;
        let mut offsets = Vec::with_capacity(ordered.len());
        for tensor in &ordered {
            let start = end;
            end = start
                .checked_add(tensor.bytes())
                .ok_or_else(|| Error::Header(format!("{} ends beyond any file", tensor.name)))?;
            offsets.push(start as u64);
            let info = TensorInfo {
                dtype: tensor.cast.to,
                shape: tensor.shape.clone(),
                data_offsets: (start, end),
            };
            json.insert(tensor.name.clone(), to_value(&info));
        }

        let mut text = serde_json::to_vec(&json).expect("plain data");
        serde_json::from_slice::<Metadata>(&text)
            .map_err(|error| Error::Header(error.to_string()))?;
        text.resize(text.len().next_multiple_of(WORD), b' ');
        let mut header = (text.len() as u64).to_le_bytes().to_vec();
        header.append(&mut text);

        let data = header.len() as u64;
        Ok(Self {
            header,
            tensors: std::iter::zip(ordered, offsets)
                .map(|(tensor, offset)| (tensor, data + offset))
                .collect(),
            len: data + end as u64,
        })
    }
}

fn to_value(value: impl Serialize) -> Value {
    serde_json::to_value(value).expect("plain data")
}

/// Writes the tensors of `plan` to `path`, with `metadata` and their checksums in the header, and
/// syncs it to disk. Returns the length of the file.
pub(crate) fn write_safetensors(
    plan: &Plan,
    checkpoint: &Checkpoint,
    metadata: &BTreeMap<String, String>,
    path: &Path,
    threads: Option<NonZeroUsize>,
    watch: &Watch<'_>,
) -> Result<u64, Error> {
    let mut record = record::planned(plan);
    let layout = Layout::new(plan, metadata, &record)?;
    let file = File::create_new(path).map_err(Error::writing(path))?;
    file.set_len(layout.len).map_err(Error::writing(path))?;
    let target = Target {
        file: &file,
        path,
        tensors: &layout.tensors,
    };
    stream(&target, checkpoint, &mut record, threads, watch)?;
    // Last, since it may hold checksums of what was written.
    let header = Layout::new(plan, metadata, &record)?.header;
    assert_eq!(
        header.len(),
        layout.header.len(),
        "checksums have one length"
    );
    file.write_all_at(&header, 0)
        .map_err(Error::writing(path))?;
    file.sync_all().map_err(Error::writing(path))?;
    Ok(layout.len)
}

/// Reads the variables of a tensor and turns them into its bytes.
pub(crate) fn convert_tensor(
    tensor: &PlannedTensor,
    checkpoint: &Checkpoint,
) -> Result<AlignedBytes, Error> {
    let variables = &tensor.variables;
    let read = |variable| read_bytes(variable, checkpoint);
    let floats = |at: usize| read_floats(&variables[at], checkpoint);
    let bytes = match tensor.recipe {
        Recipe::Copy => read(&variables[0])?,
        Recipe::Transpose => {
            let [rows, columns] = tensor.matrix();
            let element = element_size(variables[0].dtype);
            transpose(&read(&variables[0])?, [columns, rows], element)
        }
        Recipe::Stack => {
            let rows = variables.iter().map(read);
            concat(&rows.collect::<Result<Vec<_>, _>>()?)
        }
        Recipe::Identity => from_floats(&identity(tensor.shape[0])),
        Recipe::Lift => from_floats(&lift(&floats(0)?, &floats(1)?)),
        Recipe::LoweredBias => {
            let lift = lift(&floats(2)?, &floats(3)?);
            from_floats(&lowered_bias(&floats(0)?, &floats(1)?, &lift))
        }
    };
    cast(bytes, tensor.cast).map_err(|Overflow { index, value }| Error::Overflow {
        tensor: tensor.name.clone(),
        variable: tensor.variable_names(),
        index,
        value,
        dtype: tensor.cast.to.to_string(),
    })
}

fn read_bytes(variable: &Variable, checkpoint: &Checkpoint) -> Result<AlignedBytes, Error> {
    // Before as many bytes are allocated as the checkpoint claims.
    checkpoint.check_present(variable)?;
    let len = usize::try_from(variable.bytes()).expect("the platform has 64 bits");
    let offset = checkpoint
        .contiguous(variable)
        .map_or(0, |run| run.offset());
    let mut bytes = AlignedBytes::beside(len, offset);
    checkpoint.read(variable, bytes.as_bytes_mut())?;
    Ok(bytes)
}

/// All elements of a variable, row-major.
pub(crate) fn read_floats(variable: &Variable, checkpoint: &Checkpoint) -> Result<Vec<f64>, Error> {
    Ok(to_floats(
        &read_bytes(variable, checkpoint)?,
        variable.dtype,
    ))
}

fn element_size(dtype: DType) -> usize {
    dtype.size().expect("only floating-point types are planned")
}
