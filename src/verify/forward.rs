//! Runs every class on two short sequences.
//!
//! Two batches go through the encoder:
//!
//! | batch | sequences | proves |
//! |---|---|---|
//! | padded | long, short with other tokens under its padding, long | the first and the last output are equal: the place in the batch has no effect |
//! | alone | short, without padding | its output equals the one in the padded batch: padding and the tokens under it have no effect |
//!
//! and both once more with causal attention, for the one class that has it. They are short, because they only
//! have to pass through every weight: with 36 tokens in all, the matrix products cost less than reading the
//! weights and computing their checksums. All other classes share the hidden states. Weights that a file does
//! not have are initialised with fixed pseudo-random numbers, as for fine-tuning.

use std::time::Instant;

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_electra::{Attend, Batch, ElectraConfig, Hidden, ModelClass, Pass};

use super::failure::Failure;
use super::tensors::TensorChecks;
use crate::export::WeightsFile;
use crate::progress::Watch;
use crate::streamed_model::{StreamedModel, WeightSource};

/// Length of the long sequence, in tokens.
const LENGTH: usize = 5;
/// Length of the short sequence.
const SHORT_LENGTH: usize = 3;
/// Sequences of the padded batch.
const ROWS: usize = 3;
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

/// Runs `classes` with the tensors of `checks`. `ElectraModel` comes first.
pub(super) fn check(
    checks: &TensorChecks<'_>,
    (weights, config): (&WeightsFile, &ElectraConfig),
    classes: impl Iterator<Item = ModelClass>,
    watch: &Watch<'_>,
    failures: &mut Vec<Failure>,
) -> Result<Vec<(ModelClass, ClassOutput)>> {
    let start = Instant::now();
    let source = RandomlyInitialised(checks);
    let model = StreamedModel::new(weights, config, watch).with_source(&source);
    let batches = Batches::new(config)?;
    let hidden = batches.run(&model)?;
    let mut encoder_seconds = start.elapsed().as_secs_f64();

    let mut outputs = Vec::new();
    let mut decoded = None;
    for class in classes {
        watch.check_candle()?;
        let start = Instant::now();
        let logits = if class.has_decoder() {
            // The decoder is large, and the two classes share it.
            let [everywhere, backwards] = match decoded.take() {
                Some(both) => both,
                None => Outputs::decoded(&model, &hidden)?,
            };
            let own = match class {
                ModelClass::CausalLm => backwards.clone(),
                _ => everywhere.clone(),
            };
            decoded = Some([everywhere, backwards]);
            own
        } else {
            let hidden = &hidden[0];
            let logits = model.logits(class, &[&hidden.padded, &hidden.alone])?;
            Outputs::new(logits)
        };
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
    /// Long, short with other tokens under its padding, long: `[3, length]`.
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
        let padded_ids = [short_ids.clone(), ids(2000, length - short)].concat();
        let ones = vec![1_u32; length];
        let short_mask = [vec![1_u32; short], vec![0; length - short]].concat();
        let device = &Device::Cpu;
        Ok(Self {
            length,
            short,
            padded: Tensor::new(vec![long_ids.clone(), padded_ids, long_ids], device)?,
            mask: Tensor::new(vec![ones.clone(), short_mask, ones], device)?,
            alone: Tensor::new(vec![short_ids], device)?,
        })
    }

    /// Returns the hidden states with full and with causal attention.
    fn run(&self, model: &StreamedModel<'_>) -> Result<[Outputs; 2]> {
        let padded = Batch {
            attention_mask: Some(&self.mask),
            ..Batch::new(&self.padded)
        };
        let alone = Batch::new(&self.alone);
        let passes = [Attend::Everywhere, Attend::Backwards]
            .map(|attend| [padded, alone].map(|batch| Pass { batch, attend }));
        let hidden = model.hidden(passes.as_flattened(), false)?;
        let mut last = hidden.into_iter().map(|Hidden { last, .. }| last);
        let everywhere = Outputs::new(last.by_ref().take(2));
        Ok([everywhere, Outputs::new(last)])
    }
}

/// The outputs of an encoder or a head for the two batches; the first axis is the sequence.
#[derive(Clone)]
struct Outputs {
    padded: Tensor,
    alone: Tensor,
}

impl Outputs {
    fn new(outputs: impl IntoIterator<Item = Tensor>) -> Self {
        let mut outputs = outputs.into_iter();
        let mut next = || outputs.next().expect("one for each batch");
        Self {
            padded: next(),
            alone: next(),
        }
    }

    /// Returns the logits of a language model, with full and with causal attention.
    fn decoded(model: &StreamedModel<'_>, hidden: &[Self; 2]) -> Result<[Self; 2]> {
        let [everywhere, backwards] = hidden;
        let hidden = [
            &everywhere.padded,
            &everywhere.alone,
            &backwards.padded,
            &backwards.alone,
        ];
        let mut logits = model.logits(ModelClass::MaskedLm, &hidden)?.into_iter();
        let everywhere = Self::new(logits.by_ref().take(2));
        Ok([everywhere, Self::new(logits)])
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
        let padding_deviation = deviation(&short(&self.padded, 1)?, &short(&self.alone, 0)?)?;
        let order_deviation = deviation(&self.padded.get(0)?, &self.padded.get(2)?)?;
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

/// Weights whose missing tensors are initialised with small pseudo-random numbers (around 1 for the weight of
/// a LayerNorm), seeded by the name of the tensor.
struct RandomlyInitialised<'a>(&'a TensorChecks<'a>);

impl WeightSource for RandomlyInitialised<'_> {
    fn tensor(&self, name: &str, shape: &Shape, dtype: DType) -> Result<Tensor> {
        if self.contains(name) {
            return self.0.tensor(name, shape, dtype);
        }
        let mut random = fastrand::Rng::with_seed(crc32c::crc32c(name.as_bytes()).into());
        let centre = if name.ends_with("LayerNorm.weight") {
            1.0
        } else {
            0.0
        };
        let values: Vec<f32> = (0..shape.elem_count())
            .map(|_| centre + 0.04 * (random.f32() - 0.5))
            .collect();
        Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)
    }

    fn word_rows(&self, rows: &[u32], dtype: DType) -> Result<Tensor> {
        self.0.word_rows(rows, dtype)
    }

    fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the result for a discriminator's logits after `change`.
    fn evaluate(change: impl Fn(&mut [Vec<f32>; ROWS], &mut Vec<f32>)) -> String {
        let config = ElectraConfig::default();
        let batches = Batches::new(&config).unwrap();
        let row = |seed: f32| -> Vec<f32> { (0..5_u8).map(|i| f32::from(i) - seed).collect() };
        let (long, short) = (row(0.0), row(0.5));
        let mut padded = [long.clone(), short.clone(), long];
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
        assert_eq!(evaluate(|padded, _| padded[1][4] += 5.0), "passed");
        assert!(evaluate(|padded, _| padded[1][2] += 1e-3).contains("padding"));
        assert!(evaluate(|_, alone| alone[2] += 1e-3).contains("padding"));
        assert!(evaluate(|padded, _| padded[2][4] += 1e-3).contains("order"));
        assert!(evaluate(|padded, _| padded[0][1] = f32::NAN).contains("not finite"));
        assert!(evaluate(|padded, _| padded[1][4] = f32::INFINITY).contains("not finite"));
        let short = |rows: &mut [Vec<f32>]| rows.iter_mut().for_each(|row| row.truncate(4));
        assert!(evaluate(|padded, _| short(padded)).contains("[3, 4], expected [3, 5]"));
    }
}
