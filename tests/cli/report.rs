//! `--report`: the page has what the JSON document has, whatever becomes of the command.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use testkit::bundle_writer::{SMALL, Sizes, discriminator, plant_heads};
use testkit::{
    EXPORTED, copy_of, export, export_again, export_bundle, fixture, listing, run, temp,
};

/// The text of a page, without its style.
fn text_of(html: &str) -> String {
    let (_, body) = html.split_once("</style>").expect("a page with a style");
    let mut text = String::new();
    let mut is_tag = false;
    for c in body.chars() {
        match c {
            '<' => is_tag = true,
            '>' => is_tag = false,
            c if !is_tag => text.push(c),
            _ => {}
        }
    }
    [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(text, |text, (escaped, c)| text.replace(escaped, c))
}

fn page(path: &Path) -> (String, String) {
    let html = fs::read_to_string(path).unwrap();
    let text = text_of(&html);
    (html, text)
}

/// The values of all figures.
fn figures(html: &str) -> BTreeSet<&str> {
    let figures = html.split("<data value=\"").skip(1);
    figures
        .map(|rest| rest.split_once('"').expect("the end of a value").0)
        .collect()
}

/// Fails unless the page has every number and every text of a document.
fn assert_shows(html: &str, text: &str, value: &Value, path: &str) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                // Words of JSON, which the page has in other words.
                let keys = [
                    "format_version",
                    "exit_code",
                    "command",
                    "status",
                    "kind",
                    "role",
                    "recipe",
                    "setup",
                    "format",
                    "archive",
                    "model",
                    "weights",
                    "verdict",
                ];
                if !keys.contains(&key.as_str()) {
                    assert_shows(html, text, value, &format!("{path}.{key}"));
                }
            }
        }
        Value::Array(values) => {
            for value in values {
                assert_shows(html, text, value, path);
            }
        }
        Value::Number(number) => {
            let figures = figures(html);
            assert!(
                figures.contains(number.to_string().as_str()),
                "{path}: {number}"
            );
        }
        Value::String(words) => assert!(text.contains(words), "{path}: {words}"),
        Value::Bool(_) | Value::Null => {}
    }
}

#[test]
fn the_page_has_the_figures_of_the_json_document() {
    let folder = temp();
    let [out, file] = ["out", "report.html"].map(|name| folder.path().join(name));
    let english = fixture("text/english.txt");
    for (options, checkpoint) in [
        (
            vec!["--model", "both", "--text", english.to_str().unwrap()],
            "trained",
        ),
        (vec!["--model", "finetuned"], "ft_sst"),
        (
            vec!["--model", "discriminator", "--dtype", "bf16"],
            "tiny_relu",
        ),
        (vec!["--model", "discriminator"], "h5_pre_training"),
    ] {
        let ran = export(fixture(checkpoint))
            .args(options)
            .args(["--json", "--force", "--report"])
            .arg(&file)
            .to(&out)
            .run()
            .ok();
        let (html, text) = page(&file);
        assert_shows(&html, &text, &ran.json(), checkpoint);
        assert!(text.contains("✓ Verified"), "{text}");
        assert!(!text.contains("NaN"), "{text}");
        fs::remove_dir_all(&out).unwrap();
    }
    let ran = export(fixture("trained")).model("generator").to(&out).run();
    ran.ok();
    let ran = run![
        "verify",
        out,
        "--source",
        fixture("trained"),
        "--json",
        "--report",
        file,
        "--force"
    ];
    let (html, text) = page(&file);
    assert_shows(&html, &text, &ran.ok().json(), "verify");
}

