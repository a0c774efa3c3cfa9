//! The one table of tensors: name, shape, and the part of the architecture that has it.
//!
//! `{N}` is the number of a layer. Source: `models/electra/modeling_electra.py` in transformers.

use std::fmt;

use crate::config::ElectraConfig;

use Dim::{Embedding, Hidden, Intermediate, Labels, One, Position, TokenType, Vocab};
use Part::{
    DiscriminatorHead, Embeddings, GeneratorHead, Layer, MultipleChoiceHead, Projection,
    QuestionAnsweringHead, SequenceClassificationHead, TokenClassificationHead,
};

/// A size that the architecture names.
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
    /// Always 1.
    One,
}

impl Dim {
    /// Returns the key in config.json.
    pub fn key(self) -> &'static str {
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

/// The part of the architecture that a tensor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Word, position and token type embeddings with their LayerNorm.
    Embeddings,
    /// From embedding size to hidden size; absent where the two are equal.
    Projection,
    /// One layer of the encoder.
    Layer,
    /// Which tokens were replaced.
    DiscriminatorHead,
    /// Which token is at each position.
    GeneratorHead,
    /// A label for each token.
    TokenClassificationHead,
    /// A label for each sequence.
    SequenceClassificationHead,
    /// Start and end of an answer.
    QuestionAnsweringHead,
    /// A score for each choice.
    MultipleChoiceHead,
}

impl Part {
    /// True for the head of a class for fine-tuning.
    pub fn is_task_head(self) -> bool {
        matches!(
            self,
            TokenClassificationHead
                | SequenceClassificationHead
                | QuestionAnsweringHead
                | MultipleChoiceHead
        )
    }

    /// Returns how often a model has this part; `head` is the head of its class.
    pub fn count(self, config: &ElectraConfig, head: Option<Self>) -> usize {
        match self {
            Embeddings => 1,
            Projection => usize::from(config.embedding_size != config.hidden_size),
            Layer => config.num_hidden_layers,
            _ => usize::from(head == Some(self)),
        }
    }
}

/// One row of the table.
#[derive(Debug)]
pub struct TensorSpec {
    /// The part that the tensor belongs to.
    pub part: Part,
    /// Its name, with `{N}` in place of a layer's number.
    pub name: &'static str,
    /// Size of each axis.
    pub shape: &'static [Dim],
}

impl TensorSpec {
    /// Returns the name in the given layer.
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

/// Every tensor of every class, except a decoder weight that is tied to the word embeddings.
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
