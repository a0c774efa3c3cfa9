//! Printed reports of conversions, and the printing of all documents.
//!
//! The default report fits a screen: what was made, what was decided and by what, what was verified.
//! `--verbose` adds every tensor, every class and the defaults of transformers.

use std::io::{self, Write};

use crate::report::{
    CheckpointReport, ConversionReport, Document, DryRunReport, ExportReport, PlanReport,
    SourceReport, TaskReport, TensorReport, TokenizerReport,
};
use anyhow::Context as _;
use candle_electra::ElectraConfig;
use serde::Serialize;
use serde_json::Value;

use super::checks;
use super::page::PageFile;
use super::text::{self, FAINT, HEADING, WARNING, bytes, columns, count, heading, printable};

/// The most labels that a report shows.
const MAX_LABELS: usize = 8;

const STDOUT: &str = "cannot write to standard output";

/// Prints one JSON document on standard output.
pub(crate) fn print_json<T: Serialize>(document: &Document<T>) -> anyhow::Result<()> {
    let mut json = serde_json::to_string_pretty(document).context("cannot write JSON")?;
    json.push('\n');
    print(io::stdout().lock(), json.as_bytes())
}

/// Prints text on standard output, without its styles where they are not wanted.
pub(crate) fn print_text(text: &str) -> anyhow::Result<()> {
    print(anstream::stdout().lock(), text.as_bytes())
}

/// Prints bytes on standard output.
pub(crate) fn print_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    print(io::stdout().lock(), bytes)
}

fn print(mut out: impl Write, bytes: &[u8]) -> anyhow::Result<()> {
    match out.write_all(bytes).and_then(|()| out.flush()) {
        // The reader has seen enough (`| head`). The work and its exit code do not depend on it.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.context(STDOUT),
    }
}

/// `TensorBundle, 1 data file, step 400, in a zip archive`.
pub(crate) fn checkpoint_line(checkpoint: &CheckpointReport) -> String {
    let objects = if checkpoint.object_based {
        " of TensorFlow 2 objects"
    } else {
        ""
    };
    let files = count(checkpoint.shards, "data file");
    let mut line = format!("{}{objects}, {files}", checkpoint.format_name);
    if let Some(step) = checkpoint.step {
        line.push_str(&format!(", step {step}"));
    }
    if let Some(archive) = checkpoint.archive_name {
        line.push_str(&format!(", in {archive}"));
        if let Some(inflated) = checkpoint.inflated_bytes.filter(|bytes| *bytes > 0) {
            line.push_str(&format!(
                " ({} inflated into a temporary file)",
                bytes(inflated)
            ));
        }
    }
    line
}

/// `3 layers, hidden size 128, 4 attention heads, …`.
pub(crate) fn sizes_line(config: &ElectraConfig) -> String {
    format!(
        "{}, hidden size {}, {}, embedding size {}, vocabulary {}",
        count(config.num_hidden_layers, "layer"),
        config.hidden_size,
        count(config.num_attention_heads, "attention head"),
        config.embedding_size,
        config.vocab_size
    )
}

/// `sst: classification, 2 labels (LABEL_0, LABEL_1)`.
pub(crate) fn task_line(task: &TaskReport, config: &ElectraConfig) -> String {
    let mut line = format!("{}: {}", task.name, task.kind);
    if let Some(labels) = &config.id2label {
        let names: Vec<String> = labels.values().take(MAX_LABELS).cloned().collect();
        let more = if labels.len() > MAX_LABELS {
            ", …"
        } else {
            ""
        };
        let count = count(labels.len(), "label");
        line.push_str(&format!(", {count} ({}{more})", names.join(", ")));
    }
    line
}

