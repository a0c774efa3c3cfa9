//! The eight classes: which tensors they load, in which order, and what they compute, in several dtypes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_electra::{Activation, Attend};
use candle_electra::{
    Batch, DECODER_WEIGHT, ElectraConfig, ElectraForCausalLM, ElectraForMaskedLM,
    ElectraForMultipleChoice, ElectraForPreTraining, ElectraForQuestionAnswering,
    ElectraForSequenceClassification, ElectraForTokenClassification, ElectraModel, Head, Hidden,
    ModelClass, Pass, WORD_EMBEDDINGS, forward_streamed,
};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder, VarMap};

const CPU: Device = Device::Cpu;
/// Sequences of the test batch, which are the choices of one question.
const SEQUENCES: usize = 2;
const LENGTH: usize = 5;

/// A forward pass: a batch to the outputs of a class.
type Forward = Box<dyn Fn(&Batch<'_>) -> Result<Vec<Tensor>>>;

/// Loads the type of a class.
fn load(class: ModelClass, vb: VarBuilder<'_>, config: &ElectraConfig) -> Result<Forward> {
    fn one(forward: impl Fn(&Batch<'_>) -> Result<Tensor> + 'static) -> Forward {
        Box::new(move |batch| Ok(vec![forward(batch)?]))
    }
    Ok(match class {
        ModelClass::Model => {
            let model = ElectraModel::load(vb, config)?;
            one(move |batch| model.forward(batch))
        }
        ModelClass::PreTraining => {
            let model = ElectraForPreTraining::load(vb, config)?;
            one(move |batch| model.forward(batch))
        }
        ModelClass::MaskedLm => {
            let model = ElectraForMaskedLM::load(vb, config)?;
            one(move |batch| model.forward(batch))
        }
        ModelClass::CausalLm => {
            let model = ElectraForCausalLM::load(vb, config)?;
            one(move |batch| model.forward(batch))
        }
        ModelClass::TokenClassification => {
            let model = ElectraForTokenClassification::load(vb, config)?;
            one(move |batch| model.forward(batch))
        }
        ModelClass::SequenceClassification => {
            let model = ElectraForSequenceClassification::load(vb, config)?;
            one(move |batch| model.forward(batch))
        }
        ModelClass::MultipleChoice => {
            let model = ElectraForMultipleChoice::load(vb, config)?;
            one(move |batch| model.forward(batch, SEQUENCES))
        }
        ModelClass::QuestionAnswering => {
            let model = ElectraForQuestionAnswering::load(vb, config)?;
            Box::new(move |batch| {
                let span = model.forward(batch)?;
                Ok(vec![span.start, span.end])
            })
        }
    })
}

/// Small configurations, without and with a projection.
fn configs() -> [ElectraConfig; 2] {
    [16, 8].map(|embedding_size| ElectraConfig {
        vocab_size: 11,
        embedding_size,
        hidden_size: 16,
        intermediate_size: 24,
        num_attention_heads: 4,
        num_hidden_layers: 2,
        max_position_embeddings: 7,
        ..ElectraConfig::default()
    })
}

/// Input ids and a mask, in which the second sequence ends in padding.
fn inputs() -> (Tensor, Tensor) {
    let ids = Tensor::new(&[[1_u32, 2, 3, 4, 5], [6, 7, 8, 0, 0]], &CPU);
    let mask = Tensor::new(&[[1_u32, 1, 1, 1, 1], [1, 1, 1, 0, 0]], &CPU);
    (ids.unwrap(), mask.unwrap())
}

fn values(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
    flat.to_vec1().unwrap()
}

/// Distinct weights for a class, the same in each run; those of layers do not depend on the class.
fn weights(config: &ElectraConfig, class: ModelClass, dtype: DType) -> HashMap<String, Tensor> {
    let tensors = class.tensors(config).into_iter();
    let with_values = tensors.map(|(name, shape)| {
        let mut state = name.bytes().fold(1_u32, |state, byte| {
            state.wrapping_mul(31).wrapping_add(byte.into())
        });
        let center = if name.ends_with("LayerNorm.weight") {
            1.0
        } else {
            0.0
        };
        let values: Vec<f64> = (0..shape.iter().product())
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                center + f64::from(state >> 8) / f64::from(1 << 24) * 0.6 - 0.3
            })
            .collect();
        let tensor = Tensor::from_vec(values, shape, &CPU).unwrap();
        (name, tensor.to_dtype(dtype).unwrap())
    });
    with_values.collect()
}

