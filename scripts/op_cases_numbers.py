"""Test cases of the operations that compute numbers: elementwise, reductions, products."""

import itertools

import numpy as np
import tensorflow as tf

from op_case import array, f32, i32, int_scalar, ints


def unary(ops):
    values = array([[-3.0, -1.5, -0.5, 0.0], [0.25, 1.5, 2.5, 9.0]], np.float32)
    positive = array([0.125, 0.5, 1.0, 3.75, 100.0], np.float32)
    wide = array([-90.0, -20.0, -6.5, 1e-4, 20.0, 90.0], np.float32)
    nan = array([np.nan, np.inf, -np.inf, -0.0, 1.0], np.float32)
    for name in "Neg Square Abs Sign Floor Round Ceil Tanh Sin Cos Expm1 Exp".split():
        ops.add(name, "float32", **{argument(name): values})
        ops.add(name, "float64", **{argument(name): values.astype(np.float64)})
    for name in "Sigmoid Softplus Softsign Relu Relu6 Elu Selu Erf Erfc".split():
        ops.add(name, "float32", **{argument(name): values})
        ops.add(name, "wide", **{argument(name): wide})
    for name in "Sqrt Rsqrt Log Log1p Reciprocal".split():
        ops.add(name, "float32", x=positive)
        ops.add(name, "float64", x=positive.astype(np.float64))
        ops.add(name, "special", x=array([0.0, np.inf, np.nan], np.float32))
    for name in "Neg Square Abs Sign".split():
        ops.add(name, "int32", **{argument(name): i32(2, 3)})
    for name in "Tanh Sigmoid Erf Softplus Exp Relu".split():
        ops.add(name, "special", **{argument(name): nan})
    ops.add("Exp", "half", x=values.astype(np.float16))
    ops.add("Relu", "int32", features=i32(2, 3))
    ops.add("LeakyRelu", "alpha_default", features=values, alpha=0.2)
    ops.add("LeakyRelu", "alpha_small", features=values, alpha=0.01)
    ops.add("IsNan", "float32", x=nan)
    ops.add("LogicalNot", "bool", x=array([True, False, True], bool))
    for name in ("ZerosLike", "OnesLike"):
        for kind in (np.float32, np.int32, bool):
            ops.add(name, kind.__name__, x=i32(2, 3).astype(kind))


def argument(operation):
    names = "Softplus Softsign Relu Relu6 Elu Selu".split()
    return "features" if operation in names else "x"


def binary(ops):
    pairs = {
        "same": (f32(2, 3, seed=1), f32(2, 3, seed=2)),
        "row": (f32(2, 3, seed=1), f32(3, seed=3)),
        "both": (f32(2, 1, 3, seed=4), f32(4, 1, seed=5)),
        "scalar": (array(-2.5, np.float32), f32(2, 3, seed=2)),
        "int32": (ints(-7, -7, 7, 7, 0, -6), ints(2, -2, 2, -2, 3, 3)),
        "int64": (array([[-9], [8]], np.int64), array([4, -3, 5], np.int64)),
    }
    everywhere = """Add AddV2 Sub Mul Maximum Minimum SquaredDifference FloorDiv FloorMod Div
        Less LessEqual Greater GreaterEqual Equal NotEqual""".split()
    for name, (variant, (x, y)) in itertools.product(everywhere, pairs.items()):
        ops.add(name, variant, x=x, y=y)
    for variant in ("same", "row", "both", "scalar"):
        x, y = pairs[variant]
        ops.add("RealDiv", variant, x=x, y=y)
        ops.add("Atan2", variant, y=x, x=y)
    for variant in ("int32", "int64"):
        ops.add("TruncateDiv", variant, x=pairs[variant][0], y=pairs[variant][1])
    base = array([[0.5], [2.0], [-1.5]], np.float32)
    ops.add("Pow", "cube", x=base, y=array(3.0, np.float32))
    ops.add("Pow", "broadcast", x=np.abs(base), y=array([-1.0, 0.0, 0.5], np.float32))
    ops.add("Pow", "int32", x=ints(-2, 3, 0), y=ints(3, 2, 0))
    ops.add("Equal", "bool", x=array([True, False], bool), y=array([True, True], bool))
    ops.add("Equal", "nan", x=array([np.nan, 1.0], np.float32), y=array([np.nan, 1], np.float32))
    ops.add("Maximum", "nan", x=array([np.nan, 1.0], np.float32), y=array([0.0, 2], np.float32))
    ops.add("NotEqual", "ids", x=array([[5, 0], [0, 7]], np.int32), y=int_scalar(0))
    for name in ("LogicalAnd", "LogicalOr"):
        x, y = array([[True], [False]], bool), array([True, False, True], bool)
        ops.add(name, "broadcast", x=x, y=y)
    zeros = array([[0.0, 2.0, 0.0]], np.float32)
    ops.add("DivNoNan", "zeros", x=array([[1.0, -3.0, 0.0], [4, 5, 6]], np.float32), y=zeros)
    ops.add("MulNoNan", "zeros", x=array([np.inf, -3.0, np.nan], np.float32), y=zeros)
    ops.add("AddN", "one", inputs=[f32(2, 3)])
    ops.add("AddN", "three", inputs=[f32(2, 3, seed=seed) for seed in range(3)])
    ops.add("BiasAdd", "matrix", value=f32(2, 3), bias=f32(3))
    ops.add("BiasAdd", "rank4", value=f32(1, 2, 2, 3), bias=f32(3))
    ops.add("BiasAdd", "nchw", value=f32(1, 3, 2, 2), bias=f32(3), data_format="NCHW")


