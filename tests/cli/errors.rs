//! The exit codes of `--help`, each with an error that says what to do.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use testkit::bundle_writer::{Bundle, SMALL, discriminator};
use testkit::{command, copy_of, fixture, read_json, run, temp};

#[test]
fn without_a_model_the_error_teaches_the_commands() {
    let run = run![fixture("trained"), "my out"].fails(
        2,
        &[
            "--model",
            "discriminator  3 layers, hidden size 128, 507,649 parameters",
            "generator      3 layers, hidden size 64, 240,688 parameters",
            "electra-convert --model both",
            "'my out'",
        ],
    );
    assert_eq!(run.stdout, "");
    let typed = run!["convert", fixture("trained"), "o"];
    typed.fails(2, &["electra-convert convert --model generator"]);
}

#[test]
fn a_model_that_is_not_there_is_explained() {
    for (name, model, words) in [
        (
            "tiny_electric",
            "generator",
            ["two-tower", "--model discriminator"],
        ),
        (
            "tiny_uniform",
            "generator",
            ["generator_predictions/", "--model discriminator"],
        ),
        (
            "tiny_mlm",
            "discriminator",
            ["masked language model alone", "--model generator"],
        ),
        (
            "ft_chunk",
            "generator",
            ["fine-tuned", "--model discriminator"],
        ),
        (
            "ft_squadv1",
            "generator",
            ["fine-tuned", "--model discriminator"],
        ),
        (
            "ft_squad_plain",
            "both",
            ["fine-tuned", "--model discriminator"],
        ),
        (
            "tiny_uniform",
            "both",
            ["generator_predictions/", "--model discriminator"],
        ),
    ] {
        let folder = temp();
        let out = folder.path().join("out");
        run!["--model", model, fixture(name), out].fails(4, &words);
        assert!(!out.exists());
    }
}

#[test]
fn wrong_usage_is_2() {
    run!["--model", "critic", "a", "b"].fails(2, &["critic", "discriminator"]);
    run!["--model", "discriminator", "only-one"].fails(2, &["OUT", "Usage"]);
    run!["--dtype", "int8", "--model", "both", "a", "b"].fails(2, &["int8", "bf16"]);
    run!["inspect", "a", "--grep", "("].fails(2, &["--grep"]);
    run!["--hidden-act", "swoosh", "--model", "both", "a", "b"].fails(2, &["gelu_new"]);
}

#[test]
#[cfg(not(feature = "tensorflow"))]
fn a_reader_that_was_not_built_in_says_how_to_build_it() {
    run!["inspect", "--reader", "tensorflow", fixture("fmt_v1")]
        .fails(2, &["--reader tensorflow", "--features tensorflow"]);
}

#[test]
fn a_mistyped_command_is_guessed() {
    run!["inpsect", "x"].fails(3, &["no command inpsect", "did you mean inspect?"]);
    run!["verfiy", "x"].fails(3, &["did you mean verify?"]);
    let far = run!["model.ckpt", "x"].fails(3, &["no checkpoint at model.ckpt"]);
    assert!(!far.stderr.contains("did you mean"), "{}", far.stderr);
}

#[test]
fn a_report_that_cannot_be_written_says_so() {
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = command(&[&"inspect", &fixture("tiny_mlm")])
        .stdout(full)
        .output()
        .unwrap();
    testkit::Run::from(output).fails(1, &["cannot write to standard output"]);
}

#[test]
fn contradictions_with_the_training_graph_name_both() {
    let out = temp();
    let args = |option: &str, value: &str| {
        run![
            "--model",
            "discriminator",
            option,
            value,
            fixture("trained"),
            out.path().join("x")
        ]
    };
    args("--num-attention-heads", "2").fails(
        4,
        &[
            "num_attention_heads is 2 by --num-attention-heads",
            "but 4",
            "model.ckpt-6000.meta",
        ],
    );
    args("--hidden-act", "relu").fails(4, &["hidden_act is relu", "gelu", "intermediate/dense"]);
    args("--num-attention-heads", "4").ok();
}

#[test]
fn with_both_models_a_head_count_is_the_discriminators() {
    let folder = copy_of("trained");
    fs::remove_file(folder.path().join("model.ckpt-6000.meta")).unwrap();
    let args = [
        "--model",
        "both",
        "--num-attention-heads",
        "4",
        "--dry-run",
        "--json",
    ];
    let run = run![
        args[0],
        args[1],
        args[2],
        args[3],
        args[4],
        args[5],
        folder.path(),
        "x"
    ];
    let exports = run.ok().json();
    assert_eq!(exports["exports"][0]["config"]["num_attention_heads"], 4);
    assert_eq!(exports["exports"][1]["config"]["num_attention_heads"], 1);
    let kind = &exports["exports"][1]["config_sources"]["num_attention_heads"]["kind"];
    assert_eq!(kind, "original_code");
}

