//! Writes the committed corpus that fuzzing starts from, out of the fixtures of the tests: `cargo run
//! --bin seeds`.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::Path;

use electra_convert_fuzz::{Pairs, unpaired};
use flate2::write::GzEncoder;
use testkit::bundle_writer::SMALL;
use testkit::graph_writer::{ORIGINAL, encoder, gelu};
use testkit::saved_model;
use tf_checkpoint::sstable::{self, Table};
use zip::CompressionMethod as Method;

fn read(path: &str) -> Vec<u8> {
    fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../fixtures")
            .join(path),
    )
    .expect(path)
}

fn put(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join(name), bytes).expect("room for a seed");
}

fn table(bytes: Vec<u8>) -> Pairs {
    let mut pairs = Pairs::new();
    let table = Table::open(&bytes[..]).expect("a sound table");
    table
        .scan(|key, value| {
            pairs.insert(key.to_vec(), value.to_vec());
            Ok::<(), sstable::Error>(())
        })
        .expect("a sound table");
    pairs
}

/// The checkpoint without optimizer, its data cut short.
fn members() -> impl Iterator<Item = (String, Vec<u8>)> {
    let names = [
        "checkpoint",
        "electra_tiny.index",
        "electra_tiny.data-00000-of-00001",
        "vocab.txt",
    ];
    names.into_iter().map(|name| {
        let mut bytes = read(&format!("fmt_weights_only/{name}"));
        bytes.truncate(4096);
        (format!("electra/{name}"), bytes)
    })
}

fn zip_archive(method: Method) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
    for (name, bytes) in members() {
        zip.start_file(name, options).expect("a member");
        zip.write_all(&bytes).expect("memory");
    }
    zip.finish().expect("an archive").into_inner()
}

/// An archive with a name of GNU's format and a pax header.
fn tar_archive() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in members() {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, &bytes[..])
            .expect("memory");
    }
    let long = "d/".repeat(80);
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    tar.append_data(&mut header, format!("{long}m.index"), &[][..])
        .expect("memory");
    let pax = [("path", &b"b/vocab.txt"[..]), ("size", b"0")];
    tar.append_pax_extensions(pax).expect("memory");
    let mut header = tar::Header::new_ustar();
    header.set_size(0);
    tar.append_data(&mut header, "c", &[][..]).expect("memory");
    tar.into_inner().expect("an archive")
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(bytes).expect("memory");
    gzip.finish().expect("memory")
}

fn main() {
    for (name, index) in [
        ("weights", "fmt_weights_only/electra_tiny.index"),
        ("partitioned", "fmt_partitioned/model.ckpt-400.index"),
        ("sharded", "fmt_sharded/model.ckpt-400.index"),
        ("objects", "object_weights/weights.index"),
    ] {
        let index = read(index);
        put("sstable", name, &index);
        put("bundle", name, &unpaired(&table(index)));
    }
    let v1 = read("fmt_v1/model.ckpt-400");
    let small = unpaired(&table(v1));
    put("v1", "v1", &small);
    put(
        "v1_table",
        "v1",
        &electra_convert_fuzz::table(&electra_convert_fuzz::pairs(&small)),
    );
    put(
        "meta_graph",
        "tiny",
        &electra_convert_fuzz::training_graph(),
    );
    put(
        "object_graph",
        "list",
        &electra_convert_fuzz::object_graph(),
    );
    for name in ["batch_1", "time_major_square", "dropout_cond"] {
        let graph = format!("../crates/tf-graph/tests/data/graphs/{name}.meta");
        put("evaluate", name, &read(&graph));
    }
    let graph = encoder(SMALL, 4, |_| ORIGINAL).with_discriminator(gelu);
    let graphs: [(&[&str], &[u8]); 1] = [(&["serve"], &graph.meta())];
    put("saved_model", "tiny", &saved_model(&graphs));
    put(
        "saved_model",
        "function",
        &electra_convert_fuzz::saved_function(),
    );
    put("state_file", "tiny", &read("tiny_default/checkpoint"));
    put(
        "state_file",
        "foreign",
        &read("fmt_foreign_state/checkpoint"),
    );
    for (name, method) in [("stored", Method::Stored), ("deflated", Method::Deflated)] {
        put("zip", name, &zip_archive(method));
    }
    put("tar", "plain", &tar_archive());
    put("tar", "gzipped", &gzipped(&tar_archive()));
    for name in ["weights", "model", "gzip", "tracked"] {
        let file = format!("../crates/tf-checkpoint/tests/data/hdf5/{name}.h5");
        put("hdf5", name, &read(&file));
    }
    put("vocabulary", "tiny", &read("tokenizer/lower.txt"));
    put(
        "config",
        "one",
        br#"{"hidden_size":128,"hidden_act":"gelu","id2label":{"0":"a"}}"#,
    );
    let header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let len = (header.len() as u64).to_le_bytes();
    put(
        "weights_header",
        "one",
        &[&len, &header[..], &[0; 4]].concat(),
    );
    put("rename", "one", b"^bert/(.*)=electra/$1");
}
