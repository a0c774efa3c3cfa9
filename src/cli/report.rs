//! What was found and done, as JSON and as text.
//!
//! The JSON shapes are documented in `docs/json.md`; [`FORMAT_VERSION`] grows when a field changes
//! its meaning or goes away, not when one is added.

use std::io::{self, Write};

use anyhow::Context as _;
use electra_convert::electra::claim::Source as ValueSource;
use electra_convert::electra::infer::Inferred;
use electra_convert::probe::text_check::{TextCheck, Verdict};
use electra_convert::verify::{HeadReport, Report};
use electra_convert::{Export, Plan, Source};
use serde_json::{Map, Value, json};

use super::text::{self, FAINT, HEADING, WARNING, bytes, columns, count};

/// Version of all JSON documents.
pub(crate) const FORMAT_VERSION: u32 = 1;

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

/// The checkpoint as every document describes it.
pub(crate) fn checkpoint_json(source: &Source, step: Option<u64>) -> Value {
    let checkpoint = source.checkpoint();
    json!({
        "prefix": checkpoint.location().prefix().to_string_lossy(),
        "name": checkpoint.location().name(),
        "format": "tensor_bundle",
        "shards": checkpoint.shard_count(),
        "step": step,
        "setup": source.setup().ok().map(electra_convert::Setup::key),
    })
}

