//! The activation between two dense layers, recognised by its values.
//!
//! Between the node that adds a dense layer's bias and the product with the next kernel there is only the
//! activation, and possibly dropout. Both are evaluated on samples; the activation is the one whose formula
//! gives the same numbers.

use candle_electra::Activation;
use tf_checkpoint::{NodeId, Tensor};

use super::dropout::mean_over_draws;
use super::layer_norm;
use super::unrecognised::Unrecognised;
use super::view::View;
use crate::variables::list;

/// The largest deviation of the graph's values from a formula. Constants in the graph are float32, and
/// some are written with six digits. The closest two formulas (`gelu`, `gelu_new`) differ by 5e-4.
const TOLERANCE: f64 = 4e-6;

/// Returns the samples: over the range in which formulas are not saturated, denser around 0.
fn samples() -> Vec<f64> {
    let wide = (-24..=24).map(|i| f64::from(i) * 0.5);
    let narrow = (-20..=20).map(|i| f64::from(i) * 0.11);
    wide.chain(narrow)
        .chain([-100.0, -30.0, 30.0, 100.0])
        .collect()
}

/// Recognises the activation between the output of the dense layer `dense` and the products with
/// the kernel `next`; `None` if the graph lacks them.
pub(super) fn read(
    view: &View<'_>,
    dense: &str,
    next: &str,
) -> Result<Option<(Activation, NodeId)>, Unrecognised> {
    check_products(view, dense, next)?;
    let ends: Vec<Tensor> = view
        .products(next)
        .iter()
        .filter_map(|product| product.features)
        .collect();
    between(view, dense, &ends)
}

/// Recognises the activation between the output of the dense layer `dense` and the LayerNorm of
/// `scope`.
pub(super) fn read_before_norm(
    view: &View<'_>,
    dense: &str,
    scope: &str,
) -> Result<Option<(Activation, NodeId)>, Unrecognised> {
    let inputs = layer_norm::inputs(view, &format!("{scope}/LayerNorm"));
    between(view, dense, &inputs)
}

/// Fails if the product with a kernel next to the activation is not recognised.
fn check_products(view: &View<'_>, dense: &str, kernel: &str) -> Result<(), Unrecognised> {
    match view.unknown_product(kernel) {
        Some(node) => Err(Unrecognised {
            subject: format!("the activation of {dense}"),
            node,
            why: format!("the layer does not multiply by its kernel {kernel}"),
            is_foreign: false,
        }),
        None => Ok(()),
    }
}

/// Recognises the activation between the outputs of `dense` and `ends`, which must be the same for all ends.
fn between(
    view: &View<'_>,
    dense: &str,
    ends: &[Tensor],
) -> Result<Option<(Activation, NodeId)>, Unrecognised> {
    let outputs = view.dense_outputs(dense);
    check_products(view, dense, &format!("{dense}/kernel"))?;
    let samples = samples();
    let start: Vec<(Tensor, &[f64])> = outputs
        .iter()
        .map(|&output| (output.into(), &samples[..]))
        .collect();
    let mut found = None;
    for &end in ends {
        let unknown = |node, why| Unrecognised {
            subject: format!("the activation of {dense}"),
            node,
            why,
            is_foreign: false,
        };
        if start.is_empty() {
            let why = "no earlier node adds the bias of the layer".to_owned();
            return Err(unknown(end.node, why));
        }
        let (values, operations) = mean_over_draws(view, end, &start).map_err(|node| {
            let op = view.graph().op(node);
            unknown(node, format!("operation {op} is not an activation"))
        })?;
        let Some(activation) = recognise(&samples, &values) else {
            let why = format!(
                "the operations {} do not compute an activation of transformers",
                list(&operations)
            );
            return Err(unknown(view.flat_origin(end).node, why));
        };
        let node = view.flat_origin(end).node;
        match found {
            Some((first, _)) if first != activation => {
                let why = format!("{activation} here, but {first} elsewhere in the same layer");
                return Err(unknown(node, why));
            }
            _ => found = Some((activation, node)),
        }
    }
    Ok(found)
}

/// Returns the activation whose formula gives these values.
fn recognise(samples: &[f64], values: &[f64]) -> Option<Activation> {
    if values.len() != samples.len() {
        return None;
    }
    let fits = |activation: &Activation| {
        std::iter::zip(samples, values).all(|(&x, &found)| {
            let expected = activation.value(x);
            (found - expected).abs() <= TOLERANCE * expected.abs().max(1.0)
        })
    };
    Activation::ALL.into_iter().find(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_are_distinguished() {
        let samples = samples();
        for activation in Activation::ALL {
            let values: Vec<f64> = samples.iter().map(|&x| activation.value(x)).collect();
            assert_eq!(recognise(&samples, &values), Some(activation));
            let close: Vec<f64> = values.iter().map(|x| x * (1.0 + 1e-6)).collect();
            assert_eq!(recognise(&samples, &close), Some(activation));
            let scaled: Vec<f64> = values.iter().map(|x| x * 1.0001).collect();
            assert_eq!(recognise(&samples, &scaled), None, "{activation}");
        }
    }
}
