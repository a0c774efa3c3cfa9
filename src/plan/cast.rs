//! Element types of an export.

use safetensors::Dtype;
use tf_checkpoint::DType;

/// Element type of the exported tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetDtype {
    /// That of the variable; float64 becomes float32, which is all that the Hugging Face classes
    /// compute in.
    #[default]
    Keep,
    /// float32
    F32,
    /// float16
    F16,
    /// bfloat16
    Bf16,
}

impl TargetDtype {
    /// The element type to write, where `kept` is that of the variable.
    pub(super) fn or_kept(self, kept: Dtype) -> Dtype {
        match self {
            Self::Keep => kept,
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::BF16,
        }
    }
}

/// From which element type to which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cast {
    /// Type of the variable.
    pub from: DType,
    /// Type of the tensor.
    pub to: Dtype,
}

impl Cast {
    /// Of what is computed in float32 and written so.
    pub(crate) const NONE: Self = Self {
        from: DType::Float32,
        to: Dtype::F32,
    };

    /// The cast for a variable; `None` when it holds no floating-point numbers.
    pub(crate) fn new(from: DType, target: TargetDtype) -> Option<Self> {
        let kept = match from {
            DType::Float32 | DType::Float64 => Dtype::F32,
            DType::Float16 => Dtype::F16,
            DType::BFloat16 => Dtype::BF16,
            _ => return None,
        };
        let to = target.or_kept(kept);
        Some(Self { from, to })
    }

    /// True when nothing changes.
    pub(crate) fn is_none(self) -> bool {
        !self.is_lossy() && self.from.size() == Some(self.to_size())
    }

    /// Bytes an element of the tensor.
    pub(crate) fn to_size(self) -> usize {
        self.to.bitsize() / 8
    }

    /// True when a value may be rounded.
    pub fn is_lossy(self) -> bool {
        !matches!(
            (self.from, self.to),
            (
                DType::Float32 | DType::Float16 | DType::BFloat16,
                Dtype::F32
            ) | (DType::Float16, Dtype::F16)
                | (DType::BFloat16, Dtype::BF16)
        )
    }
}

/// PyTorch's name of an element type.
pub(crate) fn torch_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F16 => "float16",
        Dtype::BF16 => "bfloat16",
        _ => "float32",
    }
}
