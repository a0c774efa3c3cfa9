//! Fine-tuned checkpoints: the head of each kind of task, as the class that computes the same.

use std::fs;

use candle_core::{Device, IndexOp as _, Tensor};
use candle_electra::{
    Batch, ElectraForQuestionAnswering, ElectraForSequenceClassification,
    ElectraForTokenClassification, ElectraModel,
};
use electra_convert::export::{WeightsFile, read_config};
use electra_convert::{ElectraCheckpoint, Model, PlanOptions};
use tempfile::TempDir;

use testkit::bundle_writer::{Bundle, SMALL, discriminator};
use testkit::{
    Run, assert_close, fixture, raw_variable, read_json, read_weights, run, temp, transposed,
};

fn exported(name: &str, model: &str) -> TempDir {
    let out = temp();
    let heads = "--num-attention-heads=2";
    run!["--model", model, heads, fixture(name), out.path()].ok();
    out
}

/// The float32 numbers of a variable, and its shape.
fn variable(fixture_name: &str, name: &str) -> (Vec<f32>, Vec<usize>, Vec<u8>) {
    let folder = fixture(fixture_name);
    let listed = run!["inspect", folder, "--json"].ok().json();
    let mut variables = listed["variables"].as_array().unwrap().iter();
    let found = variables.find(|v| v["name"] == name).unwrap();
    let bytes = raw_variable(&folder, found);
    let floats = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b));
    let shape = serde_json::from_value(found["shape"].clone()).unwrap();
    (floats.collect(), shape, bytes)
}

#[test]
fn the_encoder_is_that_of_the_discriminator_and_the_head_is_added() {
    for (name, head) in [
        ("ft_chunk", &["classifier.bias", "classifier.weight"][..]),
        (
            "ft_sst",
            &[
                "classifier.dense.bias",
                "classifier.dense.weight",
                "classifier.out_proj.bias",
                "classifier.out_proj.weight",
            ],
        ),
        ("ft_squad_plain", &["qa_outputs.bias", "qa_outputs.weight"]),
    ] {
        let encoder = read_weights(exported(name, "discriminator").path());
        let model = read_weights(exported(name, "finetuned").path());
        for (tensor, expected) in &encoder {
            assert!(model[tensor].bytes == expected.bytes, "{name} {tensor}");
        }
        let added = model.keys().filter(|name| !encoder.contains_key(*name));
        assert!(added.eq(head), "{name}");
    }
}

#[test]
fn heads_that_have_a_class_of_their_own_are_exact() {
    let chunk = read_weights(exported("ft_chunk", "finetuned").path());
    let (_, shape, kernel) = variable("ft_chunk", "task_specific/chunk/dense/kernel");
    assert_eq!(chunk["classifier.weight"].shape, [6, 64]);
    assert!(chunk["classifier.weight"].bytes == transposed(&kernel, &shape));
    let (.., bias) = variable("ft_chunk", "task_specific/chunk/dense/bias");
    assert!(chunk["classifier.bias"].bytes == bias);

    let span = read_weights(exported("ft_squad_plain", "finetuned").path());
    let part =
        |layer: &str| variable("ft_squad_plain", &format!("task_specific/squadv1/{layer}")).2;
    assert_eq!(span["qa_outputs.weight"].shape, [2, 64]);
    let rows = [part("dense/kernel"), part("dense_1/kernel")].concat();
    assert!(span["qa_outputs.weight"].bytes == rows);
    let biases = [part("dense/bias"), part("dense_1/bias")].concat();
    assert!(span["qa_outputs.bias"].bytes == biases);

    let sst = read_weights(exported("ft_sst", "finetuned").path());
    let (_, shape, kernel) = variable("ft_sst", "task_specific/sst/dense/kernel");
    assert!(sst["classifier.out_proj.weight"].bytes == transposed(&kernel, &shape));
}

/// The dense layer of the original on each row of `hidden`.
fn dense(hidden: &Tensor, fixture_name: &str, layer: &str) -> Tensor {
    let (kernel, shape, _) = variable(fixture_name, &format!("{layer}/kernel"));
    let (bias, ..) = variable(fixture_name, &format!("{layer}/bias"));
    let kernel = Tensor::from_vec(kernel, &shape[..], &Device::Cpu).unwrap();
    let bias = Tensor::new(bias, &Device::Cpu).unwrap();
    hidden
        .broadcast_matmul(&kernel)
        .unwrap()
        .broadcast_add(&bias)
        .unwrap()
}

