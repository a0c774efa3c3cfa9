//! The command line: arguments, progress, reports, exit codes.
//!
//! Only this module prints. Reports go to standard output, everything else to standard error. Code in the same process
//! gets a command's document and warnings with [`call`], and nothing is printed.

mod args;
mod batch;
mod caller;
mod checks;
mod command;
mod convert;
mod exit;
mod hint;
mod input;
mod inspect;
mod page;
mod probe;
mod progress;
mod report;
mod settings;
mod sys;
mod text;
mod verify;

use std::env;
use std::ffi::OsString;
use std::io::Write as _;
use std::iter;
use std::num::NonZeroUsize;
use std::process;

use caller::Caller;
pub use caller::UsePlans;
use clap::{CommandFactory as _, Parser as _};
use command::{Cli, Command};
use exit::Exit;

use crate::report::{
    Command as ReportCommand, Document, FailureReport, Status, VerificationReport,
};
use crate::{Error, ErrorKind, Progress};

/// Runs the program with the words of a command line, without the program's name; returns the exit code.
///
/// It prints, and listens for signals during a conversion. With `--threads` it may restart the process with other
/// environment variables.
pub fn run(words: impl IntoIterator<Item = OsString>) -> u8 {
    let caller = Caller::user(words.into_iter().collect());
    match parse(&caller) {
        Ok(cli) => {
            limit_candle(threads(&cli));
            execute(cli, &caller).0 as u8
        }
        Err(exit) => exit as u8,
    }
}

/// What a command has returned to code.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Called {
    /// The exit code that the program would have.
    pub exit_code: u8,
    /// True if [`Progress`] stopped the command.
    pub is_interrupted: bool,
    /// The JSON document that the command prints with `--json`.
    pub document: String,
    /// What the user should know although nothing failed.
    pub warnings: Vec<String>,
}

/// Runs a command for code in the same process: with the words of a command line, without the program's name,
/// `--json` among them. Nothing is printed, no signal is caught; `progress` may stop the command.
///
/// `use_plans` is called with the plans of a dry run of a conversion (`--dry-run`).
pub fn call<'a>(
    words: impl IntoIterator<Item = OsString>,
    progress: &'a dyn Progress,
    use_plans: Option<UsePlans<'a>>,
) -> Called {
    let caller = Caller::code(words.into_iter().collect(), progress, use_plans);
    let (exit, is_interrupted) = match parse(&caller) {
        Ok(cli) => execute(cli, &caller),
        Err(exit) => (exit, false),
    };
    let (document, warnings) = caller.into_results();
    Called {
        exit_code: exit as u8,
        is_interrupted,
        document,
        warnings,
    }
}

/// Parses the words; on failure, and for help, it prints and returns the exit code.
fn parse(caller: &Caller<'_>) -> Result<Cli, Exit> {
    let program = iter::once(OsString::from(env!("CARGO_PKG_NAME")));
    let words = program.chain(caller.words.iter().cloned());
    Cli::try_parse_from(words).map_err(|error| refuse(&error, caller))
}

/// Returns the value of `--threads`.
fn threads(cli: &Cli) -> Option<NonZeroUsize> {
    match &cli.command {
        None => cli.convert.threads,
        Some(Command::Convert(args)) => args.threads,
        Some(Command::Batch(args)) => args.threads,
        Some(Command::Verify(args)) => args.threads,
        Some(_) => None,
    }
}

