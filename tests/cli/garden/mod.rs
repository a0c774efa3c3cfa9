//! Checkpoints of TensorFlow's Model Garden: object paths in both spellings, an axis for the heads, and
//! outputs of the original models.

mod lists;
mod made;
mod params;
mod saved_model;

use serde_json::Value;
use testkit::bundle_writer::{Bundle, SMALL, Sizes};
use testkit::{
    export, export_again, export_bundle, fixture, read_json, read_weights, run, temp, transposed,
};

use crate::objects::SUFFIX;
use made::{Made, Spelling};

/// Fixture, model, class, number of attention heads.
const MODELS: &[(&str, &str, &str, usize)] = &[
    ("garden_tied", "discriminator", "ElectraForPreTraining", 4),
    ("garden_tied", "generator", "ElectraForMaskedLM", 3),
    ("garden_untied", "discriminator", "ElectraForPreTraining", 4),
    ("garden_untied", "generator", "ElectraForMaskedLM", 2),
    ("garden_encoder", "discriminator", "ElectraModel", 8),
    ("garden_tagging", "discriminator", "ElectraModel", 2),
    (
        "garden_tagging",
        "finetuned",
        "ElectraForTokenClassification",
        2,
    ),
];

/// 4 heads, where hidden size / 64 is 1.
const HEADS: i64 = 4;
const WITHOUT_PROJECTION: Sizes = Sizes {
    embedding: SMALL.hidden,
    ..SMALL
};

#[test]
fn outputs_are_those_of_the_original_models() {
    for (name, model, class, heads) in MODELS {
        let out = temp();
        let is_generator = *model == "generator";
        let options = if is_generator {
            &["--allow-inexact"][..]
        } else {
            &[]
        };
        export(fixture(name))
            .model(model)
            .args(options)
            .to(out.path())
            .run()
            .ok();
        let config = read_json(&out.path().join("config.json"));
        assert_eq!(config["architectures"][0], *class, "{name}");
        assert_eq!(config["num_attention_heads"], *heads, "{name}");
        assert_eq!(config["hidden_act"], "gelu_new");
        assert_eq!(config["layer_norm_eps"], 1e-12);
        run!["verify", out.path(), "--source", fixture(name)].ok();

        // The head of a generator applies the tanh approximation, ElectraForMaskedLM exact gelu.
        let tolerance = if is_generator { "2e-3" } else { "2e-5" };
        let golden = fixture(name).join("golden.safetensors");
        let verify = [
            "--golden",
            golden.to_str().unwrap(),
            "--tolerance",
            tolerance,
            "--json",
        ];
        let mut command = testkit::command(&[&"verify", &out.path()]);
        let run = testkit::Run::from(command.args(verify).output().unwrap()).ok();
        let outputs = run.json()["golden"]["outputs"].clone();
        let outputs = outputs.as_array().unwrap();
        assert!(outputs.len() >= 2, "{name} {model}: {outputs:?}");
        for output in outputs {
            let is_inexact = output["name"] == "gen_logits";
            let deviation = output["deviation"].as_f64().unwrap();
            assert!(is_inexact || deviation < 2e-5, "{name} {model}: {output}");
        }
    }
}

