//! The configuration of one model, as transformers writes it.
//!
//! [`ElectraConfig`] is the only such type: inference makes it and config.json is its serde form.
//! Its keys are the union of those that transformers 4 and 5 save, in their order; either version
//! loads it without a warning.

use std::collections::BTreeMap;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};

use serde::{Deserialize, Serialize};

/// Labels of a head that names none, as transformers has it.
const DEFAULT_LABELS: usize = 2;
/// The release whose config.json this form follows.
const TRANSFORMERS_VERSION: &str = "5.23.0";

/// A config.json. Missing keys get transformers' defaults for ELECTRA, unknown ones are passed over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(
    missing_docs,
    clippy::struct_excessive_bools,
    reason = "the keys are those of transformers' ElectraConfig"
)]
pub struct ElectraConfig {
    pub add_cross_attention: bool,
    pub architectures: Vec<String>,
    pub attention_probs_dropout_prob: f64,
    pub bos_token_id: Option<u32>,
    pub classifier_dropout: Option<f64>,
    /// Written by transformers 5; 4 writes `torch_dtype`.
    pub dtype: Option<String>,
    pub embedding_size: usize,
    pub eos_token_id: Option<u32>,
    pub hidden_act: Activation,
    pub hidden_dropout_prob: f64,
    pub hidden_size: usize,
    /// Names of the labels of a fine-tuned head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id2label: Option<BTreeMap<usize, String>>,
    pub initializer_range: f64,
    pub intermediate_size: usize,
    pub is_decoder: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label2id: Option<BTreeMap<String, usize>>,
    /// The original code fixes it at 1e-12. A float in JSON: transformers 5 checks the type.
    pub layer_norm_eps: f64,
    pub max_position_embeddings: usize,
    pub model_type: String,
    pub num_attention_heads: usize,
    pub num_hidden_layers: usize,
    /// The length of `id2label`, where that is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_labels: Option<usize>,
    pub pad_token_id: Option<u32>,
    pub position_embedding_type: String,
    /// What the labels of a whole text are, for transformers' loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem_type: Option<String>,
    pub summary_activation: Option<String>,
    pub summary_last_dropout: f64,
    pub summary_type: String,
    pub summary_use_proj: bool,
    pub tie_word_embeddings: bool,
    pub torch_dtype: Option<String>,
    pub transformers_version: String,
    pub type_vocab_size: usize,
    pub use_cache: bool,
    pub vocab_size: usize,
}

impl Default for ElectraConfig {
    /// `ElectraConfig()` in transformers.
    fn default() -> Self {
        Self {
            add_cross_attention: false,
            architectures: Vec::new(),
            attention_probs_dropout_prob: 0.1,
            bos_token_id: None,
            classifier_dropout: None,
            dtype: None,
            embedding_size: 128,
            eos_token_id: None,
            hidden_act: Activation::Gelu,
            hidden_dropout_prob: 0.1,
            hidden_size: 256,
            id2label: None,
            initializer_range: 0.02,
            intermediate_size: 1024,
            is_decoder: false,
            label2id: None,
            layer_norm_eps: 1e-12,
            max_position_embeddings: 512,
            model_type: "electra".into(),
            num_attention_heads: 4,
            num_hidden_layers: 12,
            num_labels: None,
            pad_token_id: Some(0),
            position_embedding_type: "absolute".into(),
            problem_type: None,
            summary_activation: Some("gelu".into()),
            summary_last_dropout: 0.1,
            summary_type: "first".into(),
            summary_use_proj: true,
            tie_word_embeddings: true,
            torch_dtype: None,
            transformers_version: TRANSFORMERS_VERSION.into(),
            type_vocab_size: 2,
            use_cache: true,
            vocab_size: 30522,
        }
    }
}

impl ElectraConfig {
    /// Number of labels of a classification head.
    pub fn num_labels(&self) -> usize {
        let named = self.id2label.as_ref().map(BTreeMap::len);
        named.or(self.num_labels).unwrap_or(DEFAULT_LABELS)
    }

    /// The bytes of config.json, as `save_pretrained` lays them out.
    ///
    /// # Panics
    /// Never: every field has a JSON form.
    pub fn to_json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self).expect("plain data");
        json.push('\n');
        json
    }
}

