//! Which tensors each class expects and finds, as transformers' `output_loading_info` tells it.

use std::collections::BTreeMap;

use candle_electra::{DECODER_WEIGHT, ElectraConfig, ModelClass};

use super::Failure;
use crate::export::WeightsFile;

/// What loading the file into one class comes to. All names are sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Structure {
    /// Number of tensors that the class takes from the file.
    pub loaded: usize,
    /// Tensors that the class needs and the file does not have: they start anew.
    pub missing: Vec<String>,
    /// Tensors of the file that the class has no place for.
    pub unexpected: Vec<String>,
    /// Tensors of another shape: name, shape in the file, shape by the configuration.
    pub mismatched: Vec<(String, Vec<usize>, Vec<usize>)>,
}

/// Layers of which the file has fewer tensors on average, of sixteen, are not listed one by one.
const MIN_LAYER_TENSORS: usize = 4;

/// Compares the file with every class. Only the class that the folder is written for must find
/// everything; what the others miss is new in fine-tuning.
pub(super) fn check(
    weights: &WeightsFile,
    config: &ElectraConfig,
    own: ModelClass,
    failures: &mut Vec<Failure>,
) -> Vec<(ModelClass, Structure)> {
    let found: BTreeMap<String, Vec<usize>> = weights
        .tensors()
        .into_iter()
        .map(|(name, info)| (name, info.shape.clone()))
        .collect();
    // A configuration that claims a billion layers must cost nothing.
    if config.num_hidden_layers > found.len() / MIN_LAYER_TENSORS {
        failures.push(Failure::TooManyLayers {
            layers: config.num_hidden_layers,
            tensors: found.len(),
        });
        return Vec::new();
    }
    let structures: Vec<(ModelClass, Structure)> = ModelClass::all()
        .map(|head| (head, compare(head, config, &found)))
        .collect();
    let (_, structure) = structures
        .iter()
        .find(|(head, _)| *head == own)
        .expect("all heads are there");
    failures.extend(structure.missing.iter().map(|tensor| Failure::Missing {
        tensor: tensor.clone(),
        head: own,
    }));
    failures.extend(
        structure
            .unexpected
            .iter()
            .map(|tensor| Failure::Unexpected {
                tensor: tensor.clone(),
                head: own,
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
    head: ModelClass,
    config: &ElectraConfig,
    found: &BTreeMap<String, Vec<usize>>,
) -> Structure {
    let mut expected: BTreeMap<String, Vec<usize>> = head.tensors(config).into_iter().collect();
    // A decoder that is not written is tied; one that is written has a place.
    if head.has_decoder() && found.contains_key(DECODER_WEIGHT) {
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
