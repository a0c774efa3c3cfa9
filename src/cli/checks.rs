//! What verification found, as JSON and as text.

use electra_convert::probe::text_check::{TextCheck, Verdict};
use electra_convert::verify::{HeadReport, Report, TokenizerReport};
use serde_json::{Value, json};

use super::text::{FAINT, WARNING, columns, count, heading, printable};

/// All checks of a folder, as JSON.
pub(crate) fn json(report: &Report) -> Value {
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
                    "class": head.name(),
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
        "architecture": report.own.name(),
        "heads": heads,
        "bits": {
            "against_index": report.bits.against_index,
            "against_data": report.bits.rounded + report.bits.without_sums + report.bits.made,
            "against_record": report.bits.against_record,
            "unchecked": report.bits.unchecked,
        },
        "constant": report.constant,
        "tokenizer": report.tokenizer.as_ref().map(|tokenizer| json!({
            "tokens": tokenizer.tokens,
            "rows": tokenizer.rows,
            "do_lower_case": tokenizer.do_lower_case,
            "strip_accents": tokenizer.strip_accents,
            "missing": tokenizer.missing,
            "notes": tokenizer.notes,
        })),
        "task": report.task.as_ref().map(|task| json!({
            "name": task.task,
            "deviation": task.deviation,
            "tolerance": task.tolerance,
            "sequences": task.sequences,
        })),
        "golden": golden,
        "text": report.text.as_ref().map(on_text_json),
        "failures": failures,
        "seconds": report.seconds,
    })
}

/// All checks of a folder, as text.
pub(crate) fn text(report: &Report, verbose: bool) -> String {
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
                out.push_str(&format!("    new in {head}: {}\n", printable(name)));
            }
        }
    }
    out.push_str(&bits_text(report));
    if let Some(task) = &report.task {
        let allowed = match task.tolerance {
            Some(tolerance) => format!("allowed {tolerance:.0e}"),
            None => "weights were rounded".to_owned(),
        };
        out.push_str(&format!(
            "  logits of task {} within {:.1e} of the checkpoint's own head ({allowed}), on {}\n",
            printable(&task.task),
            task.deviation,
            count(task.sequences, "random sequence")
        ));
    }
    if report.constant.is_empty() {
        out.push_str("  no tensor is constant\n");
    } else {
        let names = report.constant.join(", ");
        out.push_str(&format!(
            "  {WARNING}suspicious:{WARNING:#} all elements are the same in {}\n",
            printable(&names)
        ));
    }
    out.push_str(&tokenizer_text(report.tokenizer.as_ref()));
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
            let names = printable(&names);
            out.push_str(&format!("  {FAINT}not of this model: {names}{FAINT:#}\n"));
        }
    }
    if let Some(check) = &report.text {
        out.push_str(&on_text(check));
    }
    if !report.failures.is_empty() {
        out.push_str(&heading("Failures"));
        for failure in &report.failures {
            let failure = failure.to_string();
            out.push_str(&format!("  {}\n", printable(&failure)));
        }
    }
    out
}

/// The tokenizer on one line, and what follows from missing files.
fn tokenizer_text(tokenizer: Option<&TokenizerReport>) -> String {
    let Some(tokenizer) = tokenizer else {
        return "  no tokenizer files\n".to_owned();
    };
    let mut text = format!(
        "  tokenizer: {} for {}, {}, accents {}\n",
        count(tokenizer.tokens, "token"),
        count(tokenizer.rows, "row"),
        if tokenizer.do_lower_case {
            "lower-cased"
        } else {
            "cased"
        },
        if tokenizer.strip_accents {
            "stripped"
        } else {
            "kept"
        },
    );
    for note in &tokenizer.notes {
        text.push_str(&format!("    {note}\n"));
    }
    text
}

fn head_row(report: &HeadReport) -> [String; 5] {
    let new = match (
        report.structure.mismatched.len(),
        report.structure.missing.len(),
    ) {
        (0, 0) => "nothing".to_owned(),
        (0, n) => count(n, "tensor"),
        (n, _) => format!("{n} of another shape"),
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
        (bits.rounded, "equal to the checkpoint's variables, rounded"),
        (
            bits.without_sums,
            "equal to the checkpoint's variables, value by value (V1 has no checksums of them)",
        ),
        (
            bits.made,
            "equal to what the checkpoint's variables give, value by value",
        ),
        (
            bits.against_record,
            "unchanged since the conversion, by the CRC-32C that it noted",
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

fn on_text_json(check: &TextCheck) -> Value {
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
fn on_text(check: &TextCheck) -> String {
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
        "  better in its place than among words of another place: in {:.1} % of samples\n",
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
