//! Checkpoints of other sizes, names and types than the fixtures have.

use std::fs;

use safetensors::Dtype;
use serde_json::json;

use testkit::bundle_writer::{Bundle, FLOAT64, Field, INT32, SMALL, Sizes, discriminator, message};
use testkit::{Run, read_json, read_weights, run, temp, transposed};

fn export(bundle: &Bundle, options: &[&str]) -> (tempfile::TempDir, Run) {
    let folder = temp();
    let prefix = folder.path().join("model");
    bundle.write(&prefix);
    let out = folder.path().join("out");
    let mut command = testkit::command(&[&"--model", &"discriminator", &prefix, &out]);
    let run = command
        .args(["--vocab", "none"])
        .args(options)
        .output()
        .unwrap()
        .into();
    (folder, run)
}

#[test]
fn sizes_are_read_from_shapes() {
    let sizes = Sizes {
        vocab: 77,
        embedding: 10,
        positions: 33,
        token_types: 3,
        hidden: 24,
        intermediate: 50,
        // layer_10 sorts before layer_2.
        layers: 13,
    };
    let bundle = discriminator(sizes);
    let (folder, run) = export(&bundle, &["--num-attention-heads", "3"]);
    run.ok();
    let config = read_json(&folder.path().join("out/config.json"));
    for (key, value) in [
        ("vocab_size", 77),
        ("embedding_size", 10),
        ("max_position_embeddings", 33),
        ("type_vocab_size", 3),
        ("hidden_size", 24),
        ("intermediate_size", 50),
        ("num_hidden_layers", 13),
        ("num_attention_heads", 3),
    ] {
        assert_eq!(config[key], value, "{key}");
    }
    let weights = read_weights(&folder.path().join("out"));
    for layer in 0..13 {
        let variable = format!("electra/encoder/layer_{layer}/output/dense/kernel");
        let tensor = &weights[&format!("electra.encoder.layer.{layer}.output.dense.weight")];
        let entry = bundle
            .entries
            .iter()
            .find(|e| e.name == variable.as_bytes())
            .unwrap();
        let start = usize::try_from(entry.offset).unwrap();
        let bytes = &bundle.data[start..start + usize::try_from(entry.size).unwrap()];
        assert_eq!(tensor.shape, [24, 50]);
        assert!(tensor.bytes == transposed(bytes, &[50, 24]), "{variable}");
    }
}

#[test]
fn the_head_rule_is_the_original_codes() {
    for (hidden, heads) in [(64, 1), (128, 2), (256, 4)] {
        let (folder, run) = export(&discriminator(Sizes { hidden, ..SMALL }), &[]);
        run.ok();
        let config = read_json(&folder.path().join("out/config.json"));
        assert_eq!(config["num_attention_heads"], heads, "{hidden}");
    }
    // 64 does not divide it, so that the rule says nothing.
    for hidden in [8, 32, 96, 200, 312] {
        let odd = discriminator(Sizes { hidden, ..SMALL });
        let hidden = format!("hidden size {hidden}");
        export(&odd, &[])
            .1
            .fails(4, &[&hidden, "--num-attention-heads", "--config"]);
    }
    let odd = discriminator(Sizes {
        hidden: 200,
        ..SMALL
    });
    export(&odd, &["--num-attention-heads", "5"]).1.ok();
    export(&odd, &["--num-attention-heads", "0"])
        .1
        .fails(4, &["must divide"]);
    export(&odd, &["--num-attention-heads", "7"])
        .1
        .fails(4, &["must divide"]);
}

#[test]
fn contradicting_shapes_are_named() {
    let mut bundle = discriminator(SMALL);
    bundle.remove("electra/encoder/layer_1/intermediate/dense/bias");
    bundle.add_floats("electra/encoder/layer_1/intermediate/dense/bias", &[25]);
    let (_folder, run) = export(&bundle, &[]);
    run.fails(
        4,
        &[
            "intermediate_size",
            "24",
            "25",
            "layer_0",
            "layer_1/intermediate/dense/bias",
        ],
    );

    let mut bundle = discriminator(SMALL);
    bundle.remove("electra/embeddings/word_embeddings");
    bundle.add_floats("electra/embeddings/word_embeddings", &[40]);
    let (_folder, run) = export(&bundle, &[]);
    run.fails(
        4,
        &["word_embeddings", "[40]", "[vocab_size, embedding_size]"],
    );
}

#[test]
fn missing_variables_are_named() {
    let mut bundle = discriminator(SMALL);
    bundle.remove("electra/encoder/layer_1/output/dense/bias");
    bundle.remove("discriminator_predictions/dense/kernel");
    export(&bundle, &[]).1.fails(
        4,
        &[
            "layer_1/output/dense/bias",
            "discriminator_predictions/dense/kernel",
        ],
    );

    let mut bundle = discriminator(Sizes { layers: 3, ..SMALL });
    bundle
        .entries
        .retain(|e| !e.name.starts_with(b"electra/encoder/layer_1/"));
    export(&bundle, &[])
        .1
        .fails(4, &["layer_1/attention/self/query/kernel"]);

    let mut bundle = discriminator(SMALL);
    bundle.add_floats("electra/encoder/layer_999999999/output/dense/bias", &[64]);
    export(&bundle, &[]).1.fails(4, &["layer_2/"]);
}

