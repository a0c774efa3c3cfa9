//! SavedModels: from which paths they are found, which graph is read, and what is refused.

mod writer;

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tf_checkpoint::{Checkpoint, Error, FileKind, Format, Limits, MetaGraph, locate};
use writer::{Entry, write_bundle};

/// A `SavedModel` with a graph of one node, tagged `serve`.
const GRAPH: &[u8] =
    b"\x08\x01\x12\x1a\x0a\x07\x22\x05serve\x12\x0f\x0a\x0d\x0a\x04node\x12\x05Const";

/// Writes a SavedModel with the variables `bias` and `global_step`.
fn write_saved_model(directory: &Path) {
    fs::create_dir_all(directory.join("variables")).unwrap();
    fs::write(directory.join("saved_model.pb"), GRAPH).unwrap();
    write_bundle(
        &directory.join("variables/variables"),
        &[
            Entry::floats("bias", &[1], &[0.5]),
            Entry::int64("global_step", 3),
        ],
    );
}

/// A directory with the SavedModel `1` in `saved_model`, as `save_pretrained` writes it.
fn pretrained() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_saved_model(&folder.path().join("saved_model/1"));
    folder
}

fn write_hdf5(path: &Path) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/hdf5/weights.h5");
    fs::copy(data, path).unwrap();
}

/// Returns the directory of the SavedModel that a path leads to, and the HDF5 files that were passed over.
#[track_caller]
fn found(path: &Path) -> (PathBuf, Vec<PathBuf>) {
    let location = locate(path, None).unwrap();
    assert_eq!(location.format(), Format::SavedModel, "{}", path.display());
    assert_eq!(location.name(), "saved_model.pb");
    assert_eq!(location.step_in_name(), None);
    assert_eq!(location.prefix(), location.folder());
    let passed_over = location.passed_over().to_owned();
    (location.folder().to_owned(), passed_over)
}

fn kind(error: &Error) -> Option<FileKind> {
    match error {
        Error::Unsupported { kind, .. } => Some(*kind),
        _ => None,
    }
}

#[test]
fn graph_and_variables_are_read() {
    let folder = pretrained();
    let checkpoint = Checkpoint::open(locate(folder.path(), None).unwrap()).unwrap();
    let [bias, step] = checkpoint.variables() else {
        panic!("two variables")
    };
    assert_eq!(checkpoint.read_integer(step).unwrap(), Some(3));
    let mut bytes = [0; 4];
    checkpoint.read(bias, &mut bytes).unwrap();
    assert_eq!(f32::from_le_bytes(bytes).to_bits(), 0.5_f32.to_bits());
    let graph = checkpoint.meta_graph().unwrap().unwrap();
    assert!(graph.path().ends_with("saved_model/1/saved_model.pb"));
    let names: Vec<String> = graph.nodes().map(|node| graph.name(node)).collect();
    assert_eq!(names, ["node"]);
    checkpoint.check_unchanged().unwrap();
    fs::write(graph.path(), [GRAPH, b"\x08\x01"].concat()).unwrap();
    let changed = checkpoint.check_unchanged().unwrap_err();
    assert!(matches!(changed, Error::Changed { .. }), "{changed}");
}

#[test]
fn every_path_in_it_and_around_it_leads_to_a_saved_model() {
    let folder = pretrained();
    let root = folder.path();
    let directory = root.join("saved_model/1");
    fs::create_dir(directory.join("assets")).unwrap();
    for path in [
        "",
        "saved_model",
        "saved_model/1",
        "saved_model/1/saved_model.pb",
        "saved_model/1/saved_model",
        "saved_model/1/saved_model.pbtxt",
        "saved_model/1/keras_metadata.pb",
        "saved_model/1/variables",
        "saved_model/1/variables/variables",
        "saved_model/1/variables/variables.index",
        "saved_model/1/variables/variables.data-00000-of-00001",
        "saved_model/1/assets",
        "saved_model/1/assets/vocab.txt",
    ] {
        assert_eq!(found(&root.join(path)).0, directory, "{path}");
    }
    let error = locate(root, Some(1)).unwrap_err();
    assert!(error.to_string().contains("there is no step 1"), "{error}");
}

