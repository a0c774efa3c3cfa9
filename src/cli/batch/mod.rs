//! The command `batch`.

pub(super) mod args;
mod jobs;
mod table;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use parking_lot::Mutex;
use tf_checkpoint::address::Use;

use args::BatchArgs;

use super::caller::Caller;
use super::exit::{Exit, Failures, Usage};
use super::progress::{Bar, Signals};
use super::text::count;
use super::{failure, input, message, report};
use crate::batch::{
    Batch, BatchOptions, BatchResult, Decision, JobResult, Outcome, PlannedBatch, Shard,
    make_output, write_summary,
};
use crate::report::{
    BatchPlanReport, BatchReport, Command, ConversionReport, Document, FailureReport,
    JobOutcomeReport, Status,
};
use crate::{Error, Progress};

/// Runs a batch, prints its table, and writes its summary.
pub(crate) fn run(args: &BatchArgs, caller: &Caller<'_>) -> anyhow::Result<()> {
    caller.until_signal(|signals| run_until_signal(args, caller, signals))
}

fn run_until_signal(
    args: &BatchArgs,
    caller: &Caller<'_>,
    signals: &Signals,
) -> anyhow::Result<()> {
    let (sources, out) = paths(args)?;
    input::refuse_address("OUT", out, Use::Output)?;
    let found = jobs::of_args(args, sources, caller)?;
    let options = BatchOptions {
        replace: args.force,
        redo: args.redo,
        shard: args.shard,
        jobs: args.jobs,
        memory: args.memory,
        fail_fast: args.fail_fast,
        threads: args.threads,
    };

    let hidden = args.output.quiet || args.output.json;
    let bar = Bar::new(hidden || caller.is_code(), Some(signals));
    let progress = caller.code_progress().unwrap_or(&bar);
    let planned = Batch::new(out, found.jobs, options)?.plan(progress)?;
    if !args.output.quiet {
        caller.warn(found.warnings);
        caller.warn(planned.warnings().iter().cloned());
    }
    if args.dry_run {
        drop(bar);
        return dry_run(args, caller, &planned);
    }
    if args.job.is_none() {
        make_output(out, args.shard).map_err(Error::from)?;
    }
    let (result, printed) = convert(args, caller, planned, progress, &bar);
    drop(bar);
    signals.release();
    end(args, caller, out, &result, signals).and(printed)
}

/// Splits the paths into sources and output directory.
fn paths(args: &BatchArgs) -> anyhow::Result<(&[PathBuf], &Path)> {
    let (out, sources) = args.paths.split_last().context("clap requires a path")?;
    let is_listed = args.manifest.is_some() || args.job.is_some();
    match (is_listed, sources) {
        (false, []) => {
            let shown = super::text::shell_quoted(out.as_os_str());
            Err(Usage(format!(
                "OUT is missing: electra-convert batch --model MODEL {shown} OUT"
            ))
            .into())
        }
        (true, [first, ..]) => Err(Usage(format!(
            "--manifest lists the checkpoints: give OUT alone, without {}",
            first.display()
        ))
        .into()),
        _ => Ok((sources, out)),
    }
}

fn dry_run(args: &BatchArgs, caller: &Caller<'_>, planned: &PlannedBatch) -> anyhow::Result<()> {
    let failures = planned
        .jobs()
        .iter()
        .map(|planned| match &planned.decision {
            Decision::Fail(error) => Some(failure_of(error)),
            _ => None,
        });
    let report = BatchPlanReport::new(planned, shown(args.shard), failures.collect());
    if args.output.json {
        caller.document(&Document::new(Command::Batch, Status::Planned, &report))?;
    } else if !args.output.quiet {
        report::print_text(&table::planned(&report))?;
    }
    let failed = report.jobs.iter().filter_map(|job| job.failure.as_ref());
    failures_as_error(failed, ("checkpoint", "cannot be converted"), None)
}

