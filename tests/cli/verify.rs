//! Verification: right folders pass, and every way of being wrong is found and named.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

use testkit::bundle_writer::{FLOAT16, SMALL, discriminator};
use testkit::{Tensor, copy_of, fixture, read_json, read_weights, run, temp, transposed};

fn exported(name: &str, model: &str) -> TempDir {
    let out = temp();
    let allow = "--allow-inexact";
    run![
        "--model",
        model,
        "--no-verify",
        allow,
        "-q",
        fixture(name),
        out.path()
    ]
    .ok();
    out
}

#[test]
fn outputs_are_those_of_the_original_graph() {
    for (name, model, outputs) in [
        ("trained", "discriminator", 4),
        ("trained", "generator", 3),
        ("tiny_default", "discriminator", 4),
        ("tiny_default", "generator", 3),
        ("tiny_noproj", "discriminator", 4),
        ("tiny_noproj", "generator", 3),
        ("tiny_untied_embeddings", "discriminator", 4),
        ("tiny_untied_embeddings", "generator", 3),
        ("tiny_tied", "discriminator", 4),
        ("tiny_tied", "generator", 3),
        ("tiny_mlm", "generator", 3),
        ("tiny_uniform", "discriminator", 4),
        ("tiny_electric", "discriminator", 4),
        ("tiny_relu", "discriminator", 4),
    ] {
        let folder = exported(name, model);
        let golden = fixture(name).join("golden.safetensors");
        let run = run!["verify", folder.path(), "--golden", golden, "--json"].ok();
        let compared = run.json()["golden"]["outputs"].as_array().unwrap().clone();
        assert_eq!(compared.len(), outputs, "{name} {model}");
        for output in compared {
            assert!(
                output["deviation"].as_f64().unwrap() < 2e-5,
                "{name} {output}"
            );
        }
    }
}

#[test]
fn a_relu_generator_agrees_up_to_its_head() {
    let folder = exported("tiny_relu", "generator");
    let golden = fixture("tiny_relu").join("golden.safetensors");
    let run = run!["verify", folder.path(), "--golden", golden, "--json"]
        .fails(5, &["gen_logits", "did not pass verification"]);
    for output in run.json()["golden"]["outputs"].as_array().unwrap() {
        let small = output["deviation"].as_f64().unwrap() < 2e-5;
        assert_eq!(small, output["name"] != "gen_logits", "{output}");
    }
}

#[test]
fn structure_is_what_transformers_reports() {
    let matrix = read_json(&fixture("facts/loading_matrix.json"));
    for model in ["discriminator", "generator"] {
        // The widths of this fixture differ, as those of the matrix do.
        let folder = exported("tiny_tied", model);
        let checked = run!["verify", folder.path(), "--json"].ok().json();
        let heads = checked["classes"].as_array().unwrap();
        let expected = matrix["exports"][model].as_object().unwrap();
        assert_eq!(heads.len(), expected.len());
        for head in heads {
            let class = head["class"].as_str().unwrap();
            for list in ["missing", "unexpected"] {
                assert_eq!(head[list], expected[class][list], "{model} {class} {list}");
            }
            assert_eq!(head["mismatched"], json!([]));
        }
    }
}

#[test]
fn shapes_of_new_heads_scale_with_the_configuration() {
    use candle_electra::{ElectraConfig, ModelClass};
    let matrix = read_json(&fixture("facts/loading_matrix.json"));
    let config = ElectraConfig {
        vocab_size: 100,
        embedding_size: 16,
        hidden_size: 32,
        num_hidden_layers: 1,
        ..ElectraConfig::default()
    };
    for (class, facts) in matrix["exports"]["discriminator"].as_object().unwrap() {
        let ours: HashMap<String, Vec<usize>> = ModelClass::from_name(class)
            .unwrap()
            .tensors(&config)
            .into_iter()
            .collect();
        for (name, shape) in facts["head_shapes"].as_object().unwrap() {
            // Tied, so that it is no tensor of its own.
            if name == "generator_lm_head.weight" {
                continue;
            }
            let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
            assert_eq!(ours[name], shape, "{class} {name}");
        }
    }
}

#[test]
fn an_index_alone_is_enough_to_compare_bits() {
    for name in ["trained", "fmt_partitioned", "fmt_sharded", "fmt_bf16"] {
        let folder = exported(name, "discriminator");
        let source = copy_of(name);
        for file in testkit::listing(source.path()) {
            let path = source.path().join(file);
            if path.extension() != Some("index".as_ref()) {
                fs::remove_file(path).unwrap();
            }
        }
        let run = run!["verify", folder.path(), "--source", source.path(), "--json"].ok();
        let checked = run.json();
        assert_eq!(checked["checksums"]["unchecked"], 0);
        let tensors = checked["checksums"]["against_index"].as_u64().unwrap();
        assert_eq!(
            tensors,
            checked["classes"][1]["loaded"].as_u64().unwrap(),
            "{name}"
        );
    }
}

