//! Names: which TensorFlow variable is which Hugging Face tensor.
//!
//! There is one table ([`TABLE`], and [`TASK_HEADS`] for the fine-tuned heads of transformers' classes).
//! Roles, the configuration, the plan and verification all read it, so that they cannot disagree. The
//! scopes in a name depend on how a checkpoint was trained and are filled in by
//! [`TrainingSetup`](super::TrainingSetup).
//!
//! | file | holds |
//! |---|---|
//! | `scopes` | the scopes that variables are in |
//! | `table` | the rows, and what follows from a row: shape, transposition, names in Keras |
//! | `lookup` | the way from a name to its row, for both naming schemes |
//! | `garden` | the rows of the object paths of TensorFlow's Model Garden |

mod garden;
mod lookup;
mod scopes;
mod table;

pub(crate) use garden::{GardenHead, GardenLayer, GardenPath};
pub(crate) use lookup::{KerasMatch, below, lookup, lookup_keras};
pub use scopes::Scopes;
pub(crate) use scopes::{
    DISCRIMINATOR_HEAD, ELECTRA, ELECTRA_BODY, ELECTRA_EMBEDDINGS, GENERATOR, GENERATOR_BODY,
    GENERATOR_EMBEDDINGS, GENERATOR_HEAD, TASK_HEAD, TRANSFORMERS_HEAD, layer_scope, task_scope,
};
pub(crate) use table::{Rule, TABLE, TASK_HEADS, is_transposed, tensors};
