//! TensorFlow 2's classes of Hugging Face and NVIDIA, as each way of saving leaves them: under full
//! names, under object paths, in models of any name and in models of other people's.

use serde_json::Value;
use tempfile::TempDir;

use crate::objects::{GRAPH, SUFFIX, add_string};
use testkit::bundle_writer::{Bundle, Entry, Field, SMALL, discriminator, message};
use testkit::{export_again, export_bundle, read_json, read_weights, run, transposed};

/// How a checkpoint was saved.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Saved {
    /// `tf.compat.v1.train.Saver`: keys are full names.
    Names,
    /// `save_weights`, `tf.train.Checkpoint`: keys are object paths, the graph has full names.
    Objects,
    /// The same, without full names.
    Paths,
}

const SAVED: [Saved; 3] = [Saved::Names, Saved::Objects, Saved::Paths];

/// A variable: full name and object path below the model, shape.
type Variable = (String, String, Vec<i64>);

/// The encoder of `modeling_tf_electra.py` below its scope.
fn encoder() -> Vec<Variable> {
    let entries = discriminator(SMALL).entries;
    let original = |e: &Entry| String::from_utf8(e.name.clone()).unwrap();
    entries
        .iter()
        .filter_map(|e| {
            let name = original(e).strip_prefix("electra/")?.to_owned();
            let (full, path) = match name.as_str() {
                "embeddings/word_embeddings" => {
                    (format!("{name}/weight"), "embeddings/weight".into())
                }
                "embeddings/position_embeddings" => {
                    (format!("{name}/embeddings"), "embeddings/embeddings".into())
                }
                "embeddings/token_type_embeddings" => (format!("{name}/embeddings"), name),
                _ => (
                    name.replace("/layer_", "/layer_._"),
                    name.replace("/layer_", "/layer/")
                        .replace("attention/self/", "attention/self_attention/")
                        .replace("attention/output/", "attention/dense_output/")
                        .replace("/0/output/", "/0/bert_output/")
                        .replace("/1/output/", "/1/bert_output/"),
                ),
            };
            Some((full, path, e.shape.clone()))
        })
        .collect()
}

/// The same part of every name.
fn same(name: &str, shape: &[i64]) -> Variable {
    (name.to_owned(), name.to_owned(), shape.to_vec())
}

fn below(full: &str, path: &str, variables: Vec<Variable>) -> Vec<Variable> {
    let join = |scope: &str, name: String| format!("{scope}/{name}").trim_matches('/').to_owned();
    variables
        .into_iter()
        .map(|(f, p, shape)| (join(full, f), join(path, p), shape))
        .collect()
}

/// A class of transformers: its encoder `electra` and its head.
fn class_of(head: &[(&str, &[i64])]) -> Vec<Variable> {
    let mut variables = below("electra", "electra", encoder());
    variables.extend(head.iter().map(|(name, shape)| same(name, shape)));
    variables
}

fn write(variables: &[Variable], saved: Saved) -> Bundle {
    let mut bundle = Bundle::default();
    let mut nodes = Vec::new();
    for (full, path, shape) in variables {
        // The values are those of the path, however it is saved.
        let key = match saved {
            Saved::Names => full.clone(),
            _ => format!("{path}{SUFFIX}"),
        };
        bundle.add_floats(path, shape);
        bundle.entries.last_mut().unwrap().name = key.clone().into_bytes();
        let name = if saved == Saved::Objects {
            full.as_str()
        } else {
            ""
        };
        let attribute = message(&[
            (1, Field::Bytes(b"VARIABLE_VALUE".to_vec())),
            (2, Field::Bytes(name.as_bytes().to_vec())),
            (3, Field::Bytes(key.into_bytes())),
        ]);
        nodes.push((1, Field::Bytes(message(&[(2, Field::Bytes(attribute))]))));
    }
    if saved != Saved::Names {
        add_string(&mut bundle, GRAPH, &message(&nodes));
    }
    bundle
}

fn config(folder: &TempDir) -> Value {
    read_json(&folder.path().join("out/config.json"))
}

const H: i64 = SMALL.hidden;

