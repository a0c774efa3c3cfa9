//! Which variables are weights, and of which model: the state of training runs, averages, heads that are
//! missing, left over or of other code.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use testkit::bundle_writer::{Bundle, FLOAT32, Field, INT32, SMALL, discriminator, message};
use testkit::{export_again, export_bundle, fixture, read_json, read_weights, run};

const INT64: u64 = 9;

fn class(folder: &TempDir) -> String {
    let config = read_json(&folder.path().join("out/config.json"));
    config["architectures"][0].as_str().unwrap().to_owned()
}

fn names(bundle: &Bundle) -> Vec<(String, Vec<i64>)> {
    let entries = bundle.entries.iter();
    entries
        .map(|e| (String::from_utf8(e.name.clone()).unwrap(), e.shape.clone()))
        .collect()
}

fn without_head(mut bundle: Bundle) -> Bundle {
    bundle
        .entries
        .retain(|e| !e.name.starts_with(b"discriminator_predictions/"));
    bundle
}

/// A discriminator with the head of a task instead of its own.
fn fine_tuned(task: &str, labels: i64) -> Bundle {
    let mut bundle = without_head(discriminator(SMALL));
    let scope = format!("task_specific/{task}/dense");
    bundle.add_floats(&format!("{scope}/kernel"), &[SMALL.hidden, labels]);
    bundle.add_floats(&format!("{scope}/bias"), &[labels]);
    bundle
}

/// The whole of a generator beside a discriminator.
fn add_generator(bundle: &mut Bundle) {
    for (name, shape) in names(&discriminator(SMALL)) {
        if let Some(rest) = name.strip_prefix("electra/")
            && !rest.starts_with("embeddings/")
        {
            bundle.add_floats(&format!("generator/{rest}"), &shape);
        }
    }
    add_generator_head(bundle);
}

fn add_generator_head(bundle: &mut Bundle) {
    let (e, h) = (SMALL.embedding, SMALL.hidden);
    for (name, shape) in [
        ("dense/kernel", &[h, e][..]),
        ("dense/bias", &[e]),
        ("LayerNorm/gamma", &[e]),
        ("LayerNorm/beta", &[e]),
        ("output_bias", &[SMALL.vocab]),
    ] {
        bundle.add_floats(&format!("generator_predictions/{name}"), shape);
    }
}

fn roles(folder: &TempDir) -> Vec<(String, String)> {
    let listed = run!["inspect", folder.path(), "--json"].ok().json();
    let text = |v: &Value, key: &str| v[key].as_str().unwrap().to_owned();
    let variables = listed["variables"].as_array().unwrap().iter();
    variables
        .map(|v| (text(v, "name"), text(v, "role")))
        .collect()
}

/// What an optimizer adds to every variable `X`, and what else it keeps.
const OPTIMIZERS: &[(&[&str], &[&str])] = &[
    (&["X/adam_m", "X/adam_v"], &[]),
    (&["X/Adam", "X/Adam_1"], &["beta1_power", "beta2_power"]),
    (
        &["train/X/Adam", "train/X/Adam_1"],
        &["train/beta1_power", "train/beta2_power"],
    ),
    (&["X/MyAdam", "X/MyAdam_1"], &["beta1_power_1"]),
    (
        &["X/lamb_m", "X/lamb_v", "X/accum"],
        &["local_step", "loss_scale", "good_steps"],
    ),
    (&["X/adafactor_vr", "X/adafactor_vc"], &[]),
    (&["X/Momentum"], &["learning_rate"]),
    (&["X/RMSProp", "X/RMSProp_1", "X/RMSProp_2"], &[]),
    (
        &["X/Adagrad"],
        &["current_loss_scale", "current_step", "num_tokens"],
    ),
    (&["X/Adadelta", "X/Adadelta_1"], &[]),
    (&["X/Ftrl", "X/Ftrl_1"], &[]),
    (&["X/LARSOptimizer", "X/grad_accum"], &[]),
    (&["Adam/m/X", "Adam/v/X"], &["iteration", "learning_rate"]),
    (
        &["Adam/X/m", "Adam/X/v", "Adam/X/vhat"],
        &["Adam/iter", "Adam/beta_1", "Adam/decay"],
    ),
    (&["training/Adam/X/m"], &["training/Adam/epsilon"]),
    (&["Lookahead/X/slow", "SGD/X/momentum"], &["SGD/iter"]),
];

