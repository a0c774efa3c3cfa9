#!/usr/bin/env python3
"""Write an ELECTRA-shaped TensorFlow checkpoint with random weights, for benchmarks.

Names and shapes are those of google-research/electra: a discriminator, a generator of a third
(base, large) or all (small) of its width, and with --adam two optimizer slots for every weight.

Needs: pip install tensorflow-cpu==2.15.1
Example: scripts/make_checkpoint.py --size large --adam /tmp/large/model.ckpt-1000
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

# embedding, hidden, layers, generator hidden (README of google-research/electra)
SIZES = {
    "small": (128, 256, 12, 256),
    "base": (768, 768, 12, 256),
    "large": (1024, 1024, 24, 256),
    # Four times the weights of large, for how cost grows.
    "huge": (2048, 2048, 24, 512),
}


def dense(name, rows, columns):
    yield f"{name}/kernel", (rows, columns)
    yield f"{name}/bias", (columns,)


def layer_norm(name, size):
    yield f"{name}/LayerNorm/gamma", (size,)
    yield f"{name}/LayerNorm/beta", (size,)


def encoder(scope, embedding, hidden, layers):
    if embedding != hidden:
        yield from dense(f"{scope}/embeddings_project", embedding, hidden)
    for n in range(layers):
        layer = f"{scope}/encoder/layer_{n}"
        for part in ("query", "key", "value"):
            yield from dense(f"{layer}/attention/self/{part}", hidden, hidden)
        yield from dense(f"{layer}/attention/output/dense", hidden, hidden)
        yield from layer_norm(f"{layer}/attention/output", hidden)
        yield from dense(f"{layer}/intermediate/dense", hidden, 4 * hidden)
        yield from dense(f"{layer}/output/dense", 4 * hidden, hidden)
        yield from layer_norm(f"{layer}/output", hidden)


def variables(size, vocabulary):
    embedding, hidden, layers, generator = SIZES[size]
    yield "electra/embeddings/word_embeddings", (vocabulary, embedding)
    yield "electra/embeddings/position_embeddings", (512, embedding)
    yield "electra/embeddings/token_type_embeddings", (2, embedding)
    yield from layer_norm("electra/embeddings", embedding)
    yield from encoder("electra", embedding, hidden, layers)
    yield from dense("discriminator_predictions/dense", hidden, hidden)
    yield from dense("discriminator_predictions/dense_1", hidden, 1)
    yield from encoder("generator", embedding, generator, layers)
    yield from dense("generator_predictions/dense", generator, embedding)
    yield from layer_norm("generator_predictions", embedding)
    yield "generator_predictions/output_bias", (vocabulary,)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--adam", action="store_true", help="two optimizer slots for every weight")
    parser.add_argument("--vocabulary", type=int, default=30522, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("prefix", type=Path, help="such as /tmp/large/model.ckpt-1000")
    args = parser.parse_args()

    import tensorflow as tf

    random = np.random.default_rng(args.seed)
    tensors = {"global_step": np.int64(1000)}
    for name, shape in variables(args.size, args.vocabulary):
        slots = ("", "/adam_m", "/adam_v") if args.adam else ("",)
        for slot in slots:
            values = random.standard_normal(shape, dtype=np.float32)
            values *= np.float32(0.02)
            tensors[name + slot] = values

    args.prefix.parent.mkdir(parents=True, exist_ok=True)
    names = sorted(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(args.prefix),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tensors[name] for name in names],
    )
    # SaveV2 alone writes one shard of one, which is what a Saver merges to.
    size = sum(path.stat().st_size for path in args.prefix.parent.glob(args.prefix.name + ".*"))
    print(f"{args.prefix}: {len(names)} variables, {size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
