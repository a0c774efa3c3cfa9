//! Writes `model.safetensors`.
//!
//! The layout follows from the plan alone, so that every tensor is an independent job: read its variable,
//! check it, transform it, write it at its place. The model is never in memory as a whole. Tensors are
//! ordered as the `safetensors` crate orders them: wider element types first, then by name. The same plan
//! gives the same bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::Path;

use parking_lot::Mutex;
use safetensors::tensor::TensorInfo;
use tf_checkpoint::Checkpoint;

use super::checksums::{self, RecordedChecksums};
use super::header;
use super::queue::Threads;
use super::stream::stream;
use super::target::Target;
use crate::export::Error;
use crate::plan::{Plan, PlannedTensor};
use crate::progress::Watch;
use crate::sys;

/// The places of all parts of the file.
#[derive(Debug)]
struct Layout<'a> {
    header: Vec<u8>,
    /// The tensors with their offsets in the file.
    tensors: Vec<(&'a PlannedTensor, u64)>,
    len: u64,
}

impl<'a> Layout<'a> {
    fn new(
        plan: &'a Plan,
        metadata: &BTreeMap<String, String>,
        checksums: &RecordedChecksums,
    ) -> Result<Self, Error> {
        let mut metadata = metadata.clone();
        metadata.insert(checksums::KEY.to_owned(), checksums.to_json());
        let mut ordered: Vec<&PlannedTensor> = plan.tensors.iter().collect();
        ordered.sort_by(|a, b| b.cast.to.cmp(&a.cast.to).then_with(|| a.name.cmp(&b.name)));

        let mut end: usize = 0;
        let mut infos = Vec::with_capacity(ordered.len());
        for tensor in &ordered {
            let start = end;
            end = start.checked_add(tensor.bytes()).ok_or_else(|| {
                Error::Header(format!("tensor {} ends beyond 2^64 bytes", tensor.name))
            })?;
            infos.push(TensorInfo {
                dtype: tensor.cast.to,
                shape: tensor.shape.clone(),
                data_offsets: (start, end),
            });
        }
        let starts: Vec<u64> = infos
            .iter()
            .map(|info| info.data_offsets.0 as u64)
            .collect();
        let named = ordered.iter().map(|tensor| tensor.name.as_str()).zip(infos);
        let header = header::encode(&metadata, named).map_err(Error::Header)?;
        let data_start = header.len() as u64;
        Ok(Self {
            header,
            tensors: std::iter::zip(ordered, starts)
                .map(|(tensor, start)| (tensor, data_start + start))
                .collect(),
            len: data_start + end as u64,
        })
    }
}

/// Writes the tensors of `plan` to a new file `path`, with `metadata` and their checksums in the header,
/// and syncs it. Returns the length of the file in bytes.
pub(crate) fn write_safetensors(
    plan: &Plan,
    checkpoint: &Checkpoint,
    metadata: &BTreeMap<String, String>,
    path: &Path,
    threads: Option<NonZeroUsize>,
    watch: &Watch<'_>,
) -> Result<u64, Error> {
    let mut checksums = RecordedChecksums::planned(&plan.tensors);
    let layout = Layout::new(plan, metadata, &checksums)?;
    let file = File::create_new(path).map_err(Error::writing(path))?;
    file.set_len(layout.len).map_err(Error::writing(path))?;
    let file = Mutex::new(file);
    let target = Target {
        file: &file,
        path,
        tensors: &layout.tensors,
    };
    let threads = Threads::new(&target, threads);
    stream(&target, checkpoint, &mut checksums, threads, watch)?;
    // The header comes last because it holds checksums of written tensors.
    let header = Layout::new(plan, metadata, &checksums)?.header;
    assert_eq!(
        header.len(),
        layout.header.len(),
        "checksums have a fixed length"
    );
    let file = file.into_inner();
    sys::write_all_at(&file, &header, 0).map_err(Error::writing(path))?;
    file.sync_all().map_err(Error::writing(path))?;
    Ok(layout.len)
}
