//! The table of tensors: the part of the architecture, name and shape of each.
//!
//! Source: `models/electra/modeling_electra.py` in transformers.

use std::fmt;

use crate::config::ElectraConfig;

use Dim::{Embedding, Hidden, Intermediate, Labels, One, Position, TokenType, Vocab};
use Part::{
    DiscriminatorHead, Embeddings, GeneratorHead, Layer, MultipleChoiceHead, Projection,
    QuestionAnsweringHead, SequenceClassificationHead, TokenClassificationHead,
};

/// The size of an axis, by its key in config.json.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// `num_labels`
    Labels,
    /// The constant 1.
    One,
}

impl Dim {
    /// Returns the key in config.json; `1` for [`One`].
    pub const fn key(self) -> &'static str {
        match self {
            Vocab => "vocab_size",
            Embedding => "embedding_size",
            Position => "max_position_embeddings",
            TokenType => "type_vocab_size",
            Hidden => "hidden_size",
            Intermediate => "intermediate_size",
            Labels => "num_labels",
            One => "1",
        }
    }

    /// Returns the size in a configuration.
    pub fn size(self, config: &ElectraConfig) -> usize {
        match self {
            Vocab => config.vocab_size,
            Embedding => config.embedding_size,
            Position => config.max_position_embeddings,
            TokenType => config.type_vocab_size,
            Hidden => config.hidden_size,
            Intermediate => config.intermediate_size,
            Labels => config.num_labels(),
            One => 1,
        }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// A part of the architecture, to which tensors belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Word, position and token type embeddings, and their LayerNorm.
    Embeddings,
    /// The projection from embedding size to hidden size; absent if the two are equal.
    Projection,
    /// One layer of the encoder.
    Layer,
    /// The head of the discriminator.
    DiscriminatorHead,
    /// The head of the generator and of the causal language model.
    GeneratorHead,
    /// The head for the classification of tokens.
    TokenClassificationHead,
    /// The head for the classification of sequences.
    SequenceClassificationHead,
    /// The head for question answering.
    QuestionAnsweringHead,
    /// The head for multiple choice.
    MultipleChoiceHead,
}

impl Part {
    /// Returns true for the heads that are trained by fine-tuning.
    pub fn is_task_head(self) -> bool {
        matches!(
            self,
            TokenClassificationHead
                | SequenceClassificationHead
                | QuestionAnsweringHead
                | MultipleChoiceHead
        )
    }

    /// Returns the number of times that a model has this part: the number of layers for [`Part::Layer`],
    /// else 0 or 1. `head` is the head of the model's class.
    pub fn count(self, config: &ElectraConfig, head: Option<Self>) -> usize {
        match self {
            Embeddings => 1,
            Projection => usize::from(config.embedding_size != config.hidden_size),
            Layer => config.num_hidden_layers,
            _ => usize::from(head == Some(self)),
        }
    }
}

/// A row of [`TENSORS`]: a tensor, or one that each layer has.
#[derive(Debug)]
#[non_exhaustive]
pub struct TensorSpec {
    /// The part that the tensor belongs to.
    pub part: Part,
    /// The name, with `{N}` in place of the number of a layer.
    pub name: &'static str,
    /// The size of each axis.
    pub shape: &'static [Dim],
}

impl TensorSpec {
    /// Returns the name in layer `layer`, counted from 0.
    pub fn name_in(&self, layer: usize) -> String {
        self.name.replace("{N}", &layer.to_string())
    }

    /// Returns the shape in a model with this configuration.
    pub fn shape_in(&self, config: &ElectraConfig) -> Vec<usize> {
        self.shape.iter().map(|dim| dim.size(config)).collect()
    }
}

const fn spec(part: Part, name: &'static str, shape: &'static [Dim]) -> TensorSpec {
    TensorSpec { part, name, shape }
}

