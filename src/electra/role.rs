//! What each variable of a checkpoint is for.
//!
//! Every variable gets exactly one role, so that nothing is left out unseen. The state of the training
//! run is set apart first (`state`), then TensorFlow 2's names become those of the original code
//! (`keras`), then the name table says what each weight is for. A variable that none of them knows is
//! [`Role::Unknown`], which no export leaves out without being told to.

use std::collections::HashMap;
use std::fmt;

use regex::Regex;

use super::Error;
use super::keras;
use super::names::{
    self, ELECTRA_BODY, ELECTRA_EMBEDDINGS, GENERATOR_BODY, GENERATOR_EMBEDDINGS, Part,
};
use super::state::States;
use crate::checkpoint::Variable;

/// What a variable is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// `electra/embeddings/`
    Embeddings,
    /// The rest of `electra/`.
    Encoder,
    /// `discriminator_predictions/`
    DiscriminatorHead,
    /// `generator/embeddings/`
    GeneratorEmbeddings,
    /// The rest of `generator/`.
    GeneratorEncoder,
    /// `generator_predictions/`
    GeneratorHead,
    /// The two-tower generator of Electric and its head.
    ElectricGenerator,
    /// `task_specific/TASK/`, or the head of a class of transformers.
    TaskHead,
    /// The raw weight where averages are exported.
    RawWeight,
    /// The moving average of a weight.
    Average,
    /// Adam's moments of another variable, and what else an optimizer keeps.
    OptimizerSlot,
    /// `generator_predictions/temperature`, for drawing tokens.
    Temperature,
    /// `global_step`
    StepCounter,
    /// Counters, iterators, metrics, TensorFlow 2's graph of objects.
    Bookkeeping,
    /// None of these.
    Unknown,
}

/// Name in JSON, name in text.
const LABELS: &[(Role, &str, &str)] = &[
    (Role::Embeddings, "embeddings", "embeddings"),
    (Role::Encoder, "encoder", "encoder"),
    (
        Role::DiscriminatorHead,
        "discriminator_head",
        "discriminator head",
    ),
    (
        Role::GeneratorEmbeddings,
        "generator_embeddings",
        "generator embeddings",
    ),
    (
        Role::GeneratorEncoder,
        "generator_encoder",
        "generator encoder",
    ),
    (Role::GeneratorHead, "generator_head", "generator head"),
    (
        Role::ElectricGenerator,
        "electric_generator",
        "Electric generator",
    ),
    (Role::TaskHead, "task_head", "fine-tuning head"),
    (Role::RawWeight, "raw_weight", "raw weights"),
    (Role::Average, "average", "moving averages"),
    (Role::OptimizerSlot, "optimizer_slot", "optimizer state"),
    (Role::Temperature, "temperature", "sampling temperature"),
    (Role::StepCounter, "step_counter", "step counter"),
    (Role::Bookkeeping, "bookkeeping", "bookkeeping"),
    (Role::Unknown, "unknown", "unknown"),
];

/// Roles by the start of a name, for what the name table does not list.
const PREFIXES: &[(&str, Role)] = &[
    ("generator_ltr/", Role::ElectricGenerator),
    ("generator_rtl/", Role::ElectricGenerator),
    ("cloze_predictions/", Role::ElectricGenerator),
    ("task_specific/", Role::TaskHead),
];
impl Role {
    /// True for the state of a training run, which is no weight of any model.
    fn is_state(self) -> bool {
        matches!(
            self,
            Self::Average
                | Self::OptimizerSlot
                | Self::Temperature
                | Self::StepCounter
                | Self::Bookkeeping
        )
    }

    /// The role of a weight of this name.
    pub fn of(name: &str) -> Self {
        if let Some(found) = names::lookup(name) {
            return match (found.rule.part, found.scope) {
                (Part::DiscriminatorHead, _) => Self::DiscriminatorHead,
                (Part::GeneratorHead, _) => Self::GeneratorHead,
                (Part::TaskHead, _) => Self::TaskHead,
                (_, Some(ELECTRA_EMBEDDINGS)) => Self::Embeddings,
                (_, Some(GENERATOR_EMBEDDINGS)) => Self::GeneratorEmbeddings,
                (_, Some(ELECTRA_BODY)) => Self::Encoder,
                _ => Self::GeneratorEncoder,
            };
        }
        PREFIXES
            .iter()
            .find(|(prefix, _)| name.starts_with(prefix))
            .map_or(Self::Unknown, |(_, role)| *role)
    }