/// Executes a command; returns its exit code, and whether progress stopped it.
fn execute(cli: Cli, caller: &Caller<'_>) -> (Exit, bool) {
    let (command, json) = match &cli.command {
        None => (ReportCommand::Convert, cli.convert.output.json),
        Some(Command::Convert(args)) => (ReportCommand::Convert, args.output.json),
        Some(Command::Batch(args)) => (ReportCommand::Batch, args.output.json),
        Some(Command::Inspect(args)) => (ReportCommand::Inspect, args.json),
        Some(Command::Verify(args)) => (ReportCommand::Verify, args.output.json),
        Some(Command::Probe(args)) => (ReportCommand::Probe, args.json),
        // These have no JSON form.
        Some(Command::Completions { .. } | Command::Man) => (ReportCommand::Convert, false),
    };
    let result = match cli.command {
        None => convert::run(&cli.convert, caller),
        Some(Command::Convert(args)) => convert::run(&args, caller),
        Some(Command::Batch(args)) => batch::run(&args, caller),
        Some(Command::Inspect(args)) => inspect::run(&args, caller),
        Some(Command::Verify(args)) => verify::run(&args, caller),
        Some(Command::Probe(args)) => probe::run(&args, caller),
        Some(Command::Completions { shell }) => completions(shell),
        Some(Command::Man) => man(),
    };
    match result {
        Ok(()) => (Exit::Done, false),
        Err(error) => {
            let exit = Exit::of(&error);
            fail(&error, exit, json.then_some(command), caller);
            (exit, is_interruption(&error))
        }
    }
}

/// True if progress stopped the work.
fn is_interruption(error: &anyhow::Error) -> bool {
    (error.downcast_ref::<Error>()).is_some_and(|error| error.kind() == ErrorKind::Interrupted)
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
fn refuse(error: &clap::Error, caller: &Caller<'_>) -> Exit {
    if !caller.is_code() {
        // Fails if the reader has closed it.
        let _ = error.print();
    }
    if !error.use_stderr() {
        return Exit::Done;
    }
    let words = caller.words.iter().take_while(|word| *word != "--");
    let words: Vec<_> = words.collect();
    if words.iter().any(|word| *word == "--json") {
        let command = match words.first().and_then(|word| word.to_str()) {
            Some("batch") => ReportCommand::Batch,
            Some("inspect") => ReportCommand::Inspect,
            Some("verify") => ReportCommand::Verify,
            Some("probe") => ReportCommand::Probe,
            _ => ReportCommand::Convert,
        };
        let message = error.render().to_string();
        let message = message.strip_prefix("error: ").unwrap_or(&message).trim();
        let body = FailureReport::new(Exit::Usage as u8, message.to_owned(), None);
        let document = Document::new(command, Status::Failed, body);
        let _ = caller.document(&document);
    }
    Exit::Usage
}

/// Prints an error; `json` is the command if `--json` was given.
fn fail(error: &anyhow::Error, exit: Exit, json: Option<ReportCommand>, caller: &Caller<'_>) {
    let message = message(error.as_ref());
    // Only usage errors have several lines; elsewhere a line break comes from a name in a file.
    let shown = match exit {
        Exit::Usage => text::printable(&message).into_owned(),
        _ => text::printable(&message).replace('\n', "\\n"),
    };
    let style = text::ERROR;
    if !caller.is_code() {
        let _ = writeln!(anstream::stderr(), "{style}error:{style:#} {shown}");
    }
    // A failed verification has printed its own document, and so has a batch with failures.
    let has_document = error.is::<exit::Failed>() || error.is::<exit::Failures>();
    if let Some(command) = json
        && !has_document
    {
        let document = Document::new(command, Status::Failed, failure(error.as_ref(), exit));
        let _ = caller.document(&document);
    }
}

/// Returns the message of an error, with what to type next.
fn message(error: &(dyn std::error::Error + 'static)) -> String {
    let causes: Vec<String> = hint::chain(error).map(ToString::to_string).collect();
    let mut message = causes.join(": ");
    if let Some(hint) = hint::hint(error) {
        message.push_str("; ");
        message.push_str(&hint);
    }
    message
}

/// Describes an error for JSON.
fn failure(error: &(dyn std::error::Error + 'static), exit: Exit) -> FailureReport {
    let verification = hint::chain(error).find_map(|cause| {
        let shown = cause.downcast_ref().map(|exit::Shown { error, .. }| error);
        match shown.or_else(|| cause.downcast_ref()) {
            Some(Error::Rejected { report, .. }) => Some(VerificationReport::new(report)),
            _ => None,
        }
    });
    FailureReport::new(exit as u8, message(error), verification)
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    report::print_bytes(&script)
}

fn man() -> anyhow::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    report::print_bytes(&page)
}
