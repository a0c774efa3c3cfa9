//! Many conversions: every step of a run, every run below a directory or a prefix in a bucket, or the lines of a
//! manifest.
//!
//! [`find_jobs`] and [`jobs_of_lines`] make jobs, [`Batch::plan`] decides what will be done with each before anything is
//! written, [`PlannedBatch::run`] converts in parallel within a budget of memory. An export that is complete and was
//! made from the same inputs (`crate::record`) is skipped, so that the same call resumes a batch that was interrupted.

mod error;
mod existing;
mod jobs;
mod manifest;
mod memory;
mod names;
mod plan;
mod run;
mod settings;
mod shard;
mod steps;
mod summary;

pub use error::Error;
pub use jobs::{FoundJob, FoundJobs, Job, JobOptions, find_jobs, jobs_of_lines};
pub use manifest::{MAX_MANIFEST_LEN, ManifestLine, parse_manifest};
pub use memory::parse_size;
pub use names::NameTemplate;
pub use plan::{Batch, BatchOptions, Decision, Needs, PlannedBatch, PlannedJob, Prepared};
pub use run::{BatchResult, Finished, JobResult, Outcome};
pub use settings::{Settings, VocabularySource};
pub use shard::Shard;
pub use steps::Steps;
pub use summary::{make_output, write_summary};
