//! Jobs: one checkpoint each, with its options and its output name.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tf_checkpoint::address::without_query;
use tf_checkpoint::{Format, Limits, Location, Run};

use super::error::Error as BatchError;
use super::manifest::ManifestLine;
use super::names::{Fields, NameTemplate};
use super::settings::Settings;
use super::steps::Steps;
use crate::error::Error;
use crate::threads;

/// How many checkpoints are looked at at once: what takes time is the network.
pub(super) const PLANNERS: usize = 16;

/// A checkpoint to convert.
#[derive(Debug)]
pub struct Job {
    /// The name of the output directory, relative to that of the batch.
    pub(super) name: String,
    /// The path of the checkpoint, for messages.
    pub(super) checkpoint: String,
    /// The training step in the checkpoint's name.
    pub(super) step: Option<u64>,
    pub(super) settings: Arc<Settings>,
}

/// A job with its checkpoint, or the error of looking for it.
#[derive(Debug)]
pub struct FoundJob {
    pub(super) job: Job,
    pub(super) source: Result<Location, tf_checkpoint::Error>,
    /// True if the user gave the name of the output directory.
    pub(super) is_named: bool,
}

/// How jobs are made of checkpoints.
#[derive(Clone, Copy, Debug)]
pub struct JobOptions<'a> {
    /// The steps to convert; by default all.
    pub steps: Option<&'a Steps>,
    /// The template of output names.
    pub template: &'a NameTemplate,
    /// The options of every job.
    pub settings: &'a Arc<Settings>,
}

/// Jobs, and what the user should know about how they were found.
#[derive(Debug)]
#[non_exhaustive]
pub struct FoundJobs {
    /// The jobs, in the order of the sources, runs and steps.
    pub jobs: Vec<FoundJob>,
    /// Warnings.
    pub warnings: Vec<String>,
}

/// Makes a job of each line of a manifest, with the settings of the line. Many checkpoints are looked for at once.
pub fn jobs_of_lines(
    lines: &[(ManifestLine, Arc<Settings>)],
    template: &NameTemplate,
) -> FoundJobs {
    let job = |at: usize| {
        let (line, settings) = &lines[at];
        let options = JobOptions {
            steps: None,
            template,
            settings,
        };
        Ok::<_, Infallible>(FoundJob::of_line(line, options))
    };
    match threads::map_waiting(PLANNERS, lines.len(), job) {
        Ok(jobs) => FoundJobs::new(jobs),
        Err(error) => match error {},
    }
}

impl FoundJob {
    /// Returns the job.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// Returns the reason why there is no checkpoint; `None` if there is one.
    pub fn error(&self) -> Option<&tf_checkpoint::Error> {
        self.source.as_ref().err()
    }

    fn of_line(line: &ManifestLine, options: JobOptions<'_>) -> Self {
        let source = tf_checkpoint::locate(&line.checkpoint, line.step);
        let (path, name, step) = if let Ok(location) = &source {
            let run = name_of(location.folder());
            let checkpoint = name_in(location, location.folder());
            let step = location.step_in_name();
            let name = options.name(&run, step, &checkpoint);
            (location.prefix(), name, step)
        } else {
            // The query of a signed URL is a secret.
            let path = without_query(&line.checkpoint);
            let run = path.parent().map(name_of).unwrap_or_default();
            let name = options.name(&run, line.step, &name_of(path));
            (path, name, line.step)
        };
        let job = Job {
            name: line.out.clone().unwrap_or(name),
            checkpoint: path.to_string_lossy().into_owned(),
            step,
            settings: Arc::clone(options.settings),
        };
        Self {
            job,
            source,
            is_named: line.out.is_some(),
        }
    }
}

impl Job {
    /// Returns the name of the output directory, relative to that of the batch.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the path of the checkpoint.
    pub fn checkpoint(&self) -> &str {
        &self.checkpoint
    }

    /// Returns the training step in the checkpoint's name; `None` if the name has no step.
    pub fn step(&self) -> Option<u64> {
        self.step
    }

    /// Returns the model to export: `discriminator`, `generator`, `both` or `finetuned`.
    pub fn model(&self) -> &'static str {
        self.settings.models.key()
    }
}

impl JobOptions<'_> {
    fn name(&self, run: &str, step: Option<u64>, checkpoint: &str) -> String {
        let model = self.settings.models.key();
        self.template.name(Fields {
            run,
            step,
            model,
            checkpoint,
        })
    }
}

