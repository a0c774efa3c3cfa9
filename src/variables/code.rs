//! The code that wrote a checkpoint.

/// The code that wrote a checkpoint, by the names of its variables. Its defaults apply where nothing shows a
/// value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// google-research/electra, and forks that keep its names.
    #[default]
    Original,
    /// Keras models: Hugging Face's TensorFlow classes, or NVIDIA's, which are derived from them.
    Keras,
    /// `official/nlp` in TensorFlow's Model Garden.
    ModelGarden,
}
