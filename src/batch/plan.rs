//! Planning all jobs before the first byte is written.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::ThreadPool;
use tf_checkpoint::{Checkpoint, Location, storage};

use super::error::Error as BatchError;
use super::existing::{self, Existing};
use super::jobs::{FoundJob, Job, PLANNERS};
use super::memory;
use super::names;
use super::shard::Shard;
use crate::conversion::cancelling;
use crate::electra_checkpoint::ElectraCheckpoint;
use crate::error::Error;
use crate::export::{self, Destination};
use crate::progress::{Phase, Progress, Stopped, Watch};
use crate::record::Record;
use crate::threads;
use crate::variables;

/// The stack of a thread of the shared pool: a thread that waits for a part of its job may run another job meanwhile.
const STACK: usize = 16 << 20;

/// How many conversions are run.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct BatchOptions {
    /// Replace exports that do not match.
    pub replace: bool,
    /// Convert again, and replace, what matches.
    pub redo: bool,
    /// Convert only the jobs of this shard.
    pub shard: Option<Shard>,
    /// The most conversions at once; by default the number of cores.
    pub jobs: Option<NonZeroUsize>,
    /// The most bytes of memory that all of them may take by their estimates; by default three quarters of what is
    /// available, where that is known.
    pub memory: Option<u64>,
    /// Stop all conversions after the first failure.
    pub fail_fast: bool,
    /// The number of threads that all conversions share; by default the number of cores.
    pub threads: Option<NonZeroUsize>,
}

/// Many conversions into one directory.
#[derive(Debug)]
pub struct Batch {
    pub(super) out: PathBuf,
    jobs: Vec<FoundJob>,
    pub(super) options: BatchOptions,
}

/// A job with what will be done.
#[derive(Debug)]
#[non_exhaustive]
pub struct PlannedJob {
    /// The job.
    pub(super) job: Job,
    /// What will be done.
    pub decision: Decision,
}

/// What will be done with a job.
#[derive(Debug)]
#[non_exhaustive]
pub enum Decision {
    /// It will be converted.
    Convert(Box<Prepared>),
    /// Its export is complete, and was made from the same inputs.
    Skip,
    /// It cannot be converted.
    Fail(Error),
}

/// A job that will be converted.
#[derive(Debug)]
pub struct Prepared {
    pub(super) location: Location,
    /// What the export is recognised by.
    pub(super) record: Record,
    /// What the conversion needs.
    pub needs: Needs,
}

/// What a conversion needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needs {
    /// The length of all tensors, in bytes.
    pub bytes: u64,
    /// How many bytes of the checkpoint become tensors.
    pub source_bytes: u64,
    /// The estimated peak memory, in bytes.
    pub memory: u64,
    /// True if files are replaced: those of another export, or of an upload that was killed.
    pub replaces: bool,
}

/// Many conversions with their plans.
#[derive(Debug)]
pub struct PlannedBatch {
    pub(super) batch: Batch,
    pub(super) jobs: Vec<PlannedJob>,
    pub(super) pool: Arc<ThreadPool>,
    pub(super) budget: Option<u64>,
    warnings: Vec<String>,
}

impl Batch {
    /// Creates a batch of jobs into the directory `out`, which may be a URL in a bucket (feature `cloud`).
    ///
    /// # Errors
    /// If an output name cannot be used, or two of them conflict.
    pub fn new(
        out: impl Into<PathBuf>,
        jobs: Vec<FoundJob>,
        options: BatchOptions,
    ) -> Result<Self, Error> {
        let out = out.into();
        Destination::of(&out)?;
        // Nothing is written for a missing checkpoint, whose template name may be anything.
        let is_checked = |found: &&FoundJob| found.source.is_ok() || found.is_named;
        let names = jobs.iter().filter(is_checked);
        let names = names.map(|found| (&found.job.name[..], &found.job.checkpoint[..]));
        for (name, checkpoint) in names.clone() {
            names::check(name, checkpoint)?;
        }
        names::check_conflicts(names)?;
        Ok(Self { out, jobs, options })
    }

