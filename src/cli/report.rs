//! What was found and done, as JSON and as text.
//!
//! The JSON shapes are documented in `docs/json.md`; [`FORMAT_VERSION`] grows when a field changes
//! its meaning or goes away, not when one is added.

use std::io::{self, Write};

use anyhow::Context as _;
use electra_convert::config::ResolvedConfig;
use electra_convert::config::candidate::ValueSource;
use electra_convert::plan::Weights;
use electra_convert::tasks::TaskHead;
use electra_convert::tokenizer::{TokenizerSetup, Tokens};
use electra_convert::variables::Recipe;
use electra_convert::{Export, Plan, Source};
use serde_json::{Map, Value, json};

use super::checks;
use super::text::{self, FAINT, bytes, columns, count, heading};

/// Version of all JSON documents.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// How many labels a report shows.
const MAX_LABELS: usize = 8;

const STDOUT: &str = "cannot write to standard output";

/// Prints one JSON document on standard output.
pub(crate) fn print_json(document: &Value) -> anyhow::Result<()> {
    print(io::stdout().lock(), &format!("{document:#}\n"))
}

/// Prints text on standard output, without its styles where they are not wanted.
pub(crate) fn print_text(text: &str) -> anyhow::Result<()> {
    print(anstream::stdout().lock(), text)
}

fn print(mut out: impl Write, text: &str) -> anyhow::Result<()> {
    out.write_all(text.as_bytes()).context(STDOUT)?;
    out.flush().context(STDOUT)
}

/// The checkpoint as people know it, safe to print: an archive may come from anyone.
pub(crate) fn checkpoint_name(source: &Source) -> String {
    let prefix = source
        .checkpoint()
        .location()
        .prefix()
        .display()
        .to_string();
    text::printable(&prefix).into_owned()
}

/// The checkpoint as every document describes it.
pub(crate) fn checkpoint_json(source: &Source, step: Option<u64>) -> Value {
    let checkpoint = source.checkpoint();
    json!({
        "prefix": checkpoint.location().prefix().to_string_lossy(),
        "name": checkpoint.location().name(),
        "format": checkpoint.location().format().key(),
        "object_based": checkpoint.is_object_based(),
        "shards": checkpoint.shard_count(),
        "inflated_bytes": checkpoint.location().storage().inflated_bytes(),
        "step": step,
        "setup": source.setup().ok().map(electra_convert::TrainingSetup::key),
    })
}

/// `TensorBundle, 1 data file, step 400, in a zip archive`.
pub(crate) fn checkpoint_line(source: &Source, step: Option<u64>) -> String {
    let checkpoint = source.checkpoint();
    let objects = if checkpoint.is_object_based() {
        " of TensorFlow 2 objects"
    } else {
        ""
    };
    let mut line = format!(
        "{}{objects}, {}",
        checkpoint.location().format(),
        count(checkpoint.shard_count(), "data file")
    );
    if let Some(step) = step {
        line.push_str(&format!(", step {step}"));
    }
    if let Some(inflated) = checkpoint.location().storage().inflated_bytes() {
        line.push_str(", in a zip archive");
        if inflated > 0 {
            line.push_str(&format!(
                " ({} inflated into a temporary file)",
                bytes(inflated)
            ));
        }
    }
    line
}

/// `3 layers, hidden size 128, 4 heads, …`.
pub(crate) fn sizes_line(plan: &Plan) -> String {
    let config = plan.config();
    format!(
        "{}, hidden size {}, {}, embedding size {}, vocabulary {}",
        count(config.num_hidden_layers, "layer"),
        config.hidden_size,
        count(config.num_attention_heads, "head"),
        config.embedding_size,
        config.vocab_size
    )
}

