//! The tensors with which `ElectraForSequenceClassification` computes the original classifier, which has
//! one layer less.
//!
//! The original head is `W·x + c` on the first token's output `x` of the last LayerNorm.
//! `ElectraForSequenceClassification` computes `V·gelu(D·x + b) + d`. With `D` the identity and `b` so
//! large that gelu is the identity at every `x_i + b_i`, this is `V·x + V·b + d`; with `V = W` and
//! `d = c - W·b` it is the original.
//!
//! **The bound.** Let `n` be the hidden size. A LayerNorm gives `x_i = γ_i·z_i + β_i`, where `z` has
//! mean 0 and `Σ z_i² ≤ n`, because the variance is divided by itself plus an epsilon. So
//! `|z_i| ≤ √n` and `|x_i| ≤ |γ_i|·√n + |β_i|`. Hence with `b_i = |γ_i|·√n + |β_i| + 6` every
//! `x_i + b_i ≥ 6`, whatever the input.
//!
//! **gelu above the bound.** gelu(y) = y·Φ(y), and for `y ≥ 6` 1 - Φ(y) < 1e-9, less than half of float32's
//! spacing below 1 (3e-8). Computed in float32 as `y·0.5·(1 + erf(y/√2))`, the bracket rounds to 2 and
//! the result is `y`.
//!
//! **Rounding error.** float32 rounds `x_i + b_i` and the two large terms that cancel: about 1e-6 in a
//! logit, which the verifier measures on each export. In float16 and bfloat16 it would be hundredths, so
//! that such a head is written in float32 only.

/// From here on gelu is the identity in float32.
const MARGIN: f64 = 6.0;

/// Returns `b` for a LayerNorm's `γ` and `β`, each `[n]`.
pub(super) fn gelu_offset(gamma: &[f64], beta: &[f64]) -> Vec<f32> {
    #[allow(clippy::cast_precision_loss, reason = "no layer is that wide")]
    let root = (gamma.len() as f64).sqrt();
    std::iter::zip(gamma, beta)
        .map(|(gamma, beta)| round_up(gamma.abs() * root + beta.abs() + MARGIN))
        .collect()
}

/// Returns `d = c - W·b` for a bias `c` `[labels]`, a kernel `[n, labels]`, which is `W` transposed, and the
/// offset `b` `[n]`.
pub(super) fn compensated_bias(bias: &[f64], kernel: &[f64], offset: &[f32]) -> Vec<f32> {
    let mut compensated = bias.to_vec();
    for (weights, offset) in std::iter::zip(kernel.chunks(bias.len()), offset) {
        for (bias, weight) in std::iter::zip(&mut compensated, weights) {
            *bias -= weight * f64::from(*offset);
        }
    }
    compensated.into_iter().map(round).collect()
}

/// Returns the identity matrix `[n, n]`.
pub(super) fn identity(n: usize) -> Vec<f32> {
    let mut matrix = vec![0.0; n * n];
    for diagonal in matrix.iter_mut().step_by(n + 1) {
        *diagonal = 1.0;
    }
    matrix
}

#[allow(clippy::cast_possible_truncation, reason = "rounds on purpose")]
fn round(value: f64) -> f32 {
    value as f32
}

/// Returns the smallest float32 that is not below `value`, so that rounding keeps the bound.
fn round_up(value: f64) -> f32 {
    let nearest = round(value);
    if f64::from(nearest) < value {
        nearest.next_up()
    } else {
        nearest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    #[allow(clippy::float_cmp, reason = "the identity is exact")]
    fn gelu_is_the_identity_above_the_margin() {
        let device = &candle_core::Device::Cpu;
        let values: Vec<f32> = (0_u16..2000).map(|i| 6.0 + f32::from(i) * 0.037).collect();
        let tensor = candle_core::Tensor::new(values.as_slice(), device).unwrap();
        let gelu: Vec<f32> = tensor.gelu_erf().unwrap().to_vec1().unwrap();
        assert_eq!(gelu, values);
    }

    proptest! {
        #[test]
        fn the_offset_moves_every_output_of_a_layer_norm_above_the_margin(
            input in prop::collection::vec(-3.0..3.0_f64, 2..40),
            power in 1..9_i32,
            seed in 1..1000_u32,
        ) {
            // High powers give inputs with one element far from all others: the worst case.
            let input: Vec<f64> = input.iter().map(|x| x.powi(power)).collect();
            let n = input.len();
            #[allow(clippy::cast_precision_loss)]
            let mean = input.iter().sum::<f64>() / n as f64;
            #[allow(clippy::cast_precision_loss)]
            let variance = input.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
            let pick = |i: usize, k: u32| {
                let i = u32::try_from(i).unwrap();
                f64::from((i * 7919 + seed * k) % 401) / 100.0 - 2.0
            };
            let gamma: Vec<f64> = (0..n).map(|i| pick(i, 31)).collect();
            let beta: Vec<f64> = (0..n).map(|i| pick(i, 57)).collect();
            let offset = gelu_offset(&gamma, &beta);
            for i in 0..n {
                let normed = (input[i] - mean) / (variance + 1e-12).sqrt();
                let output = gamma[i] * normed + beta[i];
                prop_assert!(output + f64::from(offset[i]) >= MARGIN - 1e-9);
            }
        }
    }

    #[test]
    fn offset_and_compensated_bias_cancel() {
        // Two inputs, three labels.
        let (bias, kernel) = ([0.5, -1.0, 2.0], [1.0, 2.0, 3.0, -4.0, 5.0, 0.25]);
        let offset = gelu_offset(&[1.0, -2.0], &[0.5, 0.0]);
        let compensated = compensated_bias(&bias, &kernel, &offset);
        for label in 0..3 {
            let raised: f64 = (0..2)
                .map(|i| kernel[i * 3 + label] * f64::from(offset[i]))
                .sum();
            assert!((f64::from(compensated[label]) + raised - bias[label]).abs() < 1e-5);
        }
        assert_eq!(identity(2), [1.0, 0.0, 0.0, 1.0]);
    }
}
