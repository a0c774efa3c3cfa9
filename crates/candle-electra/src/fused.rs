//! A bias, gelu and LayerNorm in one pass over the elements, on all threads.
//!
//! candle computes each as a series of operations on whole tensors, in one thread: in a model of Base size
//! this took as long as the matrix products. The functions here do so for float32 on the CPU where no
//! gradients are tracked, and leave everything else to candle.

use candle_core::{CpuStorage, CustomOp3, DType, InplaceOp2, Layout, Result, Shape, Tensor};
use candle_nn::ops::layer_norm_slow;
use rayon::iter::{IndexedParallelIterator as _, ParallelIterator as _};
use rayon::slice::{ParallelSlice as _, ParallelSliceMut as _};

/// Elements that a thread takes at least.
const LEAST: usize = 1 << 13;
/// Sums are computed in so many parts, which the compiler puts into vector registers.
const LANES: usize = 8;

/// Adds `bias` `[size]` to `x` `[…, size]`, whose storage no other tensor may share.
pub(crate) fn add_bias(x: Tensor, bias: &Tensor) -> Result<Tensor> {
    if !is_supported(&[&x, bias]) {
        return x.broadcast_add(bias);
    }
    x.inplace_op2(bias, &Bias { gelu: false })?;
    Ok(x)
}

/// As [`add_bias`], followed by gelu (with erf).
pub(crate) fn add_bias_gelu(x: Tensor, bias: &Tensor) -> Result<Tensor> {
    if !is_supported(&[&x, bias]) {
        return x.broadcast_add(bias)?.gelu_erf();
    }
    x.inplace_op2(bias, &Bias { gelu: true })?;
    Ok(x)
}

/// Normalises `x` `[…, size]` over the last axis: LayerNorm with a variance computed in two passes.
pub(crate) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Result<Tensor> {
    let x = x.contiguous()?;
    if !is_supported(&[&x, weight, bias]) {
        return layer_norm_slow(&x, weight, bias, eps);
    }
    x.apply_op3_no_bwd(weight, bias, &Norm { eps })
}

fn is_supported(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|tensor| {
        tensor.device().is_cpu()
            && tensor.dtype() == DType::F32
            && tensor.is_contiguous()
            && !tensor.track_op()
    })
}

struct Bias {
    gelu: bool,
}

impl InplaceOp2 for Bias {
    fn name(&self) -> &'static str {
        "bias"
    }

    fn cpu_fwd(
        &self,
        x: &mut CpuStorage,
        x_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<()> {
        let bias = floats(bias, bias_layout)?;
        let range = range(x_layout)?;
        let CpuStorage::F32(x) = x else {
            candle_core::bail!("not float32");
        };
        if bias.is_empty() {
            return Ok(());
        }
        let rows = x[range].par_chunks_mut(bias.len());
        rows.with_min_len((LEAST / bias.len()).max(1))
            .for_each(|row| {
                for (x, bias) in std::iter::zip(row, bias) {
                    let sum = *x + bias;
                    *x = if self.gelu { gelu(sum) } else { sum };
                }
            });
        Ok(())
    }
}

/// `x · Φ(x)`, as candle's `gelu_erf` computes it.
fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2))
}

struct Norm {
    eps: f32,
}

impl CustomOp3 for Norm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = floats(x, x_layout)?;
        let (weight, bias) = (floats(weight, weight_layout)?, floats(bias, bias_layout)?);
        let size = x_layout.dims().last().copied().unwrap_or(1);
        if weight.len() != size || bias.len() != size {
            candle_core::bail!(
                "a LayerNorm of {} elements cannot take {size}",
                weight.len()
            );
        }
        let mut result = vec![0.0; x.len()];
        if size > 0 {
            let rows = result.par_chunks_mut(size).zip(x.par_chunks(size));
            rows.with_min_len((LEAST / size).max(1))
                .for_each(|(result, row)| self.normalise(row, weight, bias, result));
        }
        Ok((CpuStorage::F32(result), x_layout.shape().clone()))
    }
}

impl Norm {
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "sums are in float64, results in float32"
    )]
    fn normalise(&self, row: &[f32], weight: &[f32], bias: &[f32], result: &mut [f32]) {
        let size = row.len() as f64;
        let mean = sum(row, f64::from) / size;
        let square = |x| (f64::from(x) - mean).powi(2);
        let variance = sum(row, square) / size;
        let factor = 1.0 / (variance + f64::from(self.eps)).sqrt();
        let parameters = std::iter::zip(weight, bias);
        for ((result, &x), (&weight, &bias)) in std::iter::zip(result, row).zip(parameters) {
            *result = ((f64::from(x) - mean) * factor) as f32 * weight + bias;
        }
    }
}

/// Returns the sum of a function of all elements, in float64.
fn sum(row: &[f32], function: impl Fn(f32) -> f64) -> f64 {
    let (lanes, rest) = row.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for lane in lanes {
        for (sum, &x) in std::iter::zip(&mut sums, lane) {
            *sum += function(x);
        }
    }
    let rest: f64 = rest.iter().map(|&x| function(x)).sum();
    sums.iter().sum::<f64>() + rest
}

fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    Ok(&storage.as_slice::<f32>()?[range(layout)?])
}

fn range(layout: &Layout) -> Result<std::ops::Range<usize>> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!("not contiguous");
    };
    Ok(start..end)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    fn tensor(values: impl Fn(usize) -> f32, shape: (usize, usize)) -> Tensor {
        #[allow(clippy::cast_precision_loss)]
        let values: Vec<f32> = (0..shape.0 * shape.1).map(values).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn wave(n: usize) -> f32 {
        f32::from(u8::try_from(n * 37 % 251).unwrap()) / 40.0 - 3.0
    }

    fn assert_close(found: &Tensor, expected: &Tensor) {
        let difference = (found - expected).unwrap().abs().unwrap();
        let largest: f32 = difference
            .flatten_all()
            .unwrap()
            .max(0)
            .unwrap()
            .to_scalar()
            .unwrap();
        assert!(largest < 2e-6, "{largest}");
    }

    #[test]
    fn results_are_those_of_candles_operations() {
        for shape in [(1, 1), (3, 5), (200, 96)] {
            let x = tensor(wave, shape);
            let bias = tensor(|n| wave(n + 9), (1, shape.1)).squeeze(0).unwrap();
            let weight = tensor(|n| wave(n + 77), (1, shape.1)).squeeze(0).unwrap();
            let plain = x.broadcast_add(&bias).unwrap();
            assert_close(&add_bias(x.copy().unwrap(), &bias).unwrap(), &plain);
            let gelu = add_bias_gelu(x.copy().unwrap(), &bias).unwrap();
            assert_close(&gelu, &plain.gelu_erf().unwrap());
            let norm = layer_norm(&x, &weight, &bias, 1e-12).unwrap();
            assert_close(&norm, &layer_norm_slow(&x, &weight, &bias, 1e-12).unwrap());
            assert!(layer_norm(&x, &weight.narrow(0, 0, 0).unwrap(), &bias, 1e-12).is_err());
        }
    }

    #[test]
    fn gradients_are_tracked() {
        let x = Var::from_tensor(&tensor(wave, (2, 3))).unwrap();
        let bias = tensor(wave, (1, 3)).squeeze(0).unwrap();
        let product = x.affine(2.0, 0.0).unwrap();
        let y = add_bias_gelu(product, &bias).unwrap();
        let y = layer_norm(&y, &bias, &bias, 1e-12).unwrap();
        let gradients = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        assert!(gradients.get(&x).is_some());
    }
}
