//! The eight classes, but for the bare [`ElectraModel`]: each a shared encoder and a small head.
//!
//! A head can be used alone on the encoder's output (`…Head::forward`), so that several heads can
//! share one pass of the encoder. Dropout is left out: these are for inference.

use candle_core::{D, Result, Tensor};
use candle_nn::{Init, Linear, Module, VarBuilder, linear};

use crate::activation::{Activation, activate};
use crate::batch::Batch;
use crate::config::ElectraConfig;
use crate::encoder::Attend;
use crate::model::ElectraModel;
use crate::norm::LayerNorm;

/// `discriminator_predictions`: was this token replaced?
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
            dense: linear(hidden, hidden, vb.pp("dense"))?,
            activation: config.hidden_act,
            prediction: linear(hidden, 1, vb.pp("dense_prediction"))?,
        })
    }

    /// `[batch, sequence, hidden]` to logits `[batch, sequence]`.
    pub fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        let inner = activate(self.activation, &self.dense.forward(hidden)?)?;
        self.prediction.forward(&inner)?.squeeze(D::Minus1)
    }
}

/// `generator_predictions` and `generator_lm_head`: which token is it?
#[derive(Clone, Debug)]
pub struct LanguageModelHead {
    dense: Linear,
    norm: LayerNorm,
    decoder: Linear,
}

impl LanguageModelHead {
    /// Loads `generator_predictions.*` and `generator_lm_head.*` below `vb`. Where there is no
    /// `generator_lm_head.weight`, the decoder is `word_embeddings`.
    pub fn load(
        vb: VarBuilder<'_>,
        config: &ElectraConfig,
        word_embeddings: &Tensor,
    ) -> Result<Self> {
        let (hidden, width) = (config.hidden_size, config.embedding_size);
        let predictions = vb.pp("generator_predictions");
        let decoder = vb.pp("generator_lm_head");
        let weight = if decoder.contains_tensor("weight") {
            decoder.get((config.vocab_size, width), "weight")?
        } else {
            word_embeddings.clone()
        };
        let bias = decoder.get_with_hints(config.vocab_size, "bias", Init::Const(0.0))?;
        Ok(Self {
            dense: linear(hidden, width, predictions.pp("dense"))?,
            norm: LayerNorm::load(width, config.layer_norm_eps, predictions.pp("LayerNorm"))?,
            decoder: Linear::new(weight, Some(bias)),
        })
    }

    /// `[batch, sequence, hidden]` to logits `[batch, sequence, vocabulary]`.
    ///
    /// Always with gelu, as `ElectraGeneratorPredictions` in transformers, whatever `hidden_act` is.
    pub fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        let inner = activate(Activation::Gelu, &self.dense.forward(hidden)?)?;
        self.decoder.forward(&self.norm.forward(&inner)?)
    }
}

/// `classifier` over every token.
#[derive(Clone, Debug)]
pub struct TokenClassificationHead {
    classifier: Linear,
}

impl TokenClassificationHead {
    /// Loads `classifier.*` below `vb`.
    pub fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        let classifier = linear(config.hidden_size, config.num_labels(), vb.pp("classifier"))?;
        Ok(Self { classifier })
    }

    /// `[batch, sequence, hidden]` to logits `[batch, sequence, labels]`.
    pub fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        self.classifier.forward(hidden)
    }
}

/// `classifier.dense`, gelu, `classifier.out_proj` over the first token.
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
            dense: linear(hidden, hidden, vb.pp("dense"))?,
            projection: linear(hidden, config.num_labels(), vb.pp("out_proj"))?,
        })
    }

    /// `[batch, sequence, hidden]` to logits `[batch, labels]`.
    pub fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        let inner = activate(
            Activation::Gelu,
            &self.dense.forward(&first_token(hidden)?)?,
        )?;
        self.projection.forward(&inner)
    }
}

/// `qa_outputs` over every token.
#[derive(Clone, Debug)]
pub struct QuestionAnsweringHead {
    outputs: Linear,
}

/// Logits of where an answer starts and ends, each `[batch, sequence]`.
#[derive(Clone, Debug)]
pub struct SpanLogits {
    /// The first token of the answer.
    pub start: Tensor,
    /// The last token of the answer.
    pub end: Tensor,
}

impl QuestionAnsweringHead {
    /// Start and end.
    const OUTPUTS: usize = 2;

    /// Loads `qa_outputs.*` below `vb`.
    pub fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        let outputs = linear(config.hidden_size, Self::OUTPUTS, vb.pp("qa_outputs"))?;
        Ok(Self { outputs })
    }

    /// `[batch, sequence, hidden]` to two times `[batch, sequence]`.
    pub fn forward(&self, hidden: &Tensor) -> Result<SpanLogits> {
        let logits = self.outputs.forward(hidden)?;
        Ok(SpanLogits {
            start: logits.narrow(D::Minus1, 0, 1)?.squeeze(D::Minus1)?,
            end: logits.narrow(D::Minus1, 1, 1)?.squeeze(D::Minus1)?,
        })
    }
}

