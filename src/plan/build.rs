//! What an export will be, as plain data: which variable becomes which tensor and how, what is left
//! out and why, and the configuration.
//!
//! A plan is made from both ends. From the tensors that the architecture needs: a missing one is an
//! error. From the variables that exist: one without a place is an error too. Nothing is read but
//! the index (and the training graph), nothing is written.

use std::borrow::Cow;
use std::collections::BTreeMap;

use candle_electra::{ElectraConfig, ModelClass};
use safetensors::Dtype;
use tf_checkpoint::{MetaGraph, Variable};

use crate::config::candidate::{Candidate, ValueSource, resolve};
use crate::config::{ResolvedConfig, resolve_config};
use crate::plan::cast::{Cast, TargetDtype, torch_name};
use crate::plan::checks::{
    check_averaged, check_head, check_left_out, narrowing, on_averages, on_heads, unknown_first,
    whole_head,
};
use crate::plan::error::Error;
use crate::plan::options::{PlanOptions, Weights};
use crate::plan::types::{LeftOut, Plan, PlannedTensor};
use crate::tasks::TaskHead;
use crate::tokenizer::{PAD, TokenizerSetup};
use crate::variables::names::{self, Rule, Scopes};
use crate::variables::{Inventory, InventoryEntry, Model, Recipe, Role, TrainingSetup};

/// What an Electric discriminator loses. Source: `pretrain/run_pretraining.py` in
/// google-research/electra, `_get_discriminator_output`.
const ELECTRIC: &str = "an Electric discriminator adds the log probability of each token under its \
    generator (log q) to its logits, which no Hugging Face class does: the encoder and the logits \
    without that term are exported, and the probabilities that `probe` prints are not those of \
    replaced tokens";

impl Plan {
    /// Plans the export of `model`.
    pub fn new(
        inventory: &Inventory,
        graph: Option<&MetaGraph>,
        model: Model,
        options: &PlanOptions,
    ) -> Result<Self, Error> {
        let inventory = &match options.weights {
            Weights::Raw => Cow::Borrowed(inventory),
            Weights::Average => Cow::Owned(inventory.averaged()?),
        };
        let (head, scopes) = TrainingSetup::of(inventory, graph)?.place(model)?;
        let mut warnings = Vec::new();
        let head = whole_head(head, inventory, options, &mut warnings);
        let task = (model == Model::FineTuned)
            .then(|| TaskHead::find(inventory, graph, &options.stated))
            .transpose()?;
        let head = task.as_ref().map_or(head, TaskHead::head);
        let mut resolved = resolve_config(inventory, model, (head, scopes), graph, &options.stated)
            .map_err(|error| unknown_first(inventory, options, error))?;
        let tokenizer = options.tokenizer.as_ref();
        let tokenizer = tokenizer
            .map(|tokenizer| tokenizer.fitted(resolved.config.vocab_size))
            .transpose()?;
        if let Some(tokenizer) = &tokenizer {
            take_padding(tokenizer, &mut resolved)?;
        }

        let mut tensors = planned(&resolved.config, (head, scopes), inventory, model, options)?;
        if let Some(task) = &task {
            task.configure(&mut resolved, &options.stated)?;
            tensors.extend(planned_head(task, &resolved.config, inventory, options)?);
        }
        tensors.sort_by(|a, b| a.name.cmp(&b.name));

        check_averaged(&tensors, inventory, model, options)?;
        let left_out = left_out(inventory, &tensors);
        check_left_out(&left_out, (head, scopes), inventory, options, &mut warnings)?;
        let inexact = check_head(head, &resolved, inventory, options)?;
        warnings.extend(inexact.clone());
        let tasks = || exportable_tasks(inventory, graph, options);
        warnings.extend(on_heads(head, inventory, tasks));
        warnings.extend(on_averages(inventory, options));
        if inventory.has(Role::ElectricGenerator) && model == Model::Discriminator {
            warnings.push(ELECTRIC.into());
        }
        warnings.extend(narrowing(&tensors, options.dtype));
        warnings.extend(task.as_ref().and_then(|task| task.warning.clone()));
        warnings.extend(tokenizer.iter().flat_map(TokenizerSetup::warnings));

        let mut plan = Self {
            model,
            head,
            resolved,
            tensors,
            left_out,
            warnings,
            tokenizer,
            inexact,
            task,
            weights: options.weights,
        };
        let dtype = Some(plan.dtype_name().to_owned());
        plan.resolved.config.torch_dtype.clone_from(&dtype);
        plan.resolved.config.dtype = dtype;
        Ok(plan)
    }
}

/// Every tensor that the architecture needs. All missing variables are in one error.
fn planned(
    config: &ElectraConfig,
    (head, scopes): (ModelClass, Scopes),
    inventory: &Inventory,
    model: Model,
    options: &PlanOptions,
) -> Result<Vec<PlannedTensor>, Error> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for (rule, layer) in names::tensors(config, head.head()) {
        let name = rule.variable(scopes, layer);
        match inventory.get(&name) {
            Some(item) => found.push((rule, layer, item)),
            None => missing.push(name),
        }
    }
    if !missing.is_empty() {
        let parts = missing.iter().map(|name| Role::of(name));
        let is_head = parts.clone().all(|role| role == Role::DiscriminatorHead);
        return Err(crate::variables::Error::Missing {
            model,
            needed: missing.len() + found.len(),
            names: missing,
            is_head,
        }
        .into());
    }
    found
        .into_iter()
        .map(|(rule, layer, item)| planned_tensor(rule, layer, item, options.dtype))
        .collect()
}

