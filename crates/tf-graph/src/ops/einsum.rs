//! `Einsum`, by transposing the operands to a batch of matrix products.
//!
//! The labels of two operands fall into four groups: in both and in the result (batch), in both and not in
//! the result (summed by the product), and in one operand only (rows or columns). Labels that occur in one
//! operand and not in the result are summed before.

use super::equation::parse;
use super::kernel::Kernel::One;
use super::kernel::{Call, Table, same_type};
use super::multiply::Multiply;
use super::product::{Factor, products};
use super::reduce::{Float, total};
use crate::array::{Array, Values};
use crate::failure::{Failure, invalid, unsupported};
use crate::meter::Meter;
use crate::strided::{self, Strided, StridedAxis};

pub(super) const TABLE: Table = &[("Einsum", One(einsum)), ("XlaEinsum", One(einsum))];

fn einsum(call: &Call<'_>, inputs: Vec<Array>) -> Result<Array, Failure> {
    let Some(equation) = call.string("equation") else {
        return invalid("there is no attribute \"equation\"");
    };
    let inputs = same_type(inputs)?;
    let ranks: Vec<usize> = inputs.iter().map(Array::rank).collect();
    let (labels, result) = parse(&equation, &ranks)?;
    let mut inputs = inputs.into_iter();
    match (inputs.next(), inputs.next()) {
        (Some(Array::Float32(a)), None) => one(call.meter, a, &labels, &result),
        (Some(Array::Float64(a)), None) => one(call.meter, a, &labels, &result),
        (Some(Array::Float32(a)), Some(Array::Float32(b))) => {
            two(call.meter, [a, b], &labels, &result)
        }
        (Some(Array::Float64(a)), Some(Array::Float64(b))) => {
            two(call.meter, [a, b], &labels, &result)
        }
        _ => unsupported("Einsum of integers is not implemented"),
    }
}

/// An operand with a label for each axis.
struct Labelled<T> {
    values: Values<T>,
    labels: Vec<char>,
}

impl<T: Float> Labelled<T> {
    /// Labels the axes of an array; of axes with the same label, the diagonal is taken.
    fn new(values: Values<T>, labels: &[char], meter: &Meter<'_>) -> Result<Self, Failure> {
        let mut own: Vec<char> = Vec::new();
        let mut axes: Vec<StridedAxis> = Vec::new();
        for (&label, axis) in std::iter::zip(labels, Strided::whole(values.shape()).axes) {
            match own.iter().position(|&other| other == label) {
                None => {
                    own.push(label);
                    axes.push(axis);
                }
                Some(at) if axes[at].len == axis.len => axes[at].step += axis.step,
                Some(_) => return invalid(format!("the axes with label {label} differ in length")),
            }
        }
        let values = if own.len() < labels.len() {
            strided::copy(&values, &Strided { start: 0, axes }, meter)?
        } else {
            values
        };
        Ok(Self {
            values,
            labels: own,
        })
    }

    fn len_of(&self, label: char) -> Option<usize> {
        let at = self.labels.iter().position(|&own| own == label)?;
        Some(self.values.shape()[at])
    }

    /// Returns the labels that fulfil a condition.
    fn labels_that(&self, condition: impl Fn(char) -> bool) -> Vec<char> {
        self.labels
            .iter()
            .copied()
            .filter(|&label| condition(label))
            .collect()
    }

    /// Transposes the axes to an order of the same labels.
    fn ordered(self, order: &[char], meter: &Meter<'_>) -> Result<Self, Failure> {
        if self.labels == order {
            return Ok(self);
        }
        let whole = Strided::whole(self.values.shape());
        let mut part = Strided {
            start: 0,
            axes: Vec::new(),
        };
        for label in order {
            let at = self.labels.iter().position(|own| own == label);
            let at = at.ok_or_else(|| Failure::Invalid(format!("label {label} is missing")))?;
            part.axes.push(whole.axes[at]);
        }
        Ok(Self {
            values: strided::copy(&self.values, &part, meter)?,
            labels: order.to_vec(),
        })
    }

    /// Sums over all labels that are not kept.
    fn summed(self, keep: impl Fn(char) -> bool, meter: &Meter<'_>) -> Result<Self, Failure> {
        let kept = self.labels_that(&keep);
        let summed = self.labels_that(|label| !keep(label));
        if summed.is_empty() {
            return Ok(self);
        }
        let ordered = self.ordered(&[kept.clone(), summed].concat(), meter)?;
        let (shape, rest) = ordered.values.shape().split_at(kept.len());
        let len = meter.room::<T>(shape)?;
        let row: usize = rest.iter().product();
        let source = strided::slice(&ordered.values)?;
        let sums = (0..len).map(|n| T::from_f64(total(&source[n * row..(n + 1) * row], |x| x)));
        Ok(Self {
            values: strided::values(shape, sums.collect())?,
            labels: kept,
        })
    }