#[test]
fn any_optimizers_state_is_left_out_of_encoder_heads_and_task_heads() {
    for (model, weights) in [
        ("discriminator", discriminator(SMALL)),
        ("finetuned", fine_tuned("sst", 3)),
    ] {
        let expected = {
            let (folder, run) = export_bundle(&weights, model, &[]);
            run.ok();
            read_weights(&folder.path().join("out"))
        };
        for (slots, scalars) in OPTIMIZERS {
            let mut bundle = weights.clone();
            for (name, shape) in names(&weights) {
                for slot in *slots {
                    bundle.add_floats(&slot.replace('X', &name), &shape);
                }
            }
            for scalar in *scalars {
                bundle.add_floats(scalar, &[]);
            }
            bundle.add("global_step", INT64, &[], &7_i64.to_le_bytes());
            bundle.add("Variable", INT32, &[], &[0; 4]);
            let (folder, run) = export_bundle(&bundle, model, &[]);
            let run = run.ok();
            assert!(!run.stderr.contains("left out"), "{}", run.stderr);
            let found = read_weights(&folder.path().join("out"));
            assert!(found.keys().eq(expected.keys()), "{slots:?}");
            assert!(found.iter().all(|(k, t)| t.bytes == expected[k].bytes));
            assert!(roles(&folder).iter().all(|(_, role)| role != "unknown"));
        }
    }
}

#[test]
fn what_may_change_the_model_is_not_taken_for_state() {
    let x = "electra/encoder/layer_0/output/dense/kernel";
    for name in [
        &format!("{x}/lora_a"),
        &format!("{x}/mask"),
        "electra/encoder/layer_0/adapter/Adam",
        "electra/encoder/layer_0/momentum",
        "Adam/of/the/head",
        "ema/dense/kernel",
    ] {
        let mut bundle = discriminator(SMALL);
        bundle.add_floats(name, &[4, 4]);
        export_bundle(&bundle, "discriminator", &[])
            .1
            .fails(4, &[name, "--allow-unknown"]);
    }
    let mut bundle = fine_tuned("sst", 3);
    bundle.add_floats("task_specific/sst/temperature", &[]);
    export_bundle(&bundle, "finetuned", &[])
        .1
        .fails(4, &["task_specific/sst/temperature"]);
}

#[test]
fn the_sampling_temperature_of_released_checkpoints_has_a_role() {
    let mut bundle = discriminator(SMALL);
    add_generator(&mut bundle);
    bundle.add_floats("generator_predictions/temperature", &[]);
    for model in ["discriminator", "generator", "both"] {
        let (folder, run) = export_bundle(&bundle, model, &[]);
        run.ok();
        let roles = roles(&folder);
        let found = roles
            .iter()
            .find(|(name, _)| name.ends_with("/temperature"));
        assert_eq!(found.unwrap().1, "temperature");
    }
}

/// Adds averages of all variables, as another model has them.
fn add_averages(bundle: &mut Bundle, pattern: &str) {
    for (name, shape) in names(bundle) {
        bundle.add_floats(&pattern.replace('X', &name), &shape);
    }
}

/// The averages in `bundle` under the names of `weights`.
fn only_averages(weights: &Bundle, bundle: &Bundle, pattern: &str) -> Bundle {
    let mut only = Bundle::default();
    for (name, shape) in names(weights) {
        let average = bundle.clone().entry(&pattern.replace('X', &name)).clone();
        let start = usize::try_from(average.offset).unwrap();
        let end = start + usize::try_from(average.size).unwrap();
        only.add(&name, FLOAT32, &shape, &bundle.data[start..end]);
    }
    only
}

#[test]
fn averages_are_exported_when_they_are_asked_for() {
    for pattern in ["X/ExponentialMovingAverage", "X/ema", "Adam/average/X"] {
        for (model, weights) in [
            ("discriminator", discriminator(SMALL)),
            ("finetuned", fine_tuned("sst", 3)),
        ] {
            let mut bundle = weights.clone();
            add_averages(&mut bundle, pattern);
            let (folder, run) = export_bundle(&bundle, model, &[]);
            let run = run.ok();
            assert!(run.stderr.contains("--weights average"), "{}", run.stderr);
            let out = folder.path().join("out");
            let raw = read_weights(&out);
            let (plain, run) = export_bundle(&weights, model, &[]);
            run.ok();
            let expected = read_weights(&plain.path().join("out"));
            assert!(raw.iter().all(|(k, t)| t.bytes == expected[k].bytes));

            let run = export_again(&folder, model, &["--weights", "average", "--json"]).ok();
            assert!(!run.stderr.contains("--weights average"), "{}", run.stderr);
            assert_eq!(run.json()["exports"][0]["weights"], "average");
            let found = read_weights(&out);
            let averaged = only_averages(&weights, &bundle, pattern);
            let (plain, run) = export_bundle(&averaged, model, &[]);
            run.ok();
            let expected = read_weights(&plain.path().join("out"));
            assert!(found.keys().eq(expected.keys()));
            for (name, tensor) in &found {
                assert!(tensor.bytes == expected[name].bytes, "{pattern} {name}");
            }
            // The folder notes that its weights are averages.
            run!["verify", out, "--source", folder.path().join("m")].ok();
            run!["verify", out].ok();
            let inspected = run!["inspect", folder.path(), "--weights", "average"].ok();
            assert!(inspected.stdout.contains("moving averages"));
            assert!(inspected.stdout.contains("--weights average"));
        }
    }
}

