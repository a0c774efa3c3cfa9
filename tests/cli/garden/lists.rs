//! Checkpoints whose keys are places in a list of all variables, as in a SavedModel. The objects lead to the variables
//! by other paths.

use std::collections::BTreeMap;

use testkit::bundle_writer::{Bundle, Field, SMALL, message};
use testkit::{export_again, export_bundle, run};

use super::made::{self, Made, SAVED, Spelling};
use super::{HEADS, exported};
use crate::objects::{GRAPH, SUFFIX, add_string};

/// An object: its children, and the key of its value.
#[derive(Default)]
struct Object {
    children: Vec<(String, usize)>,
    key: String,
}

/// Objects by their numbers; the first one is the root.
struct Objects(Vec<Object>);

impl Objects {
    /// Returns the object at a path, with all objects on the way.
    fn at(&mut self, path: &str) -> usize {
        path.split('/').fold(0, |parent, name| {
            let children = &self.0[parent].children;
            if let Some((_, known)) = children.iter().find(|(known, _)| known == name) {
                return *known;
            }
            self.0.push(Object::default());
            let number = self.0.len() - 1;
            self.add(parent, name, number);
            number
        })
    }

    fn add(&mut self, parent: usize, name: &str, child: usize) {
        self.0[parent].children.push((name.to_owned(), child));
    }

    fn message(&self) -> Vec<u8> {
        let text = |text: &str| Field::Bytes(text.as_bytes().to_vec());
        let objects = self.0.iter().map(|object| {
            let children = object.children.iter().map(|(name, child)| {
                // As the graph has it, a name is not escaped.
                let name = name.replace(".S", "/");
                let child = [(1, Field::Varint(*child as u64)), (2, text(&name))];
                (1, Field::Bytes(message(&child)))
            });
            let value = [(1, text("VARIABLE_VALUE")), (3, text(&object.key))];
            let value = (2, Field::Bytes(message(&value)));
            let has_value = !object.key.is_empty();
            let fields = children.chain(has_value.then_some(value));
            (1, Field::Bytes(message(&fields.collect::<Vec<_>>())))
        });
        message(&objects.collect::<Vec<_>>())
    }
}

/// Returns the same variables with a list of them at the root, which comes before all other objects. `change` adds to the
/// objects; it gets the numbers of the variables by their paths.
fn listed(bundle: &Bundle, change: impl FnOnce(&mut Objects, &BTreeMap<String, usize>)) -> Bundle {
    let mut objects = Objects(vec![Object::default()]);
    let list = objects.at("variables");
    let mut found = Bundle {
        data: bundle.data.clone(),
        ..Bundle::default()
    };
    let mut numbers = BTreeMap::new();
    for entry in &bundle.entries {
        let name = String::from_utf8(entry.name.clone()).unwrap();
        let Some(path) = name.strip_suffix(SUFFIX) else {
            continue;
        };
        let variable = objects.at(path);
        let place = numbers.len();
        objects.0[variable].key = format!("variables/{place}{SUFFIX}");
        objects.add(list, &place.to_string(), variable);
        let mut entry = entry.clone();
        entry.name = objects.0[variable].key.clone().into_bytes();
        found.entries.push(entry);
        numbers.insert(path.to_owned(), variable);
    }
    change(&mut objects, &numbers);
    add_string(&mut found, GRAPH, &objects.message());
    found
}

#[test]
fn exports_are_those_of_the_paths() {
    for tied in [true, false] {
        let made = Made::pre_trained(SMALL, HEADS, tied);
        for spelling in Spelling::ALL {
            for saved in SAVED {
                let bundle = made.garden(spelling, saved);
                for model in ["discriminator", "generator"] {
                    let options = ["--allow-inexact"];
                    let (plain, run) = export_bundle(&bundle, model, &options);
                    run.ok();
                    let lists = listed(&bundle, |_, _| {});
                    let (folder, run) = export_bundle(&lists, model, &options);
                    run.ok();
                    assert!(
                        exported(&folder) == exported(&plain),
                        "{model} {spelling:?} {saved:?}"
                    );
                    let source = folder.path().join("m");
                    run!["verify", folder.path().join("out"), "--source", source].ok();
                }
            }
        }
    }
}

const KERNEL: &str = "encoder/_transformer_layers/0/_output_dense/kernel";

