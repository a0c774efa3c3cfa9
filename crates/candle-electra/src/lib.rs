//! ELECTRA in candle: the configuration, the encoder and the eight classes of Hugging Face transformers.
//!
//! The computation is that of `modeling_electra.py` in transformers: [`Embeddings`] and [`Encoder`] form
//! an [`ElectraModel`], and each other class adds a head. Weights come from any `VarBuilder`, and the
//! model computes in its dtype on its device. There is no dropout: the classes are for inference, or for
//! training code that adds its own.
//!
//! | item | is |
//! |---|---|
//! | [`ElectraConfig`], [`Activation`] | the contents of config.json |
//! | [`ModelClass`] | the list of classes |
//! | [`ModelClass::tensors`], [`TENSORS`] | names and shapes of the tensors of each class |
//! | [`Head`] | the head of a class that is chosen at run time |
//! | [`forward_streamed`] | runs a model that is larger than memory |
//!
//! Tensors are requested in the order of [`TENSORS`], so that a builder that draws initial weights from
//! a seeded generator gives the same model each time. Initial weights are those of transformers: normal
//! with `initializer_range` as the standard deviation, biases 0, LayerNorm weights 1.
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
mod fused;
mod head;
mod heads;
mod linear;
mod model;
mod norm;
mod streamed;
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
    ElectraForTokenClassification, GeneratorPredictions, LanguageModelHead, MultipleChoiceHead,
    QuestionAnsweringHead, SequenceClassificationHead, SpanLogits, TokenClassificationHead,
};
pub use model::ElectraModel;
pub use streamed::{Pass, forward_streamed};
pub use tensors::{Dim, Part, TENSORS, TensorSpec};