fn builder(tensors: HashMap<String, Tensor>, dtype: DType) -> VarBuilder<'static> {
    VarBuilder::from_tensors(tensors, dtype, &CPU)
}

/// Names and shapes of tensors.
type Requests = Vec<(String, Vec<usize>)>;

/// Records the tensors that a model requests, in their order.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Requests>>);

impl SimpleBackend for Recorder {
    fn get(&self, s: Shape, name: &str, h: Init, dtype: DType, dev: &Device) -> Result<Tensor> {
        let request = (name.to_owned(), s.dims().to_vec());
        self.0.lock().unwrap().push(request);
        Ok(h.var(s, dtype, dev)?.into_inner())
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        candle_core::bail!("{name} is requested without a shape")
    }

    fn contains_tensor(&self, _: &str) -> bool {
        false
    }
}

#[test]
fn tensors_are_loaded_in_the_order_of_the_table() {
    for config in configs() {
        for class in ModelClass::all() {
            let expected = class.tensors(&config);
            let typed = Recorder::default();
            let vb = VarBuilder::from_backend(Box::new(typed.clone()), DType::F32, CPU);
            drop(load(class, vb, &config).unwrap());
            assert_eq!(*typed.0.lock().unwrap(), expected, "{class}");

            let parts = Recorder::default();
            let vb = VarBuilder::from_backend(Box::new(parts.clone()), DType::F32, CPU);
            let model = ElectraModel::load(vb.clone(), &config).unwrap();
            Head::load(class, vb, &config, Some(model.word_embeddings())).unwrap();
            assert_eq!(*parts.0.lock().unwrap(), expected, "{class}");
        }
    }
}

#[test]
fn initial_weights_are_those_of_transformers() {
    let [config, _] = configs();
    let config = ElectraConfig {
        hidden_size: 64,
        vocab_size: 500,
        ..config
    };
    for class in ModelClass::all() {
        let map = VarMap::new();
        let vb = VarBuilder::from_varmap(&map, DType::F32, &CPU);
        drop(load(class, vb, &config).unwrap());
        let data = map.data().lock().unwrap();
        assert_eq!(data.len(), class.tensors(&config).len(), "{class}");
        for (name, var) in data.iter() {
            let values = values(var.as_tensor());
            if name.ends_with("LayerNorm.weight") {
                assert!(
                    values.iter().all(|x| x.to_bits() == 1.0_f64.to_bits()),
                    "{name}"
                );
            } else if name.ends_with("bias") {
                assert!(values.iter().all(|x| x.to_bits() == 0), "{name}");
            } else if values.len() >= 1000 {
                let squares: f64 = values.iter().map(|x| x * x).sum();
                let deviation = (squares / f64::from(u32::try_from(values.len()).unwrap())).sqrt();
                assert!((deviation / 0.02 - 1.0).abs() < 0.15, "{name}: {deviation}");
            }
        }
    }
}

#[test]
fn outputs_have_the_documented_shapes() {
    let (ids, mask) = inputs();
    for config in configs() {
        for class in ModelClass::all() {
            let vb = builder(weights(&config, class, DType::F32), DType::F32);
            let forward = load(class, vb, &config).unwrap();
            let batch = Batch {
                attention_mask: Some(&mask),
                ..Batch::new(&ids)
            };
            let expected: &[usize] = match class {
                ModelClass::Model => &[SEQUENCES, LENGTH, 16],
                ModelClass::PreTraining | ModelClass::QuestionAnswering => &[SEQUENCES, LENGTH],
                ModelClass::MaskedLm | ModelClass::CausalLm => &[SEQUENCES, LENGTH, 11],
                ModelClass::TokenClassification => &[SEQUENCES, LENGTH, 2],
                ModelClass::SequenceClassification => &[SEQUENCES, 2],
                ModelClass::MultipleChoice => &[1, SEQUENCES],
            };
            for output in forward(&batch).unwrap() {
                assert_eq!(output.dims(), expected, "{class}");
                assert!(values(&output).iter().all(|x| x.is_finite()), "{class}");
            }
        }
    }
}

