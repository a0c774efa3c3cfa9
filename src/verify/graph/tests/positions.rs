//! Positions of chosen tokens in several spellings.

use testkit::graph_writer::Attr;

use super::small::{BATCH, HIDDEN, LENGTH, Model, PLAIN, Parts, lines};

/// Checks the lines about positions.
#[track_caller]
fn positions(spelling: fn(&mut Model, &str) -> String, expected: &[&str]) {
    let parts = Parts {
        head: spelling,
        ..PLAIN
    };
    lines(parts, &["positions", "refused"], expected);
}

/// Adds a number per row to positions, and flattens them.
fn flat_index(m: &mut Model, positions: &str) -> String {
    let [start, end, length] = [m.graph.ints(&[0]), m.graph.ints(&[3]), m.graph.ints(&[8])];
    let rows = m.op("Range", &[&start, &end], &[BATCH]);
    let shift = m.op("Mul", &[&rows, &length], &[BATCH]);
    let axis = m.graph.ints(&[-1]);
    let shift = m.op("ExpandDims", &[&shift, &axis], &[BATCH, 1]);
    let index = m.op("AddV2", &[positions, &shift], &[BATCH, 2]);
    let shape = m.graph.ints(&[-1]);
    m.named("index", "Reshape", &[&index, &shape], &[BATCH * 2])
}

/// Reshapes tokens to `[batch, sequence, hidden]`.
fn rows(m: &mut Model, tokens: &str) -> String {
    let shape = m.graph.ints(&[3, 8, 4]);
    m.op("Reshape", &[tokens, &shape], &[BATCH, LENGTH, HIDDEN])
}

#[test]
fn positions_in_flattened_tokens() {
    positions(
        |m, tokens| {
            let positions = m.input("positions", &[BATCH, 2]);
            let index = flat_index(m, &positions);
            m.op("GatherV2", &[tokens, &index], &[BATCH * 2, HIDDEN])
        },
        &["positions index Reshape [6] Flat 2"],
    );
    positions(
        |m, tokens| {
            let index = m.input("index", &[BATCH * 2, 1]);
            m.op("GatherNd", &[tokens, &index], &[BATCH * 2, HIDDEN])
        },
        &["positions index Placeholder [6, 1] Flat 2"],
    );
}

#[test]
fn positions_in_each_row() {
    positions(
        |m, tokens| {
            let tokens = rows(m, tokens);
            let positions = m.input("positions", &[BATCH, 2]);
            let axis = m.graph.ints(&[1]);
            let attrs = [("batch_dims", Attr::Int(1))];
            let inputs = [tokens.as_str(), &positions, &axis];
            m.with("GatherV2", &inputs, &[BATCH, 2, HIDDEN], &attrs)
        },
        &["positions positions Placeholder [3, 2] PerRow 2"],
    );
    positions(
        |m, tokens| {
            let tokens = rows(m, tokens);
            let pairs = m.input("pairs", &[BATCH, 2, 2]);
            m.op("GatherNd", &[&tokens, &pairs], &[BATCH, 2, HIDDEN])
        },
        &["positions pairs Placeholder [3, 2, 2] Pairs 2"],
    );
    positions(
        |m, tokens| {
            let tokens = rows(m, tokens);
            let positions = m.input("positions", &[BATCH, 2]);
            let depth = m.graph.ints(&[8]);
            let chosen = m.op("OneHot", &[&positions, &depth], &[BATCH, 2, LENGTH]);
            m.op("BatchMatMulV2", &[&chosen, &tokens], &[BATCH, 2, HIDDEN])
        },
        &["positions positions Placeholder [3, 2] PerRow 2"],
    );
}

#[test]
fn positions_that_are_not_fed() {
    // The first token of each row.
    positions(
        |m, tokens| {
            let zeros = m.graph.ints(&[0, 0]);
            let index = flat_index(m, &zeros);
            m.op("GatherV2", &[tokens, &index], &[BATCH * 2, HIDDEN])
        },
        &[],
    );
    // A token that depends on the text.
    positions(
        |m, tokens| {
            let best = m.op("ArgMax", &["ids"], &[BATCH, 2]);
            let index = flat_index(m, &best);
            m.op("GatherV2", &[tokens, &index], &[BATCH * 2, HIDDEN])
        },
        &[],
    );
    // Whole rows.
    positions(
        |m, tokens| {
            let tokens = rows(m, tokens);
            let index = m.input("index", &[2]);
            m.named(
                "chosen",
                "GatherV2",
                &[&tokens, &index],
                &[2, LENGTH, HIDDEN],
            )
        },
        &["refused chosen: a selection from [3, 8, 4] by an index [2]"],
    );
}
