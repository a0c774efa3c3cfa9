//! An open checkpoint whose variables have their roles.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use candle_electra::{ElectraConfig, ModelClass};
use parking_lot::Mutex;
use tf_checkpoint::address::{self, Use};
use tf_checkpoint::storage::fetched_bytes;
use tf_checkpoint::{Checkpoint, MetaGraph, ReadBy};

use crate::config::{ConfigOptions, Encoder, HeadCount, TaskKind};
use crate::error::Error;
use crate::export::{TASK_KEY, WEIGHTS_KEY};
use crate::head_norms;
use crate::plan::{self, Plan, PlanOptions, TargetDtype, TokenizerChoice, Weights};
use crate::progress::{Phase, Progress, Watch};
use crate::saved_twice;
use crate::surroundings;
use crate::threads;
use crate::tokenizer::{self, Vocabulary};
use crate::variables::{self, Code, Inventory, Model, Rename, Role, TrainingSetup};
use crate::verify::{Doubts, EvaluatedBy, TrainingGraph, decide};

/// Which checkpoint to open, and how.
///
/// ```no_run
/// use electra_convert::{OpenOptions, Rename};
///
/// let checkpoint = OpenOptions::default()
///     .step(400)
///     .renames(Rename::parse("^bert/=electra/"))
///     .open("runs")?;
/// # Ok::<(), electra_convert::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    step: Option<u64>,
    renames: Vec<Rename>,
    read_by: ReadBy,
}

impl OpenOptions {
    /// Picks the checkpoint of this training step where there are several.
    #[must_use]
    pub fn step(mut self, step: impl Into<Option<u64>>) -> Self {
        self.step = step.into();
        self
    }

    /// Renames all variables, by each renaming in turn.
    #[must_use]
    pub fn renames(mut self, renames: impl IntoIterator<Item = Rename>) -> Self {
        self.renames.extend(renames);
        self
    }

    /// Chooses what reads the values; by default this crate.
    #[must_use]
    pub fn read_by(mut self, read_by: ReadBy) -> Self {
        self.read_by = read_by;
        self
    }

    /// Locates and opens a checkpoint, and gives every variable its role.
    ///
    /// `path` is whatever [`tf_checkpoint::locate`] takes: a prefix, one of the files, a directory, a
    /// SavedModel, a zip or tar archive.
    pub fn open(self, path: impl AsRef<Path>) -> Result<ElectraCheckpoint, Error> {
        let location = tf_checkpoint::locate(path.as_ref(), self.step)?;
        let checkpoint = Checkpoint::open_by(location, self.read_by)?;
        ElectraCheckpoint::new(checkpoint, &self.renames)
    }

    /// As [`open`](Self::open), with the bytes that this process fetches meanwhile as progress.
    pub(crate) fn open_with(
        self,
        path: impl AsRef<Path>,
        progress: &dyn Progress,
    ) -> Result<ElectraCheckpoint, Error> {
        if address::refuse(path.as_ref(), Use::Checkpoint).is_ok() {
            // Not an address.
            return self.open(path);
        }
        let before = fetched_bytes();
        let mut has_begun = false;
        let look = || {
            let fetched = fetched_bytes() - before;
            if fetched > 0 {
                if !has_begun {
                    progress.begin(Phase::Opening, 0);
                    has_begun = true;
                }
                progress.fetched(fetched);
            }
            ControlFlow::Continue(())
        };
        threads::observed(|| self.open(path), look).map_err(Error::Threads)?
    }
}

/// An open checkpoint whose variables have their roles.
///
/// Opening reads the index and the training graph, and no values. Planning may read attention weights.
#[derive(Debug)]
pub struct ElectraCheckpoint {
    checkpoint: Checkpoint,
    inventory: Inventory,
    graph: Option<MetaGraph>,
    setup: OnceLock<TrainingSetup>,
    step: OnceLock<Option<u64>>,
    /// What the weights show of the head count of each encoder, by the name of one of its variables.
    head_counts: Mutex<HashMap<String, Option<HeadCount>>>,
}