    /// Plans every job of the shard. Nothing is written. A job that cannot be converted is part of the plan.
    ///
    /// # Errors
    /// If the exports do not fit on the disk, or `progress` stops the work.
    pub fn plan(mut self, progress: &dyn Progress) -> Result<PlannedBatch, Error> {
        let watch = Watch::new(progress);
        self.check_out()?;
        let mut jobs = std::mem::take(&mut self.jobs);
        if let Some(shard) = self.options.shard {
            jobs.retain(|found| shard.contains(&found.job.name));
        }
        let pool = threads::pool_with_stack(self.options.threads, STACK).map_err(Error::Threads)?;
        let pool = Arc::new(pool);
        watch.begin(Phase::Reading, jobs.len() as u64);
        let plan = |at: usize| {
            watch.check()?;
            let FoundJob { job, source, .. } = &jobs[at];
            let planned = source
                .as_ref()
                .ok()
                .map(|location| self.prepare(job, location, &pool, &watch));
            watch.advance(1)?;
            Ok::<_, Stopped>(planned)
        };
        let locations = jobs.iter().filter_map(|found| found.source.as_ref().ok());
        let is_remote = Destination::of(&self.out)?.is_remote() || locations.clone().any(is_remote);
        let planners = if is_remote {
            PLANNERS
        } else {
            pool.current_num_threads()
        };
        let prepared = threads::map_waiting(planners, jobs.len(), plan)?;
        let planned = jobs.into_iter().zip(prepared).map(|(found, prepared)| {
            let decision = match (found.source, prepared) {
                (Err(missing), _) => Decision::Fail(missing.into()),
                (Ok(location), Some(Ok(Some((record, needs))))) => {
                    Decision::Convert(Box::new(Prepared {
                        location,
                        record,
                        needs,
                    }))
                }
                (Ok(_), Some(Err(error))) => Decision::Fail(error),
                (Ok(_), _) => Decision::Skip,
            };
            PlannedJob {
                job: found.job,
                decision,
            }
        });
        let planned: Vec<PlannedJob> = planned.collect();
        self.check_space(&planned)?;
        let budget = self.options.memory.or_else(memory::default_budget);
        let warnings = beyond_budget(&planned, budget);
        Ok(PlannedBatch {
            batch: self,
            jobs: planned,
            pool,
            budget,
            warnings,
        })
    }

    /// Returns what a conversion needs, and what its export is recognised by; `None` if such an export is complete.
    fn prepare(
        &self,
        job: &Job,
        location: &Location,
        pool: &Arc<ThreadPool>,
        watch: &Watch<'_>,
    ) -> Result<Option<(Record, Needs)>, Error> {
        let destination = Destination::of(&self.out_of(job))?;
        let unseen = Unseen(watch);
        let watch = Watch::new(&unseen);
        let location = reopened(location, &watch)?;
        let opened = location.clone();
        let prepare = || self.prepare_opened(job, location, &destination, pool, &unseen);
        cancelling(opened.storage(), Some(&destination), &watch, prepare)
    }

    fn prepare_opened(
        &self,
        job: &Job,
        location: Location,
        destination: &Destination,
        pool: &Arc<ThreadPool>,
        progress: &dyn Progress,
    ) -> Result<Option<(Record, Needs)>, Error> {
        let record = job.settings.record(&location)?;
        let replaces = match self.look(job, &record, destination)? {
            Existing::Same if !self.options.redo => return Ok(None),
            Existing::Nothing => false,
            Existing::Unfinished | Existing::Same | Existing::Other(_) => true,
        };
        let settings = &job.settings;
        let checkpoint = Checkpoint::open_by(location, settings.read_by)?;
        let checkpoint = ElectraCheckpoint::new(checkpoint, &settings.renames)?;
        let conversion = settings.conversion(&checkpoint)?;
        let plans = match conversion.plan_by_index() {
            // The training graph must be evaluated, or the weights read.
            Err(Error::Model(
                variables::Error::Unrecognised { .. } | variables::Error::UnknownHeadCount { .. },
            )) => {
                let conversion = conversion.pool(Arc::clone(pool));
                conversion.plan_with(progress)?.plans().to_vec()
            }
            plans => plans?,
        };
        let location = checkpoint.checkpoint().location();
        let graph = graph_len(location);
        let mut needs = Needs {
            bytes: 0,
            source_bytes: 0,
            memory: 0,
            replaces,
        };
        for plan in &plans {
            for tensor in &plan.tensors {
                tensor.check_present(checkpoint.checkpoint())?;
                needs.source_bytes = needs.source_bytes.saturating_add(tensor.source_bytes());
            }
            needs.bytes = needs.bytes.saturating_add(plan.bytes() as u64);
            // One model after the other.
            needs.memory = needs.memory.max(memory::estimate(
                plan,
                location,
                graph,
                pool.current_num_threads(),
            ));
        }
        Ok(Some((record, needs)))
    }

