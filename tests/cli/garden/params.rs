//! `params.yaml` of `Trainer` as a source of settings: it must agree with the checkpoint and the options, and
//! what no class computes is refused.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use testkit::{copy_of, export, fixture, read_json, run, temp};

/// What `Trainer` writes for a model with the sizes of `garden_tied`.
fn electra() -> String {
    fs::read_to_string(fixture("garden_params").join("electra.yaml")).unwrap()
}

/// `garden_tied` with this params.yaml beside it.
fn beside(text: &str) -> TempDir {
    let folder = copy_of("garden_tied");
    fs::write(folder.path().join("params.yaml"), text).unwrap();
    folder
}

/// Replaces the value of a key of the discriminator's encoder, which comes first in the file.
fn discriminator(line: &str, replacement: &str) -> String {
    let text = electra();
    assert!(text.contains(line), "{line}");
    text.replacen(line, replacement, 1)
}

/// Replaces the value of a key of the generator's encoder, which comes last.
fn generator(line: &str, replacement: &str) -> String {
    let text = electra();
    let at = text.rfind(line).unwrap();
    format!("{}{replacement}{}", &text[..at], &text[at + line.len()..])
}

fn planned(folder: &Path, model: &str, options: &[&str]) -> testkit::Run {
    let export = export(folder).model(model).args(options);
    export.args(["--dry-run", "--allow-inexact"]).run()
}

fn source(run: &testkit::Run, key: &str) -> Value {
    run.json()["exports"][0]["config_sources"][key].clone()
}

#[test]
fn the_file_of_the_training_run_is_a_source() {
    let folder = beside(&electra());
    for model in ["discriminator", "generator"] {
        let run = planned(folder.path(), model, &["--json"]).ok();
        let activation = source(&run, "hidden_act");
        assert_eq!(activation["kind"], "params_file");
        let detail = activation["detail"].as_str().unwrap();
        let key = format!("task.model.{model}_encoder.bert.hidden_activation in params.yaml");
        assert_eq!(detail, key);
        let heads = source(&run, "num_attention_heads");
        assert_eq!(heads["kind"], "shape");
        assert_eq!(heads["agreed"][0]["kind"], "params_file");
        assert!(!run.stderr.contains("does not show"), "{}", run.stderr);
    }
    // The real file beside the token classifier has another type, and one encoder.
    let run = planned(&fixture("garden_tagging"), "finetuned", &["--json"]).ok();
    let detail = source(&run, "hidden_act")["detail"].clone();
    let key = "task.model.encoder.bert_v2.hidden_activation in params.yaml";
    assert_eq!(detail, key);
    assert!(!run.stderr.contains("norm_first"), "{}", run.stderr);
    assert!(run.stderr.contains("as an ELECTRA or as a BERT"));
    // A file of an older version, without a key.
    let folder = beside(&discriminator("        norm_first: false\n", ""));
    let run = planned(folder.path(), "discriminator", &[]).ok();
    let words = "does not show the settings norm_first of its encoder";
    assert!(run.stderr.contains(words), "{}", run.stderr);
    assert!(run.stderr.contains("norm_first: false assumed"));
    assert!(!run.stderr.contains("type: bert"));
}

#[test]
fn the_activation_of_the_file_is_exported() {
    let text = electra().replace("hidden_activation: gelu", "hidden_activation: ReLU");
    let folder = beside(&text);
    let out = temp();
    let export = export(folder.path()).model("discriminator").to(out.path());
    export.run().ok();
    let config = read_json(&out.path().join("config.json"));
    assert_eq!(config["hidden_act"], "relu");
    run!["verify", out.path(), "--source", folder.path()].ok();
    // An export of another activation does not pass.
    fs::write(folder.path().join("params.yaml"), electra()).unwrap();
    run!["verify", out.path(), "--source", folder.path()].fails(5, &["hidden_act", "params.yaml"]);
    for (name, activation) in [
        ("simple_swish", "silu"),
        ("identity", "linear"),
        ("relu6", "relu6"),
    ] {
        let text = electra().replace("activation: gelu", &format!("activation: {name}"));
        let run = planned(beside(&text).path(), "discriminator", &["--json"]).ok();
        assert_eq!(
            run.json()["exports"][0]["config"]["hidden_act"],
            activation,
            "{name}"
        );
    }
}

