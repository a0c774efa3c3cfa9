//! SavedModels of Model Garden's models: names by the paths through the objects, settings and outputs by the graph.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use testkit::{export, fixture, run, temp, unpacked};

use crate::saved_model::assert_same;

struct Saved {
    archive: &'static str,
    /// The SavedModel in the archive.
    directory: &'static str,
    model: &'static str,
    class: &'static str,
    heads: usize,
    activation: &'static str,
    /// What verification compares with the graph, and what it does not.
    outputs: [&'static [&'static str]; 2],
    /// False if the graph computes nothing of the model.
    has_graph: bool,
}

const TIED: Saved = Saved {
    archive: "garden_tied",
    directory: "",
    model: "discriminator",
    class: "ElectraForPreTraining",
    heads: 4,
    activation: "gelu_new",
    outputs: [&["encoder", "discriminator logits"], &[]],
    has_graph: true,
};

const SAVED: [Saved; 7] = [
    TIED,
    Saved {
        model: "generator",
        class: "ElectraForMaskedLM",
        heads: 3,
        // The head of ElectraForMaskedLM applies another activation.
        outputs: [&["encoder"], &["generator logits"]],
        ..TIED
    },
    Saved {
        archive: "garden_untied",
        outputs: [&[], &["encoder", "discriminator logits"]],
        has_graph: false,
        ..TIED
    },
    Saved {
        archive: "garden_untied",
        model: "generator",
        class: "ElectraForMaskedLM",
        heads: 2,
        outputs: [&[], &["encoder", "generator logits"]],
        has_graph: false,
        ..TIED
    },
    Saved {
        archive: "garden_encoder",
        class: "ElectraModel",
        activation: "relu",
        outputs: [&["encoder"], &[]],
        ..TIED
    },
    Saved {
        archive: "garden_tagging",
        directory: "1700000000",
        class: "ElectraModel",
        outputs: [&["encoder"], &[]],
        ..TIED
    },
    Saved {
        archive: "garden_tagging",
        directory: "1700000000",
        model: "finetuned",
        class: "ElectraForTokenClassification",
        outputs: [&["encoder", "classifier logits"], &[]],
        ..TIED
    },
];

impl Saved {
    fn path(&self) -> PathBuf {
        fixture("garden_saved_models").join(format!("{}.zip", self.archive))
    }

    fn options(&self) -> &'static [&'static str] {
        match self.model {
            "generator" => &["--allow-inexact"],
            _ => &[],
        }
    }

    fn unpacked(&self) -> tempfile::TempDir {
        unpacked(&format!("garden_saved_models/{}.zip", self.archive))
    }
}

#[test]
fn outputs_are_those_of_the_original_models() {
    for saved in &SAVED {
        let what = format!("{} {}", saved.archive, saved.model);
        let out = temp();
        let export = export(saved.path()).model(saved.model);
        let run = export.args(saved.options()).arg("--json").to(out.path());
        let report = run.run().ok().json();
        assert_eq!(report["checkpoint"]["format"], "saved_model");
        let export = &report["exports"][0];
        assert_eq!(export["architecture"], saved.class, "{what}");
        let config = &export["config"];
        assert_eq!(config["num_attention_heads"], saved.heads, "{what}");
        assert_eq!(config["hidden_act"], saved.activation, "{what}");
        assert_eq!(config["layer_norm_eps"], 1e-12, "{what}");

        let graph = &export["verification"]["graph"];
        for (key, name, expected) in [
            ("outputs", "name", saved.outputs[0]),
            ("not_evaluated", "output", saved.outputs[1]),
        ] {
            let found = graph[key].as_array().unwrap().iter();
            let found: Vec<&Value> = found.map(|output| &output[name]).collect();
            assert_eq!(found, expected, "{what} {graph}");
        }
        run!["verify", out.path(), "--source", saved.path()].ok();

        let golden = saved.path().with_extension("safetensors");
        let tolerance = if saved.model == "generator" {
            "2e-3"
        } else {
            "2e-5"
        };
        let options = ["--tolerance", tolerance, "--json"];
        let mut command = testkit::command(&[&"verify", &out.path(), &"--golden", &golden]);
        let run = testkit::Run::from(command.args(options).output().unwrap()).ok();
        let outputs = run.json()["golden"]["outputs"].clone();
        for output in outputs.as_array().unwrap() {
            let is_inexact = output["name"] == "gen_logits";
            let deviation = output["deviation"].as_f64().unwrap();
            assert!(is_inexact || deviation < 2e-5, "{what}: {output}");
        }
        assert!(!outputs.as_array().unwrap().is_empty(), "{what}");
    }
}

