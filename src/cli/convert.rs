//! The command `convert`.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::config::{ConfigFile, ConfigOptions, TaskKind};
use crate::export::MAX_CONFIG_LEN;
use crate::report::{
    CheckpointReport, Command, ConversionReport, Document, DryRunReport, Page, PlanReport, Status,
    VerificationReport,
};
use crate::tokenizer::{self, TokenizerSetup, Vocabulary};
use crate::{
    Conversion, ElectraCheckpoint, Error, Fingerprint, Model, Models, OpenOptions, Plan,
    PlanOptions, Progress, TextRequest,
};
use anyhow::Context as _;
use clap::CommandFactory as _;
use dialoguer::Select;
use dialoguer::theme::ColorfulTheme;
use tf_checkpoint::ReadBy;
use tf_checkpoint::address::{Use, without_query};

use super::args::{
    ConvertArgs, ExportArgs, ModelArg, ReaderArg, ReadingArgs, SourceArgs, StatedArgs,
};
use super::caller::Caller;
use super::command::Cli;
use super::exit::{Shown, Usage};
use super::page::PageFile;
use super::progress::Signals;
use super::text::{self, columns, count};
use super::{checks, input, report};

/// Runs a conversion and prints its report.
pub(crate) fn run(args: &ConvertArgs, caller: &Caller<'_>) -> anyhow::Result<()> {
    caller.until_signal(|signals| run_until_signal(args, caller, signals))
}

fn run_until_signal(
    args: &ConvertArgs,
    caller: &Caller<'_>,
    signals: &Signals,
) -> anyhow::Result<()> {
    let out = args.out.clone().expect("clap requires it");
    input::refuse_address("OUT", &out, Use::Output)?;
    let page = args.report.as_ref();
    let page = page
        .map(|path| PageFile::new(path, args.force))
        .transpose()?;
    let hidden = args.output.quiet || args.output.json;
    if let Some(page) = page.as_ref().filter(|page| page.is(&out)) {
        let page = page.path().display();
        return Err(Usage(format!("--report {page} and OUT are the same path")).into());
    }
    let source = open(&args.source, &*caller.progress(hidden, None))?;
    let options = PlanOptions {
        config: stated(&args.export.stated)?,
        dtype: args.export.dtype.into(),
        allow_unknown: args.export.stated.allow_unknown,
        allow_inexact: args.export.allow_inexact,
        weights: args.export.stated.weights.into(),
        tokenizer: tokenizer(args, caller, &source)?,
    };
    let model = match args.model {
        Some(model) => model,
        None => choose_model(args, caller, &source, &options, signals)?,
    };
    let text = text_request(&args.export)?;
    let start = Instant::now();
    let planned = Conversion::new(&source, Models::from(model))
        .options(options)
        .replace(args.force)
        .verify(!args.export.no_verify)
        .compare_with_graph(!args.export.no_graph)
        .threads(args.threads)
        .text(text)
        .model_card(args.export.card.card())
        .for_page(page.is_some())
        .plan_with(&*caller.progress(hidden, Some(signals)))?;
    if !args.output.quiet {
        // Both models share the warnings about the vocabulary.
        let mut warnings: Vec<String> = idle_renames(&source).collect();
        for warning in planned.plans().iter().flat_map(|plan| &plan.warnings) {
            if !warnings.contains(warning) {
                warnings.push(warning.clone());
            }
        }
        caller.warn(warnings);
    }
    if args.dry_run {
        let report = DryRunReport::new(&source, planned.plans())?;
        caller.use_plans(&planned)?;
        if args.output.json {
            caller.document(&Document::new(Command::Convert, Status::Planned, report))?;
        } else if !args.output.quiet {
            report::print_text(&report::dry_run(&report))?;
        }
        return Ok(());
    }

    let plans: Vec<PlanReport> = match page {
        Some(_) => planned.plans().iter().map(PlanReport::new).collect(),
        None => Vec::new(),
    };
    let bar = caller.progress(hidden, Some(signals));
    let exports = planned.run(&out, &*bar);
    drop(bar);
    let exports = match (exports, &page) {
        (Err(error), Some(page)) => {
            let no_graph = checks::no_graph(args.export.no_graph, true);
            return Err(shown(error, page, (&source, &plans), no_graph));
        }
        (exports, _) => exports?,
    };
    let no_graph = checks::no_graph(args.export.no_graph, false);
    // The step was read before the export was published: a checkpoint that is gone now is no failure.
    let seconds = start.elapsed().as_secs_f64();
    let report = ConversionReport::new(&source, &exports, seconds);
    if let Some(page) = &page {
        let html = Page::of_conversion(&report).no_graph(no_graph).html();
        let published = || format!("{} is complete and was published", out.display());
        page.write(&html).with_context(published)?;
    }
    signals.release();
    if !args.output.quiet {
        caller.warn(exports.iter().flat_map(|export| export.warnings.clone()));
    }
    if args.output.json {
        caller.document(&Document::new(Command::Convert, Status::Converted, report))?;
    } else if !args.output.quiet {
        let mut text = report::conversion(&report, args.output.verbose, no_graph);
        text.push_str(&report::page_line(page.as_ref()));
        report::print_text(&text)?;
    }
    Ok(())
}

