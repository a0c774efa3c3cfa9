//! What a conversion does or did.

use std::collections::BTreeMap;

use candle_electra::ElectraConfig;
use serde::Serialize;
use tf_checkpoint::ArchiveFormat;

use super::sources::{SourceReport, config_sources};
use super::verification::VerificationReport;
use crate::config::candidate::ValueSource;
use crate::config::{HEADS, HeadCount};
use crate::conversion::Export;
use crate::electra_checkpoint::ElectraCheckpoint;
use crate::error::Error;
use crate::plan::{LeftOut, Plan, PlannedTensor};
use crate::tasks::TaskHead;
use crate::tokenizer::{TokenizerSetup, Tokens};
use crate::variables::TrainingSetup;

/// A checkpoint.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CheckpointReport {
    /// The path that its files share.
    pub prefix: String,
    /// The last part of the prefix.
    pub name: String,
    /// The format of the files ([`Format::key`](tf_checkpoint::Format::key)).
    pub format: &'static str,
    /// The format in words.
    #[serde(skip)]
    pub format_name: String,
    /// True if TensorFlow 2 saved objects.
    pub object_based: bool,
    /// Number of data files.
    pub shards: usize,
    /// The format of the archive ([`ArchiveFormat::key`]); `None` without an archive.
    pub archive: Option<&'static str>,
    /// The format of the archive in words, with its article.
    #[serde(skip)]
    pub archive_name: Option<&'static str>,
    /// In an archive the number of bytes inflated into temporary files.
    pub inflated_bytes: Option<u64>,
    /// The training step; `None` if it is not known.
    pub step: Option<u64>,
    /// The training setup; `None` if the variables are not those of an ELECTRA.
    pub setup: Option<&'static str>,
    /// The training setup in words.
    pub description: Option<&'static str>,
}

impl CheckpointReport {
    /// Describes an open checkpoint. Reads the step counter.
    pub fn new(source: &ElectraCheckpoint) -> Result<Self, Error> {
        Ok(Self::at_step(source, source.step()?))
    }

    /// Describes an open checkpoint whose step was read before.
    pub fn at_step(source: &ElectraCheckpoint, step: Option<u64>) -> Self {
        let checkpoint = source.checkpoint();
        let location = checkpoint.location();
        let archive = location.storage().archive();
        let setup = source.setup().ok();
        Self {
            prefix: location.prefix().to_string_lossy().into_owned(),
            name: location.name(),
            format: location.format().key(),
            format_name: location.format().to_string(),
            object_based: checkpoint.is_object_based(),
            shards: checkpoint.shard_count(),
            archive: archive.map(ArchiveFormat::key),
            archive_name: archive.map(ArchiveFormat::what),
            inflated_bytes: location.storage().inflated_bytes(),
            step,
            setup: setup.map(TrainingSetup::key),
            description: setup.map(TrainingSetup::description),
        }
    }
}

/// Finished exports: the body of a document.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ConversionReport {
    /// The checkpoint.
    pub checkpoint: CheckpointReport,
    /// One for each model.
    pub exports: Vec<ExportReport>,
    /// Time taken, in seconds.
    pub seconds: f64,
}

impl ConversionReport {
    /// Describes the exports of a checkpoint.
    pub fn new(source: &ElectraCheckpoint, exports: &[Export], seconds: f64) -> Self {
        let step = exports.first().and_then(|export| export.step);
        Self {
            checkpoint: CheckpointReport::at_step(source, step),
            exports: exports.iter().map(ExportReport::new).collect(),
            seconds,
        }
    }
}

/// Planned exports: the body of a document.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct DryRunReport {
    /// The checkpoint.
    pub checkpoint: CheckpointReport,
    /// One for each model.
    pub exports: Vec<PlanReport>,
}

impl DryRunReport {
    /// Describes plans. Reads the step counter.
    pub fn new(source: &ElectraCheckpoint, plans: &[Plan]) -> Result<Self, Error> {
        Ok(Self {
            checkpoint: CheckpointReport::new(source)?,
            exports: plans.iter().map(PlanReport::new).collect(),
        })
    }
}

