//! The command line with all commands. Help, manual page and completions are generated from these types.

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use super::args::{ConvertArgs, InspectArgs, ProbeArgs, VerifyArgs};
use super::batch::args::BatchArgs;
use super::exit::Exit;

/// Convert an ELECTRA TensorFlow checkpoint to a Hugging Face model, without TensorFlow.
///
/// Reads a checkpoint of google-research/electra, infers its configuration, and writes
/// model.safetensors, config.json and tokenizer files of the model that you name. The result is
/// verified before it is published in OUT.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    override_usage = "electra-convert [convert] --model <discriminator|generator|both|finetuned> [OPTIONS] CKPT OUT\n       \
                      electra-convert <COMMAND>",
    after_help = "Examples:\n  \
        electra-convert inspect model.ckpt-400            show what a checkpoint holds\n  \
        electra-convert --model discriminator runs/ out   convert the latest checkpoint in runs/\n  \
        electra-convert batch --model both runs/ out      convert all checkpoints below runs/\n  \
        electra-convert verify out                        verify the result again\n  \
        electra-convert probe out 'The fox jumps.'        run the result on a text",
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
    /// Convert a model of a checkpoint; the word `convert` may be left out
    Convert(ConvertArgs),
    /// Convert many checkpoints: steps of a run, runs below a directory, or the lines of a manifest
    Batch(Box<BatchArgs>),
    /// Show what a checkpoint holds: models, configuration, variables
    Inspect(InspectArgs),
    /// Verify a converted directory again
    Verify(VerifyArgs),
    /// Run a converted model on text: fill masks, find replaced tokens
    Probe(ProbeArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell that the script is for
        shell: Shell,
    },
    /// Print the manual page
    Man,
}
