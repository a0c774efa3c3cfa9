//! Vocabularies in every condition, and the ids that follow.

use std::fs;
use std::path::Path;

use tokenizers::Tokenizer;

use crate::made_vocabulary::export;
use testkit::read_json;

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
    let unended = PLAIN.trim_end().to_owned();
    let marked = format!("\u{feff}{PLAIN}");
    let crlf = PLAIN.replace('\n', "\r\n");
    let unended_crlf = crlf.trim_end().to_owned();
    let spaced = PLAIN.replace("fox", " fox \t");
    let spaced = spaced.replace("the", "\u{3000}the\u{1f}\u{a0}");
    let padded = "white space around the token removed in 2 lines (the first is line 6)";
    let last_empty = format!("{PLAIN}\n");
    let empty = PLAIN.replace("the\n", "the\n\n");
    let repeated = format!("{PLAIN}the\nfox\nthe\n");
    let last_counts = "3 repeated tokens (the first is in line 6): \"the\", \"fox\", \"the\"";
    let special = format!("{PLAIN}[UNK]\n");
    let few = "8 tokens for 10 rows of the word embeddings: the ids from 8 to 9";
    for (vocab, rows, [the, fox, es, unknown], note) in [
        (PLAIN, 8, [5, 6, 7, 1], ""),
        (&unended, 8, [5, 6, 7, 1], ""),
        (&marked, 8, [5, 6, 7, 1], "byte order mark removed"),
        (&crlf, 8, [5, 6, 7, 1], "CRLF"),
        (&unended_crlf, 8, [5, 6, 7, 1], "CRLF"),
        (&spaced, 8, [5, 6, 7, 1], padded),
        (&last_empty, 9, [5, 6, 7, 1], "1 line without a token"),
        (&empty, 9, [5, 7, 8, 1], "(the first is line 7)"),
        (&repeated, 11, [10, 9, 7, 1], last_counts),
        (&special, 9, [5, 6, 7, 8], "\"[UNK]\""),
        (PLAIN, 10, [5, 6, 7, 1], few),
    ] {
        let (folder, run) = export(vocab.as_bytes(), rows, &[]);
        let run = run.ok();
        let out = folder.path().join("out");
        ids(&out);
        let found = encoded(&out, "The foxes fox xyz");
        assert_eq!(found, [the, fox, es, fox, unknown], "{vocab:?}");
        assert!(run.stdout.contains(note), "{vocab:?}: {}", run.stdout);
        let document = export(vocab.as_bytes(), rows, &["--json"]).1.ok().json();
        let notes = &document["exports"][0]["tokenizer"]["notes"];
        let is_plain = notes.as_array().unwrap().is_empty();
        assert_eq!(is_plain, note.is_empty(), "{vocab:?}: {notes}");
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
