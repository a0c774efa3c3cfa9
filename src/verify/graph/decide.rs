//! Determines settings that the training graph shows in a way that no rule recognises.
//!
//! The graph is evaluated up to the output of the first layer, and so is the model, once with each
//! possible value. The value with which the two agree is the one that was trained. If several values
//! agree equally well, or none does, nothing is determined.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use candle_electra::{Activation, Attend, ElectraConfig, ElectraModel};
use candle_nn::VarBuilder;
use tf_checkpoint::Checkpoint;
use tf_graph::Precision;

use super::boundary;
use super::compare::{DOUBLE_TOLERANCE, TrainingGraph};
use super::deviation::deviation;
use super::evaluate::{EvaluatedBy, Evaluator, memory_of};
use super::rows::Rows;
use super::values::Values;
use crate::config::graph::View;
use crate::config::{Epsilon, Evaluated};
use crate::export::convert_tensor;
use crate::plan::{Cast, Plan, TargetDtype, Weights};
use crate::progress::Watch;
use crate::variables::names::layer_scope;

/// Values of `layer_norm_eps` that occur.
const EPSILONS: [f64; 6] = [1e-12, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3];
/// The smallest size of a head that is tried.
const MIN_HEAD_SIZE: usize = 2;
/// The most combinations of values that are tried.
const MAX_TRIALS: usize = 96;
/// How many times larger the deviation of every other value must be.
const MARGIN: f64 = 10.0;

/// The settings that are not known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Doubts {
    pub(crate) heads: bool,
    pub(crate) activation: bool,
    pub(crate) epsilon: bool,
}

impl Doubts {
    /// Adds the setting of an option, with any value of it in `settings`; false if it was added before, or is
    /// no setting that an evaluation can determine.
    pub(crate) fn add(&mut self, option: &str, settings: &mut Evaluated) -> bool {
        let is_new = match option {
            "--num-attention-heads" => {
                settings.heads = Some(1);
                &mut self.heads
            }
            "--hidden-act" => {
                settings.activation = Some(Activation::Gelu);
                &mut self.activation
            }
            "--layer-norm-eps" => {
                settings.epsilon = Epsilon::new(0.0);
                &mut self.epsilon
            }
            _ => return false,
        };
        !std::mem::replace(is_new, true)
    }
}

/// Returns the settings with which the model computes what the training graph computes; `None` if no
/// values agree, or several do. `plan` has any values for the settings in doubt.
pub(crate) fn decide(
    training: TrainingGraph<'_>,
    checkpoint: &Checkpoint,
    plan: &Plan,
    doubts: Doubts,
    watch: &Watch<'_>,
) -> Option<Evaluated> {
    let config = plan.config();
    if config.num_hidden_layers == 0 {
        return None;
    }
    let view = View::new(training.graph, training.inventory);
    let variable = format!("{}/output/LayerNorm/beta", layer_scope(plan.scopes, 0));
    let boundary = boundary::find(&view, plan.scopes, &variable).ok()?;
    // A mask that is computed from the ids may take another id than 0 for padding.
    let rows = Rows::new(config, &boundary, !boundary.masks.is_empty()).ok()?;
    let averaged = match plan.weights {
        Weights::Raw => None,
        Weights::Average => Some(training.inventory.averaged().ok()?),
    };
    let inventory = averaged.as_ref().unwrap_or(training.inventory);
    let values = Values::new(&view, checkpoint, inventory, plan, watch);
    let evaluator = Evaluator {
        graph: training.graph,
        values: &values,
        evaluated_by: EvaluatedBy::Native,
        memory: memory_of(plan),
        is_cancelled: &|| watch.check().is_err(),
    };
    let outputs = [boundary.output];
    let evaluated = evaluator.run(&boundary, &rows, &[], Precision::Double, &outputs);
    let expected = evaluated.ok()?.values.first()?.to_f64();
    let tensors = first_layer(plan, checkpoint)?;

    let mut trials: Vec<(f64, Evaluated)> = Vec::new();
    for candidate in candidates(config, doubts)? {
        watch.check().ok()?;
        let config = ElectraConfig {
            num_hidden_layers: 1,
            ..candidate.applied_to(config)
        };
        let found = run(&tensors, &config, &rows, watch).ok()?;
        if found.len() != expected.len() {
            return None;
        }
        let tokens = (0..rows.ids.len()).map(|at| rows.is_token(at)).collect();
        let deviation = deviation(&found, &expected, Some(tokens));
        trials.push((deviation, candidate));
    }
    trials.retain(|(deviation, _)| !deviation.is_nan());
    trials.sort_by(|a, b| a.0.total_cmp(&b.0));
    match &trials[..] {
        [(best, candidate), rest @ ..]
            if *best <= DOUBLE_TOLERANCE
                && rest.first().is_none_or(|(next, _)| *next > best * MARGIN) =>
        {
            Some(Evaluated {
                path: training.graph.path().to_owned(),
                deviation: *best,
                ..candidate.clone()
            })
        }
        _ => None,
    }
}

