//! What an export will be, as plain data: which variable becomes which tensor and how, what is left
//! out and why, and the configuration.
//!
//! A plan is made from both ends. From the tensors that the architecture needs: a missing one is an
//! error. From the variables that exist: one without a place is an error too. Nothing is read but
//! the index (and the training graph), nothing is written.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use safetensors::Dtype;

use super::Error;
use super::record::Sums;
use super::transform::{Cast, torch_name};
use crate::checkpoint::{Checkpoint, MetaGraph, Variable};
use crate::electra::claim::{Claim, Source as ValueSource, agree};
use crate::electra::config::Activation;
use crate::electra::infer::{HeadActivation, Inferred, Stated, infer};
use crate::electra::names::{self, Part, Rule, Scopes, TABLE};
use crate::electra::{ElectraConfig, Head, Inventory, Item, Model, Recipe, Role, Setup, TaskHead};
use crate::tokenizer::{PAD, TokenizerSetup};

/// Element type of the exported tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetDtype {
    /// That of the variable; float64 becomes float32, which is all that the Hugging Face classes
    /// compute in.
    #[default]
    Keep,
    /// float32
    F32,
    /// float16
    F16,
    /// bfloat16
    Bf16,
}

impl TargetDtype {
    /// The element type to write, where `kept` is that of the variable.
    pub(super) fn or_kept(self, kept: Dtype) -> Dtype {
        match self {
            Self::Keep => kept,
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::BF16,
        }
    }
}

/// What an Electric discriminator loses. Source: `pretrain/run_pretraining.py` in
/// google-research/electra, `_get_discriminator_output`.
const ELECTRIC: &str = "an Electric discriminator adds the log probability of each token under its \
    generator (log q) to its logits, which no Hugging Face class does: the encoder and the logits \
    without that term are exported, and the probabilities that `probe` prints are not those of \
    replaced tokens";

/// Choices that shape a plan.
#[derive(Clone, Debug, Default)]
pub struct PlanOptions {
    /// What the user says of the configuration.
    pub stated: Stated,
    /// Element type to write.
    pub dtype: TargetDtype,
    /// Leave variables without a role out instead of failing.
    pub allow_unknown: bool,
    /// Export a generator whose head transformers computes differently.
    pub allow_inexact: bool,
    /// Which weights to write, where a checkpoint holds averages too.
    pub weights: Weights,
    /// The vocabulary to write tokenizer files for.
    pub tokenizer: Option<TokenizerSetup>,
}

/// Which of a variable's values to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weights {
    /// The variable itself.
    #[default]
    Raw,
    /// Its moving average.
    Average,
}

impl Weights {
    /// The name in options, in JSON and in the metadata of the weights.
    pub fn key(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Average => "average",
        }
    }
}

/// One tensor of the export.
#[derive(Clone, Debug)]
pub struct PlannedTensor {
    /// Name of the Hugging Face tensor.
    pub name: String,
    /// The variables that it is made from: mostly one.
    pub variables: Vec<Variable>,
    /// How it is made from them.
    pub recipe: Recipe,
    /// From and to which element type.
    pub cast: Cast,
    /// Shape of the tensor.
    pub shape: Vec<usize>,
}

impl PlannedTensor {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        let sizes = self.shape.iter();
        sizes.fold(1, |product, &size| product.saturating_mul(size))
    }

    /// Number of bytes in the written file.
    pub fn bytes(&self) -> usize {
        self.elements().saturating_mul(self.cast.to_size())
    }

    /// Number of bytes to be read from the checkpoint.
    pub fn source_bytes(&self) -> u64 {
        let lengths = self.variables.iter().map(Variable::bytes);
        lengths.fold(0, u64::saturating_add)
    }

    /// Rows and columns of a tensor that is a matrix.
    pub(super) fn matrix(&self) -> [usize; 2] {
        self.shape[..]
            .try_into()
            .expect("only matrices are transposed")
    }

    /// Checks that its variables are there, without reading them.
    pub(crate) fn check_present(
        &self,
        checkpoint: &Checkpoint,
    ) -> Result<(), crate::checkpoint::Error> {
        let mut variables = self.variables.iter();
        variables.try_for_each(|variable| checkpoint.check_present(variable))
    }

    /// The names of its variables, for people.
    pub fn variable_names(&self) -> String {
        let names: Vec<&str> = self.variables.iter().map(|v| v.name.as_str()).collect();
        names.join(" and ")
    }

    /// The checksums that the checkpoint has of what the tensor can be turned back into, if so.
    pub(crate) fn sums(&self) -> Option<Sums> {
        match &self.variables[..] {
            [variable] if self.recipe.is_reversible() => Sums::of(variable),
            _ => None,
        }
    }
}

