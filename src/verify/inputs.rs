//! What a model is compared with.

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

/// What else the model is compared with.
#[derive(Clone, Copy, Debug, Default)]
pub struct References<'a> {
    /// Outputs of the original graph.
    pub golden: Option<Golden<'a>>,
    /// The training graph of the checkpoint that the tensors are compared with.
    pub graph: Option<TrainingGraph<'a>>,
    /// A text in the model's language.
    pub text: Option<Text<'a>>,
    /// Also measures the values of the weights, and runs the model on the beginning of the text: a
    /// [`Page`](crate::report::Page) shows them.
    pub for_page: bool,
}

/// The largest deviation from the original graph that the order of additions can explain.
pub const GOLDEN_TOLERANCE: f32 = 2e-5;
