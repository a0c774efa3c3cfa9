//! The seven classes with a head: an [`ElectraModel`] and a small network on its hidden states.
//!
//! A head can be used alone on hidden states (`…Head::forward`), so that several heads share one pass of
//! the encoder. There is no dropout.

use candle_core::{D, Result, Tensor};
use candle_nn::{Init, VarBuilder};

use crate::activation::Activation;
use crate::batch::Batch;
use crate::class::SPAN_OUTPUTS;
use crate::config::ElectraConfig;
use crate::encoder::Attend;
use crate::linear::{Linear, linear};
use crate::model::ElectraModel;
use crate::norm::LayerNorm;

/// The head `discriminator_predictions` of [`ElectraForPreTraining`]: was this token replaced?
#[derive(Clone, Debug)]
pub struct DiscriminatorHead {
    dense: Linear,
    activation: Activation,
    prediction: Linear,
}

impl DiscriminatorHead {
    /// Loads `discriminator_predictions.*` below `vb`.
    pub fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        let vb = vb.pp("discriminator_predictions");
        let hidden = config.hidden_size;
        Ok(Self {
            dense: linear(hidden, hidden, config, vb.pp("dense"))?,
            activation: config.hidden_act,
            prediction: linear(hidden, 1, config, vb.pp("dense_prediction"))?,
        })
    }

    /// `[batch, sequence, hidden]` to logits `[batch, sequence]`.
    pub fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        let inner = self.dense.forward_activated(hidden, self.activation)?;
        self.prediction.forward(&inner)?.squeeze(D::Minus1)
    }
}

/// `ElectraGeneratorPredictions`: hidden states to the vectors that a decoder compares with the embeddings
/// of all tokens.
#[derive(Clone, Debug)]
pub struct GeneratorPredictions {
    dense: Linear,
    norm: LayerNorm,
}

impl GeneratorPredictions {
    /// Loads `generator_predictions.*` below `vb`.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape than `config` implies.
    pub fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        let (hidden, width) = (config.hidden_size, config.embedding_size);
        let vb = vb.pp("generator_predictions");
        Ok(Self {
            dense: linear(hidden, width, config, vb.pp("dense"))?,
            norm: LayerNorm::load(width, config.layer_norm_eps, vb.pp("LayerNorm"))?,
        })
    }

    /// `[…, hidden]` to `[…, embedding]`.
    ///
    /// The activation is always gelu, as in `ElectraGeneratorPredictions` of transformers; `hidden_act`
    /// has no effect.
    pub fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        let inner = self.dense.forward_activated(hidden, Activation::Gelu)?;
        self.norm.forward(&inner)
    }
}

/// The head `generator_predictions`, `generator_lm_head` of the language models: which token is it?
#[derive(Clone, Debug)]
pub struct LanguageModelHead {
    predictions: GeneratorPredictions,
    decoder: Linear,
}

impl LanguageModelHead {
    /// Loads `generator_predictions.*` and `generator_lm_head.*` below `vb`. Without
    /// `generator_lm_head.weight` the decoder is tied to `word_embeddings`, `[vocabulary, embedding]`.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape than `config` implies.
    pub fn load(
        vb: VarBuilder<'_>,
        config: &ElectraConfig,
        word_embeddings: &Tensor,
    ) -> Result<Self> {
        let predictions = GeneratorPredictions::load(vb.clone(), config)?;
        let decoder = vb.pp("generator_lm_head");
        let weight = if decoder.contains_tensor("weight") {
            decoder.get((config.vocab_size, config.embedding_size), "weight")?
        } else {
            word_embeddings.clone()
        };
        let bias = decoder.get_with_hints(config.vocab_size, "bias", Init::Const(0.0))?;
        Ok(Self {
            predictions,
            decoder: Linear::new(weight, bias),
        })
    }

    /// `[batch, sequence, hidden]` to logits `[batch, sequence, vocabulary]`.
    pub fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        self.decoder.forward(&self.predictions.forward(hidden)?)
    }
}

