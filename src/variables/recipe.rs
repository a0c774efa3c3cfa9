//! How a tensor is made from the variables of a checkpoint.

/// What is done with the variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipe {
    /// The tensor is the variable.
    Copy,
    /// It is the variable with its two axes swapped: a kernel `[in, out]`.
    Transpose,
    /// Its rows are the variables: kernels `[hidden, 1]`, or biases `[1]`.
    Stack,
    /// 1 on the diagonal and 0 elsewhere, from no variable.
    Identity,
    /// What lifts every output of a LayerNorm (gamma, beta) to where gelu is the identity.
    GeluOffset,
    /// What is left of a bias when its inputs were lifted (bias, kernel, gamma, beta).
    CompensatedBias,
}

impl Recipe {
    /// The name in JSON.
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

    /// True when the tensor has exactly the numbers of one variable.
    pub fn is_reversible(self) -> bool {
        matches!(self, Self::Copy | Self::Transpose)
    }

    /// True when numbers are computed that no variable holds; in float32, whatever the variables
    /// are.
    pub fn is_computed(self) -> bool {
        matches!(
            self,
            Self::Identity | Self::GeluOffset | Self::CompensatedBias
        )
    }
}