#[test]
fn a_head_agrees_with_the_type_of_its_class() {
    let (ids, mask) = inputs();
    for config in configs() {
        for class in ModelClass::all() {
            let tensors = weights(&config, class, DType::F32);
            let batch = Batch {
                attention_mask: Some(&mask),
                ..Batch::new(&ids)
            };
            let vb = builder(tensors.clone(), DType::F32);
            let typed = load(class, vb, &config).unwrap()(&batch).unwrap();
            let typed = match &typed[..] {
                [start, end] => Tensor::stack(&[start, end], 2).unwrap(),
                [logits] => logits.clone(),
                _ => panic!("{class}"),
            };

            let vb = builder(tensors, DType::F32);
            let model = ElectraModel::load_parallel(vb.clone(), &config).unwrap();
            let head = Head::load(class, vb, &config, Some(model.word_embeddings())).unwrap();
            let attend = match class {
                ModelClass::CausalLm => Attend::Backwards,
                _ => Attend::Everywhere,
            };
            let hidden = model.forward_with(&batch, attend, false).unwrap().last;
            let logits = head.forward(&hidden).unwrap();
            assert_eq!(values(&logits), values(&typed), "{class}");
            assert!(values(&logits).iter().any(|x| x.abs() > 0.0), "{class}");
        }
    }
}

#[test]
fn streamed_passes_give_the_hidden_states_of_separate_ones() {
    let (ids, mask) = inputs();
    let short = Tensor::new(&[[6_u32, 7, 8]], &CPU).unwrap();
    for config in configs() {
        let tensors = weights(&config, ModelClass::Model, DType::F32);
        let model = ElectraModel::load(builder(tensors.clone(), DType::F32), &config).unwrap();
        let padded = Batch {
            attention_mask: Some(&mask),
            ..Batch::new(&ids)
        };
        let passes = [
            Pass::new(padded),
            Pass::new(Batch::new(&short)),
            Pass {
                batch: padded,
                attend: Attend::Backwards,
            },
        ];
        for all_layers in [false, true] {
            let vb = builder(tensors.clone(), DType::F32);
            let streamed = forward_streamed(vb, &config, &passes, all_layers, &|| Ok(())).unwrap();
            assert_eq!(streamed.len(), passes.len());
            for (pass, found) in std::iter::zip(&passes, streamed) {
                let expected = model
                    .forward_with(&pass.batch, pass.attend, all_layers)
                    .unwrap();
                let states = |hidden: Hidden| [vec![hidden.last], hidden.all.unwrap_or_default()];
                let (found, expected) = (states(found).concat(), states(expected).concat());
                assert_eq!(found.len(), expected.len());
                for (found, expected) in std::iter::zip(found, expected) {
                    assert_eq!(found.dims(), expected.dims());
                    for (found, expected) in std::iter::zip(values(&found), values(&expected)) {
                        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
                    }
                }
            }
        }
        let stopped = || candle_core::bail!("stopped");
        let vb = builder(tensors, DType::F32);
        assert!(forward_streamed(vb, &config, &passes, false, &stopped).is_err());
    }
}