#[test]
fn the_file_is_found_beside_the_checkpoint_or_above() {
    let folder = temp();
    let checkpoint = folder.path().join("best_ckpt");
    fs::create_dir(&checkpoint).unwrap();
    for file in fs::read_dir(fixture("garden_tied")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), checkpoint.join(file.file_name())).unwrap();
    }
    let first = discriminator("norm_first: false", "norm_first: true");
    let above = folder.path().join("params.yaml");
    fs::write(&above, first).unwrap();
    let words = [&*above.display().to_string(), "norm_first is true"];
    planned(&checkpoint, "discriminator", &[]).fails(4, &words);
    // The nearer file is that of the run.
    fs::write(checkpoint.join("params.yaml"), electra()).unwrap();
    planned(&checkpoint, "discriminator", &[]).ok();
    // Two directories above is another run's.
    fs::remove_file(checkpoint.join("params.yaml")).unwrap();
    let deeper = folder.path().join("runs/best");
    fs::create_dir_all(&deeper).unwrap();
    let moved: Vec<PathBuf> = fs::read_dir(&checkpoint)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    for file in moved {
        fs::rename(&file, deeper.join(file.file_name().unwrap())).unwrap();
    }
    planned(&deeper, "discriminator", &[]).ok();
    // Checkpoints of other code have no such file.
    let other = copy_of("object_untied");
    fs::write(other.path().join("params.yaml"), "a: [").unwrap();
    planned(
        other.path(),
        "discriminator",
        &["--num-attention-heads", "2"],
    )
    .ok();
}

/// A replacement in the discriminator's encoder, options, words of the error.
type Refusal = (
    (&'static str, &'static str),
    &'static [&'static str],
    &'static [&'static str],
);

const REFUSALS: &[Refusal] = &[
    (
        ("norm_first: false", "norm_first: true"),
        &[],
        &[
            "norm_first is true",
            "task.model.discriminator_encoder.bert.norm_first",
            "no Hugging Face ELECTRA class",
        ],
    ),
    (
        ("norm_first: false", "norm_first: 'false'"),
        &[],
        &["norm_first is \"false\"", "expected true or false"],
    ),
    (
        ("norm_first: false", "norm_first: yes"),
        &[],
        &["norm_first is yes", "expected true or false"],
    ),
    (
        (
            "norm_first: false",
            "norm_first: false\n        norm_first: true",
        ),
        &[],
        &["discriminator_encoder.bert", "norm_first twice"],
    ),
    (
        (
            "norm_first: false",
            "norm_first: false\n        use_relative_pe: true",
        ),
        &[],
        &["discriminator_encoder.bert", "use_relative_pe"],
    ),
    (
        ("type: bert\n", "type: bigbird\n"),
        &["--hidden-act", "gelu_new"],
        &[
            "type is bigbird",
            "task.model.discriminator_encoder.type",
            "expected bert or bert_v2",
        ],
    ),
    (
        ("      type: bert\n", ""),
        &[],
        &["no task.model.discriminator_encoder.type"],
    ),
    (
        ("type: bert\n", "type: bert_v2\n"),
        &[],
        &["no task.model.discriminator_encoder.bert_v2"],
    ),
    (
        ("hidden_activation: gelu", "hidden_activation: elu"),
        &[],
        &["hidden_act is elu", "no Hugging Face ELECTRA class"],
    ),
    (
        ("hidden_activation: gelu", "hidden_activation: leaky_relu"),
        &["--hidden-act", "leaky_relu"],
        &["hidden_act is leaky_relu", "as Model Garden does"],
    ),
    (
        ("hidden_activation: gelu", "hidden_activation: ours"),
        &[],
        &["hidden_act is ours", "--hidden-act"],
    ),
    (
        ("hidden_activation: gelu", "hidden_activation: relu"),
        &[],
        &[
            "hidden_activation is gelu",
            "",
            "generator_encoder.bert.hidden_activation",
            "head of the discriminator",
            "relu",
        ],
    ),
    (
        ("norm_first: false", "norm_first: false"),
        &["--hidden-act", "gelu"],
        &[
            "hidden_act is gelu by --hidden-act",
            "gelu_new",
            "discriminator_encoder.bert.hidden_activation",
        ],
    ),
    (
        ("num_attention_heads: 4", "num_attention_heads: 8"),
        &[],
        &[
            "num_attention_heads is 4",
            "but 8",
            "bert.num_attention_heads",
        ],
    ),
    (
        ("num_layers: 2", "num_layers: 12"),
        &[],
        &["num_hidden_layers is 2", "but 12", "bert.num_layers"],
    ),
    (
        ("embedding_size: 16", "embedding_size: null"),
        &[],
        &["embedding_size is 16", "but 32", "bert.embedding_size"],
    ),
    (
        ("hidden_size: 32", "hidden_size: 033"),
        &[],
        &["hidden_size is 033", "expected a whole number"],
    ),
    (
        ("vocab_size: 64", "vocab_size: [64]"),
        &[],
        &["vocab_size is a list", "bert.vocab_size"],
    ),
    (
        ("discriminator_encoder:", "encoder_of_another_fork:"),
        &[],
        &[
            "task.model has none of discriminator_encoder, encoder",
            "move it elsewhere",
        ],
    ),
    (("  model:\n", "  models:\n"), &[], &["no task.model"]),
    (("task:\n", "tasks:\n"), &[], &["no task"]),
    (
        ("task:\n", "task: [\n"),
        &[],
        &["params.yaml", "not valid YAML"],
    ),
];

