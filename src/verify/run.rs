//! Runs all checks.

use std::path::Path;
use std::time::Instant;

use candle_electra::{ElectraConfig, ModelClass, WORD_EMBEDDINGS};
use safetensors::tensor::TensorInfo;

use super::error::Error;
use super::failure::Failure;
use super::files::check_files;
use super::forward::ClassOutput;
use super::inputs::{CompareWith, NoGraph, References};
use super::report::{ClassReport, Report};
use super::structure::Structure;
use super::tensors::{TensorChecks, TensorReport};
use super::weight_statistics::WeightStatistics;
use super::{config, forward, golden, graph, head_count, structure, task_head, tokenizer};
use crate::export::{CONFIG_FILE, WEIGHTS_FILE, WeightsFile, read_config};
use crate::probe::text_check::{self, Text, TextCheck, Verdict};
use crate::progress::{Phase, Progress, Watch};

/// The largest number of labels of a class whose head is randomly initialised: no tensor confirms the number
/// in config.json.
const MAX_RANDOM_LABELS: usize = 1 << 16;

/// Verifies `folder`, which holds `config.json` and `model.safetensors`.
///
/// # Errors
/// If verification could not run. What is wrong with the model is in the [`Report`].
pub fn verify(
    folder: &Path,
    compare_with: CompareWith<'_>,
    references: References<'_>,
    progress: &dyn Progress,
) -> Result<Report, Error> {
    let watch = Watch::new(progress);
    let report = watched(folder, compare_with, references, &watch);
    // A cancellation can look like another error, or like a failed check.
    watch.check()?;
    report
}