#[test]
fn logits_are_those_of_the_original_head() {
    let ids: Vec<u32> = (0..160_u32).map(|i| (i * i * 31 + i * 7) % 1200).collect();
    let ids = Tensor::from_vec(ids, (8, 20), &Device::Cpu).unwrap();
    let batch = Batch::new(&ids);
    let load = |out: &TempDir| {
        let config = read_config(&out.path().join("config.json")).unwrap();
        let weights = WeightsFile::open(&out.path().join("model.safetensors")).unwrap();
        let encoder = ElectraModel::load(weights.var_builder(), &config).unwrap();
        (
            config,
            weights.var_builder(),
            encoder.forward(&batch).unwrap(),
        )
    };

    let (config, vb, hidden) = load(&exported("ft_sst", "finetuned"));
    let model = ElectraForSequenceClassification::load(vb, &config).unwrap();
    let first = hidden.i((.., 0)).unwrap();
    let expected = dense(&first, "ft_sst", "task_specific/sst/dense");
    assert_close(&model.forward(&batch).unwrap(), &expected, 1e-4);

    let (config, vb, hidden) = load(&exported("ft_chunk", "finetuned"));
    let model = ElectraForTokenClassification::load(vb, &config).unwrap();
    let expected = dense(&hidden, "ft_chunk", "task_specific/chunk/dense");
    assert_close(&model.forward(&batch).unwrap(), &expected, 1e-5);

    let (config, vb, hidden) = load(&exported("ft_squad_plain", "finetuned"));
    let model = ElectraForQuestionAnswering::load(vb, &config).unwrap();
    let span = model.forward(&batch).unwrap();
    for (found, layer) in [(span.start, "dense"), (span.end, "dense_1")] {
        let layer = format!("task_specific/squadv1/{layer}");
        let expected = dense(&hidden, "ft_squad_plain", &layer).squeeze(2).unwrap();
        assert_close(&found, &expected, 1e-5);
    }
}

#[test]
fn labels_go_into_the_configuration() {
    let config = |name: &str, options: &[&str]| {
        let out = temp();
        let mut command = testkit::command(&[&"--model", &"finetuned"]);
        command.args(options).arg(fixture(name)).arg(out.path());
        Run::from(command.output().unwrap()).ok();
        read_json(&out.path().join("config.json"))
    };
    let sst = config("ft_sst", &["--labels", "negative,positive"]);
    assert_eq!(
        sst["id2label"],
        serde_json::json!({"0": "negative", "1": "positive"})
    );
    assert_eq!(
        sst["label2id"],
        serde_json::json!({"negative": 0, "positive": 1})
    );
    assert_eq!(sst["num_labels"], 2);
    assert_eq!(sst["problem_type"], "single_label_classification");
    let chunk = config("ft_chunk", &[]);
    assert_eq!(chunk["id2label"]["5"], "LABEL_5");
    assert_eq!(chunk["architectures"][0], "ElectraForTokenClassification");
    assert!(chunk.get("problem_type").is_none());
    let span = config("ft_squad_plain", &[]);
    assert!(span.get("id2label").is_none());

    let out = temp();
    for (name, labels, words) in [
        ("ft_sst", "a,b,c", &["a,b,c", "sst has 2"][..]),
        ("ft_sst", "a,a", &["all different"]),
        ("ft_squad_plain", "a,b", &["squadv1 has 0"]),
    ] {
        run![
            "--model",
            "finetuned",
            "--labels",
            labels,
            fixture(name),
            out.path()
        ]
        .fails(4, words);
    }
}

#[test]
fn what_no_class_computes_is_refused_and_the_encoder_offered() {
    let out = temp();
    run!["--model", "finetuned", fixture("ft_squadv1"), out.path()].fails(
        4,
        &[
            "squadv1",
            "qa_hidden",
            "ElectraForQuestionAnswering",
            "--model discriminator",
        ],
    );
    run!["--model", "finetuned", fixture("tiny_tied"), out.path()].fails(
        4,
        &[
            "no fine-tuned model",
            "head of a task",
            "--model discriminator",
        ],
    );
    run![
        "--model",
        "finetuned",
        "--dtype",
        "bf16",
        fixture("ft_sst"),
        out.path()
    ]
    .fails(4, &["sst", "bfloat16", "--dtype f32"]);
    run![
        "--model",
        "finetuned",
        "--dtype",
        "f16",
        fixture("ft_chunk"),
        out.path()
    ]
    .ok();
}

