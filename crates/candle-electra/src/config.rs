//! The configuration of a model, config.json.
//!
//! The keys of [`ElectraConfig`] are the union of those that transformers 4 and 5 save, in alphabetical
//! order; both versions load the file without a warning.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::activation::Activation;

/// The number of labels if config.json does not state it, as in transformers.
const DEFAULT_LABELS: usize = 2;
/// The release of transformers whose config.json this one follows.
const TRANSFORMERS_VERSION: &str = "5.23.0";

/// The contents of config.json. A missing key has the default of transformers' `ElectraConfig`; unknown
/// keys are ignored.
///
/// ```
/// use candle_electra::ElectraConfig;
///
/// let config: ElectraConfig = serde_json::from_str(r#"{"hidden_size": 768, "vocab_size": 64}"#)?;
/// assert_eq!((config.hidden_size, config.num_hidden_layers), (768, 12));
/// # Ok::<(), serde_json::Error>(())
/// ```
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
    /// Returns the number of labels: the length of `id2label`, else `num_labels`, else 2.
    pub fn num_labels(&self) -> usize {
        let named = self.id2label.as_ref().map(BTreeMap::len);
        named.or(self.num_labels).unwrap_or(DEFAULT_LABELS)
    }

    /// Returns the text of config.json in the layout of `save_pretrained`.
    ///
    /// # Panics
    /// Never: every field has a JSON form.
    pub fn to_json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self).expect("plain data");
        json.push('\n');
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_the_nearest_float() {
        for number in [
            "-5.222222222222222e+43",
            "0.012345678901234567",
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
