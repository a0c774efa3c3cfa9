//! From the arguments to jobs. A line of a manifest has options by their names on the command line: they are parsed
//! by the same parser, in place of those that were given for all lines.

use std::collections::HashMap;
use std::ffi::OsString;
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, CommandFactory as _, Parser as _, ValueEnum as _};
use serde_json::Value;
use tf_checkpoint::address::without_query;

use super::args::{BatchArgs, JobArgs};
use crate::Error;
use crate::batch::{
    Error as BatchError, FoundJobs, JobOptions, MAX_MANIFEST_LEN, ManifestLine, Settings,
    find_jobs, jobs_of_lines, parse_manifest,
};
use crate::cli::args::ModelArg;
use crate::cli::caller::Caller;
use crate::cli::command::Cli;
use crate::cli::exit::Usage;
use crate::cli::input;
use crate::cli::settings::settings;

/// Makes the jobs that the arguments ask for.
pub(super) fn of_args(
    args: &BatchArgs,
    sources: &[PathBuf],
    caller: &Caller<'_>,
) -> anyhow::Result<FoundJobs> {
    let (path, text) = match (&args.manifest, &args.job) {
        (Some(path), _) => (
            path.clone(),
            input::read("--manifest", path, MAX_MANIFEST_LEN)?,
        ),
        (None, Some(job)) => ("--job".into(), job.clone().into_bytes()),
        (None, None) => {
            let model = args.model.ok_or_else(|| missing_model(""))?;
            let settings = Arc::new(settings(model, &args.reading, &args.export)?);
            let options = JobOptions {
                steps: args.steps.as_ref(),
                template: &args.name_template,
                settings: &settings,
            };
            return Ok(find_jobs(sources, options)?);
        }
    };
    let path = without_query(&path);
    let mut lines = Lines {
        args,
        path,
        given: given(caller),
        known: HashMap::new(),
    };
    let with_settings = |line: ManifestLine| {
        let settings = lines.settings(&line)?;
        Ok((line, settings))
    };
    let parsed = parse_manifest(path, &text).map_err(Error::from)?;
    let parsed: Vec<_> = parsed
        .into_iter()
        .map(with_settings)
        .collect::<anyhow::Result<_>>()?;
    Ok(jobs_of_lines(&parsed, &args.name_template))
}

fn missing_model(or: &str) -> anyhow::Error {
    let models = ModelArg::value_variants().iter().map(|model| model.key());
    let models: Vec<&str> = models.collect();
    Usage(format!("--model is required{or}: {}", models.join(", "))).into()
}

/// The option that a line of a manifest has as a key of its own.
const MODEL: &str = "model";

/// The settings of the lines of a manifest.
struct Lines<'a> {
    args: &'a BatchArgs,
    path: &'a Path,
    /// The options for all lines, as words.
    given: Vec<Given>,
    /// Lines with the same words share their settings.
    known: HashMap<Vec<OsString>, Arc<Settings>>,
}

/// An option of the command line.
struct Given {
    /// Its name, without hyphens in front.
    name: String,
    words: Vec<OsString>,
}

impl Lines<'_> {
    fn settings(&mut self, line: &ManifestLine) -> anyhow::Result<Arc<Settings>> {
        let error = |what: String| {
            anyhow::Error::from(Error::from(BatchError::Manifest {
                path: self.path.to_owned(),
                line: line.line,
                what,
            }))
        };
        let own = words(line).map_err(error)?;
        let replaces = |given: &Given| own.iter().any(|own| own.name == given.name);
        let common = self.given.iter().filter(|given| !replaces(given));
        let words = common.chain(&own).flat_map(|given| given.words.clone());
        let words: Vec<OsString> = words.collect();
        if let Some(known) = self.known.get(&words) {
            return Ok(Arc::clone(known));
        }
        let args = JobArgs::try_parse_from(&words).map_err(|found| {
            let text = found.render().to_string();
            let first = text.split("\n\n").next().unwrap_or_default();
            error(first.trim_start_matches("error: ").trim().to_owned())
        })?;
        let or = format!(
            ", or with `model` in {}, line {}",
            self.path.display(),
            line.line
        );
        let model = args.model.or(self.args.model);
        let model = model.ok_or_else(|| missing_model(&or))?;
        let settings = Arc::new(settings(model, &args.reading, &args.export)?);
        self.known.insert(words, Arc::clone(&settings));
        Ok(settings)
    }
}

