//! The program `electra-convert`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