/// Returns every combination of values for the settings in doubt; `None` if there are too many.
fn candidates(config: &ElectraConfig, doubts: Doubts) -> Option<Vec<Evaluated>> {
    let hidden = config.hidden_size;
    let heads: Vec<Option<usize>> = if doubts.heads {
        let divides = |count: &usize| hidden.is_multiple_of(*count);
        let counts = (1..=hidden / MIN_HEAD_SIZE).filter(divides);
        counts.map(Some).collect()
    } else {
        vec![None]
    };
    let activations: Vec<Option<Activation>> = if doubts.activation {
        Activation::ALL.map(Some).into()
    } else {
        vec![None]
    };
    let epsilons: Vec<Option<Epsilon>> = if doubts.epsilon {
        EPSILONS.map(Epsilon::new).into()
    } else {
        vec![None]
    };
    if heads.len() * activations.len() * epsilons.len() > MAX_TRIALS {
        return None;
    }
    let mut all = Vec::new();
    for &heads in &heads {
        for &activation in &activations {
            for &epsilon in &epsilons {
                all.push(Evaluated {
                    heads,
                    activation,
                    epsilon,
                    ..Evaluated::default()
                });
            }
        }
    }
    Some(all)
}

/// Reads the tensors of the embeddings and the first layer in float64; `None` if one cannot be read.
fn first_layer(plan: &Plan, checkpoint: &Checkpoint) -> Option<HashMap<String, Tensor>> {
    const LAYER: &str = "electra.encoder.layer.";
    let is_first = |name: &str| match name.strip_prefix(LAYER) {
        Some(rest) => rest.starts_with("0."),
        None => name.starts_with("electra."),
    };
    let tensors = plan.tensors.iter().filter(|tensor| is_first(&tensor.name));
    let read = tensors.map(|tensor| {
        let mut tensor = tensor.clone();
        tensor.cast = Cast::new(tensor.cast.from, TargetDtype::F32)?;
        let bytes = convert_tensor(&tensor, checkpoint).ok()?;
        let values = Tensor::from_slice(
            bytes.elements::<f32>(),
            tensor.shape.as_slice(),
            &Device::Cpu,
        );
        let values = values.and_then(|values| values.to_dtype(DType::F64)).ok()?;
        Some((tensor.name.clone(), values))
    });
    read.collect()
}

/// Returns the output of a model with one layer.
fn run(
    tensors: &HashMap<String, Tensor>,
    config: &ElectraConfig,
    rows: &Rows,
    watch: &Watch<'_>,
) -> candle_core::Result<Vec<f64>> {
    let vb = VarBuilder::from_tensors(tensors.clone(), DType::F64, &Device::Cpu);
    let model = ElectraModel::load(vb, config)?;
    let inputs = rows.tensors()?;
    let check = || watch.check_candle();
    let hidden = model.forward_checked(&inputs.batch(), Attend::Everywhere, false, &check)?;
    hidden.last.flatten_all()?.to_vec1()
}