#[test]
fn averages_must_be_there_for_every_variable_of_the_model() {
    let (_folder, run) = export_bundle(
        &discriminator(SMALL),
        "discriminator",
        &["--weights", "average"],
    );
    run.fails(4, &["no moving averages", "--weights"]);

    let mut bundle = discriminator(SMALL);
    add_averages(&mut bundle, "X/ExponentialMovingAverage");
    let bias = "electra/encoder/layer_1/output/dense/bias";
    bundle.remove(&format!("{bias}/ExponentialMovingAverage"));
    let (_folder, run) = export_bundle(&bundle, "discriminator", &["--weights", "average"]);
    run.fails(4, &[bias, "no moving average", "--weights raw"]);

    let mut bundle = discriminator(SMALL);
    add_averages(&mut bundle, "X/ExponentialMovingAverage");
    bundle.add_floats(&format!("{bias}/ema"), &[SMALL.hidden]);
    let (_folder, run) = export_bundle(&bundle, "discriminator", &["--weights", "average"]);
    run.fails(4, &[bias, "/ema", "/ExponentialMovingAverage", "--rename"]);

    // Averages alone, as a saver of `variables_to_restore` leaves them.
    let mut bundle = discriminator(SMALL);
    let raw = names(&bundle);
    add_averages(&mut bundle, "X/ExponentialMovingAverage");
    for (name, _) in raw {
        bundle.remove(&name);
    }
    let (folder, run) = export_bundle(&bundle, "discriminator", &[]);
    run.fails(4, &["moving averages", "--weights average"]);
    export_again(&folder, "discriminator", &["--weights", "average"]).ok();
    run!["inspect", folder.path()].ok();
}

#[test]
fn an_encoder_without_head_is_the_bare_model() {
    let (folder, run) = export_bundle(&without_head(discriminator(SMALL)), "discriminator", &[]);
    let run = run.ok();
    assert!(
        run.stderr.contains("no discriminator head"),
        "{}",
        run.stderr
    );
    assert_eq!(class(&folder), "ElectraModel");
    let out = folder.path().join("out");
    run!["verify", out, "--source", folder.path().join("m")].ok();
    let inspected = run!["inspect", folder.path(), "--json"].ok().json();
    assert_eq!(inspected["checkpoint"]["setup"], "encoder");
    for model in ["generator", "finetuned"] {
        export_again(&folder, model, &[]).fails(4, &["--model discriminator"]);
    }
}

#[test]
fn a_head_of_other_code_is_named_and_can_be_left_out() {
    let h = SMALL.hidden;
    for head in [
        &[("output_weights", &[3, h][..]), ("output_bias", &[3])][..],
        &[("cls/predictions/transform/dense/kernel", &[h, h])],
        &[
            ("crf_loss/transitions", &[5, 5]),
            ("project/logits/W", &[h, 5]),
        ],
        &[("dense/kernel", &[h, 2]), ("dense/bias", &[2])],
        &[("loss/output_weights", &[2, h])],
    ] {
        let mut bundle = without_head(discriminator(SMALL));
        for (name, shape) in head {
            bundle.add_floats(name, shape);
            bundle.add_floats(&format!("{name}/adam_m"), shape);
        }
        let (folder, run) = export_bundle(&bundle, "discriminator", &[]);
        let mut words: Vec<&str> = head.iter().map(|(name, _)| *name).collect();
        words.extend(["head is of other code", "--allow-unknown", "ElectraModel"]);
        let run = run.fails(4, &words);
        assert!(!run.stderr.contains("adam_m"), "{}", run.stderr);
        let run = export_again(&folder, "discriminator", &["--allow-unknown"]).ok();
        assert!(run.stderr.contains(head[0].0), "{}", run.stderr);
        assert_eq!(class(&folder), "ElectraModel");
        let out = folder.path().join("out");
        run!["verify", out, "--source", folder.path().join("m")].ok();
    }
}