#[test]
fn contradictions_and_other_encoders_are_refused() {
    for ((line, replacement), options, words) in REFUSALS {
        let folder = beside(&discriminator(line, replacement));
        let words = [*words, &["params.yaml"]].concat();
        planned(folder.path(), "discriminator", options).fails(4, &words);
    }
    // A config.json is compared, too.
    let folder = beside(&electra());
    let config = folder.path().join("config.json");
    fs::write(&config, r#"{"hidden_act": "relu"}"#).unwrap();
    let options = ["--config", config.to_str().unwrap()];
    let words = ["hidden_act is relu", "gelu_new", "params.yaml"];
    planned(folder.path(), "discriminator", &options).fails(4, &words);
    // An activation of the fork's own can be given, and is that of both encoders.
    let text = electra().replace("activation: gelu", "activation: ours");
    let run = planned(
        beside(&text).path(),
        "discriminator",
        &["--hidden-act", "quick_gelu"],
    );
    run.ok();
    let text = text.replacen("activation: ours", "activation: relu", 1);
    planned(beside(&text).path(), "discriminator", &[]).fails(4, &["hidden_act is ours"]);
    // The encoder of a hub is not built from the settings.
    let tagging = fixture("garden_tagging").join("params.yaml");
    let tagging = fs::read_to_string(tagging).unwrap();
    let folder = copy_of("garden_tagging");
    let text = tagging.replacen("  model:\n", "  hub_module_url: 'https://x'\n  model:\n", 1);
    fs::write(folder.path().join("params.yaml"), text).unwrap();
    let words = ["task.hub_module_url", "https://x"];
    planned(folder.path(), "finetuned", &[]).fails(4, &words);
}

#[test]
fn only_the_exported_encoder_must_be_understood() {
    let text = generator("norm_first: false", "norm_first: true");
    let folder = beside(&text);
    planned(folder.path(), "discriminator", &[]).ok();
    let words = ["norm_first is true", "generator_encoder"];
    planned(folder.path(), "generator", &[]).fails(4, &words);
    let folder = beside(&discriminator("norm_first: false", "norm_first: true"));
    planned(folder.path(), "generator", &[]).ok();
}

#[test]
fn files_that_are_not_the_training_runs_are_errors() {
    let folder = beside("");
    planned(folder.path(), "discriminator", &[]).fails(4, &["params.yaml", "empty"]);
    let path = folder.path().join("params.yaml");
    for (bytes, word) in [
        (&b"\xff\xfe"[..], "UTF-8"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
            "LFS",
        ),
        (b"task: &a\n  b: *a\n  model: *a\n", "an alias"),
    ] {
        fs::write(&path, bytes).unwrap();
        let run = planned(folder.path(), "discriminator", &[]);
        assert!(matches!(run.code, Some(3 | 4)), "{}", run.stderr);
        assert!(run.stderr.contains(word), "{}", run.stderr);
    }
    fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
    let run = planned(folder.path(), "discriminator", &[]);
    assert!(run.stderr.contains("params.yaml"), "{}", run.stderr);
    assert_ne!(run.code, Some(0));
}