/// The tensors of all classes, in the order in which a model loads them, layer by layer; without
/// [`DECODER_WEIGHT`](crate::DECODER_WEIGHT), which is optional.
#[rustfmt::skip]
pub static TENSORS: &[TensorSpec] = &[
    spec(Embeddings, "electra.embeddings.word_embeddings.weight",       &[Vocab, Embedding]),
    spec(Embeddings, "electra.embeddings.position_embeddings.weight",   &[Position, Embedding]),
    spec(Embeddings, "electra.embeddings.token_type_embeddings.weight", &[TokenType, Embedding]),
    spec(Embeddings, "electra.embeddings.LayerNorm.weight",             &[Embedding]),
    spec(Embeddings, "electra.embeddings.LayerNorm.bias",               &[Embedding]),

    spec(Projection, "electra.embeddings_project.weight", &[Hidden, Embedding]),
    spec(Projection, "electra.embeddings_project.bias",   &[Hidden]),

    spec(Layer, "electra.encoder.layer.{N}.attention.self.query.weight",       &[Hidden, Hidden]),
    spec(Layer, "electra.encoder.layer.{N}.attention.self.query.bias",         &[Hidden]),
    spec(Layer, "electra.encoder.layer.{N}.attention.self.key.weight",         &[Hidden, Hidden]),
    spec(Layer, "electra.encoder.layer.{N}.attention.self.key.bias",           &[Hidden]),
    spec(Layer, "electra.encoder.layer.{N}.attention.self.value.weight",       &[Hidden, Hidden]),
    spec(Layer, "electra.encoder.layer.{N}.attention.self.value.bias",         &[Hidden]),
    spec(Layer, "electra.encoder.layer.{N}.attention.output.dense.weight",     &[Hidden, Hidden]),
    spec(Layer, "electra.encoder.layer.{N}.attention.output.dense.bias",       &[Hidden]),
    spec(Layer, "electra.encoder.layer.{N}.attention.output.LayerNorm.weight", &[Hidden]),
    spec(Layer, "electra.encoder.layer.{N}.attention.output.LayerNorm.bias",   &[Hidden]),
    spec(Layer, "electra.encoder.layer.{N}.intermediate.dense.weight",         &[Intermediate, Hidden]),
    spec(Layer, "electra.encoder.layer.{N}.intermediate.dense.bias",           &[Intermediate]),
    spec(Layer, "electra.encoder.layer.{N}.output.dense.weight",               &[Hidden, Intermediate]),
    spec(Layer, "electra.encoder.layer.{N}.output.dense.bias",                 &[Hidden]),
    spec(Layer, "electra.encoder.layer.{N}.output.LayerNorm.weight",           &[Hidden]),
    spec(Layer, "electra.encoder.layer.{N}.output.LayerNorm.bias",             &[Hidden]),

    spec(DiscriminatorHead, "discriminator_predictions.dense.weight",            &[Hidden, Hidden]),
    spec(DiscriminatorHead, "discriminator_predictions.dense.bias",              &[Hidden]),
    spec(DiscriminatorHead, "discriminator_predictions.dense_prediction.weight", &[One, Hidden]),
    spec(DiscriminatorHead, "discriminator_predictions.dense_prediction.bias",   &[One]),

    spec(GeneratorHead, "generator_predictions.dense.weight",     &[Embedding, Hidden]),
    spec(GeneratorHead, "generator_predictions.dense.bias",       &[Embedding]),
    spec(GeneratorHead, "generator_predictions.LayerNorm.weight", &[Embedding]),
    spec(GeneratorHead, "generator_predictions.LayerNorm.bias",   &[Embedding]),
    spec(GeneratorHead, "generator_lm_head.bias",                 &[Vocab]),

    spec(TokenClassificationHead, "classifier.weight", &[Labels, Hidden]),
    spec(TokenClassificationHead, "classifier.bias",   &[Labels]),

    spec(SequenceClassificationHead, "classifier.dense.weight",    &[Hidden, Hidden]),
    spec(SequenceClassificationHead, "classifier.dense.bias",      &[Hidden]),
    spec(SequenceClassificationHead, "classifier.out_proj.weight", &[Labels, Hidden]),
    spec(SequenceClassificationHead, "classifier.out_proj.bias",   &[Labels]),

    spec(QuestionAnsweringHead, "qa_outputs.weight", &[Labels, Hidden]),
    spec(QuestionAnsweringHead, "qa_outputs.bias",   &[Labels]),

    spec(MultipleChoiceHead, "sequence_summary.summary.weight", &[Hidden, Hidden]),
    spec(MultipleChoiceHead, "sequence_summary.summary.bias",   &[Hidden]),
    spec(MultipleChoiceHead, "classifier.weight",               &[One, Hidden]),
    spec(MultipleChoiceHead, "classifier.bias",                 &[One]),
];
