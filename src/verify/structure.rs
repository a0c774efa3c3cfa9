//! Which tensors each class expects and finds, as in transformers' `output_loading_info`.

use std::collections::BTreeMap;

use candle_electra::{DECODER_WEIGHT, ElectraConfig, ModelClass};

use super::failure::Failure;
use crate::export::WeightsFile;

/// The result of loading the file into one class. All names are sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Structure {
    /// Number of tensors that the class loads.
    pub loaded: usize,
    /// Tensors that the class expects and the file does not have: transformers initialises them randomly.
    pub missing: Vec<String>,
    /// Tensors of the file that the class does not expect.
    pub unexpected: Vec<String>,
    /// Tensors of another shape than expected: name, shape in the file, expected shape.
    pub mismatched: Vec<(String, Vec<usize>, Vec<usize>)>,
}

/// A layer has sixteen tensors. If the file has fewer than this on average, the missing ones are not listed.
const MIN_LAYER_TENSORS: usize = 4;

/// Compares the file with every class. Only `class`, the one that the directory is written for, must find all
/// tensors; heads that the other classes do not find are trained in fine-tuning.
pub(super) fn check(
    weights: &WeightsFile,
    config: &ElectraConfig,
    class: ModelClass,
    failures: &mut Vec<Failure>,
) -> Vec<(ModelClass, Structure)> {
    let found: BTreeMap<String, Vec<usize>> = weights
        .tensors()
        .into_iter()
        .map(|(name, info)| (name, info.shape.clone()))
        .collect();
    // Checked first: the tensors of a billion layers are not enumerated.
    if config.num_hidden_layers > found.len() / MIN_LAYER_TENSORS {
        failures.push(Failure::TooManyLayers {
            layers: config.num_hidden_layers,
            tensors: found.len(),
        });
        return Vec::new();
    }
    let structures: Vec<(ModelClass, Structure)> = ModelClass::all()
        .map(|other| (other, compare(other, config, &found)))
        .collect();
    let (_, structure) = structures
        .iter()
        .find(|(other, _)| *other == class)
        .expect("all classes are there");
    failures.extend(structure.missing.iter().map(|tensor| Failure::Missing {
        tensor: tensor.clone(),
        class,
    }));
    failures.extend(
        structure
            .unexpected
            .iter()
            .map(|tensor| Failure::Unexpected {
                tensor: tensor.clone(),
                class,
            }),
    );
    failures.extend(
        structure
            .mismatched
            .iter()
            .map(|(tensor, found, expected)| Failure::Mismatched {
                tensor: tensor.clone(),
                found: found.clone(),
                expected: expected.clone(),
            }),
    );
    structures
}

fn compare(
    class: ModelClass,
    config: &ElectraConfig,
    found: &BTreeMap<String, Vec<usize>>,
) -> Structure {
    let mut expected: BTreeMap<String, Vec<usize>> = class.tensors(config).into_iter().collect();
    // A decoder is expected only if it is in the file; otherwise it is tied.
    if class.has_decoder() && found.contains_key(DECODER_WEIGHT) {
        let shape = vec![config.vocab_size, config.embedding_size];
        expected.insert(DECODER_WEIGHT.to_owned(), shape);
    }
    let mut structure = Structure::default();
    for (name, shape) in &expected {
        match found.get(name) {
            None => structure.missing.push(name.clone()),
            Some(found) if found != shape => {
                let mismatch = (name.clone(), found.clone(), shape.clone());
                structure.mismatched.push(mismatch);
            }
            Some(_) => structure.loaded += 1,
        }
    }
    structure.unexpected = found
        .keys()
        .filter(|name| !expected.contains_key(*name))
        .cloned()
        .collect();
    structure
}
