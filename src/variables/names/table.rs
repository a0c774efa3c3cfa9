//! The table of names: which TensorFlow variable is which Hugging Face tensor, of what shape.
//!
//! In a variable's name, `{W}` is the scope of the word embeddings, `{E}` that of the other embeddings, `{B}`
//! the scope of the body ([`Scopes`](super::scopes::Scopes)) and `{N}` the number of a layer.
//!
//! TensorFlow 2 code (Hugging Face's classes, and NVIDIA's, which are derived from them) has two names
//! for each variable: the full name, from the Keras layers around it, and the path through the attributes
//! of the objects, which is the key in an object-based checkpoint. Both are derived from `variable`, or
//! listed in the row.
//!
//! Sources: `model/modeling.py` and `pretrain/pretrain_helpers.py` in google-research/electra for the
//! variables, `models/electra/modeling_electra.py` in transformers for the tensors,
//! `modeling_tf_electra.py` there for Keras.

use std::sync::LazyLock;

use candle_electra::{Dim, ElectraConfig, Part, TENSORS, TensorSpec};

use super::scopes::{Scopes, TRANSFORMERS_HEAD};
use crate::variables::recipe::Recipe;

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Rule {
    /// The tensor, with its part and its shape.
    pub(crate) tensor: &'static TensorSpec,
    /// The name of the TensorFlow variable.
    pub(super) variable: &'static str,
    /// The names in TensorFlow 2 code, if they cannot be derived from `variable`: relative to the scope
    /// of the encoder, or to the model around a head.
    keras: &'static [&'static str],
}

/// Variable, tensor, and the names in TensorFlow 2 code that cannot be derived from the variable's.
type Row = (&'static str, &'static str, &'static [&'static str]);

/// The variables of an ELECTRA, from the embeddings to the pre-training heads.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("{W}/word_embeddings",                                    "electra.embeddings.word_embeddings.weight",                   &["embeddings/word_embeddings/weight", "embeddings/weight"]),
    ("{E}/position_embeddings",                                "electra.embeddings.position_embeddings.weight",               &["embeddings/position_embeddings/embeddings", "embeddings/embeddings"]),
    ("{E}/token_type_embeddings",                              "electra.embeddings.token_type_embeddings.weight",             &["embeddings/token_type_embeddings/embeddings", "embeddings/token_type_embeddings"]),
    ("{E}/LayerNorm/gamma",                                    "electra.embeddings.LayerNorm.weight",                         &[]),
    ("{E}/LayerNorm/beta",                                     "electra.embeddings.LayerNorm.bias",                           &[]),

    ("{B}/embeddings_project/kernel",                          "electra.embeddings_project.weight",                           &[]),
    ("{B}/embeddings_project/bias",                            "electra.embeddings_project.bias",                             &[]),

    ("{B}/encoder/layer_{N}/attention/self/query/kernel",      "electra.encoder.layer.{N}.attention.self.query.weight",       &[]),
    ("{B}/encoder/layer_{N}/attention/self/query/bias",        "electra.encoder.layer.{N}.attention.self.query.bias",         &[]),
    ("{B}/encoder/layer_{N}/attention/self/key/kernel",        "electra.encoder.layer.{N}.attention.self.key.weight",         &[]),
    ("{B}/encoder/layer_{N}/attention/self/key/bias",          "electra.encoder.layer.{N}.attention.self.key.bias",           &[]),
    ("{B}/encoder/layer_{N}/attention/self/value/kernel",      "electra.encoder.layer.{N}.attention.self.value.weight",       &[]),
    ("{B}/encoder/layer_{N}/attention/self/value/bias",        "electra.encoder.layer.{N}.attention.self.value.bias",         &[]),
    ("{B}/encoder/layer_{N}/attention/output/dense/kernel",    "electra.encoder.layer.{N}.attention.output.dense.weight",     &[]),
    ("{B}/encoder/layer_{N}/attention/output/dense/bias",      "electra.encoder.layer.{N}.attention.output.dense.bias",       &[]),
    ("{B}/encoder/layer_{N}/attention/output/LayerNorm/gamma", "electra.encoder.layer.{N}.attention.output.LayerNorm.weight", &[]),
    ("{B}/encoder/layer_{N}/attention/output/LayerNorm/beta",  "electra.encoder.layer.{N}.attention.output.LayerNorm.bias",   &[]),
    ("{B}/encoder/layer_{N}/intermediate/dense/kernel",        "electra.encoder.layer.{N}.intermediate.dense.weight",         &[]),
    ("{B}/encoder/layer_{N}/intermediate/dense/bias",          "electra.encoder.layer.{N}.intermediate.dense.bias",           &[]),
    ("{B}/encoder/layer_{N}/output/dense/kernel",              "electra.encoder.layer.{N}.output.dense.weight",               &[]),
    ("{B}/encoder/layer_{N}/output/dense/bias",                "electra.encoder.layer.{N}.output.dense.bias",                 &[]),
    ("{B}/encoder/layer_{N}/output/LayerNorm/gamma",           "electra.encoder.layer.{N}.output.LayerNorm.weight",           &[]),
    ("{B}/encoder/layer_{N}/output/LayerNorm/beta",            "electra.encoder.layer.{N}.output.LayerNorm.bias",             &[]),

    ("discriminator_predictions/dense/kernel",                 "discriminator_predictions.dense.weight",                      &[]),
    ("discriminator_predictions/dense/bias",                   "discriminator_predictions.dense.bias",                        &[]),
    ("discriminator_predictions/dense_1/kernel",               "discriminator_predictions.dense_prediction.weight",           &["discriminator_predictions/dense_prediction/kernel"]),
    ("discriminator_predictions/dense_1/bias",                 "discriminator_predictions.dense_prediction.bias",             &["discriminator_predictions/dense_prediction/bias"]),

    // The decoder's weight is the word embeddings and is not written: transformers ties it.
    ("generator_predictions/dense/kernel",                     "generator_predictions.dense.weight",                          &[]),
    ("generator_predictions/dense/bias",                       "generator_predictions.dense.bias",                            &[]),
    ("generator_predictions/LayerNorm/gamma",                  "generator_predictions.LayerNorm.weight",                      &[]),
    ("generator_predictions/LayerNorm/beta",                   "generator_predictions.LayerNorm.bias",                        &[]),
    ("generator_predictions/output_bias",                      "generator_lm_head.bias",                                      &["generator_lm_head/bias"]),
];

