//! Converts the discriminator of a checkpoint: `cargo run --example convert -- CKPT OUT`.

use std::error::Error;
use std::path::PathBuf;

use electra_convert::{Conversion, ElectraCheckpoint, Model};

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [checkpoint, out] = &paths[..] else {
        return Err("usage: convert CKPT OUT".into());
    };

    let checkpoint = ElectraCheckpoint::open(checkpoint)?;
    for export in Conversion::new(&checkpoint, Model::Discriminator).run(out, &())? {
        println!(
            "{} of {} parameters",
            export.plan.class.name(),
            export.plan.parameters()
        );
    }
    Ok(())
}
