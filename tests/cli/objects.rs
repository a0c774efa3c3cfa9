//! TensorFlow 2's object-based checkpoints: names from the graph of objects, models in Keras.

use std::fs;

use serde_json::Value;

use testkit::bundle_writer::{Bundle, Field, SMALL, discriminator, mask, message, varint};
use testkit::{Run, copy_of, fixture, read_weights, run, temp};

pub(crate) const SUFFIX: &str = "/.ATTRIBUTES/VARIABLE_VALUE";
pub(crate) const GRAPH: &str = "_CHECKPOINTABLE_OBJECT_GRAPH";
const STRING: u64 = 7;

/// Fixture, model, its head count, options.
const MODELS: &[(&str, &str, &str, &[&str])] = &[
    ("object_nvidia", "discriminator", "2", &[]),
    ("object_nvidia", "generator", "1", &[]),
    ("object_untied", "discriminator", "2", &[]),
    ("object_untied", "generator", "1", &[]),
    // Keras' head applies gelu, as ElectraForMaskedLM does, whatever the encoder applies.
    (
        "object_weights",
        "generator",
        "2",
        &["--hidden-act", "relu"],
    ),
];

#[test]
fn outputs_are_those_of_the_keras_models() {
    for (name, model, heads, options) in MODELS {
        let out = temp();
        let mut command = testkit::command(&[&"--model", model]);
        command
            .args(["--num-attention-heads", heads])
            .args(*options);
        command.arg(fixture(name)).arg(out.path());
        Run::from(command.output().unwrap()).ok();
        let golden = fixture(name).join("golden.safetensors");
        let run = run!["verify", out.path(), "--golden", golden, "--json"].ok();
        let compared = run.json()["golden"]["outputs"].as_array().unwrap().len();
        assert_eq!(compared, 2, "{name} {model}");
        run!["verify", out.path(), "--source", fixture(name)].ok();
    }
}

#[test]
fn every_object_has_a_role() {
    for (name, step, setup) in [
        ("object_nvidia", 300, "default"),
        ("object_untied", 400, "untied_generator_embeddings"),
    ] {
        let run = run!["inspect", fixture(name), "--json"].ok().json();
        assert_eq!(run["checkpoint"]["object_based"], true);
        assert_eq!(run["checkpoint"]["step"], step, "{name}");
        assert_eq!(run["checkpoint"]["setup"], setup);
        let variables = run["variables"].as_array().unwrap();
        let role = |name: &str| {
            let found = variables.iter().find(|v| v["name"] == name);
            found.unwrap_or_else(|| panic!("{name}"))["role"].clone()
        };
        assert!(variables.iter().all(|v| v["role"] != "unknown"), "{name}");
        assert_eq!(role("save_counter"), "bookkeeping");
        assert_eq!(role(GRAPH), "bookkeeping");
        let of_optimizer = |v: &&Value| v["role"] == "optimizer_slot";
        // Two moments of each weight, and counters.
        assert!(variables.iter().filter(of_optimizer).count() > 160);
    }
    let stdout = run!["inspect", fixture("object_weights")].ok().stdout;
    let line = "TensorBundle of TensorFlow 2 objects, 1 data file";
    assert!(stdout.contains(line), "{stdout}");
}

#[test]
fn a_damaged_graph_is_an_error() {
    let folder = copy_of("object_weights");
    let listed = run!["inspect", folder.path(), "--json"].ok().json();
    let mut variables = listed["variables"].as_array().unwrap().iter();
    let graph = &variables.find(|v| v["name"] == GRAPH).unwrap()["pieces"][0];
    let number = |key: &str| usize::try_from(graph[key].as_u64().unwrap()).unwrap();
    let (start, len) = (number("offset"), number("bytes"));
    let path = folder.path().join("weights.data-00000-of-00001");
    let sound = fs::read(&path).unwrap();
    for at in (start..start + len).step_by(97).chain(start..start + 8) {
        let mut bytes = sound.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, &bytes).unwrap();
        run!["inspect", folder.path()].fails(3, &["weights.index", GRAPH]);
    }
    for len in [0, start, start + len - 1] {
        fs::write(&path, &sound[..len]).unwrap();
        run!["inspect", folder.path()].fails(3, &["cut short", GRAPH]);
    }
    fs::remove_file(&path).unwrap();
    run!["inspect", folder.path()].fails(3, &["is missing", GRAPH]);
}

/// A discriminator whose variables are objects, with the full names that `name` gives them.
fn objects(name: impl Fn(&str) -> String) -> Bundle {
    let mut bundle = discriminator(SMALL);
    let mut nodes = Vec::new();
    for entry in &mut bundle.entries {
        let original = String::from_utf8(entry.name.clone()).unwrap();
        entry.name = format!("model/{original}{SUFFIX}").into_bytes();
        let attribute = message(&[
            (1, Field::Bytes(b"VARIABLE_VALUE".to_vec())),
            (2, Field::Bytes(name(&original).into_bytes())),
            (3, Field::Bytes(entry.name.clone())),
        ]);
        nodes.push((1, Field::Bytes(message(&[(2, Field::Bytes(attribute))]))));
    }
    add_string(&mut bundle, GRAPH, &message(&nodes));
    bundle
}

