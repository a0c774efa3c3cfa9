//! Describes what a comparison with the training graph would evaluate, without reading a value.

use serde::Serialize;
use tf_checkpoint::{NodeId, Tensor};
use tf_graph::{Array, Variables};

use super::boundary::{self, Boundary};
use super::compare::TrainingGraph;
use super::evaluate::{EvaluatedBy, Evaluator, memory_of};
use super::outputs::outputs;
use super::refusal::Refusal;
use super::rows::Rows;
use crate::config::graph::View;
use crate::plan::Plan;

/// What would be evaluated of one output. Tensors are `node:output`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DescribedOutput {
    /// The name of the output.
    pub name: String,
    /// Where the graph is fed and read, or the node and the reason if it cannot be evaluated.
    pub part: Result<DescribedPart, (Option<String>, String)>,
}

/// The part of a graph that would be evaluated.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct DescribedPart {
    /// The tensor that is compared.
    pub output: String,
    /// The tensors that are fed with token ids.
    pub ids: Vec<String>,
    /// The tensors that are fed with token types.
    pub types: Vec<String>,
    /// The tensors that are fed with the positions of tokens.
    pub position_ids: Vec<String>,
    /// The tensors that are fed with the attention mask.
    pub masks: Vec<String>,
    /// The tensors that are fed with the positions of chosen tokens.
    pub positions: Vec<String>,
    /// The batch size of the graph; `None` if it takes any.
    pub batch: Option<usize>,
    /// The sequence length of the graph; `None` if it takes any.
    pub length: Option<usize>,
    /// The number of nodes to compute.
    pub nodes: usize,
}

/// Describes every output of a planned model.
pub fn describe(training: TrainingGraph<'_>, plan: &Plan) -> Vec<DescribedOutput> {
    let view = View::new(training.graph, training.inventory);
    let graph = training.graph;
    let all = outputs(plan).into_iter();
    let described = all.map(|(output, variable)| {
        let part = boundary::find(&view, plan.scopes, &variable)
            .and_then(|boundary| part(training, plan, &boundary));
        DescribedOutput {
            name: output.to_string(),
            part: part.map_err(|refusal| {
                let node = refusal.node.map(|node| graph.name(node));
                (node, refusal.reason)
            }),
        }
    });
    described.collect()
}

fn part(
    training: TrainingGraph<'_>,
    plan: &Plan,
    boundary: &Boundary,
) -> Result<DescribedPart, Refusal> {
    let graph = training.graph;
    let evaluator = Evaluator {
        graph,
        values: &NoValues,
        evaluated_by: EvaluatedBy::Native,
        memory: memory_of(plan),
        is_cancelled: &|| false,
    };
    let rows = Rows::new(plan.config(), boundary, true)?;
    let nodes = evaluator.nodes(boundary, &rows, &[0], &[boundary.output])?;
    let name = |tensor: &Tensor| format!("{}:{}", graph.name(tensor.node), tensor.output);
    let names = |tensors: &[Tensor]| tensors.iter().map(name).collect();
    let masks = boundary.masks.iter().map(|mask| name(&mask.tensor));
    let positions = boundary.positions.iter().map(|index| name(&index.indices));
    Ok(DescribedPart {
        output: name(&boundary.output),
        ids: names(&boundary.ids),
        types: names(&boundary.types),
        position_ids: names(&boundary.position_ids),
        masks: masks.collect(),
        positions: positions.collect(),
        batch: boundary.batch,
        length: boundary.length,
        nodes: nodes.len(),
    })
}

/// Variables of a graph that is not evaluated.
struct NoValues;

impl Variables for NoValues {
    fn read(&self, _node: NodeId) -> Result<Array, String> {
        Err("no value is read".to_owned())
    }
}
