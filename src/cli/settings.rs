//! From the arguments that shape an export to [`Settings`], for a conversion and for each job of a batch. The files that
//! they name are read here.

use std::path::{Path, PathBuf};

use tf_checkpoint::ReadBy;
use tf_checkpoint::address::without_query;

use super::args::{ExportArgs, ModelArg, ReaderArg, ReadingArgs, StatedArgs};
use super::exit::Usage;
use super::input;
use crate::batch::{Settings, VocabularySource};
use crate::config::{ConfigFile, ConfigOptions, TaskKind};
use crate::export::MAX_CONFIG_LEN;
use crate::tokenizer::{self, Vocabulary};
use crate::{Error, Fingerprint, Models, TextRequest};

/// Returns the settings that arguments stand for. Reads the files that they name.
pub(super) fn settings(
    model: ModelArg,
    reading: &ReadingArgs,
    export: &ExportArgs,
) -> anyhow::Result<Settings> {
    let mut settings = Settings::new(Models::from(model));
    settings.renames.clone_from(&reading.rename);
    settings.read_by = read_by(reading)?;
    settings.config = stated(&export.stated)?;
    settings.dtype = export.dtype.into();
    settings.allow_unknown = export.stated.allow_unknown;
    settings.allow_inexact = export.allow_inexact;
    settings.weights = export.stated.weights.into();
    settings.vocabulary = vocabulary(export.vocab.as_deref())?;
    settings.do_lower_case = export.do_lower_case;
    settings.strip_accents = export.strip_accents;
    settings.text = text_request(export)?;
    settings.verify = !export.no_verify;
    settings.compare_with_graph = !export.no_graph;
    settings.model_card = export.card.card();
    Ok(settings)
}

/// Returns what reads the values.
#[cfg_attr(
    feature = "tensorflow",
    allow(clippy::unnecessary_wraps, reason = "fails without the feature")
)]
pub(super) fn read_by(args: &ReadingArgs) -> anyhow::Result<ReadBy> {
    match args.reader {
        ReaderArg::Native => Ok(ReadBy::Native),
        #[cfg(feature = "tensorflow")]
        ReaderArg::Tensorflow => Ok(ReadBy::TensorFlow),
        #[cfg(not(feature = "tensorflow"))]
        ReaderArg::Tensorflow => Err(Usage(built_without("--reader")).into()),
    }
}

/// Returns the error for an option that needs TensorFlow's library.
#[cfg(not(feature = "tensorflow"))]
pub(super) fn built_without(option: &str) -> String {
    format!(
        "{option} tensorflow: this program was built without it; build it with cargo install \
         --path . --features tensorflow"
    )
}

/// Returns the settings stated by the arguments. Reads the file of `--config`.
pub(super) fn stated(args: &StatedArgs) -> anyhow::Result<ConfigOptions> {
    let file = args
        .config
        .as_ref()
        .map(|path| {
            let text = input::read("--config", path, MAX_CONFIG_LEN)?;
            let shown = without_query(path);
            let file = ConfigFile::from_json(shown.to_owned(), &text)
                .map_err(|error| Usage(format!("--config {}: {error}", shown.display())))?;
            anyhow::Ok(file)
        })
        .transpose()?;
    Ok(ConfigOptions {
        num_attention_heads: args.num_attention_heads,
        hidden_act: args.hidden_act.map(|arg| arg.0),
        layer_norm_eps: args.layer_norm_eps,
        file,
        task: args.task.clone(),
        task_kind: args.task_kind.map(TaskKind::from),
        labels: args.labels.clone(),
        ..ConfigOptions::default()
    })
}

/// The longest text read, in bytes: a few kilobytes are enough, and time grows with the length.
const MAX_TEXT_LEN: u64 = 1 << 20;

/// Reads the file of `--text`.
pub(super) fn read_text(path: &Path) -> anyhow::Result<String> {
    input::read_text("--text", path, MAX_TEXT_LEN)
}

/// Returns the measurement on text that the arguments ask for. Reads the text.
fn text_request(args: &ExportArgs) -> anyhow::Result<Option<TextRequest>> {
    let request = |path: &PathBuf| {
        Ok(TextRequest {
            text: read_text(path)?,
            path: without_query(path).to_owned(),
            seed: args.seed,
        })
    };
    args.text.as_ref().map(request).transpose()
}

/// Reads the file of `--vocab`.
fn vocabulary(given: Option<&Path>) -> anyhow::Result<VocabularySource> {
    let path = match given {
        None => return Ok(VocabularySource::Beside),
        Some(path) if path.as_os_str() == "none" => return Ok(VocabularySource::None),
        Some(path) => path,
    };
    let bytes = input::read("--vocab", path, tokenizer::MAX_LEN)?;
    let vocabulary = Vocabulary::parse(without_query(path), &bytes).map_err(Error::from)?;
    let fingerprint = Fingerprint::of(&bytes);
    Ok(VocabularySource::Given(Box::new(vocabulary), fingerprint))
}