/// Returns the options of a line as words.
fn words(line: &ManifestLine) -> Result<Vec<Given>, String> {
    let command = JobArgs::command();
    let mut given = Vec::new();
    let model = line
        .model
        .clone()
        .map(|model| (MODEL.to_owned(), Value::from(model)));
    if line.options.iter().any(|(name, _)| name == MODEL) {
        return Err("options has the key \"model\": give it beside options".to_owned());
    }
    let options = line
        .options
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()));
    for (key, value) in model.into_iter().chain(options) {
        let name = key.replace('_', "-");
        let find = |arg: &&clap::Arg| arg.get_long() == Some(&name[..]);
        let arg = command.get_arguments().find(find);
        let Some(arg) = arg else {
            let names = command.get_arguments().filter_map(clap::Arg::get_long);
            let names = names.filter(|name| *name != MODEL);
            let names: Vec<String> = names.map(|name| name.replace('-', "_")).collect();
            return Err(format!(
                "there is no option {key:?}; options are {}",
                names.join(", ")
            ));
        };
        let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
        let word = |text: String| OsString::from(format!("--{name}={text}"));
        let words = match value {
            Value::Null => continue,
            Value::Bool(set) if is_switch => {
                let word = set.then(|| OsString::from(format!("--{name}")));
                word.into_iter().collect()
            }
            Value::Array(values) => {
                let item = |value| {
                    let text = scalar(&key, value)?;
                    match arg.get_value_delimiter() {
                        Some(delimiter) if text.contains(delimiter) => Err(format!(
                            "the option {key:?} has the item {text:?}; no item may contain {delimiter:?}"
                        )),
                        _ => Ok(word(text)),
                    }
                };
                values.iter().map(item).collect::<Result<_, _>>()?
            }
            value => vec![word(scalar(&key, &value)?)],
        };
        given.push(Given { name, words });
    }
    Ok(given)
}

fn scalar(key: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => Err(format!(
            "the option {key:?} is {value}; expected a string, a number, true, false, or a list of these"
        )),
    }
}

/// Returns the options on the command line that a job also has.
fn given(caller: &Caller<'_>) -> Vec<Given> {
    let program = iter::once(OsString::from(env!("CARGO_PKG_NAME")));
    let words = program.chain(caller.words.iter().cloned());
    let matches = Cli::command().try_get_matches_from(words).ok();
    let Some(matches) = matches
        .as_ref()
        .and_then(|matches| matches.subcommand_matches("batch"))
    else {
        return Vec::new();
    };
    let command = JobArgs::command();
    let given = command.get_arguments().filter_map(|arg| {
        let name = arg.get_long()?;
        let words = words_of(matches, arg.get_id().as_str(), name, arg.get_action())?;
        Some(Given {
            name: name.to_owned(),
            words,
        })
    });
    given.collect()
}

fn words_of(
    matches: &ArgMatches,
    id: &str,
    name: &str,
    action: &ArgAction,
) -> Option<Vec<OsString>> {
    if matches.value_source(id) != Some(ValueSource::CommandLine) {
        return None;
    }
    if matches!(action, ArgAction::SetTrue) {
        return Some(vec![format!("--{name}").into()]);
    }
    let words = matches.get_raw(id)?.map(|value| {
        let mut word = OsString::from(format!("--{name}="));
        word.push(value);
        word
    });
    Some(words.collect())
}
