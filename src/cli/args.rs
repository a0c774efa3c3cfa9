//! The command line, as clap reads it. Help, man page and completions come from these types.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use candle_electra::Activation;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use electra_convert::config::{Epsilon, TaskKind};
use electra_convert::plan::Weights;
use electra_convert::verify::GOLDEN_TOLERANCE;
use electra_convert::{Model, Models, Rename, TargetDtype};
use regex::Regex;

use super::exit::Exit;

/// Turn an ELECTRA TensorFlow checkpoint into a Hugging Face model, without TensorFlow.
///
/// Reads a checkpoint of google-research/electra, infers its configuration, writes
/// model.safetensors and config.json for the model that you name, and proves that they are right
/// before they appear.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    override_usage = "electra-convert --model <discriminator|generator|both|finetuned> [OPTIONS] CKPT OUT\n       \
                      electra-convert <COMMAND>",
    after_help = "Examples:\n  \
        electra-convert inspect model.ckpt-400           what is inside?\n  \
        electra-convert --model discriminator runs/ out  export the latest checkpoint of a folder\n  \
        electra-convert verify out                       is it still right?\n  \
        electra-convert probe out 'The fox jumps.'       what does it know?",
    after_long_help = Exit::help()
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) convert: ConvertArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The main job, spelled out
    #[command(hide = true)]
    Convert(ConvertArgs),
    /// Show what a checkpoint holds: models, configuration, variables
    Inspect(InspectArgs),
    /// Verify a converted folder again
    Verify(VerifyArgs),
    /// Look at what a converted model knows: fill masks, find replaced tokens
    Probe(ProbeArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell to write it for
        shell: Shell,
    },
    /// Print the manual page
    Man,
}

/// Where the checkpoint is and how its variables are named.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    /// The checkpoint: a prefix (model.ckpt-400), one of its files, a folder, a zip archive, or what
    /// lies in one (archive.zip!/folder)
    #[arg(value_name = "CKPT", required = true)]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Take the checkpoint of this training step
    #[arg(long, value_name = "N")]
    pub(crate) step: Option<u64>,
    /// Rename variables first, for forks with other scopes; repeatable, $1 is the first group
    #[arg(long, value_name = "REGEX=REPLACEMENT", value_parser = Rename::parse)]
    pub(crate) rename: Vec<Rename>,
    /// What reads the values; tensorflow is the official library, if this program was built with it
    #[arg(long, value_enum, value_name = "READER", default_value = "native")]
    pub(crate) reader: ReaderArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReaderArg {
    Native,
    Tensorflow,
}

/// What the shapes of variables cannot tell.
#[derive(Debug, Args)]
#[command(next_help_heading = "Configuration")]
pub(crate) struct StatedArgs {
    /// A Hugging Face or BERT config.json, checked against the shapes
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Number of attention heads [default: that of the training graph, else hidden size / 64]
    #[arg(long, value_name = "N")]
    pub(crate) num_attention_heads: Option<usize>,
    /// Activation of the feed-forward layers [default: that of the training graph, else gelu]
    #[arg(long, value_name = "NAME", value_enum)]
    pub(crate) hidden_act: Option<ActivationArg>,
    /// Epsilon of every LayerNorm [default: that of the training graph, else 1e-12]
    #[arg(long, value_name = "X")]
    pub(crate) layer_norm_eps: Option<Epsilon>,
    /// Leave out variables that are not part of any ELECTRA, such as a head of other code, instead of
    /// failing
    #[arg(long)]
    pub(crate) allow_unknown: bool,
    /// Which weights to export, where the checkpoint also holds moving averages of them
    #[arg(long, value_enum, value_name = "WEIGHTS", default_value = "raw")]
    pub(crate) weights: WeightsArg,
    /// Which task's head to export, of several
    #[arg(long, value_name = "NAME", help_heading = "Fine-tuned models")]
    pub(crate) task: Option<String>,
    /// What its head is on, where neither its name nor the training graph tells
    #[arg(
        long,
        value_enum,
        value_name = "KIND",
        help_heading = "Fine-tuned models"
    )]
    pub(crate) task_kind: Option<TaskKindArg>,
    /// Names of its labels, in their order [default: LABEL_0,LABEL_1,…]
    #[arg(
        long,
        value_name = "A,B,C",
        value_delimiter = ',',
        help_heading = "Fine-tuned models"
    )]
    pub(crate) labels: Option<Vec<String>>,
}

