#!/usr/bin/env python3
"""Write small HDF5 files as Keras writes them, and files that are like them.

    scripts/make_hdf5_files.py crates/tf-checkpoint/tests/data/hdf5

Needs h5py: `pip install h5py`.

`weights.tsv` and `model.tsv` list the variables of `weights.h5` and `model.h5` as h5py reads them: name,
dtype, shape, offset (`-` for a compact dataset), values.

With the option `--list FILE`, the script prints such a list for another file, with the CRC-32 (zlib) in
place of the values.
"""

import sys
import zlib
from pathlib import Path

import h5py
import numpy as np



def write_names(group, attribute, names, fixed=False, cut=False):
    """Write a list of names as Keras does: bytes of variable length, cut if they are too long."""
    encoded = [name.encode() for name in names]
    if fixed:
        encoded = np.array(encoded, dtype=f"S{max(map(len, names), default=1)}")
    if not cut:
        group.attrs[attribute] = encoded
        return
    for number, part in enumerate(np.array_split(encoded, 3)):
        group.attrs[f"{attribute}{number}"] = part


def write_layers(model, layers, **options):
    """Write layers, each a dictionary from the name of a variable to its values."""
    write_names(model, "layer_names", [name for name in layers if name != "top_level_model_weights"])
    model.attrs["backend"] = b"tensorflow"
    model.attrs["keras_version"] = b"2.15.0"
    for layer, weights in layers.items():
        group = model.create_group(layer)
        cut = layer == "many"
        write_names(group, "weight_names", list(weights), fixed=layer == "fixed", cut=cut)
        for name, value in weights.items():
            write_dataset(group, name, value, **options)


def write_dataset(group, name, value, **options):
    """Write a dataset, compact if its name has the word."""
    if "compact" not in name:
        group.create_dataset(name, data=value, **options)
        return
    value = np.asarray(value)
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.COMPACT)
    links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    dataset = h5py.h5d.create(
        group.id,
        name.encode(),
        h5py.h5t.py_create(value.dtype),
        h5py.h5s.create_simple(value.shape),
        dcpl=layout,
        lcpl=links,
    )
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, value)


def floats(*shape, start=0):
    count = int(np.prod(shape))
    return (np.arange(count, dtype=np.float32) + start).reshape(shape)


def weights():
    """Return layers with every form of a list and of a value that is read."""
    shared = floats(3, 2, start=100)
    return {
        "electra": {
            "tf_model/electra/embeddings/weight:0": shared,
            "tf_model/electra/dense/kernel:0": floats(2, 3),
            "tf_model/electra/dense/bias:0": floats(3),
        },
        "empty": {},
        "head": {
            "tf_model/head/bias:0": floats(1, start=7),
            "tf_model/electra/embeddings/weight:0": shared,
        },
        "fixed": {
            "dtypes/f8:0": floats(2).astype("<f8"),
            "dtypes/f2:0": floats(2).astype("<f2"),
            "dtypes/big:0": floats(2, start=1).astype(">f4"),
            "dtypes/i4:0": np.array([-1, 2], "<i4"),
            "dtypes/i8": np.int64(400),
            "dtypes/u1:0": np.array([1, 2], "u1"),
            "dtypes/bool:0": np.array([True, False]),
            "dtypes/none:0": np.zeros((0, 3), "<f4"),
            "dtypes/compact:0": floats(2, 2, start=40),
        },
        "many": {f"many/kernel_{at}:0": np.float32(at) for at in range(24)},
        "top_level_model_weights": {"scale:0": floats(1, start=9)},
    }


def small():
    return {"layer": {"layer/kernel:0": floats(4, 4), "layer/bias:0": floats(4)}}


