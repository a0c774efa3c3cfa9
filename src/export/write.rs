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
use tf_checkpoint::Checkpoint;

use crate::export::Error;
use crate::export::checksums::{self, Record};
use crate::export::stream::{Target, stream};
use crate::plan::{Plan, PlannedTensor};
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
        metadata.insert(checksums::KEY.to_owned(), checksums::to_json(record));
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
    let mut record = checksums::planned(plan);
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
