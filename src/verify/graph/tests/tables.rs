//! Lookups in the tables of embeddings.

use testkit::graph_writer::Attr;

use super::small::{ALL, BATCH, HIDDEN, LENGTH, Model, PLAIN, Parts, lines};

const ROWS: &[i64] = &[BATCH, LENGTH];
const TOKENS: &[i64] = &[ALL, HIDDEN];

/// Checks what is fed to the lookups.
#[track_caller]
fn fed(embed: fn(&mut Model, &str) -> String, expected: &[&str]) {
    let parts = Parts { embed, ..PLAIN };
    lines(
        parts,
        &["ids", "types", "position_ids", "refused"],
        expected,
    );
}

const IDS: &str = "ids ids Placeholder [3, 8]";

/// Adds a lookup with a one-hot matrix to tokens.
fn one_hot(m: &mut Model, tokens: &str, table: &str, index: &str) -> String {
    let depth = m.graph.ints(&[2]);
    let matrix = m.op("OneHot", &[index, &depth], &[ALL, 2]);
    let table = m.graph.variable(table);
    let rows = m.op("MatMul", &[&matrix, &table], TOKENS);
    m.op("AddV2", &[tokens, &rows], TOKENS)
}

#[test]
fn types_by_a_one_hot_matrix() {
    fed(
        |m, words| {
            let types = m.input("types", ROWS);
            let index = m.flat(&types);
            one_hot(m, words, "electra/embeddings/token_type_embeddings", &index)
        },
        &[IDS, "types types Placeholder [3, 8]"],
    );
    // As `tf.zeros_like` of the ids.
    fed(
        |m, words| {
            let types = m.named("zeros", "ZerosLike", &["ids"], ROWS);
            let index = m.flat(&types);
            one_hot(m, words, "electra/embeddings/token_type_embeddings", &index)
        },
        &[IDS, "types zeros ZerosLike [3, 8]"],
    );
    // Constant, and for all tokens at once.
    fed(
        |m, words| {
            let index = m.graph.ints(&[0]);
            one_hot(m, words, "electra/embeddings/token_type_embeddings", &index)
        },
        &[IDS],
    );
    fed(
        |m, words| {
            let index = m.input("flat", &[ALL]);
            one_hot(m, words, "electra/embeddings/token_type_embeddings", &index)
        },
        &[
            "refused flat: no tensor [batch, sequence] was found between the lookup and this Placeholder",
        ],
    );
}

/// Adds a lookup of position embeddings to words.
fn positions(m: &mut Model, words: &str, index: &str) -> String {
    let table = m.graph.variable("electra/embeddings/position_embeddings");
    let rows = m.op("GatherV2", &[&table, index], &[BATCH, LENGTH, HIDDEN]);
    let shape = m.graph.ints(&[24, 4]);
    let rows = m.op("Reshape", &[&rows, &shape], TOKENS);
    m.op("AddV2", &[words, &rows], TOKENS)
}

#[test]
fn position_ids() {
    fed(
        |m, words| {
            let ids = m.input("positions", ROWS);
            positions(m, words, &ids)
        },
        &[IDS, "position_ids positions Placeholder [3, 8]"],
    );
    // A range that only depends on the shape of the ids.
    fed(
        |m, words| {
            let shape = m.op("Shape", &["ids"], &[2]);
            let [start, step] = [m.graph.ints(&[0]), m.graph.ints(&[1])];
            let range = m.op("Range", &[&start, &shape, &step], &[LENGTH]);
            positions(m, words, &range)
        },
        &[IDS],
    );
}

#[test]
fn the_output_layer_is_no_lookup() {
    fed(
        |m, words| {
            let table = "electra/embeddings/word_embeddings";
            let attrs = [("transpose_b", Attr::True)];
            let scores = m.with("MatMul", &[words, table], &[ALL, 100], &attrs);
            m.op("MatMul", &[&scores, table], TOKENS)
        },
        &[IDS],
    );
}

#[test]
fn two_lookups_of_words() {
    // A graph that reads two texts.
    fed(
        |m, words| {
            let others = m.input("others", ROWS);
            let index = m.flat(&others);
            let table = "electra/embeddings/word_embeddings";
            let rows = m.op("GatherV2", &[table, &index], TOKENS);
            m.op("AddV2", &[words, &rows], TOKENS)
        },
        &[IDS, "ids others Placeholder [3, 8]"],
    );
    // A lookup that the output does not depend on, and whose ids are not found.
    fed(
        |m, words| {
            let index = m.input("elsewhere", &[ALL]);
            m.op(
                "GatherV2",
                &["electra/embeddings/word_embeddings", &index],
                TOKENS,
            );
            words.to_owned()
        },
        &[IDS],
    );
    fed(
        |m, words| {
            let others = m.input("others", &[2, LENGTH]);
            let table = "electra/embeddings/word_embeddings";
            let rows = m.op("GatherV2", &[table, &others], &[2, LENGTH, HIDDEN]);
            m.op("AddV2", &[words, &rows], TOKENS)
        },
        &["refused others: token ids have sizes 3 and 2 in one model"],
    );
}
