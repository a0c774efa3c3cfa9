//! Runs every class on two short sequences.
//!
//! Each sequence is in a batch of four twice: the long one first and last, the short one between them, with
//! different tokens under its padding. The short one is also run alone, without padding. These two passes
//! cover padding and batch order; a pass over a dozen tokens costs as much as reading the weights. The encoder
//! runs once for all classes that share it, and once more for the causal one. Weights that a file does not
//! have are initialised with fixed pseudo-random numbers, as for fine-tuning.

use std::time::Instant;

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_electra::{Attend, Batch, ElectraConfig, ElectraModel, Head, ModelClass};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};

use super::error::Error;
use super::failure::Failure;
use crate::export::{WatchedWeights, WeightsFile};
use crate::progress::Watch;

/// Length of the long sequence, in tokens.
const LENGTH: usize = 12;
/// Length of the short sequence.
const SHORT_LENGTH: usize = 7;
/// Sequences of the padded batch.
const ROWS: usize = 4;
/// The largest deviation allowed that padding and batch order cause, relative to the largest output or 1:
/// the order of additions within a matrix product depends on the size of the batch.
const TOLERANCE: f32 = 1e-5;

/// What one class computed for the padded batch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClassOutput {
    /// Shape of the logits (of the hidden states for `ElectraModel`).
    pub shape: Vec<usize>,
    /// Time taken, in seconds; for `ElectraModel` it includes the shared encoder.
    pub seconds: f64,
    /// The largest deviation between outputs with different padding.
    pub padding_deviation: f32,
    /// The largest deviation between outputs in different places of the batch.
    pub order_deviation: f32,
}

/// Runs `classes`. `ElectraModel` comes first.
pub(super) fn check(
    weights: &WeightsFile,
    config: &ElectraConfig,
    classes: impl Iterator<Item = ModelClass>,
    watch: &Watch<'_>,
    failures: &mut Vec<Failure>,
) -> std::result::Result<Vec<(ModelClass, ClassOutput)>, Error> {
    let vb = VarBuilder::from_backend(
        Box::new(RandomlyInitialised(WatchedWeights::new(
            weights.clone(),
            watch,
        ))),
        DType::F32,
        Device::Cpu,
    );
    let start = Instant::now();
    let model = match ElectraModel::load_parallel(vb.clone(), config) {
        Ok(model) => model,
        Err(error) => {
            failures.push(Failure::Forward {
                class: ModelClass::Model,
                what: format!("cannot be loaded: {error}"),
            });
            return Ok(Vec::new());
        }
    };
    let batches = Batches::new(config)?;
    let shared = batches.run(&model, Attend::Everywhere, watch)?;
    let mut encoder_seconds = start.elapsed().as_secs_f64();

    let mut outputs = Vec::new();
    for class in classes {
        watch.check()?;
        let start = Instant::now();
        let causal;
        let hidden = if class == ModelClass::CausalLm {
            causal = batches.run(&model, Attend::Backwards, watch)?;
            &causal
        } else {
            &shared
        };
        let logits = Outputs::of_class(class, &vb, config, &model, hidden)?;
        // The first class, ElectraModel, gets the time of the shared encoder.
        let seconds = start.elapsed().as_secs_f64() + std::mem::take(&mut encoder_seconds);
        match logits.evaluate(class, &batches, config, seconds)? {
            Ok(output) => outputs.push((class, output)),
            Err(what) => failures.push(Failure::Forward { class, what }),
        }
    }
    Ok(outputs)
}

/// The input batches.
struct Batches {
    length: usize,
    short: usize,
    /// Long, short, short with other tokens under its padding, long: `[4, length]`.
    padded: Tensor,
    /// 1 for tokens, 0 for padding; the same shape.
    mask: Tensor,
    /// Short, without padding: `[1, short]`.
    alone: Tensor,
}

