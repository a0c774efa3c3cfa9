#!/usr/bin/env python3
"""Write tiny BERT-like training graphs, and what they compute with dropout off and another batch.

    scripts/make_graph_cases.py crates/tf-graph/tests/data/graphs

Needs TensorFlow 2.15: `pip install tensorflow-cpu==2.15.1 safetensors`.

Each case is two files. NAME.meta is a MetaGraphDef with the ancestors of the output.
NAME.safetensors holds:
- variable/NODE: the value of each variable;
- feed/NODE:OUTPUT: the value of each input, `batch_to` rows;
- expected/NODE:OUTPUT: the value of the output, from a graph that was built without dropout and
  with a batch of `batch_to` rows;
- metadata: `batch_from`, the static batch of the graph (empty if unknown); `batch_to`; and
  `refused`, "true" if dropout cannot be removed from the graph.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import graph_files  # isort: skip (before tensorflow)
import numpy as np
import tensorflow as tf
import tiny_bert
from tiny_bert import SEQUENCE, VOCABULARY, Bert, ops

RATE, KEEP = 0.1, 0.9


@dataclass
class Case:
    """A training graph and the batch with which it is evaluated."""

    model: type = Bert
    batch_from: int | None = 3
    batch_to: int = 2
    sequence: int | None = SEQUENCE
    dropout: object = None
    wrapper: object = None
    functional: bool = False
    refused: bool = False


def uniform(model, x):
    return ops.RandomUniform(shape=ops.Shape(input=x), dtype=tf.float32, seed=7)


def kept(model, x, random=None):
    random = uniform(model, x) if random is None else random
    return ops.GreaterEqual(x=random, y=model.number(RATE))


def as_float(x):
    return ops.Cast(x=x, DstT=tf.float32)


def dropout_2x(model, x):
    """TensorFlow 2: where(random >= rate, x * scale, 0)."""
    scaled = ops.Mul(x=x, y=model.number(1 / KEEP))
    return ops.SelectV2(condition=kept(model, x), t=scaled, e=model.number(0))


def dropout_115(model, x):
    """TensorFlow 1.15: x * scale * cast(random >= rate)."""
    scaled = ops.Mul(x=x, y=model.number(1 / KEEP))
    return ops.Mul(x=scaled, y=as_float(kept(model, x)))


def dropout_112(model, x, keep=None):
    """TensorFlow 1.12 and older: x / keep * floor(keep + random)."""
    keep = model.number(KEEP) if keep is None else keep
    floor = ops.Floor(x=ops.Add(x=keep, y=uniform(model, x)))
    return ops.Mul(x=ops.RealDiv(x=x, y=keep), y=floor)


def dropout_scaled_mask(model, x):
    """x * (mask / keep)."""
    mask = ops.RealDiv(x=as_float(kept(model, x)), y=model.number(KEEP))
    return ops.Mul(x=x, y=mask)


def dropout_stateless(model, x):
    """Stateless random numbers: the old operation on attention weights, the new one elsewhere."""
    shape, seed = ops.Shape(input=x), model.constant([1, 2])
    if x.shape.rank == 4:
        random = ops.StatelessRandomUniform(shape=shape, seed=seed)
    else:
        key, counter = ops.StatelessRandomGetKeyCounter(seed=seed)
        random = ops.StatelessRandomUniformV2(
            shape=shape, key=key, counter=counter, alg=model.constant(1)
        )
    scaled = ops.Mul(x=x, y=model.number(1 / KEEP))
    return ops.SelectV2(condition=kept(model, x, random), t=scaled, e=model.number(0))


def once(model, name, default, dtype):
    """Returns the PlaceholderWithDefault of the model."""
    if not hasattr(model, name):
        default = model.constant(default, dtype)
        node = ops.PlaceholderWithDefault(input=default, shape=[], name=name)
        setattr(model, name, node)
    return getattr(model, name)


def dropout_placeholder(model, x):
    return dropout_112(model, x, once(model, "keep_prob", KEEP, np.float32))


def dropout_phase(model, x):
    """Keras: dropout in a branch that the default of a placeholder does not take."""
    phase = once(model, "phase", False, bool)
    return tf.cond(phase, lambda: dropout_115(model, x), lambda: tf.identity(x))


def dropout_phase_true(model, x):
    """As dropout_phase, but the default takes the branch with dropout."""
    phase = once(model, "phase", True, bool)
    return tf.cond(phase, lambda: dropout_115(model, x), lambda: tf.identity(x))


def dropout_unscaled(model, x):
    return ops.Mul(x=x, y=as_float(kept(model, x)))


def gaussian_noise(model, x):
    noise = ops.RandomStandardNormal(shape=ops.Shape(input=x), dtype=tf.float32, seed=7)
    return ops.AddV2(x=x, y=ops.Mul(x=noise, y=model.number(0.1)))


def no_dropout(model, x):
    return x


class LayerDrop(Bert):
    """A random number decides whether a layer is skipped."""

    layer_count = 2

    def layer(self, x, bias):
        after = super().layer(x, bias)
        if self.dropout is None:
            return after
        random = ops.RandomUniform(shape=self.shape(), dtype=tf.float32, seed=7)
        return ops.SelectV2(condition=kept(self, x, random), t=after, e=x)


class DropConnect(Bert):
    """Dropout on a kernel, which is no function of the inputs."""

    def layer(self, x, bias):
        if self.dropout is not None:
            kernel = self.variable("out/w", tiny_bert.HIDDEN, tiny_bert.HIDDEN)
            self.reads["out/w"] = dropout_2x(self, kernel)
        return super().layer(x, bias)


def loop(model):
    """Adds a while loop whose body is the model and runs once. Returns its result.

    The output inside the loop is model.inside.
    """

    def body(step, _):
        model.inside = model.build()
        return step + 1, model.inside

    start = [tf.constant(0), tf.zeros([model.batch, model.sequence])]
    return tf.compat.v1.while_loop(lambda step, _: step < 1, body, start, parallel_iterations=1)[1]


def inside_loop(model):
    loop(model)
    return model.inside


CASES = {
    "dropout_2x": Case(dropout=dropout_2x),
    "dropout_115": Case(dropout=dropout_115),
    "dropout_112": Case(dropout=dropout_112),
    "dropout_scaled_mask": Case(dropout=dropout_scaled_mask),
    "dropout_stateless": Case(dropout=dropout_stateless),
    "dropout_placeholder": Case(dropout=dropout_placeholder),
    "dropout_cond": Case(dropout=dropout_phase),
    "dropout_cond_true": Case(dropout=dropout_phase_true),
    "dropout_if": Case(dropout=dropout_phase_true, functional=True),
    "dropout_in_loop": Case(dropout=dropout_115, wrapper=inside_loop),
    "dropout_functional_while": Case(dropout=dropout_2x, wrapper=loop, functional=True),
    "refused_unscaled": Case(dropout=dropout_unscaled, refused=True),
    "refused_gaussian": Case(dropout=gaussian_noise, refused=True),
    "refused_layer_drop": Case(LayerDrop, dropout=no_dropout, refused=True),
    "refused_drop_connect": Case(DropConnect, dropout=no_dropout, refused=True),
    "batch_is_sequence": Case(batch_from=SEQUENCE),
    "batch_is_heads": Case(batch_from=tiny_bert.HEADS, batch_to=3),
    "batch_1": Case(batch_from=1),
    "batch_unknown": Case(batch_from=None),
    "batch_and_sequence_unknown": Case(batch_from=None, sequence=None),
    "time_major": Case(tiny_bert.TimeMajor, batch_from=5),
    "time_major_square": Case(tiny_bert.TimeMajor, batch_from=SEQUENCE),
    "ones_mask": Case(tiny_bert.OnesMask, batch_from=5),
    "packed_layers": Case(tiny_bert.PackedLayers, batch_from=5),
    "generator": Case(tiny_bert.Generator, batch_from=5),
    "keras": Case(tiny_bert.Keras, batch_from=5),
    "batch_5_whole_layers": Case(tiny_bert.IteratorInputs, batch_from=5, dropout=dropout_2x),
}


def feed_values(rows):
    """Returns values of ids, mask, token types and flat positions. The last row is padded."""
    random = np.random.default_rng(3)
    ids = random.integers(1, VOCABULARY, (rows, SEQUENCE), dtype=np.int32)
    mask, types = np.ones_like(ids), np.zeros_like(ids)
    ids[-1, 4:] = mask[-1, 4:] = 0
    types[0, 3:] = 1
    positions = np.array([[1 + row, 3] for row in range(rows)], np.int32)
    flat = positions + np.arange(rows, dtype=np.int32)[:, None] * SEQUENCE
    return [ids, mask, types, flat.ravel()]


def write_case(folder, name, case):
    if case.functional:
        tf.compat.v1.enable_control_flow_v2()
    else:
        tf.compat.v1.disable_control_flow_v2()
    with tf.Graph().as_default() as graph:
        model = case.model(case.batch_from, case.sequence, case.dropout)
        model.prepare()
        output = case.wrapper(model) if case.wrapper else model.build()
        (folder / f"{name}.meta").write_bytes(graph_files.meta_graph(graph, [output]))

    with tf.Graph().as_default():
        reference = case.model(case.batch_to)
        reference.prepare()
        result = reference.build()
        feeds = dict(zip([tensor.name for tensor in reference.feeds], feed_values(case.batch_to)))
        values = {reference.reads[key]: value for key, value in reference.variables.items()}
        with graph_files.session() as running:
            expected = running.run(result, values | feeds)

    tensors = {f"variable/{key}": value for key, value in model.variables.items()}
    tensors |= {f"feed/{key}": value for key, value in feeds.items()}
    tensors[f"expected/{output.name}"] = expected
    metadata = {
        "batch_from": "" if case.batch_from is None else str(case.batch_from),
        "batch_to": str(case.batch_to),
        "refused": str(case.refused).lower(),
    }
    graph_files.save_tensors(folder / f"{name}.safetensors", tensors, metadata)


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, case in CASES.items():
        write_case(folder, name, case)
    print(f"{len(CASES)} graphs")


if __name__ == "__main__":
    main()
