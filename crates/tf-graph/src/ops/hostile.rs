//! Every operation with inputs and attributes that do not fit it.

use ndarray::ArrayD;
use testkit::graph_writer::Attr;

use super::TABLES;
use super::tests::{f32s, i32s, run};
use crate::array::Array;

/// A sequence of numbers that looks random.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

fn inputs() -> Vec<Array> {
    let mut arrays = vec![
        i32s(&[], &[0]),
        i32s(&[], &[-1]),
        i32s(&[], &[2]),
        i32s(&[], &[i32::MAX]),
        i32s(&[0], &[]),
        i32s(&[1], &[1]),
        i32s(&[2], &[1, 0]),
        i32s(&[2], &[-1, 1]),
        i32s(&[3], &[i32::MAX, i32::MIN, i32::MAX]),
        i32s(&[2, 2], &[0, 1, 1, 0]),
        i32s(&[2, 3], &[5, -7, 0, 1, i32::MIN, 1]),
        f32s(&[], &[0.5]),
        f32s(&[2], &[f32::NAN, -0.0]),
        f32s(
            &[2, 3],
            &[1.0, -2.0, f32::INFINITY, 0.0, f32::NEG_INFINITY, 3.0],
        ),
        f32s(&[3, 2], &[1.0; 6]),
        f32s(&[2, 0, 3], &[]),
        f32s(&[1, 2, 3, 1], &[0.25; 6]),
        f32s(&[1; 16], &[1.0]),
        f32s(&[2, 2], &[1.0; 4]).widened(),
    ];
    let wide = [i64::MIN, i64::MAX, -1];
    for len in [1, 2, 3] {
        arrays.push(
            ArrayD::from_shape_vec(vec![len], wide[..len].to_vec())
                .unwrap()
                .into(),
        );
    }
    for (shape, values) in [
        (vec![], vec![true]),
        (vec![2], vec![true, false]),
        (vec![0], vec![]),
    ] {
        arrays.push(ArrayD::from_shape_vec(shape, values).unwrap().into());
    }
    arrays
}

fn attributes(numbers: &mut Numbers) -> Vec<(&'static str, Attr)> {
    const KEYS: [&str; 28] = [
        "N",
        "T",
        "SrcT",
        "DstT",
        "adj_x",
        "adj_y",
        "alpha",
        "axis",
        "batch_dims",
        "begin_mask",
        "data_format",
        "ellipsis_mask",
        "end_mask",
        "epsilon",
        "equation",
        "exclusive",
        "is_training",
        "k",
        "keep_dims",
        "new_axis_mask",
        "num",
        "num_partitions",
        "num_split",
        "out_type",
        "shrink_axis_mask",
        "squeeze_dims",
        "transpose_a",
        "transpose_b",
    ];
    let mut attributes = Vec::new();
    for _ in 0..numbers.below(5) {
        let value = match numbers.below(8) {
            0 => Attr::True,
            1 => Attr::Int([0, 1, 2, 3, 7, -1, i64::MAX, i64::MIN][numbers.below(8)]),
            2 => Attr::Type([0, 1, 2, 3, 4, 9, 10, 22, -1][numbers.below(9)]),
            3 => Attr::List(vec![0, -1, i64::MAX][..numbers.below(4)].to_vec()),
            4 => Attr::Text(
                ["ab,bc->ac", "aa->a", "...a,...b->...", "ab->ba", "a,b->c"][numbers.below(5)],
            ),
            5 => Attr::Text(["NCHW", "NHWC"][numbers.below(2)]),
            6 => Attr::Float([0.0, f32::NAN, -1.0][numbers.below(3)]),
            _ => Attr::Int([1, 2][numbers.below(2)]),
        };
        attributes.push((KEYS[numbers.below(KEYS.len())], value));
    }
    // The attributes without which some operations do nothing.
    attributes.push((
        "equation",
        Attr::Text(["ab,bc->ac", "a...,...->...a", "ij->"][numbers.below(3)]),
    ));
    attributes.push(("num_split", Attr::Int(2)));
    attributes.push(("DstT", Attr::Type([1, 3, 9, 10][numbers.below(4)])));
    attributes
}

#[test]
fn no_inputs_or_attributes_cause_a_panic() {
    let inputs = inputs();
    let mut numbers = Numbers(1);
    let mut computed = 0;
    for (op, _) in TABLES.iter().copied().flatten() {
        let mut succeeded = 0;
        for _ in 0..400 {
            let chosen = (0..numbers.below(6)).map(|_| inputs[numbers.below(inputs.len())].clone());
            let chosen = chosen.collect();
            if let Ok(outputs) = run(op, &attributes(&mut numbers), chosen) {
                let bytes: usize = outputs.iter().map(Array::bytes).sum();
                assert!(bytes <= 1 << 20, "{op} has outputs of {bytes} bytes");
                succeeded += 1;
            }
        }
        computed += usize::from(succeeded > 0);
    }
    // Operations of five or more inputs are hardly ever computed by chance.
    assert!(computed > 100, "{computed} operations were computed");
}