#[test]
fn a_missing_data_file_is_named_before_anything_is_written() {
    let folder = copy_of("fmt_sharded");
    fs::remove_file(folder.path().join("model.ckpt-400.data-00001-of-00002")).unwrap();
    let out = folder.path().join("out");
    run!["--model", "discriminator", folder.path(), out].fails(
        3,
        &["model.ckpt-400.data-00001-of-00002", "missing", "variable"],
    );
    assert!(!out.exists());
}

#[test]
fn damage_in_a_weight_is_found_and_elsewhere_does_not_matter() {
    let inspected = run!["inspect", fixture("tiny_default"), "--json"]
        .ok()
        .json();
    let offset_of = |name: &str| {
        let variables = inspected["variables"].as_array().unwrap();
        let found = variables.iter().find(|v| v["name"] == name).unwrap();
        usize::try_from(found["pieces"][0]["offset"].as_u64().unwrap()).unwrap()
    };
    let damaged = |name: &str| {
        let folder = copy_of("tiny_default");
        let data = folder.path().join("model.ckpt-400.data-00000-of-00001");
        let mut bytes = fs::read(&data).unwrap();
        bytes[offset_of(name) + 5] ^= 4;
        fs::write(&data, bytes).unwrap();
        folder
    };
    let kernel = "electra/encoder/layer_1/attention/self/key/kernel";
    let folder = damaged(kernel);
    let out = folder.path().join("out");
    run!["--model", "discriminator", folder.path(), out].fails(
        3,
        &[
            "data-00000-of-00001",
            kernel,
            "CRC-32C",
            "copy both files again",
        ],
    );
    assert!(!out.exists());
    // An optimizer slot is not read.
    let folder = damaged("electra/encoder/layer_1/attention/self/key/kernel/adam_m");
    run![
        "--model",
        "discriminator",
        folder.path(),
        folder.path().join("out")
    ]
    .ok();
}

#[test]
fn a_truncated_data_file_is_named_before_anything_is_written() {
    let folder = copy_of("tiny_default");
    let data = folder.path().join("model.ckpt-400.data-00000-of-00001");
    let bytes = fs::read(&data).unwrap();
    fs::write(&data, &bytes[..bytes.len() / 2]).unwrap();
    let out = folder.path().join("out");
    run!["--model", "both", folder.path(), out].fails(3, &["cut short", "variable"]);
    assert!(!out.exists());
}

#[test]
fn a_damaged_training_graph_is_an_error_that_says_how_to_go_without() {
    let folder = copy_of("trained");
    let meta = folder.path().join("model.ckpt-6000.meta");
    let bytes = fs::read(&meta).unwrap();
    for damaged in [&bytes[..bytes.len() / 2], b"", b"\xff\xff\xff\xff\xff"] {
        fs::write(&meta, damaged).unwrap();
        run![
            "--model",
            "discriminator",
            folder.path(),
            folder.path().join("out")
        ]
        .fails(
            3,
            &[
                "model.ckpt-6000.meta",
                "move it away",
                "--num-attention-heads",
            ],
        );
    }
}

#[test]
fn errors_are_json_too() {
    let run = run![
        "--model",
        "generator",
        "--json",
        fixture("tiny_uniform"),
        "x"
    ];
    let run = run.fails(4, &["generator_predictions/"]);
    let document = run.json();
    assert_eq!(document["status"], "failed");
    assert_eq!(document["exit_code"], 4);
    assert!(
        document["error"]
            .as_str()
            .unwrap()
            .contains("generator_predictions/")
    );
}

#[test]
fn quiet_prints_nothing_and_errors_all_the_same() {
    let out = temp();
    let run = run![
        "-q",
        "--model",
        "discriminator",
        fixture("tiny_noproj"),
        out.path()
    ]
    .ok();
    assert_eq!(run.stdout + &run.stderr, "");
    run![
        "-q",
        "--model",
        "discriminator",
        fixture("tiny_noproj"),
        out.path()
    ]
    .fails(2, &["--force"]);
}

