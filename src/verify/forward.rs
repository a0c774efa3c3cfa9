//! Runs every class on two short sequences.
//!
//! One sequence is shorter and padded. Three batches tell what there is to tell: the two in order,
//! the two in the other order with other tokens under the padding, and the short one alone without
//! padding. The encoder runs once for all heads that share it, and once more for the causal one.
//! Weights that a file does not have start from fixed pseudo-random numbers, as in fine-tuning.

use std::time::Instant;

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};

use super::{Error, Failure, any_head};
use crate::electra::{ElectraConfig, Head};
use crate::model::{Attend, Batch, ElectraModel, WeightsFile};

/// Length of the long sequence, in tokens.
const LENGTH: usize = 12;
/// Length of the short sequence.
const SHORT_LENGTH: usize = 7;
/// How far padding and order may move an output, times the largest output or 1: the order of
/// additions within a matrix product depends on the size of the batch.
const TOLERANCE: f32 = 1e-5;

/// What one class computed for the first batch.
#[derive(Clone, Debug)]
pub struct HeadOutput {
    /// Shape of its logits (of the hidden states for the bare model).
    pub shape: Vec<usize>,
    /// Time taken, in seconds; that of the shared encoder counts for the bare model.
    pub seconds: f64,
    /// How far padding moved an output.
    pub padding_deviation: f32,
    /// How far the order of the batch moved an output.
    pub order_deviation: f32,
}

/// Runs the classes that `heads` lists.
pub(super) fn check(
    weights: &WeightsFile,
    config: &ElectraConfig,
    heads: impl Iterator<Item = Head>,
    failures: &mut Vec<Failure>,
) -> std::result::Result<Vec<(Head, HeadOutput)>, Error> {
    let vb = VarBuilder::from_backend(
        Box::new(Initialised(weights.clone())),
        DType::F32,
        Device::Cpu,
    );
    let start = Instant::now();
    let model = match ElectraModel::load(vb.clone(), config) {
        Ok(model) => model,
        Err(error) => {
            failures.push(Failure::Forward {
                head: Head::Model,
                what: format!("cannot be loaded: {error}"),
            });
            return Ok(Vec::new());
        }
    };
    let batches = Batches::new(config)?;
    let shared = batches.run(&model, Attend::Everywhere)?;
    let mut encoder_seconds = start.elapsed().as_secs_f64();

    let mut outputs = Vec::new();
    for head in heads {
        let start = Instant::now();
        let causal;
        let hidden = if head == Head::CausalLm {
            causal = batches.run(&model, Attend::Backwards)?;
            &causal
        } else {
            &shared
        };
        let logits = Logits::compute(head, &vb, config, &model, hidden)?;
        // The bare model comes first and bears the time of the shared encoder.
        let seconds = start.elapsed().as_secs_f64() + std::mem::take(&mut encoder_seconds);
        match logits.judge(head, &batches, config, seconds)? {
            Ok(output) => outputs.push((head, output)),
            Err(what) => failures.push(Failure::Forward { head, what }),
        }
    }
    Ok(outputs)
}

/// The inputs.
struct Batches {
    length: usize,
    short: usize,
    /// Long and short, padded.
    both: Tensor,
    /// Short, with other tokens under its padding, and long.
    swapped: Tensor,
    /// Short alone.
    alone: Tensor,
    mask: Tensor,
    swapped_mask: Tensor,
}

impl Batches {
    fn new(config: &ElectraConfig) -> Result<Self> {
        let length = LENGTH.min(config.max_position_embeddings);
        let short = SHORT_LENGTH.min(length);
        let vocabulary = u32::try_from(config.vocab_size).unwrap_or(u32::MAX).max(1);
        // Steps of a large prime spread the ids over any vocabulary.
        let ids = |seed: u32, n: usize| -> Vec<u32> {
            (1..=n)
                .zip(1_u32..)
                .map(|(_, i)| (seed.wrapping_add(i).wrapping_mul(2_654_435_761) >> 4) % vocabulary)
                .collect()
        };
        let (long_ids, short_ids) = (ids(0, length), ids(1000, short));
        let padded = |seed| [short_ids.clone(), ids(seed, length - short)].concat();
        let ones = vec![1_u32; length];
        let short_mask = [vec![1_u32; short], vec![0; length - short]].concat();
        let device = &Device::Cpu;
        Ok(Self {
            length,
            short,
            both: Tensor::new(vec![long_ids.clone(), padded(2000)], device)?,
            swapped: Tensor::new(vec![padded(3000), long_ids], device)?,
            alone: Tensor::new(vec![short_ids], device)?,
            mask: Tensor::new(vec![ones.clone(), short_mask.clone()], device)?,
            swapped_mask: Tensor::new(vec![short_mask, ones], device)?,
        })
    }

