//! The sizes of a model, from the shapes of its variables.
//!
//! The name table has the size of each axis of each variable. All variables, in all layers, must agree.

use std::collections::{BTreeMap, BTreeSet};

use candle_electra::{Dim, ModelClass, Part};

use crate::config::candidate::{Candidate, ValueSource, resolve};
use crate::config::config_file::ConfigFile;
use crate::config::keys::LAYERS;
use crate::config::params::EncoderParams;
use crate::variables::names::{self, Scopes, TABLE};
use crate::variables::{Error, Inventory, Model};

/// The candidates for each size, and the number of layers.
pub(super) struct Sizes<'a> {
    model: Model,
    class: ModelClass,
    scopes: Scopes,
    file: Option<&'a ConfigFile>,
    params: Option<&'a EncoderParams<'a>>,
    candidates: BTreeMap<Dim, Vec<Candidate<usize>>>,
    layers: Candidate<usize>,
    heads: Vec<Candidate<usize>>,
}

impl<'a> Sizes<'a> {
    /// Reads the shapes of the model's variables, and counts its layers.
    pub(super) fn read(
        inventory: &Inventory,
        model: Model,
        (class, scopes): (ModelClass, Scopes),
        (file, params): (Option<&'a ConfigFile>, Option<&'a EncoderParams<'a>>),
    ) -> Result<Self, Error> {
        let shapes = read_shapes(inventory, class, scopes)?;
        let layers = count_layers(&shapes.layers, model, scopes)?;
        Ok(Self {
            model,
            class,
            scopes,
            file,
            params,
            candidates: shapes.sizes,
            layers,
            heads: shapes.heads,
        })
    }

    /// Returns a size, if all its candidates agree.
    pub(super) fn get(&mut self, dim: Dim) -> Result<Candidate<usize>, Error> {
        let mut candidates = self.candidates.remove(&dim).unwrap_or_default();
        if candidates.is_empty() {
            return Err(self.missing(dim));
        }
        candidates.extend(self.in_files(dim.key())?);
        let size = resolve(dim.key(), candidates)?.expect("not empty");
        if size.value == 0 {
            return Err(size.invalid(dim.key(), "it must be positive"));
        }
        Ok(size)
    }

    /// Returns the number of layers.
    pub(super) fn layers(&self) -> Result<Candidate<usize>, Error> {
        let candidates = [self.layers.clone()].into_iter();
        let layers = resolve(LAYERS, candidates.chain(self.in_files(LAYERS)?))?;
        Ok(layers.expect("not empty"))
    }

    /// Returns the numbers of attention heads in the shapes of variables that have an axis for them.
    pub(super) fn heads(&self) -> Vec<Candidate<usize>> {
        self.heads.clone()
    }

    /// Returns the values of a size in config.json and params.yaml.
    fn in_files(
        &self,
        key: &'static str,
    ) -> Result<impl Iterator<Item = Candidate<usize>> + use<>, Error> {
        let in_config = self.file.map(|file| file.size(key)).transpose()?;
        let in_params = self.params.map(|params| params.size(key)).transpose()?;
        Ok([in_config, in_params].into_iter().flatten().flatten())
    }

    /// Returns the error for a size that no variable has: the variables with this size are missing.
    fn missing(&self, dim: Dim) -> Error {
        let parts = [Some(Part::Embeddings), Some(Part::Layer), self.class.head()];
        let names: Vec<String> = TABLE
            .iter()
            .filter(|rule| rule.dims().contains(&dim) && parts.contains(&Some(rule.part())))
            .map(|rule| rule.variable(self.scopes, 0))
            .collect();
        Error::Missing {
            model: self.model,
            needed: names.len(),
            names,
            is_head: false,
        }
    }
}

/// What the shapes of a model's variables show.
#[derive(Default)]
struct Shapes {
    /// The candidates for each size.
    sizes: BTreeMap<Dim, Vec<Candidate<usize>>>,
    /// The layers that occur.
    layers: BTreeSet<usize>,
    /// The candidates for the number of attention heads.
    heads: Vec<Candidate<usize>>,
}

fn read_shapes(inventory: &Inventory, class: ModelClass, scopes: Scopes) -> Result<Shapes, Error> {
    let mut shapes = Shapes::default();
    for entry in inventory.entries() {
        let Some(found) = names::lookup(&entry.name) else {
            continue;
        };
        let belongs = match found.rule.scope(scopes) {
            Some(scope) => found.scope == Some(scope),
            None => class.head() == Some(found.rule.part()),
        };
        if !belongs {
            continue;
        }
        shapes.layers.extend(found.layer);
        let (shape, dims) = (entry.shape(), found.rule.dims());
        let has_wrong_axis =
            std::iter::zip(&shape, &dims).any(|(&size, &dim)| dim == Dim::One && size != 1);
        let axes = dims.len() + usize::from(entry.head_axis.is_some());
        let name = inventory.shown_name(entry);
        if entry.variable.shape.len() != axes || has_wrong_axis {
            let expected = expected_shape(&dims, entry.head_axis);
            return Err(Error::wrong_shape(name, &entry.variable.shape, expected));
        }
        let source = || ValueSource::Shape(name.to_owned());
        for (&size, &dim) in std::iter::zip(&shape, &dims) {
            let candidates = shapes.sizes.entry(dim).or_default();
            candidates.push(Candidate::new(size, source()));
        }
        let heads = entry.heads().map(|heads| Candidate::new(heads, source()));
        shapes.heads.extend(heads);
    }
    Ok(shapes)
}

/// Describes the shape of a variable: its axes, of which one may be divided into heads.
fn expected_shape(dims: &[Dim], head_axis: Option<usize>) -> String {
    let axes = dims.iter().enumerate().map(|(at, dim)| {
        if head_axis == Some(at) {
            "num_attention_heads, head size"
        } else {
            dim.key()
        }
    });
    format!("[{}]", axes.collect::<Vec<_>>().join(", "))
}

/// Counts the layers, which must be numbered from 0 without a gap. The numbers are counted, never used as
/// a length: a single `layer_999999999` must not allocate anything.
fn count_layers(
    layers: &BTreeSet<usize>,
    model: Model,
    scopes: Scopes,
) -> Result<Candidate<usize>, Error> {
    let gap = std::iter::zip(0.., layers)
        .find(|(expected, found)| expected != *found)
        .map(|(expected, _)| expected);
    let missing = if layers.is_empty() { Some(0) } else { gap };
    if let Some(layer) = missing {
        let rules = TABLE.iter().filter(|rule| rule.part() == Part::Layer);
        return Err(Error::Missing {
            model,
            needed: rules.clone().count() * layers.len().max(1),
            names: rules.map(|rule| rule.variable(scopes, layer)).collect(),
            is_head: false,
        });
    }
    Ok(Candidate::new(
        layers.len(),
        ValueSource::Layers(scopes.body),
    ))
}
