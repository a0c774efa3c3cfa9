//! How a tensor is computed from the variables of a checkpoint.

/// The computation of a tensor from variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recipe {
    /// The variable, unchanged.
    Copy,
    /// The variable with its two axes swapped: a kernel `[in, out]` becomes a weight `[out, in]`.
    Transpose,
    /// One row per variable: kernels `[hidden, 1]`, or biases `[1]`.
    Stack,
    /// The identity matrix; uses no variable.
    Identity,
    /// An offset that moves every output of a LayerNorm (gamma, beta) to where gelu is the identity.
    GeluOffset,
    /// A bias minus the effect of the offset on its layer (bias, kernel, gamma, beta).
    CompensatedBias,
}

impl Recipe {
    /// Returns the name in JSON.
    pub fn key(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Transpose => "transpose",
            Self::Stack => "stack",
            Self::Identity => "identity",
            Self::GeluOffset => "gelu_offset",
            Self::CompensatedBias => "compensated_bias",
        }
    }

    /// Converts the axes of the variable to those of the tensor. A transposition is its own inverse, so
    /// that the same call converts the axes of the tensor to those of the variable.
    pub(crate) fn reorder<T: Clone>(self, axes: &[T]) -> Vec<T> {
        let mut axes = axes.to_vec();
        if self == Self::Transpose {
            axes.reverse();
        }
        axes
    }

    /// Returns true if the tensor has exactly the numbers of one variable.
    pub fn is_reversible(self) -> bool {
        matches!(self, Self::Copy | Self::Transpose)
    }

    /// Returns true if the tensor has numbers that no variable holds. They are computed and written in
    /// float32, whatever the type of the variables.
    pub fn is_computed(self) -> bool {
        matches!(
            self,
            Self::Identity | Self::GeluOffset | Self::CompensatedBias
        )
    }
}
