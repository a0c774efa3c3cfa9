//! The arguments of the commands, as clap parses them.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::config::{Epsilon, TaskKind};
use crate::plan::Weights;
use crate::verify::GOLDEN_TOLERANCE;
use crate::{Model, ModelCard, Models, Rename, TargetDtype};
use candle_electra::Activation;
use clap::{Args, ValueEnum};
use regex::Regex;

/// Where the checkpoint is and how its variables are named.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    /// The checkpoint: a prefix (model.ckpt-400), one of its files, a directory, a SavedModel, a tf_model.h5, a zip
    /// or tar archive, a path in one (archive.zip!/directory), or with the feature `cloud` a URL of any of these
    #[arg(value_name = "CKPT", required = true)]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Training step of the checkpoint to read [default: the latest]
    #[arg(long, value_name = "N", help_heading = CHECKPOINT)]
    pub(crate) step: Option<u64>,
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
}

/// How the variables of a checkpoint are named and read.
#[derive(Debug, Args)]
pub(crate) struct ReadingArgs {
    /// Rename variables first, for forks with other scopes; repeatable, $1 is the first group
    #[arg(
        long,
        value_name = "REGEX=REPLACEMENT",
        value_parser = Rename::parse,
        hide_short_help = true,
        help_heading = CHECKPOINT
    )]
    pub(crate) rename: Vec<Rename>,
    /// Reader of the values: `tensorflow` is the official library, if this program was built with it
    #[arg(
        long,
        value_enum,
        value_name = "READER",
        default_value = "native",
        hide_short_help = true,
        help_heading = CHECKPOINT
    )]
    pub(crate) reader: ReaderArg,
}

/// Headings of groups of options.
const CHECKPOINT: &str = "Checkpoint";
const SETTINGS: &str = "Settings not determined by tensor shapes";
const FINE_TUNED: &str = "Fine-tuned models";
const TOKENIZER: &str = "Tokenizer";
const VERIFICATION: &str = "Verification";
const CARD: &str = "Model card";
const OUTPUT: &str = "Output";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReaderArg {
    Native,
    Tensorflow,
}

/// Settings that the user states.
#[derive(Debug, Args)]
pub(crate) struct StatedArgs {
    /// A Hugging Face or BERT config.json, checked against the shapes
    #[arg(long, value_name = "FILE", help_heading = SETTINGS)]
    pub(crate) config: Option<PathBuf>,
    /// Number of attention heads; of two models that of the discriminator [default: from the training graph or the
    /// weights, else hidden size / 64]
    #[arg(long, value_name = "N", help_heading = SETTINGS)]
    pub(crate) num_attention_heads: Option<usize>,
    /// Activation of the feed-forward layers [default: from the training graph, else gelu]
    #[arg(long, value_name = "NAME", value_enum, hide_short_help = true, help_heading = SETTINGS)]
    pub(crate) hidden_act: Option<ActivationArg>,
    /// Epsilon of every LayerNorm [default: from the training graph, else 1e-12]
    #[arg(long, value_name = "X", hide_short_help = true, help_heading = SETTINGS)]
    pub(crate) layer_norm_eps: Option<Epsilon>,
    /// Leave out variables that are not part of any ELECTRA, such as a head of other code, instead of
    /// failing
    #[arg(long, hide_short_help = true, help_heading = CHECKPOINT)]
    pub(crate) allow_unknown: bool,
    /// Weights to export, if the checkpoint also holds moving averages of them
    #[arg(
        long,
        value_enum,
        value_name = "WEIGHTS",
        default_value = "raw",
        hide_short_help = true,
        help_heading = CHECKPOINT
    )]
    pub(crate) weights: WeightsArg,
    /// Task whose head to export, if there are several
    #[arg(long, value_name = "NAME", hide_short_help = true, help_heading = FINE_TUNED)]
    pub(crate) task: Option<String>,
    /// Head type, if it cannot be detected
    #[arg(long, value_enum, value_name = "KIND", hide_short_help = true, help_heading = FINE_TUNED)]
    pub(crate) task_kind: Option<TaskKindArg>,
    /// Names of the labels, in order [default: LABEL_0,LABEL_1,…]
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', hide_short_help = true, help_heading = FINE_TUNED)]
    pub(crate) labels: Option<Vec<String>>,
}