    /// Drops axes of length 1 that the ellipsis repeats to the length of the other operand.
    fn without_repeated(self, other: &Self) -> Result<Self, Failure> {
        let is_repeated = |label: char| {
            !label.is_alphabetic()
                && self.len_of(label) == Some(1)
                && other.len_of(label).is_some_and(|len| len != 1)
        };
        let labels = self.labels_that(|label| !is_repeated(label));
        let shape: Vec<usize> = labels
            .iter()
            .filter_map(|&label| self.len_of(label))
            .collect();
        let values = self.values.into_shape_with_order(shape);
        let values = values.map_err(|error| Failure::Invalid(error.to_string()))?;
        Ok(Self { values, labels })
    }
}

fn one<T: Float>(
    meter: &Meter<'_>,
    values: Values<T>,
    labels: &[Vec<char>],
    result: &[char],
) -> Result<Array, Failure> {
    let operand = Labelled::new(values, &labels.concat(), meter)?;
    let summed = operand.summed(|label| result.contains(&label), meter)?;
    Ok(T::wrap(summed.ordered(result, meter)?.values))
}

fn two<T: Float + Multiply>(
    meter: &Meter<'_>,
    operands: [Values<T>; 2],
    labels: &[Vec<char>],
    result: &[char],
) -> Result<Array, Failure> {
    let [a, b] = operands;
    let [a_labels, b_labels] = labels else {
        return unsupported("Einsum of more than two operands is not implemented");
    };
    let a = Labelled::new(a, a_labels, meter)?;
    let b = Labelled::new(b, b_labels, meter)?;
    let a = a.without_repeated(&b)?;
    let b = b.without_repeated(&a)?;
    for &label in &a.labels {
        if b.len_of(label)
            .is_some_and(|len| a.len_of(label) != Some(len))
        {
            return invalid(format!("the axes with label {label} differ in length"));
        }
    }
    let a = a.summed(
        |label| result.contains(&label) || b.labels.contains(&label),
        meter,
    )?;
    let b = b.summed(
        |label| result.contains(&label) || a.labels.contains(&label),
        meter,
    )?;

    let of_result = |in_a: bool, in_b: bool| -> Vec<char> {
        let is_in =
            |label: &&char| a.labels.contains(label) == in_a && b.labels.contains(label) == in_b;
        result.iter().filter(is_in).copied().collect()
    };
    let [batch, rows, columns] =
        [(true, true), (true, false), (false, true)].map(|(a, b)| of_result(a, b));
    let summed = a.labels_that(|label| !result.contains(&label));
    let (a, a_is_transposed) = a.into_matrices(&batch, [&rows, &summed], meter)?;
    let (b, b_is_transposed) = b.into_matrices(&batch, [&summed, &columns], meter)?;

    let product_labels = [&batch[..], &rows, &columns].concat();
    let lengths = product_labels
        .iter()
        .filter_map(|&label| a.len_of(label).or(b.len_of(label)));
    let shape: Vec<usize> = lengths.collect();
    let batch_shape = &shape[..batch.len()];
    let a = a.factor(batch_shape, rows.len(), a_is_transposed)?;
    let b = b.factor(batch_shape, summed.len(), b_is_transposed)?;
    let (_, product) = products(meter, &a, &b)?;
    let product = Labelled {
        values: strided::values(&shape, product)?,
        labels: product_labels,
    };
    Ok(T::wrap(product.ordered(result, meter)?.values))
}

impl<T: Float> Labelled<T> {
    /// Orders the axes as a batch of matrices, whose rows and columns may be swapped: then nothing is copied
    /// if they are stored so.
    fn into_matrices(
        self,
        batch: &[char],
        [rows, columns]: [&[char]; 2],
        meter: &Meter<'_>,
    ) -> Result<(Self, bool), Failure> {
        if self.labels == [batch, columns, rows].concat()
            && self.labels != [batch, rows, columns].concat()
        {
            return Ok((self, true));
        }
        Ok((
            self.ordered(&[batch, rows, columns].concat(), meter)?,
            false,
        ))
    }

    /// Returns the operand as a factor of matrix products: `rows` axes are its rows, before it is transposed
    /// if it is.
    fn factor<'a>(
        &'a self,
        batch: &'a [usize],
        rows: usize,
        is_transposed: bool,
    ) -> Result<Factor<'a, T>, Failure> {
        let shape = &self.values.shape()[batch.len()..];
        let first = if is_transposed {
            shape.len() - rows
        } else {
            rows
        };
        let [rows, columns] = [&shape[..first], &shape[first..]].map(|axes| axes.iter().product());
        Ok(Factor {
            data: strided::slice(&self.values)?,
            batch,
            matrix: [rows, columns],
            is_transposed,
        })
    }
}

