//! The results of all checks.

use candle_electra::{ElectraConfig, ModelClass};

use super::checksums::ChecksumReport;
use super::failure::Failure;
use super::forward::ClassOutput;
use super::golden::GoldenReport;
use super::graph::GraphReport;
use super::head_count::HeadCountReport;
use super::inputs::NoGraph;
use super::structure::Structure;
use super::task_head::TaskReport;
use super::tokenizer::TokenizerReport;
use super::weight_statistics::WeightStatistics;
use crate::probe::text_check::TextCheck;

/// The results of one of the eight classes.
#[derive(Debug)]
#[non_exhaustive]
pub struct ClassReport {
    /// The class.
    pub class: ModelClass,
    /// Which of its tensors it finds.
    pub structure: Structure,
    /// What it computed; `None` if it was not run.
    pub output: Option<ClassOutput>,
}

/// The results of all checks.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    /// The class that the directory is written for.
    pub class: ModelClass,
    /// config.json.
    pub config: ElectraConfig,
    /// The results of all classes.
    pub classes: Vec<ClassReport>,
    /// How many tensors were compared, and how.
    pub checksums: ChecksumReport,
    /// Names of tensors whose elements are all the same.
    pub constant: Vec<String>,
    /// The head count in config.json, and what the weights show.
    pub head_count: HeadCountReport,
    /// The tokenizer files; `None` if there are none.
    pub tokenizer: Option<TokenizerReport>,
    /// The comparison of a fine-tuned head with the checkpoint's own.
    pub task: Option<TaskReport>,
    /// The comparison with the training graph.
    pub graph: Result<GraphReport, NoGraph>,
    /// The comparison with reference outputs, if they were given.
    pub golden: Option<GoldenReport>,
    /// The measurement on text, if one was given.
    pub text: Option<TextCheck>,
    /// The values of the weights, if they were measured ([`References::for_page`](super::References::for_page)).
    pub weights: Option<WeightStatistics>,
    /// Everything that is wrong; empty if all checks passed.
    pub failures: Vec<Failure>,
    /// Time taken, in seconds.
    pub seconds: f64,
}

impl Report {
    /// True if all checks passed.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }

    /// Returns the first failure and the number of the others.
    pub fn summary(&self) -> String {
        match &self.failures[..] {
            [] => "all checks passed".to_owned(),
            [only] => only.to_string(),
            [first, rest @ ..] => format!("{first}; and {} more", rest.len()),
        }
    }
}