    /// Name in JSON.
    pub fn key(self) -> &'static str {
        self.label().1
    }

    fn label(self) -> &'static (Self, &'static str, &'static str) {
        LABELS
            .iter()
            .find(|row| row.0 == self)
            .expect("every role has a label")
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label().2)
    }
}

/// A change of names, for forks that renamed scopes.
#[derive(Clone, Debug)]
pub struct Rename {
    pattern: Regex,
    replacement: String,
}

impl Rename {
    /// Reads `REGEX=REPLACEMENT`; `$1` in the replacement is the first group.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (pattern, replacement) = text
            .split_once('=')
            .ok_or("expected REGEX=REPLACEMENT, such as '^bert/=electra/'")?;
        let pattern = Regex::new(pattern).map_err(|error| error.to_string())?;
        let groups = pattern.captures_len();
        if pattern.as_str().is_empty() {
            return Err("the regex is empty".into());
        }
        if let Some(group) = unknown_group(&pattern, replacement) {
            return Err(format!(
                "the replacement uses ${group}, the regex has {} group(s); \
                 write ${{1}}x where text follows a group",
                groups - 1
            ));
        }
        Ok(Self {
            pattern,
            replacement: replacement.to_owned(),
        })
    }

    /// The new name.
    pub fn apply(&self, name: &str) -> String {
        self.pattern
            .replace_all(name, self.replacement.as_str())
            .into_owned()
    }
}

/// As it was given.
impl fmt::Display for Rename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.pattern, self.replacement)
    }
}

/// A group that the replacement names and the regex does not have; `regex` would put nothing there.
fn unknown_group(pattern: &Regex, replacement: &str) -> Option<String> {
    let mut rest = replacement;
    while let Some((_, after)) = rest.split_once('$') {
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
            continue;
        }
        let name: String = match rest.strip_prefix('{') {
            Some(braced) => braced.chars().take_while(|&c| c != '}').collect(),
            None => rest
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect(),
        };
        let known = match name.parse::<usize>() {
            Ok(number) => number < pattern.captures_len(),
            Err(_) => name.is_empty() || pattern.capture_names().flatten().any(|n| n == name),
        };
        if !known {
            return Some(name);
        }
    }
    None
}

/// A variable with its name after renaming and its role.
#[derive(Clone, Debug)]
pub struct Item {
    /// The variable as the checkpoint describes it, under its own name.
    pub variable: Variable,
    /// Its name after [`Rename`]s, as the original code would have it.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// The name of the variable that it is the average of, before TensorFlow 2's names are changed.
    pub average_of: Option<String>,
}

/// All variables of a checkpoint with their roles.
#[derive(Clone, Debug)]
pub struct Inventory {
    items: Vec<Item>,
    renames: Vec<Rename>,
    /// Scopes of the encoders of Keras models.
    encoders: Vec<String>,
}

impl Inventory {
    /// Renames every variable, those of Keras models to the original's names, then gives it a role.
    pub fn new(variables: &[Variable], renames: &[Rename]) -> Result<Self, Error> {
        let mut items: Vec<Item> = variables
            .iter()
            .map(|variable| Item {
                role: Role::Unknown,
                variable: variable.clone(),
                name: rename(&variable.name, renames),
                average_of: None,
            })
            .collect();
        let states = States::new(&items);
        let states: Vec<_> = items.iter().map(|item| states.of(item)).collect();
        for (item, state) in std::iter::zip(&mut items, states) {
            if let Some(state) = state {
                item.role = state.role;
                item.average_of = state.average_of;
            }
        }
        Self::with_states(items, renames)
    }

    /// Gives every item that is no state of the training run its role.
    fn with_states(mut items: Vec<Item>, renames: &[Rename]) -> Result<Self, Error> {
        let encoders = keras::rename(&mut items)?;
        for item in items.iter_mut().filter(|item| item.role == Role::Unknown) {
            item.role = Role::of(&item.name);
        }
        items.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some([a, b]) = items.array_windows().find(|[a, b]| a.name == b.name) {
            return Err(Error::RenameCollision {
                first: a.variable.name.clone(),
                second: b.variable.name.clone(),
                name: a.name.clone(),
            });
        }
        Ok(Self {
            items,
            renames: renames.to_vec(),
            encoders,
        })
    }

