//! Errors of the variables: why no model, or not the requested one, can be exported.

use std::fmt;
use std::path::{Path, PathBuf};

use candle_electra::Activation;

use crate::variables::list::list;
use crate::variables::model::Model;

/// The reason why a model cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No variable has the name of an ELECTRA variable.
    #[error("{}", not_electra(examples))]
    NotElectra {
        /// Some of the names in the checkpoint.
        examples: Vec<String>,
    },
    /// The variables of a Model Garden encoder in a SavedModel, numbered instead of named by paths.
    #[error(
        "this is a SavedModel of TensorFlow's Model Garden that holds a list of variables, but not the layers that \
         they belong to ({variable} is {full_name}): convert the checkpoint that it was exported from \
         (ckpt-N.index), or export the model itself"
    )]
    NumberedVariables {
        /// The key of a variable.
        variable: String,
        /// Its full name.
        full_name: String,
    },
    /// A variable of Model Garden code that several parts of models hold.
    #[error(
        "variable {variable} belongs to several parts of models: {}; give it the path of one of them with \
         --rename '^{variable}$=PATH'",
        list(paths)
    )]
    SeveralPaths {
        /// The name of the variable.
        variable: String,
        /// Its paths.
        paths: Vec<String>,
    },
    /// Several encoders of TensorFlow 2 code that are not one discriminator and its generator.
    #[error(
        "this checkpoint holds {} ELECTRA encoders that are not one discriminator and its generator: {}; \
         pick the model to export with --rename '^MODEL/={replacement}', and leave the others out \
         with --allow-unknown",
        scopes.len(),
        list(scopes)
    )]
    SeveralEncoders {
        /// The scopes of the encoders.
        scopes: Vec<String>,
        /// What replaces the scope of the model to export.
        replacement: &'static str,
    },
    /// The checkpoint has moving averages, but not the weights themselves.
    #[error(
        "this checkpoint holds the moving averages of an ELECTRA's weights but not the weights: export \
         the averages with --weights average"
    )]
    OnlyAverages,
    /// The averages were requested, but the checkpoint has none.
    #[error("this checkpoint holds no moving averages: omit --weights average")]
    NoAverages,
    /// Two averages of one variable.
    #[error(
        "{variable} has two moving averages, {first} and {second}: rename one of them with \
         --rename 'REGEX=REPLACEMENT'"
    )]
    SeveralAverages {
        /// The variable.
        variable: String,
        /// One average.
        first: String,
        /// The other average.
        second: String,
    },
    /// Only some of a model's variables have averages.
    #[error(
        "{} of the {model}'s variables {} no moving average: {}; export the raw weights with \
         --weights raw",
        names.len(),
        if names.len() == 1 { "has" } else { "have" },
        list(names)
    )]
    NotAveraged {
        /// The requested model.
        model: Model,
        /// The variables without an average.
        names: Vec<String>,
    },
    /// An encoder with a head that is neither ELECTRA's nor transformers'.
    #[error(
        "the encoder is an ELECTRA encoder, but its head is of other code and no known Hugging Face \
         class computes it: {}; --allow-unknown leaves these variables out and exports the encoder \
         as ElectraModel",
        list(names)
    )]
    ForeignHead {
        /// The variables of the head.
        names: Vec<String>,
    },
    /// A head of a transformers class lacks some of its variables.
    #[error(
        "the head of task {task} is incomplete, missing: {}; export the encoder without it with \
         --model discriminator",
        list(names)
    )]
    IncompleteHead {
        /// The task.
        task: String,
        /// The missing variables.
        names: Vec<String>,
    },
    /// The checkpoint does not hold the requested model.
    #[error("this checkpoint holds no {model}: {why}{}", Alternative(*instead))]
    NoSuchModel {
        /// The requested model.
        model: Model,
        /// The reason.
        why: &'static str,
        /// A model that can be exported.
        instead: Option<Model>,
    },
    /// The checkpoint has the heads of several tasks, and none was chosen.
    #[error(
        "this checkpoint was fine-tuned for several tasks ({}): choose one with --task",
        list(tasks)
    )]
    SeveralTasks {
        /// The tasks.
        tasks: Vec<String>,
    },
    /// The checkpoint has no head for the requested task.
    #[error(
        "this checkpoint was not fine-tuned for task {task}: it has the head of {}",
        list(tasks)
    )]
    NoSuchTask {
        /// The requested task.
        task: String,
        /// The tasks with a head.
        tasks: Vec<String>,
    },
    /// No class computes the head.
    #[error(
        "no Hugging Face class computes the head of task {task}: {why}; export the encoder without \
         it with --model discriminator"
    )]
    NoClassForTask {
        /// The task.
        task: String,
        /// How the head differs from every class.
        why: String,
    },
    /// A head that is token-level or sequence-level.
    #[error(
        "the head of task {task} is token-level or sequence-level; the shapes are identical: give \
         --task-kind tagging or --task-kind classification"
    )]
    UnknownTaskKind {
        /// The task.
        task: String,
    },
    /// A head of two dense layers that may or may not be the start and end of an answer.
    #[error(
        "the head of task {task} has two dense layers; cannot tell whether they predict the start and \
         the end of an answer: if they do, give --task-kind span"
    )]
    UnknownSpan {
        /// The task.
        task: String,
    },
    /// A head whose tensors cannot be rounded.
    #[error(
        "the head of task {task} is converted through large intermediate values, which need float32: \
         in {dtype} its logits would be off by hundredths; give --dtype f32"
    )]
    NeedsFloat32 {
        /// The task.
        task: String,
        /// The requested element type.
        dtype: &'static str,
    },
    /// Renaming gave two variables the same name.
    #[error(
        "--rename gives {first} and {second} the same name, {name}: change one of the patterns"
    )]
    RenameCollision {
        /// A variable.
        first: String,
        /// Another variable.
        second: String,
        /// The name of both after renaming.
        name: String,
    },
    /// The checkpoint lacks variables that the architecture needs.
    #[error(
        "the {model} is incomplete: {} of its {needed} variables {} missing: {}{}",
        names.len(),
        if names.len() == 1 { "is" } else { "are" },
        list(names),
        if *is_head { "; --allow-unknown leaves its head out and exports the encoder as ElectraModel" } else { "" }
    )]
    Missing {
        /// The requested model.
        model: Model,
        /// The number of variables that the architecture has.
        needed: usize,
        /// The missing variables.
        names: Vec<String>,
        /// True if only the head is incomplete, so that the encoder can be exported without it.
        is_head: bool,
    },
    /// Variables of no known role, or without a tensor in the architecture.
    #[error(
        "{} variables are not part of any ELECTRA: {}; give them their usual names with \
         --rename 'REGEX=REPLACEMENT', or leave them out with --allow-unknown",
        names.len(),
        list(names)
    )]
    Unknown {
        /// The variables.
        names: Vec<String>,
    },
    /// The variables of another architecture.
    #[error(
        "this is a checkpoint of {architecture}, not of ELECTRA: it has {} variables that no ELECTRA \
         has: {}; transformers 4 converts it with {script}; if it is an ELECTRA with renamed scopes, \
         give --rename 'REGEX=REPLACEMENT'",
        names.len(),
        list(names)
    )]
    OtherArchitecture {
        /// The name of the architecture.
        architecture: &'static str,
        /// The variables that identify it.
        names: Vec<String>,
        /// The script that converts it.
        script: &'static str,
    },
    /// An encoder of Model Garden that is not its `BertEncoder`.
    #[error(
        "variable {variable} has the full name {full_name}, expected {expected} in it: a block of the encoder \
         has a path outside of it, or the encoder is another one than Model Garden's BertEncoder (the block that \
         an ALBERT uses for all its layers has no number), and no Hugging Face ELECTRA class computes it"
    )]
    OtherEncoder {
        /// The path of the variable.
        variable: String,
        /// Its full name.
        full_name: String,
        /// The end of the scope in a `BertEncoder`.
        expected: String,
    },
    /// A variable has an unexpected shape or element type.
    #[error("variable {variable} has {found}, expected {expected}")]
    UnexpectedVariable {
        /// The variable.
        variable: String,
        /// Its shape or type.
        found: String,
        /// The shape or type in the architecture.
        expected: String,
    },
    /// Two sources give different values.
    #[error("{key} is {first} by {first_source}, but {second} by {second_source}")]
    Contradiction {
        /// The key in config.json.
        key: &'static str,
        /// One value.
        first: Box<str>,
        /// Its source.
        first_source: Box<str>,
        /// The other value.
        second: Box<str>,
        /// The source of the other value.
        second_source: Box<str>,
    },
    /// The config.json beside an HDF5 file is not one.
    #[error("{}: {what}; correct the file, or give another one with --config", path.display())]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Model Garden's params.yaml is not understood.
    #[error("{}: {what}; if the file belongs to another model, move it elsewhere", path.display())]
    ParamsFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A value that no model can have.
    #[error("{key} is {value} by {origin}: {why}")]
    InvalidValue {
        /// The key in config.json.
        key: &'static str,
        /// The value.
        value: String,
        /// The source of the value.
        origin: String,
        /// The rule that the value breaks.
        why: String,
    },
    /// The training graph shows a value in a way that no rule recognises.
    #[error(
        "{}: {subject} is not recognised at node {node}: {why}; {}",
        path.display(),
        NextStep(*option)
    )]
    Unrecognised {
        /// The file with the graph.
        path: Box<Path>,
        /// The value that is not recognised.
        subject: Box<str>,
        /// The name of the node.
        node: Box<str>,
        /// What the node computes.
        why: Box<str>,
        /// The option that gives the value; `None` if no class computes what the graph does.
        option: Option<&'static str>,
    },
    /// The number of attention heads has no source and no default.
    #[error(
        "cannot determine the number of attention heads of the {model}: no training graph (.meta, \
         saved_model.pb) shows it, {weights}, and the original code's default, hidden size / 64, is not a whole number for hidden size {hidden_size}; give --num-attention-heads N (a divisor of {hidden_size}) or --config FILE"
    )]
    UnknownHeadCount {
        /// The model.
        model: Model,
        /// Its hidden size.
        hidden_size: usize,
        /// What the weights show.
        weights: &'static str,
    },
    /// The generator's head applies another activation than the exported class.
    #[error(
        "the head of this generator applies {activation}, but ElectraForMaskedLM always applies gelu, so \
         that the logits would differ (by {} in measurements; the encoder's outputs agree): \
         accept the difference with --allow-inexact{}",
        measured(activation),
        if *has_discriminator { ", or export the discriminator" } else { "" }
    )]
    InexactHead {
        /// The activation of the head.
        activation: String,
        /// True if there is a discriminator to export.
        has_discriminator: bool,
    },
    /// The training graph could not be read.
    #[error(transparent)]
    Graph(#[from] tf_checkpoint::Error),
}

