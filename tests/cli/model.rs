//! The candle model, as any candle user would take it from the library.

use std::collections::HashMap;

use candle_core::{D, DType, Device, Tensor};
use candle_electra::{Activation, ElectraConfig};
use candle_electra::{
    Attend, Batch, ElectraForCausalLM, ElectraForMaskedLM, ElectraForMultipleChoice,
    ElectraForPreTraining, ElectraModel,
};
use candle_nn::VarBuilder;
use electra_convert::export::{WeightsFile, read_config};
use tempfile::TempDir;

use testkit::{assert_close, fixture, run, temp};

fn exported(model: &str, options: &[&str]) -> (TempDir, ElectraConfig, WeightsFile) {
    let out = temp();
    let fixture = fixture("tiny_default");
    let mut command = testkit::command(&[&"-q", &"--model", &model, &fixture, &out.path()]);
    assert!(command.args(options).status().unwrap().success());
    let config = read_config(&out.path().join("config.json")).unwrap();
    let weights = WeightsFile::open(&out.path().join("model.safetensors")).unwrap();
    (out, config, weights)
}

fn ids(rows: &[&[u32]]) -> Tensor {
    let rows: Vec<Vec<u32>> = rows.iter().map(|row| row.to_vec()).collect();
    Tensor::new(rows, &Device::Cpu).unwrap()
}

#[test]
fn names_with_and_without_the_prefix_load_alike() {
    let (_out, config, weights) = exported("discriminator", &[]);
    let tensors: HashMap<String, Tensor> = weights
        .tensors()
        .into_iter()
        .filter_map(|(name, info)| {
            let bare = name.strip_prefix("electra.")?.to_owned();
            let tensor = weights
                .var_builder()
                .get(info.shape.clone(), &name)
                .unwrap();
            Some((bare, tensor))
        })
        .collect();
    let bare = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    let input = ids(&[&[2, 40, 50, 3]]);
    let with = ElectraModel::load(weights.var_builder(), &config).unwrap();
    let without = ElectraModel::load(bare, &config).unwrap();
    let batch = Batch::new(&input);
    assert_close(
        &with.forward(&batch).unwrap(),
        &without.forward(&batch).unwrap(),
        0.0,
    );
}

#[test]
fn all_layers_end_in_the_last_hidden_state() {
    let (_out, config, weights) = exported("discriminator", &[]);
    let model = ElectraModel::load(weights.var_builder(), &config).unwrap();
    let input = ids(&[&[2, 40, 50, 3], &[2, 60, 3, 0]]);
    let hidden = model
        .forward_with(&Batch::new(&input), Attend::Everywhere, true)
        .unwrap();
    let all = hidden.all.unwrap();
    assert_eq!(all.len(), config.num_hidden_layers + 1);
    assert_eq!(all[0].dims(), [2, 4, config.hidden_size]);
    assert_close(&hidden.last, all.last().unwrap(), 0.0);
}

#[test]
fn a_causal_model_does_not_look_ahead() {
    let (_out, config, weights) = exported("generator", &[]);
    let (a, b) = (ids(&[&[2, 40, 50, 60, 70]]), ids(&[&[2, 40, 50, 99, 3]]));
    let first_three = |logits: Tensor| logits.narrow(1, 0, 3).unwrap();
    let causal = ElectraForCausalLM::load(weights.var_builder(), &config).unwrap();
    let run = |input| first_three(causal.forward(&Batch::new(input)).unwrap());
    assert_close(&run(&a), &run(&b), 1e-6);

    let both_ways = ElectraForMaskedLM::load(weights.var_builder(), &config).unwrap();
    let run = |input| first_three(both_ways.forward(&Batch::new(input)).unwrap());
    let difference = (run(&a) - run(&b)).unwrap().abs().unwrap();
    let largest: f32 = difference
        .flatten_all()
        .unwrap()
        .max(D::Minus1)
        .unwrap()
        .to_scalar()
        .unwrap();
    assert!(largest > 1e-3, "a masked LM does: {largest}");
}

#[test]
fn token_types_matter_and_padding_does_not() {
    let (_out, config, weights) = exported("discriminator", &[]);
    let model = ElectraForPreTraining::load(weights.var_builder(), &config).unwrap();
    let input = ids(&[&[2, 40, 50, 3]]);
    let plain = model.forward(&Batch::new(&input)).unwrap();
    let types = ids(&[&[0, 0, 1, 1]]);
    let with_types = Batch {
        token_type_ids: Some(&types),
        ..Batch::new(&input)
    };
    let difference = (model.forward(&with_types).unwrap() - &plain)
        .unwrap()
        .abs()
        .unwrap();
    assert!(
        difference
            .flatten_all()
            .unwrap()
            .max(0)
            .unwrap()
            .to_scalar::<f32>()
            .unwrap()
            > 0.0
    );

    let padded = ids(&[&[2, 40, 50, 3, 7, 8]]);
    let mask = ids(&[&[1, 1, 1, 1, 0, 0]]);
    let masked = Batch {
        attention_mask: Some(&mask),
        ..Batch::new(&padded)
    };
    let logits = model.forward(&masked).unwrap().narrow(1, 0, 4).unwrap();
    assert_close(&logits, &plain, 1e-5);
    // A sequence of nothing but padding is nonsense, but no NaN.
    let nothing = ids(&[&[0, 0, 0, 0, 0, 0]]);
    let empty = Batch {
        attention_mask: Some(&nothing),
        ..Batch::new(&padded)
    };
    let logits: Vec<Vec<f32>> = model.forward(&empty).unwrap().to_vec2().unwrap();
    assert!(logits[0].iter().all(|x| x.is_finite()));
}

