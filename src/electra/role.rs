//! What each variable of a checkpoint is for.
//!
//! Every variable gets exactly one role, so that nothing is left out unseen: what is no model
//! weight of the table, no optimizer state and no known head is [`Role::Unknown`].

use std::fmt;

use regex::Regex;

use super::Error;
use super::keras;
use super::names::{self, ELECTRA_BODY, ELECTRA_EMBEDDINGS, GENERATOR_EMBEDDINGS, Part};
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
    /// `task_specific/TASK/`
    TaskHead,
    /// Adam's moments of another variable, and what else an optimizer keeps.
    OptimizerSlot,
    /// `global_step`
    StepCounter,
    /// What TensorFlow 2 keeps beside the variables: the graph of objects, a count of saves.
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
    (Role::OptimizerSlot, "optimizer_slot", "optimizer state"),
    (Role::StepCounter, "step_counter", "step counter"),
    (Role::Bookkeeping, "bookkeeping", "bookkeeping"),
    (Role::Unknown, "unknown", "unknown"),
];

/// Roles told by the start of a name. Weights of the two models are told by the name table instead.
const PREFIXES: &[(&str, Role)] = &[
    ("generator_ltr/", Role::ElectricGenerator),
    ("generator_rtl/", Role::ElectricGenerator),
    ("cloze_predictions/", Role::ElectricGenerator),
    ("task_specific/", Role::TaskHead),
];
/// Roles told by the end of a name, which count before everything else.
const SUFFIXES: &[(&str, Role)] = &[
    ("/adam_m", Role::OptimizerSlot),
    ("/adam_v", Role::OptimizerSlot),
];
const STEP_COUNTER: &str = "global_step";
/// Roles told by a part of the path through the objects of a TensorFlow 2 checkpoint, which counts
/// before the name: what users call their attributes, and what Keras calls its own.
const OBJECTS: &[(&str, Role)] = &[
    (".OPTIMIZER_SLOT", Role::OptimizerSlot),
    ("optimizer", Role::OptimizerSlot),
    ("_variables", Role::OptimizerSlot),
    ("keras_api", Role::Bookkeeping),
];
/// Roles told by the whole path, or by the key of what is no variable. `step` and `phase2` are
/// NVIDIA's.
const ROOT_OBJECTS: &[(&str, Role)] = &[
    ("step", Role::StepCounter),
    ("global_step", Role::StepCounter),
    ("save_counter", Role::Bookkeeping),
    ("phase2", Role::Bookkeeping),
    ("_CHECKPOINTABLE_OBJECT_GRAPH", Role::Bookkeeping),
];

impl Role {
    /// The role of an object of a TensorFlow 2 checkpoint, where its path tells it.
    fn of_object(variable: &Variable) -> Option<Self> {
        let path = variable.object_path();
        let whole = path.unwrap_or(&variable.key);
        let root = ROOT_OBJECTS.iter().find(|(object, _)| whole == *object);
        let part = || {
            let mut parts = OBJECTS.iter();
            parts.find(|(object, _)| path.is_some_and(|p| p.split('/').any(|part| part == *object)))
        };
        root.or_else(part).map(|(_, role)| *role)
    }

    /// True for what is no weight of any model.
    pub(super) fn is_bookkeeping(self) -> bool {
        matches!(
            self,
            Self::OptimizerSlot | Self::StepCounter | Self::Bookkeeping
        )
    }

    /// The role of a variable of this name.
    pub fn of(name: &str) -> Self {
        if let Some((_, role)) = SUFFIXES.iter().find(|(suffix, _)| name.ends_with(suffix)) {
            return *role;
        }
        if name == STEP_COUNTER {
            return Self::StepCounter;
        }
        if let Some(found) = names::lookup(name) {
            return match (found.rule.part, found.scope) {
                (Part::DiscriminatorHead, _) => Self::DiscriminatorHead,
                (Part::GeneratorHead, _) => Self::GeneratorHead,
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
}

/// All variables of a checkpoint with their roles.
#[derive(Clone, Debug)]
pub struct Inventory {
    items: Vec<Item>,
    renames: Vec<Rename>,
    is_keras: bool,
}

impl Inventory {
    /// Renames every variable, those of Keras models to the original's names, then gives it a role.
    pub fn new(variables: &[Variable], renames: &[Rename]) -> Result<Self, Error> {
        let mut items: Vec<Item> = variables
            .iter()
            .map(|variable| Item {
                role: Role::of_object(variable).unwrap_or(Role::Unknown),
                variable: variable.clone(),
                name: rename(&variable.name, renames),
            })
            .collect();
        let is_keras = keras::rename(&mut items);
        for item in items.iter_mut().filter(|item| !item.role.is_bookkeeping()) {
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
            is_keras,
        })
    }

    /// All variables, by name.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// True when the variables are those of Keras models, Hugging Face's or NVIDIA's.
    pub fn is_keras(&self) -> bool {
        self.is_keras
    }

    /// The variable of this name (after renaming).
    pub fn get(&self, name: &str) -> Option<&Item> {
        self.items
            .binary_search_by(|item| item.name.as_str().cmp(name))
            .ok()
            .map(|at| &self.items[at])
    }

    /// True when a variable has this role.
    pub fn has(&self, role: Role) -> bool {
        self.items.iter().any(|item| item.role == role)
    }

    /// The names below `task_specific/`, sorted.
    pub fn tasks(&self) -> Vec<&str> {
        let mut tasks: Vec<&str> = self
            .items
            .iter()
            .filter(|item| item.role == Role::TaskHead)
            .filter_map(|item| item.name.split('/').nth(1))
            .collect();
        tasks.dedup();
        tasks
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
