//! The kinds of files that users give in place of a checkpoint.

/// What a path leads to in place of a checkpoint.
///
/// For callers that handle some kinds themselves; the error that carries it says the same in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileKind {
    /// A URL, such as `gs://bucket/model.ckpt-400`.
    Address,
    /// An archive or a compressed file that is not read, to be unpacked first.
    Archive,
    /// A zip archive.
    Zip,
    /// A tar archive, compressed with gzip or not.
    Tar,
    /// A SavedModel that cannot be read: without variables, or with its graph as text.
    SavedModel,
    /// A model in safetensors format.
    Safetensors,
    /// A model in the format of another framework: PyTorch, Keras, ONNX and the like.
    Model,
    /// A JSON document.
    Json,
    /// What a server or git left in place of the file: an HTML page, a Git LFS pointer.
    StandIn,
    /// A checkpoint in a newer version of the format.
    Version,
    /// Anything else.
    Other,
}