#[test]
fn every_dtype_gives_the_same_outputs() {
    let (ids, mask) = inputs();
    let [_, config] = configs();
    for hidden_act in Activation::ALL {
        let config = ElectraConfig {
            hidden_act,
            ..config.clone()
        };
        for class in ModelClass::all() {
            let run = |dtype| -> Vec<f64> {
                let vb = builder(weights(&config, class, dtype), dtype);
                let batch = Batch {
                    attention_mask: Some(&mask),
                    ..Batch::new(&ids)
                };
                let outputs = load(class, vb, &config).unwrap()(&batch).unwrap();
                assert!(outputs.iter().all(|output| output.dtype() == dtype));
                outputs.iter().flat_map(values).collect()
            };
            let exact = run(DType::F64);
            let scale = exact.iter().fold(1.0, |most: f64, x| most.max(x.abs()));
            for (dtype, tolerance) in [(DType::F32, 1e-4), (DType::F16, 0.05), (DType::BF16, 0.3)] {
                for (found, expected) in std::iter::zip(run(dtype), &exact) {
                    assert!(
                        (found - expected).abs() <= tolerance * scale,
                        "{class} with {hidden_act} in {dtype:?}: {found}, not {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn padding_and_later_tokens_are_not_attended_to() {
    let (ids, mask) = inputs();
    let other_padding = Tensor::new(&[[1_u32, 2, 3, 4, 5], [6, 7, 8, 9, 10]], &CPU).unwrap();
    let [config, _] = configs();
    let run = |class, ids: &Tensor, mask: Option<&Tensor>| {
        let vb = builder(weights(&config, class, DType::F32), DType::F32);
        let batch = Batch {
            attention_mask: mask,
            ..Batch::new(ids)
        };
        let logits = load(class, vb, &config).unwrap()(&batch).unwrap().remove(0);
        // Of the three tokens of the second sequence.
        values(&logits.narrow(0, 1, 1).unwrap().narrow(1, 0, 3).unwrap())
    };
    let masked = ModelClass::MaskedLm;
    assert_eq!(
        run(masked, &ids, Some(&mask)),
        run(masked, &other_padding, Some(&mask))
    );
    assert_ne!(run(masked, &ids, None), run(masked, &other_padding, None));
    let causal = ModelClass::CausalLm;
    assert_eq!(run(causal, &ids, None), run(causal, &other_padding, None));
}

#[test]
fn a_decoder_is_tied_unless_it_has_a_weight() {
    let (ids, _) = inputs();
    let [config, _] = configs();
    for class in ModelClass::all().filter(|class| class.has_decoder()) {
        let tied = weights(&config, class, DType::F32);
        let run = |tensors| {
            let forward = load(class, builder(tensors, DType::F32), &config).unwrap();
            values(&forward(&Batch::new(&ids)).unwrap()[0])
        };
        let mut same = tied.clone();
        same.insert(DECODER_WEIGHT.into(), tied[WORD_EMBEDDINGS].clone());
        let mut other = tied.clone();
        let double = (&tied[WORD_EMBEDDINGS] * 2.0).unwrap();
        other.insert(DECODER_WEIGHT.into(), double);
        assert_eq!(run(same), run(tied.clone()), "{class}");
        assert_ne!(run(other), run(tied), "{class}");
    }
}

#[test]
fn names_without_the_prefix_are_found() {
    let (ids, _) = inputs();
    let [_, config] = configs();
    let tensors = weights(&config, ModelClass::Model, DType::F32);
    let bare = tensors.iter().map(|(name, tensor)| {
        let name = name.strip_prefix("electra.").unwrap();
        (name.to_owned(), tensor.clone())
    });
    let run = |tensors| {
        let model = ElectraModel::load(builder(tensors, DType::F32), &config).unwrap();
        values(&model.forward(&Batch::new(&ids)).unwrap())
    };
    assert_eq!(run(bare.collect()), run(tensors.clone()));
}

#[test]
fn what_does_not_fit_is_an_error() {
    let (ids, _) = inputs();
    let [config, _] = configs();
    let tensors = weights(&config, ModelClass::Model, DType::F32);
    let load =
        |config: &ElectraConfig, tensors| ElectraModel::load(builder(tensors, DType::F32), config);
    for heads in [0, 3] {
        let odd = ElectraConfig {
            num_attention_heads: heads,
            ..config.clone()
        };
        let error = load(&odd, tensors.clone()).unwrap_err().to_string();
        assert!(
            error.contains("attention heads do not divide the hidden size 16"),
            "{error}"
        );
    }
    let larger = ElectraConfig {
        vocab_size: 12,
        ..config.clone()
    };
    let error = load(&larger, tensors.clone()).unwrap_err().to_string();
    assert!(error.contains(WORD_EMBEDDINGS), "{error}");
    let mut incomplete = tensors.clone();
    incomplete.remove("electra.encoder.layer.1.output.dense.bias");
    let error = load(&config, incomplete).unwrap_err().to_string();
    assert!(
        error.contains("electra.encoder.layer.1.output.dense.bias"),
        "{error}"
    );

    let model = load(&config, tensors).unwrap();
    let ids = Tensor::cat(&[&ids, &ids], 1).unwrap();
    assert!(
        model.forward(&Batch::new(&ids)).is_err(),
        "10 tokens, 7 positions"
    );
    let ids = Tensor::new(&[[11_u32]], &CPU).unwrap();
    assert!(
        model.forward(&Batch::new(&ids)).is_err(),
        "11 tokens in the vocabulary"
    );
}