/// Runs the program with a standard output that nobody reads; returns its exit code and standard error.
fn unread(args: &[&dyn AsRef<OsStr>]) -> (Option<i32>, String) {
    let mut child = command(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let inspected = unread(&[&"inspect", &fixture("tiny_default"), &"--variables"]);
    assert_eq!(inspected, (Some(0), String::new()));
    assert_eq!(unread(&[&"man"]), (Some(0), String::new()));
}

#[test]
fn a_reader_that_goes_away_hides_no_failure() {
    let folder = temp();
    let [export, out] = ["export", "out"].map(|name| folder.path().join(name));
    run!["--model", "discriminator", fixture("tiny_noproj"), export].ok();
    let weights = export.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(weights, bytes).unwrap();
    for json in [&["verify"][..], &["verify", "--json"]] {
        let mut args: Vec<&dyn AsRef<OsStr>> = json.iter().map(|word| word as _).collect();
        args.push(&export);
        let (code, stderr) = unread(&args);
        assert_eq!(code, Some(5), "{stderr}");
    }

    let runs = folder.path().join("runs");
    fs::create_dir(&runs).unwrap();
    discriminator(SMALL).write(&runs.join("model.ckpt-1"));
    fs::write(runs.join("model.ckpt-2.index"), "damaged").unwrap();
    let args = ["batch", "--json", "--model", "discriminator"];
    let mut args: Vec<&dyn AsRef<OsStr>> = args.iter().map(|word| word as _).collect();
    args.extend([&runs as &dyn AsRef<OsStr>, &out]);
    let (code, stderr) = unread(&args);
    assert_eq!(code, Some(3), "{stderr}");
    let summary = read_json(&out.join("batch.json"));
    assert_eq!([&summary["converted"], &summary["failed"]], [1, 1]);
}

#[test]
fn an_output_that_cannot_be_written_is_1() {
    let folder = temp();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    run!["--model", "discriminator", fixture("tiny_noproj"), file]
        .fails(2, &["is not a directory"]);
    run![
        "--model",
        "discriminator",
        fixture("tiny_noproj"),
        file.join("below")
    ]
    .fails(1, &["cannot write"]);
    run![
        "--model",
        "discriminator",
        fixture("tiny_noproj"),
        "/proc/out"
    ]
    .fails(1, &["/proc/out"]);

    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    let may_write_anyway = fs::write(closed.join("probe"), "").is_ok();
    if !may_write_anyway {
        run!["--model", "discriminator", fixture("tiny_noproj"), closed].fails(1, &["closed"]);
    }
}

#[test]
fn help_and_completions_and_man_page_are_there() {
    let help = run!["--help"].ok();
    for code in [
        "0  done",
        "1  I/O",
        "2  wrong usage",
        "3  the checkpoint",
        "4  this model",
    ] {
        assert!(help.stdout.contains(code), "{}", help.stdout);
    }
    assert!(
        run!["completions", "bash"]
            .ok()
            .stdout
            .contains("electra-convert")
    );
    assert!(run!["man"].ok().stdout.contains(".TH electra-convert"));
}

#[test]
fn other_architectures_are_named_before_their_shapes() {
    let convert = |bundle: &Bundle, options: &[&str]| {
        let folder = temp();
        bundle.write(&folder.path().join("m"));
        let out = folder.path().join("out");
        let checkpoint = folder.path().join("m");
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"--model", &"discriminator"];
        arguments.extend(
            options
                .iter()
                .map(|option| option as &dyn AsRef<std::ffi::OsStr>),
        );
        arguments.extend([&checkpoint as &dyn AsRef<std::ffi::OsStr>, &out]);
        let run: testkit::Run = command(&arguments).output().unwrap().into();
        assert!(!out.exists());
        run
    };
    let attention = "electra/encoder/layer_0/attention/self";
    let half = |bundle: &mut Bundle| {
        for name in ["query", "key", "value"] {
            bundle.remove(&format!("{attention}/{name}/kernel"));
            bundle.add_floats(&format!("{attention}/{name}/kernel"), &[64, 32]);
        }
    };
    let mut with_convolution = discriminator(SMALL);
    half(&mut with_convolution);
    with_convolution.add_floats(
        &format!("{attention}/conv_attn_key/depthwise_kernel"),
        &[9, 64, 1],
    );
    with_convolution.add_floats(&format!("{attention}/conv_attn_point/kernel"), &[64, 32]);
    convert(&with_convolution, &[]).fails(4, &["ConvBERT", "conv_attn_key/depthwise_kernel"]);

    // One that nobody knows.
    let mut other = discriminator(SMALL);
    half(&mut other);
    other.add_floats(&format!("{attention}/gate/kernel"), &[64, 32]);
    convert(&other, &[]).fails(4, &["not part of any ELECTRA", "self/gate/kernel"]);

    let mut bert = Bundle::default();
    bert.add_floats("bert/embeddings/word_embeddings", &[100, 8]);
    bert.add_floats("bert/encoder/layer_0/attention/self/key/kernel", &[8, 8]);
    convert(&bert, &[]).fails(
        4,
        &["checkpoint of BERT", "bert/embeddings/word_embeddings"],
    );
    bert.add_floats(
        "bert/encoder/transformer/group_0/inner_group_0/x/kernel",
        &[8, 8],
    );
    convert(&bert, &[]).fails(4, &["checkpoint of ALBERT"]);
}

#[test]
fn advice_on_task_heads_names_a_command_that_works() {
    for name in ["ft_squadv1", "ft_chunk", "ft_squad_plain", "ft_sst"] {
        let checkpoint = fixture(name);
        let run = run!["--model", "discriminator", "--dry-run", checkpoint, "x"].ok();
        let works = run!["--model", "finetuned", "--dry-run", checkpoint, "x"].code == Some(0);
        let advised = run.stderr.contains("--model finetuned");
        assert_eq!(advised, works, "{name}: {}", run.stderr);
    }
}
