"""Test cases of the operations that move, select and convert elements, and of constants."""

import numpy as np
import tensorflow as tf

from op_case import array, f32, i32, int_scalar, ints

BFLOAT16 = tf.bfloat16.as_numpy_dtype


def shapes(ops):
    x, small = i32(2, 3, 4), i32(2, 3)
    for variant, shape in [("matrix", (6, 4)), ("inferred", (2, -1)), ("flat", (-1,))]:
        ops.add("Reshape", variant, tensor=x, shape=ints(*shape))
    ops.add("Reshape", "int64_shape", tensor=x, shape=array([4, 6], np.int64))
    ops.add("Reshape", "scalar", tensor=f32(1, 1), shape=ints())
    ops.add("Reshape", "bool", tensor=small > 0, shape=ints(3, 2))
    for perm in [(1, 0, 2), (2, 0, 1), (0, 2, 1), (2, 1, 0)]:
        ops.add("Transpose", "".join(map(str, perm)), x=x, perm=ints(*perm))
    ops.add("Transpose", "heads", x=f32(2, 2, 3, 2), perm=ints(0, 2, 1, 3))
    for axis in (0, 1, 2, -1, -2):
        ops.add("ExpandDims", f"axis{axis}", input=small, axis=int_scalar(axis))
    for variant, axes in [("all", []), ("first", [0]), ("negative", [-1]), ("two", [0, 3])]:
        ops.add("Squeeze", variant, input=i32(1, 2, 3, 1), axis=axes)
    for kind in (tf.int32, tf.int64):
        ops.add("Shape", kind.name, input=x, out_type=kind)
        ops.add("ShapeN", kind.name, input=[x, small.astype(np.int32)], out_type=kind)
        ops.add("Size", kind.name, input=x, out_type=kind)
    ops.add("Shape", "scalar", input=int_scalar(3))
    ops.add("Rank", "matrix", input=small)
    ops.add("Rank", "scalar", input=int_scalar(3))
    for axis in (0, 1, 2, -1):
        ops.add("Pack", f"axis{axis}", values=[small, small + 1], axis=axis)
    ops.add("Pack", "scalars", values=[int_scalar(4), int_scalar(5), int_scalar(-1)], axis=0)
    for axis, count in ((0, 2), (1, 3), (-1, 4)):
        ops.add("Unpack", f"axis{axis}", value=x, num=count, axis=axis)
    for axis in (0, 1, -1):
        ops.add("ConcatV2", f"axis{axis}", values=[small, small * 2, small], axis=int_scalar(axis))
    uneven = [f32(2, 1), f32(2, 3), f32(2, 0)]
    ops.add("ConcatV2", "uneven", values=uneven, axis=int_scalar(1))
    ops.add("Split", "axis2", axis=int_scalar(2), value=x, num_split=2)
    ops.add("Split", "axis-2", axis=int_scalar(-2), value=x, num_split=3)
    for variant, sizes in [("sizes", (1, 3)), ("inferred", (1, -1, 1))]:
        arguments = {"size_splits": ints(*sizes), "num_split": len(sizes)}
        ops.add("SplitV", variant, value=x, axis=int_scalar(-1), **arguments)
    for variant, begin, size in [
        ("inner", (0, 1, 1), (2, 1, 2)),
        ("rest", (1, 0, 2), (-1, 2, -1)),
        ("whole", (0, 0, 0), (-1, -1, -1)),
        ("nothing", (0, 3, 0), (2, 0, 4)),
    ]:
        ops.add("Slice", variant, input=x, begin=ints(*begin), size=ints(*size))
    for variant, begin, end, strides, masks in [
        ("plain", (0, 1, 1), (2, 3, 3), (1, 1, 1), {}),
        ("steps", (0, 0, 0), (2, 3, 4), (1, 2, 3), {}),
        ("negative_index", (-1, -2, -3), (2, 3, -1), (1, 1, 1), {}),
        ("reversed", (1, 2, 3), (-3, 0, 0), (-1, -1, -2), {}),
        ("reversed_masks", (0, 0, 0), (0, 0, 0), (-1, -2, -1), {"begin_mask": 7, "end_mask": 7}),
        ("begin_mask", (9, 1, 1), (1, 3, 2), (1, 1, 1), {"begin_mask": 5}),
        ("end_mask", (0, 1, 1), (1, 2, 0), (1, 1, 2), {"end_mask": 6}),
        ("out_of_range", (0, -9, 2), (9, 9, 9), (1, 1, 1), {}),
        ("empty", (0, 2, 0), (2, 1, 4), (1, 1, 1), {}),
        ("shrink", (0, -1, 2), (1, 0, 3), (1, 1, 1), {"shrink_axis_mask": 6}),
        ("shrink_all", (1, 2, 3), (2, 3, 4), (1, 1, 1), {"shrink_axis_mask": 7}),
        ("shorter", (1,), (2,), (1,), {}),
        ("new_axis", (0, 0, 1), (0, 2, 3), (1, 1, 1), {"new_axis_mask": 1, "end_mask": 2}),
        ("new_axis_last", (0, 0, 0, 0), (2, 1, 4, 0), (1, 1, 1, 1), {"new_axis_mask": 8}),
        ("ellipsis", (0, 0, 1), (1, 0, 3), (1, 1, 1), {"ellipsis_mask": 2}),
        ("ellipsis_first", (0, 2), (0, 3), (1, 1), {"ellipsis_mask": 1, "shrink_axis_mask": 2}),
        ("ellipsis_new_axis", (0, 0, 0), (1, 0, 0), (1, 1, 1),
         {"ellipsis_mask": 2, "new_axis_mask": 4, "shrink_axis_mask": 1}),
        ("first_token", (0, 0, 0), (0, 1, 0), (1, 1, 1),
         {"begin_mask": 5, "end_mask": 5, "shrink_axis_mask": 2}),
    ]:
        bounds = {"begin": ints(*begin), "end": ints(*end), "strides": ints(*strides)}
        ops.add("StridedSlice", variant, input=x, **bounds, **masks)
    one = {"begin": ints(1), "end": ints(2), "strides": ints(1), "shrink_axis_mask": 1}
    ops.add("StridedSlice", "of_shape", input=ints(5, 6, 7), **one)
    ops.add("Tile", "matrix", input=small, multiples=ints(2, 2))
    ops.add("Tile", "rank3", input=i32(2, 1, 2), multiples=ints(1, 3, 1))
    ops.add("Fill", "float32", dims=ints(2, 3), value=array(1.5, np.float32))
    ops.add("Fill", "int32", dims=ints(4), value=int_scalar(-2))
    ops.add("Fill", "scalar", dims=ints(), value=array(True, bool))
    for variant, bounds in [("up", (0, 5, 1)), ("steps", (3, 12, 4)), ("down", (5, -2, -3))]:
        start, limit, delta = map(int_scalar, bounds)
        ops.add("Range", variant, start=start, limit=limit, delta=delta)
    start, limit, delta = (array(value, np.float32) for value in (0.5, 2.0, 0.25))
    ops.add("Range", "float32", start=start, limit=limit, delta=delta)
    ops.add("BroadcastTo", "rows", input=f32(3), shape=ints(2, 3))
    ops.add("BroadcastTo", "middle", input=i32(2, 1, 2), shape=ints(2, 3, 2))
    ops.add("BroadcastTo", "scalar", input=int_scalar(7), shape=ints(2, 2))
    for variant, paddings in [("end", [[0, 0], [0, 2]]), ("around", [[1, 0], [2, 1]])]:
        pads = array(paddings, np.int32)
        ops.add("Pad", variant, input=small, paddings=pads)
        ops.add("PadV2", variant, input=small, paddings=pads, constant_values=int_scalar(-9))


