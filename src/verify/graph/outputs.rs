//! The outputs of a model that a training graph computes too.

use std::fmt;

use candle_electra::ModelClass;
use tf_checkpoint::NodeId;

use crate::config::TaskKind;
use crate::config::graph::View;
use crate::plan::Plan;
use crate::variables::names::{DISCRIMINATOR_HEAD, GENERATOR_HEAD, layer_scope};

/// The most nodes that are tried as an output; each copy of the model in a graph has one.
const MAX_COPIES: usize = 32;

/// An output of a model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Output {
    /// The output of the encoder's last layer for each token.
    Encoder,
    /// The discriminator's logit of each token, before the sigmoid.
    DiscriminatorLogits,
    /// The generator's logits of each token.
    GeneratorLogits,
    /// Logits of the head of a task.
    Task {
        /// The name of the task.
        name: String,
        /// Which logits.
        part: TaskPart,
    },
}

/// The logits that one layer of a task's head computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TaskPart {
    /// All logits.
    Logits,
    /// The logits of an answer's start.
    Start,
    /// The logits of an answer's end.
    End,
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encoder => f.write_str("encoder"),
            Self::DiscriminatorLogits => f.write_str("discriminator logits"),
            Self::GeneratorLogits => f.write_str("generator logits"),
            Self::Task { name, part } => {
                let part = match part {
                    TaskPart::Logits => "logits",
                    TaskPart::Start => "start logits",
                    TaskPart::End => "end logits",
                };
                write!(f, "{name} {part}")
            }
        }
    }
}

/// Returns the outputs of the planned model, and the variable that each one adds last, by its name in the
/// original code.
pub(crate) fn outputs(plan: &Plan) -> Vec<(Output, String)> {
    let mut found = Vec::new();
    if let Some(last) = plan.config().num_hidden_layers.checked_sub(1) {
        let layer = layer_scope(plan.scopes, last);
        found.push((Output::Encoder, format!("{layer}/output/LayerNorm/beta")));
    }
    if let Some(task) = &plan.task {
        let biases = task.output_biases();
        let is_span = task.kind == TaskKind::Span && biases.len() == 2;
        let parts = if is_span {
            [TaskPart::Start, TaskPart::End]
        } else {
            [TaskPart::Logits; 2]
        };
        for (part, bias) in std::iter::zip(parts, biases) {
            let name = task.name.clone();
            found.push((Output::Task { name, part }, bias));
        }
        return found;
    }
    match plan.class {
        ModelClass::PreTraining => found.push((
            Output::DiscriminatorLogits,
            format!("{DISCRIMINATOR_HEAD}/dense_1/bias"),
        )),
        ModelClass::MaskedLm => found.push((
            Output::GeneratorLogits,
            format!("{GENERATOR_HEAD}/output_bias"),
        )),
        _ => {}
    }
    found
}

/// Returns the nodes that add `variable`, a bias or the beta of a LayerNorm, to the features of tokens or
/// texts. An optimizer adds vectors to it too.
pub(super) fn nodes(view: &View<'_>, variable: &str) -> Vec<NodeId> {
    let graph = view.graph();
    let mut found = match variable.rsplit_once('/') {
        Some((scope, "beta")) => view.norm_outputs(scope),
        Some((layer, "bias")) => view.dense_outputs(layer),
        _ => Vec::new(),
    };
    if found.is_empty() {
        found = view.additions(variable);
    }
    found.retain(|&node| {
        graph
            .shape(node.into())
            .is_none_or(|shape| shape.len() >= 2)
    });
    found.truncate(MAX_COPIES);
    found
}
