//! The paths to variables through the saved objects.
//!
//! The key of a variable is the shortest path to it from the root of the object graph. In the SavedModel of a Keras
//! model each object also has a list of all its variables, and so the key of nearly every variable is a place in such a
//! list (`variables/7`), which does not show the layer. The path of such a variable is the one that would be its key
//! in a checkpoint of the same objects: the first of the shortest paths, in the order of the children, without lists of
//! variables and without the objects that only a SavedModel has.
//!
//! A variable that several objects hold has one path for each of them. Every object has one path, so that the
//! number of paths is at most the number of edges.
//!
//! The time is linear in the length of the graph, whatever its shape: each object is visited once for each
//! [`Rank`], and no path is longer than [`MAX_PATH`].
//! Source: `tensorflow/core/protobuf/trackable_object_graph.proto`, `tensorflow/python/checkpoint/graph_view.py`, and
//! `saving/legacy/saved_model/serialized_attributes.py` in tf-keras 2.20.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::error::Fault;
use crate::limits::Budget;
use crate::protobuf::message::submessages;
use crate::protobuf::objects::{ATTRIBUTES, Attribute, CHILDREN, Child, NODES};
use crate::variable::escaped;

/// The name of the attribute that holds the value of a variable.
const VALUE: &str = "VARIABLE_VALUE";
/// Children that only a SavedModel has: Keras' own view of an object, the functions of the signatures.
const OF_SAVED_MODEL: &[&str] = &["keras_api", "signatures"];
/// The child with the list of all layers of a model, in a SavedModel.
const LAYERS: &str = "layers";
/// The name of a layer by its number among all layers of a functional model, before the number. Layers with variables
/// have a number of their own besides (`layer_with_weights-4`).
const LAYER: &str = "layer-";
/// The longest path in bytes.
const MAX_PATH: usize = 4096;
/// The most paths of one variable.
const MAX_PATHS: usize = 8;

/// How well the name of a child shows what the child is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// An attribute, or a place in a list of objects.
    Own,
    /// A place among all layers of a model, which are attributes too in most models.
    Layer,
    /// Not a part of any path: a place in a list of variables, or an object that only a SavedModel has.
    Excluded,
}

impl Rank {
    fn of(name: &str, is_variable: bool) -> Self {
        if OF_SAVED_MODEL.contains(&name) || (is_variable && is_number(name)) {
            Self::Excluded
        } else if name == LAYERS || name.strip_prefix(LAYER).is_some_and(is_number) {
            Self::Layer
        } else {
            Self::Own
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns true if the path in a key may not be the best one to its variable.
pub(super) fn is_indirect(path: &str) -> bool {
    let (before, last) = path.rsplit_once('/').unwrap_or(("", path));
    Rank::of(last, true) != Rank::Own
        || before
            .split('/')
            .any(|name| Rank::of(name, false) != Rank::Own)
}

/// Returns the paths to the variables with these keys: the preferred path first, then one for each other object that
/// holds the variable. A variable to which no such path leads is left out.
pub(super) fn find<'a>(
    graph: &'a [u8],
    keys: &HashSet<&str>,
    budget: &mut Budget,
) -> Result<HashMap<&'a str, Vec<String>>, Fault> {
    let mut objects = Objects::read(graph, budget)?;
    let reached = objects.reach()?;
    let mut edges: HashMap<&str, Vec<(u32, &str)>> = HashMap::new();
    for &parent in &reached {
        for child in objects.children(parent) {
            let (child, name) = child?;
            let child = &objects.0[child as usize];
            let Some(key) = child.key.filter(|key| keys.contains(key)) else {
                continue;
            };
            if Rank::of(name, true) == Rank::Excluded {
                continue;
            }
            // The shortest path is the preferred one.
            let found = edges
                .entry(key)
                .or_insert_with(|| child.from.into_iter().collect());
            if found.len() < MAX_PATHS && !found.contains(&(parent, name)) {
                found.push((parent, name));
            }
        }
    }
    let mut paths = HashMap::with_capacity(edges.len());
    for (key, edges) in edges {
        let mut found = Vec::with_capacity(edges.len());
        for edge in edges {
            if let Some(path) = objects.path(edge) {
                budget.take(path.len() + size_of::<String>())?;
                found.push(path);
            }
        }
        if !found.is_empty() {
            paths.insert(key, found);
        }
    }
    Ok(paths)
}

/// An object of the graph.
struct Object<'a> {
    message: &'a [u8],
    /// The key of its value, if it is a variable.
    key: Option<&'a str>,
    /// The object through which it is reached, and its name there.
    from: Option<(u32, &'a str)>,
    /// The length of its path in bytes, each name with a slash.
    len: usize,
    is_reached: bool,
}

/// The objects of a graph by their numbers; the first one is the root.
struct Objects<'a>(Vec<Object<'a>>);

