"""Tiny BERT-like graphs of TensorFlow 1, with or without dropout, in several batch layouts.

To keep the files small, most graphs have one layer of attention only. Layers share variables.
"""

import zlib

import numpy as np
import tensorflow as tf

ops = tf.raw_ops

VOCABULARY, HIDDEN, HEADS, SEQUENCE, POSITIONS = 12, 8, 2, 6, 7
HEAD_SIZE = HIDDEN // HEADS


class Bert:
    """Layers on [batch * sequence, hidden] matrices, as Google's BERT code writes them.

    `batch` and `sequence` are sizes, or None for sizes that only the feed determines.
    `dropout(model, x)` adds dropout; None leaves dropout out.
    """

    layer_count = 1
    whole_layers = False

    def __init__(self, batch, sequence=SEQUENCE, dropout=None):
        self.batch, self.sequence = batch, sequence
        self.dropout = dropout
        self.constants = {}
        self.variables = {}
        self.reads = {}

    def constant(self, value, dtype=np.int32):
        value = np.asarray(value, dtype)
        graph = tf.compat.v1.get_default_graph()
        context = graph._get_control_flow_context()
        key = (id(graph), id(context), value.dtype.name, value.shape, value.tobytes())
        if key not in self.constants:
            self.constants[key] = tf.constant(value, name=f"c{len(self.constants)}")
        return self.constants[key]

    def number(self, value):
        return self.constant(value, np.float32)

    def shape(self, *sizes):
        """Returns a shape: a constant, or a Pack where a size is a tensor."""
        if not any(isinstance(size, tf.Tensor) for size in sizes):
            return self.constant(sizes)
        return ops.Pack(values=[
            size if isinstance(size, tf.Tensor) else self.constant(size) for size in sizes
        ])

    def variable(self, name, *shape):
        """Returns the value of a variable, which is the tensor to feed in a session."""
        if name not in self.reads:
            values = np.random.default_rng(zlib.crc32(name.encode())).normal(0, 0.4, shape)
            self.variables[name] = values.astype(np.float32)
            with tf.init_scope(), tf.compat.v1.name_scope(None):
                self.reads[name] = self.read_variable(name, shape)
        return self.reads[name]

    def read_variable(self, name, shape):
        variable = ops.VariableV2(shape=shape, dtype=tf.float32, name=name)
        return ops.Identity(input=variable, name=f"{name}/read")

    def inputs(self):
        """Returns ids, mask and token types, [batch, sequence] each."""
        shape = [self.batch, self.sequence]
        names = ("ids", "mask", "types")
        return [tf.compat.v1.placeholder(tf.int32, shape, name=name) for name in names]

    def prepare(self):
        """Adds the inputs. Sizes that are not static become tensors."""
        self.ids, self.mask, self.types = self.inputs()
        self.feeds = [self.ids, self.mask, self.types]
        self.rows, self.length = self.batch, self.sequence
        if self.batch is None:
            self.rows = self.size(self.ids, 0)
        if self.sequence is None:
            self.length = self.size(self.ids, 1)

    def size(self, x, axis):
        return ops.StridedSlice(
            input=ops.Shape(input=x), begin=self.constant([axis]), end=self.constant([axis + 1]),
            strides=self.constant([1]), shrink_axis_mask=1,
        )

    def build(self):
        """Adds the forward pass and returns the output."""
        x = self.layers(self.embed(), self.attention_bias())[-1]
        return self.head(x)

    def dense(self, x, name, inputs, outputs):
        product = ops.MatMul(a=x, b=self.variable(f"{name}/w", inputs, outputs))
        return ops.BiasAdd(value=product, bias=self.variable(f"{name}/b", outputs))

    def dropped(self, x):
        return x if self.dropout is None else self.dropout(self, x)

    def embed(self):
        ids = ops.Reshape(tensor=self.ids, shape=self.constant([-1]))
        words = ops.GatherV2(
            params=self.variable("word", VOCABULARY, HIDDEN), indices=ids, axis=self.constant(0)
        )
        types = ops.OneHot(
            indices=ops.Reshape(tensor=self.types, shape=self.constant([-1])),
            depth=self.constant(2), on_value=self.number(1), off_value=self.number(0),
        )
        x = ops.AddV2(x=words, y=ops.MatMul(a=types, b=self.variable("type", 2, HIDDEN)))
        x = ops.Reshape(tensor=x, shape=self.shape(self.rows, self.length, HIDDEN))
        positions = ops.Slice(
            input=self.variable("place", POSITIONS, HIDDEN),
            begin=self.constant([0, 0]), size=self.shape(self.length, HIDDEN),
        )
        x = ops.AddV2(x=x, y=positions)
        return ops.Reshape(tensor=x, shape=self.constant([-1, HIDDEN]))

    def attention_bias(self):
        """Returns 0 where a token may be attended to and -10000 elsewhere."""
        mask = ops.Cast(x=self.mask, DstT=tf.float32)
        mask = ops.Reshape(tensor=mask, shape=self.shape(self.rows, 1, 1, self.length))
        return ops.Mul(x=ops.Sub(x=self.number(1), y=mask), y=self.number(-10000))

    def layers(self, x, bias):
        """Returns the output of each layer."""
        outputs = []
        for _ in range(self.layer_count):
            x = self.layer(x, bias)
            outputs.append(x)
        return outputs

    def layer(self, x, bias):
        attended = self.dense(self.attention(x, bias), "out", HIDDEN, HIDDEN)
        x = ops.AddV2(x=x, y=self.dropped(attended))
        if not self.whole_layers:
            return x
        x = self.layer_norm(x)
        return ops.AddV2(x=x, y=ops.Tanh(x=self.dense(x, "inner", HIDDEN, HIDDEN)))

    def heads(self, x, name):
        x = ops.MatMul(a=x, b=self.variable(f"{name}/w", HIDDEN, HIDDEN))
        x = ops.Reshape(tensor=x, shape=self.shape(self.rows, self.length, HEADS, HEAD_SIZE))
        return ops.Transpose(x=x, perm=self.constant([0, 2, 1, 3]))

    def attention(self, x, bias):
        query, key, value = (self.heads(x, name) for name in "qkv")
        scores = ops.BatchMatMulV2(x=query, y=key, adj_y=True)
        if self.whole_layers:
            scores = ops.Mul(x=scores, y=self.number(HEAD_SIZE**-0.5))
        weights = self.dropped(ops.Softmax(logits=ops.AddV2(x=scores, y=bias)))
        mixed = ops.Transpose(
            x=ops.BatchMatMulV2(x=weights, y=value), perm=self.constant([0, 2, 1, 3])
        )
        matrix = -1 if None in (self.batch, self.sequence) else self.batch * self.sequence
        return ops.Reshape(tensor=mixed, shape=self.constant([matrix, HIDDEN]))

    def layer_norm(self, x):
        axis = self.constant([-1])
        mean = ops.Mean(input=x, axis=axis, keep_dims=True)
        squares = ops.SquaredDifference(x=x, y=ops.StopGradient(input=mean))
        variance = ops.Mean(input=squares, axis=axis, keep_dims=True)
        scale = ops.Rsqrt(x=ops.AddV2(x=variance, y=self.number(1e-6)))
        scale = ops.Mul(x=scale, y=self.variable("gamma", HIDDEN))
        shift = ops.Sub(x=self.variable("beta", HIDDEN), y=ops.Mul(x=mean, y=scale))
        return ops.AddV2(x=ops.Mul(x=x, y=scale), y=shift)

    def head(self, x):
        """Returns one logit for each token, [batch, sequence]."""
        logits = self.dense(x, "head", HIDDEN, 1)
        return ops.Reshape(tensor=logits, shape=self.shape(self.rows, self.length))


