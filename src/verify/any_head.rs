//! The head of any class in one form: hidden states `[batch, sequence, hidden]` to logits.

use candle_core::{D, Result, Tensor};
use candle_nn::VarBuilder;

use crate::electra::{ElectraConfig, Head};
use crate::model::{
    DiscriminatorHead, ElectraModel, LanguageModelHead, MultipleChoiceHead, QuestionAnsweringHead,
    SequenceClassificationHead, TokenClassificationHead,
};

/// Hidden states to logits.
pub(super) type Forward = dyn Fn(&Tensor) -> Result<Tensor>;

/// Loads the head of a class. The bare model gives its hidden states; start and end of an answer are
/// the last axis; the sequences of a batch are the choices of one question, so that every class gives
/// something for each sequence.
pub(super) fn load(
    head: Head,
    vb: VarBuilder<'_>,
    config: &ElectraConfig,
    model: &ElectraModel,
) -> Result<Box<Forward>> {
    Ok(match head {
        Head::Model => Box::new(|hidden| Ok(hidden.clone())),
        Head::PreTraining => {
            let head = DiscriminatorHead::load(vb, config)?;
            Box::new(move |hidden| head.forward(hidden))
        }
        Head::MaskedLm | Head::CausalLm => {
            let head = LanguageModelHead::load(vb, config, model.word_embeddings())?;
            Box::new(move |hidden| head.forward(hidden))
        }
        Head::TokenClassification => {
            let head = TokenClassificationHead::load(vb, config)?;
            Box::new(move |hidden| head.forward(hidden))
        }
        Head::SequenceClassification => {
            let head = SequenceClassificationHead::load(vb, config)?;
            Box::new(move |hidden| head.forward(hidden))
        }
        Head::QuestionAnswering => {
            let head = QuestionAnsweringHead::load(vb, config)?;
            Box::new(move |hidden| {
                let span = head.forward(hidden)?;
                Tensor::stack(&[span.start, span.end], D::Minus1)
            })
        }
        Head::MultipleChoice => {
            let head = MultipleChoiceHead::load(vb, config)?;
            Box::new(move |hidden| head.forward(hidden, hidden.dim(0)?)?.squeeze(0))
        }
    })
}

/// True when a class says something of each token, `[batch, sequence, …]`.
pub(super) fn is_per_token(head: Head) -> bool {
    !matches!(head, Head::SequenceClassification | Head::MultipleChoice)
}
