//! The printed report of a verification.

use crate::report::{
    ChecksumsReport, ClassReport, ComparedOutputReport, GoldenReport, GraphCheckReport,
    HeadCountVerdict, TextCheckReport, TokenizerCheckReport, Verdict, VerificationReport,
};

use crate::verify::NoGraph;

use super::text::{FAINT, WARNING, columns, count, heading, printable};

/// All checks of an export; `verbose` adds a table of the classes.
pub(crate) fn text(report: &VerificationReport, verbose: bool) -> String {
    let title = if report.passed {
        "Verified"
    } else {
        "Verification failed"
    };
    let mut out = heading(&format!("{title}, in {:.2} s", report.seconds));
    if verbose || !report.passed {
        out.push_str(&classes(report));
    } else {
        out.push_str(&classes_line(report));
    }
    if verbose {
        for class in &report.classes {
            for name in &class.missing {
                out.push_str(&format!(
                    "    new in {}: {}\n",
                    class.class,
                    printable(name)
                ));
            }
        }
    }
    out.push_str(&checksums(&report.checksums));
    if let Some(task) = &report.task {
        let allowed = match task.tolerance {
            Some(tolerance) => format!("allowed {tolerance:.0e}"),
            None => "weights were rounded".to_owned(),
        };
        out.push_str(&format!(
            "  logits of task {} within {:.1e} of the checkpoint's own head ({allowed}), on {}\n",
            printable(&task.name),
            task.deviation,
            count(task.sequences, "random sequence")
        ));
    }
    out.push_str(&graph(report.graph.as_ref().map_err(|reason| *reason)));
    if report.constant.is_empty() {
        out.push_str("  no tensor is constant\n");
    } else {
        let names = report.constant.join(", ");
        out.push_str(&format!(
            "  {WARNING}suspicious:{WARNING:#} all elements are the same in {}\n",
            printable(&names)
        ));
    }
    out.push_str(&heads(&report.head_count));
    out.push_str(&tokenizer(report.tokenizer.as_ref()));
    if let Some(report) = &report.golden {
        out.push_str(&golden(report));
    }
    if let Some(check) = &report.text {
        out.push_str(&on_text(check));
    }
    if !report.failures.is_empty() {
        out.push_str(&heading("Failures"));
        for failure in &report.failures {
            out.push_str(&format!("  {}\n", printable(failure)));
        }
    }
    out
}

/// `8 classes load the weights and run: …` for a report on one screen.
fn classes_line(report: &VerificationReport) -> String {
    let ran = |class: &&ClassReport| class.output_shape.is_some();
    let (run, not_run): (Vec<_>, Vec<_>) = report.classes.iter().partition(ran);
    let own = report
        .classes
        .iter()
        .find(|class| class.class == report.architecture);
    let loaded = own.map_or(0, |class| class.loaded);
    let mut line = format!(
        "  {} loads {}; {} of {} classes load the encoder and run\n",
        report.architecture,
        count(loaded, "tensor"),
        run.len(),
        report.classes.len()
    );
    if !not_run.is_empty() {
        let names: Vec<&str> = not_run.iter().map(|class| class.class).collect();
        line.push_str(&format!("  not run: {}\n", names.join(", ")));
    }
    line
}

/// The table of the classes.
fn classes(report: &VerificationReport) -> String {
    let mut rows = vec![["class", "loaded", "new", "output", "time"].map(str::to_owned)];
    rows.extend(report.classes.iter().map(class_row));
    columns(1, &rows)
}

fn class_row(report: &ClassReport) -> [String; 5] {
    let new = match (report.mismatched.len(), report.missing.len()) {
        (0, 0) => "nothing".to_owned(),
        (0, n) => count(n, "tensor"),
        (n, _) => format!("{n} of another shape"),
    };
    let shape = match &report.output_shape {
        Some(shape) => format!("{shape:?}"),
        None => "not run".to_owned(),
    };
    let time = match report.seconds {
        Some(seconds) => format!("{:.0} ms", seconds * 1e3),
        None => String::new(),
    };
    let loaded = report.loaded.to_string();
    [report.class.to_owned(), loaded, new, shape, time]
}

/// How the tensors were compared with the checkpoint.
fn checksums(checksums: &ChecksumsReport) -> String {
    let mut text = String::new();
    for (n, what) in checksums.described() {
        text.push_str(&format!("  {}: {what}\n", count(n, "tensor")));
    }
    text
}

/// What the weights show of the head count, on one line.
fn heads(heads: &HeadCountVerdict) -> String {
    let configured = count(heads.configured, "attention head");
    let verdict = match (heads.verdict, heads.count) {
        (Verdict::Confirmed, _) => {
            format!("the weights show the same (margin {:.0})", heads.margin)
        }
        (Verdict::Contradicted, Some(count)) => {
            format!("the weights show {count} (margin {:.0})", heads.margin)
        }
        _ => "the weights do not decide".to_owned(),
    };
    format!("  {configured} in config.json; {verdict}\n")
}

/// The tokenizer on one line, and the consequences of missing files.
fn tokenizer(tokenizer: Option<&TokenizerCheckReport>) -> String {
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

/// The comparison with the training graph.
fn graph(report: Result<&GraphCheckReport, NoGraph>) -> String {
    let report = match report {
        Ok(report) => report,
        Err(reason) => return format!("  not compared with a training graph: {reason}\n"),
    };
    let mut text = String::new();
    let agrees = |output: &&ComparedOutputReport| output.deviation <= output.tolerance;
    let agreeing: Vec<&ComparedOutputReport> = report.outputs.iter().filter(agrees).collect();
    if !agreeing.is_empty() {
        let deviations = agreeing.iter().map(|output| output.deviation);
        let names: Vec<&str> = agreeing.iter().map(|output| output.name.as_str()).collect();
        text.push_str(&format!(
            "  {}: within {:.1e} of the training graph ({}, {:.2} s)\n",
            printable(&names.join(", ")),
            deviations.fold(0.0, f64::max),
            count(report.nodes, "node"),
            report.seconds
        ));
    }
    for refused in &report.not_evaluated {
        let node = refused.node.as_ref().map(|node| format!("{node}: "));
        let reason = format!("{}{}", node.unwrap_or_default(), refused.reason);
        text.push_str(&format!(
            "  {} not compared with the training graph: {}\n",
            printable(&refused.output),
            printable(&reason)
        ));
    }
    text
}

/// The comparison with reference outputs.
fn golden(golden: &GoldenReport) -> String {
    let mut out = heading(&format!(
        "Deviation from the reference (allowed {:.1e})",
        golden.tolerance
    ));
    let outputs = golden.outputs.iter();
    let rows: Vec<[String; 2]> = outputs
        .map(|output| [output.name.clone(), format!("{:.1e}", output.deviation)])
        .collect();
    out.push_str(&columns(1, &rows));
    if !golden.skipped.is_empty() {
        let names = golden.skipped.join(", ");
        let names = printable(&names);
        out.push_str(&format!("  {FAINT}not of this model: {names}{FAINT:#}\n"));
    }
    out
}

/// The ranking of head counts on text.
fn on_text(check: &TextCheckReport) -> String {
    let is_generator = check
        .measured
        .iter()
        .any(|measured| measured.accuracy.is_some());
    let (what, score) = if is_generator {
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
        let score = measured.accuracy.or(measured.auc).unwrap_or_default();
        [
            measured.heads.to_string(),
            format!("{:.4}", measured.loss),
            format!("{score:.3}"),
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
    out.push_str(&format!("  {}\n", check.explanation));
    out
}
