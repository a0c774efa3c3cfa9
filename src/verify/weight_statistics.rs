//! What a page shows of the weights: the distribution of values of each tensor, the norms of attention units.

use std::collections::BTreeMap;

use candle_electra::ElectraConfig;

use super::distribution::TensorStatistics;
use crate::config::comparable;

/// The values of the weights.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WeightStatistics {
    /// One for each tensor of floating-point numbers, in the order of the file.
    pub tensors: Vec<TensorStatistics>,
    /// One for each matrix of an attention layer, sorted by name.
    pub units: Vec<UnitNorms>,
}

/// The norms of the units of an attention matrix: the rows of query, key and value, the columns of the output.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UnitNorms {
    /// The name of the tensor.
    pub name: String,
    /// The log squared norms as [`HeadCount`](crate::config::HeadCount) judges them: standardised, outliers limited,
    /// without the mean of all matrices. `None` if they show nothing, such as those of equal rows.
    pub norms: Option<Vec<f64>>,
}

impl WeightStatistics {
    /// Puts the results of all tensors together.
    pub(super) fn new(
        config: &ElectraConfig,
        tensors: Vec<TensorStatistics>,
        log_norms: BTreeMap<String, Vec<f64>>,
    ) -> Self {
        let (names, log_norms): (Vec<String>, Vec<Vec<f64>>) = log_norms.into_iter().unzip();
        let norms = comparable(config.hidden_size, &log_norms);
        let units = std::iter::zip(names, norms).map(|(name, norms)| UnitNorms { name, norms });
        Self {
            tensors,
            units: units.collect(),
        }
    }
}