#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// Model to export; a training checkpoint holds two
    #[arg(long, value_enum, value_name = "MODEL")]
    pub(crate) model: Option<ModelArg>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// The directory to write to, created if necessary, or a URL of one in a bucket (gs://, s3://, az://, abfs://; feature `cloud`)
    #[arg(required = true)]
    pub(crate) out: Option<PathBuf>,
    /// Print what would be done, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Replace an earlier export in OUT, and FILE of --report; other files there are never touched
    #[arg(long)]
    pub(crate) force: bool,
    /// Number of threads that convert and verify [default: number of cores]
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub(crate) threads: Option<NonZeroUsize>,
    #[command(flatten)]
    pub(crate) export: ExportArgs,
    /// Also write a page that shows the model, the settings, every check and the weights, even if verification
    /// fails
    #[arg(long, value_name = "FILE.html", conflicts_with = "dry_run", help_heading = OUTPUT)]
    pub(crate) report: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What is exported, and how it is verified.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Element type of the weights; `keep` turns float64 into float32
    #[arg(long, value_enum, default_value = "keep")]
    pub(crate) dtype: DtypeArg,
    /// Export a generator although transformers computes its head with another activation
    #[arg(long, hide_short_help = true)]
    pub(crate) allow_inexact: bool,
    #[command(flatten)]
    pub(crate) stated: StatedArgs,
    /// Vocabulary, or `none` to write no tokenizer [default: vocab.txt beside CKPT or up to two
    /// directories above]
    #[arg(long, value_name = "FILE", help_heading = TOKENIZER)]
    pub(crate) vocab: Option<PathBuf>,
    /// Whether text is lower-cased [default: from the tokens of the vocabulary]
    #[arg(long, value_name = "BOOL", hide_short_help = true, help_heading = TOKENIZER)]
    pub(crate) do_lower_case: Option<bool>,
    /// Whether accents are stripped [default: from the tokens of the vocabulary]
    #[arg(long, value_name = "BOOL", hide_short_help = true, help_heading = TOKENIZER)]
    pub(crate) strip_accents: Option<bool>,
    /// Also measure the model on this text in its language, with every head count
    #[arg(long, value_name = "FILE", conflicts_with = "no_verify", help_heading = VERIFICATION)]
    pub(crate) text: Option<PathBuf>,
    /// Seed of the random numbers of --text
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        requires = "text",
        hide_short_help = true,
        help_heading = VERIFICATION
    )]
    pub(crate) seed: u64,
    /// Do not compare with the training graph (.meta, saved_model.pb)
    #[arg(long, hide_short_help = true, help_heading = VERIFICATION)]
    pub(crate) no_graph: bool,
    /// Publish without verification
    #[arg(long, help_heading = VERIFICATION)]
    pub(crate) no_verify: bool,
    #[command(flatten)]
    pub(crate) card: CardArgs,
}

/// The model card. What the checkpoint does not show is never guessed.
#[derive(Debug, Args)]
pub(crate) struct CardArgs {
    /// Also write README.md, a model card for the Hugging Face Hub
    #[arg(long, help_heading = CARD)]
    pub(crate) model_card: bool,
    /// Licence of the model for its card, as the Hub abbreviates it (apache-2.0)
    #[arg(long, value_name = "ID", requires = "model_card", hide_short_help = true, help_heading = CARD)]
    pub(crate) license: Option<String>,
    /// Languages of the model for its card (en,de)
    #[arg(
        long,
        value_name = "CODES",
        value_delimiter = ',',
        requires = "model_card",
        hide_short_help = true,
        help_heading = CARD
    )]
    pub(crate) language: Vec<String>,
    /// Repository on the Hub of the model that this one was made from, for its card
    #[arg(long, value_name = "REPO", requires = "model_card", hide_short_help = true, help_heading = CARD)]
    pub(crate) base_model: Option<String>,
}

