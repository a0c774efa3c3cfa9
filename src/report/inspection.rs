//! What a checkpoint holds.

use std::collections::BTreeMap;

use candle_electra::ElectraConfig;
use serde::Serialize;
use tf_checkpoint::ArchiveFormat;
use tf_checkpoint::{Checkpoint, Piece};

use super::conversion::{CheckpointReport, TaskReport};
use super::sources::{SourceReport, config_sources};
use crate::electra_checkpoint::ElectraCheckpoint;
use crate::error::Error;
use crate::plan::{Plan, PlanOptions};
use crate::variables::{InventoryEntry, Model, Role};
use crate::verify::{DescribedOutput, DescribedPart, TrainingGraph, describe};

/// What a checkpoint holds: the body of a document.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct InspectionReport {
    /// The checkpoint.
    pub checkpoint: CheckpointReport,
    /// The models, whether or not they can be exported.
    pub models: Vec<ModelReport>,
    /// The variables by role.
    pub roles: Vec<RoleReport>,
    /// The requested variables, by name.
    pub variables: Vec<VariableReport>,
    /// Why the variables are not those of an ELECTRA.
    #[serde(skip)]
    pub not_electra: Option<String>,
    /// Number of all variables.
    #[serde(skip)]
    pub variable_count: usize,
    /// Number of variables whose values cannot be read, and why the first cannot.
    #[serde(skip)]
    pub unreadable: Option<(usize, String)>,
}

impl InspectionReport {
    /// Inspects a checkpoint: plans each model with `options`, and lists the variables whose names
    /// `is_listed` accepts. No weights are read from a compressed archive or a bucket: what only they or an evaluation of
    /// the training graph show has its default, or is an error. Elsewhere, attention weights are read if the training graph
    /// does not show the head count. `describes_graph` adds what a comparison
    /// with the training graph would evaluate.
    pub fn new(
        source: &ElectraCheckpoint,
        options: &PlanOptions,
        is_listed: impl Fn(&str) -> bool,
        describes_graph: bool,
    ) -> Result<Self, Error> {
        let checkpoint = source.checkpoint();
        let entries = source.inventory().entries();
        let listed = entries
            .iter()
            .filter(|entry| is_listed(&entry.variable.name));
        let variables = checkpoint.variables().iter();
        let errors: Vec<_> = variables
            .filter_map(|variable| checkpoint.check_present(variable).err())
            .collect();
        Ok(Self {
            checkpoint: CheckpointReport::new(source)?,
            models: models(
                source,
                options,
                source.training_graph().filter(|_| describes_graph),
            ),
            roles: roles(entries),
            variables: listed
                .map(|entry| VariableReport::new(checkpoint, entry))
                .collect(),
            not_electra: source.setup().err().map(|error| error.to_string()),
            variable_count: entries.len(),
            unreadable: (errors.first()).map(|error| (errors.len(), error.to_string())),
        })
    }
}

/// One model.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ModelReport {
    /// `discriminator`, `generator` or `finetuned`.
    pub model: &'static str,
    /// The name of the task of a fine-tuned model.
    pub task: Option<String>,
    /// What an export would be.
    #[serde(flatten)]
    pub export: Option<ExportableModel>,
    /// Why the model cannot be exported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What an export of a model would be.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ExportableModel {
    /// The class of transformers.
    pub architecture: &'static str,
    /// Number of tensors.
    pub tensors: usize,
    /// Number of parameters.
    pub parameters: usize,
    /// Length of all tensors, in bytes.
    pub bytes: usize,
    /// config.json.
    pub config: ElectraConfig,
    /// The source of each value of `config` that is not fixed.
    pub config_sources: BTreeMap<&'static str, SourceReport>,
    /// The command that exports the model, if the caller fills it in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What a comparison with the training graph would evaluate; `None` unless it was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graph: Option<Vec<GraphOutputReport>>,
    /// The task of a fine-tuned model.
    #[serde(skip)]
    pub task: Option<TaskReport>,
}

impl ExportableModel {
    fn new(plan: &Plan, graph: Option<TrainingGraph<'_>>) -> Self {
        Self {
            architecture: plan.class.name(),
            tensors: plan.tensors.len(),
            parameters: plan.parameters(),
            bytes: plan.bytes(),
            config: plan.config().clone(),
            config_sources: config_sources(&plan.resolved),
            command: None,
            graph: graph.map(|graph| GraphOutputReport::all(graph, plan)),
            task: plan.task.as_ref().map(TaskReport::new),
        }
    }
}

