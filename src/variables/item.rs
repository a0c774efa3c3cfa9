//! One variable of a checkpoint.

use tf_checkpoint::Variable;

use crate::variables::role::Role;

/// A variable with its name after renaming and its role.
#[derive(Clone, Debug)]
pub struct InventoryEntry {
    /// The variable as the checkpoint describes it, under its own name.
    pub variable: Variable,
    /// Its name after [`Rename`](super::Rename)s, as the original code would have it.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// The name of the variable that it is the average of, before TensorFlow 2's names are changed.
    pub average_of: Option<String>,
}