class WholeLayers(Bert):
    """Two layers with LayerNorm and an inner dense layer."""

    layer_count = 2
    whole_layers = True


class IteratorInputs(WholeLayers):
    """Inputs come from an iterator; variables are resources."""

    def inputs(self):
        shape = [self.batch, self.sequence]
        outputs = {"output_types": [tf.int32] * 3, "output_shapes": [shape] * 3}
        iterator = ops.IteratorV2(shared_name="", container="", **outputs)
        return ops.IteratorGetNext(iterator=iterator, **outputs)

    def read_variable(self, name, shape):
        handle = ops.VarHandleOp(dtype=tf.float32, shape=shape, shared_name=name, name=name)
        return ops.ReadVariableOp(resource=handle, dtype=tf.float32, name=f"{name}/read")


class OnesMask(Bert):
    """The mask is a product with ones([batch, sequence, 1]), as in Google's BERT code.

    tf.ones is a constant for small shapes and a Fill for large ones: here are both.
    """

    def attention_bias(self):
        shape = (self.rows, self.length, 1)
        mask = ops.Reshape(tensor=self.mask, shape=self.shape(self.rows, 1, self.length))
        mask = ops.Cast(x=mask, DstT=tf.float32)
        mask = ops.Mul(x=ops.Fill(dims=self.shape(*shape), value=self.number(1)), y=mask)
        mask = ops.Mul(x=self.number(np.ones(shape)), y=mask)
        mask = ops.ExpandDims(input=mask, axis=self.constant(1))
        return ops.Mul(x=ops.Sub(x=self.number(1), y=mask), y=self.number(-10000))


