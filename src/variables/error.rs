//! Why a checkpoint's variables are no ELECTRA, or not the one that was asked for.

use std::path::Path;

use crate::variables::model::Model;

/// Names listed in one message; the rest is counted.
const MAX_LISTED: usize = 6;

/// Why a model cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No variable is named as one of an ELECTRA.
    #[error("{}", not_electra(examples))]
    NotElectra {
        /// Some of the names that are there.
        examples: Vec<String>,
    },
    /// Several encoders of TensorFlow 2 code that are not a discriminator and its generator.
    #[error(
        "this checkpoint holds {} ELECTRA encoders that are not one discriminator and its generator: {}; \
         take the name of the model off the one to export with --rename '^MODEL/=', and leave the \
         others out with --allow-unknown",
        scopes.len(),
        list(scopes)
    )]
    SeveralEncoders {
        /// Their scopes.
        scopes: Vec<String>,
    },
    /// Averages of weights, but not the weights.
    #[error(
        "this checkpoint holds moving averages of an ELECTRA's weights and not the weights: export \
         the averages with --weights average"
    )]
    OnlyAverages,
    /// No average of any variable.
    #[error("this checkpoint holds no moving averages: leave --weights average out")]
    NoAverages,
    /// Two averages of one variable.
    #[error(
        "{variable} has two moving averages, {first} and {second}: give one of them another name \
         with --rename 'REGEX=REPLACEMENT'"
    )]
    SeveralAverages {
        /// The variable.
        variable: String,
        /// One average.
        first: String,
        /// The other.
        second: String,
    },
    /// Averages of some of a model's variables.
    #[error(
        "{} of the {model}'s variables {} no moving average: {}; export the raw weights with \
         --weights raw",
        names.len(),
        if names.len() == 1 { "has" } else { "have" },
        list(names)
    )]
    NotAveraged {
        /// The model asked for.
        model: Model,
        /// The variables without one.
        names: Vec<String>,
    },
    /// An encoder with a head that is neither ELECTRA's nor transformers'.
    #[error(
        "the encoder is an ELECTRA's, its head is of other code and no Hugging Face class is known to \
         compute it: {}; --allow-unknown leaves these variables out and exports the encoder as \
         ElectraModel",
        list(names)
    )]
    ForeignHead {
        /// The variables of the head.
        names: Vec<String>,
    },
    /// A head of transformers that is not whole.
    #[error(
        "the head of task {task} is incomplete: {} is not there; the encoder can be exported alone, \
         with --model discriminator",
        list(names)
    )]
    IncompleteHead {
        /// The task.
        task: String,
        /// The variables that are missing.
        names: Vec<String>,
    },
    /// The training setup has no such model.
    #[error("there is no {model} in this checkpoint: {why}{}", what_instead(*instead))]
    NoSuchModel {
        /// The model asked for.
        model: Model,
        /// Why there is none.
        why: &'static str,
        /// The model that can be exported.
        instead: Option<Model>,
    },
    /// Fine-tuned for several tasks, and nothing that says which.
    #[error(
        "this checkpoint was fine-tuned for several tasks ({}): pick one with --task",
        list(tasks)
    )]
    SeveralTasks {
        /// The tasks.
        tasks: Vec<String>,
    },
    /// Not fine-tuned for this task.
    #[error(
        "this checkpoint was not fine-tuned for {task}: it has the head of {}",
        list(tasks)
    )]
    NoSuchTask {
        /// The task asked for.
        task: String,
        /// The tasks that there are.
        tasks: Vec<String>,
    },
    /// A head that no class computes.
    #[error(
        "no Hugging Face class computes the head of task {task}: {why}; \
         the encoder can be exported alone, with --model discriminator"
    )]
    NoClassForTask {
        /// The task.
        task: String,
        /// What no class does.
        why: String,
    },
    /// A head that may be one of two kinds.
    #[error(
        "the head of task {task} is token-level or sequence-level; the shapes are identical: give \
         --task-kind tagging or --task-kind classification"
    )]
    UnknownTaskKind {
        /// The task.
        task: String,
    },
    /// A head of two dense layers that may be start and end of an answer.
    #[error(
        "the head of task {task} has two dense layers, which may be the start and the end of an answer or \
         something else: if they are, state it with --task-kind span"
    )]
    UnknownSpan {
        /// The task.
        task: String,
    },
    /// A head whose tensors cannot be rounded.
    #[error(
        "the head of task {task} becomes one of another form, which takes float32: in {dtype} its \
         logits would be off by hundredths; give --dtype f32"
    )]
    NeedsFloat32 {
        /// The task.
        task: String,
        /// The element type asked for.
        dtype: &'static str,
    },
    /// Two variables got one name by renaming.
    #[error("--rename gives {first} and {second} the same name, {name}")]
    RenameCollision {
        /// A variable.
        first: String,
        /// Another variable.
        second: String,
        /// The name that both got.
        name: String,
    },
    /// Variables that the architecture needs are not there.
    #[error(
        "the {model} is incomplete: {} of its {needed} variables missing: {}{}",
        counted(names.len()),
        list(names),
        if *is_head { "; --allow-unknown leaves its head out and exports the encoder as ElectraModel" } else { "" }
    )]
    Missing {
        /// The model asked for.
        model: Model,
        /// How many variables the architecture has.
        needed: usize,
        /// The variables that are missing.
        names: Vec<String>,
        /// True where the encoder is whole and would be a model without its head.
        is_head: bool,
    },
    /// Variables without a role, or that the architecture has no place for.
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
        /// Its name.
        architecture: &'static str,
        /// Variables that show it.
        names: Vec<String>,
        /// What converts it.
        script: &'static str,
    },
    /// A variable with the wrong number of axes, or the wrong type.
    #[error("variable {variable} has {found}, expected {expected}")]
    WrongKind {
        /// The variable.
        variable: String,
        /// Its shape or type.
        found: String,
        /// What the architecture has there.
        expected: String,
    },
    /// Two sources give one value differently.
    #[error("{key} is {first} by {first_source}, but {second} by {second_source}")]
    Contradiction {
        /// The key in config.json.
        key: &'static str,
        /// A value.
        first: Box<str>,
        /// Where it comes from.
        first_source: Box<str>,
        /// Another value.
        second: Box<str>,
        /// Where that comes from.
        second_source: Box<str>,
    },
    /// A value that no model can have.
    #[error("{key} is {value} by {origin}: {why}")]
    Impossible {
        /// The key in config.json.
        key: &'static str,
        /// The value.
        value: String,
        /// Where it comes from.
        origin: String,
        /// What is wrong with it.
        why: String,
    },
    /// The training graph shows a value in a way that no rule recognises.
    #[error(
        "{}: {subject} is not recognised at node {node}: {why}; {}",
        path.display(),
        settled_by(*option)
    )]
    NotUnderstood {
        /// The file with the graph.
        path: Box<Path>,
        /// What is not recognised.
        subject: Box<str>,
        /// Name of the node.
        node: Box<str>,
        /// What stands there.
        why: Box<str>,
        /// The option that settles it; `None` where no class computes what the graph does.
        option: Option<&'static str>,
    },
    /// Nothing shows a value, and no rule gives it.
    #[error(
        "nothing shows the number of attention heads of the {model}: there is no training graph \
         (.meta), and the original code's rule, hidden size / 64, does not apply to the hidden size \
         {hidden_size}; state it with --num-attention-heads N (a divisor of {hidden_size}) or --config FILE"
    )]
    UnknownHeadCount {
        /// The model.
        model: Model,
        /// Its hidden size.
        hidden_size: usize,
    },
    /// The generator's head would compute something else.
    #[error(
        "the head of this generator applies {activation}; ElectraForMaskedLM always applies gelu \
         there, so that its logits would differ (by 0.1 to 0.5 in measurements; the encoder's outputs \
         agree): accept it with --allow-inexact{}",
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

fn not_electra(examples: &[String]) -> String {
    let found = if examples.is_empty() {
        String::new()
    } else {
        format!(" (there are {})", list(examples))
    };
    format!(
        "this checkpoint holds no ELECTRA: no variable is named as Google's code names them, \
         such as electra/encoder/layer_0/output/dense/kernel{found}; if the scopes were renamed, \
         give --rename 'REGEX=REPLACEMENT'"
    )
}

fn settled_by(option: Option<&str>) -> String {
    match option {
        Some(option) => {
            format!("if it is a known one in another spelling, state it with {option}")
        }
        None => "no Hugging Face class computes that".to_owned(),
    }
}

fn what_instead(model: Option<Model>) -> String {
    model.map_or_else(String::new, |model| {
        format!("; what can be exported is --model {}", model.key())
    })
}

fn counted(n: usize) -> String {
    format!("{n} {}", if n == 1 { "is" } else { "are" })
}

/// The first few names, and how many more there are.
pub(crate) fn list(names: &[String]) -> String {
    let mut text = names
        .iter()
        .take(MAX_LISTED)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > MAX_LISTED {
        text.push_str(&format!(", and {} more", names.len() - MAX_LISTED));
    }
    text
}
