//! `--model-card`: README.md for the Hugging Face Hub.

use std::fs;

use testkit::{Run, fixture, run, temp};

#[test]
fn the_card_has_what_is_known_and_what_is_stated() {
    let out = temp();
    let folder = out.path().join("out");
    let ran = run!(
        "--model",
        "generator",
        fixture("trained"),
        &folder,
        "--model-card",
        "--license",
        "apache-2.0",
        "--language",
        "en,de",
        "--json"
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let card = fs::read_to_string(folder.join("README.md")).unwrap();
    let header = "---\nlibrary_name: transformers\npipeline_tag: fill-mask\ntags:\n- electra\n\
                  license: \"apache-2.0\"\nlanguage:\n- \"en\"\n- \"de\"\n---\n";
    assert!(card.starts_with(header), "{card}");
    for words in [
        "`model.ckpt-6000` at training step 6000",
        "- class: `ElectraForMaskedLM`",
        "| `num_attention_heads` |",
        "in model.ckpt-6000.meta |",
        "- tensors equal to the checkpoint's variables by its CRC-32C: 58",
        "compared with the training graph: deviation",
        "model = ElectraForMaskedLM.from_pretrained(",
        "tokenizer = AutoTokenizer.from_pretrained(",
    ] {
        assert!(card.contains(words), "{words}: {card}");
    }
    assert!(!card.contains("base_model"), "{card}");
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let files = document["exports"][0]["files"].as_array().unwrap();
    let path = folder.join("README.md");
    assert_eq!(files[0]["path"], path.to_str().unwrap());
    assert_eq!(files[0]["bytes"], card.len());
    assert_eq!(run!("verify", &folder).code, Some(0));
}

#[test]
fn nothing_is_stated_without_options() {
    let out = temp();
    let folder = out.path().join("out");
    let ran = run!(
        "--model",
        "both",
        fixture("trained"),
        &folder,
        "--model-card",
        "--no-verify"
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let card = fs::read_to_string(folder.join("discriminator/README.md")).unwrap();
    let header = "---\nlibrary_name: transformers\ntags:\n- electra\n---\n";
    assert!(card.starts_with(header), "{card}");
    assert!(card.contains("This export was not verified."), "{card}");
    assert!(folder.join("generator/README.md").exists());
    let Run { code, stderr, .. } = run!(
        "--model",
        "generator",
        fixture("trained"),
        out.path().join("other"),
        "--license",
        "mit"
    );
    assert_eq!(code, Some(2));
    assert!(stderr.contains("--model-card"), "{stderr}");
}

#[test]
fn a_readme_is_replaced_only_by_a_card_and_with_force() {
    let out = temp();
    let readme = out.path().join("README.md");
    fs::write(&readme, "mine").unwrap();
    let convert = |more: &[&str]| {
        let mut command = testkit::command(&[]);
        command.args(["--model", "generator"]).args(more);
        let command = command.arg(fixture("trained")).arg(out.path());
        Run::from(command.output().unwrap())
    };
    let refused = convert(&["--model-card"]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("README.md"), "{}", refused.stderr);
    assert_eq!(fs::read_to_string(&readme).unwrap(), "mine");
    assert!(!out.path().join("model.safetensors").exists());

    assert_eq!(convert(&[]).code, Some(0));
    assert_eq!(convert(&["--force"]).code, Some(0));
    assert_eq!(fs::read_to_string(&readme).unwrap(), "mine");
    assert_eq!(convert(&["--force", "--model-card"]).code, Some(0));
    assert!(fs::read_to_string(&readme).unwrap().starts_with("---\n"));
    // A card stays until another one replaces it.
    assert_eq!(convert(&["--model-card"]).code, Some(2));
}