#[rustfmt::skip]
const TASK_HEAD_ROWS: &[Row] = &[
    ("classifier/kernel",               "classifier.weight",               &[]),
    ("classifier/bias",                 "classifier.bias",                 &[]),
    ("classifier/dense/kernel",         "classifier.dense.weight",         &[]),
    ("classifier/dense/bias",           "classifier.dense.bias",           &[]),
    ("classifier/out_proj/kernel",      "classifier.out_proj.weight",      &[]),
    ("classifier/out_proj/bias",        "classifier.out_proj.bias",        &[]),
    ("qa_outputs/kernel",               "qa_outputs.weight",               &[]),
    ("qa_outputs/bias",                 "qa_outputs.bias",                 &[]),
    ("sequence_summary/summary/kernel", "sequence_summary.summary.weight", &[]),
    ("sequence_summary/summary/bias",   "sequence_summary.summary.bias",   &[]),
];

/// All variables of an ELECTRA, from the embeddings to the pre-training heads.
pub(crate) static TABLE: LazyLock<Vec<Rule>> = LazyLock::new(|| rules(ROWS));

/// The fine-tuned heads of transformers' own classes, which only TensorFlow 2 code trains. Two classes may
/// have a variable of the same name; all variables of the head together identify the class (`tasks`).
pub(crate) static TASK_HEADS: LazyLock<Vec<Rule>> = LazyLock::new(|| rules(TASK_HEAD_ROWS));

fn rules(rows: &[Row]) -> Vec<Rule> {
    let rule = |&(variable, tensor, keras): &Row| Rule {
        tensor: TENSORS
            .iter()
            .find(|spec| spec.name == tensor)
            .expect("every row names a tensor of a class"),
        variable,
        keras,
    };
    rows.iter().map(rule).collect()
}

