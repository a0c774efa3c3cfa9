//! The variables of a Keras model: the datasets that its attributes list.
//!
//! The attribute `layer_names` of the root group, or of `model_weights` in a file of a whole model, lists
//! groups. The attribute `weight_names` of each lists the paths of datasets below that group, which are the
//! names of the variables: `electra/encoder/dense/kernel:0` of the group `electra` is the dataset
//! `/electra/electra/encoder/dense/kernel:0`. A list that does not fit into one attribute continues in
//! `weight_names0`, `weight_names1`, and so on. The group `top_level_model_weights` holds variables of the
//! model itself. Variables of an optimizer (`optimizer_weights`) are not read.
//!
//! A variable that two layers share is stored with each of them, under the same name. The first in the
//! order of the attributes is the variable; the others must have the same values, which is checked when
//! they are read.

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use super::UNDEFINED;
use super::dataset::Dataset;
use super::global_heap::GlobalHeap;
use super::group::Links;
use super::header::Object;
use super::problem::Problem;
use super::source::Source;
use super::superblock;
use crate::error::Error;
use crate::file_kind::FileKind;
use crate::limits::Limits;
use crate::storage::ReadAt;
use crate::variable::{Piece, Variable};

/// The attribute of the model's group.
const LAYER_NAMES: &str = "layer_names";
/// The attribute of a layer's group.
const WEIGHT_NAMES: &str = "weight_names";
/// The model's group in the file of a whole model.
const MODEL: &str = "model_weights";
/// The group of variables that belong to no layer.
const TOP_LEVEL: &str = "top_level_model_weights";
/// Groups at the root of a weights file in Keras 3's format, which Keras has written since 2.12 for names that
/// end in `.weights.h5`. The variables of a layer are `vars/0`, `vars/1`: which is the scale of a LayerNorm and
/// which its bias, and which class the model has, is in the code that wrote the file only.
const KERAS_3: [&str; 3] = ["layers", "_layer_checkpoint_dependencies", "vars"];
/// The longest path of a variable below its layer, in groups. Those of Keras have less than ten.
const MAX_DEPTH: usize = 64;
/// What TensorFlow appends to the name of a variable: the number of an operation's output.
const OUTPUT: &str = ":0";

/// A dataset that an attribute lists.
#[derive(Debug)]
pub(super) struct Listed {
    /// The name in the attribute, without `:0`.
    pub(super) name: String,
    /// The path in the file.
    pub(super) path: String,
    pub(super) dataset: Dataset,
}

/// Reads the datasets of the model in the file at `path`, in the order of the attributes.
pub(super) fn read(
    file: Arc<dyn ReadAt>,
    path: &Path,
    limits: &Limits,
) -> Result<(Vec<Listed>, Source), Error> {
    let mut source = Source::new(file, limits);
    let root = superblock::read_root(&mut source);
    let root = root.map_err(|problem| problem.at(path, "superblock"))?;
    let mut tree = Tree {
        path,
        source,
        heap: GlobalHeap::default(),
        groups: HashMap::new(),
        listed: Vec::new(),
    };
    let root = tree.group(root, "")?;
    tree.list(&root)?;
    Ok((tree.listed, tree.source))
}

/// A group, and its path from the root, which is empty for the root.
#[derive(Debug)]
struct Group {
    path: String,
    object: Object,
    links: Links,
}

/// A file that is being read.
struct Tree<'a> {
    path: &'a Path,
    source: Source,
    heap: GlobalHeap,
    /// The groups that were read, by address.
    groups: HashMap<u64, Rc<Group>>,
    listed: Vec<Listed>,
}