#[test]
fn the_page_explains_itself() {
    let folder = temp();
    let [out, file] = ["out", "report.html"].map(|name| folder.path().join(name));
    let ran = export(fixture("trained"))
        .model("both")
        .arg("--text")
        .arg(fixture("text/english.txt"))
        .arg("--report")
        .arg(&file)
        .to(&out)
        .run()
        .ok();
    let line = format!("Report: {}\n", file.display());
    assert!(ran.stdout.ends_with(&line), "{}", ran.stdout);
    let (html, text) = page(&file);
    for words in [
        "128 → 256 → 128, gelu",
        "4 heads × 32 = 128",
        "electra/encoder/layer_0/intermediate/dense/mul_1 in model.ckpt-6000.meta",
        "The weights do not decide",
        "electra.encoder.layer.2.output.dense.weight: 32,768 values, mean ",
        "generator encoder",
        "part of a model that is not in this export",
        "generator/encoder/layer_0/attention/output/dense/kernel",
        "electra.embeddings.LayerNorm.bias64F32electra/embeddings/LayerNorm/betacopied from float32",
        "The generator has replaced the underlined tokens",
        "when that word alone is masked",
    ] {
        assert!(text.contains(words), "{words}");
    }
    // Both models, each with the maps of three layers.
    assert_eq!(
        text.matches("Norms of the attention units of layer")
            .count(),
        6
    );
    assert!(html.contains("default-src 'none'"));
    for outside in ["<script", "http://", "https://", "url(", "@import", " src="] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert_eq!(listing(folder.path()), ["out", "report.html"]);
}

#[test]
fn an_export_is_the_same_with_a_page() {
    let [with, without] = [temp(), temp()];
    for (folder, options) in [(&without, &[][..]), (&with, &["--report", "a.html"])] {
        let mut command = testkit::command(&[]);
        command.current_dir(folder.path());
        command.args(["--model", "discriminator"]).args(options);
        command.arg(fixture("trained")).arg("out");
        testkit::Run::from(command.output().unwrap()).ok();
    }
    for file in EXPORTED {
        let [a, b] = [&with, &without].map(|folder| fs::read(folder.path().join("out").join(file)));
        assert_eq!(a.unwrap(), b.unwrap(), "{file}");
    }
}

#[test]
fn heads_that_the_weights_show_are_drawn() {
    let sizes = Sizes {
        hidden: 128,
        ..SMALL
    };
    let mut bundle = discriminator(sizes);
    plant_heads(&mut bundle, "electra", sizes, 8);
    let reports = temp();
    let file = reports.path().join("a.html");
    let options = ["--report", file.to_str().unwrap()];
    let (folder, ran) = export_bundle(&bundle, "discriminator", &options);
    ran.ok();
    let (html, text) = page(&file);
    let words = "8 attention heads, from the weights (margin ";
    assert!(text.contains(words), "{text}");
    assert!(text.contains("The weights show the same count with a margin of"));
    // Seven borders between eight heads of 16 units.
    let borders: Vec<String> = (1..8).map(|head| format!("M{} 0v4", head * 16)).collect();
    let borders = borders.concat();
    assert_eq!(
        html.matches(&format!("class=\"border\" d=\"{borders}\""))
            .count(),
        2
    );

    let config = folder.path().join("out/config.json");
    let changed = fs::read_to_string(&config).unwrap();
    let changed = changed.replace("\"num_attention_heads\": 8", "\"num_attention_heads\": 2");
    fs::write(&config, changed).unwrap();
    let out = folder.path().join("out");
    run!["verify", out, "--force", "--report", file].fails(5, &["shows every check"]);
    let (html, text) = page(&file);
    assert!(text.contains("The weights show 8 heads instead"), "{text}");
    assert!(text.contains("dashed lines are the borders of these"));
    assert!(html.contains("class=\"border other\""));
    export_again(&folder, "discriminator", &[]).ok();
}

#[test]
fn nothing_is_claimed_without_verification() {
    let folder = temp();
    let file = folder.path().join("report.html");
    export(fixture("trained"))
        .model("generator")
        .args(["--no-verify", "--report"])
        .arg(&file)
        .run()
        .ok();
    let (_, text) = page(&file);
    assert!(text.contains("– Not verified"), "{text}");
    assert!(text.contains("Nothing was verified (--no-verify)"));
    for words in ["✓", "passed", "Histograms", "Norms of the"] {
        assert!(!text.contains(words), "{words}");
    }
    // What is known without reading the export.
    for words in [
        "Head of the generator",
        "num_attention_heads",
        "generator_lm_head.bias",
    ] {
        assert!(text.contains(words), "{words}");
    }
}

