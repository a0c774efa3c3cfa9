//! `probe`, and the measurement on text.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;

use testkit::{Run, command, copy_of, fixture, run, temp};

fn models() -> TempDir {
    let out = temp();
    run!["-q", "--model", "both", fixture("trained"), out.path()].ok();
    out
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[test]
fn a_generator_fills_each_mask() {
    let out = models();
    let generator = out.path().join("generator");
    let run = run!["probe", generator, "the [MASK] of the [MASK] ."].ok();
    assert!(
        run.stdout
            .starts_with("[CLS] the [MASK] of the [MASK] . [SEP]"),
        "{}",
        run.stdout
    );
    assert!(run.stdout.contains('█'), "{}", run.stdout);

    let document = run!["probe", generator, "the", "[MASK]", "of", "it", "--json"]
        .ok()
        .json();
    let masks = document["texts"][0]["masks"].as_array().unwrap();
    assert_eq!(masks.len(), 1);
    assert_eq!(masks[0]["position"], 2);
    let best: Vec<f64> = masks[0]["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|candidate| number(&candidate["probability"]))
        .collect();
    assert_eq!(best.len(), 5);
    assert!(best.is_sorted_by(|a, b| a >= b) && best[4] > 0.0);
    assert!(best.iter().sum::<f64>() <= 1.0);
}

#[test]
fn without_a_mask_each_word_is_masked_in_turn() {
    let out = models();
    let run = run![
        "probe",
        out.path().join("generator"),
        "the function returns a value",
        "--json"
    ];
    let document = run.ok().json();
    let words = document["texts"][0]["words"].as_array().unwrap();
    let names: Vec<&str> = words
        .iter()
        .map(|word| word["piece"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["the", "function", "returns", "a", "value"]);
    assert!(
        words
            .iter()
            .all(|word| (0.0..1.0).contains(&number(&word["probability"])))
    );
    // The model was trained for a while: a common word is more probable than a rare one.
    assert!(number(&words[0]["probability"]) > 1.0 / 1200.0);
}

#[test]
fn a_discriminator_puts_numbers_under_words_or_colours_them() {
    let out = models();
    let discriminator = out.path().join("discriminator");
    let plain = run!["probe", discriminator, "the default is not given"].ok();
    let lines: Vec<&str> = plain.stdout.lines().collect();
    assert!(lines[0].starts_with("the "), "{}", plain.stdout);
    assert!(lines[1].contains('%'), "{}", plain.stdout);
    assert!(!plain.stdout.contains('\x1b'));

    let text = "the default is not given";
    let mut forced = command(&[&"probe", &discriminator, &text]);
    let coloured: Run = forced.env("CLICOLOR_FORCE", "1").output().unwrap().into();
    assert!(coloured.ok().stdout.contains("\x1b[38;5;"));
}

#[test]
fn the_game_is_the_same_for_the_same_seed() {
    let out = models();
    let (generator, discriminator) = (
        out.path().join("generator"),
        out.path().join("discriminator"),
    );
    let text =
        "the value of the argument is returned by the function when it is called with a name";
    let play = |seed: &str| {
        let document = run![
            "probe",
            generator,
            discriminator,
            text,
            "--json",
            "--seed",
            seed
        ];
        document.ok().json()["texts"].clone()
    };
    assert_eq!(play("1"), play("1"));
    assert_ne!(play("1"), play("2"));
    let games = (0..5).map(|seed| play(&seed.to_string()));
    let replaced = games
        .flat_map(|texts| texts[0]["tokens"].as_array().unwrap().clone())
        .filter(|token| !token["original"].is_null())
        .count();
    // 15 % of 17 tokens in five games, of which a few are guessed right.
    assert!((5..=20).contains(&replaced), "{replaced}");
    run!["probe", discriminator, generator, text].fails(2, &["a generator is needed"]);
}

#[test]
fn texts_come_from_a_file_or_from_standard_input_too() {
    let out = models();
    let discriminator = out.path().join("discriminator");
    let file = out.path().join("texts");
    fs::write(&file, "the first\n\n the second \n").unwrap();
    let document = run!["probe", discriminator, "--file", file, "--json"]
        .ok()
        .json();
    assert_eq!(document["texts"].as_array().unwrap().len(), 2);

    let mut child = command(&[&"probe", &discriminator, &"--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"one\ntwo\nthree\n")
        .unwrap();
    let run: Run = child.wait_with_output().unwrap().into();
    assert_eq!(run.ok().json()["texts"].as_array().unwrap().len(), 3);

    let empty = command(&[&"probe", &discriminator])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Run::from(empty).fails(2, &["no text"]);
    run!["probe", discriminator, "--file", "nowhere"].fails(2, &["nowhere"]);
}

#[test]
fn a_long_text_is_cut_with_a_warning() {
    let out = models();
    let text = "value ".repeat(300);
    let run = run!["probe", out.path().join("discriminator"), text, "--json"].ok();
    assert!(run.stderr.contains("174 tokens too long"), "{}", run.stderr);
    assert_eq!(
        run.json()["texts"][0]["tokens"].as_array().unwrap().len(),
        126
    );
}

#[test]
fn what_cannot_be_asked_says_why() {
    let out = temp();
    run![
        "-q",
        "--vocab",
        "none",
        "--model",
        "generator",
        fixture("trained"),
        out.path()
    ]
    .ok();
    run!["probe", out.path(), "a"].fails(2, &["tokenizer.json is missing", "--vocab"]);
    let out = temp();
    run![
        "-q",
        "--model",
        "discriminator",
        fixture("ft_sst"),
        out.path()
    ]
    .ok();
    run!["probe", out.path(), "a"].fails(2, &["ElectraModel", "neither"]);
    run!["probe", "nowhere", "a"].fails(2, &["nowhere"]);
}

fn english() -> std::path::PathBuf {
    fixture("text/english.txt")
}

/// The checkpoint without its training graph, so that a head count can be forced.
fn without_graph() -> TempDir {
    let folder = copy_of("trained");
    fs::remove_file(folder.path().join("model.ckpt-6000.meta")).unwrap();
    folder
}

fn convert_with_text(checkpoint: &Path, model: &str, heads: &str) -> (Run, Value) {
    let out = temp();
    let run = run![
        "--model",
        model,
        "--num-attention-heads",
        heads,
        "--text",
        english(),
        "--json",
        checkpoint,
        out.path().join("out"),
    ];
    let document = run.json();
    let verification = match &document["exports"] {
        Value::Null => &document["verification"],
        exports => &exports[0]["verification"],
    };
    let text = verification["text"].clone();
    (run, text)
}

#[test]
fn the_right_head_count_passes_on_text() {
    let folder = without_graph();
    for (model, heads, counts) in [("discriminator", "4", 5), ("generator", "1", 4)] {
        let (run, text) = convert_with_text(folder.path(), model, heads);
        run.ok();
        assert_ne!(text["verdict"], "contradicted");
        assert_eq!(text["configured"].to_string(), heads);
        assert_eq!(text["measured"].as_array().unwrap().len(), counts);
        assert!(text["sequences"].as_u64().unwrap() >= 20);
    }
    // The discriminator ranks the true count first, by cross-entropy.
    let (_, text) = convert_with_text(folder.path(), "discriminator", "4");
    assert_eq!(text["measured"][0]["heads"], 4);
}

#[test]
fn a_wrong_head_count_never_passes_as_right() {
    let folder = without_graph();
    for (model, heads) in [("discriminator", "2"), ("generator", "4")] {
        let (run, text) = convert_with_text(folder.path(), model, heads);
        match text["verdict"].as_str().unwrap() {
            "undecided" => drop(run.ok()),
            "contradicted" => drop(run.fails(5, &["attention heads"])),
            verdict => panic!("{model} with {heads} heads: {verdict}"),
        }
    }
}

#[test]
fn a_discriminator_without_its_generator_gets_figures_and_no_verdict() {
    let out = models();
    let (generator, discriminator) = (
        out.path().join("generator"),
        out.path().join("discriminator"),
    );
    let shown = run!["verify", discriminator, "--text", english()].ok();
    assert!(
        shown.stdout.contains("undecided: without the generator"),
        "{}",
        shown.stdout
    );
    let with = run![
        "verify",
        discriminator,
        "--text",
        english(),
        "--generator",
        generator
    ]
    .ok();
    assert!(
        with.stdout.contains("Head counts on text"),
        "{}",
        with.stdout
    );
    assert!(with.stdout.contains("configured"), "{}", with.stdout);
    let again = |seed: &str| {
        let run = run![
            "verify",
            generator,
            "--text",
            english(),
            "--seed",
            seed,
            "--json"
        ];
        run.ok().json()["text"].clone()
    };
    assert_eq!(again("3"), again("3"));
    assert_ne!(again("3"), again("4"));
}

#[test]
fn text_that_cannot_be_measured_is_refused() {
    let out = models();
    let generator = out.path().join("generator");
    let file = out.path().join("text");
    fs::write(&file, "too short").unwrap();
    run!["verify", generator, "--text", file].fails(2, &["too few", "text"]);
    fs::write(&file, [0xff]).unwrap();
    run!["verify", generator, "--text", file].fails(2, &["--text"]);
    run!["verify", generator, "--text", "nowhere"].fails(2, &["nowhere"]);
    fs::write(&file, "a ".repeat(600_000)).unwrap();
    run!["verify", generator, "--text", file].fails(2, &["more than the 1048576 allowed"]);
    let folder = out.path().join("x");
    let no_tokenizer = run![
        "--vocab",
        "none",
        "--text",
        english(),
        "--model",
        "generator",
        fixture("trained"),
        folder,
    ];
    let run = no_tokenizer.fails(2, &["--text needs a tokenizer", "--vocab FILE"]);
    assert!(!run.stderr.contains(".tmp"), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(!folder.exists());
}