/// The names and shapes of a head's variables.
type Head = &'static [(&'static str, &'static [i64])];

/// Class in names, class in config.json, its head.
const CLASSES: &[(&str, &str, Head)] = &[
    (
        "tf_electra_for_sequence_classification",
        "ElectraForSequenceClassification",
        &[
            ("classifier/dense/kernel", &[H, H]),
            ("classifier/dense/bias", &[H]),
            ("classifier/out_proj/kernel", &[H, 5]),
            ("classifier/out_proj/bias", &[5]),
        ],
    ),
    (
        "tf_electra_for_token_classification",
        "ElectraForTokenClassification",
        &[("classifier/kernel", &[H, 5]), ("classifier/bias", &[5])],
    ),
    (
        "tf_electra_for_question_answering",
        "ElectraForQuestionAnswering",
        &[("qa_outputs/kernel", &[H, 2]), ("qa_outputs/bias", &[2])],
    ),
    (
        "tf_electra_for_multiple_choice",
        "ElectraForMultipleChoice",
        &[
            ("sequence_summary/summary/kernel", &[H, H]),
            ("sequence_summary/summary/bias", &[H]),
            ("classifier/kernel", &[H, 1]),
            ("classifier/bias", &[1]),
        ],
    ),
    ("tf_electra_model", "ElectraModel", &[]),
    (
        "tf_electra_for_pre_training",
        "ElectraForPreTraining",
        &[
            ("discriminator_predictions/dense/kernel", &[H, H]),
            ("discriminator_predictions/dense/bias", &[H]),
            ("discriminator_predictions/dense_prediction/kernel", &[H, 1]),
            ("discriminator_predictions/dense_prediction/bias", &[1]),
        ],
    ),
];

#[test]
fn every_class_is_exported_under_any_name_however_it_was_saved() {
    for (name, class, head) in CLASSES {
        let is_task = head
            .iter()
            .any(|(name, _)| !name.starts_with("discriminator_predictions/"));
        let model = if is_task {
            "finetuned"
        } else {
            "discriminator"
        };
        for saved in SAVED {
            for (scope, attribute) in [
                (format!("{name}_3"), ""),
                (format!("outer/model/{name}"), "net"),
                ("electra_of_mine".to_owned(), "layer_with_weights-0"),
            ] {
                let variables = below(&scope, attribute, class_of(head));
                let (folder, run) = export_bundle(&write(&variables, saved), model, &[]);
                run.ok();
                let config = config(&folder);
                assert_eq!(config["architectures"][0], *class, "{saved:?} {scope}");
                let out = folder.path().join("out");
                run!["verify", out, "--source", folder.path().join("m")].ok();
                check_head(&folder, head, attribute);
                if head.iter().any(|(_, shape)| shape.last() == Some(&5)) {
                    assert_eq!(config["id2label"]["4"], "LABEL_4");
                    assert!(config.get("problem_type").is_none());
                }
            }
        }
    }
}

/// Every tensor of a head is its variable.
fn check_head(folder: &TempDir, head: &[(&str, &[i64])], attribute: &str) {
    let weights = read_weights(&folder.path().join("out"));
    for (name, shape) in head {
        let path = format!("{attribute}/{name}").trim_matches('/').to_owned();
        let mut plain = Bundle::default();
        plain.add_floats(&path, shape);
        let tensor = name.replace('/', ".").replace("kernel", "weight");
        let expected = match shape[..] {
            [rows, columns] => {
                let size = |n: i64| usize::try_from(n).unwrap();
                transposed(&plain.data, &[size(rows), size(columns)])
            }
            _ => plain.data,
        };
        assert!(weights[&tensor].bytes == expected, "{tensor}");
    }
}