    /// The number of variables that have a moving average in this checkpoint.
    pub fn averages(&self) -> usize {
        let averages = self.items.iter().filter(|item| item.role == Role::Average);
        averages.count()
    }

    /// The same checkpoint with moving averages in place of the variables that have one.
    pub fn averaged(&self) -> Result<Self, Error> {
        let mut averages: HashMap<&str, &Item> = HashMap::new();
        let is_average = |item: &&Item| item.role == Role::Average;
        for item in self.items.iter().filter(is_average) {
            let base = item.average_of.as_deref().expect("of an average");
            if let Some(other) = averages.insert(base, item) {
                return Err(Error::SeveralAverages {
                    variable: base.to_owned(),
                    first: other.variable.name.clone(),
                    second: item.variable.name.clone(),
                });
            }
        }
        if averages.is_empty() {
            return Err(Error::NoAverages);
        }
        let items = self.items.iter().map(|item| {
            let original = rename(&item.variable.name, &self.renames);
            let mut item = item.clone();
            if item.role == Role::Average {
                item.name = item.average_of.clone().expect("of an average");
                item.role = Role::Unknown;
            } else if averages.contains_key(original.as_str()) {
                item.name = format!("{original}/raw");
                item.role = Role::RawWeight;
            } else if !item.role.is_state() {
                item.name = original;
                item.role = Role::Unknown;
            }
            item
        });
        Self::with_states(items.collect(), &self.renames)
    }

    /// All variables, by name.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// True when the variables are those of Keras models, Hugging Face's or NVIDIA's.
    pub fn is_keras(&self) -> bool {
        !self.encoders.is_empty()
    }

    /// The variable of this name (after renaming).
    pub fn get(&self, name: &str) -> Option<&Item> {
        self.items
            .binary_search_by(|item| item.name.as_str().cmp(name))
            .ok()
            .map(|at| &self.items[at])
    }

    /// True when the variable of this name in the checkpoint is in the scope of an encoder.
    pub(crate) fn is_in_encoder(&self, name: &str) -> bool {
        let scopes = self.encoders.iter().map(String::as_str);
        let mut scopes = scopes.chain([ELECTRA_BODY, GENERATOR_BODY]);
        let name = self.rename(name);
        scopes.any(|scope| {
            name.strip_prefix(scope)
                .is_some_and(|rest| rest.starts_with('/'))
        })
    }

    /// True when a variable has this role.
    pub fn has(&self, role: Role) -> bool {
        self.items.iter().any(|item| item.role == role)
    }

    /// The tasks that there are heads for, sorted: the names below `task_specific/`, and what
    /// transformers calls the last layer of a head of its own.
    pub fn tasks(&self) -> Vec<&str> {
        let mut tasks: Vec<&str> = self
            .items
            .iter()
            .filter(|item| item.role == Role::TaskHead)
            .filter_map(|item| item.name.split('/').nth(1))
            .map(|task| {
                if task == "sequence_summary" {
                    "classifier"
                } else {
                    task
                }
            })
            .collect();
        tasks.sort_unstable();
        tasks.dedup();
        tasks
    }

    /// True when this task's head is one of transformers' own.
    pub(super) fn is_head_of_transformers(&self, task: &str) -> bool {
        let scope = format!("task_specific/{task}/");
        !self.items.iter().any(|item| item.name.starts_with(&scope))
    }

    /// Applies the same renames to a name from elsewhere, such as the training graph.
    pub fn rename(&self, name: &str) -> String {
        rename(name, &self.renames)
    }

    /// The renames that changed no variable's name.
    pub fn idle_renames(&self) -> impl Iterator<Item = &Rename> {
        self.renames.iter().enumerate().filter_map(|(at, last)| {
            let idle = self.items.iter().all(|item| {
                let before = rename(&item.variable.name, &self.renames[..at]);
                last.apply(&before) == before
            });
            idle.then_some(last)
        })
    }
}

fn rename(name: &str, renames: &[Rename]) -> String {
    renames
        .iter()
        .fold(name.to_owned(), |name, rename| rename.apply(&name))
}