impl Batches {
    fn new(config: &ElectraConfig) -> Result<Self> {
        let length = LENGTH.min(config.max_position_embeddings);
        let short = SHORT_LENGTH.min(length);
        let vocabulary = u32::try_from(config.vocab_size).unwrap_or(u32::MAX).max(1);
        // Multiples of a large prime are spread over any vocabulary.
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
        let rows = vec![long_ids.clone(), padded(2000), padded(3000), long_ids];
        let masks = vec![ones.clone(), short_mask.clone(), short_mask, ones];
        let device = &Device::Cpu;
        Ok(Self {
            length,
            short,
            padded: Tensor::new(rows, device)?,
            mask: Tensor::new(masks, device)?,
            alone: Tensor::new(vec![short_ids], device)?,
        })
    }

    fn run(&self, model: &ElectraModel, attend: Attend, watch: &Watch<'_>) -> Result<Outputs> {
        let run = |input_ids: &Tensor, attention_mask: Option<&Tensor>| -> Result<Tensor> {
            let batch = Batch {
                attention_mask,
                ..Batch::new(input_ids)
            };
            let check = || watch.check_candle();
            Ok(model.forward_checked(&batch, attend, false, &check)?.last)
        };
        Ok(Outputs {
            padded: run(&self.padded, Some(&self.mask))?,
            alone: run(&self.alone, None)?,
        })
    }
}

/// The outputs of an encoder or a head for the two batches; the first axis is the sequence.
struct Outputs {
    padded: Tensor,
    alone: Tensor,
}

impl Outputs {
    /// Runs the head of a class on hidden states.
    fn of_class(
        class: ModelClass,
        vb: &VarBuilder<'_>,
        config: &ElectraConfig,
        model: &ElectraModel,
        hidden: &Self,
    ) -> Result<Self> {
        let head = Head::load(class, vb.clone(), config, model)?;
        Ok(Self {
            padded: head.forward(&hidden.padded)?,
            alone: head.forward(&hidden.alone)?,
        })
    }

    /// Returns the shape of the output for the padded batch.
    fn shape(&self, class: ModelClass) -> Vec<usize> {
        match (class, self.padded.dims()) {
            (ModelClass::MultipleChoice, &[choices]) => vec![1, choices],
            (_, dims) => dims.to_vec(),
        }
    }

    /// Returns the output to report, or what is wrong with it.
    fn evaluate(
        &self,
        class: ModelClass,
        batches: &Batches,
        config: &ElectraConfig,
        seconds: f64,
    ) -> Result<std::result::Result<ClassOutput, String>> {
        let expected = expected_shape(class, batches.length, config);
        let shape = self.shape(class);
        if shape != expected {
            return Ok(Err(format!(
                "computes the shape {shape:?}, expected {expected:?}"
            )));
        }
        // Outputs for padding have no meaning, but must not be NaN.
        let mut magnitude = 0.0_f32;
        for logits in [&self.padded, &self.alone] {
            // Checked for each batch: `f32::max` ignores NaN.
            let largest = largest(logits)?;
            if !largest.is_finite() {
                return Ok(Err("computes values that are not finite".into()));
            }
            magnitude = magnitude.max(largest);
        }
        let short = |logits: &Tensor, row: usize| {
            let row = logits.get(row)?;
            if class.is_per_token() {
                row.narrow(0, 0, batches.short)
            } else {
                Ok(row)
            }
        };
        let padded = short(&self.padded, 1)?;
        let padding_deviation = deviation(&padded, &short(&self.padded, 2)?)?
            .max(deviation(&padded, &short(&self.alone, 0)?)?);
        let order_deviation = deviation(&self.padded.get(0)?, &self.padded.get(3)?)?;
        let allowed = TOLERANCE * magnitude.max(1.0);
        for (what, found) in [("padding", padding_deviation), ("order", order_deviation)] {
            if found > allowed {
                return Ok(Err(format!(
                    "computes other outputs if only the {what} of a batch changes (deviation {found:.1e}, \
                     allowed {allowed:.1e})"
                )));
            }
        }
        Ok(Ok(ClassOutput {
            shape,
            seconds,
            padding_deviation,
            order_deviation,
        }))
    }
}

