//! The epsilon of a LayerNorm.

/// The epsilon of a LayerNorm, `layer_norm_eps`: finite and not negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epsilon(f64);

impl Epsilon {
    /// Creates an epsilon; `None` if the value is negative, infinite or not a number.
    pub fn new(value: f64) -> Option<Self> {
        (value.is_finite() && value >= 0.0).then_some(Self(value))
    }

    /// Creates an epsilon from a value of a graph, which computes in float32: the shortest decimal number
    /// that rounds to the same float32.
    pub(crate) fn from_float32(value: f64) -> Self {
        #[allow(clippy::cast_possible_truncation, reason = "it is a float32")]
        let shortest = (value as f32).to_string().parse();
        Self(shortest.unwrap_or(value))
    }

    /// Returns the value.
    pub fn value(self) -> f64 {
        self.0
    }
}

impl std::fmt::Display for Epsilon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:e}", self.0)
    }
}

impl std::str::FromStr for Epsilon {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let value = text.parse().ok().and_then(Self::new);
        value.ok_or_else(|| "expected a number of 0 or more, such as 1e-12".to_owned())
    }
}