class TimeMajor(Bert):
    """Activations are [sequence, batch, hidden]; heads are folded into the batch."""

    def embed(self):
        x = ops.Reshape(tensor=super().embed(), shape=self.shape(self.rows, self.length, HIDDEN))
        return ops.Transpose(x=x, perm=self.constant([1, 0, 2]))

    def layer(self, x, bias):
        matrix = ops.Reshape(tensor=x, shape=self.constant([-1, HIDDEN]))
        x = super().layer(matrix, bias)
        return ops.Reshape(tensor=x, shape=self.shape(self.length, self.rows, HIDDEN))

    def heads(self, x, name):
        x = ops.MatMul(a=x, b=self.variable(f"{name}/w", HIDDEN, HIDDEN))
        shape = self.shape(self.length, self.rows * HEADS, HEAD_SIZE)
        return ops.Transpose(x=ops.Reshape(tensor=x, shape=shape), perm=self.constant([1, 0, 2]))

    def attention(self, x, bias):
        query, key, value = (self.heads(x, name) for name in "qkv")
        query = ops.Mul(x=query, y=self.number(HEAD_SIZE**-0.5))
        scores = ops.BatchMatMulV2(x=query, y=key, adj_y=True)
        folded = (self.rows * HEADS, self.length, self.length)
        scores = ops.Reshape(tensor=scores, shape=self.shape(self.rows, HEADS, *folded[1:]))
        scores = ops.Reshape(tensor=ops.AddV2(x=scores, y=bias), shape=self.shape(*folded))
        weights = self.dropped(ops.Softmax(logits=scores))
        mixed = ops.BatchMatMulV2(x=weights, y=value)
        mixed = ops.Transpose(x=mixed, perm=self.constant([1, 0, 2]))
        return ops.Reshape(tensor=mixed, shape=self.shape(self.length * self.rows, HIDDEN))

    def head(self, x):
        matrix = ops.Reshape(tensor=x, shape=self.constant([-1, HIDDEN]))
        logits = self.dense(matrix, "head", HIDDEN, 1)
        logits = ops.Reshape(tensor=logits, shape=self.shape(self.length, self.rows))
        return ops.Transpose(x=logits, perm=self.constant([1, 0]))


