//! Element types of an export.

use safetensors::Dtype;
use tf_checkpoint::DType;

/// The element type of the exported tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetDtype {
    /// The type of the variable, but float32 for float64: the Hugging Face classes do not compute in
    /// float64.
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
    /// Returns the name in options; `None` for the default.
    pub(crate) fn key(self) -> Option<&'static str> {
        match self {
            Self::Keep => None,
            Self::F32 => Some("f32"),
            Self::F16 => Some("f16"),
            Self::Bf16 => Some("bf16"),
        }
    }

    /// Returns the element type to write; `kept` is the type that [`Keep`](Self::Keep) gives.
    pub(super) fn or_kept(self, kept: Dtype) -> Dtype {
        match self {
            Self::Keep => kept,
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::BF16,
        }
    }
}

/// A conversion of the elements of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cast {
    /// The type of the variable.
    pub from: DType,
    /// The type of the tensor.
    pub to: Dtype,
}

impl Cast {
    /// The cast of computed tensors: computed and written in float32.
    pub(crate) const NONE: Self = Self {
        from: DType::Float32,
        to: Dtype::F32,
    };

    /// Returns the cast for a variable; `None` if it does not hold floating-point numbers.
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

    /// Returns true if the bytes do not change.
    pub(crate) fn is_none(self) -> bool {
        !self.is_lossy() && self.from.size() == Some(self.to_size())
    }

    /// Returns the number of bytes of an element of the tensor.
    pub(crate) fn to_size(self) -> usize {
        self.to.bitsize() / 8
    }

    /// Returns the number of bytes that `len` bytes of the variable have in the tensor.
    pub(crate) fn written_len(self, len: usize) -> usize {
        len / self.source_size() * self.to_size()
    }

    /// Returns the number of bytes of an element of the variable.
    pub(crate) fn source_size(self) -> usize {
        let size = self.from.size();
        size.expect("only floating-point types are planned")
    }

    /// Returns true if the cast may round values.
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

/// Returns PyTorch's name of an element type.
pub(crate) fn torch_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F16 => "float16",
        Dtype::BF16 => "bfloat16",
        _ => "float32",
    }
}
