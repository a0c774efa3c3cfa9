//! Tokenizer files, and the ids that they give.

use std::fs;

use electra_convert::tokenizer::{TokenizerSetup, Vocabulary};
use serde_json::Value;

use testkit::{EXPORTED, Run, command, copy_of, fixture, listing, read_json, run, temp};

#[test]
fn ids_are_those_of_the_original_tokenizer() {
    let cases = read_json(&fixture("tokenizer/cases.json"));
    let cases = cases.as_array().unwrap();
    assert!(cases.len() >= 200);
    for (name, lower) in [("lower", true), ("cased", false)] {
        let vocabulary = Vocabulary::read(&fixture(&format!("tokenizer/{name}.txt"))).unwrap();
        // The vocabularies hold every character of the text, accents too; the ids are those of the
        // original code's defaults.
        let setup = TokenizerSetup::new(vocabulary, None, Some(lower));
        assert_eq!(setup.settings.do_lower_case, lower);
        let tokenizer = setup.tokenizer().unwrap();
        for case in cases {
            let text = case["text"].as_str().unwrap();
            let found = tokenizer.encode(text, true).unwrap();
            let expected: Vec<u32> = serde_json::from_value(case[name].clone()).unwrap();
            assert_eq!(found.get_ids(), expected, "{name}: {text:?}");
        }
    }
}

#[test]
fn files_are_those_that_transformers_saves() {
    for name in ["tokenizer_lower", "tokenizer_cased"] {
        let facts = fixture("facts").join(name);
        let vocabulary = Vocabulary::read(&facts.join("vocab.txt")).unwrap();
        let mut setup = TokenizerSetup::new(vocabulary, None, None);
        // The cased vocabulary has accents, so it is known that they are kept; transformers was not
        // given the setting.
        assert_ne!(setup.settings.strip_accents, Some(true));
        setup.settings.strip_accents = None;
        let files = setup.files(128).unwrap();
        let written = |name: &str| &files.iter().find(|(file, _)| *file == name).unwrap().1;
        let read = |name: &str| fs::read_to_string(facts.join(name)).unwrap();
        assert_eq!(*written("vocab.txt"), read("vocab.txt"));
        assert!(written("tokenizer.json").trim() == read("tokenizer.json").trim());

        let config: Value = serde_json::from_str(written("tokenizer_config.json")).unwrap();
        let expected = read_json(&facts.join("tokenizer_config.json"));
        for (key, value) in expected.as_object().unwrap() {
            if key != "tokenizer_class" {
                assert_eq!(&config[key], value, "{key}");
            }
        }
    }
    let facts = fixture("facts/tokenizer_lower_v4");
    let vocabulary = Vocabulary::read(&fixture("facts/tokenizer_lower/vocab.txt")).unwrap();
    let files = TokenizerSetup::new(vocabulary, None, None)
        .files(128)
        .unwrap();
    let json = |at: usize| serde_json::from_str::<Value>(&files[at].1).unwrap();
    assert_eq!(json(3), read_json(&facts.join("special_tokens_map.json")));
    let mut config = json(2);
    config.as_object_mut().unwrap().remove("backend");
    assert_eq!(config, read_json(&facts.join("tokenizer_config.json")));
}

#[test]
fn a_vocabulary_beside_the_checkpoint_or_above_is_taken() {
    let out = temp();
    let run = run!["--model", "both", fixture("tiny_default"), out.path()].ok();
    assert!(
        run.stdout
            .contains("vocab.txt, lower-cased, accents stripped"),
        "{}",
        run.stdout
    );
    for model in ["discriminator", "generator"] {
        assert_eq!(listing(&out.path().join(model)), EXPORTED);
    }
    let config = read_json(&out.path().join("generator/tokenizer_config.json"));
    assert_eq!(config["model_max_length"], 128);

    // data_dir/vocab.txt and data_dir/models/NAME/, as the original code lays it out.
    let folder = copy_of("fmt_weights_only");
    for (below, is_found) in [("a", true), ("a/b", true), ("a/b/c", false)] {
        let checkpoint = folder.path().join(below);
        fs::create_dir(&checkpoint).unwrap();
        for suffix in ["index", "data-00000-of-00001"] {
            let name = format!("electra_tiny.{suffix}");
            fs::copy(folder.path().join(&name), checkpoint.join(&name)).unwrap();
        }
        let out = folder.path().join("out").join(below.replace('/', "-"));
        run!["--model", "generator", checkpoint, out].ok();
        assert_eq!(out.join("tokenizer.json").exists(), is_found, "{below}");
    }
}

/// The paths in messages are those that one would type.
#[test]
fn a_vocabulary_above_the_working_directory_is_found() {
    let folder = copy_of("fmt_weights_only");
    let below = folder.path().join("models/tiny");
    fs::create_dir_all(&below).unwrap();
    for suffix in ["index", "data-00000-of-00001"] {
        let name = format!("electra_tiny.{suffix}");
        fs::rename(folder.path().join(&name), below.join(&name)).unwrap();
    }
    let out = temp();
    for (directory, checkpoint, vocabulary) in [
        (below.as_path(), "electra_tiny", "/vocab.txt, lower-cased"),
        (
            folder.path(),
            "models/tiny",
            "tokenizer   vocab.txt, lower-cased",
        ),
    ] {
        let run = command(&[
            &"--model",
            &"generator",
            &"--force",
            &checkpoint,
            &out.path(),
        ])
        .current_dir(directory)
        .output();
        let run = Run::from(run.unwrap()).ok();
        assert!(run.stdout.contains(vocabulary), "{}", run.stdout);
    }
    fs::remove_file(folder.path().join("vocab.txt")).unwrap();
    let run = command(&[
        &"--model",
        &"generator",
        &"--force",
        &"models/tiny",
        &out.path(),
    ])
    .current_dir(folder.path())
    .output();
    let run = Run::from(run.unwrap()).ok();
    let places = "(looked for models/tiny/vocab.txt, models/vocab.txt, vocab.txt)";
    assert!(run.stderr.contains(places), "{}", run.stderr);
}