#[test]
fn a_variable_that_the_exported_object_holds_too_is_found() {
    let made = Made::pre_trained(SMALL, HEADS, false);
    let bundle = made.garden(Spelling::Named, SAVED[0]);
    let (plain, run) = export_bundle(&bundle, "discriminator", &[]);
    run.ok();
    let lists = listed(&bundle, |objects, numbers| {
        // Shorter paths, which are no part of a model.
        objects.add(0, "kernel_to_watch", numbers[KERNEL]);
        let other = objects.at("watched");
        objects.add(
            other,
            "table",
            numbers["encoder/_embedding_layer/embeddings"],
        );
    });
    let (folder, run) = export_bundle(&lists, "discriminator", &[]);
    run.ok();
    assert!(exported(&folder) == exported(&plain));

    // The key itself is the path that is no part of a model.
    let key = format!("watched{SUFFIX}");
    let mut listed_at = String::new();
    let mut lists = listed(&bundle, |objects, numbers| {
        let variable = numbers[KERNEL];
        listed_at = std::mem::replace(&mut objects.0[variable].key, key.clone());
        objects.add(0, "watched", variable);
    });
    lists.entry(&listed_at).name = key.into_bytes();
    let (folder, run) = export_bundle(&lists, "discriminator", &[]);
    run.ok();
    assert!(exported(&folder) == exported(&plain));
}

#[test]
fn several_parts_of_models_are_an_error() {
    let made = Made::encoder(SMALL, HEADS);
    let bundle = made.garden(Spelling::Named, SAVED[0]);
    let other = KERNEL.replace("/0/", "/1/");
    let lists = listed(&bundle, |objects, numbers| {
        objects.add(0, "shared", numbers[KERNEL]);
        let layer = objects.at("third/_transformer_layers/0/_output_dense");
        objects.add(layer, "kernel", numbers[KERNEL]);
    });
    let (folder, run) = export_bundle(&lists, "discriminator", &[]);
    let third = KERNEL.replace("encoder", "third");
    run.fails(
        4,
        &[
            "shared belongs to several",
            KERNEL,
            &third,
            "--rename '^shared$=PATH'",
        ],
    );
    let rename = format!("^shared$={KERNEL}");
    export_again(&folder, "discriminator", &["--rename", &rename]).ok();
    // The path of another variable.
    let rename = format!("^shared$={other}");
    let run = export_again(&folder, "discriminator", &["--rename", &rename]);
    run.fails(4, &[]);
}

#[test]
fn a_list_alone_is_refused() {
    let bundle = Made::encoder(SMALL, HEADS).garden(Spelling::Named, SAVED[0]);
    let mut lists = listed(&bundle, |objects, _| {
        objects.0[0]
            .children
            .retain(|(name, _)| name == "variables");
    });
    let name = "transformer/layer_0/self_attention/query/kernel";
    made::add(&mut lists, "variables/70", name, &[64, 4, 16]);
    let (_, run) = export_bundle(&lists, "discriminator", &[]);
    run.fails(4, &["variables/70/.ATTRIBUTES", name, "ckpt-N.index"]);
}

/// The slot of an optimizer has the key of its variable in its own.
#[test]
fn moving_averages_are_those_of_the_listed_variables() {
    let made = Made::encoder(SMALL, HEADS);
    let mut lists = listed(&made.garden(Spelling::Named, SAVED[0]), |_, _| {});
    let keys = lists.entries.iter().map(|entry| {
        let key = String::from_utf8(entry.name.clone()).unwrap();
        (key, entry.shape.clone())
    });
    let keys: Vec<(String, Vec<i64>)> = keys.collect();
    for (key, shape) in &keys {
        if let Some(path) = key.strip_suffix(SUFFIX) {
            let slot = format!("{path}/.OPTIMIZER_SLOT/optimizer/average");
            made::add(&mut lists, &slot, "", shape);
        }
    }
    let options = ["--weights", "average"];
    let (folder, run) = export_bundle(&lists, "discriminator", &options);
    run.ok();
    let source = folder.path().join("m");
    run!["verify", folder.path().join("out"), "--source", source].ok();
    let raw = exported(&folder).0;
    export_again(&folder, "discriminator", &[]).ok();
    assert!(exported(&folder).0 != raw);
}