def write_files(folder):
    with h5py.File(folder / "weights.h5", "w") as file:
        write_layers(file, weights())
        # So many links that the B-tree has two levels.
        for at in range(200):
            file[f"head/link_{at}"] = file["fixed/dtypes/f8:0"]
    with h5py.File(folder / "model.h5", "w") as file:
        file.attrs["model_config"] = "{}"
        write_layers(file.create_group("model_weights"), small())
        write_layers(file.create_group("optimizer_weights"), {"Adam": {"iter:0": np.int64(3)}})
    options = {
        "chunked": {"chunks": True},
        "gzip": {"chunks": True, "compression": "gzip"},
    }
    for name, kept in options.items():
        with h5py.File(folder / f"{name}.h5", "w") as file:
            write_layers(file, small(), **kept)
    with h5py.File(folder / "latest.h5", "w", libver="latest") as file:
        write_layers(file, small())
    with h5py.File(folder / "tracked.h5", "w", track_order=True) as file:
        write_layers(file, small())
    with h5py.File(folder / "user_block.h5", "w", userblock_size=512) as file:
        write_layers(file, small())
    with h5py.File(folder / "keras3.weights.h5", "w") as file:
        file["layers/dense/vars/0"] = floats(2, 2)
        file.create_group("vars")
    with h5py.File(folder / "other.h5", "w") as file:
        file["data/kernel"] = floats(2)
    with h5py.File(folder / "shard.h5", "w") as file:
        file["electra/kernel:0"] = floats(2)
        write_names(file, "layer_names", ["electra/kernel:0"])
    with h5py.File(folder / "two_shapes.h5", "w") as file:
        write_layers(file, {"a": {"kernel:0": floats(2)}, "b": {"kernel:0": floats(3)}})
    with h5py.File(folder / "soft_link.h5", "w") as file:
        write_layers(file, {"a": {}})
        write_names(file["a"], "weight_names", ["kernel:0"])
        file["a/kernel:0"] = h5py.SoftLink("/b")
    with h5py.File(folder / "hard_link.h5", "w") as file:
        write_layers(file, {"a": {"kernel:0": floats(2)}, "b": {}})
        write_names(file["b"], "weight_names", ["kernel:0", "other:0"])
        file["b/kernel:0"] = file["a/kernel:0"]
        file["b/other:0"] = file["a/kernel:0"]
    with h5py.File(folder / "unwritten.h5", "w") as file:
        write_layers(file, {"a": {}})
        write_names(file["a"], "weight_names", ["kernel:0"])
        file["a"].create_dataset("kernel:0", (2,), "<f4")
    with h5py.File(folder / "missing.h5", "w") as file:
        write_layers(file, {"a": {}})
        write_names(file["a"], "weight_names", ["b/kernel:0"])
    for name in ("weights", "model"):
        text = listing(folder / f"{name}.h5", values)
        (folder / f"{name}.tsv").write_text(text)


def values(value):
    return " ".join(str(float(element)) for element in np.atleast_1d(value).flatten())


def checksum(value):
    return f"{zlib.crc32(value.tobytes()):08x}"


def names(group, attribute):
    """Return a list of names as Keras reads it."""
    parts = [attribute] if attribute in group.attrs else []
    while f"{attribute}{len(parts)}" in group.attrs:
        parts.append(f"{attribute}{len(parts)}")
    found = [name for part in parts for name in group.attrs[part]]
    return [name.decode() if isinstance(name, bytes) else name for name in found]


def listing(path, shown):
    """Return the variables of a file, sorted by name, each once."""
    rows = {}
    with h5py.File(path) as file:
        model = file if "layer_names" in file.attrs else file["model_weights"]
        layers = names(model, "layer_names")
        if "top_level_model_weights" in model:
            layers.append("top_level_model_weights")
        for layer in layers:
            for name in names(model[layer], "weight_names"):
                dataset = model[layer][name]
                offset = dataset.id.get_offset()
                shape = ",".join(map(str, dataset.shape))
                row = (str(dataset.dtype), shape, "-" if offset is None else str(offset))
                rows.setdefault(name.removesuffix(":0"), (*row, shown(dataset[()])))
    lines = ["\t".join([name, *rows[name]]) for name in sorted(rows, key=str.encode)]
    return "".join(f"{line}\n" for line in lines)


def main():
    if sys.argv[1] == "--list":
        print(listing(sys.argv[2], checksum), end="")
        return
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    write_files(folder)


if __name__ == "__main__":
    main()
