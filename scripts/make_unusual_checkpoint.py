#!/usr/bin/env python3
"""Writes archives with checkpoints whose training graphs compute ELECTRA in an unusual way.

Attention heads are cut out by slices of columns and joined again, and LayerNorm computes the variance as
E[x^2] - E[x]^2: no rule of electra-convert reads head count or epsilon from such a graph, so that it
has to evaluate the graph. `split_heads` does nothing else. `padding_id_1` and `padding_id_39` compute the mask from
the ids, where 1 or 39 is padding, `selected_mask` selects the mask's values with Select, and `one_type` gives all
tokens the same type: these are ELECTRAs, too. The others compute what no Hugging Face class does. TensorFlow 2.15 (scripts/requirements-tensorflow.txt).

usage: make_unusual_checkpoint.py FOLDER
"""
import os
import sys
import tempfile
import zipfile

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow.compat.v1 as tf

VOCABULARY, HIDDEN, INNER, LAYERS, HEADS = 40, 32, 48, 2, 4
BATCH, LENGTH, EPSILON = 3, 10, 1e-5
VARIANTS = [
    "split_heads",
    "padding_id_1",
    "padding_id_39",
    "selected_mask",
    "one_type",
    "causal",
    "halved_residual",
    "scaled_embeddings",
]
variant = ""


def variable(name, shape):
    rng = np.random.default_rng(sum(name.encode()))
    centre = 1.0 if name == "gamma" else 0.0
    value = (centre + 0.4 * rng.standard_normal(shape)).astype(np.float32)
    return tf.get_variable(name, initializer=value)


def dense(x, width, name):
    with tf.variable_scope(name):
        kernel = variable("kernel", [x.shape[-1], width])
        rows = tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), kernel)
        rows = tf.nn.bias_add(rows, variable("bias", [width]))
        return tf.reshape(rows, [BATCH, LENGTH, width])


def layer_norm(x):
    with tf.variable_scope("LayerNorm"):
        beta, gamma = variable("beta", [x.shape[-1]]), variable("gamma", [x.shape[-1]])
        mean = tf.reduce_mean(x, -1, keepdims=True)
        variance = tf.reduce_mean(x * x, -1, keepdims=True) - mean * mean
        return (x - mean) / tf.sqrt(variance + EPSILON) * gamma + beta


def gelu(x):
    return x * 0.5 * (1.0 + tf.math.erf(x / np.float32(np.sqrt(2.0))))


def dropout(x):
    return tf.nn.dropout(x, rate=0.1)


def attention(x, mask):
    with tf.variable_scope("self"):
        query, key, value = (dense(x, HIDDEN, name) for name in ("query", "key", "value"))
    size = HIDDEN // HEADS
    heads = []
    for head in range(HEADS):
        columns = slice(head * size, (head + 1) * size)
        scores = tf.matmul(query[..., columns], key[..., columns], transpose_b=True)
        scores = scores / np.float32(np.sqrt(size)) + mask
        if variant == "causal":
            scores -= np.triu(np.full([LENGTH, LENGTH], 10000, np.float32), 1)
        heads.append(tf.matmul(dropout(tf.nn.softmax(scores)), value[..., columns]))
    with tf.variable_scope("output"):
        return layer_norm(x + dropout(dense(tf.concat(heads, -1), HIDDEN, "dense")))


def layer(x, mask):
    with tf.variable_scope("attention"):
        x = attention(x, mask)
    with tf.variable_scope("intermediate"):
        inner = gelu(dense(x, INNER, "dense"))
    with tf.variable_scope("output"):
        kept = 0.5 * x if variant == "halved_residual" else x
        return layer_norm(kept + dropout(dense(inner, HIDDEN, "dense")))


def build():
    ids, mask, types = (
        tf.placeholder(tf.int32, [BATCH, LENGTH], name) for name in ("ids", "mask", "types")
    )
    with tf.variable_scope("electra"):
        with tf.variable_scope("embeddings"):
            words = variable("word_embeddings", [VOCABULARY, HIDDEN])
            kinds = variable("token_type_embeddings", [2, HIDDEN])
            positions = variable("position_embeddings", [16, HIDDEN])
            scale = np.float32(np.sqrt(HIDDEN)) if variant == "scaled_embeddings" else 1
            if variant == "one_type":
                types = tf.constant([0])
            if variant.startswith("padding_id_"):
                mask = tf.not_equal(ids, int(variant[len("padding_id_") :]))
            x = tf.gather(words, ids) * scale + tf.gather(kinds, types)
            x = dropout(layer_norm(x + positions[:LENGTH]))
        added = -10000.0 * (1.0 - tf.cast(mask, tf.float32))[:, tf.newaxis, :]
        if variant == "selected_mask":
            full = tf.tile(tf.cast(mask, tf.bool)[:, tf.newaxis, :], [1, LENGTH, 1])
            zeros = tf.zeros([BATCH, LENGTH, LENGTH])
            added = tf.where(full, zeros, zeros - 10000.0)
        for number in range(LAYERS):
            with tf.variable_scope(f"encoder/layer_{number}"):
                x = layer(x, added)
    with tf.variable_scope("discriminator_predictions"):
        logits = dense(gelu(dense(x, HIDDEN, "dense")), 1, "dense_1")
    tf.squeeze(logits, -1, name="logits")


def write(path):
    with tempfile.TemporaryDirectory() as folder, tf.Graph().as_default(), tf.Session() as session:
        build()
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, os.path.join(folder, "model.ckpt"), write_state=False)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted(os.listdir(folder)):
                with open(os.path.join(folder, name), "rb") as file:
                    archive.writestr(zipfile.ZipInfo(name), file.read(), zipfile.ZIP_DEFLATED)


def main(folder):
    global variant
    tf.disable_v2_behavior()
    tf.disable_resource_variables()
    os.makedirs(folder, exist_ok=True)
    for variant in VARIANTS:
        write(os.path.join(folder, f"{variant}.zip"))


if __name__ == "__main__":
    main(*sys.argv[1:])
