//! Compares the head of a fine-tuned model with the checkpoint's own.
//!
//! The encoder runs on pseudo-random sequences, and its hidden states go through both heads: the class of
//! transformers with the written tensors, and the dense layers of the checkpoint in float64. For a
//! classification the two differ in form ([`Recipe::GeluOffset`](crate::variables::Recipe::GeluOffset)), and
//! this check proves that they compute the same.

use candle_core::{D, Device, Result, Tensor};
use candle_electra::{Batch, ElectraConfig, Pass};
use tf_checkpoint::Checkpoint;

use super::error::Error;
use super::failure::{Failure, TASK_TOLERANCE};
use crate::export::{WeightsFile, read_floats};
use crate::plan::{Plan, PlannedTensor};
use crate::progress::Watch;
use crate::streamed_model::StreamedModel;
use crate::tasks::TaskHead;

/// Number of random sequences.
const SEQUENCES: usize = 32;
/// Length of a sequence, in tokens.
const LENGTH: usize = 24;

/// The deviation of a head's logits from those of the checkpoint's own head.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskReport {
    /// The task.
    pub task: String,
    /// The largest absolute deviation.
    pub deviation: f64,
    /// The largest deviation allowed; `None` if weights were rounded, because that changes the logits.
    pub tolerance: Option<f64>,
    /// Number of random sequences.
    pub sequences: usize,
}

/// One dense layer of the checkpoint: kernel `[hidden, outputs]`, bias `[outputs]`.
struct Dense {
    kernel: Vec<f64>,
    bias: Vec<f64>,
}

/// Measures the deviation; `None` if the model has no task, or the data files of the checkpoint are missing.
pub(super) fn check(
    weights: &WeightsFile,
    config: &ElectraConfig,
    plan: &Plan,
    checkpoint: &Checkpoint,
    watch: &Watch<'_>,
    failures: &mut Vec<Failure>,
) -> std::result::Result<Option<TaskReport>, Error> {
    let Some(task) = &plan.task else {
        return Ok(None);
    };
    let Some(layers) = read_layers(task, plan, checkpoint)? else {
        return Ok(None);
    };
    let model = StreamedModel::new(weights, config, watch);
    let ids = random_ids(config)?;
    let hidden = model.hidden(&[Pass::new(Batch::new(&ids))], false)?;
    let hidden = &hidden[0].last;
    let logits = &model.logits(task.class(), &[hidden])?[0];
    // A classification uses the first token only.
    let hidden = if task.class().is_per_token() {
        hidden.clone()
    } else {
        hidden.narrow(1, 0, 1)?
    };
    let width = hidden.dim(D::Minus1)?;
    let hidden: Vec<f32> = hidden.flatten_all()?.to_vec1()?;
    let expected = hidden.chunks(width).flat_map(|x| apply(&layers, x));
    let found: Vec<f32> = logits.flatten_all()?.to_vec1()?;
    let deviation = std::iter::zip(expected, found)
        .map(|(expected, found)| (expected - f64::from(found)).abs())
        // Keeps NaN, which `f64::max` would ignore.
        .fold(0.0, |worst, x| if x <= worst { worst } else { x });
    let is_rounded = plan.tensors.iter().any(|tensor| tensor.cast.is_lossy());
    let tolerance = (!is_rounded).then_some(TASK_TOLERANCE);
    if deviation.is_nan() || tolerance.is_some_and(|tolerance| deviation > tolerance) {
        failures.push(Failure::TaskHead {
            task: task.name.clone(),
            deviation,
        });
    }
    Ok(Some(TaskReport {
        task: task.name.clone(),
        deviation,
        tolerance,
        sequences: SEQUENCES,
    }))
}

fn read_layers(
    task: &TaskHead,
    plan: &Plan,
    checkpoint: &Checkpoint,
) -> std::result::Result<Option<Vec<Dense>>, Error> {
    let find = |name: &str| plan.tensors.iter().find(|tensor| tensor.name == name);
    let Some([Some(weight), Some(bias)]) = task.output_tensors().map(|names| names.map(find))
    else {
        return Ok(None);
    };
    let is_missing = |tensor: &PlannedTensor| tensor.check_present(checkpoint).is_err();
    if is_missing(weight) || is_missing(bias) {
        return Ok(None);
    }
    // The first variable of a computed bias is the bias of the layer.
    let layers = std::iter::zip(&weight.variables, &bias.variables).map(|(kernel, bias)| {
        Ok(Dense {
            kernel: read_floats(kernel, checkpoint)?,
            bias: read_floats(bias, checkpoint)?,
        })
    });
    layers.collect::<std::result::Result<_, _>>().map(Some)
}

/// Returns the outputs of all layers for one token.
fn apply(layers: &[Dense], hidden: &[f32]) -> Vec<f64> {
    let mut outputs = Vec::new();
    for Dense { kernel, bias } in layers {
        let mut sums = bias.clone();
        for (x, weights) in std::iter::zip(hidden, kernel.chunks(bias.len())) {
            for (sum, weight) in std::iter::zip(&mut sums, weights) {
                *sum += f64::from(*x) * weight;
            }
        }
        outputs.extend(sums);
    }
    outputs
}

fn random_ids(config: &ElectraConfig) -> Result<Tensor> {
    let length = LENGTH.min(config.max_position_embeddings);
    let vocabulary = u32::try_from(config.vocab_size).unwrap_or(u32::MAX).max(1);
    let mut random = fastrand::Rng::with_seed(0);
    let ids: Vec<u32> = (0..SEQUENCES * length)
        .map(|_| random.u32(..vocabulary))
        .collect();
    Tensor::from_vec(ids, (SEQUENCES, length), &Device::Cpu)
}