def indexing(ops):
    table, ids = f32(4, 3), array([[3, 0], [1, 1]], np.int32)
    ops.add("Gather", "rows", params=table, indices=ids)
    ops.add("Gather", "scalar", params=table, indices=int_scalar(2))
    for variant, indices, axis, batch in [
        ("rows", ids, 0, 0),
        ("int64", ids.astype(np.int64), 0, 0),
        ("columns", ints(2, 0), 1, 0),
        ("negative_axis", ids, -1, 0),
        ("scalar_index", int_scalar(1), 1, 0),
    ]:
        indices = np.minimum(indices, 2) if axis else indices
        ops.add("GatherV2", variant, params=table, indices=indices, axis=int_scalar(axis),
                batch_dims=batch)
    x = i32(2, 3, 4)
    ops.add("GatherV2", "batch", params=x, indices=array([[2, 0], [1, 1]], np.int32),
            axis=int_scalar(1), batch_dims=1)
    ops.add("GatherV2", "batch_axis2", params=x, indices=array([[3], [0]], np.int32),
            axis=int_scalar(2), batch_dims=1)
    ops.add("GatherV2", "batch2", params=x, indices=array([[3, 0, 1], [1, 2, 0]], np.int32),
            axis=int_scalar(-1), batch_dims=2)
    ops.add("GatherNd", "rows", params=table, indices=array([[3], [0]], np.int32))
    ops.add("GatherNd", "elements", params=table, indices=array([[3, 1], [0, 2]], np.int32))
    ops.add("GatherNd", "partial", params=x, indices=array([[[1, 2]], [[0, 0]]], np.int32))
    # The raw operation has no batch_dims: tf.gather_nd adds the row numbers to the indices.
    within_rows = ops.constant(array([[[2], [0]], [[1], [1]]], np.int32))
    batched = tf.gather_nd(ops.constant(x), within_rows, batch_dims=1, name="GatherNd/batch")
    ops.outputs.append(batched)
    on_off = {"on_value": array(1.0, np.float32), "off_value": array(0.0, np.float32)}
    for axis in (0, 1, -1):
        ops.add("OneHot", f"axis{axis}", indices=ids, depth=int_scalar(4), axis=axis, **on_off)
    ops.add("OneHot", "out_of_range", indices=ints(-1, 2, 3), depth=int_scalar(3), **on_off)
    ops.add("OneHot", "int32", indices=array(1, np.int64), depth=int_scalar(3),
            on_value=int_scalar(5), off_value=int_scalar(-5))
    ops.add("TopKV2", "rows", input=f32(2, 4), k=int_scalar(2))
    ops.add("TopKV2", "ties", input=ints(1, 3, 3, 2, 1), k=int_scalar(4))
    ops.add("DynamicPartition", "rows", data=table, partitions=ints(1, 0, 1, 2), num_partitions=3)
    ops.add("DynamicPartition", "elements", data=i32(2, 3),
            partitions=array([[0, 1, 1], [1, 0, 1]], np.int32), num_partitions=2)
    ops.add("DynamicStitch", "rows", indices=[ints(2, 0), ints(1)], data=[f32(2, 2), f32(1, 2)])
    ops.add("DynamicStitch", "twice", indices=[ints(0, 1), ints(1)], data=[ints(5, 6), ints(7)])
    ops.add("ScatterNd", "rows", indices=array([[2], [0]], np.int32), updates=f32(2, 3),
            shape=ints(4, 3))
    ops.add("ScatterNd", "added", indices=array([[0, 1], [0, 1], [1, 0]], np.int32),
            updates=ints(3, 4, 5), shape=ints(2, 2))
    for lower, upper in [(-1, 0), (0, -1), (1, 1), (0, 0)]:
        bounds = {"num_lower": int_scalar(lower), "num_upper": int_scalar(upper)}
        ops.add("MatrixBandPart", f"{lower}_{upper}", input=i32(2, 3, 4), **bounds)
    ops.add("InvertPermutation", "int32", x=ints(2, 0, 3, 1))
    ops.add("Where", "vector", condition=array([True, False, True], bool))
    ops.add("Where", "matrix", condition=array([[True, False], [False, True]], bool))
    a, b = f32(2, 3, seed=1), f32(2, 3, seed=2)
    ops.add("Select", "same", condition=a > b, x=a, y=b)
    ops.add("Select", "rows", condition=array([True, False], bool), x=a, y=b)
    ops.add("Select", "scalar", condition=array(False, bool), x=a, y=b)
    ops.add("SelectV2", "columns", condition=array([True, False, True], bool), t=a, e=b)
    ops.add("SelectV2", "zero", condition=a > b, t=a, e=array(0.0, np.float32))
    ops.add("SelectV2", "wide", condition=array([[True], [False]], bool), t=f32(3),
            e=array(-1.0, np.float32))