/// Variables of one role that are not exported.
#[derive(Clone, Debug)]
pub struct LeftOut {
    /// What they are for.
    pub role: Role,
    /// Their names in the checkpoint, sorted.
    pub names: Vec<String>,
    /// Their bytes in the checkpoint.
    pub bytes: u64,
}

/// What will be exported, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The model.
    pub model: Model,
    /// The Hugging Face class that it is written for.
    pub head: Head,
    /// The configuration and the source of each value.
    pub inferred: Inferred,
    /// The tensors, by name.
    pub tensors: Vec<PlannedTensor>,
    /// What is not exported, by role.
    pub left_out: Vec<LeftOut>,
    /// What the user should know although nothing failed.
    pub warnings: Vec<String>,
    /// The tokenizer to write, if there is a vocabulary.
    pub tokenizer: Option<TokenizerSetup>,
    /// How the export will not compute what the original graph did, if so.
    pub inexact: Option<String>,
    /// The head of a fine-tuned model.
    pub task: Option<TaskHead>,
    /// Which weights are written.
    pub weights: Weights,
}

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
        let (head, scopes) = Setup::of(inventory, graph)?.place(model)?;
        let mut warnings = Vec::new();
        let head = whole_head(head, inventory, options, &mut warnings);
        let task = (model == Model::FineTuned)
            .then(|| TaskHead::find(inventory, graph, &options.stated))
            .transpose()?;
        let head = task.as_ref().map_or(head, TaskHead::head);
        let mut inferred = infer(inventory, model, (head, scopes), graph, &options.stated)
            .map_err(|error| unknown_first(inventory, options, error))?;
        let tokenizer = options.tokenizer.as_ref();
        let tokenizer = tokenizer
            .map(|tokenizer| tokenizer.fitted(inferred.config.vocab_size))
            .transpose()?;
        if let Some(tokenizer) = &tokenizer {
            take_padding(tokenizer, &mut inferred)?;
        }

        let mut tensors = planned(&inferred.config, (head, scopes), inventory, model, options)?;
        if let Some(task) = &task {
            task.configure(&mut inferred, &options.stated)?;
            tensors.extend(planned_head(task, &inferred.config, inventory, options)?);
        }
        tensors.sort_by(|a, b| a.name.cmp(&b.name));

        check_averaged(&tensors, inventory, model, options)?;
        let left_out = left_out(inventory, &tensors);
        check_left_out(&left_out, (head, scopes), inventory, options, &mut warnings)?;
        let inexact = check_head(head, &inferred, inventory, options)?;
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
            inferred,
            tensors,
            left_out,
            warnings,
            tokenizer,
            inexact,
            task,
            weights: options.weights,
        };
        let dtype = Some(plan.dtype_name().to_owned());
        plan.inferred.config.torch_dtype.clone_from(&dtype);
        plan.inferred.config.dtype = dtype;
        Ok(plan)
    }

    /// The configuration to be written.
    pub fn config(&self) -> &ElectraConfig {
        &self.inferred.config
    }

    /// Number of exported weights.
    pub fn parameters(&self) -> usize {
        let counts = self.tensors.iter().map(PlannedTensor::elements);
        counts.fold(0, usize::saturating_add)
    }

    /// Number of bytes that the tensors take.
    pub fn bytes(&self) -> usize {
        let lengths = self.tensors.iter().map(PlannedTensor::bytes);
        lengths.fold(0, usize::saturating_add)
    }

    /// Takes the element type of each tensor from a file, to compare with it: how a tensor was written
    /// was the user's choice. Computed tensors have one type only.
    pub fn adopt_dtypes(&mut self, dtype_of: impl Fn(&str) -> Option<Dtype>) {
        for tensor in self
            .tensors
            .iter_mut()
            .filter(|tensor| !tensor.recipe.is_computed())
        {
            if let Some(dtype @ (Dtype::F32 | Dtype::F16 | Dtype::BF16)) = dtype_of(&tensor.name) {
                tensor.cast.to = dtype;
            }
        }
    }

    /// The element type for config.json: the one that all tensors have, or float32 where they
    /// differ, which holds every value of the others.
    pub fn dtype_name(&self) -> &'static str {
        let mut types = self.tensors.iter().map(|tensor| tensor.cast.to);
        match types.next() {
            Some(first) if types.all(|other| other == first) => torch_name(first),
            _ => torch_name(Dtype::F32),
        }
    }
}

