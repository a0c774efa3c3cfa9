//! Other architectures, by the names of their variables.
//!
//! A ConvBERT has every name of an ELECTRA and more, with other shapes; others have none of them. The
//! error names the architecture instead of the shapes that contradict each other.

use crate::variables::Error;
use crate::variables::inventory::Inventory;
use crate::variables::role::Role;

/// What shows an architecture.
struct Row {
    architecture: &'static str,
    /// A part of the names that no ELECTRA has; without a slash in front, the beginning.
    mark: &'static str,
    /// True if its variables beside those of an ELECTRA belong to the same model.
    extends_electra: bool,
    /// What converts it.
    script: &'static str,
}

/// The first row that fits counts. Source: the scripts of transformers 4 that load them.
const TABLE: &[Row] = &[
    Row {
        architecture: "ConvBERT",
        mark: "/attention/self/conv_attn_",
        extends_electra: true,
        script: "convert_convbert_original_tf1_checkpoint_to_pytorch.py",
    },
    Row {
        architecture: "ALBERT",
        mark: "bert/encoder/transformer/group_",
        extends_electra: false,
        script: "convert_albert_original_tf_checkpoint_to_pytorch.py",
    },
    Row {
        architecture: "MobileBERT",
        mark: "/bottleneck/",
        extends_electra: false,
        script: "convert_mobilebert_original_tf_checkpoint_to_pytorch.py",
    },
    Row {
        architecture: "BERT",
        mark: "bert/",
        extends_electra: false,
        script: "convert_bert_original_tf_checkpoint_to_pytorch.py",
    },
];

/// Fails if the variables are those of another architecture. `is_unknown` is true where they are not
/// recognised as those of an ELECTRA.
pub(crate) fn refuse_other(inventory: &Inventory, is_unknown: bool) -> Result<(), Error> {
    for row in TABLE {
        let is_mark = |name: &str| {
            name.starts_with(row.mark) || row.mark.starts_with('/') && name.contains(row.mark)
        };
        let names: Vec<String> = inventory
            .items()
            .iter()
            .filter(|item| item.role == Role::Unknown && is_mark(&item.name))
            .map(|item| item.name.clone())
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
