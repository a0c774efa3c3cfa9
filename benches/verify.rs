//! What verification costs: a forward pass of ELECTRA-Base, and the whole of `verify` on one.
//!
//! `cargo bench --bench verify`

use candle_core::{DType, Device, Tensor};
use candle_electra::ElectraConfig;
use candle_electra::{Batch, ElectraForPreTraining};
use candle_nn::{VarBuilder, VarMap};
use divan::Bencher;
use electra_convert::verify::{CompareWith, References, verify};
use electra_convert::{Conversion, ElectraCheckpoint, Model};

use testkit::bundle_writer::{Sizes, discriminator};

fn main() {
    divan::main();
}

const BASE: Sizes = Sizes {
    vocab: 30522,
    embedding: 768,
    positions: 512,
    token_types: 2,
    hidden: 768,
    intermediate: 3072,
    layers: 12,
};

/// 12 layers, hidden size 768, one sequence of 128 tokens.
#[divan::bench(sample_count = 20)]
fn base_forward_128_tokens(bencher: Bencher<'_, '_>) {
    let config = ElectraConfig {
        embedding_size: 768,
        hidden_size: 768,
        intermediate_size: 3072,
        num_attention_heads: 12,
        ..ElectraConfig::default()
    };
    let weights = VarMap::new();
    let vb = VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu);
    ElectraForPreTraining::load(vb, &config).unwrap();
    // Not as variables, whose gradients would be tracked.
    let weights = weights.data().lock().unwrap();
    let weights = weights
        .iter()
        .map(|(name, weight)| (name.clone(), weight.as_detached_tensor()));
    let vb = VarBuilder::from_tensors(weights.collect(), DType::F32, &Device::Cpu);
    let model = ElectraForPreTraining::load(vb, &config).unwrap();
    let ids: Vec<u32> = (0..128).map(|i| i * 231 % 30522).collect();
    let ids = Tensor::new(vec![ids], &Device::Cpu).unwrap();
    bencher.bench_local(|| model.forward(&Batch::new(&ids)).unwrap());
}

/// All checks of a converted folder, without the checkpoint.
#[divan::bench(sample_count = 5)]
fn base_verification(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("model");
    discriminator(BASE).write(&prefix);
    let out = folder.path().join("out");
    let checkpoint = ElectraCheckpoint::open(&prefix).unwrap();
    let conversion = Conversion::new(&checkpoint, Model::Discriminator).verify(false);
    conversion.run(&out, &()).unwrap();
    bencher.bench_local(|| {
        let report = verify(
            &out,
            CompareWith::RecordedChecksums,
            References::default(),
            &(),
        )
        .unwrap();
        assert!(report.passed(), "{}", report.summary());
    });
}
