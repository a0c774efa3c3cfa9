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
    /// The axis of the original code's variable that is divided into two here, the attention heads and the
    /// size of a head; `None` if no axis is.
    pub head_axis: Option<usize>,
}

impl InventoryEntry {
    /// Returns the shape of the variable in the original code: heads and head size are one axis. The bytes
    /// are the same.
    pub fn shape(&self) -> Vec<usize> {
        let mut shape = self.variable.shape.clone();
        if let Some(at) = self.head_axis
            && at + 1 < shape.len()
        {
            let size = shape.remove(at + 1);
            shape[at] = shape[at].saturating_mul(size);
        }
        shape
    }

    /// Returns the number of attention heads, if the shape shows it.
    pub fn heads(&self) -> Option<usize> {
        self.variable.shape.get(self.head_axis?).copied()
    }
}