    fn run(&self, model: &ElectraModel, attend: Attend) -> Result<HiddenStates> {
        let run = |input_ids: &Tensor, attention_mask: Option<&Tensor>| -> Result<Tensor> {
            let batch = Batch {
                attention_mask,
                ..Batch::new(input_ids)
            };
            Ok(model.forward_with(&batch, attend, false)?.last)
        };
        Ok(HiddenStates {
            both: run(&self.both, Some(&self.mask))?,
            swapped: run(&self.swapped, Some(&self.swapped_mask))?,
            alone: run(&self.alone, None)?,
        })
    }
}

/// Outputs of the encoder for the three batches, `[batch, sequence, hidden]`.
struct HiddenStates {
    both: Tensor,
    swapped: Tensor,
    alone: Tensor,
}

/// Outputs of a head for the three batches; the first axis is the sequence of the batch.
struct Logits {
    both: Tensor,
    swapped: Tensor,
    alone: Tensor,
    /// The shape of the first as the class gives it.
    shape: Vec<usize>,
}

impl Logits {
    fn compute(
        head: Head,
        vb: &VarBuilder<'_>,
        config: &ElectraConfig,
        model: &ElectraModel,
        hidden: &HiddenStates,
    ) -> Result<Self> {
        let forward = any_head::load(head, vb.clone(), config, model)?;
        let both = forward(&hidden.both)?;
        let shape = match head {
            Head::MultipleChoice => vec![1, both.dim(0)?],
            _ => both.dims().to_vec(),
        };
        Ok(Self {
            both,
            swapped: forward(&hidden.swapped)?,
            alone: forward(&hidden.alone)?,
            shape,
        })
    }

    /// The output to report, or what is wrong with it.
    fn judge(
        &self,
        head: Head,
        batches: &Batches,
        config: &ElectraConfig,
        seconds: f64,
    ) -> Result<std::result::Result<HeadOutput, String>> {
        let expected = expected_shape(head, batches.length, config);
        if self.shape != expected {
            let shape = &self.shape;
            return Ok(Err(format!(
                "computes the shape {shape:?}, not {expected:?}"
            )));
        }
        // Outputs under the padding mean nothing, but NaN there would be a fault all the same.
        let mut magnitude = 0.0_f32;
        for logits in [&self.both, &self.swapped, &self.alone] {
            // Asked one by one: `f32::max` would pass over a NaN.
            let largest = largest(logits)?;
            if !largest.is_finite() {
                return Ok(Err("computes numbers that are not finite".into()));
            }
            magnitude = magnitude.max(largest);
        }
        let short = |logits: &Tensor, row: usize| {
            let row = logits.get(row)?;
            if any_head::is_per_token(head) {
                row.narrow(0, 0, batches.short)
            } else {
                Ok(row)
            }
        };
        let padding_deviation = deviation(&short(&self.both, 1)?, &short(&self.swapped, 0)?)?
            .max(deviation(&short(&self.both, 1)?, &short(&self.alone, 0)?)?);
        let order_deviation = deviation(&self.both.get(0)?, &self.swapped.get(1)?)?;
        let allowed = TOLERANCE * magnitude.max(1.0);
        for (what, found) in [("padding", padding_deviation), ("order", order_deviation)] {
            if found > allowed {
                return Ok(Err(format!(
                    "computes something else when only the {what} of a batch changes \
                     ({found:.1e}, allowed {allowed:.1e})"
                )));
            }
        }
        Ok(Ok(HeadOutput {
            shape: self.shape.clone(),
            seconds,
            padding_deviation,
            order_deviation,
        }))
    }
}

