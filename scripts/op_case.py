"""A graph under construction whose nodes are test cases, and the arrays that they take."""

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2, tensor_pb2


def f32(*shape, seed=0, scale=2.0):
    return np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32).round(3)


def i32(*shape):
    return (np.arange(np.prod(shape)) * 7 % 11 - 4).astype(np.int32).reshape(shape)


def array(values, dtype):
    return np.array(values, dtype)


def ints(*values):
    """Returns a vector of int32: a shape, axes, begins, sizes or a permutation."""
    return np.array(values, np.int32)


def int_scalar(value):
    return np.array(value, np.int32)


class Operations:
    def __init__(self):
        self.constants = {}
        self.outputs = []

    def constant(self, value):
        key = (value.dtype.name, value.shape, value.tobytes())
        if key not in self.constants:
            self.constants[key] = tf.constant(value, name=f"input/{len(self.constants)}")
        return self.constants[key]

    def tensor(self, value):
        if isinstance(value, np.ndarray | np.generic):
            return self.constant(np.asarray(value))
        if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
            return [self.constant(item) for item in value]
        return value

    def add(self, operation, variant, outputs=None, **arguments):
        """Adds a case. Arrays become Const nodes, other arguments become attributes."""
        arguments = {name: self.tensor(value) for name, value in arguments.items()}
        name = f"{operation}/{variant}"
        node = getattr(tf.raw_ops, operation)(**arguments, name=name)
        operation = (node if isinstance(node, tf.Tensor) else node[0]).op
        assert operation.name == name, f"{name} occurs twice"
        for tensor in operation.outputs[:outputs]:
            if tensor.dtype == tf.bfloat16:
                tensor = tf.raw_ops.Cast(x=tensor, DstT=tf.float32, name=f"{name}_widened")
            self.outputs.append(tensor)

    def encoded_constant(self, variant, dtype, shape, **fields):
        """Adds a Const node whose TensorProto has exactly the given fields."""
        proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum, **fields)
        proto.tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
        attributes = {
            "value": attr_value_pb2.AttrValue(tensor=proto),
            "dtype": attr_value_pb2.AttrValue(type=dtype.as_datatype_enum),
        }
        graph = tf.compat.v1.get_default_graph()
        name = f"Const/{variant}"
        tensor = graph.create_op("Const", [], [dtype], attrs=attributes, name=name).outputs[0]
        if dtype == tf.bfloat16:
            tensor = tf.raw_ops.Cast(x=tensor, DstT=tf.float32, name=f"{name}_widened")
        self.outputs.append(tensor)
