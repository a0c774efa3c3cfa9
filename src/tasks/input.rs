//! The tokens that a dense layer of a head reads, according to the training graph.

use tf_checkpoint::MetaGraph;

use crate::config::candidate::{Candidate, ValueSource};
use crate::config::graph::{self, Reads, View, Wiring};
use crate::config::{ConfigOptions, TaskKind};
use crate::tasks::table::TASK_KIND_OPTION;
use crate::variables::names::{self, ELECTRA};
use crate::variables::{Error, Inventory};

/// The input of a dense layer.
pub(super) enum Input {
    /// Outputs of the encoder: every token for tagging, the first token for classification.
    Tokens(Candidate<TaskKind>),
    /// An input that no class has, described for messages.
    Foreign(String),
}

/// Reads the input of the dense layer `layer`; `None` if the graph does not have the layer, or shows its
/// input in an unknown way and the user gives the kind of task.
pub(super) fn read(
    graph: Option<&MetaGraph>,
    inventory: &Inventory,
    layer: &str,
    options: &ConfigOptions,
) -> Result<Option<Input>, Error> {
    let Some(graph) = graph else {
        return Ok(None);
    };
    let view = View::new(graph, inventory);
    let is_layer = |scope: &String| {
        let norm = format!("{scope}/output/LayerNorm/beta");
        inventory.get(&norm).is_some()
    };
    let layers = (0..).map(|layer| names::layer_scope(ELECTRA, layer));
    let layers: Vec<String> = layers.take_while(is_layer).collect();
    let wiring = match graph::wiring(&view, layer, &layers) {
        Ok(Some(wiring)) => wiring,
        Ok(None) => return Ok(None),
        Err(unrecognised) if options.task_kind.is_some() && !unrecognised.is_foreign() => {
            return Ok(None);
        }
        Err(unrecognised) => return Err(unrecognised.error(&view, TASK_KIND_OPTION)),
    };
    Ok(Some(match wiring {
        Wiring::Tokens(reads, node) => {
            let kind = match reads {
                Reads::Every => TaskKind::Tagging,
                Reads::First => TaskKind::Classification,
            };
            Input::Tokens(Candidate::new(kind, view.source(node)))
        }
        Wiring::Foreign { what, node } => {
            Input::Foreign(format!("{layer} reads {what} (node {node})"))
        }
    }))
}

/// Returns the kind of task that the user gives.
pub(super) fn given_kind(options: &ConfigOptions) -> Option<Candidate<TaskKind>> {
    let kind = options.task_kind?;
    Some(Candidate::new(kind, ValueSource::Option(TASK_KIND_OPTION)))
}