/// What a plan exports, as JSON.
pub(crate) fn plan_json(plan: &Plan) -> Value {
    let sources: Map<String, Value> = plan
        .resolved
        .sources
        .iter()
        .map(|(key, source)| {
            let value = json!({ "kind": source.key(), "detail": source.to_string() });
            ((*key).to_owned(), value)
        })
        .collect();
    let left_out: Vec<Value> = plan
        .left_out
        .iter()
        .map(|group| {
            json!({
                "role": group.role.key(),
                "variables": group.names.len(),
                "bytes": group.bytes,
                "names": group.names,
            })
        })
        .collect();
    let tensors: Vec<Value> = plan
        .tensors
        .iter()
        .map(|tensor| {
            json!({
                "name": tensor.name,
                "variables": tensor.variables.iter().map(|v| &v.name).collect::<Vec<_>>(),
                "recipe": tensor.recipe.key(),
                "shape": tensor.shape,
                "from_dtype": tensor.cast.from.to_string(),
                "dtype": tensor.cast.to.to_string(),
            })
        })
        .collect();
    json!({
        "model": plan.model.key(),
        "architecture": plan.head.name(),
        "parameters": plan.parameters(),
        "bytes": plan.bytes(),
        "dtype": plan.dtype_name(),
        "config": plan.config(),
        "config_sources": sources,
        "tensors": tensors,
        "left_out": left_out,
        "inexact": plan.inexact,
        "weights": plan.weights.key(),
        "task": plan.task.as_ref().map(|task| json!({
            "name": task.name,
            "kind": task.kind.key(),
            "labels": task.labels,
        })),
        "tokenizer": plan.tokenizer.as_ref().map(tokenizer_json),
        "warnings": plan.warnings,
    })
}

/// What a conversion published, as JSON.
pub(crate) fn export_json(export: &Export) -> Value {
    let mut document = plan_json(&export.plan);
    let files: Vec<Value> = export
        .files
        .iter()
        .map(|(path, len)| json!({ "path": path.to_string_lossy(), "bytes": len }))
        .collect();
    document["files"] = files.into();
    let warnings = export.plan.warnings.iter().chain(&export.warnings);
    document["warnings"] = warnings.cloned().collect();
    document["verification"] = match &export.report {
        Some(report) => checks::json(report),
        None => Value::Null,
    };
    document
}

/// The part of a report that a dry run and a conversion share.
pub(crate) fn plan_text(source: &Source, step: Option<u64>, plan: &Plan, verbose: bool) -> String {
    let mut out = String::new();
    let setup = source
        .setup()
        .map_or("", electra_convert::TrainingSetup::description);
    let tensors = format!(
        "{}, {}, {}, {}",
        plan.tensors.len(),
        count(plan.parameters(), "parameter"),
        bytes(plan.bytes() as u64),
        plan.dtype_name()
    );
    let mut rows = vec![
        ["checkpoint".into(), checkpoint_line(source, step)],
        ["holds".into(), setup.into()],
        ["class".into(), plan.head.name().into()],
        ["tensors".into(), tensors],
        ["model".into(), sizes_line(plan)],
    ];
    if plan.weights == Weights::Average {
        rows.push(["weights".into(), "moving averages".into()]);
    }
    let task = plan.task.as_ref();
    rows.extend(task.map(|task| ["task".into(), task_line(task, plan)]));
    rows.extend(tokenizer_rows(plan));
    out.push_str(&columns(2, &rows));
    if verbose {
        out.push_str(&heading("Tensors"));
        let rows: Vec<[String; 4]> = plan.tensors.iter().map(tensor_row).collect();
        out.push_str(&columns(4, &rows));
    }
    out.push_str(&heading("Configuration that no shape tells"));
    out.push_str(&config_text(&plan.resolved));

    out.push_str(&heading("Left out"));
    if plan.left_out.is_empty() {
        out.push_str("  nothing\n");
    }
    let rows: Vec<[String; 3]> = plan
        .left_out
        .iter()
        .map(|group| {
            [
                group.role.to_string(),
                count(group.names.len(), "variable"),
                bytes(group.bytes),
            ]
        })
        .collect();
    out.push_str(&columns(1, &rows));
    if verbose {
        for name in plan.left_out.iter().flat_map(|group| &group.names) {
            out.push_str(&format!("    {}\n", text::printable(name)));
        }
    }
    out
}