/// The head of [`ElectraForTokenClassification`]: `classifier` on every token.
#[derive(Clone, Debug)]
pub struct TokenClassificationHead {
    classifier: Linear,
}

impl TokenClassificationHead {
    /// Loads `classifier.*` below `vb`.
    pub fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        let (hidden, labels) = (config.hidden_size, config.num_labels());
        Ok(Self {
            classifier: linear(hidden, labels, config, vb.pp("classifier"))?,
        })
    }

    /// `[batch, sequence, hidden]` to logits `[batch, sequence, labels]`.
    pub fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        self.classifier.forward(hidden)
    }
}

/// The head of [`ElectraForSequenceClassification`]: `classifier.dense`, gelu, `classifier.out_proj` on the
/// first token.
#[derive(Clone, Debug)]
pub struct SequenceClassificationHead {
    dense: Linear,
    projection: Linear,
}

impl SequenceClassificationHead {
    /// Loads `classifier.*` below `vb`.
    pub fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        let vb = vb.pp("classifier");
        let hidden = config.hidden_size;
        Ok(Self {
            dense: linear(hidden, hidden, config, vb.pp("dense"))?,
            projection: linear(hidden, config.num_labels(), config, vb.pp("out_proj"))?,
        })
    }

    /// `[batch, sequence, hidden]` to logits `[batch, labels]`.
    pub fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        let dense = &self.dense;
        let inner = dense.forward_activated(&first_token(hidden)?, Activation::Gelu)?;
        self.projection.forward(&inner)
    }
}

/// The head of [`ElectraForQuestionAnswering`]: `qa_outputs` on every token.
#[derive(Clone, Debug)]
pub struct QuestionAnsweringHead {
    outputs: Linear,
}

/// Logits of the first and the last token of an answer, each `[batch, sequence]`.
#[derive(Clone, Debug)]
pub struct SpanLogits {
    /// The first token of the answer.
    pub start: Tensor,
    /// The last token of the answer.
    pub end: Tensor,
}

impl QuestionAnsweringHead {
    /// Loads `qa_outputs.*` below `vb`.
    pub fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        let hidden = config.hidden_size;
        Ok(Self {
            outputs: linear(hidden, SPAN_OUTPUTS, config, vb.pp("qa_outputs"))?,
        })
    }

    /// `[batch, sequence, hidden]` to the logits of start and end.
    pub fn forward(&self, hidden: &Tensor) -> Result<SpanLogits> {
        let logits = self.outputs.forward(hidden)?;
        Ok(SpanLogits {
            start: logits.narrow(D::Minus1, 0, 1)?.squeeze(D::Minus1)?,
            end: logits.narrow(D::Minus1, 1, 1)?.squeeze(D::Minus1)?,
        })
    }
}

/// The head of [`ElectraForMultipleChoice`]: `sequence_summary.summary`, gelu, `classifier` on the first
/// token, one logit a choice.
#[derive(Clone, Debug)]
pub struct MultipleChoiceHead {
    summary: Linear,
    classifier: Linear,
}

impl MultipleChoiceHead {
    /// Loads `sequence_summary.summary.*` and `classifier.*` below `vb`.
    ///
    /// The summary is the default of transformers' `ElectraConfig`; other `summary_*` settings have no
    /// effect.
    pub fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        let hidden = config.hidden_size;
        Ok(Self {
            summary: linear(
                hidden,
                hidden,
                config,
                vb.pp("sequence_summary").pp("summary"),
            )?,
            classifier: linear(hidden, 1, config, vb.pp("classifier"))?,
        })
    }

    /// `[batch · choices, sequence, hidden]` to logits `[batch, choices]`.
    pub fn forward(&self, hidden: &Tensor, choices: usize) -> Result<Tensor> {
        let summary = &self.summary;
        let summary = summary.forward_activated(&first_token(hidden)?, Activation::Gelu)?;
        self.classifier.forward(&summary)?.reshape(((), choices))
    }
}

/// Returns the hidden states of the first token, `[batch, hidden]`.
fn first_token(hidden: &Tensor) -> Result<Tensor> {
    hidden.narrow(1, 0, 1)?.squeeze(1)?.contiguous()
}

