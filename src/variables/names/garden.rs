//! The object paths of TensorFlow's Model Garden (`official/nlp`), as data: which path is which variable of
//! the original code.
//!
//! An encoder is saved in one of two spellings. A functional Keras model numbers its layers that have weights
//! (`layer_with_weights-5`), and the number of a block depends on whether there is a projection of the
//! embeddings. A subclassed model has the names of its attributes (`_transformer_layers/0`). Inside a layer
//! both have the same paths. The kernels of the attention have an axis for the heads:
//! `[hidden, heads, head size]` for query, key and value, `[heads, head size, hidden]` for the output.
//!
//! Sources: `modeling/networks/bert_encoder.py`, `modeling/layers/transformer_encoder_block.py`,
//! `modeling/layers/masked_lm.py` and `modeling/models/electra_pretrainer.py` in tf-models-official 2.20, and
//! the checkpoints that they save.

use super::table::{Rule, TABLE, TASK_HEADS};

/// A variable of a layer: the path inside the layer, the variable in the table of names, and the axis of the
/// latter that is divided into heads.
type Row = (&'static str, &'static str, Option<usize>);

/// The layers before the first block, in the order of the functional model: attribute, variables.
#[rustfmt::skip]
const STEM: &[(&str, &[Row])] = &[
    ("_embedding_layer",          &[("embeddings", "{W}/word_embeddings", None)]),
    ("_position_embedding_layer", &[("embeddings", "{E}/position_embeddings", None)]),
    ("_type_embedding_layer",     &[("embeddings", "{E}/token_type_embeddings", None)]),
    ("_embedding_norm_layer",     &[("gamma",      "{E}/LayerNorm/gamma", None),
                                    ("beta",       "{E}/LayerNorm/beta", None)]),
    ("_embedding_projection",     &[("kernel",     "{B}/embeddings_project/kernel", None),
                                    ("bias",       "{B}/embeddings_project/bias", None)]),
];

/// The place in [`STEM`] of the only layer that may be missing.
const PROJECTION: usize = 4;

/// The attribute that lists the blocks.
const BLOCKS: &str = "_transformer_layers";

/// The variables of a block.
#[rustfmt::skip]
const BLOCK: &[Row] = &[
    ("_attention_layer/_query_dense/kernel",  "{B}/encoder/layer_{N}/attention/self/query/kernel",      Some(1)),
    ("_attention_layer/_query_dense/bias",    "{B}/encoder/layer_{N}/attention/self/query/bias",        Some(0)),
    ("_attention_layer/_key_dense/kernel",    "{B}/encoder/layer_{N}/attention/self/key/kernel",        Some(1)),
    ("_attention_layer/_key_dense/bias",      "{B}/encoder/layer_{N}/attention/self/key/bias",          Some(0)),
    ("_attention_layer/_value_dense/kernel",  "{B}/encoder/layer_{N}/attention/self/value/kernel",      Some(1)),
    ("_attention_layer/_value_dense/bias",    "{B}/encoder/layer_{N}/attention/self/value/bias",        Some(0)),
    ("_attention_layer/_output_dense/kernel", "{B}/encoder/layer_{N}/attention/output/dense/kernel",    Some(0)),
    ("_attention_layer/_output_dense/bias",   "{B}/encoder/layer_{N}/attention/output/dense/bias",      None),
    ("_attention_layer_norm/gamma",           "{B}/encoder/layer_{N}/attention/output/LayerNorm/gamma", None),
    ("_attention_layer_norm/beta",            "{B}/encoder/layer_{N}/attention/output/LayerNorm/beta",  None),
    ("_intermediate_dense/kernel",            "{B}/encoder/layer_{N}/intermediate/dense/kernel",        None),
    ("_intermediate_dense/bias",              "{B}/encoder/layer_{N}/intermediate/dense/bias",          None),
    ("_output_dense/kernel",                  "{B}/encoder/layer_{N}/output/dense/kernel",              None),
    ("_output_dense/bias",                    "{B}/encoder/layer_{N}/output/dense/bias",                None),
    ("_output_layer_norm/gamma",              "{B}/encoder/layer_{N}/output/LayerNorm/gamma",           None),
    ("_output_layer_norm/beta",               "{B}/encoder/layer_{N}/output/LayerNorm/beta",            None),
];

/// The attribute of the layer behind the last block: a dense layer on the first token, which no ELECTRA has.
const POOLER: &str = "_pooler_layer";
/// The variables of a dense layer.
const DENSE: &[&str] = &["kernel", "bias"];

