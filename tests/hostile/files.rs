//! The densest sound files beside a checkpoint and of an export, and plans of many variables.

use std::path::Path;

use electra_convert::tokenizer::Vocabulary;

use super::dense::{short_names, within};
use super::*;
use testkit::bundle_writer::{SMALL, discriminator};

#[test]
fn a_state_file_of_many_lines() {
    let _alone = alone();
    let folder = copy_of("tiny_noproj");
    let lines = |count| {
        let other = "all_model_checkpoint_paths: \"\\303\\274\"\n".repeat(count);
        let text = format!("{other}model_checkpoint_path: \"model.ckpt-60\"\n");
        fs::write(folder.path().join("checkpoint"), &text).unwrap();
        within(text.len(), || locate(folder.path(), None))
    };
    assert_eq!(lines(20_000).unwrap().name(), "model.ckpt-60");
    let error = lines(40_000).unwrap_err();
    assert!(error.to_string().contains("too large"), "{error}");
}

#[test]
fn a_vocabulary_of_short_tokens() {
    let _alone = alone();
    let special = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
    let tokens: Vec<u8> = short_names(200_000)
        .flat_map(|name| [&name[..], b"\n"].concat())
        .collect();
    let text = [special.as_bytes(), &tokens].concat();
    let parsed = within(text.len(), || {
        Vocabulary::parse(Path::new("vocab.txt"), &text).is_ok()
    });
    assert!(parsed);
}

#[test]
fn weights_of_many_tensors() {
    use electra_convert::export::{LoadError, WeightsFile};
    let _alone = alone();
    let folder = temp();
    let path = folder.path().join("model.safetensors");
    let weights = |header: String| {
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
        fs::write(&path, &bytes).unwrap();
        within(bytes.len(), || {
            WeightsFile::open(&path).map(|weights| weights.tensors().len())
        })
    };
    let tensors = |count: u32, shape: &str| {
        let tensor = |name: Vec<u8>| {
            let name = String::from_utf8(name).unwrap().replace('\\', "-");
            format!("\"{name}\":{{\"dtype\":\"F32\",\"shape\":[{shape}],\"data_offsets\":[0,0]}}")
        };
        format!(
            "{{{}}}",
            short_names(count).map(tensor).collect::<Vec<_>>().join(",")
        )
    };
    assert_eq!(weights(tensors(20_000, "0")).unwrap(), 20_000);
    assert_eq!(
        weights(tensors(1, &vec!["0"; 100_000].join(","))).unwrap(),
        1
    );
    for header in [
        tensors(1, &vec!["0"; 4_000_000].join(",")),
        format!(
            "{{\"__metadata__\":{{{}}}}}",
            vec!["\"\":\"\""; 1_000_000].join(",")
        ),
    ] {
        let error = weights(header).unwrap_err();
        assert!(matches!(error, LoadError::Header { .. }), "{error}");
        assert!(error.to_string().contains("bytes of memory"), "{error}");
    }
}

#[test]
fn a_configuration_of_many_values() {
    use electra_convert::export::{LoadError, read_config};
    let _alone = alone();
    let folder = temp();
    let path = folder.path().join("config.json");
    let config = |count| {
        let text = format!(
            "{{\"hidden_size\":8,\"more\":[{}]}}",
            vec!["0"; count].join(",")
        );
        fs::write(&path, &text).unwrap();
        within(text.len(), || read_config(&path).map(drop))
    };
    config(100_000).unwrap();
    for (count, word) in [(4_000_000, "bytes of memory"), (9_000_000, "allowed")] {
        let error = config(count).unwrap_err();
        assert!(matches!(error, LoadError::Config { .. }), "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn many_variables_of_no_model() {
    let _alone = alone();
    for scope in ["", "task_specific/"] {
        let mut bundle = discriminator(SMALL);
        for name in short_names(20_000) {
            let name = format!("{scope}{}/dense/bias", String::from_utf8(name).unwrap());
            bundle.add_floats(&name, &[1]);
        }
        let folder = temp();
        bundle.write(&folder.path().join("m"));
        let len = bundle.index().len();
        for model in [Model::Discriminator, Model::FineTuned] {
            let planned = within(len, || {
                let source = ElectraCheckpoint::open(folder.path()).unwrap();
                source.plan(model, &PlanOptions::default()).map(drop)
            });
            // Variables of tasks are left out of a discriminator; others are unknown.
            let is_known = model == Model::Discriminator && !scope.is_empty();
            assert_eq!(planned.is_ok(), is_known, "{scope} {model}");
        }
    }
}

#[test]
fn a_sum_that_overflows() {
    let _alone = alone();
    let mut bundle = discriminator(SMALL);
    let huge = bundle.entry("electra/embeddings/word_embeddings");
    huge.shape = vec![1 << 57, 8];
    huge.size = 1 << 62;
    huge.offset = 1 << 40;
    let folder = temp();
    bundle.write(&folder.path().join("m"));
    let plan = within(0, || {
        let source = ElectraCheckpoint::open(folder.path()).unwrap();
        source
            .plan(Model::Discriminator, &PlanOptions::default())
            .unwrap()
    });
    assert!(plan.bytes() >= 1 << 62);
    assert!(plan.parameters() >= 1 << 60);
}