def reductions(ops):
    axes = {
        "last": (ints(-1), False),
        "last_kept": (ints(-1), True),
        "scalar": (int_scalar(1), False),
        "scalar_kept": (int_scalar(-2), True),
        "several": (ints(0, 2), False),
        "several_kept": (ints(-1, 0), True),
        "all": (ints(0, 1, 2), False),
        "none": (ints(), False),
        "int64_axis": (array([1], np.int64), False),
    }
    for name, (variant, (axis, keep)) in itertools.product(
        "Mean Sum Max Min Prod All Any".split(), axes.items()
    ):
        x = f32(2, 3, 4, seed=6)
        if name in ("All", "Any"):
            x = np.abs(x) > (0.3 if name == "All" else 3.0)
        ops.add(name, variant, input=x, axis=axis, keep_dims=keep)
    for name in "Sum Max Min Prod Mean".split():
        ops.add(name, "int32", input=i32(2, 3), axis=ints(1))
    for name in "Sum Max Min Prod".split():
        empty = np.zeros((0, 3), np.float32)
        ops.add(name, "empty_input", input=empty, axis=ints(0))
    for name in ("ArgMax", "ArgMin"):
        ops.add(name, "rows", input=f32(2, 3), dimension=int_scalar(1))
        ops.add(name, "columns", input=f32(2, 3), dimension=int_scalar(0), output_type=tf.int32)
        ops.add(name, "negative_axis", input=f32(2, 2, 3), dimension=int_scalar(-2))
        ops.add(name, "ties", input=ints(3, 1, 3, 1), dimension=int_scalar(0))
    for variant, exclusive, reverse in [
        ("plain", False, False),
        ("exclusive", True, False),
        ("reverse", False, True),
        ("exclusive_reverse", True, True),
    ]:
        flags = {"exclusive": exclusive, "reverse": reverse}
        ops.add("Cumsum", variant, x=f32(2, 4), axis=int_scalar(1), **flags)
        ops.add("Cumsum", f"int_{variant}", x=i32(3, 2), axis=int_scalar(-2), **flags)
    for name in ("Softmax", "LogSoftmax"):
        ops.add(name, "matrix", logits=f32(2, 4, scale=5))
        ops.add(name, "masked", logits=f32(2, 4) + array([0, 0, -1e4, 0], np.float32))
        ops.add(name, "rank4", logits=f32(1, 2, 2, 3))
        ops.add(name, "float64", logits=f32(2, 3).astype(np.float64))
    ops.add("Softmax", "vector", logits=f32(3))