/// `sequence_summary` of the first token, then `classifier` to one number a choice.
#[derive(Clone, Debug)]
pub struct MultipleChoiceHead {
    summary: Linear,
    classifier: Linear,
}

impl MultipleChoiceHead {
    /// Loads `sequence_summary.summary.*` and `classifier.*` below `vb`.
    ///
    /// Of the ways to summarise that transformers knows, the one that its ELECTRA configuration has
    /// by default: the first token, a projection, gelu.
    pub fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        let hidden = config.hidden_size;
        Ok(Self {
            summary: linear(hidden, hidden, vb.pp("sequence_summary").pp("summary"))?,
            classifier: linear(hidden, 1, vb.pp("classifier"))?,
        })
    }

    /// `[batch · choices, sequence, hidden]` to logits `[batch, choices]`.
    pub fn forward(&self, hidden: &Tensor, choices: usize) -> Result<Tensor> {
        let summary = self.summary.forward(&first_token(hidden)?)?;
        let summary = activate(Activation::Gelu, &summary)?;
        self.classifier.forward(&summary)?.reshape(((), choices))
    }
}

/// `[batch, sequence, hidden]` to `[batch, hidden]`.
fn first_token(hidden: &Tensor) -> Result<Tensor> {
    hidden.narrow(1, 0, 1)?.squeeze(1)?.contiguous()
}

/// Declares a class of an encoder that looks in both directions, and its head.
macro_rules! class {
    ($(#[$doc:meta])* $name:ident, $head:ident, $output:ty) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            electra: ElectraModel,
            head: $head,
        }

        impl $name {
            /// Loads encoder and head.
            pub fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
                Ok(Self {
                    electra: ElectraModel::load(vb.clone(), config)?,
                    head: $head::load(vb, config)?,
                })
            }

            /// Runs encoder and head.
            pub fn forward(&self, batch: &Batch<'_>) -> Result<$output> {
                self.head.forward(&self.electra.forward(batch)?)
            }
        }
    };
}

class!(
    /// A discriminator: logits `[batch, sequence]`, positive where a token looks replaced.
    ElectraForPreTraining, DiscriminatorHead, Tensor
);
class!(
    /// Logits `[batch, sequence, labels]` for each token.
    ElectraForTokenClassification, TokenClassificationHead, Tensor
);
class!(
    /// Logits `[batch, labels]` for each sequence.
    ElectraForSequenceClassification, SequenceClassificationHead, Tensor
);
class!(
    /// Logits of an answer's start and end.
    ElectraForQuestionAnswering, QuestionAnsweringHead, SpanLogits
);

/// A generator: logits `[batch, sequence, vocabulary]` of the token at each place.
#[derive(Clone, Debug)]
pub struct ElectraForMaskedLM {
    electra: ElectraModel,
    head: LanguageModelHead,
}

impl ElectraForMaskedLM {
    /// Loads encoder and head.
    pub fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        let electra = ElectraModel::load(vb.clone(), config)?;
        let head = LanguageModelHead::load(vb, config, electra.word_embeddings())?;
        Ok(Self { electra, head })
    }

    /// Runs encoder and head.
    pub fn forward(&self, batch: &Batch<'_>) -> Result<Tensor> {
        self.head.forward(&self.electra.forward(batch)?)
    }
}

/// As [`ElectraForMaskedLM`], but each token sees only those before it: logits
/// `[batch, sequence, vocabulary]` of the next token.
#[derive(Clone, Debug)]
pub struct ElectraForCausalLM(ElectraForMaskedLM);

impl ElectraForCausalLM {
    /// Loads encoder and head.
    pub fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        Ok(Self(ElectraForMaskedLM::load(vb, config)?))
    }

    /// Runs encoder and head.
    pub fn forward(&self, batch: &Batch<'_>) -> Result<Tensor> {
        let ElectraForMaskedLM { electra, head } = &self.0;
        let hidden = electra.forward_with(batch, Attend::Backwards, false)?;
        head.forward(&hidden.last)
    }
}

/// One number for each of several choices.
#[derive(Clone, Debug)]
pub struct ElectraForMultipleChoice {
    electra: ElectraModel,
    head: MultipleChoiceHead,
}

impl ElectraForMultipleChoice {
    /// Loads encoder and head.
    pub fn load(vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Self> {
        Ok(Self {
            electra: ElectraModel::load(vb.clone(), config)?,
            head: MultipleChoiceHead::load(vb, config)?,
        })
    }

    /// The batch is `[batch · choices, sequence]`, the choices of one question after each other;
    /// gives logits `[batch, choices]`.
    pub fn forward(&self, batch: &Batch<'_>, choices: usize) -> Result<Tensor> {
        self.head.forward(&self.electra.forward(batch)?, choices)
    }
}