#[test]
fn half_precision_weights_compute_in_float32() {
    let (_out, config, weights) = exported("discriminator", &["--dtype", "bf16"]);
    let model = ElectraForPreTraining::load(weights.var_builder(), &config).unwrap();
    let logits = model
        .forward(&Batch::new(&ids(&[&[2, 40, 50, 3]])))
        .unwrap();
    assert_eq!(logits.dtype(), DType::F32);
}

#[test]
fn choices_are_numbers_in_rows() {
    let (_out, config, weights) = exported("discriminator", &[]);
    let hidden = config.hidden_size;
    let ones = |shape: &[usize]| Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();
    let mut tensors: HashMap<String, Tensor> = weights
        .tensors()
        .into_iter()
        .map(|(name, info)| {
            let tensor = weights
                .var_builder()
                .get(info.shape.clone(), &name)
                .unwrap();
            (name, tensor)
        })
        .collect();
    tensors.insert(
        "sequence_summary.summary.weight".into(),
        ones(&[hidden, hidden]),
    );
    tensors.insert("sequence_summary.summary.bias".into(), ones(&[hidden]));
    tensors.insert("classifier.weight".into(), ones(&[1, hidden]));
    tensors.insert("classifier.bias".into(), ones(&[1]));
    let vb = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    let model = ElectraForMultipleChoice::load(vb, &config).unwrap();
    let input = ids(&[
        &[2, 40, 3],
        &[2, 41, 3],
        &[2, 42, 3],
        &[2, 43, 3],
        &[2, 44, 3],
        &[2, 45, 3],
    ]);
    let logits = model.forward(&Batch::new(&input), 3).unwrap();
    assert_eq!(logits.dims(), [2, 3]);
}

#[test]
fn a_configuration_of_transformers_is_read_whatever_else_it_holds() {
    for facts in ["config_v4.json", "config_v5.json"] {
        let config = read_config(&fixture("facts").join(facts)).unwrap();
        assert_eq!(config.hidden_size, 16);
        assert_eq!(config.hidden_act, Activation::Gelu);
        assert_eq!(config.num_labels(), 2);
    }
    let config: ElectraConfig = serde_json::from_str(
        r#"{"hidden_act": "swish", "id2label": {"0": "a", "1": "b", "2": "c"}, "future_key": {}}"#,
    )
    .unwrap();
    assert_eq!(config.hidden_act, Activation::Silu);
    assert_eq!(config.num_labels(), 3);
    assert_eq!(config.vocab_size, 30522, "transformers' default");
}

#[test]
fn wrong_shapes_and_head_counts_are_errors() {
    let (out, mut config, weights) = exported("discriminator", &[]);
    config.num_attention_heads = 5;
    let error = ElectraModel::load(weights.var_builder(), &config).unwrap_err();
    assert!(error.to_string().contains("5 attention heads"), "{error}");
    config.num_attention_heads = 2;
    let model = ElectraModel::load(weights.var_builder(), &config).unwrap();
    for heads in [0, 3, 1 << 40] {
        let error = model.with_attention_heads(heads).unwrap_err();
        let words = format!("{heads} attention heads do not divide");
        assert!(error.to_string().contains(&words), "{error}");
    }
    model.with_attention_heads(1).unwrap();
    config.intermediate_size = 100;
    let error = ElectraModel::load(weights.var_builder(), &config).unwrap_err();
    assert!(
        error.to_string().contains("intermediate.dense.weight"),
        "{error}"
    );
    run!["verify", out.path()].ok();
}

#[test]
fn a_row_of_padding_is_finite_in_every_precision() {
    let (_out, config, weights) = exported("discriminator", &[]);
    let input = ids(&[&[2, 40, 50, 3], &[0, 0, 0, 0]]);
    let mask = ids(&[&[1, 1, 1, 0], &[0, 0, 0, 0]]);
    let batch = Batch {
        attention_mask: Some(&mask),
        ..Batch::new(&input)
    };
    for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64] {
        let tensors: HashMap<String, Tensor> = weights
            .tensors()
            .into_iter()
            .map(|(name, info)| {
                let tensor = weights.var_builder().get(info.shape.clone(), &name);
                (name, tensor.unwrap().to_dtype(dtype).unwrap())
            })
            .collect();
        let vb = VarBuilder::from_tensors(tensors, dtype, &Device::Cpu);
        let model = ElectraModel::load(vb, &config).unwrap();
        for attend in [Attend::Everywhere, Attend::Backwards] {
            let hidden = model.forward_with(&batch, attend, false).unwrap().last;
            let hidden = hidden.to_dtype(DType::F32).unwrap();
            let values: Vec<f32> = hidden.flatten_all().unwrap().to_vec1().unwrap();
            assert!(values.iter().all(|x| x.is_finite()), "{dtype:?} {attend:?}");
        }
    }
}