#[test]
fn unknown_variables_stop_an_export_unless_allowed() {
    let mut bundle = discriminator(SMALL);
    bundle.add_floats("electra/encoder/layer_0/adapter/kernel", &[3]);
    export(&bundle, &[])
        .1
        .fails(4, &["adapter/kernel", "--rename", "--allow-unknown"]);
    let (folder, run) = export(&bundle, &["--allow-unknown", "--json"]);
    let run = run.ok();
    assert!(run.stderr.contains("warning"), "{}", run.stderr);
    assert_eq!(run.json()["exports"][0]["left_out"][0]["role"], "unknown");
    assert_eq!(
        read_weights(&folder.path().join("out")).len(),
        5 + 2 + 32 + 4
    );

    // A projection has no place where both sizes are equal.
    let mut bundle = discriminator(Sizes {
        embedding: 64,
        ..SMALL
    });
    bundle.add_floats("electra/embeddings_project/bias", &[64]);
    export(&bundle, &[])
        .1
        .fails(4, &["embeddings_project/bias"]);
}

#[test]
fn renamed_scopes_are_renamed_back() {
    let mut bundle = discriminator(SMALL);
    for entry in &mut bundle.entries {
        let name = String::from_utf8(entry.name.clone()).unwrap();
        entry.name = name
            .replace("electra/", "my/bert/")
            .replace("discriminator_predictions", "rtd")
            .into_bytes();
    }
    export(&bundle, &[]).1.fails(4, &["no ELECTRA", "--rename"]);
    let renames = [
        "--rename",
        "^my/bert/=electra/",
        "--rename",
        "^(rtd)/=discriminator_predictions/",
    ];
    let (folder, run) = export(&bundle, &renames);
    run.ok();
    let plain = export(&discriminator(SMALL), &[]).0;
    let (a, b) = (
        read_weights(&folder.path().join("out")),
        read_weights(&plain.path().join("out")),
    );
    assert!(a.keys().eq(b.keys()));

    let (_folder, run) = export(&discriminator(SMALL), &["--rename", "^nothing=x"]);
    assert!(run.ok().stderr.contains("changes no variable"));
    export(&bundle, &["--rename", ".*=same"])
        .1
        .fails(4, &["the same name"]);
    for bad in ["no-equals", "(=x", "a=$1", "a=${x}", "=b"] {
        export(&bundle, &["--rename", bad])
            .1
            .fails(2, &["--rename"]);
    }
}