fn planned_tensor(
    rule: &Rule,
    layer: usize,
    item: &InventoryEntry,
    dtype: TargetDtype,
) -> Result<PlannedTensor, Error> {
    let variable = item.variable.clone();
    let mut shape = variable.shape.clone();
    let recipe = rule.recipe();
    if recipe == Recipe::Transpose {
        shape.reverse();
    }
    Ok(PlannedTensor {
        name: rule.tensor.name_in(layer),
        recipe,
        cast: cast_of(&variable, dtype)?,
        variables: vec![variable],
        shape,
    })
}

fn cast_of(variable: &Variable, dtype: TargetDtype) -> Result<Cast, Error> {
    let cast = Cast::new(variable.dtype, dtype);
    Ok(cast.ok_or_else(|| crate::variables::Error::WrongKind {
        variable: variable.name.clone(),
        found: format!("elements of {}", variable.dtype),
        expected: "floating-point numbers".into(),
    })?)
}

/// The tensors of a fine-tuned head.
fn planned_head(
    task: &TaskHead,
    config: &ElectraConfig,
    inventory: &Inventory,
    options: &PlanOptions,
) -> Result<Vec<PlannedTensor>, Error> {
    let mut tensors = Vec::new();
    for made in task.tensors(inventory, config)? {
        let casts = made.variables.iter().map(|v| cast_of(v, options.dtype));
        let casts: Vec<Cast> = casts.collect::<Result<_, _>>()?;
        let cast = match casts[..] {
            _ if made.recipe.is_computed() => {
                if let TargetDtype::F16 | TargetDtype::Bf16 = options.dtype {
                    return Err(crate::variables::Error::NeedsFloat32 {
                        task: task.name.clone(),
                        dtype: torch_name(options.dtype.or_kept(Dtype::F32)),
                    }
                    .into());
                }
                Cast::NONE
            }
            [first, ..] if casts.iter().all(|cast| *cast == first) => first,
            _ => {
                return Err(crate::variables::Error::WrongKind {
                    variable: made.variables.last().map_or("", |v| &v.name).to_owned(),
                    found: "another element type than the layer beside it".into(),
                    expected: "one type in all of a head".into(),
                }
                .into());
            }
        };
        tensors.push(PlannedTensor {
            name: made.name.to_owned(),
            variables: made.variables.into_iter().cloned().collect(),
            recipe: made.recipe,
            cast,
            shape: made.shape,
        });
    }
    Ok(tensors)
}

fn left_out(inventory: &Inventory, tensors: &[PlannedTensor]) -> Vec<LeftOut> {
    let variables = tensors.iter().flat_map(|tensor| &tensor.variables);
    let mut exported: Vec<&str> = variables.map(|v| v.name.as_str()).collect();
    exported.sort_unstable();
    let is_exported =
        |item: &&InventoryEntry| exported.binary_search(&item.variable.name.as_str()).is_ok();
    let mut by_role: BTreeMap<Role, LeftOut> = BTreeMap::new();
    for item in inventory.items().iter().filter(|item| !is_exported(item)) {
        let group = by_role.entry(item.role).or_insert_with(|| LeftOut {
            role: item.role,
            names: Vec::new(),
            bytes: 0,
        });
        group.names.push(item.variable.name.clone());
        group.bytes = group.bytes.saturating_add(item.variable.bytes());
    }
    by_role.into_values().collect()
}

/// Advice on the task heads that can be exported with the same options; empty if none can.
fn exportable_tasks(
    inventory: &Inventory,
    graph: Option<&MetaGraph>,
    options: &PlanOptions,
) -> String {
    /// A plan is made for each, and more are not worth a sentence.
    const MAX_TASKS: usize = 8;
    let tasks = inventory.tasks();
    let is_exportable = |task: &&str| {
        let mut options = options.clone();
        options.stated.task = Some((*task).to_owned());
        // The inventory is that of the averages already.
        options.weights = Weights::Raw;
        Plan::new(inventory, graph, Model::FineTuned, &options).is_ok()
    };
    let exportable: Vec<&str> = tasks
        .iter()
        .map(|task| &**task)
        .take(MAX_TASKS)
        .filter(is_exportable)
        .collect();
    match exportable[..] {
        [] => String::new(),
        [_] if tasks.len() == 1 => " (--model finetuned exports the head of its task)".to_owned(),
        _ => format!(
            " (--model finetuned --task TASK exports the head of a task: {})",
            exportable.join(", ")
        ),
    }
}

/// Takes the id of the padding token from the vocabulary; a config.json must not say otherwise.
fn take_padding(tokenizer: &TokenizerSetup, resolved: &mut ResolvedConfig) -> Result<(), Error> {
    const KEY: &str = "pad_token_id";
    let vocabulary = &tokenizer.vocabulary;
    let told = Candidate::new(
        vocabulary.id(PAD).expect("checked when it was read"),
        ValueSource::Vocabulary(vocabulary.path().to_owned()),
    );
    let stated = match (resolved.sources.get(KEY), resolved.config.pad_token_id) {
        (Some(source @ ValueSource::ConfigFile(_)), Some(id)) => {
            Some(Candidate::new(id, source.clone()))
        }
        _ => None,
    };
    let Candidate { value, source } =
        resolve(KEY, stated.into_iter().chain([told]))?.expect("not empty");
    resolved.config.pad_token_id = Some(value);
    resolved.sources.insert(KEY, source);
    Ok(())
}
