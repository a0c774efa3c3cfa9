//! Settings of the tokenizer, by the vocabularies of many languages.

use serde_json::json;

use crate::made_vocabulary::{SPECIAL, each, english_with, export, jamo, marked, words};
use testkit::read_json;

/// What must be decided: lower-casing, and whether accents are stripped where it is known.
type Expected = (bool, Option<bool>);

const DEFAULT: Expected = (true, None);
const ACCENTS_KEPT: Expected = (true, Some(false));
const CASED: Expected = (false, None);

/// Exports with a vocabulary, compares the settings in both files and in the report, and returns the
/// warnings.
#[track_caller]
fn warnings(name: &str, tokens: &[String], (lower, strip): Expected) -> String {
    let vocab = tokens.join("\n");
    let options = ["--json", "--no-verify", "--num-attention-heads", "1"];
    let (folder, run) = export(vocab.as_bytes(), tokens.len(), &options);
    let run = run.ok();
    let config = read_json(&folder.path().join("out/tokenizer_config.json"));
    let normalizer = &read_json(&folder.path().join("out/tokenizer.json"))["normalizer"];
    let report = &run.json()["exports"][0]["tokenizer"];
    assert_eq!(config["do_lower_case"], lower, "{name}: {report:#}");
    assert_eq!(config["strip_accents"], json!(strip), "{name}: {report:#}");
    for key in ["do_lower_case", "strip_accents"] {
        assert_eq!(report[key], config[key], "{name}");
    }
    assert_eq!(normalizer["lowercase"], lower, "{name}");
    assert_eq!(normalizer["strip_accents"], json!(strip), "{name}");
    run.stderr
}

fn special_and(tokens: &[String]) -> Vec<String> {
    [&SPECIAL.map(str::to_owned), tokens].concat()
}

#[test]
fn case_follows_from_the_whole_vocabulary() {
    let odd = words("ℝ ##ℝ [unused1] [EOT] <S> <T> <URL> A.B");
    let german = words(
        "A B C D E ##F ##G Der Die Das Haus Berlin Wien Tag Baum Wald Mann Frau Kind Hund Katze Maus \
         Auto Bahn Zug Flug Schiff Rad Weg Stein Fluss Berg Tal See Meer Land Stadt Dorf Hof Tor Dach \
         Wand Tisch",
    );
    let cyrillic = each(('а'..='я').chain('А'..='Я'));
    let chemistry = words("C ##l N O ##Br c n 1 2");
    for (name, tokens, expected) in [
        ("English", english_with(&odd), DEFAULT),
        ("digits", special_and(&words("1 2 ##3")), DEFAULT),
        ("one odd capital letter", english_with(&words("Q")), DEFAULT),
        ("Greek, stripped", english_with(&each('α'..='ω')), DEFAULT),
        ("capital letters", english_with(&each('A'..='Z')), CASED),
        ("German, cased", english_with(&german), CASED),
        ("DNA", special_and(&words("A C G T N")), CASED),
        ("chemistry", special_and(&chemistry), CASED),
        ("Cyrillic, cased", special_and(&cyrillic), CASED),
    ] {
        assert_eq!(warnings(name, &tokens, expected), "", "{name}");
    }
}

#[test]
fn accents_follow_from_the_whole_vocabulary() {
    let korean = each('가'..='긿');
    let cased_korean = [korean.clone(), each('A'..='Z')].concat();
    let german = words("für über grün schön mädchen können müssen ö ü ä ##ö ##ü ##ä");
    let french = words("é è ê ç à ##é ##è été école élève père mère garçon déjà");
    let turkish = words("ı ##ı i̇ ş ğ ç ##ş ##ğ ##ç çok şey değil i̇stanbul için");
    let vietnamese = words("ế ệ ờ ữ ă ơ ##ế ##ệ việt tiếng nước người được");
    let japanese = each("がぎぐげござじずぜぞかきくけこさしすせそ".chars());
    let arabic = words("أ إ آ ؤ ئ ##أ أحمد إلى أن سؤال رئيس مُحَمَّد");
    let marks = each("\u{301}\u{308}\u{5b0}\u{5b1}\u{64b}".chars());
    for (name, tokens, expected) in [
        ("one odd accent", words("café"), DEFAULT),
        ("Chinese", each('一'..='十'), DEFAULT),
        ("Hebrew, stripped", each('א'..='ת'), DEFAULT),
        ("marks alone", marks, DEFAULT),
        ("German", german, ACCENTS_KEPT),
        ("French", french, ACCENTS_KEPT),
        ("Turkish", turkish, ACCENTS_KEPT),
        ("Vietnamese", vietnamese, ACCENTS_KEPT),
        ("Korean", korean, ACCENTS_KEPT),
        ("Korean, cased", cased_korean, (false, Some(false))),
        ("Korean, decomposed", jamo(), (true, Some(true))),
        ("Japanese", japanese, ACCENTS_KEPT),
        (
            "Hindi",
            marked('क'..='ह', "\u{941}\u{947}\u{902}"),
            ACCENTS_KEPT,
        ),
        (
            "Thai",
            marked('ก'..='ฮ', "\u{e34}\u{e38}\u{e48}"),
            ACCENTS_KEPT,
        ),
        ("Arabic", arabic, ACCENTS_KEPT),
    ] {
        let found = warnings(name, &english_with(&tokens), expected);
        assert_eq!(found, "", "{name}");
    }
}

/// The warning names the tokens and the option.
#[test]
fn thin_evidence_is_warned_of() {
    let chinese = words("日本 東京 大学 学生 先生 会社 電車 時間 新聞 学校");
    let decomposed =
        words("e\u{301} ##e\u{301} u\u{308} e\u{301}te\u{301} me\u{300}re o\u{308}l pe\u{300}re");
    for (name, tokens, expected, parts) in [
        (
            "half of the capitals",
            each('A'..='M'),
            DEFAULT,
            ["\"##A\"", "--do-lower-case false"],
        ),
        (
            "capital words",
            words("Haus Berlin"),
            DEFAULT,
            ["\"Haus\"", "--do-lower-case false"],
        ),
        (
            "a few accents",
            words("café naïve"),
            DEFAULT,
            ["\"café\"", "--strip-accents false"],
        ),
        (
            "Chinese words",
            chinese,
            DEFAULT,
            ["\"日本\"", "--vocab none"],
        ),
        (
            "decomposed accents",
            decomposed,
            ACCENTS_KEPT,
            ["NFD", "--strip-accents true"],
        ),
    ] {
        let found = warnings(name, &english_with(&tokens), expected);
        for part in parts {
            assert!(found.contains(part), "{name}: {found}");
        }
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