#[test]
fn rounded_values_are_compared_with_the_data() {
    let out = temp();
    run![
        "--model",
        "discriminator",
        "--dtype",
        "f16",
        fixture("tiny_default"),
        out.path()
    ]
    .ok();
    let source = fixture("tiny_default");
    let full = run!["verify", out.path(), "--source", source, "--json"]
        .ok()
        .json();
    assert_eq!(full["checksums"]["rounded"], 43);
    // Without the checkpoint they are at least what was written.
    let offline = run!["verify", out.path(), "--json"].ok().json();
    assert_eq!(offline["checksums"]["against_recorded"], 43);

    change(out.path(), |tensors| tensor(tensors, QUERY).bytes[6] ^= 1);
    run!["verify", out.path(), "--source", source].fails(5, &[QUERY, "element 3"]);
    run!["verify", out.path()].fails(5, &[QUERY, "changed since the conversion"]);

    // bfloat16 fits into float32, so that the tensor can be turned back.
    let out = temp();
    run![
        "--model",
        "discriminator",
        "--dtype",
        "f32",
        fixture("fmt_bf16"),
        out.path()
    ]
    .ok();
    let offline = run!["verify", out.path(), "--json"].ok().json();
    assert_eq!(offline["checksums"]["against_recorded"], 43);
    // A low bit that the original cannot have had is not rounded away.
    change(out.path(), |tensors| tensor(tensors, QUERY).bytes[4] ^= 1);
    run!["verify", out.path()].fails(5, &[QUERY]);
}

type Tensors = BTreeMap<String, Tensor>;

fn tensor<'a>(tensors: &'a mut Tensors, name: &str) -> &'a mut Tensor {
    tensors.get_mut(name).unwrap()
}

