//! SavedModels of TensorFlow 1 and 2: weights, settings, graph.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use testkit::bundle_writer::{SMALL, discriminator};
use testkit::graph_writer::{Graph, ORIGINAL, encoder, gelu};
use testkit::{
    export, fixture, read_json, read_weights, run, saved_model, temp, unpacked, write_saved_model,
};

/// An archive in `saved_models`.
pub(crate) struct Fixture {
    name: &'static str,
    /// The SavedModel in the archive.
    directory: &'static str,
    model: &'static str,
    class: &'static str,
    /// What verification compares with the graph.
    outputs: [&'static str; 2],
    activation: &'static str,
    epsilon: f64,
}

const FIXTURES: [Fixture; 5] = [
    Fixture {
        name: "classification",
        directory: "saved_model/1",
        model: "finetuned",
        class: "ElectraForSequenceClassification",
        outputs: ["encoder", "classifier logits"],
        activation: "relu",
        epsilon: 1e-6,
    },
    Fixture {
        name: "masked_lm",
        directory: "",
        model: "generator",
        class: "ElectraForMaskedLM",
        outputs: ["encoder", "generator logits"],
        activation: "gelu",
        epsilon: 1e-12,
    },
    Fixture {
        name: "module",
        directory: "",
        model: "discriminator",
        class: "ElectraForPreTraining",
        outputs: ["encoder", "discriminator logits"],
        activation: "gelu",
        epsilon: 1e-12,
    },
    Fixture {
        name: "simple_save",
        directory: "electra",
        model: "discriminator",
        class: "ElectraForPreTraining",
        outputs: ["encoder", "discriminator logits"],
        activation: "gelu",
        epsilon: 1e-12,
    },
    Fixture {
        name: "estimator",
        directory: "export/1600000000",
        model: "finetuned",
        class: "ElectraForSequenceClassification",
        outputs: ["encoder", "sst logits"],
        activation: "gelu",
        epsilon: 1e-12,
    },
];

impl Fixture {
    pub(crate) fn archive(&self) -> PathBuf {
        fixture("saved_models").join(format!("{}.zip", self.name))
    }