fn expected_shape(head: Head, length: usize, config: &ElectraConfig) -> Vec<usize> {
    let labels = config.num_labels();
    match head {
        Head::Model => vec![2, length, config.hidden_size],
        Head::PreTraining => vec![2, length],
        Head::MaskedLm | Head::CausalLm => vec![2, length, config.vocab_size],
        Head::TokenClassification => vec![2, length, labels],
        Head::SequenceClassification => vec![2, labels],
        Head::QuestionAnswering => vec![2, length, 2],
        Head::MultipleChoice => vec![1, 2],
    }
}

/// The largest magnitude; NaN and infinity if there is one.
fn largest(x: &Tensor) -> Result<f32> {
    let values: Vec<f32> = x.flatten_all()?.to_vec1()?;
    let worse = |a: f32, b: f32| if b.is_nan() || b > a { b } else { a };
    Ok(values
        .iter()
        .map(|x| x.abs())
        .fold(0.0, |a, b| if a.is_nan() { a } else { worse(a, b) }))
}

/// The largest absolute difference of two tensors of one shape.
pub(super) fn deviation(a: &Tensor, b: &Tensor) -> Result<f32> {
    largest(&(a - b)?)
}

/// A file whose missing tensors are made up, always the same: small numbers, around 1 for the gain of
/// a LayerNorm.
struct Initialised(WeightsFile);

impl SimpleBackend for Initialised {
    fn get(&self, s: Shape, name: &str, h: Init, dtype: DType, dev: &Device) -> Result<Tensor> {
        if self.contains_tensor(name) {
            return self.0.get(s, name, h, dtype, dev);
        }
        let mut random = fastrand::Rng::with_seed(crc32c::crc32c(name.as_bytes()).into());
        let centre = if name.ends_with("LayerNorm.weight") {
            1.0
        } else {
            0.0
        };
        let values: Vec<f32> = (0..s.elem_count())
            .map(|_| centre + 0.04 * (random.f32() - 0.5))
            .collect();
        Tensor::from_vec(values, s, dev)?.to_dtype(dtype)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, dev: &Device) -> Result<Tensor> {
        self.0.get_unchecked(name, dtype, dev)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.0.contains_tensor(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the discriminator's head would say of the batches, after `bend`.
    fn judge(bend: impl Fn(&mut [Vec<f32>; 2], &mut [Vec<f32>; 2], &mut Vec<f32>)) -> String {
        let config = ElectraConfig::default();
        let batches = Batches::new(&config).unwrap();
        let row = |seed: f32| -> Vec<f32> { (0..12_u8).map(|i| f32::from(i) - seed).collect() };
        let (long, short) = (row(0.0), row(0.5));
        let mut both = [long.clone(), short.clone()];
        let mut swapped = [short.clone(), long];
        let mut alone = short[..SHORT_LENGTH].to_vec();
        bend(&mut both, &mut swapped, &mut alone);
        let tensor = |rows: &[Vec<f32>]| Tensor::new(rows.to_vec(), &Device::Cpu).unwrap();
        let logits = Logits {
            shape: vec![2, both[0].len()],
            both: tensor(&both),
            swapped: tensor(&swapped),
            alone: tensor(&[alone]),
        };
        let verdict = logits
            .judge(Head::PreTraining, &batches, &config, 0.0)
            .unwrap();
        verdict.map_or_else(|what| what, |_| "passed".to_owned())
    }

    #[test]
    fn outputs_that_depend_on_padding_or_order_are_failures() {
        assert_eq!(judge(|_, _, _| {}), "passed");
        // What is under the padding may differ.
        assert_eq!(judge(|_, swapped, _| swapped[0][9] += 5.0), "passed");
        assert!(judge(|_, swapped, _| swapped[0][3] += 1e-3).contains("padding"));
        assert!(judge(|_, _, alone| alone[6] += 1e-3).contains("padding"));
        assert!(judge(|_, swapped, _| swapped[1][11] += 1e-3).contains("order"));
        assert!(judge(|both, _, _| both[0][1] = f32::NAN).contains("not finite"));
        assert!(judge(|_, swapped, _| swapped[0][11] = f32::INFINITY).contains("not finite"));
        let short = |rows: &mut [Vec<f32>; 2]| rows.iter_mut().for_each(|row| row.truncate(11));
        assert!(judge(|both, _, _| short(both)).contains("[2, 11], not [2, 12]"));
    }
}
