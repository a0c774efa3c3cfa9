//! The TensorFlow scopes that variables are in.

/// The scopes of one model's variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scopes {
    /// `{W}` in the table: the scope of the word embeddings, which two models may share alone.
    pub word_embeddings: &'static str,
    /// `{E}` in the table, the other embeddings: `electra/embeddings` or `generator/embeddings`.
    pub embeddings: &'static str,
    /// `{B}` in the table: `electra` or `generator`.
    pub body: &'static str,
}

/// The embeddings of the discriminator, which a generator may share.
pub(crate) const ELECTRA_EMBEDDINGS: &str = "electra/embeddings";
/// The embeddings that belong to a generator alone.
pub(crate) const GENERATOR_EMBEDDINGS: &str = "generator/embeddings";
/// The body of the discriminator, which a generator may share.
pub(crate) const ELECTRA_BODY: &str = "electra";
/// The body that belongs to a generator alone.
pub(crate) const GENERATOR_BODY: &str = "generator";

/// The scopes of a discriminator.
pub(crate) const ELECTRA: Scopes = Scopes {
    word_embeddings: ELECTRA_EMBEDDINGS,
    embeddings: ELECTRA_EMBEDDINGS,
    body: ELECTRA_BODY,
};
/// The scopes of a generator that shares nothing.
pub(crate) const GENERATOR: Scopes = Scopes {
    word_embeddings: GENERATOR_EMBEDDINGS,
    embeddings: GENERATOR_EMBEDDINGS,
    body: GENERATOR_BODY,
};

/// The head of the discriminator.
pub(crate) const DISCRIMINATOR_HEAD: &str = "discriminator_predictions";
/// The head of the generator.
pub(crate) const GENERATOR_HEAD: &str = "generator_predictions";
/// The heads of the original code's tasks, each in a scope with the name of the task.
pub(crate) const TASK_HEAD: &str = "task_specific";
/// The heads of transformers' own classes. This scope occurs in no checkpoint: variables are renamed into
/// it (`keras`).
pub(crate) const TRANSFORMERS_HEAD: &str = "transformers";

/// Returns the scope of a layer, such as `electra/encoder/layer_0`.
pub(crate) fn layer_scope(scopes: Scopes, layer: usize) -> String {
    format!("{}/encoder/layer_{layer}", scopes.body)
}

/// Returns the scope of a task's head in the original code, such as `task_specific/mnli`.
pub(crate) fn task_scope(task: &str) -> String {
    format!("{TASK_HEAD}/{task}")
}