#[test]
fn an_encoder_in_somebodys_model_is_exported_without_its_head() {
    let head = |scope: &str, names: &[(&str, &[i64])]| -> Vec<Variable> {
        let names = names.iter().map(|(name, shape)| same(name, shape));
        below(scope, "", names.collect())
    };
    for saved in SAVED {
        for (encoder_scope, encoder_path, foreign) in [
            // A functional model.
            (
                "tf_electra_model/electra",
                "layer_with_weights-0/electra",
                head("dense", &[("kernel", &[H, 3]), ("bias", &[3])]),
            ),
            // A subclassed one, whose own layer is called as transformers' is.
            (
                "my_model/tf_electra_model/electra",
                "electra/electra",
                below(
                    "my_model",
                    "",
                    vec![
                        same("classifier/kernel", &[H, 3]),
                        same("classifier/bias", &[3]),
                    ],
                ),
            ),
            // TFElectraMainLayer under a name of its own.
            (
                "backbone",
                "layer_with_weights-0",
                head("lstm", &[("lstm_cell/recurrent_kernel", &[4, 16])]),
            ),
        ] {
            let mut variables = below(encoder_scope, encoder_path, encoder());
            variables.extend(foreign.clone());
            let (folder, run) = export_bundle(&write(&variables, saved), "discriminator", &[]);
            let foreign_name = if saved == Saved::Paths {
                &foreign[0].1
            } else {
                &foreign[0].0
            };
            run.fails(
                4,
                &["head is of other code", foreign_name, "--allow-unknown"],
            );
            export_again(&folder, "finetuned", &[]).fails(4, &["--model discriminator"]);
            export_again(&folder, "discriminator", &["--allow-unknown"]).ok();
            assert_eq!(config(&folder)["architectures"][0], "ElectraModel");
            let out = folder.path().join("out");
            run!["verify", out, "--source", folder.path().join("m")].ok();
        }
    }
}

#[test]
fn what_a_bare_classifier_is_on_is_not_guessed_against_the_name_of_its_class() {
    let classifier: &[(&str, &[i64])] =
        &[("classifier/kernel", &[H, 3]), ("classifier/bias", &[3])];
    let saved = |scope: &str| write(&below(scope, "", class_of(classifier)), Saved::Objects);
    let (folder, run) = export_bundle(
        &saved("tf_electra_for_token_classification_7"),
        "finetuned",
        &[],
    );
    let run = run.ok();
    assert!(!run.stderr.contains("--task-kind"), "{}", run.stderr);
    export_again(&folder, "finetuned", &["--task-kind", "classification"]).fails(
        4,
        &[
            "the kind of task",
            "--task-kind",
            "tf_electra_for_token_classification_7",
        ],
    );

    let (folder, run) = export_bundle(&saved("tf_electra_for_sentiment"), "finetuned", &[]);
    run.fails(4, &["classifier", "--task-kind tagging"]);
    for (kind, class) in [
        ("tagging", "ElectraForTokenClassification"),
        ("classification", "ElectraForSequenceClassification"),
    ] {
        export_again(&folder, "finetuned", &["--task-kind", kind]).ok();
        assert_eq!(config(&folder)["architectures"][0], class);
        let out = folder.path().join("out");
        run!["verify", out, "--source", folder.path().join("m")].ok();
    }

    let (folder, run) = export_bundle(&saved("my_model"), "finetuned", &[]);
    let run = run.ok();
    assert!(
        run.stderr.contains("--task-kind classification"),
        "{}",
        run.stderr
    );
    assert_eq!(
        config(&folder)["architectures"][0],
        "ElectraForTokenClassification"
    );
}

#[test]
fn parts_of_transformers_heads_are_refused() {
    for (missing, words) in [
        (
            "classifier/dense/bias",
            &["incomplete", "classifier/dense/bias"],
        ),
        (
            "classifier/out_proj/bias",
            &["incomplete", "classifier/out_proj/bias"],
        ),
    ] {
        let (name, _, head) = CLASSES[0];
        let head: Vec<_> = head
            .iter()
            .filter(|(n, _)| *n != missing)
            .copied()
            .collect();
        let bundle = write(&below(name, "", class_of(&head)), Saved::Objects);
        let (folder, run) = export_bundle(&bundle, "finetuned", &[]);
        run.fails(4, words);
        export_again(&folder, "discriminator", &[]).ok();
    }
    for (head, words) in [
        (
            &[
                ("qa_outputs/kernel", &[H, 5][..]),
                ("qa_outputs/bias", &[5]),
            ][..],
            "qa_outputs/kernel",
        ),
        (
            &[("classifier/kernel", &[H, 4]), ("classifier/bias", &[3])],
            "classifier/kernel",
        ),
        (
            &[("classifier/kernel", &[H, 0]), ("classifier/bias", &[0])],
            "classifier/bias",
        ),
    ] {
        let bundle = write(&class_of(head), Saved::Objects);
        export_bundle(&bundle, "finetuned", &[])
            .1
            .fails(4, &[words, "shape"]);
    }
}

