//! The command `convert`.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use clap::CommandFactory as _;
use dialoguer::Select;
use dialoguer::theme::ColorfulTheme;
use tf_checkpoint::address::Use;

use super::args::{ConvertArgs, ModelArg, SourceArgs};
use super::caller::Caller;
use super::command::Cli;
use super::exit::{Shown, Usage};
use super::page::PageFile;
use super::progress::Signals;
use super::settings::{read_by, settings};
use super::text::{self, columns, count};
use super::{input, report};
use crate::report::{
    CheckpointReport, Command, ConversionReport, Document, DryRunReport, Page, PlanReport, Status,
    VerificationReport,
};
use crate::{ElectraCheckpoint, Error, Model, OpenOptions, Plan, PlanOptions, Progress};

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
    // The options are the same for every model, so that one may be chosen afterwards.
    let model = args.model.unwrap_or(ModelArg::Both);
    let mut settings = settings(model, &args.source.reading, &args.export)?;
    if args.model.is_none() {
        let options = settings.plan_options(&source)?;
        settings.models = choose_model(args, caller, &source, &options, signals)?.into();
    }
    let start = Instant::now();
    let planned = settings
        .conversion(&source)?
        .replace(args.force)
        .threads(args.threads)
        .for_page(page.is_some())
        .plan_with(&*caller.progress(hidden, Some(signals)))?;
    if !args.output.quiet {
        caller.warn(planned.warnings());
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
            return Err(shown(error, page, (&source, &plans)));
        }
        (exports, _) => exports?,
    };
    // The step was read before the export was published: a checkpoint that is gone now is no failure.
    let seconds = start.elapsed().as_secs_f64();
    let report = ConversionReport::new(&source, &exports, seconds);
    if let Some(page) = &page {
        let html = Page::of_conversion(&report).html();
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
        let mut text = report::conversion(&report, args.output.verbose);
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
) -> anyhow::Error {
    let Error::Rejected { model, report } = &error else {
        return error.into();
    };
    // The failure is worth a page without the step.
    let checkpoint = CheckpointReport::new(source);
    let checkpoint = checkpoint.unwrap_or_else(|_| CheckpointReport::at_step(source, None));
    let verification = VerificationReport::new(report);
    let html = Page::of_rejected(&checkpoint, plans, model.key(), &verification);
    match page.write(&html.html()) {
        Ok(()) => Shown {
            page: page.path().to_owned(),
            error,
        }
        .into(),
        Err(unwritten) => anyhow::Error::from(error).context(format!("{unwritten:#}")),
    }
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

/// Returns the command whose name differs from `word` by a typing error; `None` if there is none.
fn meant_command(word: &Path) -> Option<String> {
    let word = word.to_str()?;
    let names = Cli::command();
    let names = names.get_subcommands().map(clap::Command::get_name);
    let near = names.filter(|name| strsim::damerau_levenshtein(name, word) <= 2);
    near.map(str::to_owned).next()
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
        "--model is required; {} holds\n{}",
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