/// Converts, and prints each result as it comes. Returns the first error of printing too.
fn convert(
    args: &BatchArgs,
    caller: &Caller<'_>,
    planned: PlannedBatch,
    progress: &dyn Progress,
    bar: &Bar<'_>,
) -> (BatchResult, anyhow::Result<()>) {
    let total = planned.jobs().len();
    let state = Mutex::new((0, Ok(())));
    let finished = |result: &JobResult, conversion: Option<&ConversionReport>| {
        let mut state = state.lock();
        let (done, printed) = &mut *state;
        *done += 1;
        if args.output.json {
            let body = JobOutcomeReport::new(result, failure_in(result), conversion);
            let line = Document::new(Command::Batch, result.outcome.status(), body);
            // Such as a full disk: the conversions go on.
            if printed.is_ok() {
                *printed = caller.line(&line);
            }
        } else if !caller.is_code() && (!args.output.quiet || failure_in(result).is_some()) {
            bar.line(&table::finished(*done, total, result));
        }
        if !args.output.quiet {
            let warnings = result.warnings.iter();
            let warnings = warnings.map(|warning| format!("{}: {warning}", result.name));
            if caller.is_code() {
                caller.warn(warnings);
            } else {
                warnings.for_each(|warning| bar.line(&super::text::warning(&warning)));
            }
        }
    };
    let result = planned.run(progress, &finished);
    (result, state.into_inner().1)
}

/// Writes the summary, prints the table, and returns the error of the worst failure.
fn end(
    args: &BatchArgs,
    caller: &Caller<'_>,
    out: &Path,
    result: &BatchResult,
    signals: &Signals,
) -> anyhow::Result<()> {
    let mut report = BatchReport {
        shard: shown(args.shard),
        ..BatchReport::default()
    };
    for job in &result.jobs {
        report.add(job, failure_in(job));
    }
    if result.is_interrupted {
        report.exit_code = signals.exit_code().unwrap_or(Exit::Failure as u8);
    }
    let is_done = report.failed == 0 && report.not_run == 0;
    let status = if is_done {
        Status::Finished
    } else {
        Status::Failed
    };
    let document = Document::new(Command::Batch, status, &report);
    // A single job has no other to be summed up with.
    let mut written = if args.job.is_none() {
        let mut text = serde_json::to_string_pretty(&document).context("cannot write JSON")?;
        text.push('\n');
        write_summary(out, args.shard, &text).map_err(Error::from)
    } else {
        Ok(())
    };
    let printed = if args.output.json {
        caller.line(&document)
    } else if args.output.quiet {
        Ok(())
    } else {
        report::print_text(&table::summary(&report, result, out))
    };
    if let Err(error) = &written
        && (result.is_interrupted || report.failed > 0)
    {
        // The error that is returned is another one.
        caller.warn([message(error)]);
        written = Ok(());
    }
    if result.is_interrupted {
        return Err(Error::from(crate::export::Error::Interrupted).into());
    }
    let failed = report.jobs.iter().filter_map(|job| job.failure.as_ref());
    let more = (report.not_run > 0).then(|| format!("{} not run", report.not_run));
    failures_as_error(failed, ("conversion", "failed"), more.as_deref())?;
    written?;
    printed
}

/// Returns the error for failures, with the exit code of the worst.
fn failures_as_error<'a>(
    failures: impl Iterator<Item = &'a FailureReport>,
    (noun, what): (&str, &str),
    more: Option<&str>,
) -> anyhow::Result<()> {
    let failures: Vec<&FailureReport> = failures.collect();
    let worst = failures.iter().max_by_key(|failure| failure.exit_code);
    let Some(worst) = worst else {
        return Ok(());
    };
    let exits = [
        Exit::Failure,
        Exit::Usage,
        Exit::Checkpoint,
        Exit::Model,
        Exit::Verification,
    ];
    let exit = exits
        .into_iter()
        .find(|exit| *exit as u8 == worst.exit_code);
    let more = more.map(|more| format!(", {more}")).unwrap_or_default();
    Err(Failures {
        exit: exit.unwrap_or(Exit::Failure),
        what: format!("{} {what}{more}", count(failures.len(), noun)),
    }
    .into())
}

fn shown(shard: Option<Shard>) -> Option<String> {
    shard.map(|shard| shard.to_string())
}

fn failure_in(result: &JobResult) -> Option<FailureReport> {
    match &result.outcome {
        Outcome::Failed(error) => Some(failure_of(error)),
        _ => None,
    }
}

fn failure_of(error: &Error) -> FailureReport {
    failure(error, Exit::of_error(error))
}