#[test]
fn several_versions_are_listed() {
    let folder = pretrained();
    let root = folder.path();
    for version in ["10", "2", "x", "3x"] {
        write_saved_model(&root.join("saved_model").join(version));
    }
    for (path, expected) in [
        ("", "saved_model/1, saved_model/2, saved_model/10"),
        ("saved_model", "1, 2, 10"),
    ] {
        let error = locate(&root.join(path), None).unwrap_err();
        let Error::Ambiguous { names, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(names.join(", "), expected);
    }
    let second = root.join("saved_model/2");
    assert_eq!(found(&second).0, second);
}

#[test]
fn hdf5_files_are_passed_over_and_listed() {
    let folder = pretrained();
    let root = folder.path();
    let hdf5 = root.join("tf_model.h5");
    write_hdf5(&hdf5);
    fs::write(root.join("other.h5"), b"not HDF5").unwrap();
    assert_eq!(found(root).1, std::slice::from_ref(&hdf5));
    // These paths choose one of the two.
    for path in ["saved_model", "saved_model/1", "saved_model/1/variables"] {
        assert_eq!(found(&root.join(path)).1, [] as [PathBuf; 0], "{path}");
    }
    assert_eq!(locate(&hdf5, None).unwrap().format(), Format::Hdf5);
    // In one directory, the graph chooses the SavedModel.
    let directory = root.join("saved_model/1");
    let inner = directory.join("tf_model.h5");
    write_hdf5(&inner);
    assert_eq!(found(&directory).1, [inner]);
    assert_eq!(
        found(&directory.join("saved_model.pb")).1,
        [] as [PathBuf; 0]
    );
}

#[test]
fn other_checkpoints_and_models_come_first() {
    let folder = pretrained();
    let root = folder.path();
    let bundle = root.join("model.ckpt-7");
    write_bundle(&bundle, &[Entry::floats("bias", &[1], &[0.5])]);
    assert_eq!(locate(root, None).unwrap().prefix(), bundle);
    let beside = root.join("saved_model/1/model.ckpt-8");
    write_bundle(&beside, &[Entry::floats("bias", &[1], &[0.5])]);
    let error = locate(&root.join("saved_model/1"), None).unwrap_err();
    assert!(matches!(error, Error::Ambiguous { .. }), "{error}");
    assert_eq!(
        locate(&root.join("saved_model/1"), Some(8))
            .unwrap()
            .prefix(),
        beside
    );

    let folder = pretrained();
    fs::write(folder.path().join("pytorch_model.bin"), b"\x80\x02}q").unwrap();
    let error = locate(folder.path(), None).unwrap_err();
    assert_eq!(kind(&error), Some(FileKind::Model), "{error}");
}

/// A change of a SavedModel's directory.
type Damage<'a> = &'a dyn Fn(&Path);

#[test]
fn what_is_no_complete_saved_model_is_refused() {
    let text = |directory: &Path| {
        let graph = directory.join("saved_model.pb");
        fs::rename(&graph, directory.join("saved_model.pbtxt")).unwrap();
    };
    let without_variables = |directory: &Path| {
        fs::remove_dir_all(directory.join("variables")).unwrap();
    };
    let without_index = |directory: &Path| {
        fs::remove_file(directory.join("variables/variables.index")).unwrap();
    };
    let damages: [(Damage<'_>, &str); 3] = [
        (&text, "saved_model.pbtxt"),
        (&without_variables, "variables.index is missing"),
        (&without_index, "variables.index is missing"),
    ];
    for (damage, words) in damages {
        let folder = pretrained();
        let root = folder.path();
        write_hdf5(&root.join("tf_model.h5"));
        damage(&root.join("saved_model/1"));
        for path in [
            "",
            "saved_model",
            "saved_model/1",
            "saved_model/1/variables/variables",
        ] {
            let error = locate(&root.join(path), None).unwrap_err();
            assert_eq!(kind(&error), Some(FileKind::SavedModel), "{path}: {error}");
            assert!(error.to_string().contains(words), "{path}: {error}");
            assert_eq!(error.checkpoint(), None);
        }
    }
}

#[test]
fn damaged_graphs_are_errors() {
    for len in 1..GRAPH.len() {
        let folder = pretrained();
        let checkpoint = Checkpoint::open(locate(folder.path(), None).unwrap()).unwrap();
        let path = folder.path().join("saved_model/1/saved_model.pb");
        fs::write(&path, &GRAPH[..len]).unwrap();
        let error = checkpoint.meta_graph().unwrap_err();
        assert!(matches!(error, Error::MetaGraph { .. }), "{len}: {error}");
        let error = error.to_string();
        assert!(error.contains("copy its directory again"), "{len}: {error}");
    }
    let page = b"<!DOCTYPE html>".to_vec();
    let error = MetaGraph::parse_saved_model(Path::new("saved_model.pb"), page, &Limits::default());
    assert!(matches!(error, Err(Error::MetaGraph { .. })));
}