/// `sst: classification, 2 labels (LABEL_0, LABEL_1)`.
pub(crate) fn task_line(task: &TaskHead, plan: &Plan) -> String {
    let mut line = format!("{}: {}", task.name, task.kind);
    if let Some(labels) = &plan.config().id2label {
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

/// The vocabulary, the settings, what decided on them, and what is odd about the file.
fn tokenizer_rows(plan: &Plan) -> Vec<[String; 2]> {
    let Some(tokenizer) = &plan.tokenizer else {
        return vec![["tokenizer".into(), "none, without a vocabulary".into()]];
    };
    let settings = &tokenizer.settings;
    let path = tokenizer.vocabulary.path().display();
    let case = if settings.do_lower_case {
        "lower-cased"
    } else {
        "cased"
    };
    let accents = if settings.strips_accents() {
        "stripped"
    } else {
        "kept"
    };
    let mut lines = vec![
        format!("{path}, {case}, accents {accents}"),
        settings.do_lower_case_from.clone(),
        settings.strip_accents_from.clone(),
    ];
    lines.extend(tokenizer.vocabulary.notes());
    let labels = std::iter::once("tokenizer").chain(std::iter::repeat(""));
    labels
        .zip(lines)
        .map(|(label, line)| [label.to_owned(), line])
        .collect()
}

/// The tokenizer, as JSON.
fn tokenizer_json(tokenizer: &TokenizerSetup) -> Value {
    let settings = &tokenizer.settings;
    let evidence = &settings.evidence;
    let counted = |tokens: &Tokens| json!({ "tokens": tokens.count, "examples": tokens.examples });
    json!({
        "vocabulary": tokenizer.vocabulary.path().to_string_lossy(),
        "tokens": tokenizer.vocabulary.len(),
        "rows": tokenizer.vocabulary.rows(),
        "notes": tokenizer.vocabulary.notes(),
        "do_lower_case": settings.do_lower_case,
        "decided_by": settings.do_lower_case_from,
        "strip_accents": settings.strip_accents,
        "accents_decided_by": settings.strip_accents_from,
        "evidence": {
            "tokens": evidence.tokens,
            "with_case": evidence.with_case,
            "lost_by_lower_casing": counted(&evidence.lost_by_lower_casing),
            "lost_by_stripping": counted(&evidence.lost_by_stripping),
            "only_by_stripping": counted(&evidence.only_by_stripping),
            "split_words": counted(&evidence.split_words),
        },
    })
}

fn tensor_row(tensor: &electra_convert::plan::PlannedTensor) -> [String; 4] {
    let mut how = format!("{:?} {}", tensor.shape, tensor.cast.from);
    how.push_str(match tensor.recipe {
        Recipe::Copy => "",
        Recipe::Transpose => ", transposed",
        Recipe::Stack => ", stacked",
        Recipe::Identity | Recipe::GeluOffset | Recipe::CompensatedBias => ", computed",
    });
    if tensor.cast.is_lossy() {
        how.push_str(&format!(", rounded to {}", tensor.cast.to));
    }
    [
        tensor.variable_names(),
        "→".into(),
        tensor.name.clone(),
        how,
    ]
}

/// Values with their sources; those that are mere defaults of transformers share a line.
fn config_text(resolved: &ResolvedConfig) -> String {
    let values = serde_json::to_value(&resolved.config).expect("plain data");
    let value = |key: &str| match &values[key] {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let (defaults, told): (Vec<_>, Vec<_>) = resolved
        .sources
        .iter()
        .filter(|(_, source)| !source.is_shape())
        .partition(|(_, source)| **source == ValueSource::TransformersDefault);
    let rows: Vec<[String; 3]> = told
        .iter()
        .map(|(key, source)| [(*key).to_string(), value(key), source.to_string()])
        .collect();
    let mut text = columns(3, &rows);
    let defaults: Vec<String> = defaults
        .iter()
        .map(|(key, _)| format!("{key} {}", value(key)))
        .collect();
    if !defaults.is_empty() {
        text.push_str(&format!(
            "  {FAINT}transformers' defaults: {}{FAINT:#}\n",
            defaults.join(", ")
        ));
    }
    text
}