/// A published model.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ExportReport {
    /// What was done. Its warnings include those about files that stay in the output directory.
    #[serde(flatten)]
    pub plan: PlanReport,
    /// The files that were written, in the order in which they appeared.
    pub files: Vec<FileReport>,
    /// All checks; `None` if verification was switched off.
    pub verification: Option<VerificationReport>,
}

impl ExportReport {
    /// Describes an export.
    pub fn new(export: &Export) -> Self {
        let mut plan = PlanReport::new(&export.plan);
        plan.warnings.extend_from_slice(&export.warnings);
        let found = export.report.as_ref().map(|report| report.head_count.found);
        if let (Some(HeadCount::Decided { margin, .. }), Some(source)) =
            (found, plan.config_sources.get_mut(HEADS))
        {
            source.agree(&ValueSource::weights(margin));
        }
        let file = |(path, len): &(std::path::PathBuf, u64)| FileReport {
            path: path.to_string_lossy().into_owned(),
            bytes: *len,
        };
        Self {
            plan,
            files: export.files.iter().map(file).collect(),
            verification: export.report.as_ref().map(VerificationReport::new),
        }
    }
}

/// A written file.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct FileReport {
    /// The path.
    pub path: String,
    /// The length in bytes.
    pub bytes: u64,
}

/// What an export is made of.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PlanReport {
    /// `discriminator`, `generator` or `finetuned`.
    pub model: &'static str,
    /// The class of transformers.
    pub architecture: &'static str,
    /// Number of parameters.
    pub parameters: usize,
    /// Length of all tensors, in bytes.
    pub bytes: usize,
    /// The element type in config.json.
    pub dtype: &'static str,
    /// config.json.
    pub config: ElectraConfig,
    /// The source of each value of `config` that is not fixed.
    pub config_sources: BTreeMap<&'static str, SourceReport>,
    /// The tensors, by name.
    pub tensors: Vec<TensorReport>,
    /// The variables that are not exported, by role.
    pub left_out: Vec<LeftOutReport>,
    /// How the export computes something else than the original graph, if it does.
    pub inexact: Option<String>,
    /// `raw` or `average`.
    pub weights: &'static str,
    /// The task of a fine-tuned model.
    pub task: Option<TaskReport>,
    /// The tokenizer; `None` without a vocabulary.
    pub tokenizer: Option<TokenizerReport>,
    /// What the user should know although nothing failed.
    pub warnings: Vec<String>,
}

impl PlanReport {
    /// Describes a plan.
    pub fn new(plan: &Plan) -> Self {
        Self {
            model: plan.model.key(),
            architecture: plan.class.name(),
            parameters: plan.parameters(),
            bytes: plan.bytes(),
            dtype: plan.dtype_name(),
            config: plan.config().clone(),
            config_sources: config_sources(&plan.resolved),
            tensors: plan.tensors.iter().map(TensorReport::new).collect(),
            left_out: plan.left_out.iter().map(LeftOutReport::new).collect(),
            inexact: plan.inexact.clone(),
            weights: plan.weights.key(),
            task: plan.task.as_ref().map(TaskReport::new),
            tokenizer: plan.tokenizer.as_ref().map(TokenizerReport::new),
            warnings: plan.warnings.clone(),
        }
    }
}

/// One tensor.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TensorReport {
    /// The name in transformers.
    pub name: String,
    /// The variables that it is made from.
    pub variables: Vec<String>,
    /// How it is made from them.
    pub recipe: &'static str,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The element type of the variables.
    pub from_dtype: String,
    /// The element type in the file.
    pub dtype: String,
    /// True if values were rounded to the element type.
    pub rounded: bool,
}

impl TensorReport {
    fn new(tensor: &PlannedTensor) -> Self {
        let variables = tensor.variables.iter();
        Self {
            name: tensor.name.clone(),
            variables: variables.map(|variable| variable.name.clone()).collect(),
            recipe: tensor.recipe.key(),
            shape: tensor.shape.clone(),
            from_dtype: tensor.cast.from.to_string(),
            dtype: tensor.cast.to.to_string(),
            rounded: tensor.cast.is_lossy(),
        }
    }
}

