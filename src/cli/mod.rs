//! The command line: arguments, progress, reports, exit codes.
//!
//! Only this module prints. Reports go to standard output, everything else to standard error.

mod args;
mod checks;
mod convert;
mod exit;
mod hint;
mod input;
mod inspect;
mod probe;
mod progress;
mod report;
mod sys;
mod text;
mod verify;

use std::env;
use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::process::{self, ExitCode};

use clap::{CommandFactory as _, Parser as _};
use electra_convert::Error;
use electra_convert::report::{
    Command as ReportCommand, Document, FailureReport, Status, VerificationReport,
};

use args::{Cli, Command};
use exit::Exit;

/// Runs the program.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let (command, json) = match &cli.command {
        None => (ReportCommand::Convert, cli.convert.output.json),
        Some(Command::Convert(args)) => (ReportCommand::Convert, args.output.json),
        Some(Command::Inspect(args)) => (ReportCommand::Inspect, args.json),
        Some(Command::Verify(args)) => (ReportCommand::Verify, args.output.json),
        Some(Command::Probe(args)) => (ReportCommand::Probe, args.json),
        // These have no JSON form.
        Some(Command::Completions { .. } | Command::Man) => (ReportCommand::Convert, false),
    };
    limit_candle(match &cli.command {
        None => cli.convert.threads,
        Some(Command::Convert(args)) => args.threads,
        Some(Command::Verify(args)) => args.threads,
        Some(_) => None,
    });
    let result = match cli.command {
        None => convert::run(&cli.convert),
        Some(Command::Convert(args)) => convert::run(&args),
        Some(Command::Inspect(args)) => inspect::run(&args),
        Some(Command::Verify(args)) => verify::run(&args),
        Some(Command::Probe(args)) => probe::run(&args),
        Some(Command::Completions { shell }) => completions(shell),
        Some(Command::Man) => man(),
    };
    let exit = match result {
        Ok(()) => Exit::Done,
        // The reader of standard output has closed it (`| head`).
        Err(error) if is_broken_pipe(&error) => Exit::Done,
        Err(error) => {
            let exit = Exit::of(&error);
            fail(&error, exit, json.then_some(command));
            exit
        }
    };
    ExitCode::from(exit as u8)
}

/// Restarts the program with the number of threads in its environment. candle takes the size of one of
/// its pools only from there, and a running process cannot change its environment safely.
fn limit_candle(threads: Option<NonZeroUsize>) {
    const VARIABLES: [&str; 2] = ["CANDLE_NUM_THREADS", "RAYON_NUM_THREADS"];
    let Some(threads) = threads else {
        return;
    };
    let value = threads.to_string();
    let is_set = |variable: &&str| env::var_os(variable).is_some_and(|found| *found == *value);
    if VARIABLES.iter().all(is_set) {
        return;
    }
    let Ok(program) = env::current_exe() else {
        return;
    };
    let mut command = process::Command::new(program);
    command.args(env::args_os().skip(1));
    command.envs(VARIABLES.map(|variable| (variable, &value)));
    // On failure the limit holds for all other threads.
    sys::replace_process(command);
}

/// Prints help, or the error in the arguments. Arguments that could not be parsed have no `json` field:
/// `--json` is searched for among the words.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // The reader of standard output has closed it.
        let _ = error.print();
        return ExitCode::from(Exit::Done as u8);
    }
    let _ = error.print();
    let words: Vec<_> = env::args_os()
        .skip(1)
        .take_while(|word| word != "--")
        .collect();
    if words.iter().any(|word| word == "--json") {
        let command = match words.first().and_then(|word| word.to_str()) {
            Some("inspect") => ReportCommand::Inspect,
            Some("verify") => ReportCommand::Verify,
            Some("probe") => ReportCommand::Probe,
            _ => ReportCommand::Convert,
        };
        let message = error.render().to_string();
        let message = message.strip_prefix("error: ").unwrap_or(&message).trim();
        let body = FailureReport::new(Exit::Usage as u8, message.to_owned(), None);
        let document = Document::new(command, Status::Failed, body);
        let _ = report::print_json(&document);
    }
    ExitCode::from(Exit::Usage as u8)
}

/// Prints an error; `json` is the command if `--json` was given.
fn fail(error: &anyhow::Error, exit: Exit, json: Option<ReportCommand>) {
    let mut message = format!("{error:#}");
    if let Some(hint) = hint::hint(error) {
        message.push_str("; ");
        message.push_str(&hint);
    }
    // Only usage errors have several lines; elsewhere a line break comes from a name in a file.
    let shown = match exit {
        Exit::Usage => text::printable(&message).into_owned(),
        _ => text::printable(&message).replace('\n', "\\n"),
    };
    let style = text::ERROR;
    let _ = writeln!(anstream::stderr(), "{style}error:{style:#} {shown}");
    // A failed verification has printed its own document.
    if let Some(command) = json
        && error.downcast_ref::<exit::Failed>().is_none()
    {
        let verification = match error.downcast_ref() {
            Some(Error::Rejected { report, .. }) => Some(VerificationReport::new(report)),
            _ => None,
        };
        let body = FailureReport::new(exit as u8, message, verification);
        let document = Document::new(command, Status::Failed, body);
        let _ = report::print_json(&document);
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    io::stdout().write_all(&script)?;
    Ok(())
}

fn man() -> anyhow::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    io::stdout().write_all(&page)?;
    Ok(())
}
