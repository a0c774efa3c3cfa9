//! Heads of the original code: dense layers in `task_specific/TASK/`.

use tf_checkpoint::MetaGraph;

use crate::config::candidate::{Candidate, ValueSource, resolve};
use crate::config::{ConfigOptions, TaskKind};
use crate::tasks::head::{Form, TaskHead, count_labels};
use crate::tasks::input::{self, Input, given_kind};
use crate::tasks::table::{TASK_KIND, kind_of_googles};
use crate::variables::names::{below, task_scope};
use crate::variables::{Error, Inventory, InventoryEntry, Role, list};

/// The variables of one task, by their names in its scope.
pub(super) struct DenseLayers<'a> {
    inventory: &'a Inventory,
    task: &'a str,
    entries: Vec<(&'a str, &'a InventoryEntry)>,
}

impl<'a> DenseLayers<'a> {
    pub(super) fn of(inventory: &'a Inventory, task: &'a str) -> Self {
        let scope = task_scope(task);
        let entries = inventory.entries().iter();
        let entries = entries.filter(|entry| entry.role == Role::TaskHead);
        Self {
            inventory,
            task,
            entries: entries
                .filter_map(|entry| Some((below(&entry.name, &scope)?, entry)))
                .collect(),
        }
    }

    /// Reads the head: its kind and its labels.
    pub(super) fn read(
        &self,
        graph: Option<&MetaGraph>,
        options: &ConfigOptions,
    ) -> Result<TaskHead, Error> {
        let kind = self.kind(graph, options)?;
        let bias = self.get("dense/bias").expect("every kind has it");
        Ok(TaskHead {
            name: self.task.to_owned(),
            kind,
            labels: count_labels(bias)?,
            warning: self.left_out(kind),
            form: Form::Dense(format!("{}/dense", task_scope(self.task))),
        })
    }

    fn get(&self, name: &str) -> Option<&'a InventoryEntry> {
        let found = self.entries.iter().find(|(found, _)| *found == name);
        found.map(|(_, entry)| *entry)
    }

    fn has_dense(&self, layer: &str) -> bool {
        let parts = ["kernel", "bias"].map(|part| format!("{layer}/{part}"));
        parts.iter().all(|part| self.get(part).is_some())
    }

    /// Lists the variables that `filter` accepts, for messages; `None` if there is none.
    fn names(&self, filter: impl Fn(&str) -> bool) -> Option<String> {
        let entries = self.entries.iter().filter(|(name, _)| filter(name));
        let names: Vec<&str> = entries.map(|(_, entry)| entry.name.as_str()).collect();
        (!names.is_empty()).then(|| list(&names))
    }

    fn no_class(&self, why: impl Into<String>) -> Error {
        Error::NoClassForTask {
            task: self.task.to_owned(),
            why: why.into(),
        }
    }

    /// Returns the kind of the head, or the reason why no class computes it.
    fn kind(&self, graph: Option<&MetaGraph>, options: &ConfigOptions) -> Result<TaskKind, Error> {
        let all = || self.names(|_| true).unwrap_or_default();
        if self.names(|name| name.starts_with("qa_hidden/")).is_some() {
            return Err(self.no_class(
                "it predicts the end of an answer from its start (qa_hidden), unlike \
                 ElectraForQuestionAnswering",
            ));
        }
        if !self.has_dense("dense") {
            return Err(self.no_class(format!("it has no layer `dense`, but {}", all())));
        }
        let is_span = self.has_dense("dense_1");
        if !is_span && self.entries.len() > 2 {
            return Err(self.no_class(format!("it has {}", all())));
        }
        let mut candidates: Vec<Candidate<TaskKind>> = given_kind(options).into_iter().collect();
        for layer in ["dense", "dense_1"]
            .into_iter()
            .filter(|layer| self.has_dense(layer))
        {
            let layer = format!("{}/{layer}", task_scope(self.task));
            match input::read(graph, self.inventory, &layer, options)? {
                None => {}
                Some(Input::Tokens(candidate)) => candidates.push(candidate),
                Some(Input::Foreign(why)) => return Err(self.no_class(why)),
            }
        }
        let by_name = kind_of_googles(self.task);
        if is_span {
            return self.span(&candidates, by_name);
        }
        let kind = resolve(TASK_KIND, candidates)?.map(|candidate| candidate.value);
        match kind.or(by_name) {
            Some(kind @ (TaskKind::Span | TaskKind::Choice)) => Err(self.no_class(format!(
                "it has one dense layer, unlike a head of kind {kind}"
            ))),
            Some(kind) => Ok(kind),
            None => Err(Error::UnknownTaskKind {
                task: self.task.to_owned(),
            }),
        }
    }

    /// Returns the kind of a head with two dense layers: a span, if the graph, the user or the name of the
    /// task shows that both layers read every token.
    fn span(
        &self,
        candidates: &[Candidate<TaskKind>],
        by_name: Option<TaskKind>,
    ) -> Result<TaskKind, Error> {
        let is_given =
            |candidate: &&Candidate<TaskKind>| matches!(candidate.source, ValueSource::Option(_));
        let given = candidates.iter().find(is_given);
        let in_graph = candidates.iter().find(|candidate| !is_given(candidate));
        match (given, in_graph) {
            (Some(given), _) if given.value != TaskKind::Span => Err(self.no_class(format!(
                "it has two dense layers, unlike a head of kind {}",
                given.value
            ))),
            (_, Some(found)) if found.value != TaskKind::Tagging => Err(self.no_class(format!(
                "it reads the first token ({}), but a span head reads every token",
                found.source
            ))),
            (None, None) if by_name != Some(TaskKind::Span) => Err(Error::UnknownSpan {
                task: self.task.to_owned(),
            }),
            _ => Ok(TaskKind::Span),
        }
    }

    /// Returns a warning about layers that the class does not have: SQuAD 2.0 has a classifier that
    /// predicts whether the question has an answer.
    fn left_out(&self, kind: TaskKind) -> Option<String> {
        let rest =
            self.names(|name| !name.starts_with("dense/") && !name.starts_with("dense_1/"))?;
        (kind == TaskKind::Span).then(|| {
            format!(
                "the head of task {} also predicts whether there is an answer at all; \
                 ElectraForQuestionAnswering does not, so that these variables are left out: {rest}",
                self.task
            )
        })
    }
}
