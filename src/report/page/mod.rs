//! A page to look at: one HTML file that shows what `convert` or `verify` found.
//!
//! The page is made from the reports that are also printed as JSON; each figure is an element `data` with the value in
//! JSON. It has neither scripts nor links to other files, and its size is bounded whatever the files contain: lists,
//! texts, layers and drawings have limits. Every text is escaped ([`html`]). Colours and sizes are in `style.css`.

mod checks;
mod contents;
mod drawing;
mod figures;
mod heads;
mod histograms;
mod html;
mod settings;
mod table;
mod text;

use std::path::Path;

use candle_electra::ElectraConfig;

use self::figures::{bytes, count, integer, seconds};
use self::html::{Html, classed, code, element, tag};
use self::table::{list, note};
use super::{
    CheckpointReport, ConversionReport, ExportReport, FileReport, PlanReport, VerificationReport,
    VerifyReport,
};
use crate::config::HEADS;
use crate::plan::Weights;

/// Nothing is loaded and nothing is run: a name in a file that is taken for HTML would do no harm either.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
const STYLE: &str = include_str!("style.css");

/// A page to look at.
///
/// ```no_run
/// use electra_convert::report::{ConversionReport, Page};
/// use electra_convert::{Conversion, ElectraCheckpoint, Model};
///
/// let checkpoint = ElectraCheckpoint::open("model.ckpt-400")?;
/// let conversion = Conversion::new(&checkpoint, Model::Discriminator).for_page(true);
/// let exports = conversion.run("out", &())?;
/// let report = ConversionReport::new(&checkpoint, &exports, 0.5);
/// std::fs::write("report.html", Page::of_conversion(&report).html()).unwrap();
/// # Ok::<(), electra_convert::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Page<'a> {
    name: &'a str,
    checkpoint: Option<&'a CheckpointReport>,
    /// The checkpoint that a directory was compared with.
    compared_with: Option<&'a Path>,
    seconds: Option<f64>,
    subjects: Vec<Subject<'a>>,
}

/// A model on a page.
#[derive(Clone, Debug)]
struct Subject<'a> {
    /// The model, or the directory of it.
    name: &'a str,
    state: State,
    plan: Option<&'a PlanReport>,
    files: &'a [FileReport],
    verification: Option<&'a VerificationReport>,
}

/// The result of one model.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Verified,
    NotVerified,
    Failed,
    /// Verified or not yet: another model has failed.
    Abandoned,
}

impl<'a> Page<'a> {
    /// Describes a conversion.
    pub fn of_conversion(report: &'a ConversionReport) -> Self {
        Self {
            name: &report.checkpoint.name,
            checkpoint: Some(&report.checkpoint),
            compared_with: None,
            seconds: Some(report.seconds),
            subjects: report.exports.iter().map(Subject::exported).collect(),
        }
    }

    /// Describes a conversion of which `model` has failed its verification, so that nothing was published.
    pub fn of_rejected(
        checkpoint: &'a CheckpointReport,
        plans: &'a [PlanReport],
        model: &str,
        verification: &'a VerificationReport,
    ) -> Self {
        let subjects = plans.iter().map(|plan| {
            let has_failed = plan.model == model;
            Subject {
                name: plan.model,
                state: if has_failed {
                    State::Failed
                } else {
                    State::Abandoned
                },
                plan: Some(plan),
                files: &[],
                verification: has_failed.then_some(verification),
            }
        });
        Self {
            name: &checkpoint.name,
            checkpoint: Some(checkpoint),
            compared_with: None,
            seconds: None,
            subjects: subjects.collect(),
        }
    }

    /// Describes a directory that was verified again, with the checkpoint that it was compared with.
    pub fn of_verification(report: &'a VerifyReport, source: Option<&'a Path>) -> Self {
        let state = if report.verification.passed {
            State::Verified
        } else {
            State::Failed
        };
        Self {
            name: &report.folder,
            checkpoint: None,
            compared_with: source,
            seconds: None,
            subjects: vec![Subject {
                name: report.verification.architecture,
                state,
                plan: None,
                files: &[],
                verification: Some(&report.verification),
            }],
        }
    }

