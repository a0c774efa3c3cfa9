//! Every model of every fixture, bit for bit against the checkpoint, by a reader of its own.

use std::fs;
use std::path::Path;

use half::{bf16, f16};
use safetensors::Dtype;
use serde_json::Value;

use testkit::{fixture, raw_variable, read_json, read_weights, run, temp, transposed};

/// Fixture and model, for all that can be exported.
const EXPORTS: &[(&str, &str)] = &[
    ("trained", "discriminator"),
    ("trained", "generator"),
    ("tiny_default", "discriminator"),
    ("tiny_default", "generator"),
    ("tiny_noproj", "discriminator"),
    ("tiny_noproj", "generator"),
    ("tiny_untied_embeddings", "discriminator"),
    ("tiny_untied_embeddings", "generator"),
    ("tiny_tied", "discriminator"),
    ("tiny_tied", "generator"),
    ("tiny_mlm", "generator"),
    ("tiny_uniform", "discriminator"),
    ("tiny_electric", "discriminator"),
    ("tiny_relu", "discriminator"),
    ("fmt_sharded", "discriminator"),
    ("fmt_sharded", "generator"),
    ("fmt_partitioned", "discriminator"),
    ("fmt_partitioned", "generator"),
    ("fmt_bf16", "discriminator"),
    ("fmt_f16", "generator"),
    ("fmt_weights_only", "discriminator"),
    ("fmt_foreign_state", "generator"),
    ("ft_chunk", "discriminator"),
    ("ft_sst", "discriminator"),
];

/// The TensorFlow name of a tensor, worked out backwards from the Hugging Face name: independent
/// of the program's table.
fn variable_name(tensor: &str, fixture: &str, model: &str) -> String {
    let own_body = model == "generator" && !matches!(fixture, "tiny_tied" | "tiny_mlm");
    let own_embeddings = model == "generator" && fixture == "tiny_untied_embeddings";
    if tensor == "generator_lm_head.bias" {
        return "generator_predictions/output_bias".into();
    }
    let is_layer_norm = tensor.contains("LayerNorm");
    let is_table = tensor.ends_with("_embeddings.weight");
    let name = tensor
        .replace("encoder.layer.", "encoder.layer_")
        .replace('.', "/")
        .replace("dense_prediction", "dense_1");
    let name = match name.rsplit_once('/').unwrap() {
        (stem, _) if is_table => stem.to_owned(),
        (stem, "weight") if is_layer_norm => format!("{stem}/gamma"),
        (stem, "bias") if is_layer_norm => format!("{stem}/beta"),
        (stem, "weight") => format!("{stem}/kernel"),
        (stem, last) => format!("{stem}/{last}"),
    };
    let in_embeddings = name.starts_with("electra/embeddings/");
    match name.strip_prefix("electra/") {
        Some(rest) if in_embeddings && own_embeddings => format!("generator/{rest}"),
        Some(rest) if !in_embeddings && own_body => format!("generator/{rest}"),
        _ => name,
    }
}

#[test]
fn every_tensor_is_its_variable_bit_for_bit() {
    for (name, model) in EXPORTS {
        let out = temp();
        let checkpoint = fixture(name);
        run!["--model", model, checkpoint, out.path()].ok();
        let inspected = run!["inspect", checkpoint, "--json"].ok().json();
        let variables = inspected["variables"].as_array().unwrap();

        let weights = read_weights(out.path());
        assert!(weights.len() > 30, "{name} {model}");
        for (tensor, found) in &weights {
            let variable_name = variable_name(tensor, name, model);
            let variable = variables
                .iter()
                .find(|v| v["name"] == variable_name.as_str())
                .unwrap_or_else(|| panic!("{name} {model}: {tensor} from {variable_name}"));
            let mut shape: Vec<usize> = serde_json::from_value(variable["shape"].clone()).unwrap();
            let mut bytes = raw_variable(&checkpoint, variable);
            if variable_name.ends_with("/kernel") {
                bytes = transposed(&bytes, &shape);
                shape.reverse();
            }
            assert_eq!(found.shape, shape, "{name} {model} {tensor}");
            assert!(found.bytes == bytes, "{name} {model} {tensor}");
        }
    }
}

