//! The one table of names: which TensorFlow variable is which Hugging Face tensor, of what shape.
//!
//! Planning, config inference, roles and verification all ask this table. `{E}` is the scope of the
//! embeddings and `{B}` that of the body, which depend on how a checkpoint was trained
//! ([`super::setup`]); `{N}` is a layer.
//!
//! TensorFlow 2 code calls most variables the same below `electra`, and its layers `layer_._{N}`; what
//! it calls otherwise is in the rule's `keras`. NVIDIA's code is derived from Hugging Face's, and has
//! the same names.
//!
//! Sources: `model/modeling.py` and `pretrain/pretrain_helpers.py` in google-research/electra for
//! the left column, `models/electra/modeling_electra.py` in transformers for the right one,
//! `modeling_tf_electra.py` there for Keras.

use std::fmt;

use Dim::{Embedding, Hidden, Intermediate, One, Position, TokenType, Vocab};
use Part::{DiscriminatorHead, Embeddings, GeneratorHead, Layer, Projection};

use super::ElectraConfig;

/// A size that the architecture names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dim {
    /// `vocab_size`
    Vocab,
    /// `embedding_size`
    Embedding,
    /// `max_position_embeddings`
    Position,
    /// `type_vocab_size`
    TokenType,
    /// `hidden_size`
    Hidden,
    /// `intermediate_size`
    Intermediate,
    /// Always 1.
    One,
}

impl Dim {
    /// The key in config.json.
    pub fn key(self) -> &'static str {
        match self {
            Vocab => "vocab_size",
            Embedding => "embedding_size",
            Position => "max_position_embeddings",
            TokenType => "type_vocab_size",
            Hidden => "hidden_size",
            Intermediate => "intermediate_size",
            One => "1",
        }
    }
}