def casts(ops):
    values = array([-2.75, -1.0, -0.5, 0.0, 0.1, 2.5, 3.999], np.float32)
    whole = ints(-3, 0, 1, 100)
    for kind in (tf.int32, tf.int64, tf.int8, tf.bool, tf.half, tf.bfloat16, tf.float64):
        ops.add("Cast", f"float32_{kind.name}", x=values, DstT=kind)
    for kind in (tf.float32, tf.bool, tf.int64, tf.uint8, tf.half, tf.bfloat16, tf.float64):
        ops.add("Cast", f"int32_{kind.name}", x=np.abs(whole), DstT=kind)
    ops.add("Cast", "negative_float32", x=whole, DstT=tf.float32)
    ops.add("Cast", "same", x=whole, DstT=tf.int32)
    for kind in (tf.float32, tf.int32, tf.int64):
        ops.add("Cast", f"bool_{kind.name}", x=array([True, False], bool), DstT=kind)
    ops.add("Cast", "float32_truncated", x=values, DstT=tf.bfloat16, Truncate=True)
    for kind in (np.float16, BFLOAT16, np.float64):
        name = np.dtype(kind).name
        ops.add("Cast", f"{name}_float32", x=values.astype(kind), DstT=tf.float32)
    ops.add("Cast", "int64_wrapped", x=array([2**32 + 5, -(2**31) - 1], np.int64), DstT=tf.int32)
    ops.add("Cast", "large_float32", x=ints(16777217, -2147483647), DstT=tf.float32)