pub(crate) fn add_string(bundle: &mut Bundle, name: &str, text: &[u8]) {
    let len = u32::try_from(text.len()).unwrap();
    let sum = crc32c::crc32c(&len.to_le_bytes());
    let stored = mask(sum).to_le_bytes();
    let bytes = [&varint(len.into())[..], &stored, text].concat();
    bundle.add(name, STRING, &[], &bytes);
    let sum = crc32c::crc32c_append(sum, &stored);
    bundle.entry(name).crc32c = crc32c::crc32c_append(sum, text);
}

/// What Keras calls a variable of the original code.
fn keras(original: &str) -> String {
    let renamed = original
        .replace("/layer_", "/layer_._")
        .replace("/dense_1/", "/dense_prediction/");
    match original {
        "electra/embeddings/word_embeddings" => format!("{renamed}/weight"),
        _ if renamed.ends_with("_embeddings") => format!("{renamed}/embeddings"),
        _ => renamed,
    }
}

fn export(bundle: &Bundle, options: &[&str]) -> (tempfile::TempDir, Run) {
    let folder = temp();
    bundle.write(&folder.path().join("m"));
    let mut command = testkit::command(&[&"--model", &"discriminator"]);
    command.args(options).arg(folder.path().join("m"));
    command.arg(folder.path().join("out"));
    let run = Run::from(command.output().unwrap());
    (folder, run)
}

#[test]
fn names_are_the_full_ones_whatever_the_model_is_called() {
    let plain = temp();
    discriminator(SMALL).write(&plain.path().join("m"));
    let out = plain.path().join("out");
    run!["--model", "discriminator", plain.path().join("m"), out].ok();
    let expected = read_weights(&out);
    let same = |folder: &tempfile::TempDir| {
        let found = read_weights(&folder.path().join("out"));
        assert!(found.keys().eq(expected.keys()));
        for (name, tensor) in &found {
            assert!(tensor.bytes == expected[name].bytes, "{name}");
        }
    };
    for prefix in ["", "tf_electra_for_pre_training_3/", "a/b/c/"] {
        let (folder, run) = export(&objects(|name| format!("{prefix}{}", keras(name))), &[]);
        run.ok();
        same(&folder);
    }
    // Without full names the paths are the names, which --rename can mend.
    let (folder, run) = export(&objects(|_| String::new()), &["--rename", "^model/="]);
    run.ok();
    same(&folder);
    let (_, run) = export(&objects(|_| "Variable".into()), &[]);
    let there = "model/discriminator_predictions/dense/bias";
    run.fails(4, &["no ELECTRA", there, "--rename"]);
    // The original code's names, saved by tf.train.Checkpoint.
    let (folder, run) = export(&objects(str::to_owned), &[]);
    run.ok();
    same(&folder);
}

#[test]
fn the_original_code_is_not_taken_for_keras_when_it_is_saved_as_objects() {
    use electra_convert::variables::Inventory;
    use tf_checkpoint::{Checkpoint, locate};
    for (bundle, is_keras) in [(objects(str::to_owned), false), (objects(keras), true)] {
        let folder = temp();
        bundle.write(&folder.path().join("m"));
        let location = locate(folder.path(), None).unwrap();
        let checkpoint = Checkpoint::open(location).unwrap();
        let inventory = Inventory::new(checkpoint.variables(), &[]).unwrap();
        // Keras' generator head applies gelu whatever the encoder applies, the original's does not.
        assert_eq!(inventory.is_keras(), is_keras);
    }
}

#[test]
fn two_models_of_a_kind_are_not_guessed_between() {
    let bundle = objects(|name| {
        let model = if name.ends_with("bias") { "a" } else { "b" };
        format!("{model}/{}", keras(name))
    });
    export(&bundle, &[])
        .1
        .fails(4, &["2 ELECTRA encoders", "a/electra", "b/electra"]);
}

#[test]
fn graphs_that_contradict_themselves_are_refused() {
    let mut without = objects(keras);
    without.remove(GRAPH);
    export(&without, &[])
        .1
        .fails(3, &["m.index", "is missing", GRAPH]);

    // A key that is no object's, and is what an object is called by its path.
    let mut clash = objects(|_| String::new());
    clash.add_floats("model/discriminator_predictions/dense/bias", &[64]);
    export(&clash, &[])
        .1
        .fails(3, &["m.index", GRAPH, "calls both"]);

    for text in [&b"\xff\xff"[..], b"\x0a\xff\xff\xff\xff\x0f"] {
        let mut bad = objects(keras);
        bad.remove(GRAPH);
        add_string(&mut bad, GRAPH, text);
        export(&bad, &[])
            .1
            .fails(3, &["m.index", GRAPH, "is malformed"]);
    }
    let mut huge = objects(keras);
    huge.entry(GRAPH).size = 1 << 40;
    export(&huge, &[])
        .1
        .fails(3, &["m.index", GRAPH, "more than"]);
}