/// How object paths differ from full names inside a layer, by `modeling_tf_electra.py`: the name of the
/// Keras layer, and the name of the attribute that holds it.
const LAYER_ATTRIBUTES: &[(&str, &str)] = &[
    ("/attention/self/", "/attention/self_attention/"),
    ("/attention/output/", "/attention/dense_output/"),
    ("}/output/", "}/bert_output/"),
];

/// The length of `{W}`, `{E}` and `{B}`.
const PLACEHOLDER_LEN: usize = 3;

impl Rule {
    /// Returns the name of the variable in the given scopes and layer.
    pub(crate) fn variable(&self, scopes: Scopes, layer: usize) -> String {
        self.variable
            .replace("{W}", scopes.word_embeddings)
            .replace("{E}", scopes.embeddings)
            .replace("{B}", scopes.body)
            .replace("{N}", &layer.to_string())
    }

    /// Returns true for the word embeddings.
    pub(crate) fn is_word_embeddings(&self) -> bool {
        self.variable.starts_with("{W}")
    }

    /// Returns the scope that the variable is in; `None` for a head.
    pub(crate) fn scope(&self, scopes: Scopes) -> Option<&'static str> {
        match self.variable.get(..PLACEHOLDER_LEN)? {
            "{W}" => Some(scopes.word_embeddings),
            "{E}" => Some(scopes.embeddings),
            "{B}" => Some(scopes.body),
            _ => None,
        }
    }

    /// Returns the name of a head's variable; heads have no layers.
    pub(crate) fn head_variable(&self) -> String {
        match self.part() {
            Part::DiscriminatorHead | Part::GeneratorHead => self.variable.to_owned(),
            _ => format!("{TRANSFORMERS_HEAD}/{}", self.variable),
        }
    }

    /// Returns the part of the architecture that the variable belongs to.
    pub(crate) fn part(&self) -> Part {
        self.tensor.part
    }

    /// Returns the size of each axis of the variable.
    pub(crate) fn dims(&self) -> Vec<Dim> {
        self.recipe().reorder(self.tensor.shape)
    }

    /// Returns how the tensor is computed from the variable. TensorFlow multiplies by kernels from the
    /// right, `[in, out]`; PyTorch stores weights as `[out, in]`. Nothing else is transposed.
    pub(crate) fn recipe(&self) -> Recipe {
        if self.variable.ends_with("/kernel") {
            Recipe::Transpose
        } else {
            Recipe::Copy
        }
    }

    /// Returns the names of the variable in TensorFlow 2 code, as patterns: full names and object paths.
    pub(super) fn keras(&self) -> Vec<String> {
        if !self.keras.is_empty() {
            return self.keras.iter().map(|name| (*name).to_owned()).collect();
        }
        let name = self
            .variable
            .replace("{W}", "embeddings")
            .replace("{E}", "embeddings")
            .replace("{B}/", "");
        let path = LAYER_ATTRIBUTES
            .iter()
            .fold(name.clone(), |path, (layer, attribute)| {
                path.replace(layer, attribute)
            });
        vec![name, path]
    }
}

/// Returns every tensor of a model with the given head: its rule and its layer (0 outside of layers).
pub(crate) fn tensors(
    config: &ElectraConfig,
    head: Option<Part>,
) -> impl Iterator<Item = (&'static Rule, usize)> {
    TABLE.iter().flat_map(move |rule| {
        let count = rule.part().count(config, head);
        (0..count).map(move |layer| (rule, layer))
    })
}

/// Returns true if the tensor of this name is a transposed kernel.
pub(crate) fn is_transposed(tensor: &str) -> bool {
    let pattern = match tensor
        .split_once(".layer.")
        .and_then(|(_, rest)| rest.split_once('.'))
    {
        Some((digits, _)) => tensor.replacen(&format!(".layer.{digits}."), ".layer.{N}.", 1),
        None => tensor.to_owned(),
    };
    let mut rules = TABLE.iter().chain(TASK_HEADS.iter());
    let rule = rules.find(|rule| rule.tensor.name == pattern);
    rule.is_some_and(|rule| rule.recipe() == Recipe::Transpose)
}