impl ElectraCheckpoint {
    /// Opens a checkpoint with the default [`OpenOptions`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        OpenOptions::default().open(path)
    }

    /// Gives every variable of an open checkpoint its role.
    pub fn new(checkpoint: Checkpoint, renames: &[Rename]) -> Result<Self, Error> {
        let inventory = Inventory::new(checkpoint.variables(), renames)?;
        let graph = checkpoint.meta_graph()?;
        Ok(Self {
            checkpoint,
            inventory,
            graph,
            setup: OnceLock::new(),
            step: OnceLock::new(),
            head_counts: Mutex::default(),
        })
    }

    /// Returns the checkpoint itself.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Returns the variables with their roles.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Returns the training graph, to compare a converted model with it; `None` if the checkpoint has none.
    pub fn training_graph(&self) -> Option<TrainingGraph<'_>> {
        self.graph.as_ref().map(|graph| TrainingGraph {
            graph,
            inventory: &self.inventory,
            evaluated_by: EvaluatedBy::default(),
        })
    }

    /// Returns which models it holds.
    ///
    /// # Errors
    /// If the variables are not those of an ELECTRA.
    pub fn setup(&self) -> Result<TrainingSetup, Error> {
        if let Some(setup) = self.setup.get() {
            return Ok(*setup);
        }
        let graph = self.graph.as_ref();
        let setup = match TrainingSetup::of(&self.inventory, graph) {
            Err(variables::Error::OnlyAverages) => {
                TrainingSetup::of(&self.inventory.averaged()?, graph)
            }
            setup => setup,
        }?;
        Ok(*self.setup.get_or_init(|| setup))
    }

    /// Returns the paths where a vocabulary is looked for: beside the checkpoint, then in the directory
    /// above and the one above that, because the original code keeps `vocab.txt` beside
    /// `models/NAME/`; first among the assets of a SavedModel. Paths below the working directory are relative
    /// to it.
    pub fn vocabulary_places(&self) -> Vec<PathBuf> {
        surroundings::vocabulary_places(self.checkpoint.location())
    }

    /// Reads the vocabulary in the first of these places that has one.
    pub fn vocabulary(&self) -> Result<Option<Vocabulary>, Error> {
        let storage = self.checkpoint.location().storage();
        for path in self.vocabulary_places() {
            let read = storage.read_if_there(&path, tokenizer::MAX_LEN);
            let bytes = read.map_err(|source| tf_checkpoint::Error::reading(&path, source))?;
            if let Some(bytes) = bytes {
                tf_checkpoint::refuse_stand_in(&path, &bytes)?;
                return Ok(Some(Vocabulary::parse(&path, &bytes)?));
            }
        }
        Ok(None)
    }

    /// Fails if an HDF5 file in the directory from which a SavedModel was found holds other weights.
    pub(crate) fn check_saved_twice(&self, watch: &Watch<'_>) -> Result<(), Error> {
        saved_twice::check((&self.checkpoint, &self.inventory), watch)
    }

    /// Plans the export of one model.
    ///
    /// Reads the attention weights if the training graph does not show the head count. If the graph shows a
    /// setting in a way that no rule recognises, the graph is evaluated with each possible value.
    pub fn plan(&self, model: Model, options: &PlanOptions) -> Result<Plan, Error> {
        self.plan_watched(model, options, &Watch::new(&()))
    }

    /// As [`plan`](Self::plan), without reading any weights.
    pub fn plan_by_index(&self, model: Model, options: &PlanOptions) -> Result<Plan, Error> {
        let options = self.with_files_beside(options)?;
        Ok(self.plan_without_values(model, &options)?)
    }

    /// Adds the files with settings that the weights do not have: the config.json beside an HDF5 file or around
    /// a SavedModel, unless the user gives another one, and Model Garden's params.yaml.
    fn with_files_beside<'o>(
        &self,
        options: &'o PlanOptions,
    ) -> Result<Cow<'o, PlanOptions>, Error> {
        let location = self.checkpoint.location();
        let config = match &options.config.file {
            Some(_) => None,
            None => surroundings::config(location)?,
        };
        let params = match self.inventory.code() {
            Code::ModelGarden => surroundings::params(location)?,
            Code::Original | Code::Keras => None,
        };
        if config.is_none() && params.is_none() {
            return Ok(Cow::Borrowed(options));
        }
        let mut options = options.clone();
        options.config.file = config.or(options.config.file);
        options.config.params = params;
        Ok(Cow::Owned(options))
    }

    /// As [`plan`](Self::plan), with cancellation.
    pub(crate) fn plan_watched(
        &self,
        model: Model,
        options: &PlanOptions,
        watch: &Watch<'_>,
    ) -> Result<Plan, Error> {
        let options = &*self.with_files_beside(options)?;
        match self.plan_with_weights(model, options, watch) {
            Err(Error::Model(error @ variables::Error::Unrecognised { .. })) => {
                if let Some(options) = self.evaluated(model, options, watch) {
                    return self.plan_with_weights(model, &options, watch);
                }
                // A cancellation ends the evaluation, too.
                watch.check()?;
                Err(error.into())
            }
            plan => plan,
        }
    }

    fn plan_without_values(
        &self,
        model: Model,
        options: &PlanOptions,
    ) -> Result<Plan, plan::Error> {
        let graph = self.graph.as_ref();
        Plan::new(&self.inventory, graph, model, options, &|_, _| None)
    }

    fn plan_with_weights(
        &self,
        model: Model,
        options: &PlanOptions,
        watch: &Watch<'_>,
    ) -> Result<Plan, Error> {
        let failure = RefCell::new(None);
        let read = |inventory: &Inventory, encoder: Encoder| {
            self.prepare(inventory, encoder, model, options);
            let head_count = self.head_count(inventory, encoder, watch);
            head_count.unwrap_or_else(|error| {
                *failure.borrow_mut() = Some(error);
                None
            })
        };
        let plan = Plan::new(&self.inventory, self.graph.as_ref(), model, options, &read);
        match failure.into_inner() {
            Some(error) => Err(error),
            None => Ok(plan?),
        }
    }

    /// Announces the variables of a model, so that neighbours are fetched together; first those that show the head count.
    fn prepare(
        &self,
        inventory: &Inventory,
        encoder: Encoder,
        model: Model,
        options: &PlanOptions,
    ) {
        if !self.checkpoint.location().storage().is_remote() {
            return;
        }
        let first = head_norms::variables(inventory, encoder);
        let plan = self.plan_without_values(model, options);
        let all = plan.iter().flat_map(Plan::variables);
        self.checkpoint.prepare(first.into_iter().chain(all));
    }

    /// Returns the options with the settings that an evaluation of the training graph determines; `None` if
    /// it determines none.
    fn evaluated(
        &self,
        model: Model,
        options: &PlanOptions,
        watch: &Watch<'_>,
    ) -> Option<PlanOptions> {
        let mut options = options.clone();
        let dtype = std::mem::replace(&mut options.dtype, TargetDtype::F32);
        let mut doubts = Doubts::default();
        // Any values will do until those are known with which the graph agrees.
        let plan = loop {
            let unknown = match self.plan_without_values(model, &options) {
                Ok(plan) => break plan,
                Err(plan::Error::Model(variables::Error::Unrecognised { option, .. })) => option?,
                Err(_) => return None,
            };
            let settings = options.config.evaluated.get_or_insert_default();
            if !doubts.add(unknown, settings) {
                return None;
            }
        };
        let training = self.training_graph()?;
        let decided = decide(training, &self.checkpoint, &plan, doubts, watch)?;
        options.config.evaluated = Some(decided);
        options.dtype = dtype;
        Some(options)
    }

    /// Returns what the weights of an encoder show of its head count. Each encoder is read once.
    fn head_count(
        &self,
        inventory: &Inventory,
        encoder: Encoder,
        watch: &Watch<'_>,
    ) -> Result<Option<HeadCount>, Error> {
        let Some(key) = head_norms::key(inventory, encoder) else {
            return Ok(None);
        };
        if let Some(known) = self.head_counts.lock().get(key) {
            return Ok(*known);
        }
        let head_count = head_norms::of_checkpoint(&self.checkpoint, inventory, encoder, watch);
        if head_count.is_err() {
            watch.check()?;
            // Checked first: this error explains a checksum mismatch.
            self.checkpoint.check_unchanged()?;
        }
        let head_count = head_count?;
        self.head_counts.lock().insert(key.to_owned(), head_count);
        Ok(head_count)
    }

    /// The plan that a folder with this configuration should come from, to compare it with. The metadata
    /// of the folder's weights, where `note` looks a key up, has the task of a fine-tuned model, and says
    /// whether the weights are averages.
    pub fn plan_of<'a>(
        &self,
        config: &ElectraConfig,
        note: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Plan, Error> {
        let class = config.architectures.first();
        let head = class.and_then(|class| ModelClass::from_name(class));
        let task_kind = head.and_then(TaskKind::of_class);
        let model = match head {
            Some(head) if head.has_decoder() => Model::Generator,
            _ if task_kind.is_some() => Model::FineTuned,
            _ => Model::Discriminator,
        };
        let labels = config.id2label.as_ref();
        let options = PlanOptions {
            config: ConfigOptions {
                // Where nothing else shows a value, there is nothing to compare it with.
                fallback: Some(Box::new(config.clone())),
                task: note(TASK_KEY).map(str::to_owned),
                task_kind: task_kind.filter(|kind| kind.can_be_given()),
                labels: labels.map(|labels| labels.values().cloned().collect()),
                ..ConfigOptions::default()
            },
            // Whoever compares takes the element types from the file (Plan::adopt_dtypes).
            dtype: TargetDtype::Keep,
            allow_unknown: true,
            allow_inexact: true,
            weights: match note(WEIGHTS_KEY) {
                Some(key) if key == Weights::Average.key() => Weights::Average,
                _ => Weights::Raw,
            },
            tokenizer: TokenizerChoice::Omit,
        };
        // The verification reads the weights of the directory.
        self.plan_by_index(model, &options)
    }

    /// The training step: the value of `global_step`, else the number in the checkpoint's name,
    /// else `None`.
    pub fn step(&self) -> Result<Option<u64>, Error> {
        if let Some(step) = self.step.get() {
            return Ok(*step);
        }
        let step = self.read_step()?;
        Ok(*self.step.get_or_init(|| step))
    }

    fn read_step(&self) -> Result<Option<u64>, Error> {
        let location = self.checkpoint.location();
        let counter = self
            .inventory
            .entries()
            .iter()
            .find(|item| item.role == Role::StepCounter);
        let Some(counter) = counter else {
            return Ok(location.step_in_name());
        };
        match self.checkpoint.read_integer(&counter.variable) {
            Ok(value) => Ok(value
                .and_then(|step| u64::try_from(step).ok())
                .or_else(|| location.step_in_name())),
            // An index alone is enough to look at what a checkpoint holds.
            Err(tf_checkpoint::Error::ShardMissing { .. }) => Ok(location.step_in_name()),
            Err(error) => Err(error.into()),
        }
    }
}