/// Every tensor that the architecture needs. All missing variables are in one error.
fn planned(
    config: &ElectraConfig,
    (head, scopes): (Head, Scopes),
    inventory: &Inventory,
    model: Model,
    options: &PlanOptions,
) -> Result<Vec<PlannedTensor>, Error> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for (rule, layer) in names::tensors(config, head.part()) {
        let name = rule.variable(scopes, layer);
        match inventory.get(&name) {
            Some(item) => found.push((rule, layer, item)),
            None => missing.push(name),
        }
    }
    if !missing.is_empty() {
        let parts = missing.iter().map(|name| Role::of(name));
        let is_head = parts.clone().all(|role| role == Role::DiscriminatorHead);
        return Err(crate::electra::Error::Missing {
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
    item: &Item,
    dtype: TargetDtype,
) -> Result<PlannedTensor, Error> {
    let variable = item.variable.clone();
    let mut shape = variable.shape.clone();
    let recipe = rule.recipe();
    if recipe == Recipe::Transpose {
        shape.reverse();
    }
    Ok(PlannedTensor {
        name: rule.tensor(layer),
        recipe,
        cast: cast_of(&variable, dtype)?,
        variables: vec![variable],
        shape,
    })
}

fn cast_of(variable: &Variable, dtype: TargetDtype) -> Result<Cast, Error> {
    let cast = Cast::new(variable.dtype, dtype);
    Ok(cast.ok_or_else(|| crate::electra::Error::WrongKind {
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
                    return Err(crate::electra::Error::NeedsFloat32 {
                        task: task.name.clone(),
                        dtype: torch_name(options.dtype.or_kept(Dtype::F32)),
                    }
                    .into());
                }
                Cast::NONE
            }
            [first, ..] if casts.iter().all(|cast| *cast == first) => first,
            _ => {
                return Err(crate::electra::Error::WrongKind {
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
    let is_exported = |item: &&Item| exported.binary_search(&item.variable.name.as_str()).is_ok();
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

/// A discriminator's head that is not whole is left out like what is no part of any ELECTRA.
fn whole_head(
    head: Head,
    inventory: &Inventory,
    options: &PlanOptions,
    warnings: &mut Vec<String>,
) -> Head {
    if head != Head::PreTraining || !options.allow_unknown {
        return head;
    }
    let rules = TABLE.iter().filter(|rule| head.part() == Some(rule.part));
    let names = rules.map(|rule| rule.variable(names::ELECTRA, 0));
    let missing: Vec<String> = names.filter(|name| inventory.get(name).is_none()).collect();
    if missing.is_empty() {
        return head;
    }
    warnings.push(format!(
        "left out the discriminator's head, of which {} is missing (--allow-unknown)",
        crate::electra::list(&missing)
    ));
    Head::Model
}

/// Every variable of the model must have an average, where averages are to be written.
fn check_averaged(
    tensors: &[PlannedTensor],
    inventory: &Inventory,
    model: Model,
    options: &PlanOptions,
) -> Result<(), Error> {
    if options.weights == Weights::Raw {
        return Ok(());
    }
    let items = inventory.items().iter();
    let averages: HashSet<&str> = items
        .filter(|item| item.average_of.is_some())
        .map(|item| item.variable.key.as_str())
        .collect();
    let variables = tensors.iter().flat_map(|tensor| &tensor.variables);
    let raw = variables.filter(|variable| !averages.contains(variable.key.as_str()));
    let mut names: Vec<String> = raw.map(|variable| variable.name.clone()).collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        return Ok(());
    }
    Err(crate::electra::Error::NotAveraged { model, names }.into())
}

/// Refuses variables that have no place: unknown ones, and weights of the exported model itself
/// that its architecture has no tensor for (a projection where both sizes are equal, say).
fn check_left_out(
    left_out: &[LeftOut],
    (head, scopes): (Head, Scopes),
    inventory: &Inventory,
    options: &PlanOptions,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    let mut own = own_roles(head, scopes);
    if head == Head::Model {
        own.retain(|role| *role != Role::DiscriminatorHead);
    }
    let names: Vec<String> = left_out
        .iter()
        .filter(|group| group.role == Role::Unknown || own.contains(&group.role))
        .flat_map(|group| group.names.iter().cloned())
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    let is_head = head == Head::Model && !names.iter().any(|name| inventory.is_in_encoder(name));
    if !options.allow_unknown {
        return Err(if is_head {
            crate::electra::Error::ForeignHead { names }.into()
        } else {
            crate::electra::Error::Unknown { names }.into()
        });
    }
    let what = if is_head {
        "a head of other code"
    } else {
        "variables that are not part of any ELECTRA"
    };
    warnings.push(format!(
        "left out {what} ({}, --allow-unknown): {}",
        names.len(),
        crate::electra::list(&names)
    ));
    Ok(())
}

/// A note on heads that are not there, or that training went on without.
fn on_heads(
    head: Head,
    inventory: &Inventory,
    exportable_tasks: impl FnOnce() -> String,
) -> Option<String> {
    let has_task = inventory.has(Role::TaskHead);
    let note = match head {
        Head::Model if has_task => {
            return Some(format!(
                "a fine-tuned checkpoint has no discriminator head: only the encoder is exported, \
                 and ElectraForPreTraining will start with a new head{}",
                exportable_tasks()
            ));
        }
        Head::Model => {
            "this checkpoint has no discriminator head: the encoder is exported as ElectraModel, and \
             every other class will start with a new head"
        }
        Head::PreTraining | Head::MaskedLm if has_task => {
            "this checkpoint was fine-tuned for a task: its pre-training heads may be older than its \
             encoder"
        }
        _ => return None,
    };
    Some(note.to_owned())
}

/// A note on averages that are not exported.
fn on_averages(inventory: &Inventory, options: &PlanOptions) -> Option<String> {
    let averages = inventory.averages();
    (options.weights == Weights::Raw && averages > 0).then(|| {
        format!(
            "this checkpoint also holds moving averages of {averages} variables: the raw weights are \
             exported; --weights average exports the averages"
        )
    })
}

/// Names the variables that are not part of any ELECTRA, if there are any, in place of shapes that
/// contradict each other because of them.
fn unknown_first(
    inventory: &Inventory,
    options: &PlanOptions,
    error: crate::electra::Error,
) -> crate::electra::Error {
    use crate::electra::Error;
    let unknown = inventory.items().iter();
    let unknown = unknown.filter(|item| item.role == Role::Unknown);
    let names: Vec<String> = unknown.map(|item| item.name.clone()).collect();
    match error {
        Error::Contradiction { .. } | Error::WrongKind { .. }
            if !names.is_empty() && !options.allow_unknown =>
        {
            Error::Unknown { names }
        }
        error => error,
    }
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

/// The roles whose variables make up the model.
fn own_roles(head: Head, scopes: Scopes) -> Vec<Role> {
    let sample = |part: Part| {
        TABLE
            .iter()
            .find(|rule| rule.part == part)
            .map(|rule| Role::of(&rule.variable(scopes, 0)))
    };
    [Some(Part::Embeddings), Some(Part::Layer), head.part()]
        .into_iter()
        .flatten()
        .filter_map(sample)
        .collect()
}

/// `ElectraForMaskedLM` applies gelu in its head whatever `hidden_act` is, and so do its Keras
/// twins; the original code's generator head applies `hidden_act`. The training graph shows what
/// this one applies.
fn check_head(
    head: Head,
    inferred: &Inferred,
    inventory: &Inventory,
    options: &PlanOptions,
) -> Result<Option<String>, Error> {
    if head != Head::MaskedLm {
        return Ok(None);
    }
    let activation = match &inferred.generator_head {
        Some(HeadActivation::Known(activation)) => activation.to_string(),
        Some(HeadActivation::Unknown(what)) => {
            format!("an activation that is not recognised: {what}")
        }
        None if inventory.is_keras() => return Ok(None),
        None => inferred.config.hidden_act.to_string(),
    };
    if activation == Activation::Gelu.key() {
        return Ok(None);
    }
    if !options.allow_inexact {
        let has_discriminator = inventory.has(Role::DiscriminatorHead);
        return Err(crate::electra::Error::InexactHead {
            activation,
            has_discriminator,
        }
        .into());
    }
    Ok(Some(format!(
        "the logits are not those of the original graph: its head applies {activation}, \
         ElectraForMaskedLM applies gelu (--allow-inexact)"
    )))
}

/// Takes the id of the padding token from the vocabulary; a config.json must not say otherwise.
fn take_padding(tokenizer: &TokenizerSetup, inferred: &mut Inferred) -> Result<(), Error> {
    const KEY: &str = "pad_token_id";
    let vocabulary = &tokenizer.vocabulary;
    let told = Claim::new(
        vocabulary.id(PAD).expect("checked when it was read"),
        ValueSource::Vocabulary(vocabulary.path().to_owned()),
    );
    let stated = match (inferred.sources.get(KEY), inferred.config.pad_token_id) {
        (Some(source @ ValueSource::ConfigFile(_)), Some(id)) => {
            Some(Claim::new(id, source.clone()))
        }
        _ => None,
    };
    let Claim { value, source } = agree(KEY, stated.into_iter().chain([told]))?.expect("not empty");
    inferred.config.pad_token_id = Some(value);
    inferred.sources.insert(KEY, source);
    Ok(())
}

/// A note on float64 variables that `keep` does not keep.
fn narrowing(tensors: &[PlannedTensor], dtype: TargetDtype) -> Option<String> {
    let narrowed = tensors
        .iter()
        .filter(|tensor| dtype == TargetDtype::Keep && tensor.cast.is_lossy())
        .count();
    (narrowed > 0).then(|| format!("rounded {narrowed} float64 variables to float32"))
}
