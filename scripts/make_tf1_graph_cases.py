#!/usr/bin/env python3
"""Write tiny BERT-like training graphs with the layers of TensorFlow 1 itself.

    scripts/make_tf1_graph_cases.py crates/tf-graph/tests/data/graphs [CASE...]

Without names of cases it writes all of them. Needs Python 3.7 and
`scripts/requirements-tensorflow1.txt`. The cases are named tf115_* when TensorFlow 1.15 runs the
script, and tf113_* when TensorFlow 1.13 does.

The files are those of `scripts/make_graph_cases.py`, which needs TensorFlow 2, with two differences:
nodes keep attributes that have their default value, and the graphs come from tf.layers,
tf.contrib.layers and tf.nn.dropout instead of raw operations.
"""

import json
import os
import struct
import sys
import zlib
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

VOCABULARY, HIDDEN, HEADS, SEQUENCE, POSITIONS = 12, 8, 2, 6, 7
KEEP = 0.9
VERSION = "tf" + "".join(tf.__version__.split(".")[:2])
SAFETENSORS_TYPES = {"float32": "F32", "int32": "I32"}


def nn_dropout(x, model):
    return tf.nn.dropout(x, keep_prob=KEEP)


def placeholder_dropout(x, model):
    """The keep probability comes from a placeholder, as in code that feeds it."""
    if model.keep is None:
        model.keep = tf.placeholder_with_default(tf.constant(KEEP), [], name="keep_prob")
    return tf.nn.dropout(x, keep_prob=model.keep)


def keras_dropout(x, model):
    """Dropout in a tf.cond on Keras' learning phase, whose default is False."""
    return tf.keras.layers.Dropout(1 - KEEP)(x)


