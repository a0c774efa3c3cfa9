#!/usr/bin/env python3
"""Write small cases for each TensorFlow operation that a BERT-like inference graph can contain.

    scripts/make_op_cases.py crates/tf-graph/tests/data/operations

Needs TensorFlow 2.15: `pip install tensorflow-cpu==2.15.1 safetensors`.

The folder receives two files:
- ops.meta: a MetaGraphDef. Its graph has one node for each case, and all inputs are Const nodes.
- expected.safetensors: the value of each output, under the key NODE:OUTPUT. Booleans are uint8.

The node of a case is named OPERATION/VARIANT. The session computes without graph rewriting.
"""

import sys
from pathlib import Path

import graph_files  # isort: skip (before tensorflow)
import op_cases_layout as layout
import op_cases_numbers as numbers
import tensorflow as tf
from op_case import Operations

GROUPS = [
    numbers.unary,
    numbers.binary,
    numbers.reductions,
    numbers.products,
    layout.shapes,
    layout.indexing,
    layout.casts,
    layout.passing,
    layout.constants,
]


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tf.Graph().as_default() as graph:
        ops = Operations()
        for add_cases in GROUPS:
            add_cases(ops)
        with graph_files.session() as running:
            values = running.run(ops.outputs)
    expected = dict(zip([tensor.name for tensor in ops.outputs], values))
    (folder / "ops.meta").write_bytes(graph_files.meta_graph(graph))
    graph_files.save_tensors(folder / "expected.safetensors", expected)
    print(f"{len(expected)} outputs of {len({t.op.type for t in ops.outputs})} operations")


if __name__ == "__main__":
    main()
