"""The checkpoints that check_buckets.py uploads, and the ways to name each of them.

One checkpoint of every format, arranged from fixtures/ as users arrange them. Paths are below the root of a bucket.
"""

import json
import shutil
import tarfile
import zipfile
from dataclasses import dataclass

import h5py
import numpy as np

DISCRIMINATOR = ("--model", "discriminator")


@dataclass(frozen=True)
class Case:
    """A checkpoint and the paths that name it."""

    name: str
    options: tuple
    # Paths that need no listing: a web server answers for them.
    known: tuple
    # Paths that need the names of a directory.
    listed: tuple = ()
    exit_code: int = 0


CASES = [
    Case(
        "TensorBundle",
        DISCRIMINATOR,
        (
            "run",
            "run/",
            "run/checkpoint",
            "run/model.ckpt-400",
            "run/model.ckpt-400.index",
            "run/model.ckpt-400.meta",
            "run/model.ckpt-400.data-00000-of-00001",
        ),
    ),
    Case("both models", ("--model", "both"), ("run/model.ckpt-400",)),
    Case("dry run", (*DISCRIMINATOR, "--dry-run"), ("run/model.ckpt-400",)),
    Case("two data files", DISCRIMINATOR, ("sharded", "sharded/model.ckpt-400.data-00001-of-00002")),
    Case("step", (*DISCRIMINATOR, "--step", "200"), (), ("steps",)),
    Case("latest step", DISCRIMINATOR, ("steps",)),
    Case("several steps", DISCRIMINATOR, (), ("unclear",), exit_code=3),
    Case("state file of another bucket", DISCRIMINATOR, ("foreign",)),
    Case("vocabulary two directories above", DISCRIMINATOR, ("above/runs/one", "above/runs/one/electra_tiny")),
    Case("without a state file", DISCRIMINATOR, ("stateless/electra_tiny",), ("stateless",)),
    Case("V1", DISCRIMINATOR, ("v1", "v1/model.ckpt-400")),
    Case(
        "V1, two files",
        DISCRIMINATOR,
        ("v1_sharded", *(f"v1_sharded/model.ckpt-400-0000{at}-of-00002" for at in range(2))),
        ("v1_sharded/model.ckpt-400",),
    ),
    Case(
        "SavedModel",
        ("--model", "generator"),
        ("saved/1", "saved/1/saved_model.pb", "saved/1/variables/variables.index"),
        ("saved", "saved/1/variables"),
    ),
    Case("SavedModel in a zip archive", ("--model", "generator"), ("masked_lm.zip",)),
    Case("HDF5", DISCRIMINATOR, ("h5/tf_model.h5",), ("h5",)),
    Case("large file", DISCRIMINATOR, ("large/tf_model.h5",)),
    Case("Model Garden", ("--model", "finetuned"), ("garden/train", "garden/train/ckpt-60")),
    Case("fine-tuned", ("--model", "finetuned"), ("sst", "sst/model.ckpt-32.index")),
    *(
        Case(
            name,
            DISCRIMINATOR,
            (archive, f"{archive}!/electra_tiny", f"{archive}!/electra_tiny/electra_tiny"),
        )
        for name, archive in [
            ("zip archive", "electra_tiny.zip"),
            ("stored zip archive", "stored.zip"),
            ("tar archive", "electra_tiny.tar"),
            ("compressed tar archive", "electra_tiny.tar.gz"),
        ]
    ),
]

# Names that are written in another way in a URL. On the web the path is that of the URL.
UNUSUAL = "a b+c%20d/é=1"
UNUSUAL_IN_URL = "a%20b+c%2520d/%C3%A9=1"

# A checkpoint that is uploaded where everyone may read.
PUBLIC = "above"

# Rows of the word embeddings of the large file: over 16 MiB, which are read and written by several requests.
LARGE_VOCABULARY = 300_000


def enlarge(folder):
    """Gives the model in an HDF5 file a large vocabulary."""
    found = []
    with h5py.File(folder / "tf_model.h5", "r+") as file:
        file.visit(lambda name: found.append(name) if "word_embeddings/weight" in name else None)
        [name] = found
        width = file[name].shape[1]
        del file[name]
        file[name] = np.random.default_rng(0).standard_normal((LARGE_VOCABULARY, width), np.float32)
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"vocab_size": LARGE_VOCABULARY}))


def make(root, fixtures):
    """Writes the checkpoints below `root`."""

    def copy(name, to, *more):
        ignored = shutil.ignore_patterns("golden.*", *more)
        shutil.copytree(fixtures / name, root / to, dirs_exist_ok=True, ignore=ignored)

    copy("tiny_default", "run")
    copy("fmt_sharded", "sharded")
    copy("fmt_f16", "steps")
    for path in list((root / "steps").glob("model.ckpt-400.*")):
        path.rename(path.with_name(path.name.replace("400", "200")))
    copy("fmt_no_state", "steps", "model.ckpt-200.*")
    copy("fmt_no_state", "unclear")
    state = 'model_checkpoint_path: "model.ckpt-400"\nall_model_checkpoint_paths: "model.ckpt-200"\n'
    (root / "steps" / "checkpoint").write_text(state)
    copy("fmt_foreign_state", "foreign")
    copy("fmt_weights_only", "stateless", "checkpoint")
    copy("fmt_weights_only", "above/runs/one", "vocab.txt")
    shutil.copy(fixtures / "fmt_weights_only" / "vocab.txt", root / "above")
    copy("fmt_weights_only", UNUSUAL)
    copy("fmt_v1", "v1")
    copy("fmt_v1_sharded", "v1_sharded")
    saved = fixtures / "saved_models" / "masked_lm.zip"
    shutil.copy(saved, root)
    with zipfile.ZipFile(saved) as archive:
        archive.extractall(root / "saved" / "1")
    copy("h5_pre_training", "h5")
    copy("h5_pre_training", "large")
    enlarge(root / "large")
    copy("garden_tagging", "garden/train", "params.yaml")
    shutil.copy(fixtures / "garden_tagging" / "params.yaml", root / "garden")
    copy("ft_sst", "sst")

    (root / "settings").mkdir()
    (root / "settings" / "config.json").write_text('{"model_type": "electra", "num_attention_heads": 2}')

    shutil.copy(fixtures / "fmt_zip.zip", root / "electra_tiny.zip")
    folder = fixtures / "fmt_weights_only"
    with zipfile.ZipFile(root / "stored.zip", "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f"electra_tiny/{path.name}")
    for name, mode in [("electra_tiny.tar", "w"), ("electra_tiny.tar.gz", "w:gz")]:
        with tarfile.open(root / name, mode) as archive:
            archive.add(folder, "electra_tiny")
    # Checkpoints are only read. Servers follow no links.
    assert not any(path.is_symlink() for path in root.rglob("*"))