#[test]
fn a_config_file_fills_in_and_is_checked() {
    let bundle = discriminator(SMALL);
    let folder = temp();
    let path = folder.path().join("my config.json");
    let with = |config: serde_json::Value| {
        fs::write(&path, config.to_string()).unwrap();
        export(&bundle, &["--config", path.to_str().unwrap()])
    };

    let bert = json!({
        "attention_probs_dropout_prob": 0.2, "hidden_act": "tanh", "hidden_size": 64,
        "num_attention_heads": 4, "vocab_size": 40, "type_vocab_size": 2, "layer_norm_eps": 1,
        "some_key_of_a_fork": [1, 2],
    });
    let (out, run) = with(bert);
    let run = run.ok();
    assert!(run.stdout.contains("my config.json"), "{}", run.stdout);
    let config = read_json(&out.path().join("out/config.json"));
    assert_eq!(config["num_attention_heads"], 4);
    assert_eq!(config["hidden_act"], "tanh");
    assert_eq!(config["attention_probs_dropout_prob"], 0.2);
    let text = fs::read_to_string(out.path().join("out/config.json")).unwrap();
    assert!(
        text.contains(r#""layer_norm_eps": 1.0"#),
        "floats must stay floats: {text}"
    );

    with(json!({"hidden_size": 32}))
        .1
        .fails(4, &["hidden_size is 64", "32", "my config.json"]);
    with(json!({"num_hidden_layers": 12}))
        .1
        .fails(4, &["num_hidden_layers is 2", "12"]);
    with(json!({"vocab_size": "many"}))
        .1
        .fails(4, &["vocab_size", "whole number"]);
    with(json!({"hidden_act": "elu"}))
        .1
        .fails(4, &["elu", "gelu_new"]);
    with(json!({"model_type": "roberta"}))
        .1
        .fails(4, &["roberta"]);
    with(json!({"hidden_dropout_prob": "a lot"}))
        .1
        .fails(4, &["hidden_dropout_prob"]);
    with(json!([1])).1.fails(2, &["not a JSON object"]);
    fs::write(&path, json!({"num_attention_heads": 4}).to_string()).unwrap();
    let both = [
        "--config",
        path.to_str().unwrap(),
        "--num-attention-heads",
        "2",
    ];
    export(&bundle, &both)
        .1
        .fails(4, &["--num-attention-heads", "my config.json"]);
    export(&bundle, &["--config", "nowhere.json"])
        .1
        .fails(2, &["nowhere.json"]);
}

#[test]
fn float64_is_rounded_to_float32_and_said_so() {
    let mut bundle = discriminator(SMALL);
    let name = "discriminator_predictions/dense/bias";
    bundle.remove(name);
    let values: Vec<f64> = (0..64).map(|i| f64::from(i) / 3.0).collect();
    let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    bundle.add(name, FLOAT64, &[64], &bytes);
    let (folder, run) = export(&bundle, &[]);
    assert!(run.ok().stderr.contains("rounded 1 float64"));
    let weights = read_weights(&folder.path().join("out"));
    let found = &weights["discriminator_predictions.dense.bias"];
    assert_eq!(found.dtype, Dtype::F32);
    #[allow(clippy::cast_possible_truncation)]
    let rounded: Vec<u8> = values
        .iter()
        .flat_map(|&x| (x as f32).to_le_bytes())
        .collect();
    assert_eq!(found.bytes, rounded);
}

#[test]
fn big_endian_bundles_are_turned_around() {
    let little = discriminator(SMALL);
    let mut big = little.clone();
    big.data
        .as_chunks_mut::<4>()
        .0
        .iter_mut()
        .for_each(|bytes| bytes.reverse());
    for entry in &mut big.entries {
        let start = usize::try_from(entry.offset).unwrap();
        let len = usize::try_from(entry.size).unwrap();
        entry.crc32c = crc32c::crc32c(&big.data[start..start + len]);
    }
    let folder = temp();
    let prefix = folder.path().join("m");
    let exports = [little, big].map(|bundle| {
        let endianness = u64::from(bundle.data != discriminator(SMALL).data);
        let header = message(&[(1, Field::Varint(1)), (2, Field::Varint(endianness))]);
        bundle.write(&prefix);
        fs::write(
            prefix.with_extension("index"),
            bundle.index_with_header(&header),
        )
        .unwrap();
        let out = folder.path().join(format!("out{endianness}"));
        run!["--model", "discriminator", prefix, out].ok();
        // The note of the conversion is of the bytes in the checkpoint, and so is its index.
        run!["verify", out].ok();
        run!["verify", out, "--source", prefix].ok();
        read_weights(&out)
    });
    for (name, tensor) in &exports[0] {
        assert!(tensor.bytes == exports[1][name].bytes, "{name}");
    }
}

#[test]
fn an_overflow_names_the_tensor() {
    let mut bundle = discriminator(SMALL);
    let name = "discriminator_predictions/dense/bias";
    bundle.remove(name);
    let mut values = [0.5_f32; 64];
    values[11] = -70000.0;
    let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    bundle.add(name, testkit::bundle_writer::FLOAT32, &[64], &bytes);
    let (folder, run) = export(&bundle, &["--dtype", "f16"]);
    run.fails(
        4,
        &[
            "discriminator_predictions.dense.bias",
            "element 11",
            "-7e4",
            "bf16",
        ],
    );
    assert!(!folder.path().join("out").exists());
    export(&bundle, &["--dtype", "bf16"]).1.ok();
    // An infinity is a value of float16 as well, but no weight of a sound model.
    values[11] = f32::INFINITY;
    let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    bundle.remove(name);
    bundle.add(name, testkit::bundle_writer::FLOAT32, &[64], &bytes);
    export(&bundle, &["--dtype", "f16", "--no-verify"]).1.ok();
    let (folder, run) = export(&bundle, &["--dtype", "f16"]);
    run.fails(
        5,
        &[
            "not published",
            "discriminator_predictions.dense.bias",
            "inf",
        ],
    );
    assert!(!folder.path().join("out").exists());
}

#[test]
fn weights_must_be_floating_point_numbers() {
    let mut bundle = discriminator(SMALL);
    let name = "discriminator_predictions/dense/bias";
    bundle.remove(name);
    bundle.add(name, INT32, &[64], &[0; 256]);
    export(&bundle, &[])
        .1
        .fails(4, &["discriminator_predictions/dense/bias", "int32"]);
}

#[test]
fn names_cannot_steer_the_terminal() {
    let mut bundle = discriminator(SMALL);
    bundle.add_floats("evil\x1b[2J\nerror: all is well", &[1]);
    let (folder, run) = export(&bundle, &[]);
    let run = run.fails(4, &["\\u{1b}"]);
    assert!(!run.stderr.contains('\x1b'));
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    let shown = run!["inspect", folder.path().join("model"), "--variables"].ok();
    assert!(!shown.stdout.contains('\x1b'));
}
