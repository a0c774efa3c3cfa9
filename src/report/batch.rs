//! The results of many conversions, or their plans.

use serde::Serialize;

use super::conversion::ConversionReport;
use super::{FailureReport, Status};
use crate::batch::{Decision, JobResult, Outcome, PlannedBatch, PlannedJob};

/// A job of a batch.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct JobReport {
    /// The name of the output directory, relative to that of the batch.
    pub name: String,
    /// The output directory.
    pub out: String,
    /// The path of the checkpoint.
    pub checkpoint: String,
    /// The training step in the checkpoint's name; `None` if there is none.
    pub step: Option<u64>,
    /// `discriminator`, `generator`, `both` or `finetuned`.
    pub model: &'static str,
}

impl JobReport {
    fn new(result: &JobResult) -> Self {
        Self {
            name: result.name.clone(),
            out: result.out.to_string_lossy().into_owned(),
            checkpoint: result.checkpoint.clone(),
            step: result.step,
            model: result.model,
        }
    }
}

/// The result of a job.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct JobOutcomeReport {
    /// The job.
    #[serde(flatten)]
    pub job: JobReport,
    /// The status; in a document of its own that of the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// The failure, if it failed.
    #[serde(flatten)]
    pub failure: Option<FailureReport>,
    /// What the user should know although it did not fail.
    pub warnings: Vec<String>,
    /// What was exported; not in the summary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversion: Option<ConversionReport>,
}

impl JobOutcomeReport {
    /// Describes the result of a job; `failure` describes its error, `conversion` its export.
    pub fn new(
        result: &JobResult,
        failure: Option<FailureReport>,
        conversion: Option<&ConversionReport>,
    ) -> Self {
        Self {
            job: JobReport::new(result),
            status: None,
            failure,
            warnings: result.warnings.clone(),
            conversion: conversion.cloned(),
        }
    }
}

impl Outcome {
    /// Returns the status in JSON.
    pub fn status(&self) -> Status {
        match self {
            Self::Converted { .. } => Status::Converted,
            Self::Skipped => Status::Skipped,
            Self::Failed(_) => Status::Failed,
            Self::NotRun => Status::NotRun,
        }
    }
}

/// A batch: the body of its summary. It has no time, so that the same results give the same summary.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct BatchReport {
    /// The shard, as `I/N`; `None` for the whole batch.
    pub shard: Option<String>,
    /// The exit code of the program: that of the worst failure.
    pub exit_code: u8,
    /// Number of jobs that were converted.
    pub converted: usize,
    /// Number of jobs whose export was there already.
    pub skipped: usize,
    /// Number of jobs that failed.
    pub failed: usize,
    /// Number of jobs that were not begun, or not finished, when the batch was stopped.
    pub not_run: usize,
    /// All jobs, in the order of the plan, without their conversions.
    pub jobs: Vec<JobOutcomeReport>,
}

impl BatchReport {
    /// Adds a job.
    pub fn add(&mut self, result: &JobResult, failure: Option<FailureReport>) {
        match &result.outcome {
            Outcome::Converted { .. } => self.converted += 1,
            Outcome::Skipped => self.skipped += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::NotRun => self.not_run += 1,
        }
        let exit_code = failure.as_ref().map_or(0, |failure| failure.exit_code);
        self.exit_code = self.exit_code.max(exit_code);
        self.jobs.push(JobOutcomeReport {
            status: Some(result.outcome.status()),
            ..JobOutcomeReport::new(result, failure, None)
        });
    }
}

/// A planned batch: the body of a document.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct BatchPlanReport {
    /// The shard, as `I/N`; `None` for the whole batch.
    pub shard: Option<String>,
    /// The exit code of the program: that of the worst failure.
    pub exit_code: u8,
    /// The length of all tensors that will be written.
    pub bytes: u64,
    /// The budget of memory; `None` if there is no limit.
    pub memory: Option<u64>,
    /// All jobs.
    pub jobs: Vec<PlannedJobReport>,
}

/// What will be done with a job.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PlannedJobReport {
    /// The job.
    #[serde(flatten)]
    pub job: JobReport,
    /// `convert`, `replace`, `skip` or `fail`.
    pub action: &'static str,
    /// The length of its tensors; `None` if it will not be converted.
    pub bytes: Option<u64>,
    /// The estimated peak memory; `None` if it will not be converted.
    pub memory: Option<u64>,
    /// The failure, if it cannot be converted.
    #[serde(flatten)]
    pub failure: Option<FailureReport>,
}

impl PlannedJobReport {
    fn new(batch: &PlannedBatch, planned: &PlannedJob, failure: Option<FailureReport>) -> Self {
        let needs = planned.needs();
        let job = planned.job();
        Self {
            job: JobReport {
                name: job.name().to_owned(),
                out: batch.out().join(job.name()).to_string_lossy().into_owned(),
                checkpoint: job.checkpoint().to_owned(),
                step: job.step(),
                model: job.model(),
            },
            action: match &planned.decision {
                Decision::Convert(prepared) if prepared.needs.replaces => "replace",
                Decision::Convert(_) => "convert",
                Decision::Skip => "skip",
                Decision::Fail(_) => "fail",
            },
            bytes: needs.map(|needs| needs.bytes),
            memory: needs.map(|needs| needs.memory),
            failure,
        }
    }
}

impl BatchPlanReport {
    /// Describes a plan; `failures` describes the errors of the jobs, in their order.
    pub fn new(
        batch: &PlannedBatch,
        shard: Option<String>,
        failures: Vec<Option<FailureReport>>,
    ) -> Self {
        let jobs = batch.jobs().iter().zip(failures);
        let jobs = jobs.map(|(planned, failure)| PlannedJobReport::new(batch, planned, failure));
        let jobs: Vec<PlannedJobReport> = jobs.collect();
        let codes = jobs
            .iter()
            .filter_map(|job| Some(job.failure.as_ref()?.exit_code));
        Self {
            shard,
            exit_code: codes.max().unwrap_or(0),
            bytes: jobs.iter().filter_map(|job| job.bytes).sum(),
            memory: batch.budget(),
            jobs,
        }
    }
}
