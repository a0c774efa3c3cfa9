//! The size of a page, and models that were not published.

use candle_electra::{ElectraConfig, ModelClass};

use super::super::comparisons::Verdict;
use super::super::conversion::{LeftOutReport, TensorReport};
use super::super::verification::{ChecksumsReport, ClassReport, HeadCountVerdict};
use super::*;
use crate::verify::{BINS, NoGraph, TensorStatistics, UnitNorms, WeightStatistics};

/// The largest page of a model of 48 layers, as documented.
const MAX_LEN: usize = 2_000_000;

fn config(layers: usize, hidden: usize) -> ElectraConfig {
    ElectraConfig {
        architectures: vec!["ElectraForPreTraining".into()],
        embedding_size: 1024,
        hidden_size: hidden,
        intermediate_size: 4 * hidden,
        num_attention_heads: hidden / 64,
        num_hidden_layers: layers,
        vocab_size: 128_000,
        ..ElectraConfig::default()
    }
}

/// Statistics whose drawings have as many corners as they can have.
fn statistics(config: &ElectraConfig) -> WeightStatistics {
    let mut random = fastrand::Rng::with_seed(1);
    let tensors = ModelClass::PreTraining.tensors(config);
    let units = tensors
        .iter()
        .filter(|(name, shape)| name.contains(".attention.") && shape.len() == 2);
    let units = units.map(|(name, _)| UnitNorms {
        name: name.clone(),
        norms: Some(
            (0..config.hidden_size)
                .map(|_| 40.0 * random.f64() - 20.0)
                .collect(),
        ),
    });
    let units = units.collect();
    let tensors = tensors.into_iter().map(|(name, shape)| TensorStatistics {
        name,
        shape,
        finite: 1 << 24,
        not_finite: 0,
        mean: random.f64(),
        deviation: random.f64(),
        smallest: -1.0,
        largest: 1.0,
        histogram: (0..BINS).map(|_| random.f64()).collect(),
        outside: 12.0,
    });
    let tensors = tensors.collect();
    WeightStatistics { tensors, units }
}

fn verification(config: &ElectraConfig, weights: Option<WeightStatistics>) -> VerificationReport {
    let class = |class: ModelClass| ClassReport {
        class: class.name(),
        loaded: 1,
        missing: vec!["classifier.weight".into(); 4],
        unexpected: Vec::new(),
        mismatched: Vec::new(),
        output_shape: Some(vec![2, 8, 4096]),
        padding_deviation: Some(1e-7),
        order_deviation: Some(1e-7),
        seconds: Some(0.1),
    };
    VerificationReport {
        passed: true,
        architecture: "ElectraForPreTraining",
        classes: ModelClass::all().map(class).collect(),
        checksums: ChecksumsReport {
            against_index: 1000,
            rounded: 0,
            by_value: 0,
            computed: 0,
            against_recorded: 0,
            unchecked: 0,
        },
        task: None,
        constant: Vec::new(),
        head_count: HeadCountVerdict {
            configured: config.num_attention_heads,
            verdict: Verdict::Confirmed,
            count: Some(config.num_attention_heads),
            margin: 1234.5,
        },
        tokenizer: None,
        graph: Err(NoGraph::Missing),
        golden: None,
        text: None,
        failures: Vec::new(),
        failed: Vec::new(),
        seconds: 1.0,
        config: config.clone(),
        weights,
    }
}

fn plan(model: &'static str, config: &ElectraConfig) -> PlanReport {
    let tensors = ModelClass::PreTraining.tensors(config);
    let variable = |name: &str| format!("electra/encoder/{}", name.replace('.', "/"));
    let left_out = |role| LeftOutReport {
        role,
        label: role.to_owned(),
        reason: "needed only to continue the training",
        variables: 2 * tensors.len(),
        bytes: 1 << 40,
        names: tensors
            .iter()
            .flat_map(|(name, _)| {
                ["adam_m", "adam_v"].map(|slot| format!("{}/{slot}", variable(name)))
            })
            .collect(),
    };
    PlanReport {
        model,
        architecture: "ElectraForPreTraining",
        parameters: 10,
        bytes: 40,
        dtype: "float32",
        config: config.clone(),
        config_sources: std::collections::BTreeMap::new(),
        left_out: vec![left_out("optimizer_slot"), left_out("generator_encoder")],
        inexact: None,
        weights: "raw",
        task: None,
        tokenizer: None,
        warnings: Vec::new(),
        tensors: tensors
            .iter()
            .map(|(name, shape)| TensorReport {
                name: name.clone(),
                variables: vec![variable(name)],
                recipe: "transpose",
                shape: shape.clone(),
                from_dtype: "float32".into(),
                dtype: "float32".into(),
                rounded: false,
            })
            .collect(),
    }
}

fn checkpoint() -> CheckpointReport {
    CheckpointReport {
        prefix: "runs/model.ckpt-1".into(),
        name: "model.ckpt-1".into(),
        format: "tensor_bundle",
        format_name: "TensorBundle".into(),
        object_based: false,
        shards: 1,
        archive: None,
        archive_name: None,
        inflated_bytes: None,
        step: None,
        setup: None,
        description: None,
    }
}

fn page_of(config: &ElectraConfig) -> String {
    let report = ConversionReport {
        checkpoint: checkpoint(),
        exports: vec![ExportReport {
            plan: plan("discriminator", config),
            files: Vec::new(),
            verification: Some(verification(config, Some(statistics(config)))),
        }],
        seconds: 1.0,
    };
    Page::of_conversion(&report).html()
}

#[test]
fn a_large_model_has_a_page_below_two_megabytes() {
    let html = page_of(&config(48, 4096));
    assert!(html.len() < MAX_LEN, "{}", html.len());
    assert!(html.contains("layer 47"));
    // Whatever the number of layers is.
    let deep = page_of(&config(400, 1024));
    assert!(deep.len() < MAX_LEN, "{}", deep.len());
    assert!(deep.contains("336 more layers are not shown"));
}

#[test]
fn a_model_is_not_published_if_another_one_failed() {
    let config = config(2, 128);
    let plans = [plan("discriminator", &config), plan("generator", &config)];
    let report = VerificationReport {
        passed: false,
        failures: vec!["tensor <x> differs".into()],
        failed: vec![crate::verify::Check::Checksums],
        ..verification(&config, None)
    };
    let checkpoint = checkpoint();
    let page = Page::of_rejected(&checkpoint, &plans, "generator", &report);
    let html = page.html();
    let (first, second) = html.split_once("<h2>Generator").unwrap();
    assert!(first.contains("✕ Verification failed") && first.contains("Nothing was published"));
    assert!(first.contains("– Not published"));
    assert!(first.contains("another model of the conversion has failed"));
    assert!(second.contains("tensor &lt;x&gt; differs"));
}