/// Variables of one role that are not exported.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LeftOutReport {
    /// The role.
    pub role: &'static str,
    /// The role in words.
    #[serde(skip)]
    pub label: String,
    /// The reason why they are not exported.
    #[serde(skip)]
    pub reason: &'static str,
    /// Number of variables.
    pub variables: usize,
    /// Their length in bytes.
    pub bytes: u64,
    /// Their names, sorted.
    pub names: Vec<String>,
}

impl LeftOutReport {
    fn new(left_out: &LeftOut) -> Self {
        Self {
            role: left_out.role.key(),
            label: left_out.role.to_string(),
            reason: left_out.role.reason(),
            variables: left_out.names.len(),
            bytes: left_out.bytes,
            names: left_out.names.clone(),
        }
    }
}

/// The task of a fine-tuned model.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TaskReport {
    /// Its name.
    pub name: String,
    /// What it predicts: `tagging`, `classification`, `span` or `multiple_choice`.
    pub kind: &'static str,
    /// Number of labels.
    pub labels: usize,
}

impl TaskReport {
    pub(super) fn new(task: &TaskHead) -> Self {
        Self {
            name: task.name.clone(),
            kind: task.kind.key(),
            labels: task.labels,
        }
    }
}

/// A tokenizer that is written.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TokenizerReport {
    /// The path of the vocabulary.
    pub vocabulary: String,
    /// Number of token ids.
    pub tokens: usize,
    /// Number of rows of the word embeddings.
    pub rows: Option<usize>,
    /// What is unusual about the file, in words.
    pub notes: Vec<String>,
    /// True if text is lower-cased.
    pub do_lower_case: bool,
    /// What decided on lower-casing, in words.
    pub decided_by: String,
    /// True if accents are stripped; `None` if they are stripped where text is lower-cased.
    pub strip_accents: Option<bool>,
    /// What decided on accents, in words.
    pub accents_decided_by: String,
    /// What the vocabulary shows.
    pub evidence: TokenizerEvidence,
}

/// What the tokens of a vocabulary show of a tokenizer.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TokenizerEvidence {
    /// Number of tokens that count.
    pub tokens: usize,
    /// Number of tokens with a letter that has two cases.
    pub with_case: usize,
    /// Tokens that cannot be produced if text is lower-cased.
    pub lost_by_lower_casing: TokenEvidence,
    /// Tokens that cannot be produced if accents are stripped.
    pub lost_by_stripping: TokenEvidence,
    /// Tokens that are produced only if accents are stripped.
    pub only_by_stripping: TokenEvidence,
    /// Tokens with Chinese characters that the tokenizer always splits.
    pub split_words: TokenEvidence,
}

/// Some tokens.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TokenEvidence {
    /// Their number.
    pub tokens: usize,
    /// The first of them.
    pub examples: Vec<String>,
}

impl TokenEvidence {
    fn new(tokens: &Tokens) -> Self {
        Self {
            tokens: tokens.count,
            examples: tokens.examples.clone(),
        }
    }
}

impl TokenizerReport {
    fn new(tokenizer: &TokenizerSetup) -> Self {
        let settings = &tokenizer.settings;
        let evidence = &settings.evidence;
        Self {
            vocabulary: tokenizer.vocabulary.path().to_string_lossy().into_owned(),
            tokens: tokenizer.vocabulary.len(),
            rows: tokenizer.vocabulary.rows(),
            notes: tokenizer.vocabulary.notes(),
            do_lower_case: settings.do_lower_case,
            decided_by: settings.do_lower_case_from.clone(),
            strip_accents: settings.strip_accents,
            accents_decided_by: settings.strip_accents_from.clone(),
            evidence: TokenizerEvidence {
                tokens: evidence.tokens,
                with_case: evidence.with_case,
                lost_by_lower_casing: TokenEvidence::new(&evidence.lost_by_lower_casing),
                lost_by_stripping: TokenEvidence::new(&evidence.lost_by_stripping),
                only_by_stripping: TokenEvidence::new(&evidence.only_by_stripping),
                split_words: TokenEvidence::new(&evidence.split_words),
            },
        }
    }

    /// True if accents are stripped.
    pub fn strips_accents(&self) -> bool {
        self.strip_accents.unwrap_or(self.do_lower_case)
    }
}
