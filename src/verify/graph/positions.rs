//! The positions of chosen tokens, as an input of the graph.
//!
//! A head may read only the tokens at some positions of each row, such as the masked ones. Training draws these
//! positions; an evaluation chooses them, so that it sees every token. The index of the gather is fed, however
//! it was computed. An index that is made from constants (the first token) or computed from the ids (the
//! likeliest start of an answer) stays as it is.

use tf_checkpoint::Tensor;

use super::dependence::{BatchShape, Dependence, Slice};
use super::lookups::{GATHERS, one_hot_index};
use super::refusal::Refusal;
use crate::config::graph::{View, constant};

/// The most indices of one output; a head has one or two.
const MAX_INDICES: usize = 64;

/// The most positions of each row.
const MAX_PER_ROW: usize = 1 << 12;

/// The index of a gather of tokens, which is fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Positions {
    /// The tensor to feed.
    pub(crate) indices: Tensor,
    /// What its elements mean.
    pub(crate) form: PositionForm,
    /// The number of positions of each row; `None` if any number can be fed.
    pub(crate) per_row: Option<usize>,
}

/// What the elements of an index mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PositionForm {
    /// `row * sequence + position`, in flattened tokens. All positions of the first row come first.
    Flat,
    /// The position in its own row: the first axis of the index is the batch.
    PerRow,
    /// Pairs of row and position along the last axis.
    Pairs,
}

/// Finds the indices in a slice that is cut at all other inputs.
pub(super) fn find(
    view: &View<'_>,
    slice: &Slice<'_>,
    on: &Dependence,
    shape: BatchShape,
) -> Result<Vec<Positions>, Refusal> {
    let mut found: Vec<Positions> = Vec::new();
    for &tensor in slice.tensors() {
        let Some((features, indices)) = selection(view, on, tensor) else {
            continue;
        };
        if !on.data.contains(&indices) || on.fed.contains(&indices) {
            continue;
        }
        let gather = Gather {
            view,
            tensor,
            features,
            indices,
            shape,
        };
        let positions = gather.read()?;
        if found.len() >= MAX_INDICES {
            let why = format!("more than {MAX_INDICES} selections of tokens");
            return Err(Refusal::at(tensor.node, why));
        }
        match found.iter().find(|other| other.indices == indices) {
            None => found.push(positions),
            Some(other) if *other == positions => {}
            Some(_) => {
                let why = "one index selects tokens in two ways";
                return Err(Refusal::at(indices.node, why));
            }
        }
    }
    Ok(found)
}

/// Returns the tokens and the index of an operation that selects tokens by an index.
fn selection(view: &View<'_>, on: &Dependence, tensor: Tensor) -> Option<(Tensor, Tensor)> {
    let graph = view.graph();
    let node = tensor.node;
    let [first, second] = [graph.input(node, 0)?, graph.input(node, 1)?];
    let op = graph.op(node);
    if GATHERS.contains(&op) || op == "GatherNd" {
        return on.features.contains(&first).then_some((first, second));
    }
    if !view.is_product(node) {
        return None;
    }
    let mut operands = [(first, second), (second, first)].into_iter();
    operands.find_map(|(features, other)| {
        let index = one_hot_index(view, other)?;
        on.features.contains(&features).then_some((features, index))
    })
}

/// A selection of tokens by an index.
struct Gather<'a> {
    view: &'a View<'a>,
    /// The selected tokens.
    tensor: Tensor,
    /// The tokens.
    features: Tensor,
    indices: Tensor,
    shape: BatchShape,
}

