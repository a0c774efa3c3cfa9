//! The head of a fine-tuned checkpoint: what kind it is, and which Hugging Face class computes the
//! same.
//!
//! The original code puts the head of each task into `task_specific/TASK/`, as unnamed dense layers:
//!
//! | kind | head | class |
//! |---|---|---|
//! | tagging | `dense` on every token | `ElectraForTokenClassification` |
//! | classification, regression | `dense` on the first token | `ElectraForSequenceClassification`, by way of [`Recipe::GeluOffset`] |
//! | span | `dense` (start) and `dense_1` (end) on every token | `ElectraForQuestionAnswering` |
//! | joint span | the end depends on the start (`qa_hidden`) | none |
//!
//! Tagging and classification have the same variables. The training graph shows what the dense layer
//! reads; without a graph the name of the task decides where it is one of Google's, else the user.
//! A layer that reads something else, such as the mean of all tokens, has no class.
//! Sources: `finetune/task_builder.py`, `finetune/*/…_tasks.py` in google-research/electra.
//!
//! The heads of transformers' TensorFlow classes (`classifier`, `qa_outputs`, `sequence_summary`; NVIDIA
//! has the same) are those of its PyTorch classes, tensor by tensor: [`super::names`] lists them. Only a
//! bare `classifier` leaves a question, because a class of a user's own may put it on the first token.
//! The name of the class answers it; under another name it is taken as what transformers does, with a
//! warning.

use candle_electra::{Dim, ElectraConfig, ModelClass};
use tf_checkpoint::{MetaGraph, Variable};

use crate::config::candidate::{Candidate, ValueSource, resolve};
use crate::config::graph::{self, Reads, View, Wiring};
use crate::config::{ConfigOptions, ResolvedConfig, TaskKind};
use crate::variables::names::{self, ELECTRA, Rule, TASK_HEAD_SCOPE, TASK_HEADS};
use crate::variables::{Error, Inventory, InventoryEntry, Recipe, Role};

/// Google's tasks.
const TASKS: &[(TaskKind, &[&str])] = &[
    (TaskKind::Tagging, &["chunk"]),
    (
        TaskKind::Span,
        &[
            "squad",
            "squadv1",
            "newsqa",
            "naturalqs",
            "triviaqa",
            "searchqa",
        ],
    ),
    (
        TaskKind::Classification,
        &["cola", "mrpc", "mnli", "sst", "rte", "qnli", "qqp", "sts"],
    ),
];

/// One tensor of a head: its name, and from which variables it is made. `{D}` is the scope of the dense
/// layer, `{N}` the last layer.
type Made = (&'static str, Recipe, &'static [&'static str]);

const GAMMA: &str = "{B}/encoder/layer_{N}/output/LayerNorm/gamma";
const BETA: &str = "{B}/encoder/layer_{N}/output/LayerNorm/beta";

/// How the head of each kind is made from dense layers of the original code.
#[rustfmt::skip]
const TABLE: &[(TaskKind, &[Made])] = &[
    (TaskKind::Tagging, &[
        ("classifier.weight", Recipe::Transpose, &["{D}/kernel"]),
        ("classifier.bias",   Recipe::Copy,      &["{D}/bias"]),
    ]),
    (TaskKind::Classification, &[
        ("classifier.dense.weight",    Recipe::Identity,    &[]),
        ("classifier.dense.bias",      Recipe::GeluOffset,        &[GAMMA, BETA]),
        ("classifier.out_proj.weight", Recipe::Transpose,   &["{D}/kernel"]),
        ("classifier.out_proj.bias",   Recipe::CompensatedBias, &["{D}/bias", "{D}/kernel", GAMMA, BETA]),
    ]),
    (TaskKind::Span, &[
        ("qa_outputs.weight", Recipe::Stack, &["{D}/kernel", "{D}_1/kernel"]),
        ("qa_outputs.bias",   Recipe::Stack, &["{D}/bias", "{D}_1/bias"]),
    ]),
];

/// The tensors of a head that is made from dense layers; none of a kind that the original code does not
/// have.
fn made_from(kind: TaskKind) -> &'static [Made] {
    let row = TABLE.iter().find(|(of, _)| *of == kind);
    row.map_or(&[], |(_, tensors)| tensors)
}

/// The variables that a head consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// Dense layers; the scope of the first.
    Dense(String),
    /// All variables of a class of transformers.
    Whole,
}

