//! Several nodes that may be the output.

use super::small::{ALL, BATCH, BIAS, HIDDEN, LENGTH, Model, PLAIN, Parts, lines};

#[test]
fn an_optimizer_is_no_output() {
    let parts = Parts {
        ids: |m| {
            // Momentum of the bias, before the model in the file.
            let update = m.input("update", &[1]);
            m.op("AddV2", &[BIAS, &update], &[1]);
            m.ids()
        },
        ..PLAIN
    };
    lines(
        parts,
        &["output", "refused"],
        &["output logits BiasAdd [24, 1]"],
    );
}

#[test]
fn a_copy_on_other_inputs_is_no_output() {
    let parts = Parts {
        ids: |m| {
            let features = m.input("features", &[ALL, HIDDEN]);
            let kernel = "discriminator_predictions/dense_1/kernel";
            let product = m.op("MatMul", &[&features, kernel], &[ALL, 1]);
            m.named("other", "BiasAdd", &[&product, BIAS], &[ALL, 1]);
            m.ids()
        },
        ..PLAIN
    };
    lines(
        parts,
        &["output", "refused"],
        &["output logits BiasAdd [24, 1]"],
    );
}

#[test]
fn an_output_of_another_model_is_refused() {
    let parts = Parts {
        embed: |m, _| m.input("features", &[ALL, HIDDEN]),
        mask: |m, scores| {
            m.input("mask", &[BATCH, LENGTH]);
            scores.to_owned()
        },
        ..PLAIN
    };
    let expected = "refused : no node that adds discriminator_predictions/dense_1/bias depends on a lookup of \
                    electra/embeddings/word_embeddings";
    lines(parts, &["output", "refused"], &[expected]);
}

/// The dependence of an output is by value: the shape of the ids does not count.
#[test]
fn the_shape_of_ids_is_no_dependence() {
    let parts = Parts {
        embed: |m: &mut Model, words| m.op("ZerosLike", &[words], &[ALL, HIDDEN]),
        ..PLAIN
    };
    let expected = "refused : no node that adds discriminator_predictions/dense_1/bias depends on a lookup of \
                    electra/embeddings/word_embeddings";
    lines(parts, &["output", "refused"], &[expected]);
}
