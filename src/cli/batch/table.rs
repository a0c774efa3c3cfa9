//! Printed tables: a plan, a job that has ended, and all results.

use std::path::Path;

use crate::batch::{BatchResult, JobResult, Outcome};
use crate::cli::text::{ERROR, bytes, columns, count, printable};
use crate::report::{BatchPlanReport, BatchReport};

/// Why a job is skipped.
const MATCHES: &str = "a matching export is there";

/// Returns the table of a plan.
pub(super) fn planned(report: &BatchPlanReport) -> String {
    let rows: Vec<[String; 4]> = report
        .jobs
        .iter()
        .map(|job| {
            let size = match (&job.failure, job.bytes, job.memory) {
                (Some(failure), ..) => failure.error.clone(),
                (None, Some(length), Some(memory)) => {
                    format!("{}, memory up to {}", bytes(length), bytes(memory))
                }
                _ => MATCHES.to_owned(),
            };
            [
                job.action.to_owned(),
                job.job.name.clone(),
                job.job.checkpoint.clone(),
                one_line(&size),
            ]
        })
        .collect();
    let converted = report.jobs.iter().filter(|job| job.bytes.is_some()).count();
    let memory = match report.memory {
        Some(memory) => format!("within {} of memory", bytes(memory)),
        None => "without a limit of memory".to_owned(),
    };
    format!(
        "{}Would convert {} ({}) {memory}\n",
        columns(4, &rows),
        count(converted, "checkpoint"),
        bytes(report.bytes)
    )
}

/// Returns the line for a job that has ended.
pub(super) fn finished(done: usize, total: usize, result: &JobResult) -> String {
    let [status, details] = row(result);
    let style = match result.outcome {
        Outcome::Failed(_) => ERROR,
        _ => anstyle::Style::new(),
    };
    let name = printable(&result.name).into_owned();
    let details = match &details[..] {
        "" => String::new(),
        details => format!(": {}", printable(details)),
    };
    format!("[{done}/{total}] {style}{status}{style:#} {name}{details}")
}

/// Returns the table of all results.
pub(super) fn summary(report: &BatchReport, result: &BatchResult, out: &Path) -> String {
    let rows: Vec<[String; 3]> = result
        .jobs
        .iter()
        .map(|job| {
            let [status, details] = row(job);
            [status, job.name.clone(), details]
        })
        .collect();
    let counts = [
        (report.converted, "converted"),
        (report.skipped, "skipped"),
        (report.failed, "failed"),
        (report.not_run, "not run"),
    ];
    let counts = counts.iter().filter(|(number, _)| *number > 0);
    let counts: Vec<String> = counts
        .map(|(number, what)| format!("{number} {what}"))
        .collect();
    let counts = match &counts[..] {
        [] => "nothing to do in this shard".to_owned(),
        counts => counts.join(", "),
    };
    let out = printable(&out.to_string_lossy()).into_owned();
    format!("{}{out}: {counts}\n", columns(3, &rows))
}

/// Returns status and details of a job.
fn row(result: &JobResult) -> [String; 2] {
    let (status, details) = match &result.outcome {
        Outcome::Converted {
            bytes: length,
            seconds,
        } => ("converted", format!("{}, {seconds:.1} s", bytes(*length))),
        Outcome::Skipped => ("skipped", MATCHES.to_owned()),
        Outcome::Failed(error) => ("failed", one_line(&super::message(error))),
        Outcome::NotRun => ("not run", String::new()),
    };
    [status.to_owned(), details]
}

fn one_line(text: &str) -> String {
    text.replace('\n', "\\n")
}