#[test]
fn without_a_vocabulary_a_warning_says_where_it_looked() {
    let folder = copy_of("fmt_weights_only");
    let vocabulary = folder.path().join("vocab.txt");
    fs::remove_file(&vocabulary).unwrap();
    let out = temp();
    let run = run!["--model", "generator", folder.path(), out.path()].ok();
    let path = vocabulary.to_str().unwrap();
    assert!(
        run.stderr.contains("warning: no vocabulary"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains(path), "{}", run.stderr);
    assert_eq!(listing(out.path()), ["config.json", "model.safetensors"]);

    let out = temp();
    let none = ["--vocab", "none"];
    let run = run![
        "--model",
        "generator",
        none[0],
        none[1],
        fixture("trained"),
        out.path()
    ]
    .ok();
    assert_eq!(run.stderr, "");
    assert_eq!(listing(out.path()), ["config.json", "model.safetensors"]);
}

#[test]
fn options_decide_over_the_vocabulary() {
    let out = temp();
    let checkpoint = fixture("tiny_default");
    let options = ["--do-lower-case", "false", "--strip-accents", "true"];
    let run = run![
        "--model",
        "generator",
        options[0],
        options[1],
        options[2],
        options[3],
        checkpoint,
        out.path(),
    ]
    .ok();
    assert!(
        run.stdout.contains("cased, accents stripped"),
        "{}",
        run.stdout
    );
    let config = read_json(&out.path().join("tokenizer_config.json"));
    assert_eq!(config["do_lower_case"], false);
    assert_eq!(config["strip_accents"], true);
    let tokenizer = read_json(&out.path().join("tokenizer.json"));
    assert_eq!(tokenizer["normalizer"]["lowercase"], false);
    assert_eq!(tokenizer["normalizer"]["strip_accents"], true);
}

#[test]
fn a_vocabulary_that_does_not_fit_is_refused_before_anything_is_written() {
    let folder = temp();
    let path = folder.path().join("v.txt");
    let out = folder.path().join("out");
    let with = |text: &[u8]| {
        fs::write(&path, text).unwrap();
        run![
            "--model",
            "generator",
            "--vocab",
            path,
            fixture("tiny_default"),
            out
        ]
    };
    let sound = fs::read(fixture("tiny_default").join("vocab.txt")).unwrap();
    with(&[&sound[..], b"one-more\n"].concat()).fails(
        4,
        &[
            "1201 tokens",
            "1200 rows",
            "\"one-more\" in line 1201",
            "--vocab none",
        ],
    );
    // An empty line in the middle moves the last token beyond the rows.
    let text = String::from_utf8(sound.clone()).unwrap();
    with(text.replacen("\na\n", "\n\na\n", 1).as_bytes())
        .fails(4, &["1201 tokens", "1200 rows", "1 line without a token"]);
    with(&[&sound[..], b"\none-more\n\n"].concat())
        .fails(4, &["line 1202", "2 lines without a token"]);
    for end in [&b"\n"[..], b" \n\n"] {
        with(&[&sound[..], end].concat()).fails(4, &["line 1201", "empty", "remove", "1200 rows"]);
    }
    with(b"[PAD]\na\n").fails(4, &["lacks [UNK]"]);
    with(b"a\n\xff\n").fails(4, &["line 2", "UTF-8"]);
    assert!(!out.exists());
    run![
        "--model",
        "generator",
        "--vocab",
        "nowhere",
        fixture("tiny_default"),
        out
    ]
    .fails(2, &["nowhere"]);
    for (vocab, words) in [
        ("hdfs://host/vocab.txt", "an address"),
        ("/dev/zero", "a device"),
        ("/", "a directory"),
    ] {
        let checkpoint = fixture("tiny_default");
        run!["--model", "generator", "--vocab", vocab, checkpoint, out].fails(2, &[vocab, words]);
    }
}

#[test]
fn the_padding_id_is_the_vocabularys() {
    let folder = temp();
    let text = fs::read_to_string(fixture("tiny_default").join("vocab.txt")).unwrap();
    let mut tokens: Vec<&str> = text.lines().collect();
    tokens.swap(0, 7);
    let path = folder.path().join("v.txt");
    fs::write(&path, tokens.join("\n")).unwrap();
    let out = folder.path().join("out");
    run![
        "--model",
        "generator",
        "--vocab",
        path,
        fixture("tiny_default"),
        out
    ]
    .ok();
    assert_eq!(read_json(&out.join("config.json"))["pad_token_id"], 7);

    let config = folder.path().join("config.json");
    fs::write(&config, r#"{"pad_token_id": 1}"#).unwrap();
    run![
        "--model",
        "generator",
        "--config",
        config,
        fixture("tiny_default"),
        folder.path().join("x")
    ]
    .fails(4, &["pad_token_id", "vocab.txt"]);
}
