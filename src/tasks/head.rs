//! The head of a fine-tuned model: its labels, and its tensors.

use candle_electra::{Dim, ElectraConfig, ModelClass};
use tf_checkpoint::Variable;

use crate::config::{ConfigOptions, ResolvedConfig, TaskKind};
use crate::tasks::table::{kind_of_googles, tensors_of};
use crate::variables::names::{ELECTRA, Rule, TASK_HEADS};
use crate::variables::{Error, Inventory, InventoryEntry, Recipe};

/// The head of one task.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskHead {
    /// The name of the task: its scope in `task_specific/`, or the name of the last layer of a head of
    /// transformers' own classes.
    pub name: String,
    /// The kind of task.
    pub kind: TaskKind,
    /// The number of labels; 1 for a regression.
    pub labels: usize,
    /// A warning for the user.
    pub warning: Option<String>,
    pub(super) form: Form,
}

/// The variables of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Dense layers of the original code; the scope of the first one.
    Dense(String),
    /// The variables of a transformers class.
    Transformers,
}

/// A tensor of a head, and the variables that it is computed from.
pub(crate) struct HeadTensor<'a> {
    pub(crate) name: &'static str,
    pub(crate) recipe: Recipe,
    pub(crate) variables: Vec<&'a Variable>,
    pub(crate) shape: Vec<usize>,
}

impl TaskHead {
    /// Returns the class that computes the same.
    pub fn class(&self) -> ModelClass {
        self.kind.class()
    }

    /// Returns the names of the tensors that compute the logits, weight and bias, if the head is made from
    /// dense layers; `None` for a head whose tensors are its variables.
    pub fn output_tensors(&self) -> Option<[&'static str; 2]> {
        match (&self.form, tensors_of(self.kind)) {
            (Form::Dense(_), [.., (weight, ..), (bias, ..)]) => Some([weight, bias]),
            _ => None,
        }
    }

    /// Returns the names of the biases that the head adds last, in the original code's names: one for each
    /// layer that computes logits.
    pub(crate) fn output_biases(&self) -> Vec<String> {
        match &self.form {
            Form::Dense(dense) if self.kind == TaskKind::Span => {
                vec![format!("{dense}/bias"), format!("{dense}_1/bias")]
            }
            Form::Dense(dense) => vec![format!("{dense}/bias")],
            Form::Transformers => {
                let rules = rules_of(self.class(), &ElectraConfig::default());
                let last = rules.filter(|rule| rule.dims() == [Dim::Labels]);
                last.map(Rule::head_variable).collect()
            }
        }
    }

    /// Adds the labels and the problem type to a configuration.
    pub(crate) fn configure(
        &self,
        resolved: &mut ResolvedConfig,
        options: &ConfigOptions,
    ) -> Result<(), Error> {
        if let TaskKind::Span | TaskKind::Choice = self.kind {
            // Start, end and choices are not labels. The class has two outputs by default.
            return match &options.labels {
                Some(labels) => Err(self.wrong_labels(labels, 0)),
                None => Ok(()),
            };
        }
        let labels = match &options.labels {
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
        // For other tasks nothing shows whether a text can have several labels.
        let is_googles = self.form != Form::Transformers && kind_of_googles(&self.name).is_some();
        if self.kind == TaskKind::Classification && is_googles {
            let problem = if self.labels == 1 {
                "regression"
            } else {
                "single_label_classification"
            };
            config.problem_type = Some(problem.into());
        }
        Ok(())
    }

    fn wrong_labels(&self, labels: &[String], expected: usize) -> Error {
        Error::InvalidValue {
            key: "the list of labels",
            value: labels.join(","),
            origin: "--labels".into(),
            why: format!(
                "the head of task {} has {expected} labels, which must be all different",
                self.name
            ),
        }
    }

    /// Returns every tensor of the head, after checking the shapes of its variables.
    pub(crate) fn tensors<'a>(
        &self,
        inventory: &'a Inventory,
        config: &ElectraConfig,
    ) -> Result<Vec<HeadTensor<'a>>, Error> {
        let shapes = self.class().tensors(config);
        let shape_of = |name: &str| {
            let found = shapes.iter().find(|(tensor, _)| tensor == name);
            found.expect("the class has the tensor").1.clone()
        };
        let Form::Dense(dense) = &self.form else {
            let rules = rules_of(self.class(), config);
            let tensors = rules.map(|rule| {
                let entry = inventory.get(&rule.head_variable());
                let entry = entry.expect("checked when the head was found");
                let (name, recipe) = (rule.tensor.name, rule.recipe());
                let shape = shape_of(name);
                check_shape(entry, &recipe.reorder(&shape))?;
                Ok(HeadTensor {
                    name,
                    recipe,
                    variables: vec![&entry.variable],
                    shape,
                })
            });
            return tensors.collect();
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
            let entry = inventory
                .get(&name)
                .expect("checked when the head was found");
            let shape = match name.rsplit_once('/') {
                Some((_, "kernel")) => vec![config.hidden_size, outputs],
                Some((_, "bias")) => vec![outputs],
                _ => vec![config.hidden_size],
            };
            check_shape(entry, &shape)?;
            Ok::<_, Error>(&entry.variable)
        };
        let rows = tensors_of(self.kind).iter();
        rows.map(|&(name, recipe, variables)| {
            let variables = variables.iter().map(find).collect::<Result<_, _>>()?;
            Ok(HeadTensor {
                name,
                recipe,
                variables,
                shape: shape_of(name),
            })
        })
        .collect()
    }
}

fn check_shape(entry: &InventoryEntry, expected: &[usize]) -> Result<(), Error> {
    let shape = &entry.variable.shape;
    if shape == expected {
        return Ok(());
    }
    Err(Error::wrong_shape(
        &entry.name,
        shape,
        format!("{expected:?}"),
    ))
}

/// Reads the number of labels from the shape of the last bias.
pub(super) fn count_labels(bias: &InventoryEntry) -> Result<usize, Error> {
    match bias.variable.shape[..] {
        [labels] if labels > 0 => Ok(labels),
        _ => Err(Error::wrong_shape(
            &bias.name,
            &bias.variable.shape,
            "one axis, with an element for each label",
        )),
    }
}

/// Returns the rules for the tensors of a class outside of its encoder.
pub(super) fn rules_of(
    class: ModelClass,
    config: &ElectraConfig,
) -> impl Iterator<Item = &'static Rule> + use<> {
    let tensors = class.tensors(config);
    let has = move |rule: &&Rule| tensors.iter().any(|(name, _)| rule.tensor.name == name);
    TASK_HEADS.iter().filter(has)
}