/// Writes a folder's weights again, changed, with the metadata that they had.
fn change(folder: &Path, change: impl FnOnce(&mut Tensors)) {
    let path = folder.join("model.safetensors");
    let (_, metadata) = SafeTensors::read_metadata(&fs::read(&path).unwrap()).unwrap();
    let mut tensors = read_weights(folder);
    change(&mut tensors);
    let views = tensors.iter().map(|(name, tensor)| {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes).unwrap();
        (name.clone(), view)
    });
    let bytes = safetensors::serialize(views, metadata.metadata().clone()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn swap(tensors: &mut Tensors, a: &str, b: &str) {
    let bytes = std::mem::take(&mut tensor(tensors, a).bytes);
    let bytes = std::mem::replace(&mut tensor(tensors, b).bytes, bytes);
    tensor(tensors, a).bytes = bytes;
}

const QUERY: &str = "electra.encoder.layer.0.attention.self.query.weight";
const KEY: &str = "electra.encoder.layer.0.attention.self.key.weight";
const GAMMA: &str = "electra.encoder.layer.1.output.LayerNorm.weight";
const BETA: &str = "electra.encoder.layer.1.output.LayerNorm.bias";
const HEAD: &str = "discriminator_predictions.dense.weight";
const WORDS: &str = "electra.embeddings.word_embeddings.weight";

/// Verifies a changed export without and with its checkpoint; both must fail and name `words`.
#[track_caller]
fn is_caught(bend: impl Fn(&mut Tensors), words: &[&str]) {
    let folder = exported("tiny_default", "discriminator");
    change(folder.path(), bend);
    run!["verify", folder.path()].fails(5, words);
    run!["verify", folder.path(), "--source", fixture("tiny_default")].fails(5, words);
}

#[test]
fn a_flipped_bit_in_any_tensor_is_caught() {
    let folder = exported("tiny_default", "discriminator");
    let path = folder.path().join("model.safetensors");
    let sound = fs::read(&path).unwrap();
    let (header, metadata) = SafeTensors::read_metadata(&sound).unwrap();
    for (name, info) in metadata.tensors() {
        let mut bytes = sound.clone();
        bytes[8 + header + info.data_offsets.0] ^= 1;
        fs::write(&path, bytes).unwrap();
        run!["verify", folder.path()].fails(5, &[&name, "CRC-32C"]);
    }
}

#[test]
fn a_missing_tensor_is_caught() {
    is_caught(
        |t| t.retain(|name, _| name != HEAD),
        &[HEAD, "missing", "ElectraForPreTraining"],
    );
}

#[test]
fn an_extra_tensor_is_caught() {
    let extra = |t: &mut Tensors| {
        let (shape, bytes) = (vec![2], vec![0; 8]);
        let dtype = Dtype::F32;
        t.insert(
            "electra.pooler.bias".into(),
            Tensor {
                dtype,
                shape,
                bytes,
            },
        );
    };
    is_caught(
        extra,
        &[
            "electra.pooler.bias",
            "ElectraForPreTraining has no such tensor",
        ],
    );
}

#[test]
fn tensors_that_changed_places_are_caught() {
    is_caught(|t| swap(t, HEAD, QUERY), &[HEAD]);
    is_caught(|t| swap(t, QUERY, KEY), &[KEY]);
    is_caught(|t| swap(t, GAMMA, BETA), &[BETA]);
}

#[test]
fn a_square_kernel_that_is_not_transposed_is_caught() {
    let untranspose = |t: &mut Tensors| {
        let query = tensor(t, QUERY);
        query.bytes = transposed(&query.bytes, &query.shape);
    };
    is_caught(untranspose, &[QUERY, "CRC-32C"]);
}

#[test]
fn a_layer_that_is_there_twice_is_caught() {
    let duplicate = |t: &mut Tensors| {
        let names: Vec<String> = t.keys().cloned().collect();
        for name in names.iter().filter(|name| name.contains(".layer.0.")) {
            let bytes = tensor(t, name).bytes.clone();
            tensor(t, &name.replace(".layer.0.", ".layer.1.")).bytes = bytes;
        }
    };
    is_caught(duplicate, &["electra.encoder.layer.1.", "CRC-32C"]);
}

#[test]
fn numbers_that_are_not_finite_are_caught() {
    let nan = |t: &mut Tensors| {
        tensor(t, QUERY).bytes[8..12].copy_from_slice(&f32::NAN.to_le_bytes());
    };
    is_caught(nan, &[QUERY, "NaN", "element 2"]);
    let infinity = |t: &mut Tensors| {
        tensor(t, BETA).bytes[..4].copy_from_slice(&f32::NEG_INFINITY.to_le_bytes());
    };
    is_caught(infinity, &[BETA, "-inf", "element 0"]);
}

#[test]
fn a_decoder_that_is_not_the_word_embeddings_is_caught() {
    let folder = exported("tiny_default", "generator");
    let add_decoder = |flip: u8| {
        move |t: &mut Tensors| {
            let words = tensor(t, WORDS);
            let (dtype, shape, mut bytes) = (words.dtype, words.shape.clone(), words.bytes.clone());
            bytes[0] ^= flip;
            t.insert(
                "generator_lm_head.weight".into(),
                Tensor {
                    dtype,
                    shape,
                    bytes,
                },
            );
        }
    };
    change(folder.path(), add_decoder(1));
    let run = run!["verify", folder.path()].fails(5, &["generator_lm_head.weight"]);
    run.stdout_has(&["although the two are tied"]);

    // An equal one has its place, as in a file that another program wrote.
    let folder = exported("tiny_default", "generator");
    change(folder.path(), add_decoder(0));
    strip_metadata(folder.path());
    let run = run!["verify", folder.path(), "--json"].ok();
    assert_eq!(run.json()["checksums"]["unchecked"], 43);
}

fn strip_metadata(folder: &Path) {
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    fs::write(&path, safetensors::serialize(tensors.iter(), None).unwrap()).unwrap();
}

fn change_config(folder: &Path, key: &str, value: Value) {
    let path = folder.join("config.json");
    let mut config = read_json(&path);
    config[key] = value;
    fs::write(path, config.to_string()).unwrap();
}

#[test]
fn a_size_off_by_one_is_caught() {
    for (key, value, word) in [
        ("vocab_size", 1201, "word_embeddings"),
        ("embedding_size", 31, "embeddings.LayerNorm"),
        ("hidden_size", 65, "attention.self.query"),
        ("intermediate_size", 127, "intermediate.dense"),
        ("max_position_embeddings", 129, "position_embeddings"),
        ("type_vocab_size", 3, "token_type_embeddings"),
        ("num_hidden_layers", 3, "encoder.layer.2."),
        ("num_hidden_layers", 1, "encoder.layer.1."),
        ("num_hidden_layers", 1_000_000_000, "num_hidden_layers"),
    ] {
        let folder = exported("tiny_default", "discriminator");
        change_config(folder.path(), key, value.into());
        run!["verify", folder.path(), "-v"]
            .fails(5, &[])
            .stdout_has(&[word]);
        run!["verify", folder.path(), "--source", fixture("tiny_default")].fails(5, &[key]);
    }
}

#[test]
fn a_wrong_head_count_or_activation_needs_a_reference() {
    let golden = fixture("tiny_default").join("golden.safetensors");
    for (key, value) in [
        ("num_attention_heads", json!(1)),
        ("hidden_act", json!("relu")),
    ] {
        let folder = exported("tiny_default", "discriminator");
        change_config(folder.path(), key, value);
        // The file alone cannot tell.
        run!["verify", folder.path()].ok();
        run!["verify", folder.path(), "--golden", golden].fails(5, &["disc_", "head count"]);
        // The training graph beside the checkpoint can.
        run!["verify", folder.path(), "--source", fixture("tiny_default")].fails(5, &[key]);
    }
    let folder = exported("tiny_default", "discriminator");
    change_config(folder.path(), "num_attention_heads", json!(3));
    run!["verify", folder.path()].fails(5, &["3 attention heads", "64"]);
}

#[test]
fn a_file_that_is_cut_or_lies_about_itself_is_caught() {
    let folder = exported("tiny_default", "discriminator");
    let path = folder.path().join("model.safetensors");
    let sound = fs::read(&path).unwrap();
    let header = u64::from_le_bytes(sound[..8].try_into().unwrap());
    for len in [0, 7, 8, 100, sound.len() / 2, sound.len() - 1] {
        fs::write(&path, &sound[..len]).unwrap();
        run!["verify", folder.path()]
            .fails(5, &["model.safetensors", "not a valid safetensors file"]);
    }
    for lie in [
        0,
        1,
        header - 1,
        header + 8,
        sound.len() as u64,
        u64::MAX,
        99_000_000,
    ] {
        let mut bytes = sound.clone();
        bytes[..8].copy_from_slice(&lie.to_le_bytes());
        fs::write(&path, bytes).unwrap();
        run!["verify", folder.path()]
            .fails(5, &["model.safetensors", "not a valid safetensors file"]);
    }
    fs::write(&path, [&sound[..], &[0]].concat()).unwrap();
    run!["verify", folder.path()].fails(5, &["data after its end"]);
}

#[test]
fn recorded_checksums_that_cannot_be_read_are_caught() {
    let folder = exported("tiny_default", "discriminator");
    let path = folder.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    for record in ["{", "{\"x\":1}", "[]"] {
        let metadata = HashMap::from([("source_crc32c".to_owned(), record.to_owned())]);
        fs::write(
            &path,
            safetensors::serialize(tensors.iter(), Some(metadata)).unwrap(),
        )
        .unwrap();
        run!["verify", folder.path()].fails(5, &["checksums in the metadata"]);
    }
}

#[test]
fn a_folder_that_is_no_model_is_an_error_that_names_the_file() {
    let folder = temp();
    run!["verify", folder.path()].fails(5, &["config.json", "missing"]);
    fs::write(folder.path().join("model.safetensors"), "").unwrap();
    fs::write(folder.path().join("config.json"), "{").unwrap();
    run!["verify", folder.path()].fails(5, &["config.json", "not a valid ELECTRA configuration"]);
    fs::write(folder.path().join("config.json"), "{}").unwrap();
    run!["verify", folder.path()].fails(5, &["model.safetensors", "too few for a header"]);
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    run!["verify", folder.path()].fails(5, &["model.safetensors", "missing"]);
}

#[test]
fn references_that_do_not_fit_are_refused() {
    let folder = exported("tiny_default", "discriminator");
    let golden = temp();
    let path = golden.path().join("golden.safetensors");
    let write = |tensors: &[(&str, Vec<usize>, Vec<i32>)]| {
        let bytes: Vec<Vec<u8>> = tensors
            .iter()
            .map(|(_, _, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect())
            .collect();
        let views = std::iter::zip(tensors, &bytes).map(|((name, shape, _), bytes)| {
            (
                (*name).to_owned(),
                TensorView::new(Dtype::I32, shape.clone(), bytes).unwrap(),
            )
        });
        fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        run!["verify", folder.path(), "--golden", path]
    };
    write(&[("disc_logits", vec![1, 2], vec![0; 2])]).fails(2, &["input_ids"]);
    write(&[("input_ids", vec![1, 2], vec![5, 1200])]).fails(2, &["1200"]);
    write(&[("input_ids", vec![1, 2], vec![5, -1])]).fails(2, &["input_ids"]);
    write(&[("input_ids", vec![2], vec![5, 6])]).fails(2, &["[2]"]);
    write(&[("input_ids", vec![1, 200], vec![5; 200])]).fails(2, &["longer"]);
    write(&[("input_ids", vec![1, 2], vec![5, 6])]).fails(2, &["no output of this model"]);
    write(&[
        ("input_ids", vec![1, 2], vec![5, 6]),
        ("disc_logits", vec![3], vec![0; 3]),
    ])
    .fails(2, &["disc_logits", "[3]"]);
    fs::write(&path, "x").unwrap();
    run!["verify", folder.path(), "--golden", path].fails(2, &["golden.safetensors"]);
}

#[test]
fn constant_tensors_are_suspicious_and_no_failure() {
    let folder = exported("tiny_default", "discriminator");
    change(folder.path(), |t| tensor(t, BETA).bytes.fill(0));
    strip_metadata(folder.path());
    let run = run!["verify", folder.path()].ok();
    run.stdout_has(&["suspicious", BETA, "not compared with the checkpoint"]);
}

#[test]
fn a_conversion_says_whether_it_was_verified() {
    let out = temp();
    let run = run![
        "--model",
        "discriminator",
        fixture("tiny_noproj"),
        out.path()
    ]
    .ok();
    run.stdout_has(&[
        "Verified",
        "ElectraForPreTraining loads",
        "8 of 8 classes",
        "by its CRC-32C",
    ]);
    let no_verify = "--no-verify";
    let run = run![
        "--force",
        "--model",
        "discriminator",
        no_verify,
        fixture("tiny_noproj"),
        out.path()
    ];
    run.ok().stdout_has(&["Not verified"]);
}

#[test]
fn a_configuration_that_claims_too_much_is_no_reason_to_ask_for_memory() {
    let folder = exported("tiny_noproj", "discriminator");
    let path = folder.path().join("config.json");
    let sound = read_json(&path);
    let claims = [
        "num_hidden_layers",
        "vocab_size",
        "hidden_size",
        "embedding_size",
        "intermediate_size",
        "num_attention_heads",
        "max_position_embeddings",
        "type_vocab_size",
    ];
    for value in [1_u64 << 32, 1 << 40, (1 << 63) - 1, u64::MAX] {
        for claim in claims {
            let mut config = sound.clone();
            config[claim] = value.into();
            fs::write(&path, config.to_string()).unwrap();
            run!["verify", folder.path()].fails(5, &["did not pass verification"]);
        }
        // Of a head that is not in the file no tensor says how many labels there are.
        let mut config = sound.clone();
        config["num_labels"] = value.into();
        fs::write(&path, config.to_string()).unwrap();
        let shown = run!["verify", folder.path()].ok();
        assert!(shown.stdout.contains("not run"), "{}", shown.stdout);
    }
}

/// What was written in another element type than the checkpoint's is compared in its own.
#[test]
fn widened_and_rounded_exports_are_compared_with_their_source() {
    for (name, model) in [
        ("fmt_f16", "discriminator"),
        ("fmt_bf16", "generator"),
        ("fmt_v1", "discriminator"),
        ("tiny_default", "generator"),
        ("ft_squad_plain", "finetuned"),
    ] {
        for dtype in ["keep", "f32", "f16", "bf16"] {
            let folder = temp();
            let (out, source) = (folder.path().join("out"), fixture(name));
            let heads = if model == "generator" { "1" } else { "2" };
            let options = ["--num-attention-heads", heads, "--dtype", dtype];
            run![
                "-q", "--model", model, options[0], options[1], options[2], options[3], source, out
            ]
            .ok();
            let run = run!["verify", out, "--source", source, "--json"];
            assert_eq!(run.code, Some(0), "{name} {dtype}: {}", run.stdout);
        }
    }
    // Half-precision variables, in a V1 checkpoint and in a head of two layers.
    let folder = temp();
    let mut bundle = discriminator(SMALL);
    for layer in ["dense", "dense_1"] {
        for part in ["kernel", "bias"] {
            bundle.remove(&format!("discriminator_predictions/{layer}/{part}"));
        }
        let half = |len: usize| vec![0x3c; len * 2];
        let scope = format!("task_specific/squad/{layer}");
        bundle.add(
            &format!("{scope}/kernel"),
            FLOAT16,
            &[SMALL.hidden, 1],
            &half(64),
        );
        bundle.add(&format!("{scope}/bias"), FLOAT16, &[1], &half(1));
    }
    let (source, out) = (folder.path().join("m"), folder.path().join("out"));
    bundle.write(&source);
    run![
        "-q",
        "--model",
        "finetuned",
        "--dtype",
        "f32",
        "--vocab",
        "none",
        source,
        out
    ]
    .ok();
    run!["verify", out, "--source", source].ok();
}
