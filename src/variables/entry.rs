//! One variable of a checkpoint, with its role.

use tf_checkpoint::Variable;

use crate::variables::role::Role;

/// A variable with its name after renaming and its role.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InventoryEntry {
    /// The variable as the checkpoint describes it, under its own name.
    pub variable: Variable,
    /// The name after all [`Rename`](super::Rename)s, in the original code's terms.
    pub name: String,
    /// The role of the variable.
    pub role: Role,
    /// The name of the variable whose moving average this is, before TensorFlow 2's names are
    /// converted; `None` if it is not an average.
    pub average_of: Option<String>,
}