#[test]
fn a_head_is_verified_like_everything_else() {
    let out = exported("ft_sst", "finetuned");
    let source = fixture("ft_sst");
    let report = run!["verify", out.path(), "--source", source, "--json"]
        .ok()
        .json();
    assert_eq!(report["checksums"]["against_index"], 40);
    assert_eq!(report["checksums"]["computed"], 3);
    assert_eq!(report["architecture"], "ElectraForSequenceClassification");
    assert!(report["task"]["deviation"].as_f64().unwrap() < 1e-4);
    let alone = run!["verify", out.path(), "--json"].ok().json();
    assert_eq!(alone["checksums"]["against_recorded"], 43);

    // A bias that is off in its last bits is seen in its bytes, one that is far off in the logits.
    let path = out.path().join("model.safetensors");
    let sound = fs::read(&path).unwrap();
    let metadata = safetensors::SafeTensors::read_metadata(&sound).unwrap();
    let header = metadata.0 + 8;
    let info = metadata.1.info("classifier.out_proj.bias").unwrap();
    let at = header + info.data_offsets.0;
    for (byte, words) in [
        (at, &["classifier.out_proj.bias", "element 0"][..]),
        (at + 3, &["classifier.out_proj.bias", "logits of task sst"]),
    ] {
        let mut bytes = sound.clone();
        bytes[byte] ^= 1;
        fs::write(&path, bytes).unwrap();
        let run = run!["verify", out.path(), "--source", source];
        assert_eq!(run.code, Some(5));
        for word in words {
            assert!(run.stdout.contains(word), "no {word:?} in {}", run.stdout);
        }
        run!["verify", out.path()].fails(5, &["classifier.out_proj.bias"]);
    }
}

/// A fine-tuned encoder with a dense layer of `labels` outputs for each of these.
fn fine_tuned(layers: &[&str], labels: i64) -> Bundle {
    let mut bundle = discriminator(SMALL);
    for layer in ["dense", "dense_1"] {
        for part in ["kernel", "bias"] {
            bundle.remove(&format!("discriminator_predictions/{layer}/{part}"));
        }
    }
    for layer in layers {
        bundle.add_floats(
            &format!("task_specific/{layer}/kernel"),
            &[SMALL.hidden, labels],
        );
        bundle.add_floats(&format!("task_specific/{layer}/bias"), &[labels]);
    }
    bundle
}

fn export(bundle: &Bundle, options: &[&str]) -> (TempDir, Run) {
    let folder = temp();
    bundle.write(&folder.path().join("m"));
    let mut command = testkit::command(&[&"--model", &"finetuned", &"--vocab", &"none"]);
    command.args(options).arg(folder.path().join("m"));
    command.arg(folder.path().join("out"));
    let run = Run::from(command.output().unwrap());
    (folder, run)
}

fn class(folder: &TempDir) -> String {
    let config = read_json(&folder.path().join("out/config.json"));
    config["architectures"][0].as_str().unwrap().to_owned()
}

#[test]
fn of_several_tasks_one_is_named() {
    let bundle = fine_tuned(&["chunk/dense", "mnli/dense"], 3);
    let (folder, run) = export(&bundle, &[]);
    run.fails(4, &["chunk, mnli", "--task"]);
    run!["inspect", folder.path()].ok();
    let inspected = run!["inspect", folder.path(), "--json"].ok().json();
    let command = inspected["models"][3]["command"].as_str().unwrap();
    assert!(
        command.contains("--model finetuned --task mnli"),
        "{command}"
    );
    export(&bundle, &["--task", "sst"])
        .1
        .fails(4, &["sst", "chunk, mnli"]);
    for (task, expected) in [
        ("chunk", "ElectraForTokenClassification"),
        ("mnli", "ElectraForSequenceClassification"),
    ] {
        let (folder, run) = export(&bundle, &["--task", task]);
        assert!(run.ok().stdout.contains("fine-tuning head"));
        assert_eq!(class(&folder), expected);
        let (out, source) = (folder.path().join("out"), folder.path().join("m"));
        run!["verify", out, "--source", source].ok();
    }
}

