//! All variables of a checkpoint with their roles.
//!
//! Every variable gets exactly one role, so that no variable is ignored silently. The state of the
//! training run is recognised first (`state`), then TensorFlow 2's names are converted to those of the
//! original code (`keras`, `garden`), then the name table gives the role of each weight. Any other variable is
//! [`Role::Unknown`]: an export leaves it out only on request.

use std::collections::{HashMap, HashSet};

use tf_checkpoint::Variable;

use crate::variables::code::Code;
use crate::variables::entry::InventoryEntry;
use crate::variables::names::{self, ELECTRA_BODY, GENERATOR_BODY};
use crate::variables::rename::Rename;
use crate::variables::role::Role;
use crate::variables::state::States;
use crate::variables::{Error, garden, keras};

/// All variables of a checkpoint with their roles.
#[derive(Clone, Debug)]
pub struct Inventory {
    entries: Vec<InventoryEntry>,
    renames: Vec<Rename>,
    code: Code,
    /// The scopes of the encoders of TensorFlow 2 code.
    encoders: Vec<String>,
    shares_words: bool,
}

impl Inventory {
    /// Renames all variables, converts the names of Keras models to those of the original code, and
    /// finds the role of each variable.
    pub fn new(variables: &[Variable], renames: &[Rename]) -> Result<Self, Error> {
        let mut entries: Vec<InventoryEntry> = variables
            .iter()
            .map(|variable| InventoryEntry {
                role: Role::Unknown,
                variable: variable.clone(),
                name: rename(&variable.name, renames),
                average_of: None,
                head_axis: None,
            })
            .collect();
        let states = States::new(&entries);
        let states: Vec<_> = entries.iter().map(|entry| states.of(entry)).collect();
        for (entry, state) in std::iter::zip(&mut entries, states) {
            if let Some(state) = state {
                entry.role = state.role;
                entry.average_of = state.average_of;
            }
        }
        Self::with_states(entries, renames)
    }

