//! The one table of names: which TensorFlow variable is which Hugging Face tensor, of what shape.
//!
//! Planning, config inference, roles and verification all ask this table. `{E}` is the scope of the
//! embeddings and `{B}` that of the body, which depend on how a checkpoint was trained
//! ([`TrainingSetup`](super::TrainingSetup)); `{N}` is a layer.
//!
//! TensorFlow 2 code (Hugging Face's classes, and NVIDIA's, which are derived from them) has two names
//! for each variable: the full name, from the Keras layers around it, and the path through the attributes
//! of the objects, which is the key in an object-based checkpoint. Both are in this table: they follow
//! from `variable`, or are listed in the rule's `keras`. Heads that only transformers has are in
//! `TASK_HEADS`.
//!
//! Sources: `model/modeling.py` and `pretrain/pretrain_helpers.py` in google-research/electra for
//! the left column, `models/electra/modeling_electra.py` in transformers for the right one,
//! `modeling_tf_electra.py` there for Keras.

use std::collections::HashMap;
use std::sync::LazyLock;

use candle_electra::{Dim, ElectraConfig, Part, TENSORS, TensorSpec};

use crate::variables::recipe::Recipe;

/// One line of the table.
#[derive(Debug)]
pub struct Rule {
    /// The tensor, with its part and its shape.
    pub tensor: &'static TensorSpec,
    /// Name of the TensorFlow variable.
    variable: &'static str,
    /// Names in TensorFlow 2 code that do not follow from `variable`: of an encoder below its scope,
    /// of a head below its model.
    keras: &'static [&'static str],
}

/// Variable, tensor, and the names in TensorFlow 2 code that do not follow from the variable's.
type Row = (&'static str, &'static str, &'static [&'static str]);

fn rules(rows: &[Row]) -> Vec<Rule> {
    let rule = |&(variable, tensor, keras): &Row| Rule {
        tensor: TENSORS
            .iter()
            .find(|spec| spec.name == tensor)
            .expect("a tensor of a class"),
        variable,
        keras,
    };
    rows.iter().map(rule).collect()
}

/// Every variable of an ELECTRA, embeddings to heads.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("{E}/word_embeddings",                                    "electra.embeddings.word_embeddings.weight",                   &["embeddings/word_embeddings/weight", "embeddings/weight"]),
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

/// Every variable of an ELECTRA, embeddings to heads.
pub static TABLE: LazyLock<Vec<Rule>> = LazyLock::new(|| rules(ROWS));

/// Where the variables of [`TASK_HEADS`] are, once they have the names of this table.
pub(crate) const TASK_HEAD_SCOPE: &str = "transformers";

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

/// The heads of transformers' own classes for fine-tuning, which only TensorFlow 2 code trains. Two
/// classes may have a variable of the same name; the whole head shows which it is (`tasks`).
pub(crate) static TASK_HEADS: LazyLock<Vec<Rule>> = LazyLock::new(|| rules(TASK_HEAD_ROWS));

/// How object paths differ from full names in a layer, by `modeling_tf_electra.py`: the name of the
/// Keras layer, the name of the attribute that holds it.
const LAYER_ATTRIBUTES: &[(&str, &str)] = &[
    ("/attention/self/", "/attention/self_attention/"),
    ("/attention/output/", "/attention/dense_output/"),
    ("}/output/", "}/bert_output/"),
];

/// The TensorFlow scopes that one model's variables are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scopes {
    /// `{E}`: `electra/embeddings` or `generator/embeddings`.
    pub embeddings: &'static str,
    /// `{B}`: `electra` or `generator`.
    pub body: &'static str,
}

/// The scope of a layer, such as `electra/encoder/layer_0`.
pub(crate) fn layer_scope(scopes: Scopes, layer: usize) -> String {
    format!("{}/encoder/layer_{layer}", scopes.body)
}

/// True when the tensor of this name is a transposed kernel.
pub fn is_transposed(tensor: &str) -> bool {
    let pattern = match tensor
        .split_once(".layer.")
        .and_then(|(_, rest)| rest.split_once('.'))
    {
        Some((digits, _)) => tensor.replacen(&format!(".layer.{digits}."), ".layer.{N}.", 1),
        None => tensor.to_owned(),
    };
    let mut rules = TABLE.iter().chain(TASK_HEADS.iter());
    let rule = rules.find(|rule| rule.tensor.name == pattern);
    rule.is_some_and(Rule::is_transposed)
}

/// Where the embeddings can be.
pub const ELECTRA_EMBEDDINGS: &str = "electra/embeddings";
/// Where a generator's own embeddings are.
pub const GENERATOR_EMBEDDINGS: &str = "generator/embeddings";
/// The body of the discriminator, and of a generator that is tied to it.
pub const ELECTRA_BODY: &str = "electra";
/// The body of a generator of its own.
pub const GENERATOR_BODY: &str = "generator";
/// The scopes of a discriminator.
pub const ELECTRA: Scopes = Scopes {
    embeddings: ELECTRA_EMBEDDINGS,
    body: ELECTRA_BODY,
};
/// The scopes of a generator that shares nothing.
pub const GENERATOR: Scopes = Scopes {
    embeddings: GENERATOR_EMBEDDINGS,
    body: GENERATOR_BODY,
};

