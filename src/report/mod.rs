//! What was found and done, as data for programs: the types behind `--json`, `docs/json.md`, the printed
//! reports and the [`Page`] of `--report`.
//!
//! A [`Document`] has one of the reports as its body. All types serialise with serde; keys keep their
//! meaning until [`FORMAT_VERSION`] grows, and new keys may appear without that.

mod batch;
mod comparisons;
mod conversion;
mod inspection;
mod page;
mod probe;
mod sources;
mod verification;

use serde::Serialize;

pub use batch::{BatchPlanReport, BatchReport, JobOutcomeReport, JobReport, PlannedJobReport};
pub use comparisons::{
    ComparedOutputReport, DeviationReport, GoldenReport, GraphCheckReport, HeadCountReport,
    NotEvaluatedReport, TextCheckReport, Verdict,
};
pub use conversion::{
    CheckpointReport, ConversionReport, DryRunReport, ExportReport, FileReport, LeftOutReport,
    PlanReport, TaskReport, TensorReport, TokenEvidence, TokenizerEvidence, TokenizerReport,
};
pub use inspection::{
    ExportableModel, GraphOutputReport, InspectionReport, ModelReport, PieceReport, RoleReport,
    VariableReport,
};
pub use page::Page;
pub use probe::{Answer, MaskReport, PieceProbability, ProbeReport, TextReport, TokenReport};
pub use sources::{AgreedReport, SourceReport};
pub use verification::{
    ChecksumsReport, ClassReport, HeadCountVerdict, HeadLogitsReport, MismatchReport,
    TokenizerCheckReport, VerificationReport, VerifyReport,
};

/// The version of all documents.
pub const FORMAT_VERSION: u32 = 2;

/// A document as `--json` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct Document<T> {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The command that was run.
    pub command: Command,
    /// Its result.
    pub status: Status,
    /// The report.
    #[serde(flatten)]
    pub body: T,
}

impl<T> Document<T> {
    /// Creates a document of the present version.
    pub fn new(command: Command, status: Status, body: T) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            command,
            status,
            body,
        }
    }
}

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Command {
    /// Export models.
    Convert,
    /// Export the models of many checkpoints.
    Batch,
    /// Show what a checkpoint holds.
    Inspect,
    /// Verify an export again.
    Verify,
    /// Run a model on text.
    Probe,
}

/// The result of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// Exported, and verified unless verification was switched off.
    Converted,
    /// An export of the same inputs was there already.
    Skipped,
    /// Every conversion of a batch is done.
    Finished,
    /// Planned only (`--dry-run`).
    Planned,
    /// Not begun, because a batch was stopped.
    NotRun,
    /// Inspected.
    Inspected,
    /// Verified; all checks passed.
    Verified,
    /// Probed.
    Probed,
    /// Not done.
    Failed,
}

/// The body of a document after a failure.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct FailureReport {
    /// The exit code of the program.
    pub exit_code: u8,
    /// The error message.
    pub error: String,
    /// The checks of an export that failed its verification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<VerificationReport>,
}

impl FailureReport {
    /// Creates the body for an error.
    pub fn new(exit_code: u8, error: String, verification: Option<VerificationReport>) -> Self {
        Self {
            exit_code,
            error,
            verification,
        }
    }
}