    /// Returns the file.
    pub fn html(&self) -> String {
        let title = Html::from(self.name).and(" – electra-convert");
        let mut head = Html::literal(
            "<meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <meta name=\"color-scheme\" content=\"light dark\"><meta name=\"referrer\" content=\"no-referrer\">",
        );
        let policy = format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">");
        head.add(tag("title", title));
        let mut body = self.header();
        for (at, subject) in self.subjects.iter().enumerate() {
            let is_only = self.subjects.len() == 1;
            body.add(subject.html(&format!("m{at}"), is_only));
        }
        let main = tag("main", body).and(footer());
        format!(
            "<!doctype html>\n<html lang=\"en\"><head>{policy}{}<style>{STYLE}</style></head>\n<body>{}</body></html>\n",
            head.into_string(),
            main.into_string()
        )
    }

    /// What was converted or verified, and the result.
    fn header(&self) -> Html {
        let mut html = tag("h1", self.name);
        let has_failed = self.subjects.iter().any(|one| one.state == State::Failed);
        let outcome = match &self.subjects[..] {
            _ if has_failed => State::Failed.html(),
            [first, ..] => first.state.html(),
            [] => Html::default(),
        };
        html.add(classed("p", "verdict", outcome));
        if self.checkpoint.is_some() && has_failed {
            let what = "Nothing was published: the output directory is as it was before.";
            html.add(classed("p", "error", what));
        }
        if let Some(checkpoint) = self.checkpoint {
            html.add(facts(checkpoint, self.seconds));
        } else {
            let mut rows = vec![("Directory", code(self.name))];
            let source = self.compared_with.map(|path| code(&path.to_string_lossy()));
            rows.extend(source.map(|path| ("Compared with", path)));
            html.add(definitions(rows));
        }
        if self.subjects.len() > 1 {
            let links = self.subjects.iter().enumerate().map(|(at, subject)| {
                let target = format!("#m{at}");
                element("a", &[("href", &target)], subject.title())
            });
            let links = html::joined(links, " · ");
            html.add(element("nav", &[("aria-label", "Models")], links));
        }
        tag("header", html)
    }
}

impl State {
    fn html(self) -> Html {
        let (class, shown) = match self {
            Self::Verified => ("good", "✓ Verified"),
            Self::NotVerified => ("unsure", "– Not verified"),
            Self::Failed => ("bad", "✕ Verification failed"),
            Self::Abandoned => ("unsure", "– Not published"),
        };
        classed("span", &format!("outcome {class}"), shown)
    }

    /// What the state means.
    fn explained(self) -> Option<&'static str> {
        match self {
            Self::Verified | Self::Failed => None,
            Self::NotVerified => Some(
                "Nothing was verified (--no-verify): no value was read back, no class was run, and this page has neither \
                 checks nor histograms. Run: electra-convert verify DIR --source CKPT --report FILE.html",
            ),
            Self::Abandoned => Some(
                "This model was not published because another model of the conversion has failed its verification.",
            ),
        }
    }
}

/// The checkpoint.
fn facts(checkpoint: &CheckpointReport, time: Option<f64>) -> Html {
    let mut format = Html::from(&checkpoint.format_name);
    if checkpoint.object_based {
        format.add(" of TensorFlow 2 objects");
    }
    format.add(", ");
    format.add(count(checkpoint.shards, "data file"));
    if let Some(archive) = checkpoint.archive_name {
        format.add(", in ");
        format.add(archive);
    }
    if let Some(inflated) = checkpoint.inflated_bytes {
        format.add(", ");
        format.add(bytes(inflated));
        format.add(" inflated into temporary files");
    }
    let mut rows = vec![("Checkpoint", code(&checkpoint.prefix)), ("Format", format)];
    rows.extend(checkpoint.step.map(|step| ("Step", integer(step))));
    let holds = checkpoint.description.map(|what| ("Holds", what.into()));
    rows.extend(holds);
    rows.extend(time.map(|time| ("Converted in", seconds(time))));
    definitions(rows)
}