impl CardArgs {
    /// Returns the card to write.
    pub(crate) fn card(&self) -> Option<ModelCard> {
        self.model_card.then(|| ModelCard {
            license: self.license.clone(),
            languages: self.language.clone(),
            base_model: self.base_model.clone(),
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// List every variable: name, dtype, shape, bytes, role
    #[arg(long)]
    pub(crate) variables: bool,
    /// List only the variables whose name matches
    #[arg(long, value_name = "REGEX")]
    pub(crate) grep: Option<Regex>,
    /// Also show what a comparison with the training graph (.meta, saved_model.pb) evaluates
    #[arg(long)]
    pub(crate) graph: bool,
    #[command(flatten)]
    pub(crate) stated: StatedArgs,
    /// Print one JSON document
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The directory with config.json and model.safetensors
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Compare with this checkpoint; its .index file is enough unless values were rounded
    #[arg(long, value_name = "CKPT")]
    pub(crate) source: Option<PathBuf>,
    /// Training step of the checkpoint [default: the latest]
    #[arg(long, value_name = "N", requires = "source")]
    pub(crate) step: Option<u64>,
    /// Rename variables first, as in the conversion; repeatable
    #[arg(long, value_name = "REGEX=REPLACEMENT", value_parser = Rename::parse, requires = "source")]
    pub(crate) rename: Vec<Rename>,
    /// Do not compare with the training graph (.meta, saved_model.pb) of the checkpoint
    #[arg(long, requires = "source")]
    pub(crate) no_graph: bool,
    /// What evaluates the training graph: `tensorflow` is the official library, if this program was
    /// built with it
    #[arg(
        long,
        value_enum,
        value_name = "EVALUATOR",
        default_value = "native",
        requires = "source",
        conflicts_with = "no_graph"
    )]
    pub(crate) graph_by: ReaderArg,
    /// Compare with the reference outputs in this file, computed from the batch in it
    #[arg(long, value_name = "FILE.safetensors")]
    pub(crate) golden: Option<PathBuf>,
    /// Largest deviation from --golden that passes
    #[arg(long, value_name = "X", default_value_t = GOLDEN_TOLERANCE, requires = "golden")]
    pub(crate) tolerance: f32,
    /// Measure the model on this text in its language, with every head count
    #[arg(long, value_name = "FILE")]
    pub(crate) text: Option<PathBuf>,
    /// The generator of the same checkpoint, which --text needs for a discriminator
    #[arg(long, value_name = "DIR", requires = "text")]
    pub(crate) generator: Option<PathBuf>,
    /// Seed of the random numbers of --text
    #[arg(long, value_name = "N", default_value_t = 0, requires = "text")]
    pub(crate) seed: u64,
    /// Number of threads [default: number of cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Also write a page that shows the model, every check and the weights, even if a check fails
    #[arg(long, value_name = "FILE.html", help_heading = OUTPUT)]
    pub(crate) report: Option<PathBuf>,
    /// Replace FILE of --report
    #[arg(long, requires = "report", help_heading = OUTPUT)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ProbeArgs {
    /// A converted directory with a tokenizer
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// The text, with or without [MASK]; after a generator's DIR a discriminator's may come first.
    /// Without a text, standard input is read, one text a line
    #[arg(value_name = "TEXT")]
    pub(crate) words: Vec<std::ffi::OsString>,
    /// Read texts from this file, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Seed of the random numbers
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Print one JSON document
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = OUTPUT)]
pub(crate) struct OutputArgs {
    /// Print JSON and nothing else on standard output: one document (`batch`: one document per line)
    #[arg(long)]
    pub(crate) json: bool,
    /// Print errors only
    #[arg(long, short, conflicts_with_all = ["json", "verbose"])]
    pub(crate) quiet: bool,
    /// Also list every tensor, every class, and every variable left out
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModelArg {
    /// Finds replaced tokens; what is usually meant by "ELECTRA"
    Discriminator,
    /// Fills masked tokens
    Generator,
    /// Both, into OUT/discriminator and OUT/generator
    Both,
    /// The discriminator of a fine-tuned checkpoint with the head of its task
    Finetuned,
}

impl ModelArg {
    pub(crate) fn key(self) -> &'static str {
        Models::from(self).key()
    }
}

impl From<ModelArg> for Models {
    fn from(arg: ModelArg) -> Self {
        match arg {
            ModelArg::Discriminator => Model::Discriminator.into(),
            ModelArg::Generator => Model::Generator.into(),
            ModelArg::Both => Self::Both,
            ModelArg::Finetuned => Model::FineTuned.into(),
        }
    }
}

impl From<Model> for ModelArg {
    fn from(model: Model) -> Self {
        match model {
            Model::Discriminator => Self::Discriminator,
            Model::Generator => Self::Generator,
            Model::FineTuned => Self::Finetuned,
        }
    }
}

/// The kinds of heads that variables do not tell apart.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TaskKindArg {
    /// A label for every token
    Tagging,
    /// A label for the whole text, from the first token
    Classification,
    /// Start and end of an answer, from every token
    Span,
}

impl From<TaskKindArg> for TaskKind {
    fn from(arg: TaskKindArg) -> Self {
        match arg {
            TaskKindArg::Tagging => Self::Tagging,
            TaskKindArg::Classification => Self::Classification,
            TaskKindArg::Span => Self::Span,
        }
    }
}

/// The weights themselves, or their averages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WeightsArg {
    Raw,
    Average,
}

impl From<WeightsArg> for Weights {
    fn from(arg: WeightsArg) -> Self {
        match arg {
            WeightsArg::Raw => Self::Raw,
            WeightsArg::Average => Self::Average,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum DtypeArg {
    Keep,
    F32,
    F16,
    Bf16,
}

impl From<DtypeArg> for TargetDtype {
    fn from(arg: DtypeArg) -> Self {
        match arg {
            DtypeArg::Keep => Self::Keep,
            DtypeArg::F32 => Self::F32,
            DtypeArg::F16 => Self::F16,
            DtypeArg::Bf16 => Self::Bf16,
        }
    }
}

/// [`Activation`] with the names that config.json uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ActivationArg(pub(crate) Activation);

impl ValueEnum for ActivationArg {
    fn value_variants<'a>() -> &'a [Self] {
        const VARIANTS: [ActivationArg; Activation::ALL.len()] = {
            let mut variants = [ActivationArg(Activation::Gelu); Activation::ALL.len()];
            let mut i = 0;
            while i < variants.len() {
                variants[i] = ActivationArg(Activation::ALL[i]);
                i += 1;
            }
            variants
        };
        &VARIANTS
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.0.key()))
    }
}
