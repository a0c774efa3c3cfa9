//! `electra-convert verify DIR`.

use anyhow::Context as _;
use electra_convert::export::{CONFIG_FILE, WEIGHTS_FILE, WeightsFile, read_config};
use electra_convert::probe::text_check::Text;
use electra_convert::verify::{CompareWith, Golden, References, check_files, verify};
use electra_convert::{Error, Source, with_threads};
use serde_json::{Value, json};
use tf_checkpoint::address::{self, Use};

use super::args::VerifyArgs;
use super::convert::read_text;
use super::exit::{Exit, Failed, Usage};
use super::progress::Bar;
use super::{checks, input, report};

/// Runs all checks on a folder; a failed one is an error.
pub(crate) fn run(args: &VerifyArgs) -> anyhow::Result<()> {
    let paths = [
        ("DIR", Some(&args.folder)),
        ("--golden", args.golden.as_ref()),
        ("--generator", args.generator.as_ref()),
    ];
    for (argument, path) in paths {
        path.map_or(Ok(()), |path| {
            input::refuse_address(argument, path, Use::Input)
        })?;
    }
    if let Some(path) = &args.source {
        address::refuse(path, Use::Checkpoint).map_err(Error::from)?;
    }
    check_files(&args.folder).map_err(Error::from)?;
    if let Some(folder) = &args.generator {
        check_files(folder).map_err(|error| Usage(format!("--generator: {error}")))?;
    }
    let compared = args
        .source
        .as_ref()
        .map(|path| {
            let source = Source::open(path, args.step, &args.rename)?;
            let config = read_config(&args.folder.join(CONFIG_FILE))
                .map_err(electra_convert::verify::Error::from)?;
            let weights = WeightsFile::open(&args.folder.join(WEIGHTS_FILE))
                .map_err(electra_convert::verify::Error::from)?;
            let note = |key: &str| Some(weights.metadata()?.get(key)?.as_str());
            let mut plan = source.plan_of(&config, note)?;
            plan.adopt_dtypes(|name| Some(weights.info(name)?.dtype));
            Ok::<_, Error>((source, plan))
        })
        .transpose()?;
    let original = match &compared {
        Some((source, plan)) => CompareWith::Checkpoint(source.checkpoint(), plan),
        None => CompareWith::RecordedChecksums,
    };
    let golden = args.golden.as_ref().map(|path| Golden {
        path,
        tolerance: args.tolerance,
    });
    let text = match &args.text {
        Some(path) => Some((path, read_text(path)?)),
        None => None,
    };
    let text = text.as_ref().map(|(path, text)| Text {
        text,
        path,
        generator: args.generator.as_deref(),
        seed: args.seed,
    });
    let references = References { golden, text };
    let bar = Bar::new(args.output.quiet || args.output.json, None);
    let report = with_threads(args.threads, || {
        verify(&args.folder, original, references, &bar)
    })
    .context("cannot start threads")?
    .map_err(Error::from)?;
    drop(bar);

    let folder = args.folder.display();
    let error = (!report.passed()).then(|| format!("{folder} is not right: {}", report.summary()));
    if args.output.json {
        let mut document = json!({
            "format_version": report::FORMAT_VERSION,
            "command": "verify",
            "status": if report.passed() { "verified" } else { "failed" },
            "folder": args.folder.to_string_lossy(),
        });
        if let (Value::Object(document), Value::Object(checks)) =
            (&mut document, checks::json(&report))
        {
            document.extend(checks);
        }
        if let Some(error) = &error {
            document["exit_code"] = (Exit::Verification as u8).into();
            document["error"] = error.as_str().into();
        }
        report::print_json(&document)?;
    } else if !args.output.quiet {
        let text = checks::text(&report, args.output.verbose);
        report::print_text(text.trim_start())?;
    }
    match error {
        Some(error) => Err(Failed(error).into()),
        None => Ok(()),
    }
}