/// Finds the runs at each source, and makes a job of each of their checkpoints.
///
/// # Errors
/// If a source has no checkpoint, a directory cannot be read, or no checkpoint has a requested step.
pub fn find_jobs(sources: &[PathBuf], options: JobOptions<'_>) -> Result<FoundJobs, Error> {
    let mut found = FoundJobs::new(Vec::new());
    let mut there = BTreeSet::new();
    for source in sources {
        for run in tf_checkpoint::runs(source, &Limits::default())? {
            there.extend(run.checkpoints.iter().filter_map(Location::step_in_name));
            found.add(run, options);
        }
    }
    let named = options.steps.map(Steps::named).unwrap_or_default();
    let missing: Vec<u64> = named
        .iter()
        .copied()
        .filter(|step| !found.jobs.iter().any(|found| found.job.step == Some(*step)))
        .collect();
    if missing.is_empty() && !found.jobs.is_empty() {
        return Ok(found);
    }
    let sources: Vec<String> = sources
        .iter()
        .map(|path| without_query(path).display().to_string())
        .collect();
    let sources = sources.join(", ");
    if missing.is_empty() {
        let what = format!("no checkpoint in {sources} has a step of --steps");
        return Err(BatchError::Nothing { what }.into());
    }
    Err(BatchError::MissingSteps {
        missing: listed(missing),
        sources,
        found: match there.len() {
            0 => "no checkpoint there has a step in its name".to_owned(),
            _ => format!("the steps found: {}", listed(there)),
        },
    }
    .into())
}

/// Returns the first numbers, and how many more there are.
fn listed(numbers: impl IntoIterator<Item = u64>) -> String {
    const MOST: usize = 12;
    let mut numbers: Vec<String> = numbers.into_iter().map(|one| one.to_string()).collect();
    let more = numbers.len().saturating_sub(MOST);
    numbers.truncate(MOST);
    if more > 0 {
        numbers.push(format!("and {more} more"));
    }
    numbers.join(", ")
}

impl FoundJobs {
    fn new(jobs: Vec<FoundJob>) -> Self {
        Self {
            jobs,
            warnings: Vec::new(),
        }
    }

    fn add(&mut self, run: Run, options: JobOptions<'_>) {
        let name = if run.below.as_os_str().is_empty() {
            name_of(&run.folder)
        } else {
            run.below.to_string_lossy().into_owned()
        };
        let is_meant = |step: Option<u64>| {
            let step_is_meant = |steps: &Steps| step.is_some_and(|step| steps.contains(step));
            options.steps.is_none_or(step_is_meant)
        };
        let mut unnumbered = 0;
        for location in run.checkpoints {
            let step = location.step_in_name();
            if !is_meant(step) {
                unnumbered += usize::from(step.is_none());
                continue;
            }
            let job = Job {
                name: options.name(&name, step, &name_in(&location, &run.folder)),
                checkpoint: location.prefix().to_string_lossy().into_owned(),
                step,
                settings: Arc::clone(options.settings),
            };
            let source = Ok(location);
            self.jobs.push(FoundJob {
                job,
                source,
                is_named: false,
            });
        }
        for incomplete in run.incomplete {
            if is_meant(incomplete.step) {
                let checkpoint = name_of(&incomplete.prefix);
                let job = Job {
                    name: options.name(&name, incomplete.step, &checkpoint),
                    checkpoint: incomplete.prefix.to_string_lossy().into_owned(),
                    step: incomplete.step,
                    settings: Arc::clone(options.settings),
                };
                let source = Err(incomplete.error);
                self.jobs.push(FoundJob {
                    job,
                    source,
                    is_named: false,
                });
            }
        }
        if unnumbered > 0 {
            self.warnings.push(format!(
                "--steps leaves out {unnumbered} of the checkpoints in {}, whose names have no step",
                run.folder.display()
            ));
        }
    }
}

/// Returns the last part of a path. The path `.` has one, too.
fn name_of(path: &Path) -> String {
    let name = |path: &Path| Some(path.file_name()?.to_string_lossy().into_owned());
    let real = || {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        name(&path.canonicalize().ok()?)
    };
    name(path).or_else(real).unwrap_or_default()
}

/// Returns the name of a checkpoint among those of its run.
fn name_in(location: &Location, run: &Path) -> String {
    if location.format() != Format::SavedModel {
        return location.name();
    }
    match location.folder().strip_prefix(run) {
        Ok(below) if !below.as_os_str().is_empty() => below.to_string_lossy().into_owned(),
        _ => "saved_model".to_owned(),
    }
}
