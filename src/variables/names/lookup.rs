//! Finds the rule of the table that the name of a variable follows.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::scopes::{
    ELECTRA_BODY, ELECTRA_EMBEDDINGS, GENERATOR_BODY, GENERATOR_EMBEDDINGS, TRANSFORMERS_HEAD,
};
use super::table::{Rule, TABLE, TASK_HEADS};

/// The rule that the name of a variable follows, with the scope and the layer in the name.
#[derive(Debug)]
pub(crate) struct Match {
    /// The line of the table.
    pub(crate) rule: &'static Rule,
    /// The scope in place of `{W}`, `{E}` or `{B}`; `None` for a head.
    pub(crate) scope: Option<&'static str>,
    /// The number in place of `{N}`.
    pub(crate) layer: Option<usize>,
}

/// The scopes of the original code, longest first, and their placeholders in the table.
const PLACEHOLDERS: [(&str, &str); 6] = [
    (ELECTRA_EMBEDDINGS, "{W}"),
    (ELECTRA_EMBEDDINGS, "{E}"),
    (GENERATOR_EMBEDDINGS, "{W}"),
    (GENERATOR_EMBEDDINGS, "{E}"),
    (ELECTRA_BODY, "{B}"),
    (GENERATOR_BODY, "{B}"),
];

/// Looks up the name of a variable in the original code.
pub(crate) fn lookup(name: &str) -> Option<Match> {
    // A name that contains a placeholder would match its rule.
    if name.contains('{') {
        return None;
    }
    if let Some(head) = below(name, TRANSFORMERS_HEAD) {
        let rule = TASK_HEADS.iter().find(|rule| rule.variable == head)?;
        return Some(Match {
            rule,
            scope: None,
            layer: None,
        });
    }
    let scoped = PLACEHOLDERS.into_iter().filter_map(|(scope, placeholder)| {
        let rest = below(name, scope)?;
        Some((Some(scope), format!("{placeholder}/{rest}")))
    });
    let head = (None, name.to_owned());
    scoped.chain([head]).find_map(|(scope, pattern)| {
        let (layer, pattern) = take_layer(&pattern, "/layer_");
        let rule = TABLE.iter().find(|rule| rule.variable == pattern)?;
        Some(Match { rule, scope, layer })
    })
}

/// Returns the name relative to a scope; `None` if it is not in the scope.
pub(crate) fn below<'a>(name: &'a str, scope: &str) -> Option<&'a str> {
    name.strip_prefix(scope)?.strip_prefix('/')
}

/// The rule that a name in TensorFlow 2 code follows.
#[derive(Debug)]
pub(crate) struct KerasMatch {
    /// The line of the table.
    pub(crate) rule: &'static Rule,
    /// The number in place of `{N}`.
    pub(crate) layer: Option<usize>,
    /// The part of the name before the pattern: the scope of the encoder, or of the model around a head.
    pub(crate) scope: String,
}

/// The rules by every pattern of a name in TensorFlow 2 code.
static KERAS: LazyLock<HashMap<String, &'static Rule>> = LazyLock::new(|| {
    let rules = TABLE.iter().chain(TASK_HEADS.iter());
    rules
        .flat_map(|rule| rule.keras().into_iter().map(move |name| (name, rule)))
        .collect()
});

/// The largest number of components of a pattern, `layer/{N}` counted as two.
const KERAS_DEPTH: usize = 7;

/// Looks up a full name or an object path of TensorFlow 2 code. Only the last components are compared, so
/// that the time is linear in the length of the name.
pub(crate) fn lookup_keras(name: &str) -> Option<KerasMatch> {
    if name.contains('{') {
        return None;
    }
    let ends = name.rmatch_indices('/').map(|(at, _)| (at, at + 1));
    ends.chain([(0, 0)])
        .take(KERAS_DEPTH)
        .find_map(|(end, start)| {
            let tail = &name[start..];
            let (layer, pattern) = match take_layer(tail, "/layer_._") {
                (None, _) => take_layer(tail, "/layer/"),
                found => found,
            };
            let rule = *KERAS.get(&pattern)?;
            Some(KerasMatch {
                rule,
                layer,
                scope: name[..end].to_owned(),
            })
        })
}