/// The head of one task.
#[derive(Clone, Debug)]
pub struct TaskHead {
    /// Its name, below `task_specific/`; of a head of transformers the name of its last layer.
    pub name: String,
    /// What it says something about.
    pub kind: TaskKind,
    /// Number of labels; 1 of a regression.
    pub labels: usize,
    /// What the user should know.
    pub warning: Option<String>,
    form: Form,
}

/// A tensor of a head, to be made from these variables.
pub(crate) struct HeadTensor<'a> {
    pub(crate) name: &'static str,
    pub(crate) recipe: Recipe,
    pub(crate) variables: Vec<&'a Variable>,
    pub(crate) shape: Vec<usize>,
}

impl TaskHead {
    /// Finds the head of the task that the user names, or of the only one.
    pub fn find(
        inventory: &Inventory,
        graph: Option<&MetaGraph>,
        stated: &ConfigOptions,
    ) -> Result<Self, Error> {
        let tasks = inventory.tasks();
        let name = match (&stated.task, &tasks[..]) {
            (Some(task), _) if tasks.contains(&task.as_str()) => task.as_str(),
            (Some(task), _) => {
                return Err(Error::NoSuchTask {
                    task: task.clone(),
                    tasks: tasks.into_iter().map(str::to_owned).collect(),
                });
            }
            (None, [task]) => task,
            (None, _) => {
                return Err(Error::SeveralTasks {
                    tasks: tasks.into_iter().map(str::to_owned).collect(),
                });
            }
        };
        if inventory.is_head_of_transformers(name) {
            return OwnHead { inventory, name }.find(graph, stated);
        }
        let layers = Layers::of(inventory, name);
        let kind = layers.kind(inventory, graph, stated)?;
        let dense = layers.get("dense/bias").expect("every kind has it");
        Ok(Self {
            name: name.to_owned(),
            kind,
            labels: labels(dense)?,
            warning: layers.rest(kind),
            form: Form::Dense(format!("{}/dense", scope(name))),
        })
    }

    /// The class that computes the same.
    pub fn head(&self) -> ModelClass {
        self.kind.class()
    }

    /// The names of the tensors that give the logits, weight and bias, of a head that was made from
    /// dense layers; the tensors of another one are its variables.
    pub fn output_tensors(&self) -> Option<[&'static str; 2]> {
        match (&self.form, made_from(self.kind)) {
            (Form::Dense(_), [.., (weight, ..), (bias, ..)]) => Some([weight, bias]),
            _ => None,
        }
    }

    /// Adds the labels and the kind of problem to a configuration.
    pub(crate) fn configure(
        &self,
        resolved: &mut ResolvedConfig,
        stated: &ConfigOptions,
    ) -> Result<(), Error> {
        if let TaskKind::Span | TaskKind::Choice = self.kind {
            // Start and end are no labels; the class has two outputs by default. Choices are texts.
            return match &stated.labels {
                Some(labels) => Err(self.wrong_labels(labels, 0)),
                None => Ok(()),
            };
        }
        let labels = match &stated.labels {
            Some(labels) => labels.clone(),
            None => (0..self.labels).map(|i| format!("LABEL_{i}")).collect(),
        };
        let mut distinct = labels.clone();
        distinct.sort();
        distinct.dedup();
        if labels.len() != self.labels || distinct.len() != labels.len() {
            return Err(self.wrong_labels(&labels, self.labels));
        }
        let config = &mut resolved.config;
        config.label2id = Some(labels.iter().cloned().zip(0..).collect());
        config.id2label = Some((0..).zip(labels).collect());
        config.num_labels = Some(self.labels);
        // Of other tasks nothing shows whether a text may have several labels.
        let is_googles = TASKS
            .iter()
            .any(|(_, names)| names.contains(&self.name.as_str()));
        if self.kind == TaskKind::Classification && self.form != Form::Whole && is_googles {
            let problem = if self.labels == 1 {
                "regression"
            } else {
                "single_label_classification"
            };
            config.problem_type = Some(problem.into());
        }
        Ok(())
    }