/// The activation in the feed-forward part of a layer, `hidden_act`: those that transformers 4 and 5
/// both know by the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x · Φ(x)`, with erf.
    #[serde(alias = "gelu_python")]
    Gelu,
    /// The approximation of gelu with tanh.
    #[serde(
        alias = "gelu_fast",
        alias = "gelu_pytorch_tanh",
        alias = "gelu_accurate"
    )]
    GeluNew,
    /// `x` above 0, `0.01 · x` below.
    LeakyRelu,
    /// `x`
    Linear,
    /// `x · tanh(softplus(x))`
    Mish,
    /// `x · sigmoid(1.702 · x)`
    QuickGelu,
    /// `max(0, x)`
    Relu,
    /// `max(0, x)²`
    Relu2,
    /// `min(max(0, x), 6)`
    Relu6,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `x · sigmoid(x)`
    #[serde(alias = "swish")]
    Silu,
    /// Hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// All that can be named.
    pub const ALL: [Self; 12] = [
        Self::Gelu,
        Self::GeluNew,
        Self::LeakyRelu,
        Self::Linear,
        Self::Mish,
        Self::QuickGelu,
        Self::Relu,
        Self::Relu2,
        Self::Relu6,
        Self::Sigmoid,
        Self::Silu,
        Self::Tanh,
    ];

    /// The name in config.json.
    pub fn key(self) -> &'static str {
        match self {
            Self::Gelu => "gelu",
            Self::GeluNew => "gelu_new",
            Self::LeakyRelu => "leaky_relu",
            Self::Linear => "linear",
            Self::Mish => "mish",
            Self::QuickGelu => "quick_gelu",
            Self::Relu => "relu",
            Self::Relu2 => "relu2",
            Self::Relu6 => "relu6",
            Self::Sigmoid => "sigmoid",
            Self::Silu => "silu",
            Self::Tanh => "tanh",
        }
    }

    /// What it computes of one number, as `activations.py` in transformers has it.
    pub fn value(self, x: f64) -> f64 {
        match self {
            Self::Gelu => 0.5 * x * (1.0 + libm::erf(x * FRAC_1_SQRT_2)),
            Self::GeluNew => {
                let inner = FRAC_2_PI.sqrt() * (x + 0.044_715 * x * x * x);
                0.5 * x * (1.0 + inner.tanh())
            }
            Self::LeakyRelu => x.max(0.01 * x),
            Self::Linear => x,
            Self::Mish => x * softplus(x).tanh(),
            Self::QuickGelu => x * sigmoid(1.702 * x),
            Self::Relu => x.max(0.0),
            Self::Relu2 => x.max(0.0) * x.max(0.0),
            Self::Relu6 => x.clamp(0.0, 6.0),
            Self::Sigmoid => sigmoid(x),
            Self::Silu => x * sigmoid(x),
            Self::Tanh => x.tanh(),
        }
    }
}

/// `1 / (1 + exp(-x))`
pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `ln(1 + exp(x))`
pub(super) fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

impl std::fmt::Display for Activation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.key())
    }
}

/// The epsilon of a LayerNorm, `layer_norm_eps`: finite and not negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epsilon(f64);

impl Epsilon {
    /// An epsilon; `None` where it is negative or not a number.
    pub fn new(value: f64) -> Option<Self> {
        (value.is_finite() && value >= 0.0).then_some(Self(value))
    }

    /// The shortest decimal number that rounds to the same float32, which a graph computes in.
    pub(super) fn from_float32(value: f64) -> Self {
        #[allow(clippy::cast_possible_truncation, reason = "it is a float32")]
        let shortest = (value as f32).to_string().parse();
        Self(shortest.unwrap_or(value))
    }

    /// The number itself.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_have_one_name() {
        for activation in Activation::ALL {
            assert_eq!(
                serde_json::to_value(activation).unwrap(),
                activation.key(),
                "serde and key() must agree"
            );
        }
    }

    #[test]
    fn numbers_are_read_as_the_nearest_float() {
        for number in [
            "-52222222222222222222222222222222222222222222",
            "5.0e-324",
            "0.1e-5",
        ] {
            let json = format!(r#"{{"layer_norm_eps": {number}}}"#);
            let config: ElectraConfig = serde_json::from_str(&json).unwrap();
            assert_eq!(
                config.layer_norm_eps.to_bits(),
                number.parse::<f64>().unwrap().to_bits(),
                "{number}"
            );
        }
    }

    #[test]
    fn keys_are_sorted_and_floats_stay_floats() {
        let config = ElectraConfig {
            id2label: Some([(0, "a".into()), (10, "b".into())].into()),
            label2id: Some([("a".into(), 0)].into()),
            num_labels: Some(2),
            problem_type: Some("regression".into()),
            ..ElectraConfig::default()
        };
        let json = config.to_json();
        assert_eq!(
            serde_json::from_str::<ElectraConfig>(&json).unwrap(),
            config
        );
        let value: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&json).unwrap();
        assert!(value.keys().is_sorted());
        assert!(json.contains(r#""layer_norm_eps": 1e-12"#), "{json}");
    }
}