    pub(crate) fn unpacked(&self) -> tempfile::TempDir {
        unpacked(&format!("saved_models/{}.zip", self.name))
    }
}

/// The SavedModel with an HDF5 file and a config.json around it.
pub(crate) const PRETRAINED: &Fixture = &FIXTURES[0];
const SETTINGS: [&str; 3] = ["hidden_act", "layer_norm_eps", "num_attention_heads"];

/// Checks that two exports have the same config.json and tensors.
#[track_caller]
pub(crate) fn assert_same(found: &Path, expected: &Path) {
    let [found_config, expected_config] =
        [found, expected].map(|out| read_json(&out.join("config.json")));
    assert_eq!(found_config, expected_config);
    let [found, expected] = [found, expected].map(read_weights);
    assert!(found.keys().eq(expected.keys()));
    for (name, tensor) in &found {
        assert_eq!(tensor.shape, expected[name].shape, "{name}");
        assert!(tensor.bytes == expected[name].bytes, "{name}");
    }
}

#[test]
fn outputs_are_those_of_the_original_graph() {
    for fixture in &FIXTURES {
        let out = temp();
        let run = export(fixture.archive())
            .model(fixture.model)
            .arg("--json")
            .to(out.path());
        let report = run.run().ok().json();
        assert_eq!(report["checkpoint"]["format"], "saved_model");
        let export = &report["exports"][0];
        assert_eq!(export["architecture"], fixture.class);
        let graph = &export["verification"]["graph"];
        assert_eq!(graph["not_evaluated"], json!([]), "{graph}");
        let names = graph["outputs"].as_array().unwrap().iter();
        let names: Vec<&Value> = names.map(|output| &output["name"]).collect();
        assert_eq!(names, fixture.outputs);
        run!["verify", out.path(), "--source", fixture.archive()].ok();

        let golden = fixture.archive().with_extension("safetensors");
        let verified = run!["verify", out.path(), "--golden", golden, "--json"].ok();
        let compared = verified.json()["golden"]["outputs"].clone();
        assert_eq!(compared.as_array().unwrap().len(), 2, "{compared}");
    }
}

#[test]
fn the_graph_shows_the_settings() {
    for fixture in &FIXTURES {
        let folder = fixture.unpacked();
        let directory = folder.path().join(fixture.directory);
        let around = folder.path().join("config.json");
        if around.exists() {
            fs::remove_file(around).unwrap();
        }
        let run = export(&directory).model(fixture.model).args([
            "--dry-run",
            "--json",
            "--vocab",
            "none",
        ]);
        let report = run.run().ok().json();
        let export = &report["exports"][0];
        let config = &export["config"];
        assert_eq!(config["num_attention_heads"], 2);
        assert_eq!(config["hidden_act"], fixture.activation);
        assert_eq!(config["layer_norm_eps"], fixture.epsilon);
        for key in SETTINGS {
            let source = &export["config_sources"][key];
            assert_eq!(source["kind"], "meta_graph", "{key} {source}");
            let detail = source["detail"].as_str().unwrap();
            assert!(detail.contains("saved_model.pb"), "{detail}");
        }
    }
}

#[test]
fn tensors_are_those_of_the_same_weights_in_other_files() {
    // The HDF5 file of the same call.
    let folder = PRETRAINED.unpacked();
    let root = folder.path();
    let [first, second] = ["first", "second"].map(|name| root.join(name));
    export(root).model("finetuned").to(&first).run().ok();
    let hdf5 = root.join("tf_model.h5");
    export(hdf5).model("finetuned").to(&second).run().ok();
    assert_same(&first, &second);

    // The variables alone, as a checkpoint that tf.train.Saver or tf.train.Checkpoint writes.
    for fixture in FIXTURES
        .iter()
        .filter(|other| other.name != PRETRAINED.name)
    {
        let folder = fixture.unpacked();
        let root = folder.path();
        let variables = root.join(fixture.directory).join("variables");
        let plain = root.join("plain");
        fs::create_dir(&plain).unwrap();
        for suffix in ["index", "data-00000-of-00001"] {
            let from = variables.join(format!("variables.{suffix}"));
            fs::copy(from, plain.join(format!("model.{suffix}"))).unwrap();
        }
        let [first, second] = ["first", "second"].map(|name| root.join(name));
        export(root.join(fixture.directory))
            .model(fixture.model)
            .to(&first)
            .run()
            .ok();
        let heads = ["--num-attention-heads", "2"];
        let report = export(&plain)
            .model(fixture.model)
            .args(heads)
            .arg("--json");
        let report = report.to(&second).run().ok().json();
        assert_eq!(report["checkpoint"]["format"], "tensor_bundle");
        assert_same(&first, &second);
    }
}

#[test]
fn what_the_graph_does_not_show_is_named() {
    let folder = temp();
    // A graph that computes nothing from the variables.
    let mut graph = Graph::default();
    graph.float(1.0);
    write_saved_model(folder.path(), &graph.meta(), &discriminator(SMALL));
    let out = folder.path().join("out");
    let convert = || export(folder.path()).model("discriminator").to(&out);
    let reported = convert().run().ok();
    reported.stdout_has(&[
        "encoder not compared with the training graph",
        "no node adds",
    ]);
    fs::remove_dir_all(&out).unwrap();
    let report = convert().arg("--json").run().ok().json();
    let graph = &report["exports"][0]["verification"]["graph"];
    assert_eq!(graph["outputs"], json!([]));
    let missing: Vec<&Value> = graph["not_evaluated"].as_array().unwrap().iter().collect();
    assert_eq!(missing.len(), 2, "{graph}");
    for output in missing {
        assert!(
            output["reason"].as_str().unwrap().contains("no node"),
            "{output}"
        );
    }
}

#[test]
fn other_settings_than_those_of_the_graph_fail() {
    let archive = PRETRAINED.archive();
    let options = ["--hidden-act", "gelu"];
    let run = export(&archive).model("finetuned").args(options).run();
    run.fails(4, &["hidden_act", "relu", "saved_model.pb"]);
}

#[test]
fn of_several_graphs_the_one_for_serving_is_read() {
    let folder = temp();
    let [serving, training] = [4, 2].map(|heads| {
        let graph = encoder(SMALL, heads, |_| ORIGINAL);
        graph.with_discriminator(gelu).meta()
    });
    let serve: &[&str] = &["serve"];
    write_saved_model(folder.path(), &serving, &discriminator(SMALL));
    let path = folder.path().join("saved_model.pb");
    let graphs: [(&[&str], &[u8]); 2] = [(&["train"], &training), (serve, &serving)];
    fs::write(&path, saved_model(&graphs)).unwrap();
    let inspected = run!["inspect", folder.path(), "--json"].ok().json();
    let config = &inspected["models"][0]["config"];
    assert_eq!(config["num_attention_heads"], 4);
    let graphs: [(&[&str], &[u8]); 2] = [(&["train"], &training), (&["eval"], &serving)];
    fs::write(&path, saved_model(&graphs)).unwrap();
    run!["inspect", folder.path()].fails(3, &["2 graphs (tags train, eval)", "serve"]);
}
