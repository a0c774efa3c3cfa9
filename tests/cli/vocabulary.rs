//! Vocabularies of many languages and in every condition, with the settings and ids that follow.

#![allow(
    clippy::similar_names,
    clippy::struct_field_names,
    clippy::too_many_lines,
    clippy::type_complexity,
    reason = "tables of cases, in the words of transformers"
)]

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokenizers::Tokenizer;

use crate::bundle_writer::{SMALL, Sizes, discriminator};
use crate::support::{Run, command, read_json, temp};

const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// Exports a discriminator with this many rows and this `vocab.txt`.
fn export(vocab: &[u8], rows: usize, options: &[&str]) -> (TempDir, Run) {
    let folder = temp();
    let sizes = Sizes {
        vocab: i64::try_from(rows).unwrap(),
        ..SMALL
    };
    discriminator(sizes).write(&folder.path().join("model"));
    fs::write(folder.path().join("vocab.txt"), vocab).unwrap();
    let out = folder.path().join("out");
    let run = command(&[
        &"--model",
        &"discriminator",
        &folder.path().join("model"),
        &out,
    ])
    .args(options)
    .output();
    (folder, Run::from(run.unwrap()))
}

/// Special tokens, the alphabet and six hundred words in lower case, then `tokens`.
fn english_with(tokens: &[String]) -> Vec<String> {
    let letters = 'a'..='z';
    let mut all: Vec<String> = SPECIAL.map(str::to_owned).to_vec();
    all.extend(
        letters
            .clone()
            .flat_map(|c| [c.to_string(), format!("##{c}")]),
    );
    let syllables = ["ba", "de", "fi", "go", "hu", "ka", "le", "mi", "no"];
    for first in syllables {
        for second in syllables {
            all.extend(
                ["", "n", "r", "s", "t", "x", "q"].map(|end| format!("{first}{second}{end}")),
            );
        }
    }
    all.extend_from_slice(tokens);
    all
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn each(chars: impl Iterator<Item = char>) -> Vec<String> {
    chars
        .flat_map(|c| [c.to_string(), format!("##{c}")])
        .collect()
}

/// Decomposed Hangul, as a vocabulary has it that was made from stripped text.
fn jamo() -> Vec<String> {
    let syllables = ('\u{1100}'..'\u{1110}')
        .flat_map(|first| ('\u{1161}'..'\u{1171}').map(move |second| format!("{first}{second}")));
    syllables.collect()
}

/// Each letter with each mark.
fn marked(letters: impl Iterator<Item = char>, marks: &str) -> Vec<String> {
    letters
        .flat_map(|letter| marks.chars().map(move |mark| format!("{letter}{mark}")))
        .collect()
}

/// What must be decided, and the option that a warning must name.
struct Case {
    name: &'static str,
    tokens: Vec<String>,
    do_lower_case: bool,
    strip_accents: Option<bool>,
    warning: Option<&'static str>,
}

fn case(name: &'static str, tokens: Vec<String>, settings: (bool, Option<bool>)) -> Case {
    let (do_lower_case, strip_accents) = settings;
    Case {
        name,
        tokens,
        do_lower_case,
        strip_accents,
        warning: None,
    }
}

#[test]
fn settings_follow_from_the_whole_vocabulary() {
    let default = (true, None);
    let kept = (true, Some(false));
    let cased = (false, None);
    let special = |tokens: &[&str]| -> Vec<String> {
        SPECIAL
            .iter()
            .chain(tokens)
            .map(|&t| t.to_owned())
            .collect()
    };
    let english = |text: &str| english_with(&words(text));
    let warned = |case: Case, option| Case {
        warning: Some(option),
        ..case
    };
    let cases = [
        case(
            "English",
            english("ℝ ##ℝ [unused1] [EOT] <S> <T> <URL> A.B"),
            default,
        ),
        case("no letters", special(&["1", "2", "##3"]), default),
        case("one odd capital letter", english_with(&words("Q")), default),
        case("one odd accent", english("café"), default),
        case("capital letters", english_with(&each('A'..='Z')), cased),
        case(
            "capital letters in words",
            english(
                "A B C D E ##F ##G Der Die Das Haus Berlin Wien Tag \
            Baum Wald Mann Frau Kind Hund Katze Maus Auto Bahn Zug Flug Schiff Rad Weg Stein Fluss \
            Berg Tal See Meer Land Stadt Dorf Hof Tor Dach Wand Tisch",
            ),
            cased,
        ),
        case("DNA", special(&["A", "C", "G", "T", "N"]), cased),
        case(
            "chemistry",
            special(&["C", "##l", "N", "O", "##Br", "c", "n", "1", "2"]),
            cased,
        ),
        case(
            "Cyrillic, cased",
            [special(&[]), each(('а'..='я').chain('А'..='Я'))].concat(),
            cased,
        ),
        case(
            "German",
            english("für über grün schön mädchen können müssen ö ü ä ##ö ##ü ##ä"),
            kept,
        ),
        case(
            "French",
            english("é è ê ç à ##é ##è été école élève père mère garçon déjà"),
            kept,
        ),
        case(
            "Turkish",
            english("ı ##ı i̇ ş ğ ç ##ş ##ğ ##ç çok şey değil i̇stanbul için"),
            kept,
        ),
        case(
            "Vietnamese",
            english("ế ệ ờ ữ ă ơ ##ế ##ệ việt tiếng nước người được"),
            kept,
        ),
        case("Korean", english_with(&each('가'..='긿')), kept),
        case(
            "Korean, cased",
            english_with(&[each('가'..='긿'), each('A'..='Z')].concat()),
            (false, Some(false)),
        ),
        case(
            "Korean, decomposed",
            english_with(&jamo()),
            (true, Some(true)),
        ),
        case(
            "Japanese",
            english_with(&each("がぎぐげござじずぜぞかきくけこさしすせそ".chars())),
            kept,
        ),
        case("Chinese", english_with(&each('一'..='十')), default),
        case(
            "Hindi",
            english_with(&marked('क'..='ह', "\u{941}\u{947}\u{902}")),
            kept,
        ),
        case(
            "Arabic",
            english("أ إ آ ؤ ئ ##أ أحمد إلى أن سؤال رئيس مُحَمَّد"),
            kept,
        ),
        case(
            "Thai",
            english_with(&marked('ก'..='ฮ', "\u{e34}\u{e38}\u{e48}")),
            kept,
        ),
        case("Greek, stripped", english_with(&each('α'..='ω')), default),
        case("Hebrew, stripped", english_with(&each('א'..='ת')), default),
        case(
            "a mark alone",
            english_with(&each("\u{301}\u{308}\u{5b0}\u{5b1}\u{64b}".chars())),
            default,
        ),
        warned(
            case(
                "half of the capital letters",
                english_with(&each('A'..='M')),
                default,
            ),
            "--do-lower-case false",
        ),
        warned(
            case("two capital words", english("Haus Berlin"), default),
            "--do-lower-case false",
        ),
        warned(
            case("a few accents", english("café naïve"), default),
            "--strip-accents false",
        ),
        warned(
            case(
                "words with Chinese characters",
                english("日本 東京 大学 学生 先生 会社 電車 時間 新聞 学校"),
                default,
            ),
            "--vocab none",
        ),
        warned(
            case(
                "decomposed accents",
                english_with(&words(
                    "e\u{301} ##e\u{301} u\u{308} e\u{301}te\u{301} me\u{300}re o\u{308}l pe\u{300}re",
                )),
                kept,
            ),
            "NFD",
        ),
    ];
    for case in cases {
        let vocab = case.tokens.join("\n");
        let (folder, run) = export(
            vocab.as_bytes(),
            case.tokens.len(),
            &["--json", "--no-verify"],
        );
        let run = run.ok();
        let config = read_json(&folder.path().join("out/tokenizer_config.json"));
        let json = read_json(&folder.path().join("out/tokenizer.json"));
        let found = &run.json()["exports"][0]["tokenizer"];
        let name = case.name;
        assert_eq!(
            config["do_lower_case"], case.do_lower_case,
            "{name}: {found:#}"
        );
        assert_eq!(
            config["strip_accents"],
            json!(case.strip_accents),
            "{name}: {found:#}"
        );
        for key in ["do_lower_case", "strip_accents"] {
            assert_eq!(found[key], config[key], "{name}");
        }
        assert_eq!(
            json["normalizer"]["lowercase"], config["do_lower_case"],
            "{name}"
        );
        assert_eq!(
            json["normalizer"]["strip_accents"], config["strip_accents"],
            "{name}"
        );
        let stderr = &run.stderr;
        match case.warning {
            Some(option) => assert!(stderr.contains(option), "{name}: {stderr}"),
            None => assert_eq!(stderr, "", "{name}"),
        }
    }
}

/// Each id with its token as the files give it: by line, and in `tokenizer.json`.
fn ids(out: &Path) -> Vec<String> {
    let text = fs::read_to_string(out.join("vocab.txt")).unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let json = read_json(&out.join("tokenizer.json"));
    let vocab = json["model"]["vocab"].as_object().unwrap();
    assert_eq!(vocab.len(), lines.len(), "each token is written once");
    for (id, token) in lines.iter().enumerate() {
        assert_eq!(vocab[token], id, "{token:?}");
    }
    lines
}

/// The ids that a text gets, without those around it.
fn encoded(out: &Path, text: &str) -> Vec<u32> {
    let tokenizer = Tokenizer::from_file(out.join("tokenizer.json")).unwrap();
    tokenizer.encode(text, false).unwrap().get_ids().to_vec()
}

/// Ids by the original loader: a line is stripped and takes an id, the last id of a token counts.
#[test]
fn vocabularies_are_read_as_people_have_them() {
    const PLAIN: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nfox\n##es\n";
    let with = |text: &str| text.as_bytes().to_vec();
    let cases: [(&str, Vec<u8>, usize, [u32; 4], &str); 12] = [
        ("plain", with(PLAIN), 8, [5, 6, 7, 1], ""),
        (
            "no last line end",
            with(PLAIN.trim_end()),
            8,
            [5, 6, 7, 1],
            "",
        ),
        (
            "byte order mark",
            with(&format!("\u{feff}{PLAIN}")),
            8,
            [5, 6, 7, 1],
            "byte order mark removed",
        ),
        (
            "CRLF",
            with(&PLAIN.replace('\n', "\r\n")),
            8,
            [5, 6, 7, 1],
            "CRLF",
        ),
        (
            "CRLF without a last line end",
            with(PLAIN.replace('\n', "\r\n").trim_end()),
            8,
            [5, 6, 7, 1],
            "CRLF",
        ),
        (
            "white space",
            with(
                &PLAIN
                    .replace("fox", " fox \t")
                    .replace("the", "\u{3000}the\u{1f}\u{a0}"),
            ),
            8,
            [5, 6, 7, 1],
            "white space around the token removed in 2 lines (the first is line 6)",
        ),
        (
            "an empty line at the end",
            with(&format!("{PLAIN}\n")),
            9,
            [5, 6, 7, 1],
            "1 line without a token",
        ),
        (
            "an empty line without a row",
            with(&format!("{PLAIN}\n \n")),
            8,
            [5, 6, 7, 1],
            "2 lines dropped at the end",
        ),
        (
            "an empty line in the middle",
            with(&PLAIN.replace("the\n", "the\n\n")),
            9,
            [5, 7, 8, 1],
            "(the first is line 7)",
        ),
        (
            "repeated tokens",
            with(&format!("{PLAIN}the\nfox\nthe\n")),
            11,
            [10, 9, 7, 1],
            "the last id counts of 3 repeated tokens (the first is in line 6): \"the\", \"fox\", \"the\"",
        ),
        (
            "a repeated special token",
            with(&format!("{PLAIN}[UNK]\n")),
            9,
            [5, 6, 7, 8],
            "\"[UNK]\"",
        ),
        (
            "fewer tokens than rows",
            with(PLAIN),
            10,
            [5, 6, 7, 1],
            "8 tokens for 10 rows of the word embeddings: the ids from 8 to 9",
        ),
    ];
    for (name, vocab, rows, [the, fox, es, unknown], note) in cases {
        let (folder, run) = export(&vocab, rows, &[]);
        let run = run.ok();
        let out = folder.path().join("out");
        ids(&out);
        let found = encoded(&out, "The foxes fox xyz");
        assert_eq!(found, [the, fox, es, fox, unknown], "{name}");
        assert!(run.stdout.contains(note), "{name}: {}", run.stdout);
        let notes: Value = export(&vocab, rows, &["--json"]).1.ok().json();
        let notes = &notes["exports"][0]["tokenizer"]["notes"];
        assert_eq!(
            notes.as_array().unwrap().is_empty(),
            note.is_empty(),
            "{name}: {notes}"
        );
    }
}

/// Lines that no reader takes for others: a carriage return in a token, placeholders that are taken.
#[test]
fn every_id_has_one_line() {
    let vocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\rb\n[unused-5]\n\n \nx y\n";
    let (folder, run) = export(vocab.as_bytes(), 10, &[]);
    run.ok();
    let lines = ids(&folder.path().join("out"));
    let expected = [
        "[-unused-5]",
        "[unused-5]",
        "[unused-7]",
        "[unused-8]",
        "x y",
    ];
    assert_eq!(lines[5..], expected);
}

/// The original code and BertTokenizer take the mark as part of the first token.
#[test]
fn a_byte_order_mark_before_a_word_is_part_of_it() {
    let vocab = "\u{feff}the\n[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nfox\n";
    let (folder, run) = export(vocab.as_bytes(), 7, &[]);
    let run = run.ok();
    assert!(run.stderr.contains("byte order mark"), "{}", run.stderr);
    assert_eq!(encoded(&folder.path().join("out"), "the fox"), [2, 6]);
}

#[test]
fn files_that_are_no_vocabulary_are_refused() {
    let lines = "\n".repeat((1 << 20) + 1);
    for (vocab, words) in [
        (lines.as_bytes(), "1048577 lines"),
        (b"[PAD]\n\xff\n", "line 2"),
        (b"", "lacks [PAD] [UNK] [CLS] [SEP] [MASK]"),
        (b"[PAD\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", "lacks [PAD]"),
    ] {
        let (folder, run) = export(vocab, 40, &[]);
        run.fails(4, &["vocab.txt", words]);
        assert!(!folder.path().join("out").exists());
    }
}

/// Options rank above the vocabulary; one that contradicts it is worth a warning.
#[test]
fn an_option_against_the_vocabulary_is_warned_of() {
    let german = english_with(&words("für über grün schön ö ü ä ##ö ##ü ##ä"));
    let cased = english_with(&each('A'..='Z'));
    for (tokens, option, value, warns) in [
        (&german, "--strip-accents", "true", true),
        (&german, "--strip-accents", "false", false),
        (&cased, "--do-lower-case", "true", true),
        (&cased, "--do-lower-case", "false", false),
    ] {
        let vocab = tokens.join("\n");
        let (folder, run) = export(vocab.as_bytes(), tokens.len(), &[option, value]);
        let run = run.ok();
        assert_eq!(
            run.stderr.contains(&format!("{option} true, but")),
            warns,
            "{}",
            run.stderr
        );
        let config = read_json(&folder.path().join("out/tokenizer_config.json"));
        let key = option.trim_start_matches('-').replace('-', "_");
        assert_eq!(config[key].to_string(), value);
    }
}

#[test]
fn the_report_says_what_decided() {
    let tokens = english_with(&words("ℝ <S>"));
    let (_folder, run) = export(tokens.join("\n").as_bytes(), tokens.len(), &[]);
    let stdout = run.ok().stdout;
    for line in [
        "vocab.txt, lower-cased, accents stripped",
        "lower-casing changes none of 619 tokens with case",
        "stripping accents changes none of 620 tokens",
    ] {
        assert!(stdout.contains(line), "{stdout}");
    }
    let tokens = english_with(&each('A'..='Z'));
    let (_folder, run) = export(tokens.join("\n").as_bytes(), tokens.len(), &[]);
    let stdout = run.ok().stdout;
    let line = "lower-casing changes 52 of 671 tokens with case (\"A\", \"##A\", \"B\", \"##B\", \"C\", …)";
    assert!(stdout.contains(line), "{stdout}");
}

/// An export whose tokenizer files are then damaged.
fn exported() -> (TempDir, std::path::PathBuf) {
    let tokens = english_with(&each('A'..='Z'));
    let (folder, run) = export(tokens.join("\n").as_bytes(), tokens.len(), &[]);
    run.ok();
    let out = folder.path().join("out");
    (folder, out)
}

fn verify(out: &Path) -> Run {
    Run::from(command(&[&"verify", &out]).output().unwrap())
}

#[test]
fn tokenizer_files_that_disagree_are_not_right() {
    const VOCAB: &str = "vocab.txt";
    const JSON: &str = "tokenizer.json";
    const CONFIG: &str = "tokenizer_config.json";
    const SPECIAL_TOKENS: &str = "special_tokens_map.json";
    let damage: [(&str, &str, &str, &str); 17] = [
        (
            VOCAB,
            "\nbade\n",
            "\nbadf\n",
            "tokenizer.json gives token \"bade\" id ",
        ),
        (VOCAB, "\nbade\n", "\n", "differences"),
        (VOCAB, "[MASK]\n", "[MASKE]\n", "vocab.txt lacks [MASK]"),
        (
            VOCAB,
            "##Z\n",
            "##Z\nmore\n",
            "vocab.txt gives token \"more\" id 676, the word embeddings have 676 rows",
        ),
        (
            JSON,
            "\"bade\": ",
            "\"bade\": 9",
            "the word embeddings have 676 rows",
        ),
        (
            JSON,
            "\"lowercase\": false",
            "\"lowercase\": true",
            "tokenizer_config.json gives do_lower_case false, tokenizer.json has true",
        ),
        (
            JSON,
            "\"strip_accents\": null",
            "\"strip_accents\": true",
            "strip_accents false, tokenizer.json has true",
        ),
        (
            JSON,
            "\"handle_chinese_chars\": true",
            "\"handle_chinese_chars\": false",
            "tokenize_chinese_chars",
        ),
        (
            JSON,
            "\"ids\": [\n          2\n",
            "\"ids\": [\n          3\n",
            "puts the ids [3, 3] around text",
        ),
        (JSON, "{", "", "tokenizer.json is not a tokenizer"),
        (
            CONFIG,
            "\"do_lower_case\": false",
            "\"do_lower_case\": true",
            "do_lower_case true",
        ),
        (
            CONFIG,
            "\"do_lower_case\": false,",
            "",
            "do_lower_case true",
        ),
        (
            CONFIG,
            "\"do_lower_case\": false",
            "\"do_lower_case\": \"no\"",
            "not true or false",
        ),
        (
            CONFIG,
            "\"mask_token\": \"[MASK]\"",
            "\"mask_token\": \"<mask>\"",
            "says mask_token \"<mask>\", special_tokens_map.json says \"[MASK]\"",
        ),
        (CONFIG, "\"0\": {", "\"7\": {", "gives token \"[PAD]\" id 7"),
        (
            CONFIG,
            "{",
            "[",
            "tokenizer_config.json is not a JSON object",
        ),
        (
            SPECIAL_TOKENS,
            "[CLS]",
            "[BOS]",
            "special_tokens_map.json says \"[BOS]\"",
        ),
    ];
    let (_folder, out) = exported();
    verify(&out).ok();
    for (file, from, to, words) in damage {
        let path = out.join(file);
        let sound = fs::read_to_string(&path).unwrap();
        assert!(sound.contains(from), "no {from:?} in {file}");
        fs::write(&path, sound.replacen(from, to, 1)).unwrap();
        verify(&out).fails(5, &["is not right"]).prints(words);
        fs::write(&path, sound).unwrap();
    }
    let config = out.join("config.json");
    let sound = fs::read_to_string(&config).unwrap();
    fs::write(
        &config,
        sound.replace("\"pad_token_id\": 0", "\"pad_token_id\": 3"),
    )
    .unwrap();
    verify(&out)
        .fails(5, &[])
        .prints("config.json says pad_token_id 3, [PAD] has id 0");
    fs::write(&config, sound).unwrap();

    let path = out.join(VOCAB);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    verify(&out)
        .fails(5, &[])
        .prints("vocab.txt cannot be used: it is a directory");
}

/// An export over an older one must not leave the tokenizer of the older model.
#[test]
fn a_tokenizer_of_a_larger_model_is_not_right() {
    let (_folder, out) = exported();
    let small = english_with(&[]);
    let (other, run) = export(small.join("\n").as_bytes(), small.len(), &[]);
    run.ok();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(other.path().join("out").join(file), out.join(file)).unwrap();
    }
    verify(&out)
        .fails(5, &[])
        .prints("the word embeddings have 624 rows");
}

