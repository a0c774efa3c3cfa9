//! The command line: arguments, progress, reports, exit codes.
//!
//! Only this module prints. Reports go to standard output, everything else to standard error.

mod args;
mod checks;
mod convert;
mod exit;
mod inspect;
mod probe;
mod progress;
mod report;
mod text;
mod verify;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use serde_json::json;

use args::{Cli, Command};
use electra_convert::Error;
use exit::Exit;

/// Runs the program.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    let json = match &cli.command {
        None => cli.convert.output.json,
        Some(Command::Convert(args)) => args.output.json,
        Some(Command::Inspect(args)) => args.json,
        Some(Command::Verify(args)) => args.output.json,
        Some(Command::Probe(args)) => args.json,
        Some(Command::Completions { .. } | Command::Man) => false,
    };
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
        // Whoever reads our output has read enough (`| head`).
        Err(error) if is_broken_pipe(&error) => Exit::Done,
        Err(error) => {
            let exit = Exit::of(&error);
            fail(&error, exit, json);
            exit
        }
    };
    ExitCode::from(exit as u8)
}

fn fail(error: &anyhow::Error, exit: Exit, json: bool) {
    let message = format!("{error:#}");
    // Only our own advice on usage has lines; elsewhere a line break comes from a name in a file.
    let shown = match exit {
        Exit::Usage => text::printable(&message).into_owned(),
        _ => text::printable(&message).replace('\n', "\\n"),
    };
    let style = text::ERROR;
    let _ = writeln!(anstream::stderr(), "{style}error:{style:#} {shown}");
    // A failed verification has printed its own document.
    if json && error.downcast_ref::<exit::Failed>().is_none() {
        let mut document = json!({
            "format_version": report::FORMAT_VERSION,
            "status": "failed",
            "exit_code": exit as u8,
            "error": message,
        });
        if let Some(Error::Rejected { report, .. }) = error.downcast_ref() {
            document["verification"] = checks::json(report);
        }
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
