//! Verdicts on real encoders, on planted heads, and on weights without heads.

use std::f64::consts::TAU;
use std::fs;
use std::path::Path;

use fastrand::Rng;
use half::f16;
use serde_json::Value;

use super::HeadCount;

/// The norms of a trained encoder, four vectors for each layer, with its width and its head count.
struct Encoder {
    hidden_size: usize,
    heads: usize,
    layers: Vec<Vec<Vec<f64>>>,
}

fn encoder(name: &str) -> Encoder {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/head_norms");
    let text = fs::read_to_string(folder.join(name)).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    let size = |key: &str| usize::try_from(json[key].as_u64().unwrap()).unwrap();
    let numbers = |value: &Value| -> Vec<f64> {
        let values = value.as_array().unwrap().iter();
        values.map(|x| x.as_f64().unwrap() / 100.0).collect()
    };
    let layers = json["layers"].as_array().unwrap().iter();
    let layers = layers.map(|layer| layer.as_object().unwrap().values().map(numbers).collect());
    Encoder {
        hidden_size: size("hidden_size"),
        heads: size("num_attention_heads"),
        layers: layers.collect(),
    }
}

/// A standard normal number.
fn normal(rng: &mut Rng) -> f64 {
    (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (TAU * rng.f64()).cos()
}

fn normals(rng: &mut Rng, count: usize) -> Vec<f64> {
    (0..count).map(|_| normal(rng)).collect()
}

/// Vectors whose heads have means of the given standard deviation, with noise of 1.
fn planted(
    rng: &mut Rng,
    hidden: usize,
    heads: usize,
    vectors: usize,
    scale: f64,
) -> Vec<Vec<f64>> {
    let mut vector = || {
        let means = normals(rng, heads);
        let unit = |unit: usize| scale * means[unit / (hidden / heads)] + normal(rng);
        (0..hidden).map(unit).collect()
    };
    (0..vectors).map(|_| vector()).collect()
}

#[test]
fn trained_encoders_have_their_heads() {
    for (name, margin) in [("minilm.json", 1000.0), ("antiberty.json", 600.0)] {
        let Encoder {
            hidden_size,
            heads,
            layers,
        } = encoder(name);
        let all = layers.concat();
        let found = HeadCount::new(hidden_size, &all);
        assert_eq!(found.decided(), Some(heads), "{name}: {found:?}");
        assert!(found.margin() > margin, "{name}: {found:?}");

        // Rounded to 16 bits: the sum of many squares hardly changes, so that this rounds the norms.
        let round = |x: &f64| f16::from_f64(x.exp()).to_f64().ln();
        let rounded: Vec<Vec<f64>> = all
            .iter()
            .map(|vector| vector.iter().map(round).collect())
            .collect();
        assert_eq!(HeadCount::new(hidden_size, &rounded).decided(), Some(heads));
    }
}

#[test]
fn single_layers_and_single_matrices_are_enough_in_a_clear_case() {
    let Encoder {
        hidden_size,
        heads,
        layers,
    } = encoder("minilm.json");
    for (at, layer) in layers.iter().enumerate() {
        let found = HeadCount::new(hidden_size, layer);
        assert_eq!(found.decided(), Some(heads), "layer {at}: {found:?}");
    }
    for matrix in 0..4 {
        let vectors: Vec<_> = layers.iter().map(|layer| layer[matrix].clone()).collect();
        let found = HeadCount::new(hidden_size, &vectors);
        assert_eq!(found.decided(), Some(heads), "matrix {matrix}: {found:?}");
    }
}

/// Never another count, whatever part of the evidence there is.
#[test]
fn parts_of_the_evidence_never_give_another_count() {
    for name in ["minilm.json", "antiberty.json"] {
        let Encoder {
            hidden_size,
            heads,
            layers,
        } = encoder(name);
        for vectors in layers
            .iter()
            .flat_map(|layer| layer.chunks(1).chain([&layer[..]]))
        {
            let found = HeadCount::new(hidden_size, vectors).decided();
            assert!(
                found.is_none_or(|count| count == heads),
                "{name}: {found:?}"
            );
        }
    }
}

#[test]
fn planted_heads_are_found_and_nothing_else() {
    let mut rng = Rng::with_seed(1);
    for (hidden, heads, vectors) in [
        (384, 12, 24),
        (768, 12, 48),
        (256, 8, 12),
        (128, 8, 12),
        (312, 12, 16),
        (96, 6, 24),
        (1024, 16, 8),
    ] {
        for scale in [0.0, 0.3, 0.6, 1.0, 2.0, 20.0] {
            let found = HeadCount::new(hidden, &planted(&mut rng, hidden, heads, vectors, scale));
            let is_clear = scale >= 2.0;
            match found.decided() {
                Some(count) => assert_eq!(count, heads, "width {hidden}, scale {scale}"),
                None => assert!(!is_clear, "width {hidden}, scale {scale}: {found:?}"),
            }
        }
    }
}

/// How a test draws a vector: from its own generator, and a seed that all vectors share.
type Draw = fn(&mut Rng, &mut Rng, usize) -> Vec<f64>;

fn walk(rng: &mut Rng, width: usize, keep: f64) -> Vec<f64> {
    let mut level = normal(rng);
    let step = (1.0 - keep * keep).sqrt();
    let next = |_| {
        level = keep * level + step * normal(rng);
        level
    };
    (0..width).map(next).collect()
}

fn with_noise(rng: &mut Rng, mut vector: Vec<f64>, scale: f64) -> Vec<f64> {
    for x in &mut vector {
        *x += scale * normal(rng);
    }
    vector
}

#[allow(clippy::cast_precision_loss)]
fn share(unit: usize, width: usize) -> f64 {
    unit as f64 / width as f64
}

/// Weights without heads.
const STRUCTURES: &[(&str, Draw)] = &[
    ("random norms", |rng, _, width| normals(rng, width)),
    ("truncated normal weights", |rng, _, width| {
        let weight = |rng: &mut Rng| loop {
            let x = normal(rng);
            if x.abs() <= 2.0 {
                return x;
            }
        };
        let norm = |_| (0..64).map(|_| weight(rng).powi(2)).sum::<f64>().ln();
        (0..width).map(norm).collect()
    }),
    ("equal layers", |_, shared, width| normals(shared, width)),
    ("outliers in the same columns", |rng, shared, width| {
        let mut vector = normals(rng, width);
        (0..5).for_each(|_| vector[shared.usize(..width)] += 20.0);
        vector
    }),
    ("a run of outliers", |rng, shared, width| {
        let mut vector = normals(rng, width);
        let start = shared.usize(..width - 20);
        let length = shared.usize(3..20);
        vector[start..start + length]
            .iter_mut()
            .for_each(|x| *x += 10.0);
        vector
    }),
    ("a drift", |rng, shared, width| {
        let slope = 10.0 * normal(shared);
        let drift = (0..width).map(|unit| slope * share(unit, width));
        with_noise(rng, drift.collect(), 1.0)
    }),
    ("a wave", |rng, shared, width| {
        let (turns, start) = (0.5 + 12.0 * shared.f64(), shared.f64());
        let wave = |unit| (TAU * (start + turns * share(unit, width))).sin();
        with_noise(rng, (0..width).map(wave).collect(), 0.2)
    }),
    ("a random walk", |rng, shared, width| {
        let keep = 0.3 + 0.699 * shared.f64();
        walk(rng, width, keep)
    }),
    (
        "the same random walk in all vectors",
        |rng, shared, width| {
            let keep = 0.8 + 0.199 * shared.f64();
            let level = walk(shared, width, keep);
            with_noise(rng, level, 0.3)
        },
    ),
    ("low rank", |rng, shared, width| {
        let columns: [Vec<f64>; 3] = [0; 3].map(|_| normals(shared, width));
        let rows: [Vec<f64>; 3] = [0; 3].map(|_| normals(rng, 32));
        let weight = |row: usize, unit: usize| -> f64 {
            std::iter::zip(&rows, &columns)
                .map(|(r, c)| r[row] * c[unit])
                .sum()
        };
        let norm = |unit| {
            let squares = (0..32).map(|row| weight(row, unit).powi(2) + 0.01);
            squares.sum::<f64>().ln()
        };
        (0..width).map(norm).collect()
    }),
];

#[test]
fn weights_without_heads_are_undecided() {
    for (what, draw) in STRUCTURES {
        for seed in 0..40 {
            let mut rng = Rng::with_seed(seed);
            let hidden = [64, 96, 128, 256, 312, 384][rng.usize(..6)];
            let vectors = [4, 8, 12, 24][rng.usize(..4)];
            let shared = rng.u64(..);
            let log_norms: Vec<Vec<f64>> = (0..vectors)
                .map(|_| draw(&mut rng, &mut Rng::with_seed(shared), hidden))
                .collect();
            let found = HeadCount::new(hidden, &log_norms);
            let case = format!("{what}, seed {seed}, {vectors} vectors of {hidden}");
            assert_eq!(found.decided(), None, "{case}: {found:?}");
        }
    }
}

/// Heads that were pruned together must not look like one head of twice the size.
#[test]
fn few_boundaries_do_not_decide() {
    let mut rng = Rng::with_seed(5);
    for shared in [true, false] {
        let mut vectors = planted(&mut rng, 384, 12, 24, 0.0);
        for vector in &mut vectors {
            let shift = if shared {
                -30.0
            } else {
                30.0 * normal(&mut rng)
            };
            vector[128..192].iter_mut().for_each(|x| *x += shift);
        }
        let found = HeadCount::new(384, &vectors);
        assert_eq!(found.decided(), None, "{found:?}");
    }
    // Two and three heads have too few boundaries.
    for heads in [2, 3] {
        let found = HeadCount::new(96, &planted(&mut rng, 96, heads, 24, 20.0));
        assert_eq!(found.decided(), None, "{found:?}");
    }
}

#[test]
fn odd_vectors_are_ignored() {
    let mut rng = Rng::with_seed(2);
    let good = planted(&mut rng, 128, 8, 12, 3.0);
    let expected = HeadCount::new(128, &good);
    assert_eq!(expected.decided(), Some(8));
    let mut odd = good.clone();
    odd.push(vec![f64::NAN; 128]);
    odd.push(vec![f64::NEG_INFINITY; 128]);
    odd.push(vec![1.0; 128]);
    odd.push(vec![1.0; 7]);
    odd.push(Vec::new());
    assert_eq!(HeadCount::new(128, &odd), expected);
    // A unit whose weights are all zero is an outlier like any other.
    let mut zero = good;
    zero[3][17] = f64::NEG_INFINITY;
    assert_eq!(HeadCount::new(128, &zero).decided(), Some(8));

    for hidden in [0, 1, 7, 8, 13, 64] {
        let equal = vec![vec![0.5; hidden]; 4];
        assert_eq!(HeadCount::new(hidden, &equal), HeadCount::NOTHING);
    }
    // A width without norms costs no time.
    assert_eq!(HeadCount::new(usize::MAX, &[]), HeadCount::NOTHING);
    // Blocks of equal weights have no deviation within them.
    let steps = |unit: usize| f64::from(u32::try_from(unit / 16 * 7 % 5).unwrap());
    let exact: Vec<Vec<f64>> = (0..4)
        .map(|shift| (0..128).map(|unit| steps(unit + 16 * shift)).collect())
        .collect();
    assert!(HeadCount::new(128, &exact).margin().is_finite());
}
