"""Functions that the scripts which write test graphs share: MetaGraphDefs, sessions, values.

Import this module before tensorflow: it sets environment variables that tensorflow reads.
"""

import json
import os
import struct

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

import numpy as np
import tensorflow as tf
from safetensors.numpy import save
from tensorflow.python.framework import op_def_registry


def meta_graph(graph, outputs=None):
    """Returns the bytes of a MetaGraphDef of the graph.

    With `outputs`, a list of tensors, the graph has their ancestors only, and attributes that have
    their default value are left out, as `strip_default_attrs` of tf.compat.v1.train.Saver does.
    """
    meta = tf.compat.v1.MetaGraphDef()
    meta.meta_info_def.tensorflow_version = tf.__version__
    definition = graph.as_graph_def(add_shapes=True)
    if outputs is not None:
        names = [tensor.op.name for tensor in outputs]
        definition = tf.compat.v1.graph_util.extract_sub_graph(definition, names)
        meta.meta_info_def.stripped_default_attrs = True
    meta.graph_def.CopyFrom(definition)
    nodes = list(meta.graph_def.node)
    for function in meta.graph_def.library.function:
        nodes += function.node_def
        function.arg_attr.clear()
    for node in nodes:
        node.ClearField("experimental_debug_info")
        for name in [name for name in node.attr if name.startswith("_")]:
            if name != "_output_shapes":
                del node.attr[name]
        if outputs is not None:
            strip_defaults(node)
    return meta.SerializeToString(deterministic=True)


def strip_defaults(node):
    for attribute in op_def_registry.get(node.op).attr:
        default = attribute.default_value
        if attribute.HasField("default_value") and node.attr[attribute.name] == default:
            del node.attr[attribute.name]


def session():
    """Returns a session that runs the graph as it is, on one thread."""
    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1)
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    config.graph_options.optimizer_options.opt_level = -1
    return tf.compat.v1.Session(config=config)


def stored(value):
    """Returns the value as safetensors stores it: contiguous, booleans as uint8."""
    value = np.ascontiguousarray(value).reshape(np.shape(value))
    return value.astype(np.uint8) if value.dtype == bool else value


def save_tensors(path, tensors, metadata=None):
    """Writes a safetensors file whose bytes depend on the arguments only.

    The library writes the metadata in a random order.
    """
    content = save({name: stored(value) for name, value in tensors.items()})
    size = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    if metadata:
        header = {"__metadata__": metadata} | header
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
