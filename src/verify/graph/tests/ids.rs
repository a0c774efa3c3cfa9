//! Ids in several spellings.

use super::small::{ALL, BATCH, LENGTH, Model, PLAIN, Parts, lines};

const ROWS: &[i64] = &[BATCH, LENGTH];

/// Checks the lines about ids.
#[track_caller]
fn ids(spelling: fn(&mut Model) -> String, expected: &[&str]) {
    let parts = Parts {
        ids: spelling,
        ..PLAIN
    };
    lines(parts, &["ids", "batch", "refused"], expected);
}

#[test]
fn ids_behind_changes_of_shape() {
    ids(Model::ids, &["ids ids Placeholder [3, 8]", "batch 3 x 8"]);
    ids(
        |m| {
            let ids = m.input("ids", ROWS);
            let axis = m.graph.ints(&[-1]);
            let cast = m.named("cast", "Cast", &[&ids], ROWS);
            let column = m.op("ExpandDims", &[&cast, &axis], &[BATCH, LENGTH, 1]);
            m.flat(&column)
        },
        &["ids cast Cast [3, 8]", "batch 3 x 8"],
    );
    ids(
        |m| {
            let ids = m.input("ids", &[-1, -1]);
            m.flat(&ids)
        },
        &["ids ids Placeholder [-1, -1]", "batch any x any"],
    );
    ids(
        |m| {
            m.graph.named("ids", "Placeholder", &[], &[]);
            m.flat("ids")
        },
        &["ids ids Placeholder [...]", "batch any x any"],
    );
    ids(
        |m| {
            let iterator = m.op("IteratorV2", &[], &[]);
            m.graph.named("ids", "IteratorGetNext", &[&iterator], &[]);
            m.flat("ids")
        },
        &["ids ids IteratorGetNext [...]", "batch any x any"],
    );
}

#[test]
fn ids_of_sequences_along_the_first_axis() {
    ids(
        |m| {
            let ids = m.input("ids", ROWS);
            let permutation = m.graph.ints(&[1, 0]);
            let turned = m.op("Transpose", &[&ids, &permutation], &[LENGTH, BATCH]);
            m.flat(&turned)
        },
        &["ids ids Placeholder [3, 8]", "batch 3 x 8"],
    );
}

#[test]
fn ids_that_are_computed() {
    ids(
        |m| {
            let input = m.input("input", ROWS);
            let sampled = m.op("ArgMax", &[&input], ROWS);
            let ids = m.named("sampled", "StopGradient", &[&sampled], ROWS);
            m.flat(&ids)
        },
        &["ids sampled StopGradient [3, 8]", "batch 3 x 8"],
    );
    ids(
        |m| m.named("flat", "Placeholder", &[], &[ALL]),
        &[
            "refused flat: no tensor [batch, sequence] was found between the lookup and this Placeholder",
        ],
    );
}