    fn wrong_labels(&self, labels: &[String], needs: usize) -> Error {
        Error::Impossible {
            key: "the list of labels",
            value: labels.join(","),
            origin: "--labels".into(),
            why: format!(
                "the head of task {} has {needs} of them, all different",
                self.name
            ),
        }
    }

    /// Every tensor of the head, after checking the shapes of what it is made from.
    pub(crate) fn tensors<'a>(
        &self,
        inventory: &'a Inventory,
        config: &ElectraConfig,
    ) -> Result<Vec<HeadTensor<'a>>, Error> {
        let shapes = self.head().tensors(config);
        let shape_of = |name: &str| {
            let found = shapes.iter().find(|(tensor, _)| tensor == name);
            found.expect("the class has the tensor").1.clone()
        };
        let made = |name, recipe, variables| HeadTensor {
            name,
            recipe,
            variables,
            shape: shape_of(name),
        };
        let Form::Dense(dense) = &self.form else {
            let rules = own_rules(self.head(), config);
            return rules
                .map(|rule| {
                    let name = rule.head_variable();
                    let item = inventory.get(&name).expect("checked when it was found");
                    let (recipe, expected) = (rule.recipe(), shape_of(rule.tensor.name));
                    let mut shape = item.variable.shape.clone();
                    if recipe == Recipe::Transpose {
                        shape.reverse();
                    }
                    if shape != expected {
                        return Err(wrong_shape(item, &variable_shape(rule, &expected)));
                    }
                    Ok(made(rule.tensor.name, recipe, vec![&item.variable]))
                })
                .collect();
        };
        let outputs = if self.kind == TaskKind::Span {
            1
        } else {
            self.labels
        };
        let last = config.num_hidden_layers.saturating_sub(1).to_string();
        let find = |pattern: &&str| {
            let name = pattern
                .replace("{D}", dense)
                .replace("{B}", ELECTRA.body)
                .replace("{N}", &last);
            let item = inventory.get(&name).expect("the kind was told by it");
            let shape = match name.rsplit_once('/') {
                Some((_, "kernel")) => vec![config.hidden_size, outputs],
                Some((_, "bias")) => vec![outputs],
                _ => vec![config.hidden_size],
            };
            if item.variable.shape == shape {
                return Ok(&item.variable);
            }
            Err(wrong_shape(item, &shape))
        };
        let rows = made_from(self.kind).iter();
        rows.map(|(name, recipe, variables)| {
            let variables = variables.iter().map(find).collect::<Result<_, _>>()?;
            Ok(made(name, *recipe, variables))
        })
        .collect()
    }
}

fn wrong_shape(item: &InventoryEntry, expected: &[usize]) -> Error {
    Error::WrongKind {
        variable: item.name.clone(),
        found: format!("the shape {:?}", item.variable.shape),
        expected: format!("{expected:?}"),
    }
}

/// The number of labels by the shape of the last bias.
fn labels(bias: &InventoryEntry) -> Result<usize, Error> {
    match bias.variable.shape[..] {
        [labels] if labels > 0 => Ok(labels),
        _ => Err(Error::WrongKind {
            variable: bias.name.clone(),
            found: format!("the shape {:?}", bias.variable.shape),
            expected: "one axis, with a number for each label".into(),
        }),
    }
}

/// The shape of the variable of a tensor with this shape.
fn variable_shape(rule: &Rule, tensor: &[usize]) -> Vec<usize> {
    let mut shape = tensor.to_vec();
    if rule.is_transposed() {
        shape.reverse();
    }
    shape
}

/// The rules for the tensors that a class has beside its encoder.
fn own_rules(
    head: ModelClass,
    config: &ElectraConfig,
) -> impl Iterator<Item = &'static Rule> + use<> {
    let tensors = head.tensors(config);
    let has = move |rule: &&Rule| tensors.iter().any(|(name, _)| rule.tensor.name == name);
    TASK_HEADS.iter().filter(has)
}

/// A head of transformers' own, by the name of its last layer.
struct OwnHead<'a> {
    inventory: &'a Inventory,
    name: &'a str,
}

