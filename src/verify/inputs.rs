//! What a model is compared with.

use std::fmt;
use std::path::Path;

use tf_checkpoint::Checkpoint;

use super::graph::TrainingGraph;
use crate::plan::Plan;
use crate::probe::text_check::Text;

/// What the tensors are compared with.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum CompareWith<'a> {
    /// The checkpoint, or its `.index` alone, and the plan of the conversion.
    Checkpoint(&'a Checkpoint, &'a Plan),
    /// The checksums that the conversion recorded in the metadata of the weights.
    RecordedChecksums,
}

/// Reference outputs that the model is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Golden<'a> {
    /// A safetensors file with a batch and the outputs for it.
    pub path: &'a Path,
    /// The largest absolute deviation allowed.
    pub tolerance: f32,
}

/// Why a model is not compared with a training graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoGraph {
    /// The model is compared with no checkpoint.
    NoCheckpoint,
    /// The checkpoint has no training graph.
    Missing,
    /// The comparison was left out on request.
    LeftOut,
    /// Another check failed, so that the model was not run.
    OtherFailure,
}

impl fmt::Display for NoGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCheckpoint => "--source CKPT gives one",
            Self::Missing => "the checkpoint has no training graph (.meta, saved_model.pb)",
            Self::LeftOut => "--no-graph",
            Self::OtherFailure => "another check failed",
        })
    }
}

/// What else the model is compared with.
#[derive(Clone, Copy, Debug)]
pub struct References<'a> {
    /// Outputs of the original graph.
    pub golden: Option<Golden<'a>>,
    /// The training graph of the checkpoint that the tensors are compared with.
    pub graph: Result<TrainingGraph<'a>, NoGraph>,
    /// A text in the model's language.
    pub text: Option<Text<'a>>,
    /// Also measures the values of the weights, and runs the model on the beginning of the text: a
    /// [`Page`](crate::report::Page) shows them.
    pub for_page: bool,
}

impl Default for References<'_> {
    fn default() -> Self {
        Self {
            golden: None,
            graph: Err(NoGraph::NoCheckpoint),
            text: None,
            for_page: false,
        }
    }
}

/// The largest deviation from the original graph that the order of additions can explain.
pub const GOLDEN_TOLERANCE: f32 = 2e-5;