#[test]
fn a_failed_conversion_has_a_page_and_no_output() {
    let folder = temp();
    let [out, file] = ["out", "report.html"].map(|name| folder.path().join(name));
    let options = [
        "--num-attention-heads",
        "4",
        "--layer-norm-eps",
        "1e-5",
        "--json",
    ];
    let ran = export(fixture("unusual/causal.zip"))
        .model("discriminator")
        .args(options)
        .arg("--report")
        .arg(&file)
        .to(&out)
        .run();
    let document = ran.json();
    let named = format!("; {} shows every check", file.display());
    ran.fails(5, &["was not published", &named]);
    assert!(document["error"].as_str().unwrap().ends_with(&named));
    assert_eq!(listing(folder.path()), ["report.html"]);
    let (html, text) = page(&file);
    assert_shows(&html, &text, &document["verification"], "verification");
    for words in [
        "✕ Verification failed",
        "Nothing was published: the output directory is as it was before.",
        "What is wrong",
        "Training graph✕ failed",
        "Checksums✓ passed",
        "num_attention_heads4--num-attention-heads",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_damaged_export_has_a_page() {
    let folder = temp();
    let [out, file] = ["out", "report.html"].map(|name| folder.path().join(name));
    export(fixture("trained"))
        .model("generator")
        .to(&out)
        .run()
        .ok();
    let weights = out.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let end = bytes.len();
    bytes[end - 8..end - 4].copy_from_slice(&f32::NAN.to_le_bytes());
    bytes[end - 4..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    fs::write(&weights, bytes).unwrap();
    let named = format!("; {} shows every check", file.display());
    run!["verify", out, "--report", file].fails(5, &["NaN", &named]);
    let (_, text) = page(&file);
    for words in [
        "has the value NaN at element",
        "2 not finite",
        "2 values NaN or infinite",
        "Values✕ failed",
        "Checksums✕ failedchecksum mismatch, see above. Expected: 58 tensors unchanged",
        "Forward pass– not run",
        "Training graph– not runnot compared: --source CKPT gives one",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }

    // What cannot be read at all has no page, and an earlier one does not stay.
    fs::write(&weights, "cut short").unwrap();
    run!["verify", out, "--report", file, "--force"].fails(5, &["model.safetensors"]);
    assert!(!file.exists());
}

#[test]
fn names_in_files_are_text() {
    let hostile = "</style><script>alert(1)</script>\u{202e}'\"&";
    let mut bundle = discriminator(SMALL);
    bundle.add_floats(hostile, &[3]);
    let folder = temp();
    let place = folder.path().join("\"><img src=x onerror=alert(1)>");
    fs::create_dir(&place).unwrap();
    bundle.write(&place.join("m"));
    let file = place.join("a.html");
    let convert = |out: &Path| {
        export(place.join("m"))
            .model("discriminator")
            .args(["--allow-unknown", "--vocab", "none", "--force", "--report"])
            .arg(&file)
            .to(out)
            .run()
            .ok()
    };
    convert(&place.join("out"));
    let (html, text) = page(&file);
    assert!(
        text.contains("</style><script>alert(1)</script>\\u{202e}'\"&"),
        "{text}"
    );
    assert!(text.contains("\"><img src=x onerror=alert(1)>/out/config.json"));
    for tag in ["<script", "<img", "\u{202e}"] {
        assert!(!html.contains(tag), "{tag}");
    }
    assert_eq!(html.matches("</style>").count(), 1);

    let labels = "<b>bold</b>,x\" onclick=\"alert(1)";
    export(fixture("ft_sst"))
        .model("finetuned")
        .args(["--labels", labels, "--force", "--report"])
        .arg(&file)
        .run()
        .ok();
    let (html, text) = page(&file);
    assert!(
        text.contains("<b>bold</b>") && !html.contains("<b>"),
        "{text}"
    );
    assert!(!html.contains("onclick=\"alert"));
}

#[cfg(unix)]
#[test]
fn paths_that_are_not_unicode_are_shown() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let folder = temp();
    let written = folder.path().join("written");
    fs::create_dir(&written).unwrap();
    discriminator(SMALL).write(&written.join("m"));
    let place = folder.path().join(OsStr::from_bytes(b"a\xff<i>"));
    fs::rename(written, &place).unwrap();
    let file = place.join("a.html");
    let ran = export(place.join("m"))
        .model("discriminator")
        .args(["--vocab", "none", "--report"])
        .arg(&file)
        .to(place.join("out"))
        .run();
    ran.ok();
    let (html, text) = page(&file);
    assert!(text.contains("a\u{fffd}<i>/m"), "{text}");
    assert!(!html.contains("<i>/"));
}

#[test]
fn the_place_of_the_page_is_checked_first() {
    let folder = temp();
    let at = |name: &str| folder.path().join(name);
    let [out, file] = ["out", "a.html"].map(at);
    fs::write(&file, "mine").unwrap();
    fs::create_dir(at("b.html")).unwrap();
    fs::write(at("plain"), "").unwrap();
    for (report, words) in [
        (file.clone(), "a.html exists; --force replaces it"),
        (at("b.html"), "it is a directory"),
        (at("none/a.html"), "there is no directory"),
        (at("plain/a.html"), "is not a directory"),
        (at("out/config.json"), "must end in .html"),
        (at("report"), "must end in .html"),
        ("-".into(), "must end in .html"),
        (
            "gs://bucket/a.html".into(),
            "a page is written to a disk only",
        ),
    ] {
        let ran = export(fixture("trained"))
            .model("discriminator")
            .arg("--report")
            .arg(&report)
            .to(&out)
            .run();
        ran.fails(2, &["--report", words]);
        assert!(!out.exists(), "{}", report.display());
        let ran = run!["verify", fixture("trained"), "--report", report];
        ran.fails(2, &["--report", words]);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    let both = at("out.html");
    let ran = export(fixture("trained"))
        .model("discriminator")
        .arg("--report")
        .arg(&both)
        .to(&both)
        .run();
    ran.fails(2, &["--report", "and OUT are the same path"]);
    assert!(!both.exists());
    let options = ["--dry-run", "--report"];
    let ran = export(fixture("trained"))
        .model("discriminator")
        .args(options)
        .arg(at("c.html"));
    ran.run().fails(2, &["--dry-run"]);
    run!["verify", fixture("trained"), "--force"].fails(2, &["--report"]);

    let convert = |more: &[&str]| {
        let run = export(fixture("trained")).model("discriminator").args(more);
        run.arg("--report").arg(&file).to(&out).run()
    };
    convert(&["--force"]).ok();
    assert!(
        fs::read_to_string(&file)
            .unwrap()
            .starts_with("<!doctype html>")
    );
    // The export is there, and so is the page.
    convert(&[]).fails(2, &["exists"]);
    assert_eq!(listing(folder.path()), ["a.html", "b.html", "out", "plain"]);
}

/// A page in OUT is a file of the user: OUT must be there, and the page is not a part of the export.
#[test]
fn a_page_may_be_in_an_output_directory_that_exists() {
    let out = copy_of("ft_sst");
    let out = out.path().join("out");
    let file = out.join("report.html");
    let convert = |more: &[&str]| {
        let run = export(fixture("trained")).model("generator").args(more);
        run.arg("--report").arg(&file).to(&out).run()
    };
    convert(&[]).fails(2, &["there is no directory"]);
    fs::create_dir(&out).unwrap();
    convert(&[]).ok();
    let (_, text) = page(&file);
    assert!(text.contains("Verified"));
    assert_eq!(listing(&out).len(), EXPORTED.len() + 1);
    // A new export without a page leaves it.
    export(fixture("trained"))
        .model("generator")
        .arg("--force")
        .to(&out)
        .run()
        .ok();
    assert!(file.exists());
    fs::remove_file(&file).unwrap();
    convert(&["--force"]).ok();
    assert!(file.exists());
}