/// The heads of `ElectraPretrainer`, relative to its path. The slash in the name of the output bias is
/// escaped as `.S`.
#[rustfmt::skip]
const HEADS: &[(&str, &str)] = &[
    ("discriminator_projection/kernel", "discriminator_predictions/dense/kernel"),
    ("discriminator_projection/bias",   "discriminator_predictions/dense/bias"),
    ("discriminator_head/kernel",       "discriminator_predictions/dense_1/kernel"),
    ("discriminator_head/bias",         "discriminator_predictions/dense_1/bias"),
    ("masked_lm/dense/kernel",          "generator_predictions/dense/kernel"),
    ("masked_lm/dense/bias",            "generator_predictions/dense/bias"),
    ("masked_lm/layer_norm/gamma",      "generator_predictions/LayerNorm/gamma"),
    ("masked_lm/layer_norm/beta",       "generator_predictions/LayerNorm/beta"),
    ("masked_lm/output_bias.Sbias",     "generator_predictions/output_bias"),
];

/// The word embeddings of the generator, which the head of the generator holds too.
const EMBEDDING_TABLE: &str = "masked_lm/embedding_table";
/// The head for the next sentence on the generator, without any use in ELECTRA.
const SENTENCE_HEAD: &str = "classification/";
const SENTENCE_LAYERS: &[&str] = &["dense", "out_proj"];

/// The heads of fine-tuning that transformers' classes have too: the end of the path, the end of the full
/// name, and the variable in the table of names. `BertTokenClassifier` is a dense layer on every token,
/// `BertSpanLabeler` one with the start and the end of an answer, inside a model of its own. The head of
/// `BertClassifier` applies tanh to a hidden layer, which no class does.
#[rustfmt::skip]
const FINE_TUNED: &[(&str, &str, &str)] = &[
    ("layer_with_weights-1/kernel",                      "predictions/transform/logits/kernel", "classifier/kernel"),
    ("layer_with_weights-1/bias",                        "predictions/transform/logits/bias",   "classifier/bias"),
    ("layer_with_weights-1/layer_with_weights-0/kernel", "predictions/transform/logits/kernel", "qa_outputs/kernel"),
    ("layer_with_weights-1/layer_with_weights-0/bias",   "predictions/transform/logits/bias",   "qa_outputs/bias"),
];

/// The name of a numbered layer of a functional model, before its number.
const NUMBERED: &str = "layer_with_weights-";

/// The largest number of components of a path inside a layer, and of a head's path.
const DEPTH: usize = 3;

/// A layer in the path of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum GardenLayer {
    /// `layer_with_weights-N`.
    Numbered(usize),
    /// A layer before the first block, by its place in [`STEM`].
    Stem(usize),
    /// A block.
    Block(usize),
    /// The layer behind the last block.
    Pooler,
}

/// The path of a variable in a layer of an encoder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GardenPath<'a> {
    /// The path of the encoder.
    pub(crate) scope: &'a str,
    pub(crate) layer: GardenLayer,
    /// The path inside the layer.
    pub(crate) inner: &'a str,
}

/// A variable of a head.
#[derive(Clone, Copy, Debug)]
pub(crate) enum GardenHead {
    /// A variable in the table of names.
    Known(&'static Rule),
    /// The word embeddings of the generator.
    Words,
    /// A variable of the head for the next sentence.
    Sentence,
}

/// A variable of an encoder in the table of names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GardenVariable {
    pub(crate) rule: &'static Rule,
    /// The axis of the original code's variable that is divided into heads.
    pub(crate) head_axis: Option<usize>,
}

impl<'a> GardenPath<'a> {
    /// Parses the path of a variable; `None` if it is in no layer of an encoder. Only the last components
    /// are compared, so that the time is linear in the length of the path.
    pub(crate) fn parse(path: &'a str) -> Option<Self> {
        let cuts = path.rmatch_indices('/').take(DEPTH);
        cuts.map(|(at, _)| (&path[..at], &path[at + 1..]))
            .find_map(|(before, inner)| {
                let (scope, layer) = GardenLayer::at_end_of(before)?;
                layer.may_have(inner).then_some(Self {
                    scope,
                    layer,
                    inner,
                })
            })
    }

    /// Returns true if only a block has such a path inside a layer.
    pub(crate) fn is_of_block(&self) -> bool {
        row(BLOCK, self.inner).is_some()
    }