#[derive(Debug, Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a switch that one types"
)]
pub(crate) struct ConvertArgs {
    /// Which model to export: a training checkpoint holds two
    #[arg(long, value_enum, value_name = "MODEL")]
    pub(crate) model: Option<ModelArg>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// The folder to write to; made if need be
    #[arg(required = true)]
    pub(crate) out: Option<PathBuf>,
    /// Element type of the weights; keep turns float64 into float32
    #[arg(long, value_enum, default_value = "keep")]
    pub(crate) dtype: DtypeArg,
    /// Print what would be done, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Replace the files of an earlier export; other files in OUT are never touched
    #[arg(long)]
    pub(crate) force: bool,
    /// Also measure the model on this text in its language, with every head count
    #[arg(long, value_name = "FILE", conflicts_with = "no_verify")]
    pub(crate) text: Option<PathBuf>,
    /// Fix what --text draws at random
    #[arg(long, value_name = "N", default_value_t = 0, requires = "text")]
    pub(crate) seed: u64,
    /// Publish without verifying
    #[arg(long)]
    pub(crate) no_verify: bool,
    /// How many threads convert and verify [default: as many as there are cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Vocabulary, or `none` to leave the tokenizer out [default: vocab.txt beside CKPT or up to two
    /// directories above]
    #[arg(long, value_name = "FILE", help_heading = "Tokenizer")]
    pub(crate) vocab: Option<PathBuf>,
    /// Whether text is lower-cased [default: by the tokens of the vocabulary]
    #[arg(long, value_name = "BOOL", help_heading = "Tokenizer")]
    pub(crate) do_lower_case: Option<bool>,
    /// Whether accents are stripped [default: by the tokens of the vocabulary]
    #[arg(long, value_name = "BOOL", help_heading = "Tokenizer")]
    pub(crate) strip_accents: Option<bool>,
    /// Export a generator although transformers computes its head with another activation
    #[arg(long)]
    pub(crate) allow_inexact: bool,
    #[command(flatten)]
    pub(crate) stated: StatedArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// List every variable: name, type, shape, bytes, role
    #[arg(long)]
    pub(crate) variables: bool,
    /// List only the variables whose name matches
    #[arg(long, value_name = "REGEX")]
    pub(crate) grep: Option<Regex>,
    #[command(flatten)]
    pub(crate) stated: StatedArgs,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The folder with config.json and model.safetensors
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Compare with this checkpoint; its .index file is enough unless values were rounded
    #[arg(long, value_name = "CKPT")]
    pub(crate) source: Option<PathBuf>,
    /// Take the checkpoint of this training step
    #[arg(long, value_name = "N", requires = "source")]
    pub(crate) step: Option<u64>,
    /// Rename variables first, as in the conversion; repeatable
    #[arg(long, value_name = "REGEX=REPLACEMENT", value_parser = Rename::parse, requires = "source")]
    pub(crate) rename: Vec<Rename>,
    /// Compare with the outputs in this file, for the batch in it
    #[arg(long, value_name = "FILE.safetensors")]
    pub(crate) golden: Option<PathBuf>,
    /// The largest deviation from --golden allowed
    #[arg(long, value_name = "X", default_value_t = GOLDEN_TOLERANCE, requires = "golden")]
    pub(crate) tolerance: f32,
    /// Measure the model on this text in its language, with every head count
    #[arg(long, value_name = "FILE")]
    pub(crate) text: Option<PathBuf>,
    /// The generator of the same checkpoint, which --text needs to judge a discriminator
    #[arg(long, value_name = "DIR", requires = "text")]
    pub(crate) generator: Option<PathBuf>,
    /// Fix what --text draws at random
    #[arg(long, value_name = "N", default_value_t = 0, requires = "text")]
    pub(crate) seed: u64,
    /// How many threads to use [default: as many as there are cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ProbeArgs {
    /// A converted folder with a tokenizer
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// The text, with or without [MASK]; after a generator's DIR a discriminator's may come first.
    /// Without a text, standard input is read, a text a line
    #[arg(value_name = "TEXT")]
    pub(crate) words: Vec<std::ffi::OsString>,
    /// Read texts from this file, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Fix what is drawn at random
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Print one JSON document
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Print one JSON document on standard output, and nothing else there
    #[arg(long)]
    pub(crate) json: bool,
    /// Print errors only
    #[arg(long, short, conflicts_with_all = ["json", "verbose"])]
    pub(crate) quiet: bool,
    /// Also list every tensor and every variable left out
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModelArg {
    /// Tells which tokens were replaced; what is usually meant by "ELECTRA"
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
        match self {
            Self::Discriminator => Model::Discriminator.key(),
            Self::Generator => Model::Generator.key(),
            Self::Both => "both",
            Self::Finetuned => Model::FineTuned.key(),
        }
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

/// The kinds that have the same variables.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TaskKindArg {
    /// On every token
    Tagging,
    /// On the first token, for the whole text
    Classification,
    /// Start and end of an answer, on every token
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