class Bert:
    """One layer on [batch * sequence, hidden] matrices, as Google's BERT code writes it."""

    rank = 2
    partitions = None

    def __init__(self, batch, dropout=None, sequence=SEQUENCE):
        self.batch, self.sequence = batch, sequence
        self.dropout, self.keep = dropout, None

    def inputs(self):
        shape = [self.batch, self.sequence]
        names = ("ids", "mask", "types")
        return [tf.placeholder(tf.int32, shape, name=name) for name in names]

    def build(self):
        """Adds the forward pass and returns the output, [batch, sequence]."""
        self.ids, self.mask, self.types = self.inputs()
        shape = tf.shape(self.ids)
        self.rows = shape[0] if self.batch is None else self.batch
        self.length = shape[1] if self.sequence is None else self.sequence
        x = self.embed()
        bias = self.attention_bias()
        if self.rank == 2:
            x = tf.reshape(x, [-1, HIDDEN])
        x = self.layer(x, bias)
        logits = tf.layers.dense(x, 1, name="head")
        return tf.reshape(logits, [self.rows, self.length], name="logits")

    def dropped(self, x):
        return x if self.dropout is None else self.dropout(x, self)

    def embed(self):
        partitioner = self.partitions and tf.fixed_size_partitioner(self.partitions)
        table = tf.get_variable("word", [VOCABULARY, HIDDEN], partitioner=partitioner)
        words = tf.nn.embedding_lookup(table, self.ids, partition_strategy="div")
        types = tf.one_hot(tf.reshape(self.types, [-1]), 2)
        types = tf.matmul(types, tf.get_variable("type", [2, HIDDEN]))
        x = words + tf.reshape(types, [self.rows, self.length, HIDDEN])
        places = tf.get_variable("place", [POSITIONS, HIDDEN])
        x += tf.expand_dims(tf.slice(places, [0, 0], [self.length, -1]), 0)
        return self.dropped(tf.contrib.layers.layer_norm(x, begin_norm_axis=-1))

    def attention_bias(self):
        """Returns 0 where a token may be attended to and -10000 elsewhere."""
        mask = tf.cast(tf.reshape(self.mask, [self.rows, 1, self.length]), tf.float32)
        mask = tf.ones([self.rows, self.length, 1]) * mask
        return tf.expand_dims((1.0 - mask) * -10000.0, 1)

    def heads(self, x, name):
        x = tf.layers.dense(x, HIDDEN, name=name)
        x = tf.reshape(x, [self.rows, self.length, HEADS, HIDDEN // HEADS])
        return tf.transpose(x, [0, 2, 1, 3])

    def layer(self, x, bias):
        query, key, value = (self.heads(x, name) for name in ("query", "key", "value"))
        scores = tf.matmul(query, key, transpose_b=True) * (HIDDEN // HEADS) ** -0.5
        weights = self.dropped(tf.nn.softmax(scores + bias))
        mixed = tf.transpose(tf.matmul(weights, value), [0, 2, 1, 3])
        shape = [-1, HIDDEN] if self.rank == 2 else [self.rows, self.length, HIDDEN]
        y = tf.layers.dense(tf.reshape(mixed, shape), HIDDEN, name="out")
        x = tf.contrib.layers.layer_norm(x + self.dropped(y), begin_norm_axis=-1)
        y = tf.layers.dense(x, HIDDEN, activation=tf.nn.relu, name="inner")
        return x + self.dropped(tf.layers.dense(y, HIDDEN, name="outer"))


class Rank3(Bert):
    """Activations keep their three dimensions: tf.layers.dense becomes a tensordot."""

    rank = 3


class Partitioned(Bert):
    """The word embeddings are a variable in two parts."""

    partitions = 2


class Resource(Bert):
    """The variables are resources."""

    def build(self):
        with tf.variable_scope("", use_resource=True):
            return super().build()


class Loop(Bert):
    """The graph is the body of a while loop that runs once."""

    def build(self):
        if self.dropout is None:
            return super().build()

        def body(step, _):
            self.inside = super(Loop, self).build()
            return step + 1, self.inside

        start = [tf.constant(0), tf.zeros([self.batch, self.sequence])]
        tf.while_loop(lambda step, _: step < 1, body, start, parallel_iterations=1)
        return self.inside

    def inputs(self):
        with tf.init_scope():
            return super().inputs()


# name: model, static batch of the training graph, rows in the test, dropout, sequence
CASES = {
    "plain": (Bert, 3, 2, nn_dropout, SEQUENCE),
    "batch_is_sequence": (Bert, SEQUENCE, 2, nn_dropout, SEQUENCE),
    "batch_is_heads": (Bert, HEADS, 3, nn_dropout, SEQUENCE),
    "unknown_batch": (Bert, None, 2, nn_dropout, SEQUENCE),
    "unknown_shape": (Rank3, None, 2, nn_dropout, None),
    "rank3": (Rank3, 5, 2, nn_dropout, SEQUENCE),
    "keep_placeholder": (Bert, 3, 2, placeholder_dropout, SEQUENCE),
    "keras_dropout": (Rank3, 5, 2, keras_dropout, SEQUENCE),
    # The lookup of a partitioned table contains a Range over batch * sequence elements, so that the
    # graph takes its own batch only.
    "partitioned": (Partitioned, 3, 3, nn_dropout, SEQUENCE),
    "resource": (Resource, 3, 2, nn_dropout, SEQUENCE),
    "loop": (Loop, 3, 2, nn_dropout, SEQUENCE),
}


def feed_values(rows):
    """Returns values of ids, mask and token types. The last row is padded."""
    random = np.random.RandomState(3)
    ids = random.randint(1, VOCABULARY, (rows, SEQUENCE)).astype(np.int32)
    mask, types = np.ones_like(ids), np.zeros_like(ids)
    ids[-1, 4:] = mask[-1, 4:] = 0
    types[0, 3:] = 1
    return [ids, mask, types]


def variable_values():
    """Returns a value for each variable of the graph, by its name, independent of the others."""
    values = {}
    for variable in tf.global_variables():
        name = variable.op.name
        random = np.random.RandomState(zlib.crc32(name.encode()))
        value = random.normal(0, 0.4, variable.shape.as_list())
        values[name] = (value + (1 if name.endswith("gamma") else 0)).astype(np.float32)
    return values


def meta_graph(graph, output):
    """Returns the bytes of a MetaGraphDef with the ancestors of the output."""
    meta = tf.MetaGraphDef()
    meta.meta_info_def.tensorflow_version = tf.__version__
    definition = graph.as_graph_def(add_shapes=True)
    meta.graph_def.CopyFrom(tf.graph_util.extract_sub_graph(definition, [output.op.name]))
    return meta.SerializeToString(deterministic=True)


def save_tensors(path, tensors, metadata):
    header, data = {"__metadata__": metadata}, b""
    for name in sorted(tensors):
        value = np.ascontiguousarray(tensors[name])
        header[name] = {
            "dtype": SAFETENSORS_TYPES[value.dtype.name],
            "shape": list(value.shape),
            "data_offsets": [len(data), len(data) + value.nbytes],
        }
        data += value.tobytes()
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_case(folder, name, case):
    model_class, batch_from, batch_to, dropout, sequence = case
    tf.keras.backend.clear_session()
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(1)
        model = model_class(batch_from, dropout, sequence)
        output = model.build()
        variables = variable_values()
        feed_names = [tensor.name for tensor in (model.ids, model.mask, model.types)]
        (folder / (name + ".meta")).write_bytes(meta_graph(graph, output))

    with tf.Graph().as_default():
        reference = model_class(batch_to)
        result = reference.build()
        feeds = dict(zip([reference.ids, reference.mask, reference.types], feed_values(batch_to)))
        with tf.Session() as session:
            for variable in tf.global_variables():
                variable.load(variables[variable.op.name], session)
            expected = session.run(result, feeds)

    tensors = {"variable/" + key: value for key, value in variables.items()}
    for key, value in zip(feed_names, feed_values(batch_to)):
        tensors["feed/" + key] = value
    tensors["expected/" + output.name] = expected
    metadata = {
        "batch_from": "" if batch_from is None else str(batch_from),
        "batch_to": str(batch_to),
        "refused": "false",
    }
    save_tensors(folder / (name + ".safetensors"), tensors, metadata)


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    names = sys.argv[2:] or list(CASES)
    for name in names:
        write_case(folder, "{}_{}".format(VERSION, name), CASES[name])
    print("{} graphs".format(len(names)))


if __name__ == "__main__":
    main()