    /// Returns true for a variable of a dense layer.
    pub(crate) fn is_dense(&self) -> bool {
        DENSE.contains(&self.inner)
    }
}

impl GardenLayer {
    /// Splits the path of a layer into the path of its encoder and the layer.
    fn at_end_of(path: &str) -> Option<(&str, Self)> {
        let (scope, last) = path.rsplit_once('/').unwrap_or(("", path));
        if let Some(digits) = last.strip_prefix(NUMBERED) {
            return Some((scope, Self::Numbered(number(digits)?)));
        }
        if last == POOLER {
            return Some((scope, Self::Pooler));
        }
        if let Some(at) = STEM.iter().position(|(attribute, _)| *attribute == last) {
            return Some((scope, Self::Stem(at)));
        }
        let (scope, blocks) = scope.rsplit_once('/').unwrap_or(("", scope));
        (blocks == BLOCKS).then_some((scope, Self::Block(number(last)?)))
    }

    fn may_have(self, inner: &str) -> bool {
        match self {
            Self::Numbered(_) => {
                let mut stem = STEM.iter();
                row(BLOCK, inner).is_some() || stem.any(|(_, rows)| row(rows, inner).is_some())
            }
            Self::Pooler => DENSE.contains(&inner),
            _ => self.variable(inner).is_some(),
        }
    }

    /// Returns the layer of a functional model with this number. Without a projection the first block has the
    /// projection's number.
    pub(crate) fn numbered(number: usize, has_projection: bool) -> Self {
        let stem = PROJECTION + usize::from(has_projection);
        if number < stem {
            Self::Stem(number)
        } else {
            Self::Block(number - stem)
        }
    }

    /// Returns true if a layer with this number is a projection or a block.
    pub(crate) fn may_be_projection(number: usize) -> bool {
        number == PROJECTION
    }

    /// Returns the variable of the layer with this path inside it.
    pub(crate) fn variable(self, inner: &str) -> Option<GardenVariable> {
        let rows = match self {
            Self::Stem(at) => STEM.get(at)?.1,
            Self::Block(_) => BLOCK,
            Self::Numbered(_) | Self::Pooler => return None,
        };
        let (_, variable, head_axis) = row(rows, inner)?;
        Some(GardenVariable {
            rule: rule(variable),
            head_axis: *head_axis,
        })
    }

    /// Returns the number of a block.
    pub(crate) fn block(self) -> Option<usize> {
        match self {
            Self::Block(block) => Some(block),
            _ => None,
        }
    }
}

impl GardenHead {
    /// Parses the path and the full name of a variable; `None` if it is in no known head.
    pub(crate) fn parse(path: &str, full_name: Option<&str>) -> Option<Self> {
        if let Some(full_name) = full_name
            && let Some(row) = FINE_TUNED
                .iter()
                .find(|(end, name, _)| is_last(path, end) && is_last(full_name, name))
        {
            let mut rules = TASK_HEADS.iter();
            return rules.find(|rule| rule.variable == row.2).map(Self::Known);
        }
        let starts = path.rmatch_indices('/').map(|(at, _)| at + 1);
        starts
            .chain([0])
            .take(DEPTH)
            .find_map(|start| head_variable(&path[start..]))
    }
}

/// Returns true if the last components of a path are these.
fn is_last(path: &str, end: &str) -> bool {
    let before = path.strip_suffix(end);
    before.is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

fn head_variable(path: &str) -> Option<GardenHead> {
    if path == EMBEDDING_TABLE {
        return Some(GardenHead::Words);
    }
    if let Some(rest) = path.strip_prefix(SENTENCE_HEAD) {
        let (layer, inner) = rest.split_once('/')?;
        let is_known = SENTENCE_LAYERS.contains(&layer) && DENSE.contains(&inner);
        return is_known.then_some(GardenHead::Sentence);
    }
    let row = HEADS.iter().find(|(head, _)| *head == path)?;
    Some(GardenHead::Known(rule(row.1)))
}

fn row<'r>(rows: &'r [Row], inner: &str) -> Option<&'r Row> {
    rows.iter().find(|(path, ..)| *path == inner)
}

fn rule(variable: &str) -> &'static Rule {
    let mut rules = TABLE.iter();
    rules
        .find(|rule| rule.variable == variable)
        .expect("every row names a row of the table of names")
}