#[test]
fn every_variable_of_the_fixtures_has_a_role() {
    for (name, setup, step) in [
        ("garden_tied", "shared_word_embeddings", Some(300)),
        ("garden_untied", "untied_generator_embeddings", Some(500)),
        ("garden_encoder", "encoder", None),
        ("garden_tagging", "fine_tuned", Some(60)),
    ] {
        let run = run!["inspect", fixture(name), "--json"].ok().json();
        assert_eq!(run["checkpoint"]["setup"], setup, "{name}");
        assert_eq!(run["checkpoint"]["step"].as_i64(), step, "{name}");
        let variables = run["variables"].as_array().unwrap();
        let count = |role: &str| variables.iter().filter(|v| v["role"] == role).count();
        assert_eq!(count("unknown"), 0, "{name}");
        let is_pre_trained = setup.contains("embeddings");
        assert_eq!(
            count("pooler"),
            if is_pre_trained { 4 } else { 2 },
            "{name}"
        );
        assert_eq!(count("sentence_head"), if is_pre_trained { 4 } else { 0 });
    }
    let run = export(fixture("garden_tied"))
        .model("discriminator")
        .run()
        .ok();
    run.stdout_has(&[
        "pooler (4 variables)",
        "next-sentence head (4 variables)",
        "the shape of encoder/layer_with_weights-5/_attention_layer/",
        "the default of Model Garden's code",
    ]);
    let warning = "does not show the settings hidden_activation, norm_first";
    assert!(run.stderr.contains(warning), "{}", run.stderr);
    assert!(!run.stderr.contains("BERT"), "{}", run.stderr);
    let run = export(fixture("garden_encoder"))
        .model("discriminator")
        .run()
        .ok();
    assert!(
        run.stderr.contains("as an ELECTRA or as a BERT"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_generator_is_refused_unless_it_may_be_inexact() {
    for name in ["garden_tied", "garden_untied"] {
        let run = export(fixture(name)).model("generator").run();
        run.fails(
            4,
            &["applies gelu_new", "--allow-inexact", "less than 0.002"],
        );
    }
}

/// The weights of an export, and its configuration without the sources.
fn exported(folder: &tempfile::TempDir) -> (Vec<(String, Vec<u8>)>, Value) {
    let out = folder.path().join("out");
    let weights = read_weights(&out).into_iter();
    let weights = weights.map(|(name, tensor)| (name, tensor.bytes)).collect();
    (weights, read_json(&out.join("config.json")))
}

#[test]
fn exports_are_those_of_the_same_weights_under_the_original_names() {
    let heads = HEADS.to_string();
    let original = [
        "--num-attention-heads",
        &heads,
        "--hidden-act",
        "gelu_new",
        "--allow-inexact",
    ];
    for sizes in [SMALL, WITHOUT_PROJECTION] {
        for tied in [true, false] {
            let made = Made::pre_trained(sizes, HEADS, tied);
            for model in ["discriminator", "generator"] {
                let (plain, run) = export_bundle(&made.original(), model, &original);
                run.ok();
                let expected = exported(&plain);
                for spelling in Spelling::ALL {
                    for saved in made::SAVED {
                        let bundle = made.garden(spelling, saved);
                        let (folder, run) = export_bundle(&bundle, model, &["--allow-inexact"]);
                        run.ok();
                        assert!(
                            exported(&folder) == expected,
                            "{model} {spelling:?} {saved:?}"
                        );
                        let source = folder.path().join("m");
                        run!["verify", folder.path().join("out"), "--source", source].ok();
                    }
                }
            }
        }
    }
}

#[test]
fn rounded_exports_are_those_of_the_original_names() {
    let heads = HEADS.to_string();
    let made = Made::pre_trained(SMALL, HEADS, false);
    for dtype in ["bf16", "f16"] {
        let original = [
            "--num-attention-heads",
            &heads,
            "--hidden-act",
            "gelu_new",
            "--dtype",
            dtype,
        ];
        let (plain, run) = export_bundle(&made.original(), "discriminator", &original);
        run.ok();
        let bundle = made.garden(Spelling::Numbered, made::SAVED[0]);
        let (folder, run) = export_bundle(&bundle, "discriminator", &["--dtype", dtype]);
        run.ok();
        assert!(exported(&folder) == exported(&plain), "{dtype}");
        run!["verify", folder.path().join("out")].ok();
        run![
            "verify",
            folder.path().join("out"),
            "--source",
            folder.path().join("m")
        ]
        .ok();
    }
}

#[test]
fn the_head_count_is_in_the_shapes() {
    let made = Made::pre_trained(SMALL, HEADS, true);
    let bundle = made.garden(Spelling::Numbered, made::SAVED[0]);
    let (folder, run) = export_bundle(&bundle, "discriminator", &["--json"]);
    let source = run.ok().json()["exports"][0]["config_sources"]["num_attention_heads"].clone();
    assert_eq!(source["kind"], "shape");
    let detail = source["detail"].as_str().unwrap();
    assert!(
        detail.contains("encoder/layer_with_weights-5/_attention_layer/"),
        "{detail}"
    );
    assert_eq!(source["note"], "hidden size / 64 would be 1");

    let options = ["--num-attention-heads", "4", "--json"];
    let run = export_again(&folder, "discriminator", &options).ok();
    let source = run.json()["exports"][0]["config_sources"]["num_attention_heads"].clone();
    assert_eq!(
        (&source["kind"], &source["agreed"][0]["kind"]),
        (&"shape".into(), &"option".into())
    );

    let words = [
        "num_attention_heads is 4",
        "_attention_layer/",
        "--num-attention-heads",
    ];
    let options = ["--num-attention-heads", "8"];
    export_again(&folder, "discriminator", &options).fails(4, &words);
    let config = folder.path().join("config.json");
    std::fs::write(&config, r#"{"num_attention_heads": 2}"#).unwrap();
    let options = ["--config", config.to_str().unwrap()];
    let words = [
        "num_attention_heads is 4",
        "_attention_layer/",
        "but 2",
        "config.json",
    ];
    export_again(&folder, "discriminator", &options).fails(4, &words);
}

#[test]
fn given_settings_replace_the_defaults_of_the_code() {
    let out = temp();
    let options = ["--hidden-act", "relu", "--layer-norm-eps", "1e-6", "--json"];
    let run = export(fixture("garden_tied"))
        .model("discriminator")
        .args(options)
        .to(out.path())
        .run();
    let sources = run.ok().json()["exports"][0]["config_sources"].clone();
    assert_eq!(sources["hidden_act"]["kind"], "option");
    let config = read_json(&out.path().join("config.json"));
    assert_eq!(
        (&config["hidden_act"], &config["layer_norm_eps"]),
        (&"relu".into(), &1e-6.into())
    );
    let run = export(fixture("garden_tied"))
        .model("discriminator")
        .args(["--dry-run", "--json"])
        .run();
    let sources = run.ok().json()["exports"][0]["config_sources"].clone();
    assert_eq!(sources["hidden_act"]["kind"], "model_garden");
    assert_eq!(sources["layer_norm_eps"]["kind"], "model_garden");
}

/// Damaged or foreign shapes of one variable: the end of its path, the shape, words of the error.
type Damage = (&'static str, &'static [i64], &'static [&'static str]);

const DAMAGES: &[Damage] = &[
    (
        "-5/_attention_layer/_query_dense/kernel",
        &[64, 4, 4, 4],
        &[
            "_query_dense/kernel",
            "[64, 4, 4, 4]",
            "[hidden_size, num_attention_heads, head size]",
        ],
    ),
    (
        "-5/_attention_layer/_key_dense/kernel",
        &[64, 64],
        &[
            "_key_dense/kernel",
            "[64, 64]",
            "[hidden_size, num_attention_heads, head size]",
        ],
    ),
    (
        "-5/_attention_layer/_output_dense/kernel",
        &[4, 1024],
        &[
            "_output_dense/kernel",
            "[4, 1024]",
            "[num_attention_heads, head size, hidden_size]",
        ],
    ),
    (
        "-6/_attention_layer/_value_dense/bias",
        &[64],
        &[
            "_value_dense/bias",
            "[64]",
            "[num_attention_heads, head size]",
        ],
    ),
    (
        "-5/_attention_layer/_query_dense/kernel",
        &[64, 4, 8],
        &["hidden_size", "32", "_query_dense/kernel"],
    ),
    (
        "-6/_attention_layer/_query_dense/kernel",
        &[64, 8, 8],
        &["num_attention_heads is 4", "but 8", "-6/"],
    ),
    (
        "-6/_attention_layer/_output_dense/kernel",
        &[2, 32, 64],
        &["num_attention_heads", "2", "4"],
    ),
    (
        "-5/_attention_layer/_key_dense/bias",
        &[0, 16],
        &["_key_dense/bias", "0"],
    ),
    (
        "encoder/layer_with_weights-5/_intermediate_dense/kernel",
        &[64, 4, 6],
        &[
            "_intermediate_dense/kernel",
            "[hidden_size, intermediate_size]",
        ],
    ),
];

#[test]
fn shapes_that_contradict_each_other_are_errors() {
    let made = Made::pre_trained(SMALL, HEADS, false);
    for (end, shape, words) in DAMAGES {
        let mut bundle = made.garden(Spelling::Numbered, made::SAVED[0]);
        let end = end.replace("encoder/", "");
        made::reshape(&mut bundle, "encoder/", &end, shape);
        let (_, run) = export_bundle(&bundle, "discriminator", &[]);
        run.fails(4, words);
    }
    // Word embeddings that cannot be those of both models.
    let made = Made::pre_trained(SMALL, HEADS, true);
    let mut bundle = made.garden(Spelling::Numbered, made::SAVED[0]);
    made::reshape(&mut bundle, "encoder/", "-0/embeddings", &[40, 6]);
    for model in ["discriminator", "generator"] {
        let (_, run) = export_bundle(&bundle, model, &["--allow-inexact"]);
        run.fails(4, &["embedding_size", "word_embeddings/embeddings"]);
    }
}

#[test]
fn other_models_are_not_taken_for_an_electra() {
    let encoder = || Made::encoder(SMALL, HEADS);
    // The only block of an ALBERT has no number.
    let single = Sizes { layers: 1, ..SMALL };
    let mut albert = Made::encoder(single, HEADS);
    albert.rename_full("transformer/layer_0/", "transformer/");
    for model in ["discriminator", "finetuned"] {
        let bundle = albert.garden(Spelling::Numbered, made::SAVED[0]);
        let (_, run) = export_bundle(&bundle, model, &[]);
        run.fails(
            4,
            &["ALBERT", "layer_with_weights-5/", "transformer/layer_0"],
        );
    }
    // A masked language model without a discriminator.
    let mut bert = encoder();
    bert.add_masked_lm();
    let (_, run) = export_bundle(
        &bert.garden(Spelling::Named, made::SAVED[0]),
        "generator",
        &[],
    );
    run.fails(4, &["BERT", "masked_lm/"]);
    // Encoders whose paths do not show which is which.
    let mut two = encoder().garden(
        Spelling::Numbered,
        made::Saved {
            discriminator: "a",
            ..made::SAVED[0]
        },
    );
    // The full names of the third layer are its own.
    let deeper = Sizes { layers: 3, ..SMALL };
    let other = Made::encoder(deeper, HEADS).garden(
        Spelling::Numbered,
        made::Saved {
            discriminator: "b",
            ..made::SAVED[0]
        },
    );
    made::append(&mut two, &other);
    let (folder, run) = export_bundle(&two, "discriminator", &[]);
    run.fails(4, &["2 ELECTRA encoders", "a, b", "--rename"]);
    let rename = ["--rename", "^b/=encoder/"];
    export_again(&folder, "discriminator", &rename).fails(4, &["a/layer_with_weights-"]);
    let options = [rename[0], rename[1], "--allow-unknown"];
    export_again(&folder, "discriminator", &options).ok();
    let config = read_json(&folder.path().join("out/config.json"));
    assert_eq!(config["num_hidden_layers"], 3);

    // Variables that no encoder of this kind has.
    for (path, words) in [
        (
            "encoder/layer_with_weights-5/_adapter/kernel",
            &["not part of any ELECTRA", "_adapter"][..],
        ),
        (
            "encoder/layer_with_weights-9/kernel",
            &["not part of any ELECTRA", "layer_with_weights-9"],
        ),
        (
            "model/layer_with_weights-1/out_proj/kernel",
            &["head is of other code", "--allow-unknown"],
        ),
    ] {
        let mut bundle = encoder().garden(Spelling::Numbered, made::SAVED[0]);
        made::add(&mut bundle, path, "", &[64, 3]);
        let (folder, run) = export_bundle(&bundle, "discriminator", &[]);
        run.fails(4, words);
        export_again(&folder, "discriminator", &["--allow-unknown"]).ok();
    }
    // A layer that is missing.
    let mut gap = encoder().garden(Spelling::Named, made::SAVED[0]);
    gap.entries
        .retain(|entry| !String::from_utf8_lossy(&entry.name).contains("_transformer_layers/0/"));
    export_bundle(&gap, "discriminator", &[])
        .1
        .fails(4, &["missing"]);
}

#[test]
fn numbered_variables_of_a_saved_model_are_refused() {
    for prefix in ["", "model/"] {
        let mut bundle = Made::encoder(SMALL, HEADS).garden(Spelling::Named, made::SAVED[0]);
        bundle
            .entries
            .retain(|entry| entry.name == crate::objects::GRAPH.as_bytes());
        for (number, name, shape) in [
            (0, "word_embeddings/embeddings", &[40, 8][..]),
            (
                7,
                "transformer/layer_0/self_attention/query/kernel",
                &[64, 4, 16],
            ),
            (17, "transformer/layer_0/intermediate/kernel", &[64, 24]),
        ] {
            let path = format!("{prefix}variables/{number}");
            made::add(
                &mut bundle,
                &path,
                &format!("bert_encoder_v2/{name}"),
                shape,
            );
        }
        let (_, run) = export_bundle(&bundle, "discriminator", &[]);
        let variable = format!("{prefix}variables/7/.ATTRIBUTES");
        let words = ["SavedModel", "Model Garden", &*variable, "ckpt-N.index"];
        run.fails(4, &words);
    }
}

#[test]
fn heads_of_fine_tuning_are_exported_if_a_class_has_them() {
    let made = Made::encoder(SMALL, HEADS);
    for (path, labels, class) in [
        (
            "model/layer_with_weights-1",
            5,
            "ElectraForTokenClassification",
        ),
        (
            "model/layer_with_weights-1/layer_with_weights-0",
            2,
            "ElectraForQuestionAnswering",
        ),
    ] {
        for spelling in Spelling::ALL {
            let mut bundle = made.garden(spelling, made::SAVED[0]);
            let full = "predictions/transform/logits";
            made::add(
                &mut bundle,
                &format!("{path}/kernel"),
                &format!("{full}/kernel"),
                &[64, labels],
            );
            made::add(
                &mut bundle,
                &format!("{path}/bias"),
                &format!("{full}/bias"),
                &[labels],
            );
            let (folder, run) = export_bundle(&bundle, "finetuned", &[]);
            let run = run.ok();
            assert!(!run.stderr.contains("--task-kind"), "{}", run.stderr);
            let config = read_json(&folder.path().join("out/config.json"));
            assert_eq!(config["architectures"][0], class);
            let source = folder.path().join("m");
            run!["verify", folder.path().join("out"), "--source", source].ok();
        }
    }
}

#[test]
fn moving_averages_are_exported_on_request() {
    let made = Made::pre_trained(SMALL, HEADS, true);
    let mut bundle = made.garden(Spelling::Numbered, made::SAVED[0]);
    let keys: Vec<(String, Vec<i64>)> = bundle
        .entries
        .iter()
        .map(|entry| {
            (
                String::from_utf8(entry.name.clone()).unwrap(),
                entry.shape.clone(),
            )
        })
        .filter_map(|(key, shape)| Some((key.strip_suffix(SUFFIX)?.to_owned(), shape)))
        .collect();
    let slot = |path: &str| format!("{path}/.OPTIMIZER_SLOT/optimizer/average");
    for (path, shape) in &keys {
        made::add(&mut bundle, &slot(path), "", shape);
    }
    let (folder, run) = export_bundle(&bundle, "discriminator", &[]);
    let run = run.ok();
    assert!(run.stderr.contains("--weights average"), "{}", run.stderr);
    for model in ["discriminator", "generator"] {
        let options = ["--weights", "average", "--allow-inexact"];
        export_again(&folder, model, &options).ok();
        let out = folder.path().join("out");
        run!["verify", out, "--source", folder.path().join("m")].ok();
        let encoder = if model == "generator" {
            "model/generator_network"
        } else {
            "encoder"
        };
        let weights = read_weights(&out);
        for (path, shape, tensor) in [
            (
                "encoder/layer_with_weights-0/embeddings",
                [40, 8],
                "embeddings.word_embeddings.weight",
            ),
            (
                "-6/_attention_layer/_query_dense/kernel",
                [64, 64],
                "encoder.layer.1.attention.self.query.weight",
            ),
        ] {
            let path = path.replace("-6/", &format!("{encoder}/layer_with_weights-6/"));
            let mut plain = Bundle::default();
            plain.add_floats(&slot(&path), &shape.map(|n| i64::try_from(n).unwrap()));
            let is_kernel = path.ends_with("kernel");
            let expected = if is_kernel {
                transposed(&plain.data, &shape)
            } else {
                plain.data
            };
            assert!(
                weights[&format!("electra.{tensor}")].bytes == expected,
                "{model} {tensor}"
            );
        }
    }
}