impl<'a> Objects<'a> {
    fn read(graph: &'a [u8], budget: &mut Budget) -> Result<Self, Fault> {
        let mut objects = Vec::new();
        for message in submessages(graph, NODES) {
            let message = message?;
            let mut key = None;
            for attribute in submessages(message, ATTRIBUTES) {
                let attribute = Attribute::read(attribute?)?;
                if attribute.name == VALUE {
                    key.get_or_insert(attribute.key);
                }
            }
            // With its place among the reached objects. A list that grows is there twice for a moment.
            budget.take(2 * size_of::<Object<'_>>() + 2 * size_of::<u32>())?;
            objects.push(Object {
                message,
                key,
                from: None,
                len: 0,
                is_reached: false,
            });
        }
        Ok(Self(objects))
    }

    /// Returns the numbers and the names of the children of an object.
    fn children(
        &self,
        parent: u32,
    ) -> impl Iterator<Item = Result<(u32, &'a str), Fault>> + use<'a> {
        let count = self.0.len();
        submessages(self.0[parent as usize].message, CHILDREN).map(move |child| {
            let Child { number, name } = Child::read(child?)?;
            match u32::try_from(number) {
                Ok(child) if (child as usize) < count => Ok((child, name)),
                _ => Err(format!(
                    "has {count} objects, but object {parent} has the child {number}, {name}"
                )
                .into()),
            }
        })
    }

    /// Finds the first of the shortest paths to every object, and returns the reached ones. Paths through names
    /// of a worse [`Rank`] are taken only to objects that are not reached otherwise.
    fn reach(&mut self) -> Result<Vec<u32>, Fault> {
        let Some(root) = self.0.first_mut() else {
            return Ok(Vec::new());
        };
        root.is_reached = true;
        let mut reached = vec![0];
        for rank in [Rank::Own, Rank::Layer] {
            let mut at = 0;
            while let Some(&parent) = reached.get(at) {
                at += 1;
                for child in self.children(parent) {
                    let (number, name) = child?;
                    let len = self.0[parent as usize].len + 1 + name.len();
                    let child = &mut self.0[number as usize];
                    if !child.is_reached && Rank::of(name, child.key.is_some()) <= rank {
                        child.is_reached = true;
                        child.from = Some((parent, name));
                        child.len = len;
                        reached.push(number);
                    }
                }
            }
        }
        Ok(reached)
    }

    /// Returns the path that ends in an edge; `None` if it is longer than any path of a model.
    fn path(&self, edge: (u32, &'a str)) -> Option<String> {
        if self.0[edge.0 as usize].len + 1 + edge.1.len() > MAX_PATH {
            return None;
        }
        let from = |edge: &(u32, &'a str)| self.0[edge.0 as usize].from;
        let names = std::iter::successors(Some(edge), from).map(|(_, name)| escaped(name));
        let mut names: Vec<Cow<'_, str>> = names.collect();
        names.reverse();
        Some(names.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Instant;

    use super::*;
    use crate::limits::Limits;

    fn varint(mut value: u64, bytes: &mut Vec<u8>) {
        while value >= 0x80 {
            bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
            value >>= 7;
        }
        bytes.push(u8::try_from(value).unwrap());
    }

    fn field(number: u64, content: &[u8], bytes: &mut Vec<u8>) {
        varint(number << 3 | 2, bytes);
        varint(content.len() as u64, bytes);
        bytes.extend_from_slice(content);
    }

    /// The children of an object, and the key of its value; no key for other objects.
    type Made<'a> = (&'a [(u64, &'a str)], &'a str);

    fn object((children, key): Made<'_>, graph: &mut Vec<u8>) {
        let mut message = Vec::new();
        for (number, name) in children {
            let mut child = vec![8];
            varint(*number, &mut child);
            field(2, name.as_bytes(), &mut child);
            field(1, &child, &mut message);
        }
        if !key.is_empty() {
            let mut attribute = Vec::new();
            field(1, VALUE.as_bytes(), &mut attribute);
            field(3, key.as_bytes(), &mut attribute);
            field(2, &attribute, &mut message);
        }
        field(1, &message, graph);
    }

    fn graph(objects: &[Made<'_>]) -> Vec<u8> {
        let mut graph = Vec::new();
        for made in objects {
            object(*made, &mut graph);
        }
        graph
    }

    fn found(graph: &[u8], keys: &[&str]) -> Result<HashMap<String, Vec<String>>, String> {
        let mut budget = Limits::default().budget(graph.len() as u64);
        let keys: HashSet<&str> = keys.iter().copied().collect();
        let found = find(graph, &keys, &mut budget);
        let owned = |(key, paths): (&str, _)| (key.to_owned(), paths);
        found
            .map(|found| found.into_iter().map(owned).collect())
            .map_err(|fault| fault.at(Path::new("m.index"), "graph").to_string())
    }

    /// A functional model with two layers, as a SavedModel has it.
    const MODEL: &[Made<'_>] = &[
        (
            &[
                (1, "variables"),
                (1, "trainable_variables"),
                (2, "layers"),
                (3, "keras_api"),
                (4, "layer-0"),
                (5, "layer_with_weights-0"),
                (5, "layer-1"),
                (6, "signatures"),
                (7, "_blocks"),
                (9, "head/a.b"),
            ],
            "",
        ),
        (&[(8, "0"), (10, "1")], ""),
        (&[(4, "0"), (5, "1")], ""),
        (&[(1, "variables"), (8, "kernel"), (11, "metric")], ""),
        (&[], ""),
        (&[(8, "kernel"), (1, "variables")], ""),
        (&[(11, "only_in_signature")], ""),
        (&[(5, "0")], ""),
        (&[], "variables/0"),
        (&[(8, "table"), (10, "bias")], ""),
        (&[], "variables/1"),
        (&[], "keras_api/metric"),
    ];

    #[test]
    fn paths_are_those_of_a_checkpoint() {
        let keys = ["variables/0", "variables/1", "keras_api/metric"];
        let found = found(&graph(MODEL), &keys).unwrap();
        assert_eq!(
            found["variables/0"],
            ["layer_with_weights-0/kernel", "head.Sa..b/table"]
        );
        assert_eq!(found["variables/1"], ["head.Sa..b/bias"]);
        // Only a SavedModel has this one.
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn layers_without_another_name_have_their_number() {
        let objects: &[Made<'_>] = &[
            (&[(1, "variables"), (2, "layers"), (3, "layer-1")], ""),
            (&[(4, "0")], ""),
            (&[(3, "0")], ""),
            (&[(4, "kernel")], ""),
            (&[], "variables/0"),
        ];
        let found = found(&graph(objects), &["variables/0"]).unwrap();
        assert_eq!(found["variables/0"], ["layer-1/kernel"]);
    }

    #[test]
    fn places_in_lists_are_indirect() {
        for path in [
            "variables/7",
            "model/variables/7",
            "7",
            "layers/3/kernel",
            "layer-12/kernel",
            "model/keras_api/metrics/0/total",
            "signatures/x",
        ] {
            assert!(is_indirect(path), "{path}");
        }
        for path in [
            "model/layer_with_weights-3/kernel",
            "_transformer_layers/0/_output_dense/bias",
            "layer-norm/gamma",
            "optimizer/_iterations",
            "kernel7",
            "",
        ] {
            assert!(!is_indirect(path), "{path}");
        }
    }

    #[test]
    fn cycles_end() {
        let objects: &[Made<'_>] = &[
            (&[(0, "self"), (1, "a")], ""),
            (&[(1, "a"), (0, "parent"), (2, "kernel")], ""),
            (&[(2, "kernel"), (0, "root")], "variables/0"),
        ];
        let found = found(&graph(objects), &["variables/0"]).unwrap();
        assert_eq!(found["variables/0"], ["a/kernel", "a/kernel/kernel"]);
    }

    #[test]
    fn children_outside_of_the_graph_are_errors() {
        for number in [2, 1 << 31, u64::MAX, 1 << 40 | 2] {
            let objects: &[Made<'_>] = &[(&[(number, "a")], ""), (&[], "variables/0")];
            let error = found(&graph(objects), &["variables/0"]).unwrap_err();
            assert!(error.contains("has 2 objects"), "{error}");
            assert!(error.contains("object 0"), "{error}");
        }
        // Objects that the root does not reach are not followed.
        let objects: &[Made<'_>] = &[(&[], ""), (&[(9, "a")], "variables/0")];
        assert!(found(&graph(objects), &["variables/0"]).unwrap().is_empty());
        assert!(found(&[], &["variables/0"]).unwrap().is_empty());
        found(&[0x0a, 5, 0], &["variables/0"]).unwrap_err();
    }

    /// Numbers that look random, the same in every run.
    fn random(state: &mut u64, below: usize) -> usize {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(*state >> 33).unwrap() % below
    }

    #[test]
    fn every_path_leads_to_its_variable() {
        const NAMES: &[&str] = &["a", "0", "1", "layers", "layer-3", "keras_api", "b.S/c", ""];
        let state = &mut 7;
        for _ in 0..2000 {
            let count = 1 + random(state, 12);
            let keys: Vec<String> = (0..count).map(|at| format!("variables/{at}")).collect();
            let children: Vec<Vec<(u64, &str)>> = (0..count)
                .map(|_| {
                    let mut names = NAMES.to_vec();
                    names.truncate(random(state, NAMES.len() + 1));
                    let child = |name| (random(state, count) as u64, name);
                    names.into_iter().map(child).collect()
                })
                .collect();
            let objects: Vec<Made<'_>> = (0..count)
                .map(|at| {
                    (
                        &children[at][..],
                        if at % 3 == 2 { &keys[at][..] } else { "" },
                    )
                })
                .collect();
            let bytes = graph(&objects);
            let wanted: Vec<&str> = keys.iter().map(String::as_str).collect();
            for (key, paths) in found(&bytes, &wanted).unwrap() {
                assert!(!paths.is_empty());
                for path in paths {
                    let end = path.split('/').try_fold(0, |parent, name| {
                        let mut children = objects[parent].0.iter();
                        let child = children.find(|(_, child)| escaped(child) == name)?;
                        usize::try_from(child.0).ok()
                    });
                    assert_eq!(objects[end.unwrap()].1, key, "{path}");
                }
            }
            // Damaged bytes are an error or another graph.
            let mut damaged = bytes.clone();
            for _ in 0..3 {
                let at = random(state, damaged.len());
                damaged[at] = u8::try_from(random(state, 256)).unwrap();
            }
            let _ = found(&damaged, &wanted);
            let _ = found(&bytes[..random(state, bytes.len())], &wanted);
        }
    }

    /// In quadratic time these take many minutes.
    #[test]
    fn hostile_graphs_take_linear_time() {
        const COUNT: u64 = 100_000;
        let start = Instant::now();
        // A chain, with a variable at each object.
        let mut chain = Vec::new();
        let names: Vec<String> = (0..COUNT).map(|at| format!("variables/{at}")).collect();
        for at in 0..COUNT {
            let next = (2 * at + 2).min(2 * COUNT - 1);
            object((&[(next, "a"), (2 * at + 1, "kernel")], ""), &mut chain);
            object((&[], &names[usize::try_from(at).unwrap()]), &mut chain);
        }
        let keys: Vec<&str> = names.iter().map(String::as_str).collect();
        let paths = found(&chain, &keys).unwrap();
        // Names of one letter: paths of at most 4096 bytes lead to 2045 objects of the chain.
        assert_eq!(paths.len(), 2045);

        // Every object has all variables for children.
        let children: Vec<(u64, &str)> = (1..1000).map(|at| (at, "x")).collect();
        let objects: Vec<Made<'_>> = (0..1000)
            .map(|at| (&children[..], if at % 2 == 1 { keys[at] } else { "" }))
            .collect();
        let paths = found(&graph(&objects), &keys).unwrap();
        assert_eq!(paths.len(), 500);
        assert!(paths.values().all(|paths| paths.len() <= MAX_PATHS));

        // One variable with many parents and many values.
        let mut parents = Vec::new();
        let children: Vec<(u64, &str)> = (1..COUNT).map(|at| (at, "p")).collect();
        object((&children, ""), &mut parents);
        for _ in 2..COUNT {
            object((&[(COUNT - 1, "kernel")], ""), &mut parents);
        }
        object((&[], "variables/0"), &mut parents);
        let paths = found(&parents, &["variables/0"]).unwrap();
        assert_eq!(paths["variables/0"].len(), MAX_PATHS);
        assert_eq!(paths["variables/0"][0], "p");
        assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
    }

    #[test]
    fn empty_objects_do_not_take_unbounded_memory() {
        let graph = [0x0a, 0].repeat(8 << 20);
        let error = found(&graph, &["variables/0"]).unwrap_err();
        assert!(error.contains("exhaust memory"), "{error}");
    }
}
