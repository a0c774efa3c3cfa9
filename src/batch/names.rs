//! Names of output directories: the template, what a name may be, and names that conflict.

use super::error::Error;
use super::summary::is_summary;
use crate::export::STAGING;

/// The longest part of a path that file systems accept, in bytes.
const MAX_PART: usize = 255;

/// A template of names, such as `{run}-{step}-{model}`.
///
/// | field | is replaced by |
/// |---|---|
/// | `{run}` | the path of the run below SOURCE, with `-` for `/`; the name of SOURCE if SOURCE is the run |
/// | `{step}` | the training step in the checkpoint's name; without one, the checkpoint's name |
/// | `{model}` | `discriminator`, `generator`, `both` or `finetuned` |
/// | `{checkpoint}` | the checkpoint's name, such as `model.ckpt-400` |
///
/// A slash makes a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameTemplate(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Run,
    Step,
    Model,
    Checkpoint,
}

const FIELDS: [(&str, Field); 4] = [
    ("run", Field::Run),
    ("step", Field::Step),
    ("model", Field::Model),
    ("checkpoint", Field::Checkpoint),
];

/// What the fields of a template stand for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    pub(super) run: &'a str,
    pub(super) step: Option<u64>,
    pub(super) model: &'a str,
    pub(super) checkpoint: &'a str,
}

impl Default for NameTemplate {
    fn default() -> Self {
        Self::parse(Self::DEFAULT).expect("a valid template")
    }
}

impl NameTemplate {
    /// The template that is used unless another one is given.
    pub const DEFAULT: &str = "{run}-{step}-{model}";

    /// Parses a template.
    ///
    /// # Errors
    /// What is wrong: an unknown field, or a brace that belongs to no field.
    pub fn parse(text: &str) -> Result<Self, String> {
        let known = || {
            let names = FIELDS.map(|(name, _)| format!("{{{name}}}"));
            format!("the fields are {}", names.join(", "))
        };
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            let field = from.strip_prefix('{').and_then(|from| from.split_once('}'));
            let (name, after) =
                field.ok_or_else(|| format!("a brace belongs to no field; {}", known()))?;
            let found = FIELDS.iter().find(|(known, _)| *known == name);
            let (_, field) =
                found.ok_or_else(|| format!("there is no field {{{name}}}; {}", known()))?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Field(*field));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    /// Returns the name for these values.
    pub(super) fn name(&self, fields: Fields<'_>) -> String {
        let of = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Field(Field::Run) => plain(fields.run),
            Part::Field(Field::Step) => match fields.step {
                Some(step) => step.to_string(),
                None => plain(fields.checkpoint),
            },
            Part::Field(Field::Model) => fields.model.to_owned(),
            Part::Field(Field::Checkpoint) => plain(fields.checkpoint),
        };
        self.0.iter().map(of).collect()
    }
}

/// Returns a path as a part of one name.
fn plain(path: &str) -> String {
    path.trim_matches(['/', '\\']).replace(['/', '\\'], "-")
}

/// Fails unless a name stays below the output directory and is that of no file of the program.
pub(super) fn check(name: &str, checkpoint: &str) -> Result<(), Error> {
    let what = what_is_wrong(name);
    what.map_or(Ok(()), |what| {
        Err(Error::Name {
            name: name.to_owned(),
            checkpoint: checkpoint.to_owned(),
            what: what.to_owned(),
        })
    })
}

fn what_is_wrong(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("is empty");
    }
    let is_device = |part: &str| cfg!(windows) && part.contains(':');
    for part in name.split('/') {
        let what = match part {
            "" => "begins or ends with a slash, or has two in a row; it must be relative to OUT",
            "." | ".." => "must not have a part . or ..; it must stay below OUT",
            STAGING => "has the name of a staging directory",
            _ if part.contains('\\') || is_device(part) => "must not have a backslash or a drive",
            _ if part.chars().any(char::is_control) => "must not have control characters",
            _ if part.len() > MAX_PART => "has a part that is longer than file systems accept",
            _ => continue,
        };
        return Some(what);
    }
    let first = name.split('/').next().unwrap_or_default();
    is_summary(first).then_some("has the name of the summary")
}

/// Fails if two names are equal, or one is inside the other. `jobs` are names with their checkpoints.
pub(super) fn check_conflicts<'a>(
    jobs: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<(), Error> {
    let mut jobs: Vec<(&str, &str)> = jobs.collect();
    jobs.sort_by(|(a, _), (b, _)| a.split('/').cmp(b.split('/')));
    // What is inside a directory follows it.
    for pair in jobs.windows(2) {
        let [(first_name, first), (second_name, second)] = pair else {
            continue;
        };
        let mut inner = second_name.split('/');
        if first_name.split('/').all(|part| inner.next() == Some(part)) {
            if (first_name, first) == (second_name, second) {
                return Err(Error::Twice {
                    checkpoint: (*first).to_owned(),
                    name: (*first_name).to_owned(),
                });
            }
            return Err(Error::Conflict {
                first: (*first).to_owned(),
                first_name: (*first_name).to_owned(),
                second: (*second).to_owned(),
                second_name: (*second_name).to_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS_OF_A_RUN: Fields<'_> = Fields {
        run: "group/a",
        step: Some(400),
        model: "generator",
        checkpoint: "model.ckpt-400",
    };

    #[test]
    fn templates_have_fields() {
        let name = |template: &str| {
            let template = NameTemplate::parse(template).unwrap();
            template.name(FIELDS_OF_A_RUN)
        };
        assert_eq!(name(NameTemplate::DEFAULT), "group-a-400-generator");
        assert_eq!(name("{run}/{step}/{model}"), "group-a/400/generator");
        assert_eq!(name("x-{checkpoint}"), "x-model.ckpt-400");
        assert_eq!(name("x"), "x");
        let unnumbered = Fields {
            step: None,
            checkpoint: "runs/",
            ..FIELDS_OF_A_RUN
        };
        assert_eq!(
            NameTemplate::default().name(unnumbered),
            "group-a-runs-generator"
        );
        for (template, words) in [
            ("{size}", "there is no field {size}; the fields are {run}"),
            ("{run", "a brace"),
            ("run}", "a brace"),
            ("{{run}}", "there is no field"),
        ] {
            let error = NameTemplate::parse(template).unwrap_err();
            assert!(error.contains(words), "{template}: {error}");
        }
    }

    #[test]
    fn names_stay_below_the_output_directory() {
        for name in [
            "a",
            "a/b",
            "a b",
            "ü",
            "..a",
            ".hidden",
            "batchsize-64/run.json",
            "batch-of-2.json",
            "a/batch.json",
        ] {
            assert!(check(name, "m").is_ok(), "{name}");
        }
        let long = "x".repeat(256);
        for name in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "../a",
            "a/../../b",
            "a/./b",
            "a\\b",
            "a\nb",
            "a\0",
            ".electra-convert",
            "a/.electra-convert",
            "batch.json",
            "Batch.JSON",
            "batch.json/a",
            "batch-0-of-2.json",
            &long,
        ] {
            assert!(check(name, "m").is_err(), "{name}");
        }
    }

    #[test]
    fn equal_and_nested_names_conflict() {
        let conflict = |names: &[&'static str]| {
            check_conflicts(names.iter().map(|name| (*name, *name))).is_err()
        };
        assert!(!conflict(&["a", "b", "a-b", "c/d", "c/e", "c-"]));
        assert!(conflict(&["a", "b", "a"]));
        assert!(conflict(&["a/b", "a-b", "a"]));
        assert!(conflict(&["x/y/z", "x/y", "w"]));
    }
}