#[cfg(test)]
mod tests {
    use testkit::graph_writer::Attr;

    use super::super::tests::{counted, run_one};
    use crate::array::Array;
    use crate::failure::Failure;

    fn einsum(equation: &'static str, shapes: &[&[usize]]) -> Result<Array, Failure> {
        let inputs = shapes.iter().map(|shape| counted(shape)).collect();
        run_one("Einsum", &[("equation", Attr::Text(equation))], inputs)
    }

    /// The sum over all values of all labels.
    fn slowly(equation: &str, shapes: &[&[usize]]) -> Vec<f64> {
        let (operands, result) = equation.split_once("->").unwrap();
        let operands: Vec<&str> = operands.split(',').collect();
        let mut labels: Vec<char> = result.chars().collect();
        for label in operands.concat().chars() {
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
        let len = |label: char| {
            let found = std::iter::zip(&operands, shapes)
                .find_map(|(operand, shape)| Some(shape[operand.find(label)?]));
            found.unwrap()
        };
        let total: usize = labels.iter().map(|&label| len(label)).product();
        let summed: usize = labels[result.len()..]
            .iter()
            .map(|&label| len(label))
            .product();
        let mut values = vec![0.0; total / summed];
        for n in 0..total {
            let (mut index, mut rest) = (vec![0; labels.len()], n);
            for (index, &label) in std::iter::zip(&mut index, &labels).rev() {
                (*index, rest) = (rest % len(label), rest / len(label));
            }
            let mut product = 1.0;
            for (operand, shape) in std::iter::zip(&operands, shapes) {
                let mut at = 0;
                for (label, len) in std::iter::zip(operand.chars(), *shape) {
                    let position = labels.iter().position(|&other| other == label).unwrap();
                    at = at * len + index[position];
                }
                product *= f64::from(u32::try_from(at).unwrap());
            }
            values[n / summed] += product;
        }
        values
    }

    #[test]
    fn equations_of_transformers_are_computed() {
        let cases: [(&str, &[&[usize]]); 14] = [
            ("abc,cd->abd", &[&[2, 3, 4], &[4, 5]]),
            ("abc,cde->abde", &[&[2, 3, 4], &[4, 2, 3]]),
            ("BTNH,BFNH->BNFT", &[&[2, 3, 2, 4], &[2, 5, 2, 4]]),
            ("BNFT,BTNH->BFNH", &[&[2, 2, 5, 3], &[2, 3, 2, 4]]),
            ("abcd,cde->abe", &[&[2, 3, 2, 4], &[2, 4, 3]]),
            ("ij,kj->ik", &[&[2, 3], &[4, 3]]),
            ("ji,jk->ki", &[&[3, 2], &[3, 4]]),
            ("i,j->ji", &[&[2], &[3]]),
            ("ij,ij->", &[&[2, 3], &[2, 3]]),
            ("ijk,k->j", &[&[2, 3, 4], &[4]]),
            ("ijk->kj", &[&[2, 3, 4]]),
            ("ij->ji", &[&[2, 3]]),
            ("iij->ji", &[&[2, 2, 3]]),
            ("ii->", &[&[3, 3]]),
        ];
        for (equation, shapes) in cases {
            let found = einsum(equation, shapes).unwrap();
            assert_eq!(found.to_f64(), slowly(equation, shapes), "{equation}");
        }
    }

    #[test]
    fn an_ellipsis_repeats_axes() {
        let found = einsum("...ij,...jk->...ik", &[&[2, 1, 3, 2], &[3, 2, 3]]).unwrap();
        assert_eq!(found.shape(), [2, 3, 3, 3]);
        let inputs = vec![counted(&[2, 1, 3, 2]), counted(&[3, 2, 3])];
        let expected = run_one("BatchMatMulV2", &[], inputs).unwrap();
        assert_eq!(found.to_f64(), expected.to_f64());
        let found = einsum("...a,ab->...b", &[&[2, 3, 4], &[4, 5]]).unwrap();
        assert_eq!(found.shape(), [2, 3, 5]);
    }

    #[test]
    fn equations_that_do_not_fit_are_errors() {
        for (equation, shapes) in [
            ("ab,bc", &[&[2, 3][..], &[3, 4]][..]),
            ("ab,bc->ad", &[&[2, 3], &[3, 4]]),
            ("ab,bc->ac", &[&[2, 3], &[4, 4]]),
            ("ab,bc->ac", &[&[2, 3]]),
            ("abc,bc->ac", &[&[2, 3], &[3, 4]]),
            ("aa->a", &[&[2, 3]]),
            ("ab->aab", &[&[2, 2]]),
            ("a1->a", &[&[2, 2]]),
            ("......->...", &[&[2, 2]]),
            ("", &[]),
            ("->", &[]),
        ] {
            assert!(einsum(equation, shapes).is_err(), "{equation}");
        }
    }
}
