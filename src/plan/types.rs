//! The plan of an export, as data.

use std::path::PathBuf;

use candle_electra::{ElectraConfig, ModelClass};
use safetensors::Dtype;
use tf_checkpoint::{Checkpoint, Variable};

use crate::config::ResolvedConfig;
use crate::plan::cast::{Cast, torch_name};
use crate::plan::options::Weights;
use crate::tasks::TaskHead;
use crate::tokenizer::TokenizerSetup;
use crate::variables::{Model, Recipe, Role, Scopes};

/// One tensor of the export.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PlannedTensor {
    /// The name of the Hugging Face tensor.
    pub name: String,
    /// The variables that it is computed from: usually one.
    pub variables: Vec<Variable>,
    /// How it is computed from them.
    pub recipe: Recipe,
    /// The conversion of its elements.
    pub cast: Cast,
    /// The shape of the tensor.
    pub shape: Vec<usize>,
}

impl PlannedTensor {
    /// Returns the number of elements.
    pub fn elements(&self) -> usize {
        let sizes = self.shape.iter();
        sizes.fold(1, |product, &size| product.saturating_mul(size))
    }

    /// Returns the number of bytes in the exported file.
    pub fn bytes(&self) -> usize {
        self.elements().saturating_mul(self.cast.to_size())
    }

    /// Returns the number of bytes to read from the checkpoint.
    pub fn source_bytes(&self) -> u64 {
        let lengths = self.variables.iter().map(Variable::bytes);
        lengths.fold(0, u64::saturating_add)
    }

    /// Returns the rows and columns of a matrix.
    pub(crate) fn matrix(&self) -> [usize; 2] {
        self.shape[..]
            .try_into()
            .expect("only matrices are transposed")
    }

    /// Checks that the files with its variables exist, without reading the variables.
    pub(crate) fn check_present(
        &self,
        checkpoint: &Checkpoint,
    ) -> Result<(), tf_checkpoint::Error> {
        let mut variables = self.variables.iter();
        variables.try_for_each(|variable| checkpoint.check_present(variable))
    }

    /// Returns the names of its variables, for messages.
    pub fn variable_names(&self) -> String {
        let names: Vec<&str> = self.variables.iter().map(|v| v.name.as_str()).collect();
        names.join(" and ")
    }
}

/// The variables of one role that are not exported.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LeftOut {
    /// Their role.
    pub role: Role,
    /// Their names in the checkpoint, sorted.
    pub names: Vec<String>,
    /// Their size in the checkpoint, in bytes.
    pub bytes: u64,
}

/// The plan of an export.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// The model.
    pub model: Model,
    /// The Hugging Face class that it is exported as.
    pub class: ModelClass,
    /// The scopes of its variables.
    pub(crate) scopes: Scopes,
    /// The configuration and the source of each value.
    pub resolved: ResolvedConfig,
    /// The tensors, sorted by name.
    pub tensors: Vec<PlannedTensor>,
    /// The variables that are not exported, by role.
    pub left_out: Vec<LeftOut>,
    /// Facts that the user should know although the export succeeds.
    pub warnings: Vec<String>,
    /// The tokenizer to write; `None` without a vocabulary.
    pub tokenizer: Option<TokenizerSetup>,
    /// The vocabulary and the config.json that were read.
    pub read: Vec<PathBuf>,
    /// How the export differs from the original graph; `None` if it does not.
    pub inexact: Option<String>,
    /// The head of a fine-tuned model.
    pub task: Option<TaskHead>,
    /// The weights that are written.
    pub weights: Weights,
}

impl Plan {
    /// Returns the configuration to write.
    pub fn config(&self) -> &ElectraConfig {
        &self.resolved.config
    }

    /// Returns the variables that are read, each once for every tensor that it becomes.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.tensors.iter().flat_map(|tensor| &tensor.variables)
    }

    /// Returns the number of parameters: the elements of all tensors.
    pub fn parameters(&self) -> usize {
        let counts = self.tensors.iter().map(PlannedTensor::elements);
        counts.fold(0, usize::saturating_add)
    }

    /// Returns the number of bytes of all tensors.
    pub fn bytes(&self) -> usize {
        let lengths = self.tensors.iter().map(PlannedTensor::bytes);
        lengths.fold(0, usize::saturating_add)
    }

    /// Takes the element type of each tensor from an exported file, to compare the plan with the file: the
    /// type was the user's choice. Computed tensors always have the same type.
    pub fn adopt_dtypes(&mut self, dtype_of: impl Fn(&str) -> Option<Dtype>) {
        for tensor in self
            .tensors
            .iter_mut()
            .filter(|tensor| !tensor.recipe.is_computed())
        {
            if let Some(dtype @ (Dtype::F32 | Dtype::F16 | Dtype::BF16)) = dtype_of(&tensor.name) {
                tensor.cast.to = dtype;
            }
        }
    }

    /// Returns the element type for config.json: the common type of all tensors, or float32 if they differ,
    /// which holds the values of all types.
    pub fn dtype_name(&self) -> &'static str {
        let mut types = self.tensors.iter().map(|tensor| tensor.cast.to);
        match types.next() {
            Some(first) if types.all(|other| other == first) => torch_name(first),
            _ => torch_name(Dtype::F32),
        }
    }
}