/// Declares a class: the model with bidirectional attention, and a head.
macro_rules! class {
    ($(#[$doc:meta])* $name:ident, $head:ident, $output:ty) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            electra: ElectraModel,
            head: $head,
        }

        impl $name {
            /// Loads the model, then the head.
            ///
            /// # Errors
            /// If a tensor is missing or has another shape than `config` implies.
            pub fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
                Ok(Self {
                    electra: ElectraModel::load(vb.clone(), config)?,
                    head: $head::load(vb, config)?,
                })
            }

            /// Runs the model and the head.
            ///
            /// # Errors
            /// If the shapes of the batch do not match, or an id is out of range.
            pub fn forward(&self, batch: &Batch<'_>) -> Result<$output> {
                self.head.forward(&self.electra.forward(batch)?)
            }
        }
    };
}

class!(
    /// The discriminator: logits `[batch, sequence]` before the sigmoid, positive for a token that was
    /// probably replaced.
    ElectraForPreTraining, DiscriminatorHead, Tensor
);
class!(
    /// Classification of tokens: logits `[batch, sequence, labels]`.
    ElectraForTokenClassification, TokenClassificationHead, Tensor
);
class!(
    /// Classification of sequences: logits `[batch, labels]`.
    ElectraForSequenceClassification, SequenceClassificationHead, Tensor
);
class!(
    /// Extractive question answering: logits of the answer's start and end, each `[batch, sequence]`.
    ElectraForQuestionAnswering, QuestionAnsweringHead, SpanLogits
);

/// The generator, a masked language model: logits `[batch, sequence, vocabulary]`.
#[derive(Clone, Debug)]
pub struct ElectraForMaskedLM {
    electra: ElectraModel,
    head: LanguageModelHead,
}

impl ElectraForMaskedLM {
    /// Loads the model, then the head.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape than `config` implies.
    pub fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        let electra = ElectraModel::load(vb.clone(), config)?;
        let head = LanguageModelHead::load(vb, config, electra.word_embeddings())?;
        Ok(Self { electra, head })
    }

    /// Runs the model and the head.
    ///
    /// # Errors
    /// If the shapes of the batch do not match, or an id is out of range.
    pub fn forward(&self, batch: &Batch<'_>) -> Result<Tensor> {
        self.head.forward(&self.electra.forward(batch)?)
    }
}

/// A causal language model with the weights of [`ElectraForMaskedLM`]: logits
/// `[batch, sequence, vocabulary]` of the next token.
#[derive(Clone, Debug)]
pub struct ElectraForCausalLM(ElectraForMaskedLM);

impl ElectraForCausalLM {
    /// Loads the model, then the head.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape than `config` implies.
    pub fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        Ok(Self(ElectraForMaskedLM::load(vb, config)?))
    }

    /// Runs the model and the head.
    ///
    /// # Errors
    /// If the shapes of the batch do not match, or an id is out of range.
    pub fn forward(&self, batch: &Batch<'_>) -> Result<Tensor> {
        let ElectraForMaskedLM { electra, head } = &self.0;
        let hidden = electra.forward_with(batch, Attend::Backwards, false)?;
        head.forward(&hidden.last)
    }
}

/// Multiple choice: one logit for each choice.
#[derive(Clone, Debug)]
pub struct ElectraForMultipleChoice {
    electra: ElectraModel,
    head: MultipleChoiceHead,
}

impl ElectraForMultipleChoice {
    /// Loads the model, then the head.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape than `config` implies.
    pub fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        Ok(Self {
            electra: ElectraModel::load(vb.clone(), config)?,
            head: MultipleChoiceHead::load(vb, config)?,
        })
    }

    /// Runs the model and the head on a batch `[batch · choices, sequence]`, in which the choices of one
    /// question follow each other; returns logits `[batch, choices]`.
    ///
    /// # Errors
    /// If the shapes of the batch do not match, or an id is out of range.
    pub fn forward(&self, batch: &Batch<'_>, choices: usize) -> Result<Tensor> {
        self.head.forward(&self.electra.forward(batch)?, choices)
    }
}
