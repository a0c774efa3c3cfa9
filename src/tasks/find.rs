//! Finds the head of a task.

use tf_checkpoint::MetaGraph;

use crate::config::ConfigOptions;
use crate::tasks::dense_layers::DenseLayers;
use crate::tasks::head::TaskHead;
use crate::tasks::transformers_head::TransformersHead;
use crate::variables::{Error, Inventory};

impl TaskHead {
    /// Finds the head of the task in the options, or the only head.
    pub fn find(
        inventory: &Inventory,
        graph: Option<&MetaGraph>,
        options: &ConfigOptions,
    ) -> Result<Self, Error> {
        let tasks = inventory.tasks();
        let owned = |tasks: Vec<&str>| tasks.into_iter().map(str::to_owned).collect();
        let name = match (&options.task, &tasks[..]) {
            (Some(task), _) if tasks.contains(&task.as_str()) => task.as_str(),
            (Some(task), _) => {
                return Err(Error::NoSuchTask {
                    task: task.clone(),
                    tasks: owned(tasks),
                });
            }
            (None, [task]) => task,
            (None, _) => {
                return Err(Error::SeveralTasks {
                    tasks: owned(tasks),
                });
            }
        };
        if inventory.is_head_of_transformers(name) {
            TransformersHead::new(inventory, name).read(graph, options)
        } else {
            DenseLayers::of(inventory, name).read(graph, options)
        }
    }
}
