//! Every check with its figures.

use super::figures::{count, decimal, integer, scientific, seconds, shape};
use super::html::{Html, classed, code, joined, tag};
use super::table::{details, list, note, prose_table, section, table};
use crate::report::{
    ClassReport, GraphCheckReport, HeadCountVerdict, TokenizerCheckReport, Verdict,
    VerificationReport,
};
use crate::verify::{Check, NoGraph};

/// The outcome of a check.
#[derive(Clone, Copy)]
enum Outcome {
    Passed,
    Failed,
    Undecided,
    NotRun,
}

impl Outcome {
    /// The outcome for readers: a sign, a word, a colour.
    fn html(self) -> Html {
        let (class, shown) = match self {
            Self::Passed => ("good", "✓ passed"),
            Self::Failed => ("bad", "✕ failed"),
            Self::Undecided => ("unsure", "? undecided"),
            Self::NotRun => ("unsure", "– not run"),
        };
        classed("span", &format!("outcome {class}"), shown)
    }
}

/// The section of the checks.
pub(super) fn checks(id: &str, report: &VerificationReport) -> Html {
    let outcome = |check: Check, otherwise: Outcome| {
        if report.failed.contains(&check) {
            Outcome::Failed
        } else {
            otherwise
        }
    };
    let mut rows = Vec::new();
    let mut row = |name: &str, check: Check, otherwise: Outcome, content: Html| {
        rows.push([name.into(), outcome(check, otherwise).html(), content]);
    };
    if report.failed.contains(&Check::Config) {
        let content = "config.json contradicts the checkpoint or itself".into();
        row("Configuration", Check::Config, Outcome::Failed, content);
    }
    row(
        "Structure",
        Check::Structure,
        Outcome::Passed,
        structure(report),
    );
    row(
        "Checksums",
        Check::Checksums,
        compared(report),
        checksums(report),
    );
    row("Values", Check::Values, Outcome::Passed, values(report));
    let (decided, content) = heads(&report.head_count);
    row("Attention heads", Check::Heads, decided, content);
    let (ran, content) = forward(&report.classes);
    row("Forward pass", Check::Forward, ran, content);
    if let Some(task) = &report.task {
        let mut content = Html::from("the logits of task ").and(code(&task.name));
        content.add(" are within ");
        content.add(scientific(task.deviation));
        content.add(" of the checkpoint’s own head, on ");
        content.add(count(task.sequences, "random sequence"));
        content.add(match task.tolerance {
            Some(tolerance) => Html::from(" (allowed ").and(scientific(tolerance)).and(")"),
            None => " (weights were rounded)".into(),
        });
        row("Head of the task", Check::Task, Outcome::Passed, content);
    }
    let (ran, content) = graph(report.graph.as_ref().map_err(|reason| *reason));
    row("Training graph", Check::Graph, ran, content);
    let (ran, content) = tokenizer(report.tokenizer.as_ref());
    row("Tokenizer", Check::Tokenizer, ran, content);
    if let Some(golden) = &report.golden {
        let outputs = golden.outputs.iter().map(|output| {
            code(&output.name)
                .and(" within ")
                .and(scientific(output.deviation))
        });
        let mut content = joined(outputs, ", ");
        content.add(" of the reference (allowed ");
        content.add(scientific(golden.tolerance));
        content.add(")");
        for skipped in &golden.skipped {
            content.add("; not of this model: ");
            content.add(code(skipped));
        }
        row("Reference outputs", Check::Golden, Outcome::Passed, content);
    }
    if let Some(text) = &report.text {
        let otherwise = match text.verdict {
            Verdict::Confirmed => Outcome::Passed,
            Verdict::Contradicted => Outcome::Failed,
            Verdict::Undecided => Outcome::Undecided,
        };
        row(
            "Head count on text",
            Check::Text,
            otherwise,
            text.explanation.as_str().into(),
        );
    }
    let time = Html::from("All checks took ").and(seconds(report.seconds));
    let content = prose_table("Checks", ["check", "outcome", "found"], rows)
        .and(note(time.and(".")))
        .and(classes(&report.classes));
    section(&format!("{id}-checks"), "Checks", content)
}

