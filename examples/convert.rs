//! Converts the discriminator of a checkpoint: `cargo run --example convert -- CKPT OUT`.

use std::error::Error;
use std::path::PathBuf;

use electra_convert::{Model, PlanOptions, Request, Source, convert};

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [checkpoint, out] = &paths[..] else {
        return Err("usage: convert CKPT OUT".into());
    };

    let source = Source::open(checkpoint, None, &[])?;
    let request = Request {
        models: vec![Model::Discriminator],
        out: out.clone(),
        options: PlanOptions::default(),
        force: false,
        verify: true,
        threads: None,
        text: None,
    };
    let plans = request.plan(&source)?;
    for export in convert(&source, &request, plans, &())? {
        println!(
            "{} of {} weights",
            export.plan.head.name(),
            export.plan.parameters()
        );
    }
    Ok(())
}