impl<'a> OwnHead<'a> {
    fn get(&self, variable: &str) -> Option<&'a InventoryEntry> {
        self.inventory.get(&format!("{TASK_HEAD_SCOPE}/{variable}"))
    }

    fn find(&self, graph: Option<&MetaGraph>, stated: &ConfigOptions) -> Result<TaskHead, Error> {
        let has = |variable| self.get(variable).is_some();
        let is_bare = has("classifier/kernel") && !has("sequence_summary/summary/kernel");
        let (kind, warning) = match self.name {
            "qa_outputs" => (TaskKind::Span, None),
            _ if has("classifier/out_proj/kernel") => (TaskKind::Classification, None),
            _ if is_bare => self.bare(stated)?,
            _ => (TaskKind::Choice, None),
        };
        let in_graph = self.wiring(graph, kind, stated)?;
        let (kind, warning) = match in_graph {
            Some(reads) if is_bare && stated.task_kind.is_none() => (reads.value, None),
            _ => (kind, warning),
        };
        let by_name = Candidate::new(
            kind,
            ValueSource::Names(format!("{TASK_HEAD_SCOPE}/{}", self.name)),
        );
        let stated = stated.task_kind.filter(|_| !is_bare);
        let stated = stated.map(|kind| Candidate::new(kind, ValueSource::Option("--task-kind")));
        resolve("the kind of task", stated.into_iter().chain([by_name]))?;

        // On the first token, a bare classifier is what the original code has.
        let (form, class) = if is_bare && kind == TaskKind::Classification {
            let dense = format!("{TASK_HEAD_SCOPE}/classifier");
            (Form::Dense(dense), ModelClass::TokenClassification)
        } else {
            (Form::Whole, kind.class())
        };
        let rules: Vec<&Rule> = own_rules(class, &ElectraConfig::default()).collect();
        self.check_whole(&rules)?;
        let last = rules.iter().find(|rule| rule.dims() == [Dim::Labels]);
        let bias = last.and_then(|rule| self.inventory.get(&rule.head_variable()));
        Ok(TaskHead {
            name: self.name.to_owned(),
            kind,
            labels: labels(bias.expect("every class has one"))?,
            warning,
            form,
        })
    }

    /// Checks what the first layer of the head reads in the training graph.
    fn wiring(
        &self,
        graph: Option<&MetaGraph>,
        kind: TaskKind,
        stated: &ConfigOptions,
    ) -> Result<Option<Candidate<TaskKind>>, Error> {
        let has = |layer: &str| self.get(&format!("{layer}/kernel")).is_some();
        let layers = ["sequence_summary/summary", "classifier/dense", self.name];
        let (Some(graph), Some(layer)) = (graph, layers.into_iter().find(|layer| has(layer)))
        else {
            return Ok(None);
        };
        let view = View::new(graph, self.inventory);
        let none = |why| Error::NoClassForTask {
            task: self.name.to_owned(),
            why,
        };
        let found = match wiring(&view, self.inventory, &format!("{TASK_HEAD_SCOPE}/{layer}")) {
            Err(Error::NotUnderstood {
                option: Some(_), ..
            }) if stated.task_kind.is_some() => None,
            found => found?.transpose().map_err(none)?,
        };
        let expected = match kind {
            TaskKind::Tagging | TaskKind::Span => TaskKind::Tagging,
            TaskKind::Classification | TaskKind::Choice => TaskKind::Classification,
        };
        let may_differ = layer == "classifier" && stated.task_kind.is_none();
        match found {
            Some(claim) if claim.value != expected && !may_differ => Err(none(format!(
                "its class reads other tokens than {}",
                claim.source
            ))),
            found => Ok(found),
        }
    }

    /// Every variable of the class must be there, and no other one of the same layers.
    fn check_whole(&self, rules: &[&Rule]) -> Result<(), Error> {
        let own: Vec<String> = rules.iter().map(|rule| rule.head_variable()).collect();
        let task = self.name.to_owned();
        let missing = own.iter().filter(|name| self.inventory.get(name).is_none());
        let missing: Vec<String> = missing.cloned().collect();
        if !missing.is_empty() {
            return Err(Error::IncompleteHead {
                task,
                names: missing,
            });
        }
        let scope = format!("{TASK_HEAD_SCOPE}/{}/", self.name);
        let items = self.inventory.items().iter();
        let rest = items.filter(|item| item.name.starts_with(&scope) && !own.contains(&item.name));
        let rest: Vec<String> = rest.map(|item| item.variable.name.clone()).collect();
        if rest.is_empty() {
            return Ok(());
        }
        let why = format!("it also has {}", crate::variables::list(&rest));
        Err(Error::NoClassForTask { task, why })
    }

    /// What a bare `classifier` is on: by option, by the name of the class, or as in transformers.
    fn bare(&self, stated: &ConfigOptions) -> Result<(TaskKind, Option<String>), Error> {
        const CLASSES: &str = "tf_electra_for_";
        let item = self.get("classifier/kernel").expect("it is bare");
        let mut classes = item.variable.name.split('/');
        let class = classes.find_map(|part| part.strip_prefix(CLASSES));
        let is_tagging = class.is_some_and(|class| class.starts_with("token_classification"));
        if let Some(kind) = stated.task_kind {
            let claims = [
                Some(Candidate::new(kind, ValueSource::Option("--task-kind"))),
                is_tagging.then(|| {
                    Candidate::new(
                        TaskKind::Tagging,
                        ValueSource::Names(item.variable.name.clone()),
                    )
                }),
            ];
            resolve("the kind of task", claims.into_iter().flatten())?;
            return Ok((kind, None));
        }
        if is_tagging {
            return Ok((TaskKind::Tagging, None));
        }
        if class.is_some() {
            return Err(Error::UnknownTaskKind {
                task: self.name.to_owned(),
            });
        }
        let warning = format!(
            "{} is taken as a layer on every token, as in transformers' TFElectraForTokenClassification; \
             the model has a name of its own. If the layer is on the first token, give --task-kind \
             classification",
            item.variable.name
        );
        Ok((TaskKind::Tagging, Some(warning)))
    }
}

