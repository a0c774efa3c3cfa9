//! A plan as data.

use candle_electra::{ElectraConfig, ModelClass};
use safetensors::Dtype;
use tf_checkpoint::{Checkpoint, Variable};

use crate::config::ResolvedConfig;
use crate::plan::cast::{Cast, torch_name};
use crate::plan::options::Weights;
use crate::tasks::TaskHead;
use crate::tokenizer::TokenizerSetup;
use crate::variables::{Model, Recipe, Role};

/// One tensor of the export.
#[derive(Clone, Debug)]
pub struct PlannedTensor {
    /// Name of the Hugging Face tensor.
    pub name: String,
    /// The variables that it is made from: mostly one.
    pub variables: Vec<Variable>,
    /// How it is made from them.
    pub recipe: Recipe,
    /// From and to which element type.
    pub cast: Cast,
    /// Shape of the tensor.
    pub shape: Vec<usize>,
}

impl PlannedTensor {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        let sizes = self.shape.iter();
        sizes.fold(1, |product, &size| product.saturating_mul(size))
    }

    /// Number of bytes in the written file.
    pub fn bytes(&self) -> usize {
        self.elements().saturating_mul(self.cast.to_size())
    }

    /// Number of bytes to be read from the checkpoint.
    pub fn source_bytes(&self) -> u64 {
        let lengths = self.variables.iter().map(Variable::bytes);
        lengths.fold(0, u64::saturating_add)
    }

    /// Rows and columns of a tensor that is a matrix.
    pub(crate) fn matrix(&self) -> [usize; 2] {
        self.shape[..]
            .try_into()
            .expect("only matrices are transposed")
    }

    /// Checks that its variables are there, without reading them.
    pub(crate) fn check_present(
        &self,
        checkpoint: &Checkpoint,
    ) -> Result<(), tf_checkpoint::Error> {
        let mut variables = self.variables.iter();
        variables.try_for_each(|variable| checkpoint.check_present(variable))
    }

    /// The names of its variables, for people.
    pub fn variable_names(&self) -> String {
        let names: Vec<&str> = self.variables.iter().map(|v| v.name.as_str()).collect();
        names.join(" and ")
    }
}

/// Variables of one role that are not exported.
#[derive(Clone, Debug)]
pub struct LeftOut {
    /// What they are for.
    pub role: Role,
    /// Their names in the checkpoint, sorted.
    pub names: Vec<String>,
    /// Their bytes in the checkpoint.
    pub bytes: u64,
}

/// What will be exported, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The model.
    pub model: Model,
    /// The Hugging Face class that it is written for.
    pub head: ModelClass,
    /// The configuration and the source of each value.
    pub resolved: ResolvedConfig,
    /// The tensors, by name.
    pub tensors: Vec<PlannedTensor>,
    /// What is not exported, by role.
    pub left_out: Vec<LeftOut>,
    /// What the user should know although nothing failed.
    pub warnings: Vec<String>,
    /// The tokenizer to write, if there is a vocabulary.
    pub tokenizer: Option<TokenizerSetup>,
    /// How the export will not compute what the original graph did, if so.
    pub inexact: Option<String>,
    /// The head of a fine-tuned model.
    pub task: Option<TaskHead>,
    /// Which weights are written.
    pub weights: Weights,
}

impl Plan {
    /// The configuration to be written.
    pub fn config(&self) -> &ElectraConfig {
        &self.resolved.config
    }

    /// Number of exported weights.
    pub fn parameters(&self) -> usize {
        let counts = self.tensors.iter().map(PlannedTensor::elements);
        counts.fold(0, usize::saturating_add)
    }

    /// Number of bytes that the tensors take.
    pub fn bytes(&self) -> usize {
        let lengths = self.tensors.iter().map(PlannedTensor::bytes);
        lengths.fold(0, usize::saturating_add)
    }

    /// Takes the element type of each tensor from a file, to compare with it: how a tensor was written
    /// was the user's choice. Computed tensors have one type only.
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

    /// The element type for config.json: the one that all tensors have, or float32 where they
    /// differ, which holds every value of the others.
    pub fn dtype_name(&self) -> &'static str {
        let mut types = self.tensors.iter().map(|tensor| tensor.cast.to);
        match types.next() {
            Some(first) if types.all(|other| other == first) => torch_name(first),
            _ => torch_name(Dtype::F32),
        }
    }
}