#[test]
fn the_kind_of_an_unknown_task_is_stated() {
    let bundle = fine_tuned(&["intents/dense"], 5);
    export(&bundle, &[])
        .1
        .fails(4, &["intents", "--task-kind tagging"]);
    for (kind, expected) in [
        ("tagging", "ElectraForTokenClassification"),
        ("classification", "ElectraForSequenceClassification"),
    ] {
        let (folder, run) = export(&bundle, &["--task-kind", kind]);
        run.ok();
        assert_eq!(class(&folder), expected);
    }
}

#[test]
fn two_dense_layers_are_a_span_only_where_something_shows_it() {
    let bundle = fine_tuned(&["ratings/dense", "ratings/dense_1"], 1);
    export(&bundle, &[])
        .1
        .fails(4, &["ratings", "--task-kind span"]);
    export(&bundle, &["--task-kind", "tagging"])
        .1
        .fails(4, &["two dense layers", "tagging"]);
    let (folder, run) = export(&bundle, &["--task-kind", "span"]);
    run.ok();
    assert_eq!(class(&folder), "ElectraForQuestionAnswering");
    let (out, source) = (folder.path().join("out"), folder.path().join("m"));
    run!["verify", out, "--source", source].ok();
}

#[test]
fn odd_heads_are_told_apart() {
    let (folder, run) = export(&fine_tuned(&["sts/dense"], 1), &[]);
    run.ok();
    let config = read_json(&folder.path().join("out/config.json"));
    assert_eq!(config["problem_type"], "regression");
    assert_eq!(config["num_labels"], 1);

    let layers = ["squad/dense", "squad/dense_1", "squad/dense_2"];
    let (folder, run) = export(&fine_tuned(&layers, 1), &[]);
    let run = run.ok();
    assert_eq!(class(&folder), "ElectraForQuestionAnswering");
    assert!(
        run.stderr.contains("whether there is an answer"),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains("squad/dense_2/kernel"),
        "{}",
        run.stderr
    );

    let wrong = fine_tuned(&["squad/dense", "squad/dense_1"], 3);
    export(&wrong, &[])
        .1
        .fails(4, &["squad/dense", "[64, 3]", "[64, 1]"]);
    let other = fine_tuned(&["chunk/dense", "chunk/crf"], 3);
    export(&other, &[])
        .1
        .fails(4, &["no Hugging Face class", "chunk/crf/kernel"]);
    for layers in [
        &["chunk/dense"][..],
        &["sst/dense"],
        &["squad/dense", "squad/dense_1"],
    ] {
        let run = export(&fine_tuned(layers, 0), &[]).1;
        run.fails(4, &["dense/bias", "[0]", "an element for each label"]);
    }
    let named = fine_tuned(&["chunk/logits"], 3);
    export(&named, &[])
        .1
        .fails(4, &["no layer `dense`", "chunk/logits/kernel"]);
    let mut narrow = fine_tuned(&["chunk/dense"], 3);
    narrow.remove("task_specific/chunk/dense/kernel");
    narrow.add_floats("task_specific/chunk/dense/kernel", &[8, 3]);
    export(&narrow, &[])
        .1
        .fails(4, &["chunk/dense/kernel", "[8, 3]", "[64, 3]"]);
}

#[test]
fn without_a_model_the_choice_is_between_encoder_and_task() {
    let run = run![fixture("ft_sst"), temp().path()]
        .fails(2, &["--model discriminator", "--model finetuned"]);
    assert!(!run.stderr.contains("both"), "{}", run.stderr);
}

#[test]
fn a_plan_names_every_variable_of_a_head() {
    let source = ElectraCheckpoint::open(fixture("ft_sst")).unwrap();
    let plan = source
        .plan(Model::FineTuned, &PlanOptions::default())
        .unwrap();
    let bias = plan
        .tensors
        .iter()
        .find(|t| t.name == "classifier.out_proj.bias");
    assert_eq!(
        bias.unwrap().variable_names(),
        "task_specific/sst/dense/bias and task_specific/sst/dense/kernel and \
         electra/encoder/layer_1/output/LayerNorm/gamma and \
         electra/encoder/layer_1/output/LayerNorm/beta"
    );
}