/// The report of finished exports.
pub(crate) fn conversion(report: &ConversionReport, verbose: bool) -> String {
    let mut out = String::new();
    for export in &report.exports {
        out.push_str(&title("Exported", &report.checkpoint, &export.plan));
        let made = [["files".to_owned(), files_line(export)]];
        out.push_str(&plan(&report.checkpoint, &export.plan, &made, verbose));
        if verbose {
            out.push_str(&heading("Files"));
            let rows: Vec<[String; 2]> = export
                .files
                .iter()
                .map(|file| [file.path.clone(), bytes(file.bytes)])
                .collect();
            out.push_str(&columns(1, &rows));
        }
        out.push_str(&match &export.verification {
            Some(verification) => checks::text(verification, verbose),
            None => format!("\n{WARNING}Not verified{WARNING:#} (--no-verify)\n"),
        });
        out.push('\n');
    }
    out.push_str(&format!("Done in {:.2} s\n", report.seconds));
    out
}

/// The line that names the page of `--report`.
pub(crate) fn page_line(page: Option<&PageFile>) -> String {
    let line = |page: &PageFile| {
        let path = page.path().to_string_lossy();
        format!("Report: {}\n", printable(&path))
    };
    page.map_or_else(String::new, line)
}

/// The report of planned exports.
pub(crate) fn dry_run(report: &DryRunReport) -> String {
    let mut out = String::new();
    for export in &report.exports {
        out.push_str(&title("Would export", &report.checkpoint, export));
        out.push_str(&plan(&report.checkpoint, export, &[], true));
        out.push('\n');
    }
    out.push_str("Nothing was written (--dry-run)\n");
    out
}

fn title(verb: &str, checkpoint: &CheckpointReport, plan: &PlanReport) -> String {
    let model = match plan.model {
        "finetuned" => "fine-tuned model",
        model => model,
    };
    let prefix = printable(&checkpoint.prefix);
    format!("{HEADING}{verb} the {model} of {prefix}{HEADING:#}\n")
}

/// `config.json, vocab.txt, model.safetensors in out, 1.95 MiB`.
fn files_line(export: &ExportReport) -> String {
    let paths = export.files.iter().map(|file| file.path.as_str());
    let split = |path: &'_ str| match path.rsplit_once('/') {
        Some((folder, name)) => (folder.to_owned(), name.to_owned()),
        None => (".".to_owned(), path.to_owned()),
    };
    let (folders, names): (Vec<_>, Vec<_>) = paths.map(split).unzip();
    let total: u64 = export.files.iter().map(|file| file.bytes).sum();
    let folder = folders.first().map_or(".", String::as_str);
    format!("{} in {folder}, {}", names.join(", "), bytes(total))
}

/// What was made, what was decided, what was left out.
fn plan(
    checkpoint: &CheckpointReport,
    plan: &PlanReport,
    made: &[[String; 2]],
    verbose: bool,
) -> String {
    let tensors = format!(
        "{}, {}, {}, {}",
        count(plan.tensors.len(), "tensor"),
        count(plan.parameters, "parameter"),
        bytes(plan.bytes as u64),
        plan.dtype
    );
    let mut rows: Vec<[String; 2]> = vec![
        ["checkpoint".into(), checkpoint_line(checkpoint)],
        [
            "holds".into(),
            checkpoint.description.unwrap_or_default().into(),
        ],
        ["class".into(), plan.architecture.into()],
        ["sizes".into(), sizes_line(&plan.config)],
        ["weights".into(), tensors],
    ];
    if plan.weights == "average" {
        rows.push([String::new(), "moving averages".into()]);
    }
    let task = plan.task.as_ref();
    rows.extend(task.map(|task| ["task".into(), task_line(task, &plan.config)]));
    rows.extend(tokenizer_rows(plan.tokenizer.as_ref()));
    rows.push(["left out".into(), left_out_line(plan)]);
    rows.extend_from_slice(made);
    let mut out = columns(2, &rows);

    out.push_str(&heading("How the settings were determined"));
    out.push_str(&settings(plan, verbose));
    if verbose {
        out.push_str(&heading("Tensors"));
        let rows: Vec<[String; 4]> = plan.tensors.iter().map(tensor_row).collect();
        out.push_str(&columns(4, &rows));
        out.push_str(&left_out(plan));
    }
    out
}

