//! The settings with their sources, and the tokenizer.

use std::collections::BTreeMap;

use candle_electra::ElectraConfig;
use serde_json::Value;

use super::figures::{count, figure, integer};
use super::html::{Html, breakable, code, tag};
use super::table::{details, list, note, prose_table, section, table};
use crate::report::{PlanReport, SourceReport, TokenEvidence, TokenizerReport};

/// The section of the settings of an export.
pub(super) fn settings(id: &str, plan: &PlanReport) -> Html {
    let sources = plan.config_sources.iter();
    let (defaults, decided): (Vec<_>, Vec<_>) = sources.partition(|(_, source)| source.is_default);
    let values = values(&plan.config);
    let row = |key: &str, source: &SourceReport| [code(key), shown(&values[key]), from(source)];
    let rows = decided.iter().map(|(key, source)| row(key, source));
    let mut content = prose_table("Settings", ["setting", "value", "source"], rows);
    let is_known = |key: &str| decided.iter().any(|(known, _)| **known == key);
    let fixed: BTreeMap<&str, &Value> = values
        .iter()
        .filter(|(key, _)| !is_known(key))
        .map(|(key, value)| (key.as_str(), value))
        .collect();
    let rows = fixed.into_iter().map(|(key, value)| {
        let default = defaults.iter().find(|(known, _)| **known == key);
        let source = default.map_or_else(|| "fixed".into(), |(_, source)| from(source));
        [code(key), shown(value), source]
    });
    let rest = prose_table("Other settings", ["setting", "value", "source"], rows);
    content.add(details("All other keys of config.json", rest));
    section(
        &format!("{id}-settings"),
        "Where each setting comes from",
        content,
    )
}

/// The section of a config.json whose sources are not known.
pub(super) fn values_only(id: &str, config: &ElectraConfig) -> Html {
    let values = values(config);
    let rows = values.iter().map(|(key, value)| [code(key), shown(value)]);
    let explained = note("A page of the conversion has the source of each setting.");
    let all = table("Settings", ["setting", "value"], rows);
    let content = explained.and(details("All keys of config.json", all));
    section(&format!("{id}-settings"), "Settings", content)
}

fn values(config: &ElectraConfig) -> serde_json::Map<String, Value> {
    match serde_json::to_value(config) {
        Ok(Value::Object(values)) => values,
        _ => unreachable!("a config.json is an object"),
    }
}

fn shown(value: &Value) -> Html {
    match value {
        Value::String(text) => text.into(),
        Value::Number(number) if number.is_u64() => integer(number),
        Value::Number(number) => figure(number, number.to_string()),
        value => value.to_string().into(),
    }
}

/// The source, those that agree, and what else is known.
fn from(source: &SourceReport) -> Html {
    let mut html = breakable(&source.detail);
    for other in source.agreed.iter().flatten() {
        html.add(", also ");
        html.add(breakable(&other.detail));
    }
    if let Some(remark) = &source.note {
        html.add("; ");
        html.add(remark);
    }
    html
}

/// The section of the tokenizer.
pub(super) fn tokenizer(id: &str, tokenizer: &TokenizerReport) -> Html {
    let [tokens, rows] = [Some(tokenizer.tokens), tokenizer.rows]
        .map(|number| number.map_or_else(|| "unknown".into(), integer));
    let decided = |is_on: bool, by: &str| Html::from(if is_on { "yes: " } else { "no: " }).and(by);
    let rows = [
        ["vocabulary".into(), code(&tokenizer.vocabulary)],
        ["token ids".into(), tokens],
        ["rows of the word embeddings".into(), rows],
        [
            "text is lower-cased".into(),
            decided(tokenizer.do_lower_case, &tokenizer.decided_by),
        ],
        [
            "accents are stripped".into(),
            decided(tokenizer.strips_accents(), &tokenizer.accents_decided_by),
        ],
    ];
    let mut content = prose_table("Tokenizer", ["what", "found"], rows);
    if !tokenizer.notes.is_empty() {
        content.add(list(&tokenizer.notes));
    }
    content.add(evidence(tokenizer));
    section(&format!("{id}-tokenizer"), "Tokenizer", content)
}

/// What the vocabulary shows.
fn evidence(tokenizer: &TokenizerReport) -> Html {
    let evidence = &tokenizer.evidence;
    let row = |what: &str, found: &TokenEvidence| {
        let examples = found.examples.iter().map(|token| code(token));
        let examples = super::html::joined(examples, " ");
        [what.into(), integer(found.tokens), examples]
    };
    let rows = [
        row(
            "lost if text is lower-cased",
            &evidence.lost_by_lower_casing,
        ),
        row("lost if accents are stripped", &evidence.lost_by_stripping),
        row(
            "produced only if accents are stripped",
            &evidence.only_by_stripping,
        ),
        row("always split at Chinese characters", &evidence.split_words),
    ];
    let counted = tag(
        "p",
        count(evidence.tokens, "token")
            .and(" count as evidence, ")
            .and(integer(evidence.with_case))
            .and(" have a letter with two cases."),
    );
    let found = table("Evidence", ["tokens that are", "number", "examples"], rows);
    details("Evidence in the vocabulary", counted.and(found))
}