impl Dim {
    /// The size that a configuration gives it.
    pub fn size(self, config: &ElectraConfig) -> usize {
        match self {
            Vocab => config.vocab_size,
            Embedding => config.embedding_size,
            Position => config.max_position_embeddings,
            TokenType => config.type_vocab_size,
            Hidden => config.hidden_size,
            Intermediate => config.intermediate_size,
            One => 1,
        }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// The part of the architecture that a tensor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Word, position and token type embeddings with their LayerNorm.
    Embeddings,
    /// From embedding size to hidden size; absent when the two are equal.
    Projection,
    /// One layer of the encoder.
    Layer,
    /// Which tokens were replaced.
    DiscriminatorHead,
    /// Which tokens were masked.
    GeneratorHead,
}

/// One line of the table.
#[derive(Debug)]
pub struct Rule {
    /// The part that it belongs to.
    pub part: Part,
    /// Name of the TensorFlow variable.
    variable: &'static str,
    /// Name of the Hugging Face tensor.
    tensor: &'static str,
    /// Shape of the TensorFlow variable.
    pub shape: &'static [Dim],
    /// What Keras calls the variable, where it does not follow from `variable`.
    keras: Option<&'static str>,
}

const fn rule(
    part: Part,
    variable: &'static str,
    tensor: &'static str,
    shape: &'static [Dim],
) -> Rule {
    Rule {
        part,
        variable,
        tensor,
        shape,
        keras: None,
    }
}

impl Rule {
    const fn keras_name(mut self, name: &'static str) -> Self {
        self.keras = Some(name);
        self
    }
}

/// Every tensor of an ELECTRA, embeddings to heads.
#[rustfmt::skip]
pub static TABLE: &[Rule] = &[
    rule(Embeddings, "{E}/word_embeddings",       "electra.embeddings.word_embeddings.weight",       &[Vocab, Embedding]).keras_name("electra/embeddings/word_embeddings/weight"),
    rule(Embeddings, "{E}/position_embeddings",   "electra.embeddings.position_embeddings.weight",   &[Position, Embedding]).keras_name("electra/embeddings/position_embeddings/embeddings"),
    rule(Embeddings, "{E}/token_type_embeddings", "electra.embeddings.token_type_embeddings.weight", &[TokenType, Embedding]).keras_name("electra/embeddings/token_type_embeddings/embeddings"),
    rule(Embeddings, "{E}/LayerNorm/gamma",       "electra.embeddings.LayerNorm.weight",             &[Embedding]),
    rule(Embeddings, "{E}/LayerNorm/beta",        "electra.embeddings.LayerNorm.bias",               &[Embedding]),

    rule(Projection, "{B}/embeddings_project/kernel", "electra.embeddings_project.weight", &[Embedding, Hidden]),
    rule(Projection, "{B}/embeddings_project/bias",   "electra.embeddings_project.bias",   &[Hidden]),

    rule(Layer, "{B}/encoder/layer_{N}/attention/self/query/kernel",     "electra.encoder.layer.{N}.attention.self.query.weight",       &[Hidden, Hidden]),
    rule(Layer, "{B}/encoder/layer_{N}/attention/self/query/bias",       "electra.encoder.layer.{N}.attention.self.query.bias",         &[Hidden]),
    rule(Layer, "{B}/encoder/layer_{N}/attention/self/key/kernel",       "electra.encoder.layer.{N}.attention.self.key.weight",         &[Hidden, Hidden]),
    rule(Layer, "{B}/encoder/layer_{N}/attention/self/key/bias",         "electra.encoder.layer.{N}.attention.self.key.bias",           &[Hidden]),
    rule(Layer, "{B}/encoder/layer_{N}/attention/self/value/kernel",     "electra.encoder.layer.{N}.attention.self.value.weight",       &[Hidden, Hidden]),
    rule(Layer, "{B}/encoder/layer_{N}/attention/self/value/bias",       "electra.encoder.layer.{N}.attention.self.value.bias",         &[Hidden]),
    rule(Layer, "{B}/encoder/layer_{N}/attention/output/dense/kernel",   "electra.encoder.layer.{N}.attention.output.dense.weight",     &[Hidden, Hidden]),
    rule(Layer, "{B}/encoder/layer_{N}/attention/output/dense/bias",     "electra.encoder.layer.{N}.attention.output.dense.bias",       &[Hidden]),
    rule(Layer, "{B}/encoder/layer_{N}/attention/output/LayerNorm/gamma", "electra.encoder.layer.{N}.attention.output.LayerNorm.weight", &[Hidden]),
    rule(Layer, "{B}/encoder/layer_{N}/attention/output/LayerNorm/beta", "electra.encoder.layer.{N}.attention.output.LayerNorm.bias",   &[Hidden]),
    rule(Layer, "{B}/encoder/layer_{N}/intermediate/dense/kernel",       "electra.encoder.layer.{N}.intermediate.dense.weight",         &[Hidden, Intermediate]),
    rule(Layer, "{B}/encoder/layer_{N}/intermediate/dense/bias",         "electra.encoder.layer.{N}.intermediate.dense.bias",           &[Intermediate]),
    rule(Layer, "{B}/encoder/layer_{N}/output/dense/kernel",             "electra.encoder.layer.{N}.output.dense.weight",               &[Intermediate, Hidden]),
    rule(Layer, "{B}/encoder/layer_{N}/output/dense/bias",               "electra.encoder.layer.{N}.output.dense.bias",                 &[Hidden]),
    rule(Layer, "{B}/encoder/layer_{N}/output/LayerNorm/gamma",          "electra.encoder.layer.{N}.output.LayerNorm.weight",           &[Hidden]),
    rule(Layer, "{B}/encoder/layer_{N}/output/LayerNorm/beta",           "electra.encoder.layer.{N}.output.LayerNorm.bias",             &[Hidden]),

    rule(DiscriminatorHead, "discriminator_predictions/dense/kernel",   "discriminator_predictions.dense.weight",            &[Hidden, Hidden]),
    rule(DiscriminatorHead, "discriminator_predictions/dense/bias",     "discriminator_predictions.dense.bias",              &[Hidden]),
    rule(DiscriminatorHead, "discriminator_predictions/dense_1/kernel", "discriminator_predictions.dense_prediction.weight", &[Hidden, One]).keras_name("discriminator_predictions/dense_prediction/kernel"),
    rule(DiscriminatorHead, "discriminator_predictions/dense_1/bias",   "discriminator_predictions.dense_prediction.bias",   &[One]).keras_name("discriminator_predictions/dense_prediction/bias"),

    // The decoder's weight is the word embeddings and is not written: transformers ties it.
    rule(GeneratorHead, "generator_predictions/dense/kernel",    "generator_predictions.dense.weight",     &[Hidden, Embedding]),
    rule(GeneratorHead, "generator_predictions/dense/bias",      "generator_predictions.dense.bias",       &[Embedding]),
    rule(GeneratorHead, "generator_predictions/LayerNorm/gamma", "generator_predictions.LayerNorm.weight", &[Embedding]),
    rule(GeneratorHead, "generator_predictions/LayerNorm/beta",  "generator_predictions.LayerNorm.bias",   &[Embedding]),
    rule(GeneratorHead, "generator_predictions/output_bias",     "generator_lm_head.bias",                 &[Vocab]).keras_name("generator_lm_head/bias"),
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
pub(super) fn layer_scope(scopes: Scopes, layer: usize) -> String {
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
    let rule = TABLE.iter().find(|rule| rule.tensor == pattern);
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

    /// True when Keras calls the variable otherwise than the original code.
    pub(super) fn has_keras_name(&self) -> bool {
        self.keras.is_some()
    }

    /// What Keras calls the variable below the name of its model.
    fn keras(&self) -> String {
        match self.keras {
            Some(name) => name.to_owned(),
            None => self
                .variable
                .replace("{E}", ELECTRA.embeddings)
                .replace("{B}", ELECTRA.body),
        }
    }

    /// Name of the tensor in the given layer.
    pub fn tensor(&self, layer: usize) -> String {
        self.tensor.replace("{N}", &layer.to_string())
    }

    /// TensorFlow multiplies by kernels from the right, `[in, out]`; PyTorch keeps weights as
    /// `[out, in]`. Nothing else is transposed.
    pub fn is_transposed(&self) -> bool {
        self.variable.ends_with("/kernel")
    }

    /// Shape of the tensor.
    pub fn tensor_shape(&self, config: &ElectraConfig) -> Vec<usize> {
        let mut shape: Vec<usize> = self.shape.iter().map(|dim| dim.size(config)).collect();
        if self.is_transposed() {
            shape.reverse();
        }
        shape
    }
}

/// Every tensor of a model with the given head: its rule and its layer (0 outside of layers).
pub fn tensors(
    config: &ElectraConfig,
    head: Option<Part>,
) -> impl Iterator<Item = (&'static Rule, usize)> {
    let layers = config.num_hidden_layers;
    let has_projection = config.embedding_size != config.hidden_size;
    TABLE.iter().flat_map(move |rule| {
        let times = match rule.part {
            Embeddings => 1,
            Projection => usize::from(has_projection),
            Layer => layers,
            DiscriminatorHead | GeneratorHead => usize::from(head == Some(rule.part)),
        };
        (0..times).map(move |layer| (rule, layer))
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

/// The rule that a Keras variable's name follows.
#[derive(Debug)]
pub(super) struct KerasMatch {
    /// The line of the table.
    pub(super) rule: &'static Rule,
    /// The number in place of `{N}`.
    pub(super) layer: Option<usize>,
    /// Where the part of the name starts that the table knows; before it is the name of the model.
    pub(super) start: usize,
}

/// Looks a Keras variable's name up in the table.
pub(super) fn lookup_keras(name: &str) -> Option<KerasMatch> {
    if name.contains('{') {
        return None;
    }
    let (layer, pattern) = take_layer(name, "/layer_._");
    let starts = pattern.match_indices('/').map(|(at, _)| at + 1);
    std::iter::once(0).chain(starts).find_map(|start| {
        let rule = TABLE.iter().find(|rule| rule.keras() == pattern[start..])?;
        Some(KerasMatch { rule, layer, start })
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
        for rule in TABLE {
            let name = rule.variable(scopes, 11);
            let found = lookup(&name).unwrap_or_else(|| panic!("{name}"));
            assert!(std::ptr::eq(found.rule, rule), "{name}");
            assert_eq!(found.layer, (rule.part == Layer).then_some(11), "{name}");
        }
    }

    #[test]
    fn keras_names_follow_the_table() {
        for rule in TABLE {
            let name = rule.keras().replace("layer_{N}", "layer_._11");
            for model in ["", "tf_electra_model/", "a/tf_electra_for_masked_lm_1/"] {
                let name = format!("{model}{name}");
                let found = lookup_keras(&name).unwrap_or_else(|| panic!("{name}"));
                assert!(std::ptr::eq(found.rule, rule), "{name}");
                assert_eq!(found.layer, (rule.part == Layer).then_some(11), "{name}");
                assert_eq!(&name[..found.start], model);
            }
        }
        for name in [
            "electra/encoder/layer_0/output/dense/kernel",
            "electra/encoder/layer_._01/output/dense/kernel",
            "electra/embeddings/word_embeddings",
            "my_electra/embeddings/LayerNorm/gamma",
            "electra/embeddings/LayerNorm/gamma/m",
        ] {
            assert!(lookup_keras(name).is_none(), "{name}");
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
