//! Graphs that no training writes.

use super::small::{ALL, BATCH, HIDDEN, LENGTH, Model, PLAIN, Parts, boundary, of};

#[test]
fn cycles() {
    let text = boundary(Parts {
        ids: |m| {
            m.named("a", "Identity", &["b"], &[ALL]);
            m.named("b", "Identity", &["a"], &[ALL])
        },
        ..PLAIN
    });
    assert!(text.starts_with("refused "), "{text}");
    let text = boundary(Parts {
        mask: |m, scores| {
            let shape = [BATCH, 1, LENGTH, LENGTH];
            let mask = m.input("mask", &[BATCH, LENGTH]);
            m.named("c", "AddV2", &["d", &mask], &[BATCH, LENGTH]);
            m.named("d", "AddV2", &["c", &mask], &[BATCH, LENGTH]);
            m.op("AddV2", &[scores, "d"], &shape)
        },
        head: |m, tokens| {
            m.named("e", "AddV2", &["e", tokens], &[ALL, HIDDEN]);
            m.named("f", "Merge", &["f", "e"], &[ALL, HIDDEN])
        },
        ..PLAIN
    });
    assert!(text.starts_with("refused "), "{text}");
}

#[test]
fn missing_inputs() {
    let text = boundary(Parts {
        ids: |m| m.op("Reshape", &["nowhere"], &[ALL]),
        mask: |m, scores| m.op("AddV2", &[scores, "nowhere"], &[BATCH, 1, LENGTH, LENGTH]),
        head: |m, tokens| m.op("GatherV2", &[tokens, "nowhere"], &[ALL, HIDDEN]),
        ..PLAIN
    });
    assert!(text.starts_with("refused 1: "), "{text}");
    let mut empty = Model::default();
    empty.input("ids", &[BATCH, LENGTH]);
    let text = of(&empty);
    assert!(text.starts_with("refused : no node adds "), "{text}");
}

#[test]
fn thousands_of_lookups() {
    let text = boundary(Parts {
        ids: |m| {
            let ids = m.ids();
            for _ in 0..5_000 {
                let inputs = ["electra/embeddings/word_embeddings", &ids];
                m.op("GatherV2", &inputs, &[ALL, HIDDEN]);
            }
            ids
        },
        ..PLAIN
    });
    assert!(text.contains("more than 4096 lookups"), "{text}");
}

#[test]
fn many_masks() {
    let text = boundary(Parts {
        mask: |m, scores| {
            let mut scores = scores.to_owned();
            for count in 0..30 {
                let mask = m.input(&format!("mask_{count}"), &[BATCH, LENGTH]);
                scores = m.masked(&scores, &mask, &[BATCH, LENGTH]);
            }
            scores
        },
        ..PLAIN
    });
    assert!(text.contains("more than 16 attention masks"), "{text}");
}

#[test]
fn a_deep_graph() {
    let text = boundary(Parts {
        head: |m, tokens| {
            let mut tokens = tokens.to_owned();
            for _ in 0..50_000 {
                tokens = m.op("Tanh", &[&tokens], &[ALL, HIDDEN]);
            }
            tokens
        },
        ..PLAIN
    });
    assert!(text.starts_with("output logits "), "{text}");
}