/// As [`verify`]. After a cancellation the result has no meaning.
pub(crate) fn watched(
    folder: &Path,
    compare_with: CompareWith<'_>,
    references: References<'_>,
    watch: &Watch<'_>,
) -> Result<Report, Error> {
    let start = Instant::now();
    check_files(folder)?;
    let config = read_config(&folder.join(CONFIG_FILE))?;
    let weights = WeightsFile::open(&folder.join(WEIGHTS_FILE))?;
    begin(&weights, compare_with, references, watch);
    let class = config
        .architectures
        .first()
        .and_then(|class| ModelClass::from_name(class))
        .unwrap_or(ModelClass::Model);
    let mut failures = Vec::new();

    if let CompareWith::Checkpoint(_, plan) = compare_with {
        config::check(&config, plan, &mut failures);
    }
    config::check_heads(&config, &mut failures);
    let structures = structure::check(&weights, &config, class, &mut failures);
    let rows = weights
        .info(WORD_EMBEDDINGS)
        .and_then(|info| info.shape.first())
        .map_or(config.vocab_size, |&rows| rows);

    let (tensors, mut outputs, mut of_forward) = check_weights(
        (&weights, &config, class),
        &structures,
        (compare_with, references.for_page),
        watch,
        &mut failures,
    )?;
    let head_count = head_count::check(&config, &tensors.norms, &mut failures);
    let measure = || WeightStatistics::new(&config, tensors.statistics, tensors.norms);
    let measured = references.for_page.then(measure);
    let before = failures.len();
    let tokenizer = tokenizer::check(folder, &config, rows, &mut failures)?;
    let is_tokenizer_valid = failures.len() == before;

    let mut task = None;
    let mut graph = Err(match (compare_with, references.graph) {
        (CompareWith::RecordedChecksums, _) => NoGraph::NoCheckpoint,
        (_, Err(reason)) => reason,
        // Unless it is compared below.
        (_, Ok(_)) => NoGraph::OtherFailure,
    });
    let mut golden = None;
    let mut text = None;
    if can_run(&failures) {
        failures.append(&mut of_forward);
        if let CompareWith::Checkpoint(checkpoint, plan) = compare_with {
            task = task_head::check(&weights, &config, plan, checkpoint, watch, &mut failures)?;
        }
        golden = references
            .golden
            .map(|golden| golden::check(&weights, &config, class, golden, watch, &mut failures))
            .transpose()?;
        watch.end()?;
        if let (CompareWith::Checkpoint(checkpoint, plan), Ok(training)) =
            (compare_with, references.graph)
        {
            let source = (plan, checkpoint);
            let compared = graph::check(&weights, &config, source, training, watch, &mut failures)?;
            graph = Ok(compared);
            watch.end()?;
        }
        text = references
            .text
            .filter(|_| is_tokenizer_valid)
            .map(|text| check_text(folder, text, references.for_page, watch, &mut failures))
            .transpose()?;
    } else {
        outputs.clear();
    }
    let classes = structures
        .into_iter()
        .map(|(class, structure)| ClassReport {
            class,
            structure,
            output: outputs
                .iter()
                .position(|(ran, _)| *ran == class)
                .map(|at| outputs.swap_remove(at).1),
        })
        .collect();
    Ok(Report {
        class,
        classes,
        checksums: tensors.checksums,
        constant: tensors.constant,
        head_count,
        tokenizer,
        task,
        graph,
        golden,
        text,
        weights: measured,
        failures,
        config,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// The outputs of the classes that ran.
type Outputs = Vec<(ModelClass, ClassOutput)>;

/// Checks the tensors and runs every class, in one pass over the weights. Returns the failures of the forward
/// pass apart: they have no meaning if the tensors are wrong.
fn check_weights(
    (weights, config, class): (&WeightsFile, &ElectraConfig, ModelClass),
    structures: &[(ModelClass, Structure)],
    (compare_with, is_measuring): (CompareWith<'_>, bool),
    watch: &Watch<'_>,
    failures: &mut Vec<Failure>,
) -> Result<(TensorReport, Outputs, Vec<Failure>), Error> {
    let checks = TensorChecks::new(weights, compare_with, is_measuring, watch, failures);
    let mut outputs = Vec::new();
    let mut of_forward = Vec::new();
    if can_run(failures) {
        // Another class may expect another shape of a tensor; transformers does not load it either.
        let loads = structures.iter().filter(|(_, s)| s.mismatched.is_empty());
        let classes = loads.map(|(class, _)| *class);
        let classes = classes.filter(|class| class.can_run(config));
        let allows_random = config.num_labels() <= MAX_RANDOM_LABELS;
        let classes = classes.filter(|other| *other == class || allows_random);
        let ran = forward::check(&checks, (weights, config), classes, watch, &mut of_forward);
        // An error of reading a tensor explains the one of the forward pass.
        if let Some(error) = checks.take_error() {
            return Err(error);
        }
        match ran {
            Ok(ran) => outputs = ran,
            Err(error) => of_forward.push(Failure::Forward {
                class,
                what: format!("cannot be computed: {error}"),
            }),
        }
        watch.check()?;
    }
    Ok((checks.end(failures)?, outputs, of_forward))
}

fn can_run(failures: &[Failure]) -> bool {
    !failures.iter().any(Failure::prevents_forward)
}

/// Begins the phase. Every tensor is read once for its checks and the forward pass, the decoder of the language
/// models once more, and all for each comparison.
fn begin(
    weights: &WeightsFile,
    compare_with: CompareWith<'_>,
    references: References<'_>,
    watch: &Watch<'_>,
) {
    let len = |info: &TensorInfo| (info.data_offsets.1 - info.data_offsets.0) as u64;
    let tensors = weights.tensors().into_iter();
    let bytes: u64 = tensors.map(|(_, info)| len(info)).sum();
    let decoder = weights.info(WORD_EMBEDDINGS).map_or(0, len);
    let has_task = matches!(compare_with, CompareWith::Checkpoint(_, plan) if plan.task.is_some());
    let times = 1 + u64::from(has_task) + u64::from(references.golden.is_some());
    let total = bytes.saturating_mul(times).saturating_add(decoder);
    watch.begin(Phase::Verifying, total);
}

/// Measures the model on text with every head count; another count that is clearly better is a failure.
fn check_text(
    folder: &Path,
    text: Text<'_>,
    with_sample: bool,
    watch: &Watch<'_>,
    failures: &mut Vec<Failure>,
) -> Result<TextCheck, Error> {
    let check = text_check::watched(folder, &text, with_sample, watch)?;
    if let Verdict::Contradicted { better, confidence } = check.verdict {
        failures.push(Failure::HeadCount {
            configured: check.configured,
            better,
            confidence,
        });
    }
    Ok(check)
}
