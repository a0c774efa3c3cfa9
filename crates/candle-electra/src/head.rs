//! The head of a class that is chosen at run time.

use candle_core::{D, Result, Tensor};
use candle_nn::VarBuilder;

use crate::class::ModelClass;
use crate::config::ElectraConfig;
use crate::heads::{
    DiscriminatorHead, LanguageModelHead, MultipleChoiceHead, QuestionAnsweringHead,
    SequenceClassificationHead, TokenClassificationHead,
};

/// The head of any class: hidden states to logits. The head of `ElectraModel` is the identity.
#[derive(Clone, Debug)]
pub struct Head(Kind);

#[derive(Clone, Debug)]
enum Kind {
    None,
    Discriminator(DiscriminatorHead),
    LanguageModel(LanguageModelHead),
    TokenClassification(TokenClassificationHead),
    SequenceClassification(SequenceClassificationHead),
    QuestionAnswering(QuestionAnsweringHead),
    MultipleChoice(MultipleChoiceHead),
}

impl Head {
    /// Loads the head of `class`. The decoder of a language model is tied to `word_embeddings`, unless it
    /// has a weight of its own below `vb`; other classes need none.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape than `config` implies, or a language model has no word
    /// embeddings.
    pub fn load(
        class: ModelClass,
        vb: VarBuilder<'_>,
        config: &ElectraConfig,
        word_embeddings: Option<&Tensor>,
    ) -> Result<Self> {
        Ok(Self(match class {
            ModelClass::Model => Kind::None,
            ModelClass::PreTraining => Kind::Discriminator(DiscriminatorHead::load(vb, config)?),
            ModelClass::MaskedLm | ModelClass::CausalLm => {
                let Some(words) = word_embeddings else {
                    candle_core::bail!("{class} needs word embeddings");
                };
                Kind::LanguageModel(LanguageModelHead::load(vb, config, words)?)
            }
            ModelClass::TokenClassification => {
                Kind::TokenClassification(TokenClassificationHead::load(vb, config)?)
            }
            ModelClass::SequenceClassification => {
                Kind::SequenceClassification(SequenceClassificationHead::load(vb, config)?)
            }
            ModelClass::QuestionAnswering => {
                Kind::QuestionAnswering(QuestionAnsweringHead::load(vb, config)?)
            }
            ModelClass::MultipleChoice => {
                Kind::MultipleChoice(MultipleChoiceHead::load(vb, config)?)
            }
        }))
    }

    /// Returns the logits for `hidden`, `[batch, sequence, hidden]`.
    ///
    /// | class | shape |
    /// |---|---|
    /// | `ElectraModel` | `[batch, sequence, hidden]`: the hidden states themselves |
    /// | `ElectraForPreTraining` | `[batch, sequence]` |
    /// | `ElectraForMaskedLM`, `ElectraForCausalLM` | `[batch, sequence, vocabulary]` |
    /// | `ElectraForTokenClassification` | `[batch, sequence, labels]` |
    /// | `ElectraForSequenceClassification` | `[batch, labels]` |
    /// | `ElectraForQuestionAnswering` | `[batch, sequence, 2]`: start and end |
    /// | `ElectraForMultipleChoice` | `[batch]`: the sequences are the choices of one question |
    ///
    /// # Errors
    /// If the hidden size is not the head's.
    pub fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        match &self.0 {
            Kind::None => Ok(hidden.clone()),
            Kind::Discriminator(head) => head.forward(hidden),
            Kind::LanguageModel(head) => head.forward(hidden),
            Kind::TokenClassification(head) => head.forward(hidden),
            Kind::SequenceClassification(head) => head.forward(hidden),
            Kind::QuestionAnswering(head) => {
                let span = head.forward(hidden)?;
                Tensor::stack(&[span.start, span.end], D::Minus1)
            }
            Kind::MultipleChoice(head) => head.forward(hidden, hidden.dim(0)?)?.squeeze(0),
        }
    }
}