/// `TensorBundle, 1 data file, step 400`.
pub(crate) fn checkpoint_line(source: &Source, step: Option<u64>) -> String {
    let mut line = format!(
        "TensorBundle, {}",
        count(source.checkpoint().shard_count(), "data file")
    );
    if let Some(step) = step {
        line.push_str(&format!(", step {step}"));
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
        .inferred
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
                "variable": tensor.variable.name,
                "shape": tensor.shape,
                "transposed": tensor.transpose,
                "from_dtype": tensor.variable.dtype.to_string(),
                "dtype": tensor.cast.to.to_string(),
            })
        })
        .collect();
    json!({
        "model": plan.model.key(),
        "architecture": plan.architecture.class(),
        "parameters": plan.parameters(),
        "bytes": plan.bytes(),
        "dtype": plan.dtype_name(),
        "config": plan.config(),
        "config_sources": sources,
        "tensors": tensors,
        "left_out": left_out,
        "inexact": plan.inexact,
        "tokenizer": plan.tokenizer.as_ref().map(|tokenizer| json!({
            "vocabulary": tokenizer.vocabulary.path().to_string_lossy(),
            "do_lower_case": tokenizer.do_lower_case,
            "decided_by": tokenizer.decided_by,
            "strip_accents": tokenizer.strip_accents,
        })),
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
    document["verification"] = match &export.report {
        Some(report) => verification_json(report),
        None => Value::Null,
    };
    document
}

/// The part of a report that a dry run and a conversion share.
pub(crate) fn plan_text(source: &Source, step: Option<u64>, plan: &Plan, verbose: bool) -> String {
    let mut out = String::new();
    let setup = source
        .setup()
        .map_or("", electra_convert::Setup::description);
    out.push_str(&columns(
        2,
        &[
            ["checkpoint".into(), checkpoint_line(source, step)],
            ["trained as".into(), setup.into()],
            ["class".into(), plan.architecture.class().into()],
            [
                "tensors".into(),
                format!(
                    "{}, {}, {}, {}",
                    plan.tensors.len(),
                    count(plan.parameters(), "parameter"),
                    bytes(plan.bytes() as u64),
                    plan.dtype_name()
                ),
            ],
            ["model".into(), sizes_line(plan)],
            ["tokenizer".into(), tokenizer_line(plan)],
        ],
    ));
    if verbose {
        out.push_str(&heading("Tensors"));
        let rows: Vec<[String; 4]> = plan.tensors.iter().map(tensor_row).collect();
        out.push_str(&columns(4, &rows));
    }
    out.push_str(&heading("Configuration that no shape tells"));
    out.push_str(&config_text(&plan.inferred));

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

/// Which vocabulary, and whether it lower-cases.
fn tokenizer_line(plan: &Plan) -> String {
    let Some(tokenizer) = &plan.tokenizer else {
        return "none, without a vocabulary".into();
    };
    let path = tokenizer.vocabulary.path().display();
    let case = if tokenizer.do_lower_case {
        "lower-cased"
    } else {
        "cased"
    };
    format!("{path}, {case} ({})", tokenizer.decided_by)
}

fn tensor_row(tensor: &electra_convert::convert::PlannedTensor) -> [String; 4] {
    let mut how = format!("{:?} {}", tensor.shape, tensor.variable.dtype);
    if tensor.transpose {
        how.push_str(", transposed");
    }
    if tensor.cast.is_lossy() {
        how.push_str(&format!(", rounded to {}", tensor.cast.to));
    }
    [
        tensor.variable.name.clone(),
        "→".into(),
        tensor.name.clone(),
        how,
    ]
}

/// Values with their sources; those that are mere defaults of transformers share a line.
fn config_text(inferred: &Inferred) -> String {
    let values = serde_json::to_value(&inferred.config).expect("plain data");
    let value = |key: &str| match &values[key] {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let (defaults, told): (Vec<_>, Vec<_>) = inferred
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

pub(crate) fn heading(title: &str) -> String {
    format!("\n{HEADING}{title}{HEADING:#}\n")
}

/// All checks of a folder, as JSON.
pub(crate) fn verification_json(report: &Report) -> Value {
    let heads: Vec<Value> = report
        .heads
        .iter()
        .map(
            |HeadReport {
                 head,
                 structure,
                 output,
             }| {
                let mismatched: Vec<Value> = structure
                .mismatched
                .iter()
                .map(|(name, found, expected)| {
                    json!({ "name": name, "found": found, "expected": expected })
                })
                .collect();
                json!({
                    "class": head.class(),
                    "loaded": structure.loaded,
                    "missing": structure.missing,
                    "unexpected": structure.unexpected,
                    "mismatched": mismatched,
                    "output_shape": output.as_ref().map(|output| &output.shape),
                    "padding_deviation": output.as_ref().map(|output| output.padding_deviation),
                    "order_deviation": output.as_ref().map(|output| output.order_deviation),
                    "seconds": output.as_ref().map(|output| output.seconds),
                })
            },
        )
        .collect();
    let golden = report.golden.as_ref().map(|golden| {
        let outputs: Vec<Value> = golden
            .compared
            .iter()
            .map(|compared| json!({ "name": compared.output, "deviation": compared.deviation }))
            .collect();
        json!({
            "tolerance": golden.tolerance,
            "outputs": outputs,
            "skipped": golden.skipped,
        })
    });
    let failures: Vec<String> = report.failures.iter().map(ToString::to_string).collect();
    json!({
        "passed": report.passed(),
        "architecture": report.own.class(),
        "heads": heads,
        "bits": {
            "against_index": report.bits.against_index,
            "against_data": report.bits.against_data,
            "against_record": report.bits.against_record,
            "unchecked": report.bits.unchecked,
        },
        "constant": report.constant,
        "golden": golden,
        "text": report.text.as_ref().map(text_check_json),
        "failures": failures,
        "seconds": report.seconds,
    })
}

/// All checks of a folder, as text.
pub(crate) fn verification_text(report: &Report, verbose: bool) -> String {
    let title = if report.passed() {
        "Verified"
    } else {
        "Not right"
    };
    let mut out = heading(&format!("{title}, in {:.2} s", report.seconds));
    let mut rows = vec![["class", "loaded", "new", "output", "time"].map(str::to_owned)];
    rows.extend(report.heads.iter().map(head_row));
    out.push_str(&columns(1, &rows));
    if verbose {
        for HeadReport {
            head, structure, ..
        } in &report.heads
        {
            for name in &structure.missing {
                out.push_str(&format!("    new in {head}: {}\n", text::printable(name)));
            }
        }
    }
    out.push_str(&bits_text(report));
    if report.constant.is_empty() {
        out.push_str("  no tensor is constant\n");
    } else {
        let names = report.constant.join(", ");
        out.push_str(&format!(
            "  {WARNING}suspicious:{WARNING:#} all elements are the same in {}\n",
            text::printable(&names)
        ));
    }
    if let Some(golden) = &report.golden {
        out.push_str(&heading(&format!(
            "Deviation from the reference (allowed {:.1e})",
            golden.tolerance
        )));
        let rows: Vec<[String; 2]> = golden
            .compared
            .iter()
            .map(|compared| {
                [
                    compared.output.clone(),
                    format!("{:.1e}", compared.deviation),
                ]
            })
            .collect();
        out.push_str(&columns(1, &rows));
        if !golden.skipped.is_empty() {
            let names = golden.skipped.join(", ");
            let names = text::printable(&names);
            out.push_str(&format!("  {FAINT}not of this model: {names}{FAINT:#}\n"));
        }
    }
    if let Some(check) = &report.text {
        out.push_str(&text_check_text(check));
    }
    if !report.failures.is_empty() {
        out.push_str(&heading("Failures"));
        for failure in &report.failures {
            let failure = failure.to_string();
            out.push_str(&format!("  {}\n", text::printable(&failure)));
        }
    }
    out
}

fn head_row(report: &HeadReport) -> [String; 5] {
    let new = match report.structure.missing.len() {
        0 => "nothing".to_owned(),
        n => count(n, "tensor"),
    };
    let (shape, time) = match &report.output {
        Some(output) => (
            format!("{:?}", output.shape),
            format!("{:.0} ms", output.seconds * 1e3),
        ),
        None => ("not run".to_owned(), String::new()),
    };
    let loaded = report.structure.loaded.to_string();
    [report.head.to_string(), loaded, new, shape, time]
}

/// How the tensors were compared with the checkpoint.
fn bits_text(report: &Report) -> String {
    let bits = &report.bits;
    let lines = [
        (
            bits.against_index,
            "equal to the checkpoint's variables by its CRC-32C",
        ),
        (
            bits.against_data,
            "equal to the checkpoint's variables, rounded",
        ),
        (
            bits.against_record,
            "unchanged since the conversion, by the checkpoint's CRC-32C that it noted",
        ),
        (
            bits.unchecked,
            "not compared with the checkpoint: give --source, with its data where values were rounded",
        ),
    ];
    let mut text = String::new();
    for (n, what) in lines.into_iter().filter(|(n, _)| *n > 0) {
        text.push_str(&format!("  {}: {what}\n", count(n, "tensor")));
    }
    text
}

fn text_check_json(check: &TextCheck) -> Value {
    let score = if check.is_generator {
        "accuracy"
    } else {
        "auc"
    };
    let measured: Vec<Value> = check
        .measured
        .iter()
        .map(|measured| {
            json!({
                "heads": measured.heads,
                "loss": measured.loss,
                score: measured.score,
                "better": measured.better,
            })
        })
        .collect();
    json!({
        "configured": check.configured,
        "sequences": check.sequences,
        "tokens": check.tokens,
        "measured": measured,
        "uses_context": check.uses_context,
        "verdict": match check.verdict {
            Verdict::Confirmed => "confirmed",
            Verdict::Undecided(_) => "undecided",
            Verdict::Contradicted { .. } => "contradicted",
        },
    })
}

/// The ranking of head counts on text.
fn text_check_text(check: &TextCheck) -> String {
    let (what, score) = if check.is_generator {
        ("masked tokens", "accuracy")
    } else {
        ("tokens", "AUC")
    };
    let mut out = heading(&format!(
        "Head counts on text ({}, {} {what})",
        count(check.sequences, "sequence"),
        check.tokens
    ));
    let mut rows = vec![["heads", "loss", score, "better than configured"].map(str::to_owned)];
    rows.extend(check.measured.iter().map(|measured| {
        let configured = measured.heads == check.configured;
        [
            measured.heads.to_string(),
            format!("{:.4}", measured.loss),
            format!("{:.3}", measured.score),
            if configured {
                "configured".to_owned()
            } else {
                format!("in {:.1} % of samples", measured.better * 100.0)
            },
        ]
    }));
    out.push_str(&columns(0, &rows));
    out.push_str(&format!(
        "  better on the text than on its words in random order: in {:.1} % of samples\n",
        check.uses_context * 100.0
    ));
    let verdict = match check.verdict {
        Verdict::Confirmed => format!(
            "confirmed: {} heads are clearly better than any other count",
            check.configured
        ),
        Verdict::Undecided(why) => format!("undecided: {why}"),
        Verdict::Contradicted { better, .. } => format!("contradicted: {better} heads are better"),
    };
    out.push_str(&format!("  {verdict}\n"));
    out
}