/// The list of what is wrong.
pub(super) fn failures(report: &VerificationReport) -> Html {
    if report.failures.is_empty() {
        return Html::default();
    }
    let heading = tag("h3", "What is wrong");
    classed("div", "failures", heading.and(list(&report.failures)))
}

fn structure(report: &VerificationReport) -> Html {
    let own = report
        .classes
        .iter()
        .find(|class| class.class == report.architecture);
    let Some(own) = own else {
        return code(report.architecture);
    };
    let mut content = code(own.class)
        .and(" loads ")
        .and(count(own.loaded, "tensor"));
    for (number, what) in [
        (own.missing.len(), "missing"),
        (own.unexpected.len(), "unexpected"),
        (own.mismatched.len(), "of another shape"),
    ] {
        content.add(", ");
        content.add(integer(number));
        content.add(format!(" {what}"));
    }
    content
}

/// A tensor that was compared with nothing proves nothing.
fn compared(report: &VerificationReport) -> Outcome {
    let unchecked = report.checksums.unchecked;
    let all: usize = report
        .checksums
        .described()
        .map(|(tensors, _)| tensors)
        .sum();
    match unchecked {
        0 => Outcome::Passed,
        _ if unchecked == all => Outcome::NotRun,
        _ => Outcome::Undecided,
    }
}

fn checksums(report: &VerificationReport) -> Html {
    let lines = report.checksums.described();
    let lines: Vec<Html> = lines
        .map(|(tensors, what)| count(tensors, "tensor").and(format!(" {what}")))
        .collect();
    if lines.is_empty() {
        return "no tensor was compared".into();
    }
    let lines = joined(lines, "<br>");
    if report.failed.contains(&Check::Checksums) {
        return Html::from("checksum mismatch, see above. Expected: ").and(lines);
    }
    lines
}

fn values(report: &VerificationReport) -> Html {
    if report.failed.contains(&Check::Values) {
        return "some values are NaN or infinite".into();
    }
    if report.constant.is_empty() {
        return "all values are finite, no tensor is constant".into();
    }
    let names = report.constant.iter().map(|name| code(name));
    Html::from("all values are finite; suspicious: all elements are the same in ")
        .and(joined(names, ", "))
}

fn heads(heads: &HeadCountVerdict) -> (Outcome, Html) {
    let configured = count(heads.configured, "attention head").and(" in config.json; ");
    let margin = || {
        Html::from(" (margin ")
            .and(decimal(heads.margin, 0))
            .and(")")
    };
    match (heads.verdict, heads.count) {
        (Verdict::Confirmed, _) => {
            let content = configured.and("the weights show the same").and(margin());
            (Outcome::Passed, content)
        }
        (Verdict::Contradicted, Some(found)) => {
            let content = configured.and("the weights show ").and(integer(found));
            (Outcome::Failed, content.and(margin()))
        }
        (_, best) => {
            let mut content = configured.and("the weights do not decide");
            if let Some(best) = best {
                content.add(", ");
                content.add(integer(best));
                content.add(" would explain them best");
            }
            (Outcome::Undecided, content.and(margin()))
        }
    }
}

fn forward(classes: &[ClassReport]) -> (Outcome, Html) {
    let ran = classes.iter().filter(|class| class.output_shape.is_some());
    let ran = ran.count();
    if ran == 0 {
        let reason = "no class was run: the tensors or the configuration are wrong";
        return (Outcome::NotRun, reason.into());
    }
    let mut content = integer(ran).and(" of ").and(integer(classes.len()));
    content.add(" classes load the encoder and run");
    let largest = |of: fn(&ClassReport) -> Option<f32>| {
        let deviations = classes.iter().filter_map(of);
        deviations.reduce(f32::max)
    };
    for (deviation, what) in [
        (largest(|class| class.padding_deviation), "padding"),
        (largest(|class| class.order_deviation), "order in the batch"),
    ] {
        if let Some(deviation) = deviation {
            content.add(format!("; {what} changes outputs by at most "));
            content.add(scientific(deviation));
        }
    }
    (Outcome::Passed, content)
}

