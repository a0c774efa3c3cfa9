//! Errors of planning and running many conversions.

use std::io;
use std::path::PathBuf;

/// Why many conversions cannot be planned, or one of them cannot be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A line of the manifest is not understood.
    #[error("{}, line {line}: {what}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong, and what is expected.
        what: String,
    },
    /// A name of an output directory cannot be used.
    #[error("the output name {name:?} of {checkpoint} {what}")]
    Name {
        /// The name.
        name: String,
        /// The checkpoint.
        checkpoint: String,
        /// What is wrong.
        what: String,
    },
    /// Two jobs have the same output directory, or one inside that of the other.
    #[error(
        "{first} would be exported to {first_name}, and {second} to {second_name}: give output directories that do not \
         contain each other, with --name-template, or with `out` in a manifest"
    )]
    Conflict {
        /// The checkpoint of one job.
        first: String,
        /// Its output name.
        first_name: String,
        /// The checkpoint of the other job.
        second: String,
        /// Its output name.
        second_name: String,
    },
    /// There is nothing to convert.
    #[error("there is nothing to convert: {what}")]
    Nothing {
        /// Why.
        what: String,
    },
    /// No checkpoint has a requested step.
    #[error("--steps: there is no step {missing} in {sources}; {found}")]
    MissingSteps {
        /// The steps.
        missing: String,
        /// Where they were looked for.
        sources: String,
        /// The steps that are there, in words.
        found: String,
    },
    /// One checkpoint is given twice.
    #[error(
        "{checkpoint} is given twice for the output {name}: give it once, or another output name"
    )]
    Twice {
        /// The checkpoint.
        checkpoint: String,
        /// Its output name.
        name: String,
    },
    /// The output directory cannot be written into.
    #[error("cannot write into {}: {source}; give another directory", path.display())]
    Unwritable {
        /// The output directory.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// The output directory holds an export that was made from other inputs, or in another way.
    #[error(
        "{} holds an export that does not match: {what}; choose another directory, or replace it with --force",
        path.display()
    )]
    Mismatch {
        /// The output directory.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// The exports do not fit on the disk.
    #[error(
        "{}: the exports need {needed} bytes, and {free} are free: nothing was written; free some space, or convert \
         fewer steps (--steps)",
        path.display()
    )]
    NoSpace {
        /// The output directory.
        path: PathBuf,
        /// Bytes of all exports that are to be written.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// A file of the checkpoint changed after the conversion was planned.
    #[error(
        "{checkpoint} has changed since it was planned, {what}: if training is still running, convert the checkpoint \
         again later"
    )]
    ChangedSincePlanning {
        /// The checkpoint.
        checkpoint: String,
        /// What changed.
        what: String,
    },
    /// A file that no batch wrote is in the place of the summary.
    #[error(
        "{} is not the summary of a batch, which would replace it: move it away, or choose another directory",
        path.display()
    )]
    NoSummary {
        /// The file.
        path: PathBuf,
    },
    /// The summary cannot be written.
    #[error("cannot write {}", path.display())]
    Summary {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}
