//! V1 checkpoints: found, read, verified by value, and refused where they are damaged.

use std::fs;
use std::path::Path;

use electra_convert::{ElectraCheckpoint, Model, PlanOptions};

use testkit::bundle_writer::{Bundle, Entry, FLOAT32, SMALL, discriminator};
use testkit::v1_writer::{Tables, listed, saved, values};
use testkit::{copy_of, fixture, read_weights, run, temp};

const HALF: u64 = 19;
const INT64: u64 = 9;

#[test]
fn v1_is_found_by_folder_by_prefix_and_by_any_file() {
    for (name, paths) in [
        ("fmt_v1", &["", "checkpoint", "model.ckpt-400"][..]),
        (
            "fmt_v1_sharded",
            &[
                "",
                "checkpoint",
                "model.ckpt-400",
                "model.ckpt-400-00000-of-00002",
                "model.ckpt-400-00001-of-00002",
                "model.ckpt-400-?????-of-00002",
            ],
        ),
    ] {
        for path in paths {
            let found = run!["inspect", fixture(name).join(path), "--json"]
                .ok()
                .json();
            assert_eq!(found["checkpoint"]["name"], "model.ckpt-400", "{path}");
            assert_eq!(found["checkpoint"]["format"], "v1");
            assert_eq!(found["checkpoint"]["step"], 400);
        }
        // Without a state file, and with a training graph beside it.
        let folder = copy_of(name);
        fs::remove_file(folder.path().join("checkpoint")).unwrap();
        fs::write(folder.path().join("notes.txt"), "nothing").unwrap();
        fs::copy(
            fixture("tiny_default").join("model.ckpt-400.meta"),
            folder.path().join("model.ckpt-400.meta"),
        )
        .unwrap();
        for path in ["", "model.ckpt-400.meta"] {
            let found = run!["inspect", folder.path().join(path), "--json"]
                .ok()
                .json();
            assert_eq!(found["models"][0]["config"]["num_attention_heads"], 2);
        }
        let stdout = run!["inspect", folder.path()].ok().stdout;
        assert!(stdout.contains("V1 checkpoint, "), "{stdout}");
    }
}

#[test]
fn values_are_compared_and_the_report_says_so() {
    let source = fixture("fmt_v1");
    let out = temp();
    let run = run!["--model", "discriminator", source, out.path()].ok();
    let line = "43 tensors: equal to the checkpoint's variables, value by value";
    assert!(run.stdout.contains(line), "{}", run.stdout);
    assert!(run.stdout.contains("V1"), "{}", run.stdout);
    let against = run!["verify", out.path(), "--source", source, "--json"]
        .ok()
        .json();
    assert_eq!(against["checksums"]["by_value"], 43);
    // The conversion noted the checksum of what it wrote.
    let alone = run!["verify", out.path(), "--json"].ok().json();
    assert_eq!(alone["checksums"]["against_recorded"], 43);

    let path = out.path().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    run!["verify", out.path()].fails(5, &["changed since the conversion"]);
    run!["verify", out.path(), "--source", source]
        .fails(5, &["does not match variable", "element"]);
}

#[test]
fn a_missing_table_is_named() {
    let folder = copy_of("fmt_v1_sharded");
    let second = "model.ckpt-400-00001-of-00002";
    fs::remove_file(folder.path().join(second)).unwrap();
    run!["inspect", folder.path()].fails(3, &[second, "one of the 2 files"]);
}

fn write(folder: &Path, bytes: &[u8]) {
    fs::write(folder.join("model.ckpt"), bytes).unwrap();
}

/// All bytes that the discriminator is made from.
fn export(folder: &Path) -> Result<Vec<Vec<u8>>, electra_convert::Error> {
    let source = ElectraCheckpoint::open(folder.join("model.ckpt"))?;
    let plan = source.plan(Model::Discriminator, &PlanOptions::default())?;
    plan.tensors
        .iter()
        .map(|tensor| {
            let mut bytes = vec![0; usize::try_from(tensor.variables[0].bytes()).unwrap()];
            source.checkpoint().read(&tensor.variables[0], &mut bytes)?;
            Ok(bytes)
        })
        .collect()
}