def passing(ops):
    """Operations that return their input."""
    x = f32(2, 3)
    for name in "Identity StopGradient PreventGradient Snapshot".split():
        ops.add(name, "float32", input=x)
    ops.add("IdentityN", "two", input=[x, i32(2)])
    ops.add("EnsureShape", "matrix", input=x, shape=[2, None])
    ops.add("CheckNumerics", "float32", tensor=x, message="finite")
    ops.add("PlaceholderWithDefault", "float32", input=x, shape=[None, 3])


def constants(ops):
    values = array([[0, 1, 2], [3, 4, 100]], np.int64)
    fields = {
        tf.float32: ("float_val", float), tf.float64: ("double_val", float),
        tf.int32: ("int_val", int), tf.int64: ("int64_val", int), tf.bool: ("bool_val", bool),
        tf.half: ("half_val", None), tf.bfloat16: ("half_val", None),
        tf.uint8: ("int_val", int), tf.int8: ("int_val", int),
    }
    for kind, (field, convert) in fields.items():
        typed = values.astype(kind.as_numpy_dtype)
        if kind.is_floating:
            typed = (values / 4 - 1).astype(kind.as_numpy_dtype)
        # half_val holds the bits of the numbers, in an int32 each.
        bits = typed.view(np.uint16) if convert is None else typed
        items = [(convert or int)(item) for item in bits.ravel()]
        name = kind.name
        ops.encoded_constant(f"{name}_packed", kind, (2, 3), tensor_content=typed.tobytes())
        ops.encoded_constant(f"{name}_list", kind, (2, 3), **{field: items})
        ops.encoded_constant(f"{name}_splat", kind, (2, 3), **{field: items[-1:]})
        ops.encoded_constant(f"{name}_short", kind, (2, 3), **{field: items[3:5]})
        ops.encoded_constant(f"{name}_scalar", kind, (), **{field: items[1:2]})
    ops.encoded_constant("float32_zeros", tf.float32, (2, 2))
    ops.encoded_constant("float32_none", tf.float32, (0, 3))
    ops.encoded_constant("int8_negative", tf.int8, (2,), int_val=[-1, -128])
