//! All variables of a checkpoint with their roles.
//!
//! Every variable gets exactly one role, so that nothing is left out unseen. The state of the training
//! run is set apart first (`state`), then TensorFlow 2's names become those of the original code
//! (`keras`), then the name table says what each weight is for. A variable that none of them knows is
//! [`Role::Unknown`], which no export leaves out without being told to.

use std::collections::HashMap;

use tf_checkpoint::Variable;

use crate::variables::item::InventoryEntry;
use crate::variables::names::{ELECTRA_BODY, GENERATOR_BODY};
use crate::variables::rename::Rename;
use crate::variables::role::Role;
use crate::variables::state::States;
use crate::variables::{Error, keras};

/// All variables of a checkpoint with their roles.
#[derive(Clone, Debug)]
pub struct Inventory {
    items: Vec<InventoryEntry>,
    renames: Vec<Rename>,
    /// Scopes of the encoders of Keras models.
    encoders: Vec<String>,
}

impl Inventory {
    /// Renames every variable, those of Keras models to the original's names, then gives it a role.
    pub fn new(variables: &[Variable], renames: &[Rename]) -> Result<Self, Error> {
        let mut items: Vec<InventoryEntry> = variables
            .iter()
            .map(|variable| InventoryEntry {
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
    fn with_states(mut items: Vec<InventoryEntry>, renames: &[Rename]) -> Result<Self, Error> {
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
        let mut averages: HashMap<&str, &InventoryEntry> = HashMap::new();
        let is_average = |item: &&InventoryEntry| item.role == Role::Average;
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
    pub fn items(&self) -> &[InventoryEntry] {
        &self.items
    }

    /// True when the variables are those of Keras models, Hugging Face's or NVIDIA's.
    pub fn is_keras(&self) -> bool {
        !self.encoders.is_empty()
    }

    /// The variable of this name (after renaming).
    pub fn get(&self, name: &str) -> Option<&InventoryEntry> {
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
    pub(crate) fn is_head_of_transformers(&self, task: &str) -> bool {
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