impl Rule {
    /// Name of the variable in the given scopes and layer.
    pub fn variable(&self, scopes: Scopes, layer: usize) -> String {
        self.variable
            .replace("{E}", scopes.embeddings)
            .replace("{B}", scopes.body)
            .replace("{N}", &layer.to_string())
    }

    /// The name of a head's variable in its scope; heads have no layers.
    pub(crate) fn head_variable(&self) -> String {
        match self.part() {
            Part::DiscriminatorHead | Part::GeneratorHead => self.variable.to_owned(),
            _ => format!("{TASK_HEAD_SCOPE}/{}", self.variable),
        }
    }

    /// The part of the architecture that it belongs to.
    pub fn part(&self) -> Part {
        self.tensor.part
    }

    /// Size of each axis of the variable.
    pub fn dims(&self) -> Vec<Dim> {
        let mut dims = self.tensor.shape.to_vec();
        if self.is_transposed() {
            dims.reverse();
        }
        dims
    }

    /// How the tensor is made from the variable.
    pub fn recipe(&self) -> Recipe {
        if self.is_transposed() {
            Recipe::Transpose
        } else {
            Recipe::Copy
        }
    }

    /// Names of the variable in TensorFlow 2 code, as patterns: full names and object paths.
    fn keras(&self) -> Vec<String> {
        if !self.keras.is_empty() {
            return self.keras.iter().map(|name| (*name).to_owned()).collect();
        }
        let name = self
            .variable
            .replace("{E}", "embeddings")
            .replace("{B}/", "");
        let path = LAYER_ATTRIBUTES
            .iter()
            .fold(name.clone(), |path, (layer, attribute)| {
                path.replace(layer, attribute)
            });
        vec![name, path]
    }

    /// TensorFlow multiplies by kernels from the right, `[in, out]`; PyTorch keeps weights as
    /// `[out, in]`. Nothing else is transposed.
    pub fn is_transposed(&self) -> bool {
        self.variable.ends_with("/kernel")
    }
}

/// Every tensor of a model with the given head: its rule and its layer (0 outside of layers).
pub fn tensors(
    config: &ElectraConfig,
    head: Option<Part>,
) -> impl Iterator<Item = (&'static Rule, usize)> {
    TABLE.iter().flat_map(move |rule| {
        let count = rule.part().count(config, head);
        (0..count).map(move |layer| (rule, layer))
    })
}

/// The rule that a variable's name follows, with the scopes and the layer that it names.
#[derive(Debug)]
pub struct Match {
    /// The line of the table.
    pub rule: &'static Rule,
    /// The scope in place of `{E}` or `{B}`; `None` for a head.
    pub scope: Option<&'static str>,
    /// The number in place of `{N}`.
    pub layer: Option<usize>,
}

/// Looks a variable's name up in the table.
pub fn lookup(name: &str) -> Option<Match> {
    const PLACEHOLDERS: [(&str, &str); 4] = [
        (ELECTRA_EMBEDDINGS, "{E}"),
        (GENERATOR_EMBEDDINGS, "{E}"),
        (ELECTRA_BODY, "{B}"),
        (GENERATOR_BODY, "{B}"),
    ];
    // A name that spells a placeholder out would match its rule.
    if name.contains('{') {
        return None;
    }
    if let Some(head) = name
        .strip_prefix(TASK_HEAD_SCOPE)
        .and_then(|rest| rest.strip_prefix('/'))
    {
        let rule = TASK_HEADS.iter().find(|rule| rule.variable == head)?;
        return Some(Match {
            rule,
            scope: None,
            layer: None,
        });
    }
    let (scope, pattern) = PLACEHOLDERS
        .into_iter()
        .find_map(|(scope, placeholder)| {
            let rest = name.strip_prefix(scope)?.strip_prefix('/')?;
            Some((Some(scope), format!("{placeholder}/{rest}")))
        })
        .unwrap_or_else(|| (None, name.to_owned()));
    let (layer, pattern) = take_layer(&pattern, "/layer_");
    let rule = TABLE.iter().find(|rule| rule.variable == pattern)?;
    Some(Match { rule, scope, layer })
}

/// The rule that a name in TensorFlow 2 code follows.
#[derive(Debug)]
pub(crate) struct KerasMatch {
    /// The line of the table.
    pub(crate) rule: &'static Rule,
    /// The number in place of `{N}`.
    pub(crate) layer: Option<usize>,
    /// What is before the part that the table knows: the scope of the encoder, or of the head's model.
    pub(crate) scope: String,
}