    /// Finds the role of every entry that is not state of the training run.
    fn with_states(mut entries: Vec<InventoryEntry>, renames: &[Rename]) -> Result<Self, Error> {
        let mut encoders = keras::rename(&mut entries)?;
        let (mut code, mut shares_words) = (Code::Keras, false);
        if encoders.is_empty() {
            let garden = garden::rename(&mut entries, |path| rename(path, renames))?;
            code = garden
                .as_ref()
                .map_or(Code::Original, |_| Code::ModelGarden);
            let garden = garden.unwrap_or_default();
            (encoders, shares_words) = (garden.encoders, garden.shares_words);
        }
        for entry in entries
            .iter_mut()
            .filter(|entry| entry.role == Role::Unknown)
        {
            entry.role = Role::of(&entry.name);
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some([a, b]) = entries.array_windows().find(|[a, b]| a.name == b.name) {
            return Err(Error::RenameCollision {
                first: a.variable.name.clone(),
                second: b.variable.name.clone(),
                name: a.name.clone(),
            });
        }
        Ok(Self {
            entries,
            renames: renames.to_vec(),
            code,
            encoders,
            shares_words,
        })
    }

    /// Returns the number of variables that have a moving average in this checkpoint.
    pub fn averages(&self) -> usize {
        let averages = self
            .entries
            .iter()
            .filter(|entry| entry.role == Role::Average);
        averages.count()
    }

    /// Returns the inventory of the same checkpoint with moving averages in place of the raw weights.
    pub fn averaged(&self) -> Result<Self, Error> {
        let mut averages: HashMap<&str, &InventoryEntry> = HashMap::new();
        let is_average = |entry: &&InventoryEntry| entry.role == Role::Average;
        for entry in self.entries.iter().filter(is_average) {
            let base = entry
                .average_of
                .as_deref()
                .expect("every average has a variable");
            if let Some(other) = averages.insert(base, entry) {
                return Err(Error::SeveralAverages {
                    variable: base.to_owned(),
                    first: other.variable.name.clone(),
                    second: entry.variable.name.clone(),
                });
            }
        }
        if averages.is_empty() {
            return Err(Error::NoAverages);
        }
        let entries = self.entries.iter().map(|entry| {
            let original = rename(&entry.variable.name, &self.renames);
            let mut entry = entry.clone();
            entry.head_axis = None;
            if entry.role == Role::Average {
                entry.name = entry
                    .average_of
                    .clone()
                    .expect("every average has a variable");
                entry.role = Role::Unknown;
            } else if averages.contains_key(original.as_str()) {
                entry.name = format!("{original}/raw");
                entry.role = Role::RawWeight;
            } else if !entry.role.is_state() {
                entry.name = original;
                entry.role = Role::Unknown;
            }
            entry
        });
        Self::with_states(entries.collect(), &self.renames)
    }

    /// Returns all variables, sorted by name.
    pub fn entries(&self) -> &[InventoryEntry] {
        &self.entries
    }

    /// Returns the code that wrote the variables.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Returns true if the variables are those of Keras models: Hugging Face's or NVIDIA's.
    pub fn is_keras(&self) -> bool {
        self.code == Code::Keras
    }

    /// Returns the name of a variable in messages. The original code's name of a Model Garden variable occurs
    /// nowhere in the checkpoint.
    pub(crate) fn shown_name<'a>(&self, entry: &'a InventoryEntry) -> &'a str {
        match self.code {
            Code::ModelGarden => &entry.variable.name,
            Code::Original | Code::Keras => &entry.name,
        }
    }

    /// Returns true if generator and discriminator share one variable with the word embeddings, and no other.
    pub fn shares_word_embeddings(&self) -> bool {
        self.shares_words
    }

    /// Returns the variable with this name (after renaming).
    pub fn get(&self, name: &str) -> Option<&InventoryEntry> {
        self.entries
            .binary_search_by(|entry| entry.name.as_str().cmp(name))
            .ok()
            .map(|at| &self.entries[at])
    }

    /// Returns true if one of the variables with these names in the checkpoint is in the scope of an encoder.
    pub(crate) fn has_in_encoder(&self, names: &[String]) -> bool {
        let names: HashSet<&str> = names.iter().map(String::as_str).collect();
        let scopes = self.encoders.iter().map(String::as_str);
        let scopes: Vec<&str> = scopes.chain([ELECTRA_BODY, GENERATOR_BODY]).collect();
        let is_below = |name: &str| {
            let mut scopes = scopes.iter();
            scopes.any(|scope| names::below(name, scope).is_some())
        };
        let variables = self.entries.iter().map(|entry| &entry.variable);
        let mut chosen = variables.filter(|variable| names.contains(&variable.name[..]));
        chosen.any(|variable| {
            is_below(&self.rename(&variable.name)) || variable.object_path().is_some_and(is_below)
        })
    }

    /// Returns true if a variable has this role.
    pub fn has(&self, role: Role) -> bool {
        self.entries.iter().any(|entry| entry.role == role)
    }

    /// Returns the tasks with a head, sorted: the scopes in `task_specific/`, or the name of the last
    /// layer of a head of transformers' own classes.
    pub fn tasks(&self) -> Vec<&str> {
        let mut tasks: Vec<&str> = self
            .entries
            .iter()
            .filter(|entry| entry.role == Role::TaskHead)
            .filter_map(|entry| entry.name.split('/').nth(1))
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

    /// Returns true if this task's head is one of transformers' own classes.
    pub(crate) fn is_head_of_transformers(&self, task: &str) -> bool {
        let scope = names::task_scope(task);
        let is_below = |entry: &InventoryEntry| names::below(&entry.name, &scope).is_some();
        !self.entries.iter().any(is_below)
    }

    /// Applies the same renames to a name from another source, such as the training graph.
    pub fn rename(&self, name: &str) -> String {
        rename(name, &self.renames)
    }

    /// Returns the renames, in order.
    pub(crate) fn renames(&self) -> &[Rename] {
        &self.renames
    }

    /// Returns the renames that changed no name.
    pub fn idle_renames(&self) -> impl Iterator<Item = &Rename> {
        self.renames.iter().enumerate().filter_map(|(at, last)| {
            let idle = self.entries.iter().all(|entry| {
                let before = rename(&entry.variable.name, &self.renames[..at]);
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

#[cfg(test)]
mod tests {
    use tf_checkpoint::DType;

    use super::*;

    #[test]
    fn many_names_take_linear_time() {
        let variable = |name: String| Variable {
            key: name.clone(),
            name,
            full_name: None,
            object_paths: Vec::new(),
            dtype: DType::Float32,
            shape: Vec::new(),
            pieces: Vec::new(),
        };
        let mut names: Vec<String> = (0..300_000).map(|n| format!("head/{n}")).collect();
        let variables = names.iter().cloned().chain(["electra/x".to_owned()]);
        let variables: Vec<Variable> = variables.map(variable).collect();
        let inventory = Inventory::new(&variables, &[]).unwrap();
        // In quadratic time: 90,000,000,000 comparisons.
        assert!(!inventory.has_in_encoder(&names));
        names.push("electra/x".to_owned());
        assert!(inventory.has_in_encoder(&names));
    }
}