/// The vocabulary, the settings, and what is unusual about the file.
fn tokenizer_rows(tokenizer: Option<&TokenizerReport>) -> Vec<[String; 2]> {
    let Some(tokenizer) = tokenizer else {
        return vec![["tokenizer".into(), "none, without a vocabulary".into()]];
    };
    let case = if tokenizer.do_lower_case {
        "lower-cased"
    } else {
        "cased"
    };
    let accents = if tokenizer.strips_accents() {
        "stripped"
    } else {
        "kept"
    };
    let path = &tokenizer.vocabulary;
    let mut rows = vec![[
        "tokenizer".into(),
        format!("{path}, {case}, accents {accents}"),
    ]];
    rows.extend(
        tokenizer
            .notes
            .iter()
            .map(|note| [String::new(), note.clone()]),
    );
    rows
}

/// `generator encoder (48 variables), step counter (1 variable)`.
fn left_out_line(plan: &PlanReport) -> String {
    let groups = plan.left_out.iter().map(|group| {
        let variables = count(group.variables, "variable");
        format!("{} ({variables})", group.label)
    });
    let groups: Vec<String> = groups.collect();
    if groups.is_empty() {
        "nothing".to_owned()
    } else {
        groups.join(", ")
    }
}

fn left_out(plan: &PlanReport) -> String {
    let mut out = heading("Left out");
    if plan.left_out.is_empty() {
        out.push_str("  nothing\n");
    }
    for group in &plan.left_out {
        out.push_str(&format!("  {}, {}\n", group.label, bytes(group.bytes)));
        for name in &group.names {
            out.push_str(&format!("    {}\n", printable(name)));
        }
    }
    out
}

fn tensor_row(tensor: &TensorReport) -> [String; 4] {
    let mut how = format!("{:?} {}", tensor.shape, tensor.from_dtype);
    how.push_str(match tensor.recipe {
        "copy" => "",
        "transpose" => ", transposed",
        "stack" => ", stacked",
        _ => ", computed",
    });
    if tensor.rounded {
        how.push_str(&format!(", rounded to {}", tensor.dtype));
    }
    [
        tensor.variables.join(" and "),
        "→".into(),
        tensor.name.clone(),
        how,
    ]
}

/// `the weights (margin 1015), also --config; hidden size / 64 would be 6`.
pub(crate) fn source_line(source: &SourceReport) -> String {
    let mut line = source.detail.clone();
    for other in source.agreed.iter().flatten() {
        line.push_str(&format!(", also {}", other.detail));
    }
    if let Some(note) = &source.note {
        line.push_str(&format!("; {note}"));
    }
    line
}

/// Values with their sources; `verbose` adds those that are only defaults of transformers.
fn settings(plan: &PlanReport, verbose: bool) -> String {
    let values = serde_json::to_value(&plan.config).expect("plain data");
    let value = |key: &str| match &values[key] {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let sources = plan
        .config_sources
        .iter()
        .filter(|(_, source)| !source.is_size);
    let (defaults, decided): (Vec<_>, Vec<_>) = sources.partition(|(_, source)| source.is_default);
    let row = |(key, source): &(&&str, &SourceReport)| {
        [(**key).to_owned(), value(key), source_line(source)]
    };
    let mut rows: Vec<[String; 3]> = decided.iter().map(row).collect();
    if let Some(tokenizer) = &plan.tokenizer {
        rows.push([
            "do_lower_case".into(),
            tokenizer.do_lower_case.to_string(),
            tokenizer.decided_by.clone(),
        ]);
        rows.push([
            "strip_accents".into(),
            tokenizer.strips_accents().to_string(),
            tokenizer.accents_decided_by.clone(),
        ]);
    }
    let mut text = columns(3, &rows);
    if verbose && !defaults.is_empty() {
        let defaults = defaults
            .iter()
            .map(|(key, _)| format!("{key} {}", value(key)));
        let defaults: Vec<String> = defaults.collect();
        text.push_str(&format!(
            "  {FAINT}transformers' defaults: {}{FAINT:#}\n",
            text::printable(&defaults.join(", "))
        ));
    }
    text
}
