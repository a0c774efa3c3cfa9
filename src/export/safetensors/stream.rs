//! Streams tensors from the checkpoint into the file, on several threads.
//!
//! The layout is known before the first byte is read, so tensors are independent jobs. A
//! variable that is stored as one run of bytes is streamed, with or without a cast:
//!
//! - A copy is split into parts whose checksums are combined, so that the word embeddings do not occupy one
//!   thread while the others are idle.
//! - A kernel is transposed while it is read. It is written as a whole if it fits into the thread's share of
//!   `queue::BANDS`; a larger one is split into bands of columns (see `kernel`).
//!
//! The memory of these does not depend on the size of the tensors. All other tensors (partitioned variables,
//! V1 checkpoints, HDF5 files, computed heads) are made in memory as a whole by `convert_tensor`.
//!
//! Bytes are read in steps that stay in the cache until their checksum is computed and they are transposed
//! or written. Each thread keeps its buffers; where their memory comes from matters as much as anything
//! else here (see `buffer`).
//!
//! Measurements with ELECTRA-Large in the page cache (`scripts/bench.sh`) on two cores of an AMD EPYC; `cp`
//! of the same bytes takes 0.54 s:
//!
//! | | s |
//! |---|---|
//! | one tensor after the other | 3.3 |
//! | two threads that read a kernel, then transpose it in bands of 256 KiB and write each | 0.85 |
//! | the same in bands of 1 MiB | 0.76 |
//! | transposed while it is in the cache and written as a whole, tensors in the order of the file | 0.9 |
//! | the same, the largest first | 0.67 |
//! | with huge pages | 0.66 |
//! | with huge pages and buffers half a cache line away from the alignment of the bytes in the file | 0.54 |
//! | steps of 1 MiB instead of 256 KiB | 0.51 |
//! | parts of embeddings spread among the kernels | 0.66 |
//!
//! The table and these figures were measured before large kernels were written in bands (kernels of ELECTRA-Large are
//! still written as a whole) and before there was a mutex around the writes.
//!
//! `fallocate` instead of `ftruncate` takes 0.33 s by itself and saves 0.25 s of writing; transposing into
//! a mapping of the output costs 0.7 s of page faults. The remaining limit: the kernel's lock on the file lets one
//! thread write at a time, and writing alone takes 0.45 s, most of it for new pages. Threads that wait for that lock
//! spin: with a mutex around the writes a conversion takes the same time, and three quarters of the CPU time (ELECTRA-Base
//! in memory, 0.26 s instead of 0.33 s). `copy_file_range` is no option because checksums are computed.

use parking_lot::Mutex;
use tf_checkpoint::Checkpoint;

use super::checksums::RecordedChecksums;
use super::queue::{Queue, Threads};
use super::target::Target;
use super::worker::{Job, Results, Worker};
use crate::export::Error;
use crate::progress::Watch;
use crate::threads::each;