class PackedLayers(Bert):
    """The outputs of all layers are one tensor, of which the first and the last are added.

    The size of the Slice contains the batch.
    """

    layer_count = 2

    def layers(self, x, bias):
        shape = (self.rows, self.length, HIDDEN)
        outputs = super().layers(x, bias)
        outputs = [ops.Reshape(tensor=y, shape=self.shape(*shape)) for y in outputs]
        packed = ops.Pack(values=outputs)
        last = ops.StridedSlice(
            input=packed, begin=self.constant([-1]), end=self.constant([0]),
            strides=self.constant([1]), shrink_axis_mask=1,
        )
        first = ops.Slice(
            input=packed, begin=self.constant([0, 0, 0, 0]), size=self.shape(1, *shape)
        )
        mixed = ops.AddV2(x=last, y=ops.Squeeze(input=first, axis=[0]))
        return [ops.Reshape(tensor=mixed, shape=self.constant([-1, HIDDEN]))]


class Generator(Bert):
    """Logits over the vocabulary at two positions of each row, gathered with flat indices."""

    COUNT = 2

    def prepare(self):
        super().prepare()
        shape = [self.batch, self.COUNT]
        self.positions = tf.compat.v1.placeholder(tf.int32, shape, name="masked_positions")
        offsets = ops.Range(
            start=self.constant(0), limit=self.constant(self.rows), delta=self.constant(1)
        )
        offsets = ops.Mul(x=offsets, y=self.constant(self.length))
        offsets = ops.Reshape(tensor=offsets, shape=self.constant([-1, 1]))
        flat = ops.AddV2(x=self.positions, y=offsets)
        flat = ops.Reshape(tensor=flat, shape=self.constant([-1]), name="flat_positions")
        self.flat = flat
        self.feeds.append(flat)

    def head(self, x):
        x = ops.GatherV2(params=x, indices=self.flat, axis=self.constant(0))
        x = ops.Tanh(x=self.dense(x, "transform", HIDDEN, HIDDEN))
        table = self.variable("word", VOCABULARY, HIDDEN)
        logits = ops.MatMul(a=x, b=table, transpose_b=True)
        logits = ops.BiasAdd(value=logits, bias=self.variable("output_bias", VOCABULARY))
        shape = self.shape(self.rows, self.COUNT, VOCABULARY)
        return ops.Reshape(tensor=logits, shape=shape)


class Keras(Bert):
    """Attention by Einsum and LayerNorm by FusedBatchNormV3, as the layers of tf.keras.

    Scale and offset of FusedBatchNormV3 have batch * sequence elements.
    """

    whole_layers = True

    def heads(self, x, name):
        kernel = self.variable(f"{name}/w", HIDDEN, HEADS, HEAD_SIZE)
        return ops.Einsum(inputs=[x, kernel], equation="abc,cde->abde")

    def attention(self, x, bias):
        x = ops.Reshape(tensor=x, shape=self.shape(self.rows, self.length, HIDDEN))
        query, key, value = (self.heads(x, name) for name in "qkv")
        query = ops.Mul(x=query, y=self.number(HEAD_SIZE**-0.5))
        scores = ops.Einsum(inputs=[key, query], equation="aecd,abcd->acbe")
        weights = self.dropped(ops.Softmax(logits=ops.AddV2(x=scores, y=bias)))
        mixed = ops.Einsum(inputs=[weights, value], equation="acbe,aecd->abcd")
        return ops.Reshape(tensor=mixed, shape=self.shape(-1, HIDDEN))

    def layer_norm(self, x):
        shape = ops.Shape(input=x)
        matrix = self.size(x, 0)
        flat = ops.Pack(values=[self.constant(1), matrix, self.constant(HIDDEN), self.constant(1)])
        ones, zeros = (
            ops.Fill(dims=self.shape(matrix), value=self.number(value)) for value in (1, 0)
        )
        none = self.number([])
        normal = ops.FusedBatchNormV3(
            x=ops.Reshape(tensor=x, shape=flat), scale=ones, offset=zeros, mean=none, variance=none,
            epsilon=1e-3, data_format="NCHW", is_training=True,
        ).y
        x = ops.Reshape(tensor=normal, shape=shape)
        x = ops.Mul(x=x, y=self.variable("gamma", HIDDEN))
        return ops.AddV2(x=x, y=self.variable("beta", HIDDEN))