impl Error {
    /// Returns the error for a variable of another shape than `expected`.
    pub(crate) fn wrong_shape(
        variable: &str,
        shape: &[usize],
        expected: impl fmt::Display,
    ) -> Self {
        Self::UnexpectedVariable {
            variable: variable.to_owned(),
            found: format!("shape {shape:?}"),
            expected: expected.to_string(),
        }
    }
}

/// Returns by how much the logits of a generator differ in measurements if its head applies gelu instead of
/// this activation: relu in `fixtures/tiny_relu`, the tanh approximation in ten models of Model Garden.
fn measured(activation: &str) -> &'static str {
    if activation == Activation::GeluNew.key() {
        "less than 0.002"
    } else {
        "0.1 to 0.5"
    }
}

fn not_electra(examples: &[String]) -> String {
    let found = if examples.is_empty() {
        String::new()
    } else {
        format!(" (found {})", list(examples))
    };
    format!(
        "this checkpoint holds no ELECTRA: no variable has a name from Google's code, such as \
         electra/encoder/layer_0/output/dense/kernel{found}; if the scopes were renamed, give \
         --rename 'REGEX=REPLACEMENT'"
    )
}

/// The end of an error about the training graph: what the user can do.
struct NextStep(Option<&'static str>);

impl fmt::Display for NextStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(option) => write!(f, "if you know the value, give it with {option}"),
            None => f.write_str("no Hugging Face class computes this"),
        }
    }
}

/// The end of an error about a model that is not there: a model that can be exported.
struct Alternative(Option<Model>);

impl fmt::Display for Alternative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(model) => write!(f, "; use --model {} instead", model.key()),
            None => Ok(()),
        }
    }
}