#[test]
fn part_of_a_head_is_no_head() {
    let mut bundle = discriminator(SMALL);
    bundle.remove("discriminator_predictions/dense_1/bias");
    let (folder, run) = export_bundle(&bundle, "discriminator", &[]);
    run.fails(
        4,
        &["discriminator_predictions/dense_1/bias", "--allow-unknown"],
    );
    export_again(&folder, "discriminator", &["--allow-unknown"]).ok();
    assert_eq!(class(&folder), "ElectraModel");
    let out = folder.path().join("out");
    run!["verify", out, "--source", folder.path().join("m")].ok();

    // The generator's encoder without its head, and its head without its encoder beside a task.
    let mut bundle = discriminator(SMALL);
    add_generator(&mut bundle);
    bundle
        .entries
        .retain(|e| !e.name.starts_with(b"generator_predictions/"));
    export_bundle(&bundle, "generator", &[])
        .1
        .fails(4, &["generator_predictions/", "but not its"]);
    export_bundle(&bundle, "discriminator", &[]).1.ok();
    let mut bundle = fine_tuned("sst", 3);
    add_generator_head(&mut bundle);
    export_bundle(&bundle, "generator", &[])
        .1
        .fails(4, &["generator/", "but not its"]);
    export_bundle(&bundle, "finetuned", &[]).1.ok();
}

#[test]
fn pre_training_heads_beside_a_task_are_exported() {
    let mut bundle = fine_tuned("sst", 3);
    for (name, shape) in names(&discriminator(SMALL)) {
        if name.starts_with("discriminator_predictions/") {
            bundle.add_floats(&name, &shape);
        }
    }
    add_generator(&mut bundle);
    for (model, expected) in [
        ("discriminator", "ElectraForPreTraining"),
        ("generator", "ElectraForMaskedLM"),
        ("finetuned", "ElectraForSequenceClassification"),
    ] {
        let (folder, run) = export_bundle(&bundle, model, &[]);
        let run = run.ok();
        assert_eq!(class(&folder), expected);
        assert_eq!(run.stderr.contains("may be older"), model != "finetuned");
        let out = folder.path().join("out");
        run!["verify", out, "--source", folder.path().join("m")].ok();
    }
}

#[test]
fn a_generator_is_called_uniform_by_its_graph_only() {
    let node = |name: &str| {
        let node = message(&[
            (1, Field::Bytes(name.as_bytes().to_vec())),
            (2, Field::Bytes(b"Const".to_vec())),
        ]);
        message(&[(2, Field::Bytes(message(&[(1, Field::Bytes(node))])))])
    };
    let uniform = node("generator_predictions/zeros");
    let trained = [
        node("generator_predictions/dense/kernel"),
        node("generator/encoder/layer_0/output/dense/kernel"),
    ]
    .concat();
    let other = node("electra/embeddings/Reshape");
    for (meta, setup, words) in [
        (None, "no_generator", "no variable is in the scopes"),
        (Some(&other), "no_generator", "no variable is in the scopes"),
        (
            Some(&uniform),
            "uniform_generator",
            "draws tokens uniformly",
        ),
        (Some(&trained), "no_generator", "not saved or were removed"),
    ] {
        let (folder, run) = export_bundle(&discriminator(SMALL), "discriminator", &[]);
        run.ok();
        if let Some(meta) = meta {
            fs::write(folder.path().join("m.meta"), meta).unwrap();
        }
        let inspected = run!["inspect", folder.path(), "--json"].ok().json();
        assert_eq!(inspected["checkpoint"]["setup"], setup);
        export_again(&folder, "generator", &[]).fails(4, &[words, "--model discriminator"]);
    }
}

#[test]
fn a_task_without_labels_is_refused() {
    let mut bundle = without_head(discriminator(SMALL));
    bundle.add(
        "task_specific/sst/dense/kernel",
        FLOAT32,
        &[SMALL.hidden, 0],
        &[],
    );
    bundle.add("task_specific/sst/dense/bias", FLOAT32, &[0], &[]);
    export_bundle(&bundle, "finetuned", &[])
        .1
        .fails(4, &["task_specific/sst/dense/bias", "[0]"]);
}

#[test]
fn a_checkpoint_of_the_original_code_says_what_it_holds() {
    let run = run!["inspect", fixture("tiny_uniform")].ok();
    assert!(run.stdout.contains("no generator in this checkpoint"));
    assert!(!run.stdout.contains("trained as"));
}