def products(ops):
    for a, b in itertools.product((False, True), repeat=2):
        left, right = f32(2, 3, seed=1), f32(3, 4, seed=2)
        left, right = left.T.copy() if a else left, right.T.copy() if b else right
        ops.add("MatMul", f"{a:d}{b:d}", a=left, b=right, transpose_a=a, transpose_b=b)
        stack = [np.stack([x, -x, x + 1]) for x in (left, right)]
        for name in ("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"):
            more = {"Tout": tf.float32} if name.endswith("V3") else {}
            ops.add(name, f"{a:d}{b:d}", x=stack[0], y=stack[1], adj_x=a, adj_y=b, **more)
    ops.add("MatMul", "float64", a=np.float64(f32(2, 3)), b=np.float64(f32(3, 2)))
    ops.add("MatMul", "int32", a=i32(2, 3), b=i32(3, 2))
    for variant, x, y in [
        ("matrix_right", f32(2, 2, 3), f32(3, 2, seed=1)),
        ("matrix_left", f32(2, 3), f32(2, 3, 2, seed=1)),
        ("both_sides", f32(2, 1, 2, 3), f32(2, 3, 2, seed=1)),
        ("heads", f32(1, 2, 2, 3), f32(2, 2, 3, 2, seed=1)),
    ]:
        ops.add("BatchMatMulV2", variant, x=x, y=y)
        ops.add("BatchMatMulV3", variant, x=x, y=y, Tout=tf.float32)
    for number, (equation, *shapes) in enumerate([
        ("abc,cd->abd", (2, 3, 2), (2, 4)),
        ("abc,cde->abde", (2, 2, 3), (3, 2, 2)),
        ("aecd,abcd->acbe", (2, 3, 2, 2), (2, 3, 2, 2)),
        ("acbe,aecd->abcd", (2, 2, 3, 2), (2, 2, 2, 2)),
        ("abcd,cde->abe", (2, 2, 2, 3), (2, 3, 2)),
        ("bfh,hnd->bfnd", (2, 3, 4), (4, 2, 2)),
        ("BFNH,BTNH->BNFT", (2, 2, 2, 3), (2, 3, 2, 3)),
        ("BNFT,BTNH->BFNH", (2, 2, 2, 3), (2, 3, 2, 2)),
        ("BFND,NDH->BFH", (2, 2, 2, 2), (2, 2, 4)),
        ("...x,xy->...y", (2, 2, 3), (3, 2)),
        ("...ab,...bc->...ac", (2, 2, 3), (3, 2)),
        ("i...,i...->...", (2, 3), (2, 3)),
        ("ij,jk->ki", (2, 3), (3, 2)),
        ("ij,kj->ik", (2, 3), (2, 3)),
        ("ab,ab->", (2, 3), (2, 3)),
        ("ab,ab->ab", (2, 3), (2, 3)),
        ("a,b->ab", (2,), (3,)),
        ("abc,bd->ad", (2, 3, 2), (3, 2)),
        ("ab->ba", (2, 3)),
        ("abc->b", (2, 3, 2)),
        ("ab->", (2, 3)),
        ("aab->ab", (2, 2, 3)),
        ("a...b->b...a", (2, 2, 3)),
    ]):
        inputs = [f32(*shape, seed=seed) for seed, shape in enumerate(shapes)]
        ops.add("Einsum", f"{number:02}", inputs=inputs, equation=equation)
    x, vectors = f32(2, 2, 2, 3), [f32(3, seed=seed) for seed in (1, 2, 3)]
    vectors.append(np.abs(f32(3, seed=4)))
    for layout, training in itertools.product(("NHWC", "NCHW"), (False, True)):
        scale, offset, mean, variance = vectors
        none = np.zeros(0, np.float32)
        value = x if layout == "NHWC" else x.transpose(0, 3, 1, 2).copy()
        ops.add(
            "FusedBatchNormV3", f"{layout}_{'training' if training else 'inference'}", outputs=3,
            x=value, scale=scale, offset=offset, mean=none if training else mean,
            variance=none if training else variance, epsilon=1e-3, data_format=layout,
            is_training=training,
        )
