//! The model card: `README.md` as the Hugging Face Hub shows it.
//!
//! The metadata has what the export determines, and what the user states: licence, languages and base model are
//! never guessed.

use std::fmt::Write as _;

use candle_electra::ModelClass;
use serde_json::Value;

use crate::config::HeadCount;
use crate::config::candidate::ValueSource;
use crate::plan::Plan;
use crate::verify::Report;

/// What a checkpoint does not show of a model: metadata of its card that the user states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelCard {
    /// The licence, as the Hub abbreviates it (`apache-2.0`).
    pub license: Option<String>,
    /// The languages, by their ISO 639 codes.
    pub languages: Vec<String>,
    /// The repository on the Hub of the model that this one was made from.
    pub base_model: Option<String>,
}

/// An export that a card describes.
pub(crate) struct Described<'a> {
    pub(crate) plan: &'a Plan,
    /// The name of the checkpoint.
    pub(crate) checkpoint: &'a str,
    pub(crate) step: Option<u64>,
    /// What verification found; `None` if it was switched off.
    pub(crate) report: Option<&'a Report>,
}

impl ModelCard {
    /// Returns the text of the card.
    pub(crate) fn text(&self, export: &Described<'_>) -> String {
        let mut text = self.metadata(export.plan.class);
        let sections = [
            origin(export),
            configuration(export.plan),
            verification(export.report),
            loading(export.plan),
        ];
        for section in sections {
            text.push('\n');
            text.push_str(&section);
        }
        text
    }

    /// The YAML header. A JSON string is a YAML string.
    fn metadata(&self, class: ModelClass) -> String {
        let quoted = |text: &str| Value::from(text).to_string();
        let mut text = String::from("---\nlibrary_name: transformers\n");
        if let Some(tag) = pipeline_tag(class) {
            let _ = writeln!(text, "pipeline_tag: {tag}");
        }
        text.push_str("tags:\n- electra\n");
        if let Some(license) = &self.license {
            let _ = writeln!(text, "license: {}", quoted(license));
        }
        if !self.languages.is_empty() {
            text.push_str("language:\n");
        }
        for language in &self.languages {
            let _ = writeln!(text, "- {}", quoted(language));
        }
        if let Some(base_model) = &self.base_model {
            let _ = writeln!(text, "base_model: {}", quoted(base_model));
        }
        text.push_str("---\n");
        text
    }
}

/// Returns the task of the Hub that a class is for; `None` if the Hub has none for it.
fn pipeline_tag(class: ModelClass) -> Option<&'static str> {
    match class {
        ModelClass::Model => Some("feature-extraction"),
        ModelClass::MaskedLm => Some("fill-mask"),
        ModelClass::TokenClassification => Some("token-classification"),
        ModelClass::SequenceClassification => Some("text-classification"),
        ModelClass::QuestionAnswering => Some("question-answering"),
        _ => None,
    }
}

/// What was converted.
fn origin(export: &Described<'_>) -> String {
    let plan = export.plan;
    let name = code(export.checkpoint);
    let mut text = format!("# {name}: ELECTRA {}\n\n", plan.model);
    let step = export
        .step
        .map_or(String::new(), |step| format!(" at training step {step}"));
    let _ = writeln!(
        text,
        "The {} of the TensorFlow checkpoint {name}{step}, converted by electra-convert {}.\n",
        plan.model,
        env!("CARGO_PKG_VERSION"),
    );
    let _ = writeln!(
        text,
        "- class: `{}`\n- parameters: {}\n- tensors: {}, {}",
        plan.class.name(),
        plan.parameters(),
        plan.tensors.len(),
        plan.dtype_name(),
    );
    if let Some(task) = &plan.task {
        let _ = writeln!(text, "- task: {}, {}", code(&task.name), task.kind.key());
    }
    if let Some(tokenizer) = &plan.tokenizer {
        let settings = &tokenizer.settings;
        let case = if settings.do_lower_case {
            "lower-cased"
        } else {
            "not lower-cased"
        };
        let _ = writeln!(
            text,
            "- tokenizer: {} tokens, text is {case} ({})",
            tokenizer.vocabulary.len(),
            plain(&settings.do_lower_case_from),
        );
    }
    if let Some(inexact) = &plan.inexact {
        let _ = writeln!(text, "- **not exact**: {}", plain(inexact));
    }
    text
}