/// Plans what can be asked for: both models of pre-training, and each task of a fine-tuned
/// checkpoint.
fn models(
    source: &ElectraCheckpoint,
    options: &PlanOptions,
    graph: Option<TrainingGraph<'_>>,
) -> Vec<ModelReport> {
    let mut choices: Vec<_> = Model::BOTH.map(|model| (model, options.clone())).into();
    let tasks = source.inventory().tasks();
    match tasks[..] {
        [] => {}
        [_, _, ..] if options.config.task.is_none() => {
            choices.extend(tasks.iter().map(|&task| {
                let mut options = options.clone();
                options.config.task = Some(task.to_owned());
                (Model::FineTuned, options)
            }));
        }
        _ => choices.push((Model::FineTuned, options.clone())),
    }
    let storage = source.checkpoint().location().storage();
    let is_compressed = storage.archive().is_some_and(ArchiveFormat::is_compressed);
    let plan = |model: Model, options: &PlanOptions| {
        if is_compressed || storage.is_remote() {
            source.plan_by_index(model, options)
        } else {
            source.plan(model, options)
        }
    };
    let report = |(model, options): (Model, PlanOptions)| match plan(model, &options) {
        Ok(plan) => ModelReport {
            model: model.key(),
            task: plan.task.as_ref().map(|task| task.name.clone()),
            export: Some(ExportableModel::new(&plan, graph)),
            error: None,
        },
        Err(error) => ModelReport {
            model: model.key(),
            task: options.config.task,
            export: None,
            error: Some(error.to_string()),
        },
    };
    choices.into_iter().map(report).collect()
}

/// What a comparison with the training graph would evaluate of one output. Tensors are `node:output`.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct GraphOutputReport {
    /// The name of the output.
    pub name: String,
    /// Where the graph is fed and read.
    #[serde(flatten)]
    pub part: Option<DescribedPart>,
    /// The node where the graph is not understood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Why the output cannot be evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl GraphOutputReport {
    fn all(graph: TrainingGraph<'_>, plan: &Plan) -> Vec<Self> {
        let outputs = describe(graph, plan).into_iter();
        let report = |DescribedOutput { name, part, .. }| {
            let (part, refused) = match part {
                Ok(part) => (Some(part), None),
                Err(refused) => (None, Some(refused)),
            };
            let (node, reason) = refused.unzip();
            Self {
                name,
                part,
                node: node.flatten(),
                reason,
            }
        };
        outputs.map(report).collect()
    }
}

/// The variables of one role.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RoleReport {
    /// The role.
    pub role: &'static str,
    /// The role in words.
    #[serde(skip)]
    pub label: String,
    /// Number of variables.
    pub variables: usize,
    /// Number of elements.
    pub elements: usize,
    /// Their length in bytes.
    pub bytes: u64,
}

fn roles(entries: &[InventoryEntry]) -> Vec<RoleReport> {
    let mut roles: BTreeMap<Role, RoleReport> = BTreeMap::new();
    for InventoryEntry { variable, role, .. } in entries {
        let report = roles.entry(*role).or_insert_with(|| RoleReport {
            role: role.key(),
            label: role.to_string(),
            variables: 0,
            elements: 0,
            bytes: 0,
        });
        report.variables += 1;
        report.elements = report.elements.saturating_add(variable.elements());
        report.bytes = report.bytes.saturating_add(variable.bytes());
    }
    roles.into_values().collect()
}

/// One variable.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct VariableReport {
    /// The name in the checkpoint.
    pub name: String,
    /// The name after renaming, if it is another.
    pub renamed: Option<String>,
    /// The element type.
    pub dtype: String,
    /// The shape.
    pub shape: Vec<usize>,
    /// The length in bytes.
    pub bytes: u64,
    /// The role.
    pub role: &'static str,
    /// The role in words.
    #[serde(skip)]
    pub role_label: String,
    /// The name of the variable that it is the moving average of.
    pub average_of: Option<String>,
    /// Where its bytes are.
    pub pieces: Vec<PieceReport>,
}

impl VariableReport {
    fn new(checkpoint: &Checkpoint, entry: &InventoryEntry) -> Self {
        let variable = &entry.variable;
        let pieces = variable.pieces.iter();
        Self {
            name: variable.name.clone(),
            renamed: (entry.name != variable.name).then(|| entry.name.clone()),
            dtype: variable.dtype.to_string(),
            shape: variable.shape.clone(),
            bytes: variable.bytes(),
            role: entry.role.key(),
            role_label: entry.role.to_string(),
            average_of: entry.average_of.clone(),
            pieces: pieces
                .map(|piece| PieceReport::new(checkpoint, piece))
                .collect(),
        }
    }
}

/// A variable, or a slice of one, in a data file.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PieceReport {
    /// The name of the file.
    pub file: Option<String>,
    /// Its first byte; `None` in V1 checkpoints.
    pub offset: Option<u64>,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its CRC-32C, eight hexadecimal digits; `None` in V1 checkpoints and HDF5 files.
    pub crc32c: Option<String>,
    /// Of a slice, start and end on each axis.
    pub slice: Option<Vec<[usize; 2]>>,
}

impl PieceReport {
    fn new(checkpoint: &Checkpoint, piece: &Piece) -> Self {
        let path = checkpoint
            .location()
            .data_path(piece.shard, checkpoint.shard_count());
        let name = path.file_name();
        let stored = piece.extent;
        let slice = piece.slice.as_ref();
        Self {
            file: name.map(|name| name.to_string_lossy().into_owned()),
            offset: stored.map(|stored| stored.offset),
            bytes: piece.len,
            crc32c: stored
                .and_then(|stored| stored.crc32c)
                .map(|crc32c| format!("{crc32c:08x}")),
            slice: slice.map(|ranges| ranges.iter().map(|r| [r.start, r.end]).collect()),
        }
    }
}
