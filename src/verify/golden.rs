//! Compares outputs with those of a reference, such as the original TensorFlow graph.
//!
//! The file holds a batch (`input_ids`, and optionally `attention_mask` and `token_type_ids`, each `[batch,
//! sequence]`) and any of these outputs, with the prefix `disc_` for a discriminator and `gen_` for a
//! generator:
//!
//! | output | shape |
//! |---|---|
//! | `embedding_output` (after the projection), `hidden` | `[batch, sequence, hidden]` |
//! | `all_layers` | `[layers, batch, sequence, hidden]` |
//! | `logits` | `[batch, sequence]` of a discriminator (before the sigmoid), `[batch, sequence, vocabulary]` of a generator; the outputs of the other classes, where the last axis of an answer is its start and end, and the sequences of a batch are the choices of one question |
//!
//! Only positions where `attention_mask` is 1 are compared.

use std::collections::HashMap;

use candle_core::{DType, Device, Result, Tensor};
use candle_electra::{Attend, Batch, ElectraConfig, ModelClass, Pass};
use tf_checkpoint::storage::regular;

use super::error::Error;
use super::failure::Failure;
use super::forward::deviation;
use super::inputs::Golden;
use crate::export::{LoadError, WeightsFile};
use crate::progress::Watch;
use crate::streamed_model::StreamedModel;

/// The deviation of one output from its reference.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Deviation {
    /// Name of the output in the file.
    pub output: String,
    /// The largest absolute deviation where `attention_mask` is 1.
    pub deviation: f32,
}

/// The comparison with a reference.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GoldenReport {
    /// The compared outputs.
    pub compared: Vec<Deviation>,
    /// Names of outputs in the file that this model does not have.
    pub skipped: Vec<String>,
    /// The largest deviation allowed.
    pub tolerance: f32,
}

/// The names of the inputs.
const INPUTS: [&str; 3] = ["input_ids", "attention_mask", "token_type_ids"];

/// Compares the outputs of the class of a directory with all outputs in the file.
pub(super) fn check(
    weights: &WeightsFile,
    config: &ElectraConfig,
    class: ModelClass,
    golden: Golden<'_>,
    watch: &Watch<'_>,
    failures: &mut Vec<Failure>,
) -> std::result::Result<GoldenReport, Error> {
    let bad = |what: String| Error::Golden {
        path: golden.path.to_owned(),
        what,
    };
    // Checked first, because candle trusts the header.
    WeightsFile::open(golden.path).map_err(|error| match error {
        LoadError::Io { path, source } => Error::Reference { path, source },
        LoadError::Header { what, .. } | LoadError::Config { what, .. } => {
            bad(format!("it is not a valid safetensors file: {what}"))
        }
    })?;
    let bytes = regular::read(golden.path, u64::MAX).map_err(|error| bad(error.to_string()))?;
    let reference = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)
        .map_err(|error| bad(error.to_string()))?;
    let inputs = Inputs::new(&reference, config).map_err(&bad)?;

    let prefix = if class.has_decoder() { "gen_" } else { "disc_" };
    let outputs = compute(weights, config, class, &inputs, watch)?;
    let mut report = GoldenReport {
        compared: Vec::new(),
        skipped: Vec::new(),
        tolerance: golden.tolerance,
    };
    let mut names: Vec<&String> = reference.keys().collect();
    names.sort();
    for name in names {
        if INPUTS.contains(&name.as_str()) {
            continue;
        }
        let computed = name
            .strip_prefix(prefix)
            .and_then(|output| outputs.get(output));
        let Some(computed) = computed else {
            report.skipped.push(name.clone());
            continue;
        };
        let expected = reference[name].to_dtype(DType::F32)?;
        if computed.dims() != expected.dims() {
            return Err(bad(format!(
                "output {name} has the shape {:?}, this model computes {:?}",
                expected.dims(),
                computed.dims()
            )));
        }
        let deviation = if class.is_per_token() || !name.ends_with("logits") {
            inputs.masked_deviation(computed, &expected)?
        } else {
            deviation(computed, &expected)?
        };
        report.compared.push(Deviation {
            output: name.clone(),
            deviation,
        });
        // A comparison with NaN is false.
        if deviation.is_nan() || deviation > golden.tolerance {
            failures.push(Failure::Golden {
                output: name.clone(),
                deviation,
                tolerance: golden.tolerance,
            });
        }
    }
    if report.compared.is_empty() {
        return Err(bad(format!(
            "it has no output of this model, such as {prefix}hidden or {prefix}logits"
        )));
    }
    Ok(report)
}

/// The batch in the file.
struct Inputs {
    input_ids: Tensor,
    token_type_ids: Option<Tensor>,
    attention_mask: Option<Tensor>,
}

