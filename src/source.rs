//! An open checkpoint, understood as far as its index goes.

use std::path::Path;

use crate::checkpoint::{self, Checkpoint, MetaGraph};
use crate::convert::{Error, Plan, PlanOptions};
use crate::electra::{Inventory, Model, Rename, Role, Setup};

/// An open checkpoint whose variables have their roles.
#[derive(Debug)]
pub struct Source {
    checkpoint: Checkpoint,
    inventory: Inventory,
    graph: Option<MetaGraph>,
}

impl Source {
    /// Locates and opens a checkpoint and gives every variable its role.
    ///
    /// `path` is a prefix, one of the checkpoint's files or a folder; `step` picks one of several
    /// checkpoints; `renames` are applied to the names of variables first.
    pub fn open(path: &Path, step: Option<u64>, renames: &[Rename]) -> Result<Self, Error> {
        let location = checkpoint::locate(path, step)?;
        let checkpoint = Checkpoint::open(location)?;
        let inventory = Inventory::new(checkpoint.variables(), renames)?;
        let graph = checkpoint.meta_graph()?;
        Ok(Self {
            checkpoint,
            inventory,
            graph,
        })
    }

    /// The checkpoint itself.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Its variables with their roles.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// How it was trained; an error when it is no ELECTRA.
    pub fn setup(&self) -> Result<Setup, Error> {
        Ok(Setup::of(&self.inventory)?)
    }

    /// Plans the export of one model.
    pub fn plan(&self, model: Model, options: &PlanOptions) -> Result<Plan, Error> {
        Plan::new(
            &self.inventory,
            self.setup()?,
            self.graph.as_ref(),
            model,
            options,
        )
    }

    /// The training step: the value of `global_step`, else the number in the checkpoint's name,
    /// else `None`.
    pub fn step(&self) -> Result<Option<u64>, Error> {
        let location = self.checkpoint.location();
        let counter = self
            .inventory
            .items()
            .iter()
            .find(|item| item.role == Role::StepCounter);
        let Some(counter) = counter else {
            return Ok(location.step_in_name());
        };
        match self.checkpoint.read_int64(&counter.variable) {
            Ok(value) => Ok(value
                .and_then(|step| u64::try_from(step).ok())
                .or_else(|| location.step_in_name())),
            // An index alone is enough to look at what a checkpoint holds.
            Err(checkpoint::Error::ShardMissing { .. }) => Ok(location.step_in_name()),
            Err(error) => Err(error.into()),
        }
    }
}