/// Every name in TensorFlow 2 code, as a pattern.
static KERAS: LazyLock<HashMap<String, &'static Rule>> = LazyLock::new(|| {
    let rules = TABLE.iter().chain(TASK_HEADS.iter());
    rules
        .flat_map(|rule| rule.keras().into_iter().map(move |name| (name, rule)))
        .collect()
});

/// The most components of a pattern, `layer/{N}` counted as two.
const KERAS_DEPTH: usize = 7;

/// Looks a full name or an object path of TensorFlow 2 code up in the table. Only the last components
/// are looked at, so that the time is linear in the length of the name.
pub(crate) fn lookup_keras(name: &str) -> Option<KerasMatch> {
    if name.contains('{') {
        return None;
    }
    let ends = name.rmatch_indices('/').map(|(at, _)| (at, at + 1));
    ends.chain([(0, 0)])
        .take(KERAS_DEPTH)
        .find_map(|(end, start)| {
            let tail = &name[start..];
            let (layer, pattern) = match take_layer(tail, "/layer_._") {
                (None, _) => take_layer(tail, "/layer/"),
                found => found,
            };
            let rule = *KERAS.get(&pattern)?;
            Some(KerasMatch {
                rule,
                layer,
                scope: name[..end].to_owned(),
            })
        })
}

/// Puts `{N}` for the number behind `mark` and the `/layer_` of the table before it.
fn take_layer(name: &str, mark: &str) -> (Option<usize>, String) {
    let number = name.split_once(mark).and_then(|(before, rest)| {
        let (digits, after) = rest.split_once('/')?;
        let layer: usize = digits.parse().ok()?;
        // `layer_07` and `layer_+7` are not what anybody writes.
        (layer.to_string() == digits)
            .then(|| (Some(layer), format!("{before}/layer_{{N}}/{after}")))
    });
    number.unwrap_or_else(|| (None, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_found_by_the_name_it_makes() {
        let scopes = Scopes {
            embeddings: GENERATOR_EMBEDDINGS,
            body: GENERATOR_BODY,
        };
        for rule in TABLE.iter() {
            let name = rule.variable(scopes, 11);
            let found = lookup(&name).unwrap_or_else(|| panic!("{name}"));
            assert!(std::ptr::eq(found.rule, rule), "{name}");
            assert_eq!(
                found.layer,
                (rule.part() == Part::Layer).then_some(11),
                "{name}"
            );
        }
    }

    #[test]
    fn keras_names_follow_the_table() {
        for rule in TABLE.iter().chain(TASK_HEADS.iter()) {
            for pattern in rule.keras() {
                let depth = pattern.replace("layer_{N}", "layer/{N}").split('/').count();
                assert!(depth <= KERAS_DEPTH, "{pattern}");
                for layer in ["layer_._11", "layer/11"] {
                    let name = pattern.replace("layer_{N}", layer);
                    for scope in ["", "electra", "a/tf_electra_for_masked_lm_1/electra"] {
                        let name = format!("{scope}/{name}");
                        let name = name.trim_start_matches('/');
                        let found = lookup_keras(name).unwrap_or_else(|| panic!("{name}"));
                        assert!(std::ptr::eq(found.rule, rule), "{name}");
                        assert_eq!(
                            found.layer,
                            (rule.part() == Part::Layer).then_some(11),
                            "{name}"
                        );
                        assert_eq!(found.scope, scope);
                    }
                }
            }
        }
        for name in [
            "electra/encoder/layer_0/output/dense/kernel",
            "electra/encoder/layer_._01/output/dense/kernel",
            "electra/encoder/layer/01/bert_output/dense/kernel",
            "electra/embeddings/word_embeddings",
            "my_embeddings/LayerNorm/gamma",
            "electra/embeddings/LayerNorm/gamma/m",
            "xclassifier/kernel",
        ] {
            assert!(lookup_keras(name).is_none(), "{name}");
        }
    }

    #[test]
    fn a_name_of_many_slashes_takes_linear_time() {
        // In quadratic time it would take hours.
        for part in ["/", "a/", "layer_._0/", "/layer/"] {
            let name = part.repeat(2_000_000);
            assert!(lookup_keras(&name).is_none());
            let found = lookup_keras(&format!("{name}/classifier/kernel")).unwrap();
            assert_eq!(found.scope, name);
        }
    }

    #[test]
    fn names_off_the_table_are_not_found() {
        for name in [
            "electra/encoder/layer_01/output/dense/kernel",
            "electra/encoder/layer_+1/output/dense/kernel",
            "electra/encoder/layer_{N}/output/dense/kernel",
            "electra/encoder/layer_0/output/dense/kernel/adam_m",
            "discriminator/embeddings/word_embeddings",
            "electra/embeddings",
            "",
        ] {
            assert!(lookup(name).is_none(), "{name}");
        }
    }
}
