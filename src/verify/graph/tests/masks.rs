//! Attention masks in several spellings.

use testkit::graph_writer::Attr;

use super::small::{BATCH, LENGTH, Model, PLAIN, Parts, lines};

const ROWS: &[i64] = &[BATCH, LENGTH];
const PAIRS: &[i64] = &[BATCH, LENGTH, LENGTH];
const SCORES: &[i64] = &[BATCH, 1, LENGTH, LENGTH];

/// Checks the lines about masks.
#[track_caller]
fn mask(spelling: fn(&mut Model, &str) -> String, expected: &[&str]) {
    let parts = Parts {
        mask: spelling,
        ..PLAIN
    };
    lines(parts, &["mask", "unmasked", "refused"], expected);
}

#[test]
fn masks_are_fed_at_their_source() {
    mask(
        |m, scores| {
            let mask = m.input("mask", ROWS);
            let keys = m.keys(&mask);
            m.masked(scores, &keys, &[BATCH, 1, 1, LENGTH])
        },
        &["mask mask Placeholder [3, 8] Rows 1=attended"],
    );
    // The penalty is computed for [batch, sequence].
    mask(
        |m, scores| {
            let mask = m.input("mask", ROWS);
            let [zero, penalty] = [m.graph.float(0.0), m.graph.float(-1e9)];
            let padding = m.named("padding", "Equal", &[&mask, &zero], ROWS);
            let penalty = m.op("SelectV2", &[&padding, &penalty, &zero], ROWS);
            let keys = m.keys(&penalty);
            m.op("AddV2", &[scores, &keys], SCORES)
        },
        &["mask padding Equal [3, 8] Rows 1=padding"],
    );
    // A small number is added after the mask.
    mask(
        |m, scores| {
            let mask = m.input("mask", ROWS);
            let keys = m.keys(&mask);
            let masked = m.masked(scores, &keys, &[BATCH, 1, 1, LENGTH]);
            let small = m.graph.float(1e-9);
            m.op("AddV2", &[&masked, &small], SCORES)
        },
        &["mask mask Placeholder [3, 8] Rows 1=attended"],
    );
}

#[test]
fn masks_of_padding() {
    mask(
        |m, scores| {
            let mask = m.input("padding", ROWS);
            let keys = m.keys(&mask);
            let factor = m.graph.float(-10_000.0);
            let penalty = m.op("Mul", &[&keys, &factor], &[BATCH, 1, 1, LENGTH]);
            m.op("AddV2", &[scores, &penalty], SCORES)
        },
        &["mask padding Placeholder [3, 8] Rows 1=padding"],
    );
    // A condition selects scores.
    mask(
        |m, scores| {
            let mask = m.input("mask", ROWS);
            let keys = m.keys(&mask);
            let attended = m.op("Cast", &[&keys], &[BATCH, 1, 1, LENGTH]);
            let penalty = m.graph.float(f32::NEG_INFINITY);
            m.op("SelectV2", &[&attended, scores, &penalty], SCORES)
        },
        &["mask mask Placeholder [3, 8] Rows 1=attended"],
    );
}

#[test]
fn masks_of_queries_and_keys() {
    mask(
        |m, scores| {
            let mask = m.input("mask", ROWS);
            let [to, from] = [[BATCH, 1, LENGTH], [BATCH, LENGTH, 1]].map(|axes| {
                let shape = m.graph.ints(&axes.map(|axis| i32::try_from(axis).unwrap()));
                m.op("Reshape", &[&mask, &shape], &axes)
            });
            let pairs = m.op("Mul", &[&from, &to], &[BATCH, LENGTH, LENGTH]);
            m.masked(scores, &pairs, &[BATCH, LENGTH, LENGTH])
        },
        &["mask mask Placeholder [3, 8] Rows 1=attended"],
    );
    mask(
        |m, scores| {
            let mask = m.input("mask", &[BATCH, 1, 1, LENGTH]);
            m.masked(scores, &mask, &[BATCH, 1, 1, LENGTH])
        },
        &["mask mask Placeholder [3, 1, 1, 8] Keys 1=attended"],
    );
    mask(
        |m, scores| {
            let mask = m.input("mask", &[BATCH, LENGTH, LENGTH]);
            m.masked(scores, &mask, &[BATCH, LENGTH, LENGTH])
        },
        &["mask mask Placeholder [3, 8, 8] Pairs 1=attended"],
    );
    mask(
        |m, scores| {
            let iterator = m.op("IteratorV2", &[], &[]);
            let mask = m.named("mask", "IteratorGetNext", &[&iterator], PAIRS);
            m.masked(scores, &mask, PAIRS)
        },
        &["mask mask IteratorGetNext [3, 8, 8] Pairs 1=attended"],
    );
}

