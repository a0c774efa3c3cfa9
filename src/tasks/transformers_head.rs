//! Heads of transformers' own classes.

use candle_electra::{Dim, ElectraConfig, ModelClass};
use tf_checkpoint::MetaGraph;

use crate::config::candidate::{Candidate, ValueSource, resolve};
use crate::config::{ConfigOptions, TaskKind};
use crate::tasks::head::{Form, TaskHead, count_labels, rules_of};
use crate::tasks::input::{self, Input, given_kind};
use crate::tasks::table::TASK_KIND;
use crate::variables::names::{Rule, TRANSFORMERS_HEAD, below};
use crate::variables::{Code, Error, Inventory, InventoryEntry, list};

/// A head of a transformers class, identified by the name of its last layer.
pub(super) struct TransformersHead<'a> {
    inventory: &'a Inventory,
    name: &'a str,
}

impl<'a> TransformersHead<'a> {
    pub(super) fn new(inventory: &'a Inventory, name: &'a str) -> Self {
        Self { inventory, name }
    }

    /// Reads the head: its kind, its labels, and whether all its variables exist.
    pub(super) fn read(
        &self,
        graph: Option<&MetaGraph>,
        options: &ConfigOptions,
    ) -> Result<TaskHead, Error> {
        let has = |variable| self.get(variable).is_some();
        let is_single = has("classifier/kernel") && !has("sequence_summary/summary/kernel");
        let (kind, warning) = match self.name {
            "qa_outputs" => (TaskKind::Span, None),
            _ if has("classifier/out_proj/kernel") => (TaskKind::Classification, None),
            _ if is_single => self.single_layer(options)?,
            _ => (TaskKind::Choice, None),
        };
        let in_graph = self.kind_in_graph(graph, kind, options)?;
        let (kind, warning) = match in_graph {
            Some(found) if is_single && options.task_kind.is_none() => (found.value, None),
            _ => (kind, warning),
        };
        let by_name = ValueSource::Names(format!("{TRANSFORMERS_HEAD}/{}", self.name));
        let given = given_kind(options).filter(|_| !is_single);
        let candidates = given.into_iter().chain([Candidate::new(kind, by_name)]);
        resolve(TASK_KIND, candidates)?;

        // A single layer on the first token is the classification head of the original code.
        let (form, class) = if is_single && kind == TaskKind::Classification {
            let dense = format!("{TRANSFORMERS_HEAD}/classifier");
            (Form::Dense(dense), ModelClass::TokenClassification)
        } else {
            (Form::Transformers, kind.class())
        };
        let rules: Vec<&Rule> = rules_of(class, &ElectraConfig::default()).collect();
        self.check_complete(&rules)?;
        let last = rules.iter().find(|rule| rule.dims() == [Dim::Labels]);
        let bias = last.and_then(|rule| self.inventory.get(&rule.head_variable()));
        Ok(TaskHead {
            name: self.name.to_owned(),
            kind,
            labels: count_labels(bias.expect("every class has a bias per label"))?,
            warning,
            form,
        })
    }

    fn get(&self, variable: &str) -> Option<&'a InventoryEntry> {
        self.inventory
            .get(&format!("{TRANSFORMERS_HEAD}/{variable}"))
    }

    fn no_class(&self, why: String) -> Error {
        Error::NoClassForTask {
            task: self.name.to_owned(),
            why,
        }
    }

    /// Returns the kind that the first layer's input in the training graph shows, and fails if `kind` reads
    /// other tokens. The kind of a single layer may differ, unless the user gives it.
    fn kind_in_graph(
        &self,
        graph: Option<&MetaGraph>,
        kind: TaskKind,
        options: &ConfigOptions,
    ) -> Result<Option<Candidate<TaskKind>>, Error> {
        let has = |layer: &str| self.get(&format!("{layer}/kernel")).is_some();
        let layers = ["sequence_summary/summary", "classifier/dense", self.name];
        let Some(layer) = layers.into_iter().find(|layer| has(layer)) else {
            return Ok(None);
        };
        let scope = format!("{TRANSFORMERS_HEAD}/{layer}");
        let found = match input::read(graph, self.inventory, &scope, options)? {
            None => return Ok(None),
            Some(Input::Tokens(found)) => found,
            Some(Input::Foreign(why)) => return Err(self.no_class(why)),
        };
        let expected = match kind {
            TaskKind::Tagging | TaskKind::Span => TaskKind::Tagging,
            TaskKind::Classification | TaskKind::Choice => TaskKind::Classification,
        };
        let may_differ = layer == "classifier" && options.task_kind.is_none();
        if found.value != expected && !may_differ {
            let why = format!("its class reads other tokens than {}", found.source);
            return Err(self.no_class(why));
        }
        Ok(Some(found))
    }

    /// Checks that every variable of the class exists, and no other variable of the same layers.
    fn check_complete(&self, rules: &[&Rule]) -> Result<(), Error> {
        let own: Vec<String> = rules.iter().map(|rule| rule.head_variable()).collect();
        let missing = own.iter().filter(|name| self.inventory.get(name).is_none());
        let missing: Vec<String> = missing.cloned().collect();
        if !missing.is_empty() {
            return Err(Error::IncompleteHead {
                task: self.name.to_owned(),
                names: missing,
            });
        }
        let scope = format!("{TRANSFORMERS_HEAD}/{}", self.name);
        let entries = self.inventory.entries().iter();
        let rest = entries
            .filter(|entry| below(&entry.name, &scope).is_some() && !own.contains(&entry.name));
        let rest: Vec<&str> = rest.map(|entry| entry.variable.name.as_str()).collect();
        if rest.is_empty() {
            return Ok(());
        }
        Err(self.no_class(format!("it also has {}", list(&rest))))
    }

    /// Returns the kind of a single layer `classifier`, and a warning if it is assumed: by option, by the
    /// name of the class, or as in transformers.
    fn single_layer(&self, options: &ConfigOptions) -> Result<(TaskKind, Option<String>), Error> {
        const CLASSES: &str = "tf_electra_for_";
        let entry = self.get("classifier/kernel").expect("it is a single layer");
        let mut classes = entry.variable.name.split('/');
        let class = classes.find_map(|part| part.strip_prefix(CLASSES));
        // Model Garden's only single layer is that of BertTokenClassifier.
        let is_tagging = class.is_some_and(|class| class.starts_with("token_classification"))
            || self.inventory.code() == Code::ModelGarden;
        if let Some(given) = given_kind(options) {
            let kind = given.value;
            let by_class = is_tagging.then(|| {
                let source = ValueSource::Names(entry.variable.name.clone());
                Candidate::new(TaskKind::Tagging, source)
            });
            resolve(TASK_KIND, [given].into_iter().chain(by_class))?;
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
            "{} is assumed to be a layer on every token, as in transformers' \
             TFElectraForTokenClassification, because the name of its model is not one of transformers'; \
             if the layer is on the first token, give --task-kind classification",
            entry.variable.name
        );
        Ok((TaskKind::Tagging, Some(warning)))
    }
}
