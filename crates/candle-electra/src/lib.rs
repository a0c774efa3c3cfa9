//! ELECTRA in candle: configuration, embeddings, encoder, and the eight classes of transformers.
//!
//! Reads top to bottom like `modeling_electra.py` in transformers, whose computation it follows:
//! [`Embeddings`] and [`Encoder`] make an [`ElectraModel`], a head makes each of the other classes. All
//! compute in the dtype and on the device of the `VarBuilder`, whatever its source. Dropout is left
//! out: these are for inference, or for training that adds its own.
//!
//! | question | answered by |
//! |---|---|
//! | what is in config.json? | [`ElectraConfig`], [`Activation`] |
//! | which classes are there? | [`ModelClass`] |
//! | which tensors does each have, of what shape? | [`ModelClass::tensors`], from the one table [`TENSORS`] |
//! | how is a class chosen at run time? | [`Head`] |
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use candle_electra::{Batch, ElectraConfig, ElectraForPreTraining};
//! use candle_nn::{VarBuilder, VarMap};
//!
//! let config = ElectraConfig { num_hidden_layers: 2, ..ElectraConfig::default() };
//! let weights = VarMap::new(); // or VarBuilder::from_mmaped_safetensors(…)
//! let vb = VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu);
//! let model = ElectraForPreTraining::load(vb, &config)?;
//!
//! let input_ids = Tensor::new(&[[101_u32, 7592, 2088, 102]], &Device::Cpu)?;
//! let logits = model.forward(&Batch::new(&input_ids))?; // before the sigmoid
//! assert_eq!(logits.dims(), [1, 4]);
//! # Ok::<(), candle_core::Error>(())
//! ```

#![allow(
    clippy::needless_pass_by_value,
    reason = "a VarBuilder is a handle, which candle's models take by value"
)]

pub mod activation;
mod batch;
mod class;
mod config;
mod embeddings;
mod encoder;
mod head;
mod heads;
mod model;
mod norm;
mod tensors;

pub use activation::Activation;
pub use batch::{Batch, Hidden};
pub use class::{DECODER_WEIGHT, ModelClass, WORD_EMBEDDINGS};
pub use config::ElectraConfig;
pub use embeddings::Embeddings;
pub use encoder::{Attend, Encoder};
pub use head::Head;
pub use heads::{
    DiscriminatorHead, ElectraForCausalLM, ElectraForMaskedLM, ElectraForMultipleChoice,
    ElectraForPreTraining, ElectraForQuestionAnswering, ElectraForSequenceClassification,
    ElectraForTokenClassification, LanguageModelHead, MultipleChoiceHead, QuestionAnsweringHead,
    SequenceClassificationHead, SpanLogits, TokenClassificationHead,
};
pub use model::ElectraModel;
pub use tensors::{Dim, Part, TENSORS, TensorSpec};