/// Replaces `prefix` and the number of a layer by `/layer_{N}`, as in the table.
fn take_layer(name: &str, prefix: &str) -> (Option<usize>, String) {
    let number = name.split_once(prefix).and_then(|(before, rest)| {
        let (digits, after) = rest.split_once('/')?;
        let layer: usize = digits.parse().ok()?;
        // `parse` also accepts `07` and `+7`, which no code writes.
        (layer.to_string() == digits)
            .then(|| (Some(layer), format!("{before}/layer_{{N}}/{after}")))
    });
    number.unwrap_or_else(|| (None, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use candle_electra::Part;

    use super::super::scopes::GENERATOR;
    use super::*;

    #[test]
    fn every_rule_is_found_by_the_name_it_makes() {
        for rule in TABLE.iter() {
            let name = rule.variable(GENERATOR, 11);
            let found = lookup(&name).unwrap_or_else(|| panic!("{name}"));
            assert!(std::ptr::eq(found.rule, rule), "{name}");
            assert_eq!(
                found.layer,
                (rule.part() == Part::Layer).then_some(11),
                "{name}"
            );
        }
    }

    #[test]
    fn keras_names_follow_the_table() {
        for rule in TABLE.iter().chain(TASK_HEADS.iter()) {
            for pattern in rule.keras() {
                let depth = pattern.replace("layer_{N}", "layer/{N}").split('/').count();
                assert!(depth <= KERAS_DEPTH, "{pattern}");
                for layer in ["layer_._11", "layer/11"] {
                    let name = pattern.replace("layer_{N}", layer);
                    for scope in ["", "electra", "a/tf_electra_for_masked_lm_1/electra"] {
                        let name = format!("{scope}/{name}");
                        let name = name.trim_start_matches('/');
                        let found = lookup_keras(name).unwrap_or_else(|| panic!("{name}"));
                        assert!(std::ptr::eq(found.rule, rule), "{name}");
                        assert_eq!(
                            found.layer,
                            (rule.part() == Part::Layer).then_some(11),
                            "{name}"
                        );
                        assert_eq!(found.scope, scope);
                    }
                }
            }
        }
        for name in [
            "electra/encoder/layer_0/output/dense/kernel",
            "electra/encoder/layer_._01/output/dense/kernel",
            "electra/encoder/layer/01/bert_output/dense/kernel",
            "electra/embeddings/word_embeddings",
            "my_embeddings/LayerNorm/gamma",
            "electra/embeddings/LayerNorm/gamma/m",
            "xclassifier/kernel",
        ] {
            assert!(lookup_keras(name).is_none(), "{name}");
        }
    }

    #[test]
    fn names_of_many_slashes_take_linear_time() {
        // In quadratic time it would take hours.
        for part in ["/", "a/", "layer_._0/", "/layer/"] {
            let name = part.repeat(2_000_000);
            assert!(lookup_keras(&name).is_none());
            let found = lookup_keras(&format!("{name}/classifier/kernel")).unwrap();
            assert_eq!(found.scope, name);
        }
    }

    #[test]
    fn names_outside_the_table_are_not_found() {
        for name in [
            "electra/encoder/layer_01/output/dense/kernel",
            "electra/encoder/layer_+1/output/dense/kernel",
            "electra/encoder/layer_{N}/output/dense/kernel",
            "electra/encoder/layer_0/output/dense/kernel/adam_m",
            "discriminator/embeddings/word_embeddings",
            "electra/embeddings",
            "",
        ] {
            assert!(lookup(name).is_none(), "{name}");
        }
    }
}
