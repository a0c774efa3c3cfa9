#!/usr/bin/env python3
"""Compare what tf-checkpoint reads in HDF5 files with what h5py reads.

    scripts/check_hdf5.py [--program PATH] FILE_OR_FOLDER...

Needs: h5py; the example `checksums` (cargo build -p tf-checkpoint --example checksums). With tf_keras,
files of Keras are compared too.

The files are those in the folders (*.h5), and files that h5py writes for each row of CASES: versions of the
format, layouts, filters, dtypes, attributes, links. Each file is either read, with the same names, dtypes,
shapes and values as in h5py, or refused by an error that states why and what to do. CASES states which, so
that a file that is read today cannot be refused tomorrow unnoticed. Exits with 1 if anything differs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="", TF_USE_LEGACY_KERAS="1")

import h5py
import numpy as np
from make_hdf5_files import names, write_layers, write_names

# What a refusal contains: the reason, and what to do.
REFUSALS = ["is not read, because", "Keras 3's format", "without Keras weights", "layers are datasets", "behind a block"]
ADVICE = ["h5repack", "save_weights", "save_pretrained", "h5unjam"]
# What an error about damage contains. Files in the folders may be damaged on purpose.
DAMAGE = ["is damaged", "same name", "shares bytes"]

# The most bytes of an attribute that Keras writes as one (HDF5_OBJECT_HEADER_LIMIT).
MAX_ATTRIBUTE = 64512
DTYPES = ["<f4", ">f4", "<f2", ">f2", "<f8", ">f8", "<i4", ">i4", "<i8", ">i8", "|u1", "|b1", "<u2", "<c8"]


def random(*shape, dtype="<f4", seed=0):
    generator = np.random.default_rng([seed, *shape])
    return (generator.standard_normal(shape) * 8).astype(dtype)


def layers():
    return {
        "electra": {
            "m/electra/embeddings/weight:0": random(50, 16, seed=1),
            "m/electra/encoder/layer_._0/attention/self/query/kernel:0": random(16, 16, seed=2),
            "m/electra/encoder/layer_._0/attention/self/query/bias:0": random(16, seed=3),
        },
        "head": {
            "m/head/kernel:0": random(16, 3, seed=4),
            "m/electra/embeddings/weight:0": random(50, 16, seed=1),
        },
        "empty": {},
    }


def write_weight_names(group, weights):
    """Write the list as Keras does: in as many parts as it takes for each to be short enough."""
    encoded = np.array([name.encode() for name in weights])
    parts = 1
    while any(part.nbytes > MAX_ATTRIBUTE for part in np.array_split(encoded, parts)):
        parts += 1
    if parts == 1:
        group.attrs["weight_names"] = encoded
        return
    for number, part in enumerate(np.array_split(encoded, parts)):
        group.attrs[f"weight_names{number}"] = part


def plain(file, **options):
    write_layers(file, layers(), **options)


def compressed(**options):
    return lambda file: plain(file, chunks=True, **options)


def compact(file):
    write_layers(file, {"a": {f"a/compact_{at}:0": random(at + 1, 3, seed=at) for at in range(20)}})


def dtypes(file):
    write_layers(file, {"a": {f"a/{dtype}:0": random(7, 2, dtype=dtype) for dtype in DTYPES}})


def shapes(file):
    shapes = [(), (1,), (0,), (3, 0, 2), (2, 3, 4, 5), (1,) * 32]
    write_layers(file, {"a": {f"a/{at}:0": random(*shape) for at, shape in enumerate(shapes)}})


def nested(file):
    deep = "/".join(f"group_{at}" for at in range(40))
    write_layers(file, {"a": {f"{deep}/kernel:0": random(3), f"{deep}/more/kernel:0": random(2)}})


def many_layers(file):
    write_layers(file, {f"layer_{at}": {f"layer_{at}/kernel:0": random(2, seed=at)} for at in range(1500)})


def long_names(file):
    weights = {f"{'scope/' * 20}layer_._{at}/kernel:0": random(2, seed=at) for at in range(1200)}
    write_names(file, "layer_names", ["a"])
    group = file.create_group("a")
    write_weight_names(group, weights)
    assert "weight_names2" in group.attrs
    for name, value in weights.items():
        group[name] = value


def many_attributes(file):
    plain(file)
    for at in range(300):
        file["electra"].attrs[f"attribute_{at}"] = random(at)
        file["electra/m/electra/embeddings/weight:0"].attrs[f"note_{at}"] = f"text {at}"


def other_names(file):
    weights = {f"{name}/kernel:0": random(2) for name in ("ä b", "模型", "a.b-c", "🦀")}
    write_names(file, "layer_names", ["schön"])
    group = file.create_group("schön")
    write_names(group, "weight_names", list(weights))
    for name, value in weights.items():
        group[name] = value


def fixed_names(file):
    write_layers(file, {"fixed": {"a/kernel:0": random(2), "a/longer_name/kernel:0": random(3)}})


def text_names(file):
    write_layers(file, {"a": {}})
    file["a"].attrs["weight_names"] = ["a/kernel:0", "a/bias:0"]
    file["a/a/kernel:0"], file["a/a/bias:0"] = random(2), random(1)


def whole_model(file):
    file.attrs["model_config"] = "{}" * 20000
    plain(file.create_group("model_weights"))
    write_layers(file.create_group("optimizer_weights"), {"Adam": {"Adam/m:0": random(3)}})


def deleted(file):
    """Leave gaps and blocks of freed space in the file."""
    plain(file)
    for at in range(200):
        file[f"electra/old_{at}"] = random(10)
    for at in range(0, 200, 2):
        del file[f"electra/old_{at}"]


def resizable(file):
    write_layers(file, {"a": {}})
    write_names(file["a"], "weight_names", ["kernel:0"])
    file["a"].create_dataset("kernel:0", data=random(4), maxshape=(None,))


def external(file):
    write_layers(file, {"a": {}})
    write_names(file["a"], "weight_names", ["kernel:0"])
    Path(f"{file.filename}.raw").write_bytes(random(4).tobytes())
    file["a"].create_dataset("kernel:0", (4,), "<f4", external=[(f"{file.filename}.raw", 0, 16)])


def fill_value(file):
    """Values that were never written; h5py reads the fill value."""
    write_layers(file, {"a": {}})
    write_names(file["a"], "weight_names", ["kernel:0"])
    file["a"].create_dataset("kernel:0", (4,), "<f4", fillvalue=7)


def soft_link(file):
    plain(file)
    write_names(file["empty"], "weight_names", ["kernel:0"])
    file["empty/kernel:0"] = h5py.SoftLink("/head/m/head/kernel:0")


def named_type(file):
    write_layers(file, {"a": {}})
    write_names(file["a"], "weight_names", ["kernel:0"])
    file["type"] = np.dtype("<f4")
    file["a"].create_dataset("kernel:0", data=random(4), dtype=file["type"])


# Name, options of h5py.File, writer, what becomes of it.
READ, REFUSED, DAMAGED = "read", "refused", "damaged"
CASES = [
    ("contiguous", {}, plain, READ),
    ("compact", {}, compact, READ),
    ("dtypes", {}, dtypes, READ),
    ("shapes", {}, shapes, READ),
    ("nested", {}, nested, READ),
    ("many_layers", {}, many_layers, READ),
    ("long_names", {}, long_names, READ),
    ("many_attributes", {}, many_attributes, READ),
    # HDF5 keeps names that are not ASCII in another kind of group.
    ("other_names", {}, other_names, REFUSED),
    ("fixed_names", {}, fixed_names, READ),
    ("text_names", {}, text_names, READ),
    ("whole_model", {}, whole_model, READ),
    ("deleted", {}, deleted, READ),
    ("page_strategy", {"fs_strategy": "page", "fs_page_size": 4096}, plain, REFUSED),
    ("track_order", {"track_order": True}, plain, REFUSED),
    ("user_block", {"userblock_size": 512}, plain, REFUSED),
    ("chunked", {}, compressed(), REFUSED),
    ("gzip", {}, compressed(compression="gzip"), REFUSED),
    ("lzf", {}, compressed(compression="lzf"), REFUSED),
    ("shuffle", {}, compressed(shuffle=True), REFUSED),
    ("fletcher32", {}, compressed(fletcher32=True), REFUSED),
    ("resizable", {}, resizable, REFUSED),
    ("external", {}, external, REFUSED),
    ("soft_link", {}, soft_link, REFUSED),
    ("named_type", {}, named_type, REFUSED),
    ("fill_value", {}, fill_value, DAMAGED),
    ("libver_earliest", {"libver": "earliest"}, plain, READ),
    ("libver_earliest_v108", {"libver": ("earliest", "v108")}, plain, READ),
    ("libver_v108", {"libver": "v108"}, plain, REFUSED),
    ("libver_v110", {"libver": "v110"}, plain, REFUSED),
    ("libver_v112", {"libver": "v112"}, plain, REFUSED),
    ("libver_v114", {"libver": "v114"}, plain, REFUSED),
    ("libver_latest", {"libver": "latest"}, plain, REFUSED),
    ("libver_latest_attributes", {"libver": "latest"}, many_attributes, REFUSED),
]


def keras_files(folder):
    """Write files with Keras 2; yields the path and what becomes of it."""
    try:
        import tf_keras as keras
    except ImportError:
        print("skipped: files of Keras (no tf_keras)")
        return
    # One layer with so many weights that their names do not fit into one attribute.
    inside = [keras.layers.Dense(2, name=f"a_long_name_of_a_layer_{'x' * 60}_{at}") for at in range(400)]
    inner = keras.Sequential([keras.Input((2,)), *inside], name="inner")
    model = keras.Sequential([keras.Input((2,)), inner, keras.layers.Dense(1)])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    model.save_weights(folder / "keras.h5")
    with h5py.File(folder / "keras.h5") as file:
        assert "weight_names1" in file["inner"].attrs
    yield folder / "keras.h5", READ
    model.save(folder / "keras_model.h5")
    yield folder / "keras_model.h5", READ
    mixed = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, dtype="float16")])
    mixed.save_weights(folder / "keras_float16.h5")
    yield folder / "keras_float16.h5", READ
    model.save_weights(folder / "keras.weights.h5")
    yield folder / "keras.weights.h5", REFUSED


# Numbers of other dtypes in TensorFlow's types.proto; 0 stands for those that no row of tf-checkpoint has.
OTHER = {"uint8": 4, "int16": 5, "int8": 6, "bool": 10, "uint16": 17, "uint32": 22, "uint64": 23}
NAMED = {"float16", "float32", "float64", "int32", "int64"}


def listed_by_h5py(path):
    """Return the variables as the example `checksums` prints them."""
    rows = {}
    with h5py.File(path) as file:
        model = file if names(file, "layer_names") or "model_weights" not in file else file["model_weights"]
        groups = names(model, "layer_names")
        if "top_level_model_weights" in model:
            groups.append("top_level_model_weights")
        for group in groups:
            for name in names(model[group], "weight_names"):
                value = model[group][name][()]
                value = np.asarray(value, value.dtype.newbyteorder("<"))
                dtype = value.dtype.name
                if dtype in NAMED:
                    row = (dtype, f"{zlib.crc32(value.tobytes()):08x}")
                else:
                    row = (f"dtype {OTHER.get(dtype, 0)}", "-")
                row = (row[0], ",".join(map(str, value.shape)), row[1])
                before = rows.setdefault(name.removesuffix(":0"), row)
                assert before == row, f"copies of {name} differ"
    return ["\t".join([name, *rows[name]]) for name in sorted(rows, key=str.encode)]


class Checker:
    def __init__(self, program):
        self.program = program
        self.failures = []
        self.counts = dict.fromkeys((READ, REFUSED, DAMAGED), 0)
        self.variables = 0

    def check(self, path, expected=None):
        run = subprocess.run([self.program, path], capture_output=True, text=True)
        found = self.outcome(path, run)
        if found is None:
            return
        if expected not in (None, found):
            self.fail(path, f"{found}, expected {expected}: {run.stderr.strip()[:200]}")
            return
        self.counts[found] += 1

    def outcome(self, path, run):
        if run.returncode == 0:
            ours = run.stdout.splitlines()
            theirs = listed_by_h5py(path)
            if ours != theirs:
                pairs = [pair for pair in zip(ours, theirs) if pair[0] != pair[1]]
                self.fail(path, f"{len(ours)} variables, {len(theirs)} in h5py; first {pairs[:1]}")
                return None
            self.variables += len(ours)
            return READ
        text = run.stderr
        if run.returncode == 1 and any(word in text for word in REFUSALS):
            if any(word in text for word in ADVICE):
                return REFUSED
        elif run.returncode == 1 and any(word in text for word in DAMAGE):
            return DAMAGED
        self.fail(path, f"exit code {run.returncode}: {text.strip()[:300]}")
        return None

    def fail(self, path, what):
        self.failures.append(f"{Path(path).name}: {what}")


def built_program():
    target = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).parent.parent / "target"))
    built = [target / profile / "examples" / "checksums" for profile in ("release", "debug")]
    built = [path for path in built if path.is_file()]
    if not built:
        sys.exit("no program: run cargo build -p tf-checkpoint --example checksums, or give --program")
    return max(built, key=lambda path: path.stat().st_mtime)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", type=Path, help="the example checksums [default: the one built last]")
    parser.add_argument("paths", nargs="*", type=Path)
    args = parser.parse_args()
    print(f"h5py {h5py.version.version}, HDF5 {h5py.version.hdf5_version}")

    checker = Checker(args.program or built_program())
    for path in args.paths:
        for file in sorted(path.rglob("*.h5")) if path.is_dir() else [path]:
            checker.check(file)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name, options, write, expected in CASES:
            path = folder / f"{name}.h5"
            try:
                file = h5py.File(path, "w", **options)
            except ValueError as error:
                # An older or newer library.
                print(f"skipped: {name} ({error})")
                continue
            with file:
                write(file)
            checker.check(path, expected)
        for path, expected in keras_files(folder):
            checker.check(path, expected)
    for what, count in checker.counts.items():
        print(f"{what}: {count}")
    print(f"variables with the same name, dtype, shape and values: {checker.variables}")
    for failure in checker.failures:
        print(f"FAILED {failure}")
    sys.exit(1 if checker.failures or not checker.counts[READ] else 0)


if __name__ == "__main__":
    main()