/// Terms with what they mean here.
fn definitions(rows: Vec<(&'static str, Html)>) -> Html {
    let rows = rows
        .into_iter()
        .map(|(term, what)| tag("div", tag("dt", term).and(tag("dd", what))));
    tag("dl", rows.collect::<Html>())
}

fn footer() -> Html {
    let version = env!("CARGO_PKG_VERSION");
    let text = format!("Written by electra-convert {version}. --json prints the same figures.");
    tag("footer", tag("p", text))
}

impl<'a> Subject<'a> {
    fn exported(export: &'a ExportReport) -> Self {
        let state = match &export.verification {
            Some(_) => State::Verified,
            None => State::NotVerified,
        };
        Self {
            name: export.plan.model,
            state,
            plan: Some(&export.plan),
            files: &export.files,
            verification: export.verification.as_ref(),
        }
    }

    fn title(&self) -> &str {
        match self.name {
            "discriminator" => "Discriminator",
            "generator" => "Generator",
            "finetuned" => "Fine-tuned model",
            name => name,
        }
    }

    fn config(&self) -> Option<&ElectraConfig> {
        let of_plan = self.plan.map(|plan| &plan.config);
        of_plan.or_else(|| self.verification.map(|report| &report.config))
    }

    /// The tensors, by the plan or by the file.
    fn tensors(&self) -> Vec<drawing::Tensor<'_>> {
        if let Some(plan) = self.plan {
            let tensors = plan.tensors.iter();
            return tensors
                .map(|tensor| (tensor.name.as_str(), &tensor.shape[..]))
                .collect();
        }
        let weights = self.verification.and_then(|report| report.weights.as_ref());
        let tensors = weights.iter().flat_map(|weights| &weights.tensors);
        tensors
            .map(|tensor| (tensor.name.as_str(), &tensor.shape[..]))
            .collect()
    }

    fn html(&self, id: &str, is_only: bool) -> Html {
        let mut html = tag("h2", self.title());
        if !is_only {
            html.add(classed("p", "verdict", self.state.html()));
        }
        if let Some(explained) = self.state.explained() {
            html.add(note(explained));
        }
        html.add(self.plan.map_or_else(Html::default, Self::summary));
        if let Some(report) = self.verification {
            html.add(checks::failures(report));
        }
        if let Some(plan) = self.plan.filter(|plan| !plan.warnings.is_empty()) {
            let warnings = tag("h3", "Warnings").and(list(&plan.warnings));
            html.add(classed("div", "warnings", warnings));
        }
        if let Some(config) = self.config() {
            let drawn = drawing::drawing(config, &self.tensors());
            html.add(table::section(&format!("{id}-model"), "The model", drawn));
        }
        if let Some(report) = self.verification {
            html.add(checks::checks(id, report));
        }
        html.add(match (self.plan, self.config()) {
            (Some(plan), _) => settings::settings(id, plan),
            (None, Some(config)) => settings::values_only(id, config),
            (None, None) => Html::default(),
        });
        html.add(self.measured(id));
        if let Some(plan) = self.plan {
            let tokenizer = plan.tokenizer.as_ref();
            html.add(tokenizer.map_or_else(Html::default, |one| settings::tokenizer(id, one)));
            html.add(contents::left_out(id, &plan.left_out));
            html.add(contents::contents(id, plan, self.files));
        }
        element("article", &[("id", id)], html)
    }

    /// What verification has measured of the weights and on text.
    fn measured(&self, id: &str) -> Html {
        let mut html = Html::default();
        let Some(report) = self.verification else {
            return html;
        };
        if let Some(weights) = &report.weights {
            let source = self.plan.and_then(|plan| plan.config_sources.get(HEADS));
            html.add(heads::heads(id, report, &weights.units, source));
            html.add(histograms::histograms(id, &weights.tensors));
        }
        if let Some(check) = &report.text {
            html.add(text::text(id, check));
        }
        html
    }

    /// The class, the sizes and what is special.
    fn summary(plan: &PlanReport) -> Html {
        let mut rows = vec![
            ("Class", code(plan.architecture)),
            ("Parameters", integer(plan.parameters)),
        ];
        let dtype = plan.dtype;
        rows.push((
            "Weights",
            bytes(plan.bytes as u64).and(format!(", {dtype}")),
        ));
        if plan.weights == Weights::Average.key() {
            rows.push(("Exported", "moving averages of the weights".into()));
        }
        rows.extend(plan.task.as_ref().map(|task| {
            let labels = code(&task.name)
                .and(format!(", {}, ", task.kind.replace('_', " ")))
                .and(count(task.labels, "label"));
            ("Task", labels)
        }));
        let inexact = plan.inexact.as_ref();
        rows.extend(inexact.map(|what| ("Not exact", what.into())));
        definitions(rows)
    }
}

#[cfg(test)]
mod tests;
