//! The sizes of a model, from the shapes of its variables.
//!
//! The name table has the size of each axis of each variable. All variables, in all layers, must agree.

use std::collections::{BTreeMap, BTreeSet};

use candle_electra::{Dim, ModelClass, Part};

use crate::config::candidate::{Candidate, ValueSource, resolve};
use crate::config::config_file::ConfigFile;
use crate::config::keys::LAYERS;
use crate::variables::names::{self, Scopes, TABLE};
use crate::variables::{Error, Inventory, Model};

/// The candidates for each size, and the number of layers.
pub(super) struct Sizes<'a> {
    model: Model,
    class: ModelClass,
    scopes: Scopes,
    file: Option<&'a ConfigFile>,
    candidates: BTreeMap<Dim, Vec<Candidate<usize>>>,
    layers: Candidate<usize>,
}

impl<'a> Sizes<'a> {
    /// Reads the shapes of the model's variables, and counts its layers.
    pub(super) fn read(
        inventory: &Inventory,
        model: Model,
        (class, scopes): (ModelClass, Scopes),
        file: Option<&'a ConfigFile>,
    ) -> Result<Self, Error> {
        let (candidates, layers) = read_shapes(inventory, class, scopes)?;
        let layers = count_layers(&layers, model, scopes)?;
        Ok(Self {
            model,
            class,
            scopes,
            file,
            candidates,
            layers,
        })
    }

    /// Returns a size, if all its candidates agree.
    pub(super) fn get(&mut self, dim: Dim) -> Result<Candidate<usize>, Error> {
        let mut candidates = self.candidates.remove(&dim).unwrap_or_default();
        if candidates.is_empty() {
            return Err(self.missing(dim));
        }
        candidates.extend(self.in_file(dim.key())?);
        let size = resolve(dim.key(), candidates)?.expect("not empty");
        if size.value == 0 {
            return Err(size.invalid(dim.key(), "it must be positive"));
        }
        Ok(size)
    }

    /// Returns the number of layers.
    pub(super) fn layers(&self) -> Result<Candidate<usize>, Error> {
        let candidates = [self.layers.clone()].into_iter();
        let layers = resolve(LAYERS, candidates.chain(self.in_file(LAYERS)?))?;
        Ok(layers.expect("not empty"))
    }

    fn in_file(&self, key: &'static str) -> Result<Option<Candidate<usize>>, Error> {
        match self.file {
            Some(file) => file.size(key),
            None => Ok(None),
        }
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

/// The candidates for each size, and the layers that occur.
type Shapes = (BTreeMap<Dim, Vec<Candidate<usize>>>, BTreeSet<usize>);

fn read_shapes(inventory: &Inventory, class: ModelClass, scopes: Scopes) -> Result<Shapes, Error> {
    let mut sizes: BTreeMap<Dim, Vec<Candidate<usize>>> = BTreeMap::new();
    let mut layers = BTreeSet::new();
    for entry in inventory.entries() {
        let Some(found) = names::lookup(&entry.name) else {
            continue;
        };
        let belongs = match found.rule.part() {
            Part::Embeddings => found.scope == Some(scopes.embeddings),
            Part::Projection | Part::Layer => found.scope == Some(scopes.body),
            part => class.head() == Some(part),
        };
        if !belongs {
            continue;
        }
        layers.extend(found.layer);
        let (shape, dims) = (&entry.variable.shape, found.rule.dims());
        let has_wrong_axis =
            std::iter::zip(shape, &dims).any(|(&size, &dim)| dim == Dim::One && size != 1);
        if shape.len() != dims.len() || has_wrong_axis {
            let dims: Vec<&str> = dims.iter().map(|dim| dim.key()).collect();
            let expected = format!("[{}]", dims.join(", "));
            return Err(Error::wrong_shape(&entry.name, shape, expected));
        }
        for (&size, &dim) in std::iter::zip(shape, &dims) {
            let source = ValueSource::Shape(entry.name.clone());
            let candidates = sizes.entry(dim).or_default();
            candidates.push(Candidate::new(size, source));
        }
    }
    Ok((sizes, layers))
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