#[test]
fn every_variable_has_a_role_and_a_path() {
    for (archive, setup, scope) in [
        ("garden_tied", "shared_word_embeddings", "pretrainer/"),
        ("garden_untied", "untied_generator_embeddings", ""),
        ("garden_encoder", "encoder", ""),
        ("garden_tagging", "fine_tuned", "model/"),
    ] {
        let path = fixture("garden_saved_models").join(format!("{archive}.zip"));
        let report = run!["inspect", path, "--json"].ok().json();
        assert_eq!(report["checkpoint"]["setup"], setup, "{archive}");
        let variables = report["variables"].as_array().unwrap();
        assert!(variables.iter().all(|v| v["role"] != "unknown"));
        // Generator and discriminator have the same full names, in place of which there are paths.
        let has_pair = setup.contains("embeddings");
        let encoder = if has_pair {
            format!("{scope}discriminator_network/layer_with_weights-3/gamma")
        } else {
            let mut names = variables.iter().filter_map(|v| v["name"].as_str());
            let end = "embeddings/layer_norm/gamma";
            let found = names.find(|name| name.ends_with(end));
            found.unwrap_or_else(|| panic!("{archive}")).to_owned()
        };
        assert!(
            variables.iter().any(|v| v["name"] == encoder),
            "{archive} {encoder}"
        );
        let is_numbered = |name: &str| name.contains("variables/");
        let mut names = variables.iter().filter_map(|v| v["name"].as_str());
        assert!(!names.any(is_numbered), "{archive}");
    }
}

#[test]
fn the_graph_shows_the_settings() {
    for saved in &SAVED {
        let export = export(saved.path()).model(saved.model);
        let run = export.args(saved.options()).args(["--dry-run", "--json"]);
        let run = run.run().ok();
        let sources = run.json()["exports"][0]["config_sources"].clone();
        let kind = if saved.has_graph {
            "meta_graph"
        } else {
            "model_garden"
        };
        for key in ["hidden_act", "layer_norm_eps"] {
            assert_eq!(sources[key]["kind"], kind, "{} {key}", saved.archive);
        }
        let heads = &sources["num_attention_heads"];
        assert_eq!(heads["kind"], "shape");
        let agreed: Vec<&Value> = heads["agreed"].as_array().unwrap().iter().collect();
        assert_eq!(
            agreed.iter().any(|source| source["kind"] == "meta_graph"),
            saved.has_graph
        );
        assert_eq!(
            run.stderr.contains("does not show the settings"),
            !saved.has_graph,
            "{}",
            run.stderr
        );
    }
}

#[test]
fn other_settings_than_those_of_the_graph_fail() {
    for (archive, option, value, words) in [
        (
            "garden_encoder",
            "--hidden-act",
            "gelu_new",
            ["hidden_act", "relu"],
        ),
        (
            "garden_tied",
            "--hidden-act",
            "gelu",
            ["hidden_act", "gelu_new"],
        ),
        (
            "garden_tied",
            "--layer-norm-eps",
            "1e-6",
            ["layer_norm_eps", "1e-12"],
        ),
        (
            "garden_tied",
            "--num-attention-heads",
            "2",
            ["num_attention_heads", "4"],
        ),
    ] {
        let path = fixture("garden_saved_models").join(format!("{archive}.zip"));
        let run = export(path).model("discriminator").args([option, value]);
        run.run().fails(4, &words);
    }
    // Without a graph, the option is the only source.
    let untied = &SAVED[2];
    let run = export(untied.path()).model(untied.model);
    run.args(["--hidden-act", "relu"]).run().ok();
}

#[test]
fn a_generator_is_refused_unless_it_may_be_inexact() {
    for archive in ["garden_tied", "garden_untied"] {
        let path = fixture("garden_saved_models").join(format!("{archive}.zip"));
        let run = export(path).model("generator").run();
        run.fails(4, &["applies gelu_new", "--allow-inexact"]);
    }
}

/// The variables alone are a checkpoint with the same object graph.
#[test]
fn tensors_are_those_of_the_variables_alone() {
    for saved in &SAVED {
        let folder = saved.unpacked();
        let root = folder.path();
        let [first, second, plain] = ["first", "second", "plain"].map(|name| root.join(name));
        fs::create_dir(&plain).unwrap();
        let variables = root.join(saved.directory).join("variables");
        for suffix in ["index", "data-00000-of-00001"] {
            let from = variables.join(format!("variables.{suffix}"));
            fs::copy(from, plain.join(format!("model.{suffix}"))).unwrap();
        }
        let saved_model = export(root.join(saved.directory)).model(saved.model);
        saved_model.args(saved.options()).to(&first).run().ok();
        let variables = export(&plain).model(saved.model).args(saved.options());
        let variables = variables.args(["--hidden-act", saved.activation]);
        variables.to(&second).run().ok();
        assert_same(&first, &second);
    }
}

#[test]
fn params_beside_a_saved_model_are_a_source() {
    let saved = &SAVED[6];
    let folder = saved.unpacked();
    let params = fixture("garden_tagging").join("params.yaml");
    fs::copy(params, folder.path().join("params.yaml")).unwrap();
    // It has other sizes.
    let run = export(folder.path().join(saved.directory)).model(saved.model);
    run.run().fails(4, &["params.yaml"]);
    let config = json!({"hidden_act": "relu"}).to_string();
    fs::remove_file(folder.path().join("params.yaml")).unwrap();
    fs::write(
        folder.path().join(saved.directory).join("config.json"),
        config,
    )
    .unwrap();
    let run = export(folder.path().join(saved.directory)).model(saved.model);
    run.run().fails(4, &["hidden_act", "relu", "gelu_new"]);
}