#[test]
fn attention_without_a_mask_to_feed() {
    mask(|_, scores| scores.to_owned(), &["unmasked attention"]);
    mask(
        |m, scores| {
            let [shape, one] = [m.graph.ints(&[3, 8]), m.graph.ints(&[1])];
            let mask = m.op("Fill", &[&shape, &one], ROWS);
            let keys = m.keys(&mask);
            m.masked(scores, &keys, &[BATCH, 1, 1, LENGTH])
        },
        &["unmasked attention"],
    );
    // Computed from the ids.
    mask(
        |m, scores| {
            let zero = m.graph.ints(&[0]);
            let mask = m.op("NotEqual", &["ids", &zero], ROWS);
            let keys = m.keys(&mask);
            m.masked(scores, &keys, &[BATCH, 1, 1, LENGTH])
        },
        &[],
    );
}

#[test]
fn masks_that_are_not_understood() {
    // An operand that the graph reads, with values as they are added.
    mask(
        |m, scores| {
            let penalty = m.input("penalty", ROWS);
            let keys = m.keys(&penalty);
            m.named("sum", "AddV2", &[scores, &keys], SCORES)
        },
        &["refused sum: penalty does not switch off scores here, neither with 0 nor with 1"],
    );
    mask(
        |m, scores| {
            let mask = m.input("mask", ROWS);
            let keys = m.keys(&mask);
            let odd = m.named("odd", "Bessel", &[&keys], &[BATCH, 1, 1, LENGTH]);
            m.op("AddV2", &[scores, &odd], SCORES)
        },
        &["refused odd: Bessel between the mask mask and the scores is not known"],
    );
    mask(
        |m, scores| {
            let mask = m.input("mask", &[7, 5]);
            m.op("AddV2", &[scores, &mask], SCORES)
        },
        &["refused mask: an attention mask of shape [7, 5]"],
    );
}

#[test]
fn masks_with_new_axes() {
    mask(
        |m, scores| {
            let mask = m.input("mask", &[-1, -1]);
            let [begin, end, strides] =
                [[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]].map(|axes| m.graph.ints(&axes));
            let attrs = [
                ("new_axis_mask", Attr::Int(6)),
                ("begin_mask", Attr::Int(9)),
                ("end_mask", Attr::Int(9)),
            ];
            let keys = m.with(
                "StridedSlice",
                &[&mask, &begin, &end, &strides],
                &[-1, 1, 1, -1],
                &attrs,
            );
            m.masked(scores, &keys, &[-1, 1, 1, -1])
        },
        &["mask mask Placeholder [-1, -1] Rows 1=attended"],
    );
    mask(
        |m, scores| {
            let mask = m.input("mask", ROWS);
            let [shape, one] = [m.graph.ints(&[3, 8]), m.graph.float(1.0)];
            let ones = m.op("Fill", &[&shape, &one], ROWS);
            let attrs = [("equation", Attr::Text("bf,bt->bft"))];
            let pairs = m.with("Einsum", &[&ones, &mask], &[BATCH, LENGTH, LENGTH], &attrs);
            m.masked(scores, &pairs, &[BATCH, LENGTH, LENGTH])
        },
        &["mask mask Placeholder [3, 8] Rows 1=attended"],
    );
}

#[test]
fn masks_of_lengths() {
    mask(
        |m, scores| {
            let lengths = m.input("lengths", &[BATCH, 1]);
            let [start, end, step] = [0, 8, 1].map(|n| m.graph.ints(&[n]));
            let range = m.op("Range", &[&start, &end, &step], &[LENGTH]);
            let mask = m.named("below", "Less", &[&range, &lengths], ROWS);
            let keys = m.keys(&mask);
            m.masked(scores, &keys, &[BATCH, 1, 1, LENGTH])
        },
        &["mask below Less [3, 8] Rows 1=attended"],
    );
}

#[test]
fn masks_that_multiply_and_add() {
    mask(
        |m, scores| {
            let mask = m.input("mask", ROWS);
            let keys = m.keys(&mask);
            let kept = m.op("Mul", &[scores, &keys], SCORES);
            m.masked(&kept, &keys, &[BATCH, 1, 1, LENGTH])
        },
        &["mask mask Placeholder [3, 8] Rows 1=attended"],
    );
}

#[test]
fn masks_behind_a_conditional() {
    mask(
        |m, scores| {
            let mask = m.input("mask", ROWS);
            let training = m.input("training", &[]);
            m.named("switch", "Switch", &[&mask, &training], ROWS);
            let merged = m.named("merged", "Merge", &["switch", "switch:1"], ROWS);
            let keys = m.keys(&merged);
            m.masked(scores, &keys, &[BATCH, 1, 1, LENGTH])
        },
        &["mask merged Merge [3, 8] Rows 1=attended"],
    );
}

#[test]
fn masks_of_data_and_ids() {
    mask(
        |m, scores| {
            let mask = m.input("mask", ROWS);
            let zero = m.graph.ints(&[0]);
            let words = m.op("NotEqual", &["ids", &zero], ROWS);
            let both = m.named("both", "LogicalAnd", &[&words, &mask], ROWS);
            let keys = m.keys(&both);
            m.masked(scores, &keys, &[BATCH, 1, 1, LENGTH])
        },
        &["mask both LogicalAnd [3, 8] Rows 1=attended"],
    );
}
