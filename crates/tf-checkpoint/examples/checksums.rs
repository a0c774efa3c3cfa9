//! Prints name, dtype, shape and the CRC-32 of the values of every variable, one a line, separated by tabs:
//!
//! ```console
//! $ cargo run -p tf-checkpoint --example checksums -- tf_model.h5
//! ```
//!
//! The values are little-endian and row-major. Of a dtype whose values are not read, `-` stands for the
//! checksum. The exit code is 1 if a checkpoint or a variable cannot be read.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use flate2::Crc;
use tf_checkpoint::{Checkpoint, locate};

fn print(path: &Path) -> Result<(), Box<dyn Error>> {
    let checkpoint = Checkpoint::open(locate(path, None)?)?;
    for variable in checkpoint.variables() {
        checkpoint.check_present(variable)?;
        let shape: Vec<String> = variable.shape.iter().map(usize::to_string).collect();
        let checksum = if variable.dtype.size().is_some() {
            let mut bytes = vec![0; usize::try_from(variable.bytes())?];
            checkpoint.read(variable, &mut bytes)?;
            let mut crc = Crc::new();
            crc.update(&bytes);
            format!("{:08x}", crc.sum())
        } else {
            "-".into()
        };
        let (name, dtype) = (&variable.name, variable.dtype);
        println!("{name}\t{dtype}\t{}\t{checksum}", shape.join(","));
    }
    Ok(())
}

fn main() -> ExitCode {
    let mut paths = std::env::args_os().skip(1);
    let (Some(path), None) = (paths.next(), paths.next()) else {
        eprintln!("usage: checksums CHECKPOINT");
        return ExitCode::from(2);
    };
    match print(path.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
