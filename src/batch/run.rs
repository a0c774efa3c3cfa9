//! Runs the planned conversions in parallel, within the budget of memory.
//!
//! A few driver threads take jobs from one queue. While there are jobs for all drivers, each runs its jobs on its own share
//! of the threads; the last jobs run in one pool of all threads, so that a job that is alone uses all cores. (Two
//! jobs on two cores take 0.8 to 0.9 times the time that they take in one pool, for 8 checkpoints of Base size as for 64
//! tiny ones.) A job starts if its estimate fits beside those that are running, or if none is. A job whose output directory
//! is locked by another process goes back to the queue, and is skipped when the other process has finished it.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rayon::ThreadPool;
use tf_checkpoint::storage::fetched_bytes;
use tf_checkpoint::{Checkpoint, Location};

use super::error::Error as BatchError;
use super::existing::Existing;
use super::jobs::Job;
use super::plan::{Batch, Decision, Needs, PlannedBatch, Prepared, reopened};
use crate::conversion::cancelling;
use crate::electra_checkpoint::ElectraCheckpoint;
use crate::error::{Error, ErrorKind};
use crate::export::{self, Destination};
use crate::progress::{Phase, Progress, Watch};
use crate::report::ConversionReport;
use crate::threads;

/// How often a driver without a job looks for a cancellation.
const LOOK: Duration = Duration::from_millis(50);
/// The pause before a job is tried again that another process is doing.
const BUSY_PAUSE: Duration = Duration::from_millis(500);

/// The result of a job.
#[derive(Debug)]
#[non_exhaustive]
pub struct JobResult {
    /// The number of the job in the plan.
    pub index: usize,
    /// The name of its output directory, relative to that of the batch.
    pub name: String,
    /// The output directory.
    pub out: PathBuf,
    /// The path of the checkpoint.
    pub checkpoint: String,
    /// The training step in the checkpoint's name.
    pub step: Option<u64>,
    /// `discriminator`, `generator`, `both` or `finetuned`.
    pub model: &'static str,
    /// Whether it was converted.
    pub outcome: Outcome,
    /// What the user should know although it did not fail.
    pub warnings: Vec<String>,
}

/// Whether a job was converted.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// It was converted.
    Converted {
        /// The length of all tensors, in bytes.
        bytes: u64,
        /// The time, in seconds.
        seconds: f64,
    },
    /// Its export was complete already.
    Skipped,
    /// It failed. Its output directory is as it was before, with the exceptions of
    /// [`PlannedConversion::run`](crate::PlannedConversion::run).
    Failed(Error),
    /// It was not begun or not finished, because the batch was stopped.
    NotRun,
}

/// Receives the result of each job as it ends, from any thread, and the report of a conversion.
pub type Finished<'a> = dyn Fn(&JobResult, Option<&ConversionReport>) + Sync + 'a;

/// The result of a batch.
#[derive(Debug)]
#[non_exhaustive]
pub struct BatchResult {
    /// One for each job, in the order of the plan.
    pub jobs: Vec<JobResult>,
    /// True if progress stopped the work.
    pub is_interrupted: bool,
}

impl PlannedBatch {
    /// Converts the jobs. The failure of a job is part of the result.
    ///
    /// `progress` covers the conversion of all jobs as one phase, and may stop them; its end does not mean that the
    /// last job is verified. A batch of one job has all phases of a conversion. The bytes that are fetched over a network
    /// are those of the whole process.
    pub fn run(self, progress: &dyn Progress, finished: &Finished<'_>) -> BatchResult {
        let planned = self.jobs.into_iter();
        let (jobs, decisions): (Vec<Job>, Vec<Decision>) = planned
            .map(|planned| (planned.job, planned.decision))
            .unzip();
        let watch = Watch::new(progress);
        let cores = threads::available();
        let drivers = self.batch.options.jobs.map_or(cores, NonZeroUsize::get);
        let running = Running {
            batch: &self.batch,
            jobs: &jobs,
            pool: &self.pool,
            budget: self.budget,
            watch: &watch,
            finished,
            state: Mutex::default(),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
            fetched_before: fetched_bytes(),
            has_one_job: jobs.len() == 1,
            drivers,
        };
        running.begin(decisions);
        let pending = running.state.lock().pending.len();
        thread::scope(|scope| {
            for _ in 1..drivers.min(pending) {
                // If the system allows no more threads, fewer jobs run at once.
                let driver = thread::Builder::new().spawn_scoped(scope, || running.drive());
                if driver.is_err() {
                    break;
                }
            }
            running.drive();
        });
        running.end()
    }
}

/// A batch that is running.
struct Running<'a> {
    batch: &'a Batch,
    jobs: &'a [Job],
    pool: &'a Arc<ThreadPool>,
    budget: Option<u64>,
    watch: &'a Watch<'a>,
    finished: &'a Finished<'a>,
    state: Mutex<State>,
    /// A job has ended.
    changed: Condvar,
    /// No further job starts, and those that are running end soon.
    stop: AtomicBool,
    /// How many bytes the process had fetched over a network before.
    fetched_before: u64,
    /// The phases of the only job are those of the batch.
    has_one_job: bool,
    /// The most jobs at once.
    drivers: usize,
}