/// Parses a number as the code writes it: not `07`, nor `+7`.
fn number(digits: &str) -> Option<usize> {
    let number: usize = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

#[cfg(test)]
mod tests {
    use candle_electra::Part;

    use super::*;

    #[test]
    fn every_variable_of_a_pre_trained_model_has_one_path() {
        let stem = STEM.iter().flat_map(|(_, rows)| rows.iter());
        let rows = stem.chain(BLOCK).map(|(_, variable, _)| *variable);
        let mut found: Vec<&str> = rows.chain(HEADS.iter().map(|row| row.1)).collect();
        let mut expected: Vec<&str> = TABLE.iter().map(|rule| rule.variable).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }

    #[test]
    fn both_spellings_are_parsed() {
        for scope in ["", "encoder", "model/layer_with_weights-0"] {
            let path = |rest: String| format!("{scope}/{rest}").trim_start_matches('/').to_owned();
            for (inner, variable, _) in BLOCK {
                for (layer, expected) in [
                    ("layer_with_weights-17", GardenLayer::Numbered(17)),
                    ("_transformer_layers/11", GardenLayer::Block(11)),
                ] {
                    let path = path(format!("{layer}/{inner}"));
                    let found = GardenPath::parse(&path).unwrap_or_else(|| panic!("{path}"));
                    assert_eq!((found.scope, found.layer), (scope, expected), "{path}");
                    assert_eq!(found.inner, *inner);
                    assert!(found.is_of_block());
                    let found = GardenLayer::Block(11).variable(inner).unwrap();
                    assert_eq!(found.rule.variable, *variable);
                    assert_eq!(found.rule.part(), Part::Layer);
                }
            }
            for (at, (attribute, rows)) in STEM.iter().enumerate() {
                for (inner, ..) in *rows {
                    let path = path(format!("{attribute}/{inner}"));
                    let found = GardenPath::parse(&path).unwrap_or_else(|| panic!("{path}"));
                    assert_eq!((found.scope, found.layer), (scope, GardenLayer::Stem(at)));
                }
            }
            for (head, _) in HEADS {
                let path = path((*head).to_owned());
                assert!(GardenHead::parse(&path, None).is_some(), "{path}");
            }
        }
        for other in [
            "encoder/layer_with_weights-05/kernel",
            "encoder/layer_with_weights-5/_attention_layer/_query_dense/scale",
            "encoder/_transformer_layers/0/kernel",
            "encoder/_embedding_layer/kernel",
            "encoder/transformer_layers/0/_output_dense/kernel",
            "encoder/dense/kernel",
            "_output_dense/kernel",
            "",
        ] {
            assert!(GardenPath::parse(other).is_none(), "{other}");
        }
        for other in [
            "my_masked_lm/dense/kernel",
            "masked_lm/kernel",
            "classification/x/kernel",
        ] {
            assert!(GardenHead::parse(other, None).is_none(), "{other}");
        }
    }

    #[test]
    fn heads_of_fine_tuning_need_their_full_name() {
        for (path, full_name, variable) in FINE_TUNED {
            for scope in ["", "model/"] {
                let path = format!("{scope}{path}");
                let Some(GardenHead::Known(rule)) = GardenHead::parse(&path, Some(full_name))
                else {
                    panic!("{path}");
                };
                assert_eq!(rule.variable, *variable, "{path}");
                assert!(GardenHead::parse(&path, None).is_none());
                assert!(GardenHead::parse(&path, Some("pooler_transform/kernel")).is_none());
                let other = format!("my_{full_name}");
                assert!(GardenHead::parse(&path, Some(&other)).is_none());
            }
        }
    }

    #[test]
    fn the_number_of_the_first_block_depends_on_the_projection() {
        assert_eq!(GardenLayer::numbered(3, false), GardenLayer::Stem(3));
        assert_eq!(
            GardenLayer::numbered(4, true),
            GardenLayer::Stem(PROJECTION)
        );
        assert_eq!(GardenLayer::numbered(4, false), GardenLayer::Block(0));
        assert_eq!(GardenLayer::numbered(5, true), GardenLayer::Block(0));
    }

    #[test]
    fn paths_of_many_slashes_take_linear_time() {
        // In quadratic time it would take hours.
        for part in ["/", "a/", "layer_with_weights-0/", "_transformer_layers/"] {
            let path = part.repeat(2_000_000);
            assert!(GardenPath::parse(&path).is_none());
            assert!(GardenHead::parse(&path, None).is_none());
        }
    }
}