#[test]
fn a_damaged_table_is_an_error_or_does_not_matter() {
    let folder = temp();
    let sound = Tables::of(&discriminator(SMALL)).bytes();
    write(folder.path(), &sound);
    let expected = export(folder.path()).unwrap();
    // Every byte of the list and of the index, a sample of the values.
    let all = (0..sound.len()).filter(|at| at % 29 == 0 || *at < 600 || at + 1200 > sound.len());
    let (mut errors, mut harmless) = (0, 0);
    for at in all {
        let mut bytes = sound.clone();
        bytes[at] ^= 1 << (at % 8);
        write(folder.path(), &bytes);
        match export(folder.path()) {
            Ok(found) => {
                assert!(found == expected, "byte {at} changed the export");
                harmless += 1;
            }
            Err(error) => {
                assert!(error.to_string().contains("model.ckpt"), "{error}");
                errors += 1;
            }
        }
    }
    println!("bytes of a V1 table: {errors} errors, {harmless} without effect");
    // The unused meta-index block and its handle, and the padding of the footer.
    assert!(harmless < 70, "{harmless} bytes are not covered");

    let lengths = (0..sound.len()).filter(|len| len % 61 == 0 || len + 200 > sound.len());
    println!("truncations of a V1 table: {}", lengths.clone().count());
    for len in lengths {
        write(folder.path(), &sound[..len]);
        let error = export(folder.path()).unwrap_err().to_string();
        assert!(error.contains("model.ckpt"), "{len}: {error}");
    }
    write(folder.path(), &sound[..sound.len() - 1]);
    run!["inspect", folder.path().join("model.ckpt")].fails(3, &["cut short"]);
}

/// The variable that is bent: eight numbers of float32.
const BENT: &str = "electra/embeddings/LayerNorm/beta";

#[test]
fn tables_that_contradict_themselves_are_refused() {
    type Bend = fn(&mut Tables, &Entry, usize);
    let cases: [(Bend, &str); 9] = [
        (|t, _, _| t.min_consumer = 2, "version 2"),
        (|t, _, _| t.list.clear(), "lists no variables"),
        (|t, v, _| t.list.push(listed(v)), "overlap"),
        (
            |t, v, _| {
                let mut other = v.clone();
                other.shape = vec![8, 1];
                t.list.push(listed(&other));
            },
            "another dtype or shape",
        ),
        (
            |t, v, at| {
                let mut huge = v.clone();
                huge.shape = vec![1 << 40, 1 << 40];
                t.list[at] = listed(&huge);
            },
            "too large",
        ),
        (
            |t, _, at| {
                t.slices.remove(at);
            },
            "not there",
        ),
        (
            |t, v, at| t.slices[at].1 = saved(&v.name, values(FLOAT32, &[0; 12])),
            "has 3 elements",
        ),
        (
            |t, _, at| t.slices[at].1 = saved(b"w", Vec::new()),
            "has the value of variable w",
        ),
        (
            |t, v, at| t.slices[at].1 = saved(&v.name, values(FLOAT32, &vec![0; 200_000])),
            "has 50000 elements",
        ),
    ];
    let bundle = discriminator(SMALL);
    let at = bundle
        .entries
        .iter()
        .position(|e| e.name == BENT.as_bytes());
    let at = at.unwrap();
    for (bend, word) in cases {
        let mut tables = Tables::of(&bundle);
        bend(&mut tables, &bundle.entries[at], at);
        let folder = temp();
        write(folder.path(), &tables.bytes());
        let from = folder.path().join("model.ckpt");
        run!["--model", "discriminator", from, folder.path().join("out")]
            .fails(3, &["model.ckpt", word]);
    }
}

#[test]
fn every_type_is_read_from_its_own_field() {
    let mut bundle = Bundle::default();
    let step = 1_i64 << 40;
    bundle.add("global_step", INT64, &[], &step.to_le_bytes());
    for entry in discriminator(SMALL).entries {
        let name = String::from_utf8(entry.name).unwrap();
        let n = usize::try_from(entry.shape.iter().product::<i64>()).unwrap();
        // From the smallest to the largest bits, but no infinity.
        let bits = (0..n).flat_map(|i| u16::try_from(i * 31 % 0x7c00).unwrap().to_le_bytes());
        bundle.add(&name, HALF, &entry.shape, &bits.collect::<Vec<u8>>());
    }
    let [v1, v2] = [temp(), temp()];
    write(v1.path(), &Tables::of(&bundle).bytes());
    bundle.write(&v2.path().join("model.ckpt"));
    let [a, b] = [&v1, &v2].map(|folder| {
        let out = folder.path().join("out");
        let from = folder.path().join("model.ckpt");
        let run = run![
            "--model",
            "discriminator",
            "--no-verify",
            "--json",
            from,
            out
        ]
        .ok();
        assert_eq!(run.json()["checkpoint"]["step"], step);
        read_weights(&out)
    });
    assert!(a.keys().eq(b.keys()));
    for (name, tensor) in &a {
        assert!(tensor.bytes == b[name].bytes, "{name}");
    }
}