impl Tree<'_> {
    /// Lists the variables of the model.
    fn list(&mut self, root: &Rc<Group>) -> Result<(), Error> {
        let (model, layers) = self.model(root)?;
        for layer in &layers {
            let address = self.find(&model, layer)?;
            let address = address.ok_or_else(|| self.missing(&model, LAYER_NAMES, layer))?;
            let group = self.group(address, &join(&model.path, layer))?;
            self.list_layer(&group)?;
        }
        if let Some(address) = self.find(&model, TOP_LEVEL)? {
            let group = self.group(address, &join(&model.path, TOP_LEVEL))?;
            self.list_layer(&group)?;
        }
        Ok(())
    }

    /// Returns the model's group and the names of its layers.
    fn model(&mut self, root: &Rc<Group>) -> Result<(Rc<Group>, Vec<String>), Error> {
        if let Some(layers) = self.names(root, LAYER_NAMES)? {
            return Ok((Rc::clone(root), layers));
        }
        if let Some(address) = self.find(root, MODEL)? {
            let model = self.group(address, MODEL)?;
            return match self.names(&model, LAYER_NAMES)? {
                Some(layers) => Ok((model, layers)),
                None => Err(self.no_attribute(&model, LAYER_NAMES)),
            };
        }
        let is_keras_3 = KERAS_3.iter().any(|name| root.links.get(name).is_some());
        Err(if is_keras_3 {
            self.unsupported(
                "a weights file in Keras 3's format, which numbers variables and does not name them",
                "load it into a model of its class in TensorFlow 2.15 (load_weights), call \
                 save_weights(\"weights.h5\"), and give weights.h5",
            )
        } else {
            self.unsupported(
                "an HDF5 file without Keras weights: its root group has no attribute layer_names",
                "give a file that save_weights of Keras or save_pretrained of transformers wrote",
            )
        })
    }

    /// Lists the variables of a layer.
    fn list_layer(&mut self, layer: &Rc<Group>) -> Result<(), Error> {
        let names = self.names(layer, WEIGHT_NAMES)?;
        let names = names.ok_or_else(|| self.no_attribute(layer, WEIGHT_NAMES))?;
        for name in names {
            let address = self.find(layer, &name)?;
            let address = address.ok_or_else(|| self.missing(layer, WEIGHT_NAMES, &name))?;
            let path = join(&layer.path, &name);
            let object = read_object(&mut self.source, address);
            let dataset = object
                .and_then(|object| Dataset::new(&object, self.source.file_len()))
                .map_err(|problem| problem.at(self.path, &format!("dataset {path:?}")))?;
            // The texts and the shape are copied once; a growing list briefly holds its elements twice.
            let texts = name.len() + path.len() + size_of_val(&dataset.shape[..]);
            let kept = 2 * size_of::<Listed>() + size_of::<Variable>() + size_of::<Piece>();
            let kept = self.source.budget.take(kept + 2 * texts);
            kept.map_err(|error| Error::too_dense(self.path, error))?;
            let name = name.strip_suffix(OUTPUT).unwrap_or(&name).to_owned();
            self.listed.push(Listed {
                name,
                path,
                dataset,
            });
        }
        Ok(())
    }

    /// Returns the group at `address`, whose path from the root is `path`.
    fn group(&mut self, address: u64, path: &str) -> Result<Rc<Group>, Error> {
        if let Some(group) = self.groups.get(&address) {
            return Ok(Rc::clone(group));
        }
        let at = |problem: Problem| problem.at(self.path, &described(path));
        let object = read_object(&mut self.source, address).map_err(at)?;
        let Some(symbol_table) = object.symbol_table else {
            // The layers of a shard are datasets.
            return Err(match object.layout {
                Some(_) => self.unsupported(
                    "an HDF5 file whose layers are datasets, such as one of the shards of a large model",
                    "load the model with its class in TensorFlow, call \
                     save_pretrained(DIRECTORY, max_shard_size=\"100GB\"), and give the directory",
                ),
                None => at(Problem::damaged("is not a group")),
            });
        };
        let links = Links::read(&mut self.source, symbol_table).map_err(at)?;
        let kept = self.source.budget.take(2 * size_of::<Group>() + path.len());
        kept.map_err(|error| at(error.into()))?;
        let group = Rc::new(Group {
            path: path.to_owned(),
            links,
            object,
        });
        self.groups.insert(address, Rc::clone(&group));
        Ok(group)
    }

    /// Returns the address of the object at `inside`, a path below `group`; `None` if it does not exist.
    fn find(&mut self, group: &Rc<Group>, inside: &str) -> Result<Option<u64>, Error> {
        let mut group = Rc::clone(group);
        let mut rest = inside;
        for _ in 0..MAX_DEPTH {
            let Some((part, below)) = rest.split_once('/') else {
                return Ok(group.links.get(rest));
            };
            let Some(address) = group.links.get(part) else {
                return Ok(None);
            };
            group = self.group(address, &join(&group.path, part))?;
            rest = below;
        }
        Err(Problem::Damaged(format!(
            "lists a path of more than {MAX_DEPTH} groups: {inside:?}"
        ))
        .at(self.path, &described(&group.path)))
    }

    /// Returns the names in an attribute of a group, or in its numbered parts; `None` if there is no such
    /// attribute.
    fn names(&mut self, group: &Rc<Group>, attribute: &str) -> Result<Option<Vec<String>>, Error> {
        let attributes = &group.object.attributes;
        let mut names = Vec::new();
        let mut read = |bytes: &[u8]| match attributes.get(bytes) {
            None => Ok(false),
            Some(attribute) => attribute
                .read_strings(&mut self.source, &mut self.heap, &mut names)
                .map(|()| true)
                .map_err(|problem| problem.at(self.path, &described(&group.path))),
        };
        let mut count = 0;
        if !read(attribute.as_bytes())? {
            while read(format!("{attribute}{count}").as_bytes())? {
                count += 1;
            }
            if count == 0 {
                return Ok(None);
            }
        }
        Ok(Some(names))
    }

    fn unsupported(&self, what: &str, advice: &str) -> Error {
        Error::Unsupported {
            path: self.path.to_owned(),
            kind: FileKind::Model,
            what: what.to_owned(),
            advice: advice.to_owned(),
            checkpoint: None,
        }
    }

    fn no_attribute(&self, group: &Group, attribute: &str) -> Error {
        Problem::Damaged(format!("has no attribute {attribute}"))
            .at(self.path, &described(&group.path))
    }

    fn missing(&self, group: &Group, attribute: &str, name: &str) -> Error {
        Problem::Damaged(format!("lists {name:?} in {attribute}, which is not in it"))
            .at(self.path, &described(&group.path))
    }
}

fn read_object(source: &mut Source, address: u64) -> Result<Object, Problem> {
    if address == UNDEFINED {
        return Err(Problem::unsupported("is a soft link"));
    }
    Object::read(source, address)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}/{name}")
    }
}

/// Describes a group in an error.
fn described(path: &str) -> String {
    if path.is_empty() {
        "root group".to_owned()
    } else {
        format!("group {path:?}")
    }
}