    /// Looks at the output directory of a job.
    ///
    /// # Errors
    /// [`BatchError::Mismatch`] if it holds another export that must not be replaced.
    pub(super) fn look(
        &self,
        job: &Job,
        record: &Record,
        destination: &Destination,
    ) -> Result<Existing, Error> {
        match existing::look(destination, job.settings.models, record)? {
            Existing::Other(what) if !self.options.replace => {
                let path = self.out_of(job);
                Err(BatchError::Mismatch { path, what }.into())
            }
            existing => Ok(existing),
        }
    }

    /// Returns the output directory of a job.
    pub(super) fn out_of(&self, job: &Job) -> PathBuf {
        self.out.join(&job.name)
    }

    /// Fails if OUT, or what it would be made in, is no directory.
    fn check_out(&self) -> Result<(), Error> {
        if Destination::of(&self.out)?.is_remote() {
            return Ok(());
        }
        let existing = self.out.ancestors().find(|path| path.exists());
        match existing.filter(|path| !path.is_dir()) {
            Some(path) => Err(export::Error::NotADirectory {
                path: path.to_owned(),
            }
            .into()),
            None => Ok(()),
        }
    }

    /// Fails if the exports do not fit on the disk.
    fn check_space(&self, jobs: &[PlannedJob]) -> Result<(), Error> {
        if Destination::of(&self.out)?.is_remote() {
            return Ok(());
        }
        let mut needed: u64 = 0;
        let mut replaced: u64 = 0;
        for needs in jobs.iter().filter_map(PlannedJob::needs) {
            if needs.replaces {
                replaced = replaced.max(needs.bytes);
            } else {
                needed = needed.saturating_add(needs.bytes);
            }
        }
        // The earlier export is removed when the new one is complete.
        let needed = needed.saturating_add(replaced);
        let absolute = std::path::absolute(&self.out).unwrap_or_else(|_| self.out.clone());
        let existing = absolute.ancestors().find(|path| path.is_dir());
        match existing.and_then(storage::free_space) {
            Some(free) if free < needed => Err(BatchError::NoSpace {
                path: self.out.clone(),
                needed,
                free,
            }
            .into()),
            _ => Ok(()),
        }
    }
}

impl PlannedJob {
    /// Returns the job.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// Returns what a conversion needs; `None` if the job will not be converted.
    pub fn needs(&self) -> Option<Needs> {
        match &self.decision {
            Decision::Convert(prepared) => Some(prepared.needs),
            _ => None,
        }
    }
}

impl PlannedBatch {
    /// Returns the jobs of the shard.
    pub fn jobs(&self) -> &[PlannedJob] {
        &self.jobs
    }

    /// Returns the budget of memory in bytes; `None` if there is no limit.
    pub fn budget(&self) -> Option<u64> {
        self.budget
    }

    /// Returns the directory of all exports.
    pub fn out(&self) -> &Path {
        &self.batch.out
    }

    /// Returns what the user should know although nothing failed.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// The progress of planning one of many jobs, which may only be cancelled.
struct Unseen<'a>(&'a Watch<'a>);

impl Progress for Unseen<'_> {
    fn advance(&self, _units: u64) -> ControlFlow<()> {
        match self.0.check() {
            Ok(()) => ControlFlow::Continue(()),
            Err(Stopped) => ControlFlow::Break(()),
        }
    }
}

/// Opens the storage of a location again: see [`Location::reopened`].
pub(super) fn reopened(location: &Location, watch: &Watch<'_>) -> Result<Location, Error> {
    cancelling(location.storage(), None, watch, || Ok(location.reopened()?))
}

fn is_remote(location: &Location) -> bool {
    location.storage().is_remote()
}

/// Returns the length of the training graph's file; 0 if the checkpoint has no such file.
fn graph_len(location: &Location) -> u64 {
    let path = location.graph_path();
    let storage = location.storage();
    match storage.kind(&path) {
        Ok(Some(storage::Kind::File)) => storage.open(&path).map_or(0, |file| file.len()),
        _ => 0,
    }
}

/// Returns a warning for the jobs whose estimate exceeds the budget: they run alone.
fn beyond_budget(jobs: &[PlannedJob], budget: Option<u64>) -> Vec<String> {
    let Some(budget) = budget else {
        return Vec::new();
    };
    let beyond = |planned: &&PlannedJob| planned.needs().is_some_and(|needs| needs.memory > budget);
    let count = jobs.iter().filter(beyond).count();
    let Some(first) = jobs.iter().find(beyond) else {
        return Vec::new();
    };
    let memory = first.needs().map_or(0, |needs| needs.memory);
    vec![format!(
        "{count} of the conversions may need more memory than --memory allows ({budget} bytes), such as {} with \
         {memory} bytes by estimate; they run alone",
        first.job.name
    )]
}
