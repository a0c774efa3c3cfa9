//! Makes the plan of an export.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use tf_checkpoint::MetaGraph;

use crate::config::candidate::{Candidate, ValueSource, resolve};
use crate::config::{ReadHeadCount, ResolvedConfig, resolve_config};
use crate::plan::checks::{
    check_averaged, check_head, check_left_out, prefer_unknown, without_incomplete_head,
};
use crate::plan::error::Error;
use crate::plan::options::{PlanOptions, Weights};
use crate::plan::tensors::{plan_architecture, plan_task_head};
use crate::plan::types::{LeftOut, Plan, PlannedTensor};
use crate::plan::warnings::{
    about_averages, about_electric, about_head_count, about_heads, about_model_garden,
    about_renames, about_rounding, about_tokenizer,
};
use crate::tasks::TaskHead;
use crate::tokenizer::{PAD, TokenizerSetup};
use crate::variables::{Inventory, InventoryEntry, Model, Role, TrainingSetup};

impl Plan {
    /// Plans the export of `model`. `read_weights` reads what the weights show of the head count, if the
    /// training graph does not show it.
    pub fn new(
        inventory: &Inventory,
        graph: Option<&MetaGraph>,
        model: Model,
        options: &PlanOptions,
        read_weights: &ReadHeadCount<'_>,
    ) -> Result<Self, Error> {
        let mut warnings = about_renames(inventory);
        let inventory = &match options.weights {
            Weights::Raw => Cow::Borrowed(inventory),
            Weights::Average => Cow::Owned(inventory.averaged()?),
        };
        let (class, scopes) = TrainingSetup::of(inventory, graph)?.place(model)?;
        let class = without_incomplete_head(class, inventory, options, &mut warnings);
        let task = (model == Model::FineTuned)
            .then(|| TaskHead::find(inventory, graph, &options.config))
            .transpose()?;
        let class = task.as_ref().map_or(class, TaskHead::class);
        let mut resolved = resolve_config(
            inventory,
            model,
            (class, scopes),
            graph,
            &options.config,
            read_weights,
        )
        .map_err(|error| prefer_unknown(inventory, options, error))?;
        let tokenizer = options.tokenizer.setup();
        let tokenizer = tokenizer
            .map(|tokenizer| tokenizer.fitted(resolved.config.vocab_size))
            .transpose()?;
        if let Some(tokenizer) = &tokenizer {
            set_padding(tokenizer, &mut resolved)?;
        }

        let mut tensors =
            plan_architecture(&resolved.config, (class, scopes), inventory, model, options)?;
        if let Some(task) = &task {
            task.configure(&mut resolved, &options.config)?;
            tensors.extend(plan_task_head(task, &resolved.config, inventory, options)?);
        }
        tensors.sort_by(|a, b| a.name.cmp(&b.name));

        check_averaged(&tensors, inventory, model, options)?;
        let left_out = left_out(inventory, &tensors);
        check_left_out(
            &left_out,
            (class, scopes),
            inventory,
            options,
            &mut warnings,
        )?;
        let inexact = check_head(class, &resolved, inventory, options)?;
        warnings.extend(inexact.clone());
        let tasks = || exportable_tasks(inventory, graph, options, read_weights);
        warnings.extend(about_heads(class, inventory, tasks));
        warnings.extend(about_averages(inventory, options));
        warnings.extend(about_electric(inventory, model));
        warnings.extend(about_model_garden(inventory, &resolved));
        warnings.extend(about_head_count(model, scopes, &resolved));
        warnings.extend(about_rounding(&tensors, options.dtype));
        warnings.extend(task.as_ref().and_then(|task| task.warning.clone()));
        warnings.extend(tokenizer.iter().flat_map(TokenizerSetup::warnings));
        warnings.extend(about_tokenizer(&options.tokenizer));

        let vocabulary = tokenizer.as_ref().map(|setup| setup.vocabulary.path());
        let config = options.config.file.as_ref().map(|file| &*file.path);
        let read = vocabulary.into_iter().chain(config);
        let read = read.map(Path::to_owned).collect();
        let mut plan = Self {
            model,
            class,
            scopes,
            resolved,
            tensors,
            left_out,
            warnings,
            tokenizer,
            read,
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

/// Groups the variables that no tensor uses by role.
fn left_out(inventory: &Inventory, tensors: &[PlannedTensor]) -> Vec<LeftOut> {
    let variables = tensors.iter().flat_map(|tensor| &tensor.variables);
    let mut exported: Vec<&str> = variables.map(|v| v.name.as_str()).collect();
    exported.sort_unstable();
    let is_left_out = |entry: &&InventoryEntry| {
        exported
            .binary_search(&entry.variable.name.as_str())
            .is_err()
    };
    let mut by_role: BTreeMap<Role, LeftOut> = BTreeMap::new();
    for entry in inventory.entries().iter().filter(is_left_out) {
        let group = by_role.entry(entry.role).or_insert_with(|| LeftOut {
            role: entry.role,
            names: Vec::new(),
            bytes: 0,
        });
        group.names.push(entry.variable.name.clone());
        group.bytes = group.bytes.saturating_add(entry.variable.bytes());
    }
    by_role.into_values().collect()
}

/// Returns the tasks whose heads can be exported with the same options.
fn exportable_tasks<'a>(
    inventory: &'a Inventory,
    graph: Option<&MetaGraph>,
    options: &PlanOptions,
    read_weights: &ReadHeadCount<'_>,
) -> Vec<&'a str> {
    /// Each task takes a plan, and a longer list would not help.
    const MAX_TASKS: usize = 8;
    let is_exportable = |task: &&str| {
        let mut options = options.clone();
        options.config.task = Some((*task).to_owned());
        // The inventory already has the averages in place of the raw weights.
        options.weights = Weights::Raw;
        Plan::new(inventory, graph, Model::FineTuned, &options, read_weights).is_ok()
    };
    let tasks = inventory.tasks().into_iter();
    tasks.take(MAX_TASKS).filter(is_exportable).collect()
}

/// Takes the id of the padding token from the vocabulary. A config.json must have the same id.
fn set_padding(tokenizer: &TokenizerSetup, resolved: &mut ResolvedConfig) -> Result<(), Error> {
    const KEY: &str = "pad_token_id";
    let vocabulary = &tokenizer.vocabulary;
    let in_vocabulary = Candidate::new(
        vocabulary.id(PAD).expect("checked when it was read"),
        ValueSource::Vocabulary(vocabulary.path().to_owned()),
    );
    let in_file = match (resolved.sources.get(KEY), resolved.config.pad_token_id) {
        (Some(source @ ValueSource::ConfigFile(_)), Some(id)) => {
            Some(Candidate::new(id, source.clone()))
        }
        _ => None,
    };
    let Candidate { value, source } =
        resolve(KEY, in_file.into_iter().chain([in_vocabulary]))?.expect("not empty");
    resolved.config.pad_token_id = Some(value);
    resolved.sources.insert(KEY, source);
    Ok(())
}