fn graph(report: Result<&GraphCheckReport, NoGraph>) -> (Outcome, Html) {
    let report = match report {
        Ok(report) => report,
        Err(reason) => return (Outcome::NotRun, format!("not compared: {reason}").into()),
    };
    let mut lines = Vec::new();
    for output in &report.outputs {
        let mut line = code(&output.name)
            .and(" deviates by ")
            .and(scientific(output.deviation));
        line.add(" (allowed ");
        line.add(scientific(output.tolerance));
        line.add(")");
        if let Some(first) = &output.first_difference {
            line.add(", first in ");
            line.add(first);
        }
        lines.push(line);
    }
    for refused in &report.not_evaluated {
        let mut line = code(&refused.output).and(" was not evaluated: ");
        if let Some(node) = &refused.node {
            line.add(code(node));
            line.add(": ");
        }
        lines.push(line.and(&refused.reason));
    }
    let outcome = match (report.outputs.is_empty(), report.not_evaluated.is_empty()) {
        (true, _) => Outcome::NotRun,
        (false, false) => Outcome::Undecided,
        (false, true) => Outcome::Passed,
    };
    let work = count(report.nodes, "node")
        .and(" computed in ")
        .and(seconds(report.seconds));
    lines.push(work);
    (outcome, joined(lines, "<br>"))
}

fn tokenizer(report: Option<&TokenizerCheckReport>) -> (Outcome, Html) {
    let Some(report) = report else {
        return (Outcome::NotRun, "there are no tokenizer files".into());
    };
    let mut content = count(report.tokens, "token").and(" for ");
    content.add(count(report.rows, "row"));
    content.add(" of the word embeddings, ");
    content.add(if report.do_lower_case {
        "lower-cased, "
    } else {
        "cased, "
    });
    content.add(if report.strip_accents {
        "accents stripped"
    } else {
        "accents kept"
    });
    for missing in &report.missing {
        content.add("; missing: ");
        content.add(code(missing));
    }
    for note in &report.notes {
        content.add("; ");
        content.add(note);
    }
    (Outcome::Passed, content)
}

/// The table of the eight classes.
fn classes(classes: &[ClassReport]) -> Html {
    let rows = classes.iter().map(|class| {
        let deviation =
            |deviation: Option<f32>| deviation.map_or_else(|| "–".into(), scientific::<f32>);
        let output = class.output_shape.as_deref();
        [
            code(class.class),
            integer(class.loaded),
            integer(class.missing.len()),
            output.map_or_else(|| "not run".into(), shape),
            deviation(class.padding_deviation),
            deviation(class.order_deviation),
            class.seconds.map_or_else(
                || "–".into(),
                |seconds| super::figures::figure(seconds, format!("{:.0} ms", seconds * 1e3)),
            ),
        ]
    });
    let headers = [
        "class", "loaded", "new", "output", "padding", "order", "time",
    ];
    let explained = note(
        "loaded: tensors that the class finds; new: tensors that transformers would initialise randomly; padding, \
         order: the largest change of an output by padding and by another order of the batch.",
    );
    let names = classes.iter().flat_map(|class| {
        let missing = class.missing.iter().map(|name| (name, "is new"));
        let unexpected = class.unexpected.iter().map(|name| (name, "is unexpected"));
        let lines = missing.chain(unexpected);
        let lines = lines.map(|(name, what)| code(name).and(format!(" {what} in {}", class.class)));
        let mismatched = class.mismatched.iter().map(|tensor| {
            code(&tensor.name)
                .and(" has the shape ")
                .and(shape(&tensor.found))
                .and(", expected ")
                .and(shape(&tensor.expected))
                .and(format!(" in {}", class.class))
        });
        lines.chain(mismatched).collect::<Vec<_>>()
    });
    let names: Vec<Html> = names.collect();
    let mut content = table("Classes of transformers", headers, rows).and(explained);
    if !names.is_empty() {
        content.add(list(names));
    }
    details("The classes of transformers", content)
}