impl Inputs {
    fn new(
        reference: &HashMap<String, Tensor>,
        config: &ElectraConfig,
    ) -> std::result::Result<Self, String> {
        let [ids, mask, types] = INPUTS;
        let input = |name: &str, limit: usize| {
            let Some(tensor) = reference.get(name) else {
                return Ok(None);
            };
            let tensor = to_ids(tensor).map_err(|error| format!("{name}: {error}"))?;
            let values: Vec<u32> = tensor
                .flatten_all()
                .and_then(|flat| flat.to_vec1())
                .map_err(|error| format!("{name}: {error}"))?;
            match values.iter().find(|&&id| id as usize >= limit) {
                Some(id) => Err(format!(
                    "{name} has the value {id}, this model allows values below {limit}"
                )),
                None => Ok(Some(tensor)),
            }
        };
        let input_ids = input(ids, config.vocab_size)?.ok_or("it has no input_ids")?;
        let length = match input_ids.dims() {
            [_, length] if *length > 0 => *length,
            shape => {
                return Err(format!(
                    "input_ids has the shape {shape:?}, expected [batch, sequence]"
                ));
            }
        };
        if length > config.max_position_embeddings {
            return Err(format!(
                "its sequences have {length} tokens, longer than the {} positions of this model",
                config.max_position_embeddings
            ));
        }
        let inputs = Self {
            token_type_ids: input(types, config.type_vocab_size)?,
            attention_mask: input(mask, 2)?,
            input_ids,
        };
        for (name, other) in [
            (mask, &inputs.attention_mask),
            (types, &inputs.token_type_ids),
        ] {
            if other
                .as_ref()
                .is_some_and(|t| t.dims() != inputs.input_ids.dims())
            {
                return Err(format!("{name} and input_ids have different shapes"));
            }
        }
        Ok(inputs)
    }

    /// Returns the largest deviation of two tensors `[…, batch, sequence, …]` where the mask is 1.
    fn masked_deviation(&self, computed: &Tensor, expected: &Tensor) -> Result<f32> {
        let difference = (computed - expected)?.abs()?;
        let (batch, length) = self.input_ids.dims2()?;
        let mask = match &self.attention_mask {
            Some(mask) => mask.to_vec2::<u32>()?,
            None => vec![vec![1; length]; batch],
        };
        // The first axis of `all_layers` is the layer.
        let layers = match difference.dims() {
            [layers, b, l, _] if (*b, *l) == (batch, length) => *layers,
            _ => 1,
        };
        let rows = difference.reshape((layers, batch, length, ()))?;
        let mut worst = 0.0_f32;
        for layer in 0..layers {
            for (b, mask) in mask.iter().enumerate() {
                for (l, present) in mask.iter().enumerate() {
                    if *present == 0 {
                        continue;
                    }
                    let values: Vec<f32> = rows.get(layer)?.get(b)?.get(l)?.to_vec1()?;
                    for value in values {
                        if value.is_nan() {
                            return Ok(value);
                        }
                        worst = worst.max(value);
                    }
                }
            }
        }
        Ok(worst)
    }
}

/// Converts integers of any width to u32; negative ones wrap around and are then out of range.
fn to_ids(tensor: &Tensor) -> Result<Tensor> {
    tensor.to_dtype(DType::I64)?.to_dtype(DType::U32)
}

/// Computes all outputs that a reference may have, by name without prefix.
fn compute(
    weights: &WeightsFile,
    config: &ElectraConfig,
    class: ModelClass,
    inputs: &Inputs,
    watch: &Watch<'_>,
) -> Result<HashMap<&'static str, Tensor>> {
    let model = StreamedModel::new(weights, config, watch);
    let batch = Batch {
        input_ids: &inputs.input_ids,
        token_type_ids: inputs.token_type_ids.as_ref(),
        attention_mask: inputs.attention_mask.as_ref(),
    };
    // As in transformers, for every class.
    let attend = if config.is_decoder {
        Attend::Backwards
    } else {
        Attend::Everywhere
    };
    let hidden = model.hidden(&[Pass { batch, attend }], true)?.remove(0);
    let all = hidden.all.expect("requested");
    let (embedded, layers) = all.split_first().expect("the first are the embeddings");
    let mut outputs = HashMap::from([
        ("embedding_output", embedded.clone()),
        ("hidden", hidden.last.clone()),
    ]);
    if !layers.is_empty() {
        outputs.insert("all_layers", Tensor::stack(layers, 0)?);
    }
    if class != ModelClass::Model {
        let logits = model.logits(class, &[&hidden.last])?.remove(0);
        outputs.insert("logits", logits);
    }
    Ok(outputs)
}
