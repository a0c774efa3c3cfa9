//! The command `verify`.

use crate::export::{CONFIG_FILE, WEIGHTS_FILE, WeightsFile, read_config};
use crate::probe::text_check::Text;
use crate::report::{Command, Document, Page, Status, VerifyReport};
use crate::verify::{
    CompareWith, EvaluatedBy, Golden, NoGraph, References, Report, check_files, verify,
};
use crate::{Error, OpenOptions, with_threads};
use anyhow::Context as _;
use tf_checkpoint::address::{self, Use};

use super::args::{ReaderArg, VerifyArgs};
use super::caller::Caller;
use super::exit::{Exit, Failed, Usage};
use super::page::PageFile;
use super::settings::read_text;
use super::{checks, input};

/// Runs all checks on a directory; a failed check is an error.
pub(crate) fn run(args: &VerifyArgs, caller: &Caller<'_>) -> anyhow::Result<()> {
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
        address::refuse_unread(path).map_err(Error::from)?;
    }
    let page = args.report.as_ref();
    let page = page
        .map(|path| PageFile::new(path, args.force))
        .transpose()?;
    let verified = checked(args, page.is_some(), caller);
    if let (Err(_), Some(page)) = (&verified, &page) {
        page.remove_earlier()?;
    }
    finish(args, &verified?, page.as_ref(), caller)
}

/// Runs all checks.
fn checked(args: &VerifyArgs, for_page: bool, caller: &Caller<'_>) -> anyhow::Result<Report> {
    check_files(&args.folder).map_err(Error::from)?;
    if let Some(folder) = &args.generator {
        check_files(folder).map_err(|error| Usage(format!("--generator: {error}")))?;
    }
    let compared = args
        .source
        .as_ref()
        .map(|path| {
            let options = OpenOptions::default().step(args.step);
            let source = options.renames(args.rename.clone()).open(path)?;
            let config =
                read_config(&args.folder.join(CONFIG_FILE)).map_err(crate::verify::Error::from)?;
            let weights = WeightsFile::open(&args.folder.join(WEIGHTS_FILE))
                .map_err(crate::verify::Error::from)?;
            let note = |key: &str| Some(weights.metadata()?.get(key)?.as_str());
            let plan = || source.plan_of(&config, note);
            let mut plan = with_threads(args.threads, plan).map_err(Error::Threads)??;
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
    let evaluated_by = evaluated_by(args.graph_by)?;
    let graph = match compared.as_ref().map(|(source, _)| source.training_graph()) {
        None => Err(NoGraph::NoCheckpoint),
        Some(_) if args.no_graph => Err(NoGraph::LeftOut),
        Some(None) => Err(NoGraph::Missing),
        Some(Some(graph)) => Ok(graph.evaluated_by(evaluated_by)),
    };
    let references = References {
        golden,
        graph,
        text,
        for_page,
    };
    let bar = caller.progress(args.output.quiet || args.output.json, None);
    let report = with_threads(args.threads, || {
        verify(&args.folder, original, references, &*bar)
    })
    .context("cannot start threads")?
    .map_err(Error::from)?;
    drop(bar);
    Ok(report)
}

/// Writes the page, and prints the report; a failed check is an error.
fn finish(
    args: &VerifyArgs,
    report: &Report,
    page: Option<&PageFile>,
    caller: &Caller<'_>,
) -> anyhow::Result<()> {
    let folder = args.folder.display();
    let shown = page
        .as_ref()
        .map(|page| format!("; {} shows every check", page.path().display()));
    let error = (!report.passed()).then(|| {
        let (summary, shown) = (report.summary(), shown.unwrap_or_default());
        format!("{folder} did not pass verification: {summary}{shown}")
    });
    let exit = Exit::Verification as u8;
    let failure = error.clone().map(|error| (exit, error));
    let document = VerifyReport::new(args.folder.to_string_lossy().into_owned(), report, failure);
    if let Some(page) = page {
        page.write(&Page::of_verification(&document, args.source.as_deref()).html())?;
    }
    let printed = if args.output.json {
        let status = match error {
            None => Status::Verified,
            Some(_) => Status::Failed,
        };
        caller.document(&Document::new(Command::Verify, status, document))
    } else if args.output.quiet {
        Ok(())
    } else {
        let mut text = checks::text(&document.verification, args.output.verbose);
        text.push_str(&super::report::page_line(page));
        super::report::print_text(text.trim_start())
    };
    match error {
        Some(error) => Err(Failed(error).into()),
        None => printed,
    }
}

/// Returns what evaluates the training graph.
fn evaluated_by(by: ReaderArg) -> anyhow::Result<EvaluatedBy> {
    match by {
        ReaderArg::Native => Ok(EvaluatedBy::Native),
        #[cfg(feature = "tensorflow")]
        ReaderArg::Tensorflow => {
            let missing = |what| Error::from(tf_checkpoint::Error::Library { what });
            tf_graph::load_tensorflow().map_err(missing)?;
            Ok(EvaluatedBy::TensorFlow)
        }
        #[cfg(not(feature = "tensorflow"))]
        ReaderArg::Tensorflow => Err(Usage(super::settings::built_without("--graph-by")).into()),
    }
}