fn expected_shape(class: ModelClass, length: usize, config: &ElectraConfig) -> Vec<usize> {
    let labels = config.num_labels();
    match class {
        ModelClass::Model => vec![ROWS, length, config.hidden_size],
        ModelClass::PreTraining => vec![ROWS, length],
        ModelClass::MaskedLm | ModelClass::CausalLm => vec![ROWS, length, config.vocab_size],
        ModelClass::TokenClassification => vec![ROWS, length, labels],
        ModelClass::SequenceClassification => vec![ROWS, labels],
        ModelClass::QuestionAnswering => vec![ROWS, length, 2],
        ModelClass::MultipleChoice => vec![1, ROWS],
    }
}

/// Returns the largest absolute value; NaN or infinity if there is one.
fn largest(x: &Tensor) -> Result<f32> {
    let values: Vec<f32> = x.flatten_all()?.to_vec1()?;
    let worse = |a: f32, b: f32| if b.is_nan() || b > a { b } else { a };
    Ok(values
        .iter()
        .map(|x| x.abs())
        .fold(0.0, |a, b| if a.is_nan() { a } else { worse(a, b) }))
}

/// Returns the largest absolute difference of two tensors of the same shape.
pub(super) fn deviation(a: &Tensor, b: &Tensor) -> Result<f32> {
    largest(&(a - b)?)
}

/// A weights file whose missing tensors are initialised with small pseudo-random numbers (around 1 for the
/// weight of a LayerNorm), seeded by the name of the tensor.
struct RandomlyInitialised<'a>(WatchedWeights<'a>);

impl SimpleBackend for RandomlyInitialised<'_> {
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

    /// Returns the result for a discriminator's logits after `change`.
    fn evaluate(change: impl Fn(&mut [Vec<f32>; ROWS], &mut Vec<f32>)) -> String {
        let config = ElectraConfig::default();
        let batches = Batches::new(&config).unwrap();
        let row = |seed: f32| -> Vec<f32> { (0..12_u8).map(|i| f32::from(i) - seed).collect() };
        let (long, short) = (row(0.0), row(0.5));
        let mut padded = [long.clone(), short.clone(), short.clone(), long];
        let mut alone = short[..SHORT_LENGTH].to_vec();
        change(&mut padded, &mut alone);
        let tensor = |rows: &[Vec<f32>]| Tensor::new(rows.to_vec(), &Device::Cpu).unwrap();
        let logits = Outputs {
            padded: tensor(&padded),
            alone: tensor(&[alone]),
        };
        let result = logits
            .evaluate(ModelClass::PreTraining, &batches, &config, 0.0)
            .unwrap();
        result.map_or_else(|what| what, |_| "passed".to_owned())
    }

    #[test]
    fn outputs_that_depend_on_padding_or_order_are_failures() {
        assert_eq!(evaluate(|_, _| {}), "passed");
        // Outputs for padding may differ.
        assert_eq!(evaluate(|padded, _| padded[2][9] += 5.0), "passed");
        assert!(evaluate(|padded, _| padded[2][3] += 1e-3).contains("padding"));
        assert!(evaluate(|_, alone| alone[6] += 1e-3).contains("padding"));
        assert!(evaluate(|padded, _| padded[3][11] += 1e-3).contains("order"));
        assert!(evaluate(|padded, _| padded[0][1] = f32::NAN).contains("not finite"));
        assert!(evaluate(|padded, _| padded[2][11] = f32::INFINITY).contains("not finite"));
        let short = |rows: &mut [Vec<f32>]| rows.iter_mut().for_each(|row| row.truncate(11));
        assert!(evaluate(|padded, _| short(padded)).contains("[4, 11], expected [4, 12]"));
    }
}