/// Writes the page of a conversion that failed its verification; returns the error that names the page.
fn shown(
    error: Error,
    page: &PageFile,
    (source, plans): (&ElectraCheckpoint, &[PlanReport]),
    no_graph: &str,
) -> anyhow::Error {
    let Error::Rejected { model, report } = &error else {
        return error.into();
    };
    // The failure is worth a page without the step.
    let checkpoint = CheckpointReport::new(source);
    let checkpoint = checkpoint.unwrap_or_else(|_| CheckpointReport::at_step(source, None));
    let verification = VerificationReport::new(report);
    let html = Page::of_rejected(&checkpoint, plans, model.key(), &verification).no_graph(no_graph);
    match page.write(&html.html()) {
        Ok(()) => Shown {
            page: page.path().to_owned(),
            error,
        }
        .into(),
        Err(unwritten) => anyhow::Error::from(error).context(format!("{unwritten:#}")),
    }
}

/// Returns the error for an option that needs TensorFlow's library.
#[cfg(not(feature = "tensorflow"))]
pub(super) fn built_without(option: &str) -> String {
    format!(
        "{option} tensorflow: this program was built without it; build it with cargo install \
         --features tensorflow"
    )
}

/// Opens the checkpoint named by the arguments.
pub(crate) fn open(
    args: &SourceArgs,
    progress: &dyn Progress,
) -> anyhow::Result<ElectraCheckpoint> {
    let path = args.checkpoint.as_deref().expect("clap requires it");
    let options = OpenOptions::default()
        .step(args.step)
        .renames(args.reading.rename.clone())
        .read_by(read_by(&args.reading)?);
    let error = match options.open_with(path, progress) {
        Ok(source) => return Ok(source),
        Err(error) => anyhow::Error::from(error),
    };
    Err(match meant_command(path) {
        Some(command) if matches!(path.try_exists(), Ok(false)) => {
            error.context(if path.as_os_str() == command.as_str() {
                format!("the command comes before its options: electra-convert {command} ...")
            } else {
                let path = path.display();
                format!("there is no command {path}, did you mean {command}?")
            })
        }
        _ => error,
    })
}

/// Returns what reads the values.
#[cfg_attr(
    feature = "tensorflow",
    allow(clippy::unnecessary_wraps, reason = "fails without the feature")
)]
pub(super) fn read_by(args: &ReadingArgs) -> anyhow::Result<ReadBy> {
    match args.reader {
        ReaderArg::Native => Ok(ReadBy::Native),
        #[cfg(feature = "tensorflow")]
        ReaderArg::Tensorflow => Ok(ReadBy::TensorFlow),
        #[cfg(not(feature = "tensorflow"))]
        ReaderArg::Tensorflow => Err(Usage(built_without("--reader")).into()),
    }
}

/// Returns the command whose name differs from `word` by a typing error; `None` if there is none.
fn meant_command(word: &Path) -> Option<String> {
    let word = word.to_str()?;
    let names = Cli::command();
    let names = names.get_subcommands().map(clap::Command::get_name);
    let near = names.filter(|name| strsim::damerau_levenshtein(name, word) <= 2);
    near.map(str::to_owned).next()
}

/// Returns the settings stated by the arguments. Reads the file of `--config`.
pub(crate) fn stated(args: &StatedArgs) -> anyhow::Result<ConfigOptions> {
    let file = args
        .config
        .as_ref()
        .map(|path| {
            let text = input::read("--config", path, MAX_CONFIG_LEN)?;
            let shown = without_query(path);
            let file = ConfigFile::from_json(shown.to_owned(), &text)
                .map_err(|error| Usage(format!("--config {}: {error}", shown.display())))?;
            anyhow::Ok(file)
        })
        .transpose()?;
    Ok(ConfigOptions {
        num_attention_heads: args.num_attention_heads,
        hidden_act: args.hidden_act.map(|arg| arg.0),
        layer_norm_eps: args.layer_norm_eps,
        file,
        task: args.task.clone(),
        task_kind: args.task_kind.map(TaskKind::from),
        labels: args.labels.clone(),
        ..ConfigOptions::default()
    })
}

/// The longest text read, in bytes: a few kilobytes are enough, and time grows with the length.
const MAX_TEXT_LEN: u64 = 1 << 20;

/// Reads the file of `--text`.
pub(crate) fn read_text(path: &Path) -> anyhow::Result<String> {
    input::read_text("--text", path, MAX_TEXT_LEN)
}