#[test]
fn missing_tokenizer_files_are_reported() {
    let (_folder, out) = exported();
    let names = [
        "vocab.txt",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
    ];
    let files = names.map(|name| (name, fs::read(out.join(name)).unwrap()));
    let with = |kept: &[&str]| {
        for (name, bytes) in &files {
            let path = out.join(name);
            if kept.contains(name) {
                fs::write(path, bytes).unwrap();
            } else if path.exists() {
                fs::remove_file(path).unwrap();
            }
        }
        verify(&out)
    };
    with(&[]).ok().prints("no tokenizer files");
    with(&names)
        .ok()
        .prints("tokenizer: 676 tokens for 676 rows, cased, accents kept");
    with(&names[1..])
        .ok()
        .prints("without vocab.txt the slow tokenizer");
    with(&["vocab.txt", "tokenizer_config.json"])
        .ok()
        .prints("without tokenizer.json");
    // transformers would lower-case.
    with(&["vocab.txt", "tokenizer.json"])
        .fails(5, &[])
        .prints("tokenizer_config.json is missing, which means do_lower_case true");
    with(&names[2..])
        .fails(5, &[])
        .prints("without vocab.txt and tokenizer.json");

    let run = Run::from(command(&[&"verify", &out, &"--json"]).output().unwrap());
    assert_eq!(
        run.json()["tokenizer"]["missing"],
        json!(["vocab.txt", "tokenizer.json"])
    );
    with(&names);
    let run = Run::from(command(&[&"verify", &out, &"--json"]).output().unwrap()).ok();
    let expected = json!({
        "tokens": 676, "rows": 676, "do_lower_case": false, "strip_accents": false,
        "missing": [], "notes": [],
    });
    assert_eq!(run.json()["tokenizer"], expected);
}
