//! The program `electra-convert`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(electra_convert::cli::run(std::env::args_os().skip(1)))
}