/// Returns the measurement on text that the arguments ask for. Reads the text.
pub(super) fn text_request(args: &ExportArgs) -> anyhow::Result<Option<TextRequest>> {
    let request = |path: &PathBuf| {
        Ok(TextRequest {
            text: read_text(path)?,
            path: path.clone(),
            seed: args.seed,
        })
    };
    args.text.as_ref().map(request).transpose()
}

/// Reads the file of `--vocab`.
pub(super) fn read_vocabulary(path: &Path) -> anyhow::Result<(Vocabulary, Fingerprint)> {
    let bytes = input::read("--vocab", path, tokenizer::MAX_LEN)?;
    let vocabulary = Vocabulary::parse(without_query(path), &bytes).map_err(Error::from)?;
    Ok((vocabulary, Fingerprint::of(&bytes)))
}

/// Finds and reads the vocabulary; warns if there is none.
fn tokenizer(
    args: &ConvertArgs,
    caller: &Caller<'_>,
    source: &ElectraCheckpoint,
) -> anyhow::Result<Option<TokenizerSetup>> {
    let vocabulary = match &args.export.vocab {
        Some(path) if path.as_os_str() == "none" => return Ok(None),
        Some(path) => Some(read_vocabulary(path)?.0),
        None => source.vocabulary()?,
    };
    let Some(vocabulary) = vocabulary else {
        if !args.output.quiet {
            let places: Vec<String> = source
                .vocabulary_places()
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            caller.warn([format!(
                "no vocabulary found, so no tokenizer is written (looked for {}); give --vocab FILE",
                places.join(", ")
            )]);
        }
        return Ok(None);
    };
    let [lower, strip] = [args.export.do_lower_case, args.export.strip_accents];
    let setup = TokenizerSetup::new(vocabulary, lower, strip);
    Ok(Some(setup))
}

/// Asks for the model on a terminal; elsewhere returns an error that lists the exact commands.
fn choose_model(
    args: &ConvertArgs,
    caller: &Caller<'_>,
    source: &ElectraCheckpoint,
    options: &PlanOptions,
    signals: &Signals,
) -> anyhow::Result<ModelArg> {
    let setup = source.setup()?;
    let choices: Vec<(ModelArg, String)> = setup
        .models()
        .map(|model| {
            let about = match source.plan(model, options) {
                Ok(plan) => about(&plan),
                Err(error) => format!("cannot be exported: {error}"),
            };
            (ModelArg::from(model), about)
        })
        .collect();
    let has_both = Model::BOTH.iter().all(|&model| setup.place(model).is_ok());
    let both = has_both.then(|| (ModelArg::Both, "into a folder for each".to_owned()));
    let choices: Vec<(ModelArg, String)> = choices.into_iter().chain(both).collect();

    let may_ask = io::stdin().is_terminal() && io::stderr().is_terminal();
    if may_ask && !args.output.json && !args.output.quiet {
        let rows: Vec<[String; 2]> = choices
            .iter()
            .map(|(model, about)| [model.key().to_owned(), about.clone()])
            .collect();
        // The prompt hides the cursor.
        signals.hold();
        let answer = Select::with_theme(&ColorfulTheme::default())
            .with_prompt("Which model of this checkpoint?")
            .items(columns(2, &rows).lines().map(str::trim_start))
            .default(0)
            .interact();
        if answer.is_err() {
            let _ = dialoguer::console::Term::stderr().show_cursor();
            signals.terminate();
        }
        signals.release();
        return Ok(choices[answer.context("no model was chosen")?].0);
    }

    let rows: Vec<[String; 2]> = choices
        .iter()
        .flat_map(|(model, about)| {
            [
                [model.key().to_owned(), about.clone()],
                [String::new(), command_with(&caller.words, *model)],
            ]
        })
        .collect();
    Err(Usage(format!(
        "say which model to export with --model; {} holds\n{}",
        text::printable(&source.checkpoint().location().prefix().to_string_lossy()),
        columns(2, &rows).trim_end()
    ))
    .into())
}

fn about(plan: &Plan) -> String {
    let config = plan.config();
    format!(
        "{}, hidden size {}, {}",
        count(config.num_hidden_layers, "layer"),
        config.hidden_size,
        count(plan.parameters(), "parameter")
    )
}

/// Returns the command line with `--model` added.
fn command_with(typed: &[OsString], model: ModelArg) -> String {
    let words = [OsString::from("--model"), model.key().into()];
    let command = match typed.split_first() {
        Some((first, rest)) if first == "convert" => {
            [std::slice::from_ref(first), &words, rest].concat()
        }
        _ => [&words[..], typed].concat(),
    };
    let quoted: Vec<String> = command
        .iter()
        .map(|word| text::shell_quoted(word))
        .collect();
    format!("electra-convert {}", quoted.join(" "))
}

fn idle_renames(source: &ElectraCheckpoint) -> impl Iterator<Item = String> {
    source
        .inventory()
        .idle_renames()
        .map(|rename| format!("--rename '{rename}' changes no variable's name in this checkpoint"))
}