#[test]
fn names_are_those_that_transformers_expects() {
    let matrix = read_json(&fixture("facts/loading_matrix.json"));
    // 5 embeddings, 16 a layer; the generator's two sizes are equal, so that it has no projection.
    for (model, class, body) in [
        ("discriminator", "ElectraForPreTraining", 5 + 2 + 2 * 16),
        ("generator", "ElectraForMaskedLM", 5 + 2 * 16),
    ] {
        let out = temp();
        run!["--model", model, fixture("tiny_default"), out.path()].ok();
        let weights = read_weights(out.path());
        let heads: Vec<&str> = weights
            .keys()
            .map(String::as_str)
            .filter(|name| !name.starts_with("electra."))
            .collect();
        // What a bare ElectraModel does not expect is exactly the head.
        let unexpected: Vec<&str> = matrix["exports"][model]["ElectraModel"]["unexpected"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect();
        assert_eq!(heads, unexpected);
        let config = read_json(&out.path().join("config.json"));
        assert_eq!(config["architectures"][0], class);
        assert_eq!(weights.len() - heads.len(), body);
    }
}

fn golden_config(name: &str, model: &str) -> Value {
    read_json(&fixture(name).join("golden.json"))[model].clone()
}

#[track_caller]
fn assert_config(config: &Value, golden: &Value) {
    for (key, value) in golden.as_object().unwrap() {
        assert_eq!(&config[key], value, "{key}");
    }
}

#[test]
fn configuration_is_what_training_was_told() {
    for (name, model) in EXPORTS {
        if !fixture(name).join("golden.json").exists() {
            continue;
        }
        let out = temp();
        run!["--model", model, fixture(name), out.path()].ok();
        let config = read_json(&out.path().join("config.json"));
        assert_config(&config, &golden_config(name, model));
    }
}

#[test]
fn a_generator_as_large_as_its_discriminator_needs_no_ratio() {
    // This fixture is an index without its data file, which is enough to plan.
    let plan = run![
        "--model",
        "both",
        "--dry-run",
        "--json",
        fixture("tiny_small_like"),
        "nowhere"
    ]
    .ok()
    .json();
    for (at, model) in ["discriminator", "generator"].iter().enumerate() {
        assert_config(
            &plan["exports"][at]["config"],
            &golden_config("tiny_small_like", model),
        );
    }
}

#[test]
fn config_has_the_keys_of_transformers_4_and_5_sorted() {
    let out = temp();
    run!["--model", "discriminator", fixture("trained"), out.path()].ok();
    let config = read_json(&out.path().join("config.json"));
    let keys: Vec<&String> = config.as_object().unwrap().keys().collect();
    assert!(keys.is_sorted());
    let facts = ["config_v4.json", "config_v5.json"].map(|f| read_json(&fixture("facts").join(f)));
    let mut expected: Vec<&String> = facts
        .iter()
        .flat_map(|fact| fact.as_object().unwrap().keys())
        .collect();
    expected.sort();
    expected.dedup();
    assert_eq!(keys, expected);
    for fact in &facts {
        for (key, value) in fact.as_object().unwrap() {
            assert_eq!(
                std::mem::discriminant(&config[key]),
                std::mem::discriminant(value),
                "{key} has another JSON type"
            );
        }
    }
}

/// Exports both models of two checkpoints, and compares all tensors and the configuration.
pub(crate) fn assert_same_export(checkpoint: &Path, reference: &Path) {
    for model in ["discriminator", "generator"] {
        let [found, expected] = [checkpoint, reference].map(|checkpoint| {
            let out = temp();
            // Where no training graph lies beside a checkpoint, its head count must be told.
            let heads = if model == "generator" { "1" } else { "2" };
            let options = ["--num-attention-heads", heads];
            run![
                "--model",
                model,
                options[0],
                options[1],
                checkpoint,
                out.path()
            ]
            .ok();
            (
                read_weights(out.path()),
                read_json(&out.path().join("config.json")),
            )
        });
        let name = checkpoint.display();
        assert_eq!(found.1, expected.1, "{name}");
        assert!(found.0.keys().eq(expected.0.keys()), "{name}");
        for (tensor, weights) in &found.0 {
            assert_eq!(weights.shape, expected.0[tensor].shape, "{name} {tensor}");
            assert!(
                weights.bytes == expected.0[tensor].bytes,
                "{name} {model} {tensor}"
            );
        }
    }
}

#[test]
fn every_format_gives_the_same_export() {
    for name in [
        "fmt_sharded",
        "fmt_partitioned",
        "fmt_weights_only",
        "fmt_foreign_state",
        "fmt_v1",
        "fmt_v1_sharded",
        "fmt_partitioned_v1",
    ] {
        assert_same_export(&fixture(name), &fixture("tiny_default"));
    }
}

#[test]
fn rounding_is_to_nearest_even() {
    let full = temp();
    run!["--model", "generator", fixture("tiny_default"), full.path()].ok();
    let full = read_weights(full.path());
    for (dtype, expected, fmt) in [
        ("f16", Dtype::F16, "fmt_f16"),
        ("bf16", Dtype::BF16, "fmt_bf16"),
    ] {
        let out = temp();
        run![
            "--model",
            "generator",
            "--dtype",
            dtype,
            fixture("tiny_default"),
            out.path()
        ]
        .ok();
        // TensorFlow rounded these weights itself.
        let by_tensorflow = temp();
        run!["--model", "generator", fixture(fmt), by_tensorflow.path()].ok();
        let by_tensorflow = read_weights(by_tensorflow.path());
        let config = read_json(&out.path().join("config.json"));
        let name = if dtype == "f16" {
            "float16"
        } else {
            "bfloat16"
        };
        assert_eq!(config["dtype"], name);
        assert_eq!(config["torch_dtype"], name);

        for (tensor, found) in read_weights(out.path()) {
            assert_eq!(found.dtype, expected);
            let rounded: Vec<u8> = full[&tensor]
                .bytes
                .as_chunks()
                .0
                .iter()
                .map(|&bytes| f32::from_le_bytes(bytes))
                .flat_map(|x| match expected {
                    Dtype::F16 => f16::from_f32(x).to_le_bytes(),
                    _ => bf16::from_f32(x).to_le_bytes(),
                })
                .collect();
            assert!(found.bytes == rounded, "{tensor}");
            assert!(found.bytes == by_tensorflow[&tensor].bytes, "{tensor}");
        }
    }
}

#[test]
fn half_precision_can_be_widened() {
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
    for (tensor, found) in read_weights(out.path()) {
        assert_eq!(found.dtype, Dtype::F32);
        // A bfloat16 is the upper half of a float32.
        assert!(
            found
                .bytes
                .as_chunks::<4>()
                .0
                .iter()
                .all(|b| b[..2] == [0, 0]),
            "{tensor}"
        );
    }
}

#[test]
fn both_models_go_into_folders_of_their_own_and_equal_single_exports() {
    let both = temp();
    run!["--model", "both", fixture("trained"), both.path()].ok();
    for model in ["discriminator", "generator"] {
        let single = temp();
        run!["--model", model, fixture("trained"), single.path()].ok();
        for file in ["config.json", "model.safetensors"] {
            assert!(
                fs::read(both.path().join(model).join(file)).unwrap()
                    == fs::read(single.path().join(file)).unwrap(),
                "{model} {file}"
            );
        }
    }
}

#[test]
fn two_runs_give_the_same_bytes_wherever_they_run() {
    let (a, b) = (temp(), temp());
    run!["--model", "generator", fixture("tiny_default"), a.path()].ok();
    let prefix = fixture("tiny_default").join("model.ckpt-400");
    let mut elsewhere = testkit::command(&[&"--model", &"generator", &prefix, &b.path()]);
    elsewhere.current_dir("/").env_clear();
    assert!(elsewhere.output().unwrap().status.success());
    for file in ["config.json", "model.safetensors"] {
        assert!(fs::read(a.path().join(file)).unwrap() == fs::read(b.path().join(file)).unwrap());
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let exports = ["1", "2", "7"].map(|threads| {
        let out = temp();
        let checkpoint = fixture("trained");
        run![
            "--model",
            "generator",
            "--threads",
            threads,
            checkpoint,
            out.path()
        ]
        .ok();
        fs::read(out.path().join("model.safetensors")).unwrap()
    });
    assert!(exports[0] == exports[1] && exports[1] == exports[2]);
    run![
        "--model",
        "generator",
        "--threads",
        "0",
        fixture("trained"),
        temp().path()
    ]
    .fails(2, &["--threads"]);
}

#[test]
fn large_tensors_are_written_in_parts_and_checked_as_a_whole() {
    use testkit::bundle_writer::{SMALL, Sizes, discriminator};
    // Word embeddings of 18 MB, in parts of 8.
    let mut bundle = discriminator(Sizes {
        vocab: 150_001,
        embedding: 30,
        ..SMALL
    });
    let folder = temp();
    let (prefix, out) = (folder.path().join("m"), folder.path().join("out"));
    bundle.write(&prefix);
    run!["--model", "discriminator", prefix, out].ok();
    let words = &read_weights(&out)["electra.embeddings.word_embeddings.weight"].bytes;
    let start = usize::try_from(bundle.entry("electra/embeddings/word_embeddings").offset).unwrap();
    assert!(words[..] == bundle.data[start..start + words.len()]);

    for at in [0, words.len() / 2, words.len() - 1] {
        bundle.data[start + at] ^= 4;
        bundle.write(&prefix);
        bundle.data[start + at] ^= 4;
        // The index has the checksum of the sound bytes, and the earlier export stays.
        run![
            "--model",
            "discriminator",
            "--force",
            "--no-verify",
            prefix,
            out
        ]
        .fails(3, &["word_embeddings", "CRC-32C"]);
        assert!(read_weights(&out)["electra.embeddings.word_embeddings.weight"].bytes == *words);
    }
}

#[test]
fn the_header_is_laid_out_as_the_safetensors_crate_does() {
    let out = temp();
    run!["--model", "discriminator", fixture("trained"), out.path()].ok();
    let bytes = fs::read(out.path().join("model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let (header_len, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = metadata.metadata().clone().unwrap();
    assert_eq!(metadata["format"], "pt");
    assert_eq!(metadata["source"], "model.ckpt-6000");
    assert_eq!(metadata["step"], "6000");
    assert_eq!(metadata["model"], "discriminator");

    // One metadata entry, because the crate writes several in random order.
    let one = metadata
        .into_iter()
        .filter(|(key, _)| key == "format")
        .collect();
    let by_crate = safetensors::serialize(tensors.iter(), Some(one)).unwrap();
    let data = |bytes: &[u8], header: usize| bytes[8 + header..].to_vec();
    let (their_header, _) = safetensors::SafeTensors::read_metadata(&by_crate).unwrap();
    assert!(data(&bytes, header_len) == data(&by_crate, their_header));
    assert_eq!(header_len % 8, 0);
    // Behind the metadata the JSON is the same to the byte.
    let entries = |bytes: &[u8], header: usize| {
        let text = std::str::from_utf8(&bytes[8..8 + header]).unwrap();
        text.split_once("\"},").unwrap().1.trim_end().to_owned()
    };
    assert!(entries(&bytes, header_len) == entries(&by_crate, their_header));
}

#[test]
fn a_relu_generator_is_exported_only_on_request_and_says_so() {
    let out = temp();
    run!["--model", "generator", fixture("tiny_relu"), out.path()]
        .fails(4, &["relu", "gelu", "--allow-inexact"]);
    run!["--model", "both", fixture("tiny_relu"), out.path()].fails(4, &["--allow-inexact"]);
    let args = ["--model", "generator", "--allow-inexact", "--json"];
    let run = run![
        args[0],
        args[1],
        args[2],
        args[3],
        fixture("tiny_relu"),
        out.path()
    ]
    .ok();
    assert!(run.stderr.contains("warning"), "{}", run.stderr);
    let export = &run.json()["exports"][0];
    assert!(export["inexact"].as_str().unwrap().contains("relu"));
    assert_eq!(export["config"]["hidden_act"], "relu");
    let bytes = fs::read(out.path().join("model.safetensors")).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert!(metadata.metadata().as_ref().unwrap()["inexact"].contains("relu"));
}

#[test]
fn a_fine_tuned_checkpoint_exports_its_encoder() {
    let out = temp();
    let run = run!["--model", "discriminator", fixture("ft_chunk"), out.path()].ok();
    assert!(run.stderr.contains("only the encoder"), "{}", run.stderr);
    let config = read_json(&out.path().join("config.json"));
    assert_eq!(config["architectures"][0], "ElectraModel");
    let weights = read_weights(out.path());
    assert!(weights.keys().all(|name| name.starts_with("electra.")));
}

#[test]
fn the_report_accounts_for_every_variable() {
    for (name, model) in EXPORTS {
        let run = run![
            "--model",
            model,
            "--dry-run",
            "--json",
            fixture(name),
            "nowhere"
        ]
        .ok();
        let export = &run.json()["exports"][0];
        let left_out: u64 = export["left_out"]
            .as_array()
            .unwrap()
            .iter()
            .map(|group| group["variables"].as_u64().unwrap())
            .sum();
        let exported = export["tensors"].as_array().unwrap().len() as u64;
        let inspected = run!["inspect", fixture(name), "--json"].ok().json();
        let all = inspected["variables"].as_array().unwrap().len() as u64;
        assert_eq!(exported + left_out, all, "{name} {model}");
    }
}

#[test]
fn a_dry_run_prints_the_plan_and_writes_nothing() {
    let folder = temp();
    let out = folder.path().join("out");
    let run = run![
        "--model",
        "discriminator",
        "--dry-run",
        fixture("trained"),
        out
    ]
    .ok();
    assert!(
        run.stdout
            .contains("discriminator_predictions/dense_1/kernel")
    );
    assert!(
        run.stdout
            .contains("discriminator_predictions.dense_prediction.weight")
    );
    assert!(run.stdout.contains("transposed"));
    assert!(!Path::new(&out).exists());
}

#[test]
fn the_library_converts_too() {
    use electra_convert::{Conversion, ElectraCheckpoint, Model};
    let folder = temp();
    let out = folder.path().join("deep/er");
    let checkpoint = ElectraCheckpoint::open(fixture("tiny_tied")).unwrap();
    let conversion = Conversion::new(&checkpoint, Model::Generator);
    let exports = conversion.run(&out, &()).unwrap();
    assert_eq!(exports[0].plan.tensors.len(), read_weights(&out).len());
}
