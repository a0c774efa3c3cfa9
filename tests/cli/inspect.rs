//! `inspect`: what a checkpoint holds.

use testkit::{copy_of, fixture, run};

#[test]
fn models_are_listed_with_the_command_that_exports_each() {
    let run = run!["inspect", fixture("trained")].ok();
    for text in [
        "507,649 parameters",
        "3 layers, hidden size 128, 4 attention heads",
        "hidden size 64, 1 attention head,",
        "--model discriminator",
        "--model generator",
        "step 6000",
        "step counter",
        "model.ckpt-6000.meta",
    ] {
        assert!(run.stdout.contains(text), "no {text:?} in\n{}", run.stdout);
    }
    assert_eq!(run.stderr, "");
}

#[test]
fn setups_are_told_apart() {
    for (name, setup) in [
        ("tiny_default", "default"),
        ("tiny_small_like", "default"),
        ("tiny_untied_embeddings", "untied_generator_embeddings"),
        ("tiny_tied", "tied_generator"),
        ("tiny_mlm", "masked_lm"),
        ("tiny_uniform", "no_generator"),
        ("tiny_electric", "electric"),
        ("ft_chunk", "fine_tuned"),
        ("ft_squadv1", "fine_tuned"),
    ] {
        let document = run!["inspect", fixture(name), "--json"].ok().json();
        assert_eq!(document["checkpoint"]["setup"], setup, "{name}");
    }
}

#[test]
fn variables_match_the_list_that_tensorflow_made() {
    for name in [
        "tiny_default",
        "tiny_tied",
        "ft_chunk",
        "trained",
        "tiny_electric",
    ] {
        let document = run!["inspect", fixture(name), "--json"].ok().json();
        let mut found: Vec<String> = document["variables"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| {
                let shape: Vec<usize> = serde_json::from_value(v["shape"].clone()).unwrap();
                format!(
                    "{}\t{}\t{shape:?}",
                    v["name"].as_str().unwrap(),
                    v["dtype"].as_str().unwrap()
                )
            })
            .collect();
        found.sort();
        let list = std::fs::read_to_string(fixture(name).join("variables.tsv")).unwrap();
        let mut expected: Vec<&str> = list.lines().collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn grep_picks_variables() {
    let run = run![
        "inspect",
        fixture("tiny_default"),
        "--grep",
        "layer_1/.*query/kernel$"
    ]
    .ok();
    let lines: Vec<&str> = run.stdout.lines().skip(1).collect();
    assert_eq!(lines.len(), 2, "{}", run.stdout);
    assert!(lines[0].contains("electra/encoder/layer_1/attention/self/query/kernel"));
    assert!(lines[0].contains("[64, 64]"));
    assert!(lines[0].contains("16384"));
    let all = run!["inspect", fixture("tiny_default"), "--variables"].ok();
    assert!(all.stdout.lines().count() > 200);
    assert!(all.stdout.contains("optimizer state"));
}

#[test]
fn an_index_alone_can_be_inspected() {
    let folder = copy_of("tiny_default");
    std::fs::remove_file(folder.path().join("model.ckpt-400.data-00000-of-00001")).unwrap();
    let run = run!["inspect", folder.path()].ok();
    assert!(run.stdout.contains("is missing"), "{}", run.stdout);
    assert!(run.stdout.contains("step 400"), "{}", run.stdout);
}

#[test]
fn an_electric_checkpoint_says_why_there_is_no_generator() {
    let run = run!["inspect", fixture("tiny_electric")].ok();
    assert!(run.stdout.contains("two-tower"), "{}", run.stdout);
}
