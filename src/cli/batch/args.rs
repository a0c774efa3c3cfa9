//! The arguments of `batch`, and those of one of its jobs.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser};

use crate::batch::{NameTemplate, Shard, Steps, parse_size};
use crate::cli::args::{ExportArgs, ModelArg, OutputArgs, ReadingArgs};

/// Heading of the options that only `batch` has.
const BATCH: &str = "Many checkpoints";

#[derive(Debug, Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a switch that one types"
)]
#[command(
    override_usage = "electra-convert batch --model <MODEL> [OPTIONS] SOURCE... OUT\n       \
                            electra-convert batch [--model <MODEL>] --manifest FILE [OPTIONS] OUT"
)]
pub(crate) struct BatchArgs {
    /// Model to export of every checkpoint
    #[arg(long, value_enum, value_name = "MODEL")]
    pub(crate) model: Option<ModelArg>,
    /// Run directories, directories or bucket prefixes with runs below them, or checkpoints; then OUT, the directory
    /// of all exports, or a URL of one in a bucket (feature `cloud`)
    #[arg(value_name = "SOURCE... OUT", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Training steps to convert: 400,800 or 100000..1000000:100000 (both ends included, then the distance)
    /// [default: all]
    #[arg(long, value_name = "STEPS", value_parser = Steps::parse, help_heading = BATCH)]
    pub(crate) steps: Option<Steps>,
    /// Jobs as JSON lines: {"checkpoint": PATH, "out": NAME, "model": MODEL, "step": N, "options": {"dtype": "f16"}};
    /// only `checkpoint` is required
    #[arg(long, value_name = "FILE", conflicts_with = "steps", help_heading = BATCH)]
    pub(crate) manifest: Option<PathBuf>,
    /// One job as a line of a manifest
    #[arg(long, value_name = "JSON", conflicts_with_all = ["steps", "manifest"], hide = true)]
    pub(crate) job: Option<String>,
    /// Names of the output directories; fields: {run}, {step}, {model}, {checkpoint}
    #[arg(
        long,
        value_name = "TEMPLATE",
        value_parser = NameTemplate::parse,
        default_value = NameTemplate::DEFAULT,
        help_heading = BATCH
    )]
    pub(crate) name_template: NameTemplate,
    /// Convert shard I of N, counted from 0, by the names of the output directories
    #[arg(long, value_name = "I/N", value_parser = Shard::parse, help_heading = BATCH)]
    pub(crate) shard: Option<Shard>,
    /// The most conversions at once [default: number of cores]
    #[arg(long, value_name = "N", help_heading = BATCH)]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Memory for all conversions, by estimate: 2GiB, 1500MB [default: three quarters of what is available]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = BATCH)]
    pub(crate) memory: Option<u64>,
    /// Stop all conversions after the first failure; by default the others go on
    #[arg(long, help_heading = BATCH)]
    pub(crate) fail_fast: bool,
    /// Print what would be done, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Replace earlier exports that were made from other inputs; those that match are skipped
    #[arg(long)]
    pub(crate) force: bool,
    /// Convert again, and replace, exports that match
    #[arg(long, help_heading = BATCH)]
    pub(crate) redo: bool,
    /// Number of threads that all conversions share [default: number of cores]
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub(crate) threads: Option<NonZeroUsize>,
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
    #[command(flatten)]
    pub(crate) export: ExportArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// The options of one job of a manifest.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
pub(crate) struct JobArgs {
    #[arg(long, value_enum)]
    pub(crate) model: Option<ModelArg>,
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
    #[command(flatten)]
    pub(crate) export: ExportArgs,
}