/// The values of config.json that are not defaults of transformers, with their sources.
fn configuration(plan: &Plan) -> String {
    let values = serde_json::to_value(plan.config()).expect("plain data");
    let mut text =
        String::from("## Configuration\n\n| setting | value | source |\n|---|---|---|\n");
    for (key, source) in &plan.resolved.sources {
        if *source == ValueSource::TransformersDefault {
            continue;
        }
        let value = match &values[*key] {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        let source = plain(&source.to_string());
        let _ = writeln!(text, "| `{key}` | {} | {source} |", code(&value));
    }
    text
}

/// How the export was verified.
fn verification(report: Option<&Report>) -> String {
    let mut text = String::from("## Verification\n\n");
    let Some(report) = report else {
        text.push_str("This export was not verified.\n");
        return text;
    };
    text.push_str("These checks passed before the files were published:\n\n");
    let checksums = &report.checksums;
    for (tensors, how) in [
        (
            checksums.against_index,
            "equal to the checkpoint's variables by its CRC-32C",
        ),
        (
            checksums.rounded,
            "equal to the checkpoint's variables after rounding, value by value",
        ),
        (
            checksums.by_value,
            "equal to the checkpoint's variables, value by value",
        ),
        (
            checksums.computed,
            "equal to what is computed from the checkpoint's variables",
        ),
    ] {
        if tensors > 0 {
            let _ = writeln!(text, "- tensors {how}: {tensors}");
        }
    }
    let run = report.classes.iter().filter(|class| class.output.is_some());
    let _ = writeln!(
        text,
        "- ELECTRA classes that load the weights and compute finite outputs, independent of padding: {} of {}",
        run.count(),
        report.classes.len()
    );
    for output in report.graph.iter().flat_map(|graph| &graph.outputs) {
        let _ = writeln!(
            text,
            "- {}, compared with the training graph: deviation {:.1e}, at most {:.1e} allowed",
            plain(&output.name),
            output.deviation,
            output.tolerance,
        );
    }
    if report
        .graph
        .as_ref()
        .map_or(true, |graph| graph.outputs.is_empty())
    {
        text.push_str("- no output was compared with the training graph\n");
    }
    let heads = report.head_count.configured;
    let _ = match report.head_count.found {
        HeadCount::Decided { margin, .. } => writeln!(
            text,
            "- {heads} attention heads: confirmed by the weights, margin {margin:.0}"
        ),
        HeadCount::Undecided { .. } => {
            writeln!(text, "- {heads} attention heads: the weights do not decide")
        }
    };
    text
}

/// How to load the export.
fn loading(plan: &Plan) -> String {
    let class = plan.class.name();
    let mut text = format!("## How to load\n\n```python\nfrom transformers import {class}");
    if plan.tokenizer.is_some() {
        text.push_str(", AutoTokenizer");
    }
    let _ = write!(
        text,
        "\n\nmodel = {class}.from_pretrained(\"PATH_OR_REPOSITORY\")\n"
    );
    if plan.tokenizer.is_some() {
        text.push_str("tokenizer = AutoTokenizer.from_pretrained(\"PATH_OR_REPOSITORY\")\n");
    }
    text.push_str("```\n");
    text
}

/// Returns text from a file in one line that Markdown shows as it is, in a table too.
fn plain(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_control() => escaped.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '!' | '&' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// Returns a name as code. Characters that would end it are left out.
fn code(text: &str) -> String {
    let kept = |c: &char| !c.is_control() && *c != '`' && *c != '|';
    format!("`{}`", text.chars().filter(kept).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_hostile_files_stay_in_their_place() {
        assert_eq!(code("a`b|c\n"), "`abc`");
        assert_eq!(
            plain("a\n# [b](c) <i> d_e"),
            "a \\# \\[b\\](c) \\<i\\> d\\_e"
        );
    }

    #[test]
    fn metadata_has_only_what_is_known_or_stated() {
        let empty = ModelCard::default().metadata(ModelClass::PreTraining);
        assert_eq!(
            empty,
            "---\nlibrary_name: transformers\ntags:\n- electra\n---\n"
        );
        let card = ModelCard {
            license: Some("mit\nlanguage: xx".into()),
            languages: vec!["en".into(), "no".into()],
            base_model: Some("google/electra".into()),
        };
        assert_eq!(
            card.metadata(ModelClass::MaskedLm),
            "---\nlibrary_name: transformers\npipeline_tag: fill-mask\ntags:\n- electra\n\
             license: \"mit\\nlanguage: xx\"\nlanguage:\n- \"en\"\n- \"no\"\n\
             base_model: \"google/electra\"\n---\n"
        );
    }
}
