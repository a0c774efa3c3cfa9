//! Recognises other architectures by the names of their variables.
//!
//! A ConvBERT has all names of an ELECTRA and more, with other shapes; the other architectures share no
//! name with an ELECTRA. Naming the architecture explains more than a list of contradicting shapes.

use crate::variables::Error;
use crate::variables::inventory::Inventory;
use crate::variables::role::Role;

/// An architecture and the names that identify it.
struct Row {
    architecture: &'static str,
    /// A part of names that no ELECTRA has; without a leading slash, a prefix of names.
    pattern: &'static str,
    /// True if the architecture also has the variables of an ELECTRA.
    extends_electra: bool,
    /// The script that converts it.
    script: &'static str,
}

/// The first matching row decides. Source: the scripts of transformers 4 that load these architectures.
const TABLE: &[Row] = &[
    Row {
        architecture: "ConvBERT",
        pattern: "/attention/self/conv_attn_",
        extends_electra: true,
        script: "convert_convbert_original_tf1_checkpoint_to_pytorch.py",
    },
    Row {
        architecture: "ALBERT",
        pattern: "bert/encoder/transformer/group_",
        extends_electra: false,
        script: "convert_albert_original_tf_checkpoint_to_pytorch.py",
    },
    Row {
        architecture: "MobileBERT",
        pattern: "/bottleneck/",
        extends_electra: false,
        script: "convert_mobilebert_original_tf_checkpoint_to_pytorch.py",
    },
    Row {
        architecture: "BERT",
        pattern: "bert/",
        extends_electra: false,
        script: "convert_bert_original_tf_checkpoint_to_pytorch.py",
    },
];

/// Fails if the variables are those of another architecture. `is_unknown` is true if they were not
/// recognised as an ELECTRA.
pub(crate) fn refuse_other(inventory: &Inventory, is_unknown: bool) -> Result<(), Error> {
    for row in TABLE {
        let matches = |name: &str| {
            name.starts_with(row.pattern)
                || row.pattern.starts_with('/') && name.contains(row.pattern)
        };
        let names: Vec<String> = inventory
            .entries()
            .iter()
            .filter(|entry| entry.role == Role::Unknown && matches(&entry.name))
            .map(|entry| entry.name.clone())
            .collect();
        if !names.is_empty() && (row.extends_electra || is_unknown) {
            return Err(Error::OtherArchitecture {
                architecture: row.architecture,
                names,
                script: row.script,
            });
        }
    }
    Ok(())
}