impl Gather<'_> {
    fn read(&self) -> Result<Positions, Refusal> {
        let graph = self.view.graph();
        let node = self.tensor.node;
        let shapes = [self.features, self.indices].map(|tensor| graph.shape(tensor));
        let [Some(tokens), Some(index)] = &shapes else {
            return Err(self.refusal("tokens or positions of unknown rank"));
        };
        let form = match graph.op(node) {
            "GatherNd" => self.pairs(tokens, index),
            op if GATHERS.contains(&op) => self.rows(tokens),
            _ => self.one_hot(tokens, index),
        };
        let form = form.ok_or_else(|| {
            let why = format!("a selection from {tokens:?} by an index {index:?}");
            self.refusal(&why)
        })?;
        // GatherNd has the coordinates of one token along the last axis.
        let is_nd = graph.op(node) == "GatherNd";
        let counts = if is_nd {
            &index[..index.len().saturating_sub(1)]
        } else {
            &index[..]
        };
        Ok(Positions {
            indices: self.indices,
            form,
            per_row: self
                .per_row(form, counts)?
                .map(|count| self.checked(count))
                .transpose()?,
        })
    }

    /// Reads a gather along one axis.
    fn rows(&self, tokens: &[i64]) -> Option<PositionForm> {
        let graph = self.view.graph();
        let node = self.tensor.node;
        let axis = match graph.input(node, 2) {
            Some(axis) if graph.op(node) == "GatherV2" => constant(self.view, axis)?,
            _ => 0.0,
        };
        #[allow(clippy::float_cmp, reason = "a whole number")]
        let is_axis = |expected: f64| axis == expected;
        match (tokens, graph.integer(node, "batch_dims")) {
            (&[count, _], 0) if is_axis(0.0) && self.is_all(count) => Some(PositionForm::Flat),
            (&[batch, length, _], 1) if is_axis(1.0) && self.shape.is_rows(&[batch, length]) => {
                Some(PositionForm::PerRow)
            }
            _ => None,
        }
    }

    /// Reads a `GatherNd`.
    fn pairs(&self, tokens: &[i64], index: &[i64]) -> Option<PositionForm> {
        let batch_dims = self.view.graph().integer(self.tensor.node, "batch_dims");
        match (tokens, index.last()?, batch_dims) {
            (&[count, _], 1, 0) if self.is_all(count) => Some(PositionForm::Flat),
            (&[batch, length, _], 1, 1) if self.shape.is_rows(&[batch, length]) => {
                Some(PositionForm::PerRow)
            }
            (&[batch, length, _], 2, 0) if self.shape.is_rows(&[batch, length]) => {
                Some(PositionForm::Pairs)
            }
            _ => None,
        }
    }

    /// Reads a product with a one-hot matrix.
    fn one_hot(&self, tokens: &[i64], index: &[i64]) -> Option<PositionForm> {
        match (tokens, index) {
            (&[count, _], [_]) if self.is_all(count) => Some(PositionForm::Flat),
            (&[batch, length, _], [rows, _])
                if self.shape.is_rows(&[batch, length]) && self.shape.is_batch(*rows) =>
            {
                Some(PositionForm::PerRow)
            }
            _ => None,
        }
    }

    /// Returns true if an axis may have all tokens of all rows.
    fn is_all(&self, axis: i64) -> bool {
        let all = self.shape.batch.zip(self.shape.length);
        let all = all.map(|(batch, length)| batch.checked_mul(length));
        axis == -1 || all.is_none_or(|all| all == usize::try_from(axis).ok())
    }

    /// Returns the number of positions of each row.
    fn per_row(&self, form: PositionForm, index: &[i64]) -> Result<Option<usize>, Refusal> {
        let product = |axes: &[i64]| {
            let sizes = axes.iter().map(|&axis| usize::try_from(axis).ok());
            sizes.reduce(|a, b| a?.checked_mul(b?)).unwrap_or(Some(1))
        };
        if let [rows, rest @ ..] = index
            && (form == PositionForm::PerRow || !rest.is_empty() && self.shape.is_batch(*rows))
            && let Some(count) = product(rest)
        {
            return Ok(Some(count));
        }
        let (Some(all), Some(batch)) = (product(index), self.shape.batch) else {
            return Ok(None);
        };
        if all == 0 || !all.is_multiple_of(batch) {
            let why = format!("{all} positions in {batch} rows");
            return Err(self.refusal(&why));
        }
        Ok(Some(all / batch))
    }

    /// Checks the number of positions of each row, which takes memory.
    fn checked(&self, count: usize) -> Result<usize, Refusal> {
        if count == 0 || count > MAX_PER_ROW {
            return Err(self.refusal(&format!("{count} positions in each row")));
        }
        Ok(count)
    }

    fn refusal(&self, why: &str) -> Refusal {
        Refusal::at(self.tensor.node, why)
    }
}