/// Writes every tensor to its place, and records the checksums of written tensors in `checksums`.
pub(super) fn stream(
    target: &Target<'_>,
    checkpoint: &Checkpoint,
    checksums: &mut RecordedChecksums,
    threads: Threads,
    watch: &Watch<'_>,
) -> Result<(), Error> {
    let queue = Queue::new(target, checkpoint, threads);
    let results = Mutex::new(Results::new(checksums));
    let failed = Mutex::new(None);
    let worker = || Worker::new(target, checkpoint, &results, watch);
    let work = |worker: &mut Worker<'_, '_>, job: Job| {
        if let Err(error) = worker.run(&job) {
            failed.lock().get_or_insert(error);
            queue.clear();
        }
    };
    each(threads.count, worker, || queue.next(), work);
    failed.into_inner().map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;

    use half::{bf16, f16};
    use safetensors::Dtype;
    use testkit::bundle_writer::{BFLOAT16, Bundle, FLOAT16, FLOAT32, FLOAT64};
    use tf_checkpoint::{DType, locate};

    use super::*;
    use crate::export::materialise::convert_tensor;
    use crate::export::safetensors::queue::{BANDS, PART};
    use crate::plan::{Cast, PlannedTensor};
    use crate::variables::Recipe;

    /// Rows and columns that are no multiples of the tiles, steps, parts and bands.
    const SHAPES: [[usize; 2]; 6] = [[37, 53], [1, 70], [70, 1], [16, 48], [211, 19], [0, 3]];
    const TYPES: [(u64, DType); 4] = [
        (FLOAT16, DType::Float16),
        (BFLOAT16, DType::BFloat16),
        (FLOAT32, DType::Float32),
        (FLOAT64, DType::Float64),
    ];

    fn bytes(values: impl Iterator<Item = f64>, dtype: DType) -> Vec<u8> {
        let bytes = |value: f64| match dtype {
            DType::Float16 => f16::from_f64(value).to_le_bytes().to_vec(),
            DType::BFloat16 => bf16::from_f64(value).to_le_bytes().to_vec(),
            #[allow(clippy::cast_possible_truncation, reason = "rounds on purpose")]
            DType::Float32 => (value as f32).to_le_bytes().to_vec(),
            _ => value.to_le_bytes().to_vec(),
        };
        values.flat_map(bytes).collect()
    }

    /// Adds a matrix whose elements differ, except for those in `set`.
    fn add(bundle: &mut Bundle, name: &str, shape: [usize; 2], kind: usize, set: &[(usize, f64)]) {
        let (number, dtype) = TYPES[kind];
        let value = |at: usize| {
            let value = set.iter().find(|(index, _)| *index == at);
            value.map_or(f64::from(u32::try_from(at).unwrap()) * 0.37 - 99.0, |v| v.1)
        };
        let bytes = bytes((0..shape[0] * shape[1]).map(value), dtype);
        let shape = shape.map(|size| i64::try_from(size).unwrap());
        bundle.add(name, number, &shape, &bytes);
    }

    fn open(bundle: &Bundle, folder: &Path) -> Checkpoint {
        bundle.write(&folder.join("model"));
        Checkpoint::open(locate(folder, None).unwrap()).unwrap()
    }

    /// Plans a tensor of each variable.
    fn plan(checkpoint: &Checkpoint, recipe: Recipe, to: Dtype) -> Vec<PlannedTensor> {
        let planned = checkpoint.variables().iter().map(|variable| PlannedTensor {
            name: format!("{} {recipe:?}", variable.name),
            variables: vec![variable.clone()],
            recipe,
            cast: Cast {
                from: variable.dtype,
                to,
            },
            shape: recipe.reorder(&variable.shape),
        });
        planned.collect()
    }

    /// Writes the tensors one after the other; returns the file and the checksums.
    fn write(
        tensors: &[PlannedTensor],
        checkpoint: &Checkpoint,
        folder: &Path,
        threads: Threads,
    ) -> Result<(Vec<u8>, String), Error> {
        let mut end = 24;
        let placed: Vec<_> = tensors
            .iter()
            .map(|tensor| {
                let start = end;
                end += tensor.bytes() as u64;
                (tensor, start)
            })
            .collect();
        let path = folder.join("weights");
        let file = File::create(&path).unwrap();
        file.set_len(end).unwrap();
        let target = Target {
            file: &Mutex::new(file),
            path: &path,
            tensors: &placed,
        };
        let mut checksums = RecordedChecksums::planned(tensors);
        let watch = Watch::new(&());
        stream(&target, checkpoint, &mut checksums, threads, &watch)?;
        Ok((fs::read(&path).unwrap()[24..].to_vec(), checksums.to_json()))
    }

    /// Sizes of jobs from one row or element to the whole tensor.
    fn sizes() -> Vec<Threads> {
        let sizes = [
            (1, 8),
            (700, 80),
            (2048, 1000),
            (300 << 10, 1 << 16),
            (BANDS, PART),
        ];
        let threads = |(band, part)| Threads {
            count: 2,
            band,
            part,
        };
        sizes.map(threads).to_vec()
    }

    #[test]
    fn tensors_in_parts_and_in_memory_are_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let mut bundle = Bundle::default();
        for (kind, (_, dtype)) in TYPES.iter().enumerate() {
            for [rows, columns] in SHAPES {
                let name = format!("{dtype} {rows} {columns}");
                add(&mut bundle, &name, [rows, columns], kind, &[]);
            }
        }
        let checkpoint = open(&bundle, folder.path());
        for to in [Dtype::F32, Dtype::F16, Dtype::BF16] {
            check(&checkpoint, to, folder.path(), &sizes());
        }
    }

    #[test]
    fn a_kernel_of_several_steps_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let mut bundle = Bundle::default();
        // float16 has the values of no larger kernel.
        add(&mut bundle, "kernel", [293, 601], 3, &[]);
        let checkpoint = open(&bundle, folder.path());
        check(&checkpoint, Dtype::F16, folder.path(), &sizes()[2..]);
    }

    /// Compares tensors that are copied or transposed in parts with those made in memory.
    fn check(checkpoint: &Checkpoint, to: Dtype, folder: &Path, sizes: &[Threads]) {
        for recipe in [Recipe::Copy, Recipe::Transpose] {
            let tensors = plan(checkpoint, recipe, to);
            let mut checksums = RecordedChecksums::planned(&tensors);
            let mut expected = Vec::new();
            for tensor in &tensors {
                let bytes = convert_tensor(tensor, checkpoint).unwrap();
                expected.extend_from_slice(bytes.as_bytes());
                if checksums.needs(tensor) {
                    checksums.record(tensor, crc32c::crc32c(bytes.as_bytes()));
                }
            }
            for &threads in sizes {
                let (found, sums) = write(&tensors, checkpoint, folder, threads).unwrap();
                assert!(found == expected, "{recipe:?} to {to:?}, {threads:?}");
                assert_eq!(
                    sums,
                    checksums.to_json(),
                    "{recipe:?} to {to:?}, {threads:?}"
                );
            }
        }
    }

    #[test]
    fn the_first_overflow_is_reported_with_its_index_in_the_variable() {
        let folder = tempfile::tempdir().unwrap();
        let mut bundle = Bundle::default();
        let [first, second] = [20 * 53 + 5, 21 * 53 + 2];
        let set = [(first, -1e5), (second, 1e6)];
        add(&mut bundle, "kernel", SHAPES[0], 2, &set);
        let checkpoint = open(&bundle, folder.path());
        // A flip of the exponent's first bit makes the first element too large.
        let mut damaged = bundle.clone();
        damaged.data[3] ^= 0x40;
        let other = tempfile::tempdir().unwrap();
        let damaged = open(&damaged, other.path());
        for recipe in [Recipe::Copy, Recipe::Transpose] {
            let tensors = plan(&checkpoint, recipe, Dtype::F16);
            let in_memory = convert_tensor(&tensors[0], &checkpoint).unwrap_err();
            for threads in sizes() {
                let error = write(&tensors, &checkpoint, folder.path(), threads).unwrap_err();
                assert_eq!(error.to_string(), in_memory.to_string());
                assert!(
                    matches!(error, Error::Overflow { index, value, .. } if index == first && value < 0.0),
                    "{error}"
                );
                let error = write(&tensors, &damaged, folder.path(), threads).unwrap_err();
                let is_checksum = matches!(
                    error,
                    Error::Checkpoint(tf_checkpoint::Error::Checksum { .. })
                );
                assert!(is_checksum, "{error}");
            }
        }
    }
}