#[derive(Default)]
struct State {
    pending: VecDeque<Pending>,
    running: usize,
    /// The sum of the estimates of the jobs that are running.
    memory: u64,
    results: Vec<JobResult>,
}

struct Pending {
    index: usize,
    prepared: Box<Prepared>,
    not_before: Option<Instant>,
}

impl Running<'_> {
    /// Reports the jobs that are decided already, and queues the others.
    fn begin(&self, decisions: Vec<Decision>) {
        let mut total: u64 = 0;
        for (index, decision) in decisions.into_iter().enumerate() {
            let outcome = match decision {
                Decision::Skip => {
                    // What a killed conversion left beside a complete export, which may be its own, is of no use. If it
                    // cannot be removed, the export is complete nevertheless.
                    let out = self.batch.out_of(&self.jobs[index]);
                    let _ =
                        Destination::of(&out).and_then(|destination| destination.recover(false));
                    Outcome::Skipped
                }
                Decision::Fail(error) => Outcome::Failed(error),
                Decision::Convert(prepared) => {
                    total = total.saturating_add(prepared.needs.source_bytes);
                    self.state.lock().pending.push_back(Pending {
                        index,
                        prepared,
                        not_before: None,
                    });
                    continue;
                }
            };
            self.report(index, outcome, None);
        }
        if !self.has_one_job {
            self.watch.begin(Phase::Converting, total);
        }
    }

    /// Runs jobs until the queue is empty or the batch is stopped.
    fn drive(&self) {
        let mut own = None;
        while let Some(pending) = self.next() {
            let index = pending.index;
            let needs = pending.prepared.needs;
            let pool = self.pool(needs, &mut own);
            let done = self.convert(&self.jobs[index], &pending.prepared, pool);
            {
                let mut state = self.state.lock();
                state.running -= 1;
                state.memory -= needs.memory;
                if done.as_ref().is_err_and(is_busy) {
                    state.pending.push_back(Pending {
                        not_before: Some(Instant::now() + BUSY_PAUSE),
                        ..pending
                    });
                }
            }
            self.changed.notify_all();
            match done {
                Err(error) if is_busy(&error) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    self.report(index, Outcome::NotRun, None);
                }
                Err(error) => self.report(index, Outcome::Failed(error), None),
                Ok(None) => self.report(index, Outcome::Skipped, None),
                Ok(Some(converted)) => {
                    let exports = &converted.report.exports;
                    let outcome = Outcome::Converted {
                        bytes: exports.iter().map(|export| export.plan.bytes as u64).sum(),
                        seconds: converted.report.seconds,
                    };
                    self.report(index, outcome, Some(converted));
                }
            }
        }
    }

    /// Waits for the next job that may start, and takes it.
    fn next(&self) -> Option<Pending> {
        let mut state = self.state.lock();
        loop {
            if self.is_stopped() {
                return None;
            }
            let now = Instant::now();
            let may_start = |pending: &Pending| {
                let fits =
                    |budget| state.memory.saturating_add(pending.prepared.needs.memory) <= budget;
                pending.not_before.is_none_or(|time| time <= now)
                    && (state.running == 0 || self.budget.is_none_or(fits))
            };
            if let Some(at) = state.pending.iter().position(may_start) {
                let pending = state.pending.remove(at)?;
                state.running += 1;
                state.memory += pending.prepared.needs.memory;
                return Some(pending);
            }
            if state.pending.is_empty() {
                return None;
            }
            self.changed.wait_for(&mut state, LOOK);
        }
    }

    /// Returns the thread pool for a job: that of the driver, `own`, if there are jobs for all drivers, else the shared one.
    fn pool(&self, needs: Needs, own: &mut Option<Arc<ThreadPool>>) -> Arc<ThreadPool> {
        let shared = self.pool;
        let busy = {
            let state = self.state.lock();
            state.running + state.pending.len()
        };
        let all_fit = |budget: u64| budget / needs.memory.max(1) >= self.drivers as u64;
        let share = NonZeroUsize::new(shared.current_num_threads() / self.drivers);
        if self.drivers == 1 || busy < self.drivers || !self.budget.is_none_or(all_fit) {
            return Arc::clone(shared);
        }
        if own.is_none() {
            // If the system allows no more threads, the job runs in the shared pool.
            let pool = share.and_then(|share| threads::pool(Some(share)).ok());
            *own = pool.map(Arc::new);
        }
        Arc::clone(own.as_ref().unwrap_or(shared))
    }

    fn is_stopped(&self) -> bool {
        self.watch.check().is_err() || self.stop.load(Ordering::Relaxed)
    }

    /// Converts a job; `None` if its export is complete already.
    fn convert(
        &self,
        job: &Job,
        prepared: &Prepared,
        pool: Arc<ThreadPool>,
    ) -> Result<Option<Converted>, Error> {
        let destination = Destination::of(&self.batch.out_of(job))?;
        let progress = JobProgress {
            running: self,
            is_converting: AtomicBool::new(false),
        };
        let watch = Watch::new(&progress);
        let location = reopened(&prepared.location, &watch)?;
        let opened = location.clone();
        let convert = || {
            let converted =
                self.convert_opened(job, prepared, location, &destination, pool, &progress);
            let exists = |error: &Error| {
                use export::Error as E;
                matches!(error, Error::Export(E::Exists { .. } | E::Leftover { .. }))
            };
            match converted {
                // Another process may have finished it in the meantime.
                Err(error) if exists(&error) => {
                    match self.batch.look(job, &prepared.record, &destination) {
                        Ok(Existing::Same) => Ok(None),
                        _ => Err(error),
                    }
                }
                converted => converted,
            }
        };
        cancelling(opened.storage(), Some(&destination), &watch, convert)
    }

    fn convert_opened(
        &self,
        job: &Job,
        prepared: &Prepared,
        location: Location,
        destination: &Destination,
        pool: Arc<ThreadPool>,
        progress: &dyn Progress,
    ) -> Result<Option<Converted>, Error> {
        let start = Instant::now();
        let Prepared { record, needs, .. } = prepared;
        let options = &self.batch.options;
        destination.recover(true)?;
        let existing = self.batch.look(job, record, destination)?;
        if existing == Existing::Same && !options.redo {
            return Ok(None);
        }
        let settings = &job.settings;
        let checkpoint = Checkpoint::open_by(location, settings.read_by)?;
        // The index that is recorded is the one that was opened: a change in between is noticed after the conversion.
        let found = settings.record(checkpoint.location())?;
        if let Some(what) = found.difference(record) {
            let checkpoint = job.checkpoint.clone();
            return Err(BatchError::ChangedSincePlanning { checkpoint, what }.into());
        }
        let checkpoint = ElectraCheckpoint::new(checkpoint, &settings.renames)?;
        let conversion = settings
            .conversion(&checkpoint)?
            .replace(needs.replaces || options.replace)
            .record(Some(record.clone()))
            .pool(pool);
        let conversion = conversion.plan_with(progress)?;
        let mut warnings = conversion.warnings();
        let exports = conversion.run(self.batch.out_of(job), progress)?;
        warnings.extend(exports.iter().flat_map(|export| export.warnings.clone()));
        let report = ConversionReport::new(&checkpoint, &exports, start.elapsed().as_secs_f64());
        Ok(Some(Converted { report, warnings }))
    }

    fn report(&self, index: usize, outcome: Outcome, converted: Option<Converted>) {
        if self.batch.options.fail_fast && matches!(outcome, Outcome::Failed(_)) {
            self.stop.store(true, Ordering::Relaxed);
        }
        let job = &self.jobs[index];
        let (report, warnings) = match converted {
            Some(converted) => (Some(converted.report), converted.warnings),
            None => (None, Vec::new()),
        };
        let result = JobResult {
            index,
            name: job.name.clone(),
            out: self.batch.out_of(job),
            checkpoint: job.checkpoint.clone(),
            step: job.step,
            model: job.settings.models.key(),
            outcome,
            warnings,
        };
        (self.finished)(&result, report.as_ref());
        self.state.lock().results.push(result);
    }

    fn end(self) -> BatchResult {
        let pending = std::mem::take(&mut self.state.lock().pending);
        for pending in pending {
            self.report(pending.index, Outcome::NotRun, None);
        }
        let is_interrupted = self.watch.is_stopped();
        let mut jobs = self.state.into_inner().results;
        jobs.sort_by_key(|result| result.index);
        BatchResult {
            jobs,
            is_interrupted,
        }
    }
}

/// A finished conversion.
struct Converted {
    report: ConversionReport,
    warnings: Vec<String>,
}

/// True if another process holds the lock of the output directory.
fn is_busy(error: &Error) -> bool {
    matches!(error, Error::Export(export::Error::Busy { .. }))
}

/// The progress of one job. Of several jobs the bytes that are converted are those of the batch.
struct JobProgress<'a> {
    running: &'a Running<'a>,
    is_converting: AtomicBool,
}

impl Progress for JobProgress<'_> {
    fn begin(&self, phase: Phase, total: u64) {
        if self.running.has_one_job {
            self.running.watch.begin(phase, total);
        }
        self.is_converting
            .store(phase == Phase::Converting, Ordering::Relaxed);
    }

    fn fetched(&self, _: u64) {
        let fetched = fetched_bytes() - self.running.fetched_before;
        self.running.watch.fetched(fetched);
    }

    fn advance(&self, units: u64) -> ControlFlow<()> {
        let counts = self.running.has_one_job || self.is_converting.load(Ordering::Relaxed);
        let advanced = self.running.watch.advance(if counts { units } else { 0 });
        if advanced.is_err() || self.running.stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}