fn scope(task: &str) -> String {
    format!("task_specific/{task}")
}

/// The variables of one task.
struct Layers<'a> {
    task: &'a str,
    items: Vec<(&'a str, &'a InventoryEntry)>,
}

impl<'a> Layers<'a> {
    fn of(inventory: &'a Inventory, task: &'a str) -> Self {
        let scope = scope(task);
        let items = inventory.items().iter();
        let below = |item: &'a InventoryEntry| item.name.strip_prefix(&scope)?.strip_prefix('/');
        Self {
            task,
            items: items
                .filter(|item| item.role == Role::TaskHead)
                .filter_map(|item| Some((below(item)?, item)))
                .collect(),
        }
    }

    fn get(&self, name: &str) -> Option<&'a InventoryEntry> {
        let found = self.items.iter().find(|(found, _)| *found == name);
        found.map(|(_, item)| *item)
    }

    /// The names of all of them, for people.
    fn all(&self) -> String {
        let names: Vec<String> = self.items.iter().map(|(_, i)| i.name.clone()).collect();
        crate::variables::list(&names)
    }

    fn has_dense(&self, layer: &str) -> bool {
        let parts = ["kernel", "bias"].map(|part| format!("{layer}/{part}"));
        parts.iter().all(|part| self.get(part).is_some())
    }

    /// The kind of the head, or why no class computes it.
    fn kind(
        &self,
        inventory: &Inventory,
        graph: Option<&MetaGraph>,
        stated: &ConfigOptions,
    ) -> Result<TaskKind, Error> {
        let none = |why: String| Error::NoClassForTask {
            task: self.task.to_owned(),
            why,
        };
        let is_joint = self
            .items
            .iter()
            .any(|(name, _)| name.starts_with("qa_hidden/"));
        if is_joint {
            return Err(none(
                "it finds the end of an answer by its start (qa_hidden), which \
                 ElectraForQuestionAnswering does not"
                    .into(),
            ));
        }
        if !self.has_dense("dense") {
            return Err(none(format!("it has no layer `dense`, but {}", self.all())));
        }
        let is_span = self.has_dense("dense_1");
        if !is_span && self.items.len() > 2 {
            return Err(none(format!("it has {}", self.all())));
        }
        let view = graph.map(|graph| View::new(graph, inventory));
        let mut claims = Vec::new();
        if let Some(kind) = stated.task_kind {
            claims.push(Candidate::new(kind, ValueSource::Option("--task-kind")));
        }
        for layer in ["dense", "dense_1"]
            .into_iter()
            .filter(|layer| self.has_dense(layer))
        {
            let layer = format!("{}/{layer}", scope(self.task));
            let wiring = view.as_ref().map(|view| wiring(view, inventory, &layer));
            match wiring.transpose() {
                Ok(None | Some(None)) => {}
                Ok(Some(Some(Ok(claim)))) => claims.push(claim),
                Ok(Some(Some(Err(why)))) => return Err(none(why)),
                // The user knows what the program does not recognise.
                Err(Error::NotUnderstood {
                    option: Some(_), ..
                }) if stated.task_kind.is_some() => {}
                Err(error) => return Err(error),
            }
        }
        let by_name = TASKS.iter().find(|(_, names)| names.contains(&self.task));
        if is_span {
            return self.span(&claims, by_name.map(|(kind, _)| *kind));
        }
        let kind = resolve("the kind of task", claims)?.map(|claim| claim.value);
        match kind.or(by_name.map(|(kind, _)| *kind)) {
            Some(TaskKind::Span | TaskKind::Choice) => Err(none(
                "it has one dense layer, which is no head of this kind".into(),
            )),
            Some(kind) => Ok(kind),
            None => Err(Error::UnknownTaskKind {
                task: self.task.to_owned(),
            }),
        }
    }

    /// The kind of a head with two dense layers: a span, if the graph, the user or its name shows that
    /// both read every token.
    fn span(
        &self,
        claims: &[Candidate<TaskKind>],
        by_name: Option<TaskKind>,
    ) -> Result<TaskKind, Error> {
        let is_stated =
            |claim: &&Candidate<TaskKind>| matches!(claim.source, ValueSource::Option(_));
        let stated = claims.iter().find(is_stated).map(|claim| claim.value);
        let in_graph = claims.iter().find(|claim| !is_stated(claim));
        let other = match (stated, in_graph) {
            (Some(kind), _) if kind != TaskKind::Span => {
                format!("it has two dense layers, which is no head of the kind {kind}")
            }
            (_, Some(claim)) if claim.value != TaskKind::Tagging => {
                format!(
                    "a span head reads every token, it the first ({})",
                    claim.source
                )
            }
            (None, None) if by_name != Some(TaskKind::Span) => {
                return Err(Error::UnknownSpan {
                    task: self.task.to_owned(),
                });
            }
            _ => return Ok(TaskKind::Span),
        };
        Err(Error::NoClassForTask {
            task: self.task.to_owned(),
            why: other,
        })
    }

    /// A note on the layers beside those that a class has: the classifier of SQuAD 2.0 that tells
    /// whether there is an answer at all.
    fn rest(&self, kind: TaskKind) -> Option<String> {
        let used = |name: &str| name.starts_with("dense/") || name.starts_with("dense_1/");
        let mut rest = self.items.iter().filter(|(name, _)| !used(name)).peekable();
        (kind == TaskKind::Span && rest.peek().is_some()).then(|| {
            format!(
                "the head of task {} also tells whether there is an answer at all; \
                 ElectraForQuestionAnswering has no place for that, and it is left out: {}",
                self.task,
                crate::variables::list(
                    &rest.map(|(_, item)| item.name.clone()).collect::<Vec<_>>()
                )
            )
        })
    }
}

/// What the training graph shows that a dense layer of a head reads: a kind of task, or why no class
/// has it; `None` where the graph does not have the layer.
#[allow(clippy::type_complexity, reason = "a table of three outcomes")]
fn wiring(
    view: &View<'_>,
    inventory: &Inventory,
    layer: &str,
) -> Result<Option<Result<Candidate<TaskKind>, String>>, Error> {
    let is_layer = |scope: &String| {
        inventory
            .get(&format!("{scope}/output/LayerNorm/beta"))
            .is_some()
    };
    let layers = (0..).map(|layer| names::layer_scope(ELECTRA, layer));
    let layers: Vec<String> = layers.take_while(is_layer).collect();
    let found = graph::wiring(view, layer, &layers)
        .map_err(|unknown| unknown.error(view, "--task-kind"))?;
    Ok(found.map(|wiring| match wiring {
        Wiring::Tokens(reads, node) => {
            let kind = match reads {
                Reads::Every => TaskKind::Tagging,
                Reads::First => TaskKind::Classification,
            };
            Ok(Candidate::new(kind, view.source(node)))
        }
        Wiring::Foreign { what, node } => Err(format!("{layer} reads {what} (node {node})")),
    }))
}