#[test]
fn an_encoder_that_is_no_electra_is_not_taken_for_one() {
    // A BERT in Keras has the same layers.
    for saved in SAVED {
        let bert: Vec<Variable> = below("tf_bert_model/bert", "bert", encoder())
            .into_iter()
            .filter(|(full, ..)| !full.contains("embeddings_project"))
            .collect();
        export_bundle(&write(&bert, saved), "discriminator", &[])
            .1
            .fails(4, &["no ELECTRA", "--rename"]);
        // Beside one it is a part of somebody's model.
        let mut both = below("tf_electra_model/electra", "net/electra", encoder());
        both.extend(bert);
        let (folder, run) = export_bundle(&write(&both, saved), "discriminator", &[]);
        run.fails(4, &["bert/", "--allow-unknown"]);
        export_again(&folder, "discriminator", &["--allow-unknown"]).ok();
    }
}

#[test]
fn of_several_models_one_is_picked_by_its_name() {
    for saved in SAVED {
        let mut variables = below("tf_electra_model", "model", class_of(&[]));
        variables.extend(below("tf_electra_model_1", "ema", class_of(&[])));
        let (folder, run) = export_bundle(&write(&variables, saved), "discriminator", &[]);
        let [scope, rename] = if saved == Saved::Paths {
            ["ema/electra", "^ema/="]
        } else {
            ["tf_electra_model_1/electra", "^tf_electra_model_1/="]
        };
        run.fails(4, &["2 ELECTRA encoders", scope, "--rename"]);
        let options = ["--rename", rename, "--allow-unknown"];
        export_again(&folder, "discriminator", &options).ok();
        let weights = read_weights(&folder.path().join("out"));
        let mut plain = Bundle::default();
        plain.add_floats("ema/electra/embeddings_project/bias", &[H]);
        assert!(weights["electra.embeddings_project.bias"].bytes == plain.data);
    }
}

#[test]
fn optimizers_under_any_attribute_are_state() {
    let weights = class_of(CLASSES[0].2);
    let model = below(CLASSES[0].0, "net", weights.clone());
    let scalar = |full: &str, path: &str| (full.to_owned(), path.to_owned(), vec![]);
    let mut new_style = vec![
        scalar("iteration", "opt/_iterations"),
        scalar("learning_rate", "opt/_learning_rate"),
        scalar("accuracy/total", "net/acc/total"),
        scalar("accuracy/count", "net/acc/count"),
    ];
    let mut old_style = vec![
        scalar("RMSprop/iter", "trainer/o/iter"),
        scalar("RMSprop/rho", "trainer/o/rho"),
    ];
    for (at, (full, path, shape)) in model.iter().enumerate() {
        let slot = |full: String, path: String| (full, path, shape.clone());
        let moment = if at % 2 == 0 { "m" } else { "velocity_hat" };
        new_style.push(slot(
            format!("Adam/{moment}/{full}"),
            format!("opt/_variables/{}", at + 1),
        ));
        old_style.push(slot(
            format!("RMSprop/{full}/rms"),
            format!("{path}/.OPTIMIZER_SLOT/trainer/o/rms"),
        ));
    }
    for saved in SAVED {
        for state in [&new_style, &old_style] {
            let variables = [&model[..], state].concat();
            let (folder, run) = export_bundle(&write(&variables, saved), "finetuned", &[]);
            run.ok();
            let listed = run!["inspect", folder.path(), "--json"].ok().json();
            let mut variables = listed["variables"].as_array().unwrap().iter();
            assert!(variables.all(|v| v["role"] != "unknown"), "{saved:?}");
        }
    }
}
