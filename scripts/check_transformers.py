#!/usr/bin/env python3
"""Load exports into the transformers that is installed, and compare all there is to compare.

    scripts/check_transformers.py [--program PATH] CHECKPOINT_OR_FOLDER_OF_THEM...

Each checkpoint is converted, every model that is in it. Then, with PyTorch and with TensorFlow,
whichever is installed:

- every ELECTRA class loads the export, and calls the same keys missing and unexpected as
  `electra-convert verify --json` does;
- where golden.safetensors lies beside the checkpoint (NAME.safetensors beside NAME.zip), hidden states and
  logits are those of the original graph within 2e-5 where attention_mask is 1;
- each head that starts anew gets random weights, which go back into a file, on which our candle head
  gives the same logits within 1e-5;
- AutoConfig, AutoTokenizer, AutoModel and pipeline("fill-mask") work without a network, the pipeline
  with the candidates of `electra-convert probe`, the tokenizers with the ids of BertTokenizer.

Needs: pip install -r scripts/requirements-tensorflow.txt (the TensorFlow classes, which transformers 5
no longer has), or scripts/requirements-pytorch.txt, or both. Exits with 1 when anything differs, with 2
when there is nothing to check with.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

os.environ.update(
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_VERBOSITY="error",
    TF_CPP_MIN_LOG_LEVEL="3",
    CUDA_VISIBLE_DEVICES="",
    TOKENIZERS_PARALLELISM="false",
)
warnings.filterwarnings("ignore")

import numpy as np
import transformers
import transformers.utils.logging
from built_program import built_program
from safetensors.numpy import load_file, save_file
from transformers import AutoConfig, AutoTokenizer, BertTokenizer

GOLDEN_TOLERANCE = 2e-5
HEAD_TOLERANCE = 1e-5
PROBE_TOLERANCE = 1e-4
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
LINES = [
    "The quick brown fox jumps over the lazy dog.",
    "the [MASK] of the function .",
    "Ünïcödé, naïve CAFÉ; it's U.S.A. 3.14",
    "北京 漢字 한국어 العربية",
    "a\tb\u00a0c \u200b\u00ad e\u0301",
    "",
]


class PyTorch:
    """The classes of transformers in PyTorch."""

    name = "PyTorch"

    def __init__(self):
        import torch

        self.torch = torch
        self.version = torch.__version__
        torch.manual_seed(0)

    def class_of(self, name):
        return getattr(transformers, name)

    def run(self, model, inputs):
        model.eval()
        with self.torch.no_grad():
            tensors = {k: self.torch.from_numpy(v.astype(np.int64)) for k, v in inputs.items()}
            return model(**tensors, output_hidden_states=True)

    def randomise(self, model, keys):
        """Fills these weights with random numbers; returns them."""
        weights = model.state_dict()
        random = np.random.default_rng(0)
        found = {}
        for key in sorted(keys):
            found[key] = random_weight(random, key, tuple(weights[key].shape))
            weights[key].copy_(self.torch.from_numpy(found[key]))
        return found

    def fill_mask(self, folder):
        return transformers.pipeline("fill-mask", model=folder, tokenizer=folder, device="cpu")

    def auto_model(self, folder):
        return transformers.AutoModel.from_pretrained(folder)


class TensorFlow:
    """The classes of transformers 4 in TensorFlow."""

    name = "TensorFlow"

    def __init__(self):
        import tensorflow

        # transformers 5 has none.
        transformers.TFElectraModel  # noqa: B018
        self.version = tensorflow.__version__

    def class_of(self, name):
        return getattr(transformers, f"TF{name}", None)

    def run(self, model, inputs):
        return model(dict(inputs), output_hidden_states=True)

    def randomise(self, model, keys):
        from transformers.modeling_tf_pytorch_utils import (
            apply_transpose,
            convert_tf_weight_name_to_pt_weight_name,
        )

        random = np.random.default_rng(0)
        found = {}
        for weight in model.weights:
            key, transpose = convert_tf_weight_name_to_pt_weight_name(
                weight.name, tf_weight_shape=weight.shape
            )
            if key in keys:
                value = random_weight(random, key, tuple(weight.shape))
                weight.assign(value)
                found[key] = np.ascontiguousarray(apply_transpose(transpose, value))
        return found

    def fill_mask(self, folder):
        return transformers.pipeline(
            "fill-mask", model=folder, tokenizer=folder, framework="tf", device=-1
        )

    def auto_model(self, folder):
        return transformers.TFAutoModel.from_pretrained(folder)


def random_weight(random, key, shape):
    centre = 1.0 if "LayerNorm" in key and key.endswith("weight") else 0.0
    return random.normal(centre, 0.2, shape).astype(np.float32)


class Checker:
    """Checks exports one by one, and remembers what differed."""

    def __init__(self, program, frameworks):
        self.program = program
        self.frameworks = frameworks
        self.failures = []
        self.counts = Counter()
        self.worst = {}

    def convert_and_check(self, checkpoint):
        listed = self.tool("inspect", checkpoint)
        for choice in listed["models"]:
            if "error" in choice and "--allow-inexact" not in str(choice["error"]):
                continue
            with tempfile.TemporaryDirectory() as folder:
                self.export = f"{checkpoint} {choice['model']}"
                self.check(checkpoint, choice, Path(folder))

    def check(self, checkpoint, choice, folder):
        out = folder / "out"
        if "error" in choice:
            options = ["--allow-inexact"]
        else:
            options = ["--num-attention-heads", str(heads_of(checkpoint, choice))]
        if choice.get("task"):
            options += ["--task", choice["task"]]
        if checkpoint.name == "object_weights":
            options += ["--hidden-act", "relu"]
        converted = self.tool("convert", "--model", choice["model"], *options, checkpoint, out)
        is_float32 = converted["exports"][0]["dtype"] == "float32"
        self.is_inexact = converted["exports"][0]["inexact"] is not None
        has_tokenizer = (out / "vocab.txt").is_file()
        verified = self.tool("verify", out)

        AutoConfig.from_pretrained(out)
        if has_tokenizer:
            self.check_tokenizer(out)
        for framework in self.frameworks:
            framework.auto_model(out)
            for head in verified["classes"]:
                # transformers refuses to load a tensor of another shape.
                if head["mismatched"] or framework.class_of(head["class"]) is None:
                    continue
                model = self.check_keys(framework, out, head)
                if head["class"] == verified["architecture"]:
                    self.check_golden(framework, checkpoint, head["class"], model, is_float32)
                elif is_float32 and head["output_shape"]:
                    self.check_head(framework, folder, out, head, model)
            if has_tokenizer and verified["architecture"] == "ElectraForMaskedLM":
                self.check_pipeline(framework, out, is_float32)
        print(f"  {self.export}", flush=True)

    def check_keys(self, framework, out, head):
        cls = framework.class_of(head["class"])
        model, info = cls.from_pretrained(out, output_loading_info=True)
        for kind in ("missing", "unexpected"):
            theirs = sorted(info[f"{kind}_keys"])
            if theirs != head[kind]:
                self.fail(f"{cls.__name__}: {kind} {theirs}, verify says {head[kind]}")
        self.counts[f"{framework.name}: classes loaded"] += 1
        return model

    def check_golden(self, framework, checkpoint, cls, model, is_float32):
        is_archive = checkpoint.suffix == ".zip"
        golden = checkpoint.with_suffix(".safetensors") if is_archive else checkpoint / "golden.safetensors"
        if not golden.is_file() or not is_float32:
            return
        golden = load_file(golden)
        prefix = "gen" if cls == "ElectraForMaskedLM" else "disc"
        outputs = run(framework, model, cls, {name: golden[name] for name in INPUTS})
        present = golden["attention_mask"] == 1
        for output, value in outputs.items():
            expected = golden.get(f"{prefix}_{output}")
            if expected is None or (self.is_inexact and output == "logits"):
                continue
            deviation = np.abs(value - expected)
            is_per_token = deviation.shape[:2] == present.shape
            deviation = (deviation[present] if is_per_token else deviation).max()
            self.measure(f"{framework.name}: {output}", deviation, GOLDEN_TOLERANCE)

    def check_head(self, framework, folder, out, head, model):
        """Sends a random head through a file into candle."""
        cls = head["class"]
        if not head["missing"]:
            return
        weights = framework.randomise(model, set(head["missing"]))
        if sorted(weights) != head["missing"]:
            self.fail(f"{cls}: found {sorted(weights)} of the new head")
            return
        there = folder / cls
        there.mkdir(exist_ok=True)
        config = json.loads((out / "config.json").read_text())
        (there / "config.json").write_text(json.dumps(config | {"architectures": [cls]}))
        own = load_file(out / "model.safetensors")
        kept = {name: own[name] for name in own if name not in head["unexpected"]}
        save_file(kept | weights, there / "model.safetensors", {"format": "pt"})

        inputs = random_inputs(config)
        logits = run(framework, model, cls, inputs)["logits"]
        prefix = "gen" if cls in ("ElectraForMaskedLM", "ElectraForCausalLM") else "disc"
        golden = there / "golden.safetensors"
        save_file(inputs | {f"{prefix}_logits": np.ascontiguousarray(logits)}, golden)
        checked = self.tool("verify", there, "--golden", golden, "--tolerance", "1", check=False)
        if not checked.get("passed"):
            self.fail(f"{cls} with a random head: {checked.get('failures', checked)}")
            return
        [output] = checked["golden"]["outputs"]
        self.measure(f"{framework.name}: random {cls}", output["deviation"], HEAD_TOLERANCE)

    def check_tokenizer(self, out):
        config = json.loads((out / "tokenizer_config.json").read_text())
        settings = {key: config[key] for key in ("do_lower_case", "strip_accents")}
        reference = BertTokenizer(str(out / "vocab.txt"), **settings)
        for fast in (True, False):
            ours = AutoTokenizer.from_pretrained(out, use_fast=fast)
            for line in LINES:
                found, expected = ours(line)["input_ids"], reference(line)["input_ids"]
                if found != expected:
                    self.fail(f"{type(ours).__name__} {line!r}: {found}, BertTokenizer {expected}")
        self.counts["tokenizers"] += 1

    def check_pipeline(self, framework, out, is_float32):
        text = "the [MASK] of the function ."
        probed = self.tool("probe", out, text)["texts"][0]["masks"][0]["candidates"]
        found = framework.fill_mask(str(out))(text)
        for ours, theirs in zip(probed, found, strict=True):
            # transformers 5 computes in 16 bits where the weights are so; we do not.
            difference = abs(ours["probability"] - theirs["score"])
            if is_float32 and difference > PROBE_TOLERANCE:
                self.fail(f"fill-mask gives {theirs}, probe {ours}")
        self.counts[f"{framework.name}: fill-mask pipelines"] += 1

    def measure(self, what, deviation, tolerance):
        deviation = float(deviation)
        worst, _, times = self.worst.get(what, (0.0, tolerance, 0))
        self.worst[what] = (max(worst, deviation), tolerance, times + 1)
        if not deviation <= tolerance:
            self.fail(f"{what} is {deviation:.1e} off, more than {tolerance:.0e}")

    def fail(self, what):
        self.failures.append(f"{self.export}: {what}")

    def tool(self, command, *args, check=True):
        run = subprocess.run(
            [self.program, command, *map(str, args), "--json"], capture_output=True, text=True
        )
        if check and run.returncode:
            sys.exit(f"electra-convert {command} {' '.join(map(str, args))}:\n{run.stderr}")
        return json.loads(run.stdout)


def heads_of(checkpoint, choice):
    """The true head count, which no shape tells, where it is known."""
    known = checkpoint / "golden.json"
    if known.is_file():
        return json.loads(known.read_text())[choice["model"]]["num_attention_heads"]
    told = choice["config"]["num_attention_heads"]
    # The tiny fixtures without golden.json: two heads for 64, as hparams.json has it.
    return {64: 2, 16: 2}.get(choice["config"]["hidden_size"], told)


def run(framework, model, cls, inputs):
    """Returns the outputs as a reference file of `verify --golden` has them."""
    is_choice = cls == "ElectraForMultipleChoice"
    # The sequences are the choices of one question.
    given = {k: v[None] for k, v in inputs.items()} if is_choice else inputs
    found = framework.run(model, given)
    outputs = {"hidden": np.asarray(found.hidden_states[-1])}
    if cls == "ElectraForQuestionAnswering":
        outputs["logits"] = np.stack([found.start_logits, found.end_logits], -1)
    elif cls != "ElectraModel":
        logits = np.asarray(found.logits)
        outputs["logits"] = logits[0] if is_choice else logits
    return outputs


def random_inputs(config):
    random = np.random.default_rng(1)
    length = min(11, config["max_position_embeddings"])
    ids = random.integers(0, config["vocab_size"], (3, length), dtype=np.int32)
    mask = np.ones_like(ids)
    mask[1, length - 3 :] = 0
    types = np.zeros_like(ids)
    types[2, length // 2 :] = 1
    return dict(zip(INPUTS, (ids, mask, types), strict=True))


def checkpoints(paths):
    """The paths, and of a folder of checkpoints those that have their data."""

    def is_complete(folder):
        is_v1 = (folder / "checkpoint").is_file() and not any(folder.glob("*.index"))
        return is_v1 or any(folder.glob("*.data-*")) or any(folder.glob("*.h5"))

    for path in paths:
        if not path.is_dir() or is_complete(path):
            yield path
            continue
        for below in sorted(path.iterdir()):
            if is_complete(below):
                # Several steps and nothing that says which.
                yield below / "model.ckpt-400" if below.name == "fmt_no_state" else below
            elif below.suffix == ".zip":
                yield below


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", type=Path, help="electra-convert [default: the one built last]")
    parser.add_argument("paths", nargs="+", type=Path)
    args = parser.parse_args()

    transformers.utils.logging.disable_progress_bar()
    frameworks = []
    for framework in (PyTorch, TensorFlow):
        try:
            frameworks.append(framework())
        except (ImportError, AttributeError, RuntimeError) as error:
            reason = str(error).strip().split("\n")[0]
            print(f"skipped: everything in {framework.name} ({reason})")
    found = ", ".join(f"{framework.name} {framework.version}" for framework in frameworks)
    if not frameworks:
        print("neither PyTorch nor a TensorFlow that transformers supports is installed")
        sys.exit(2)
    print(f"transformers {transformers.__version__} with {found}")

    checker = Checker(args.program or built_program(), frameworks)
    for checkpoint in checkpoints(args.paths):
        checker.convert_and_check(checkpoint)
    print()
    for what, times in sorted(checker.counts.items()):
        print(f"{what}: {times}")
    for what, (worst, tolerance, times) in sorted(checker.worst.items()):
        print(f"{what}: at most {worst:.1e} off in {times} (allowed {tolerance:.0e})")
    for failure in checker.failures:
        print(f"FAILED {failure}")
    passed = sum(checker.counts.values()) + sum(times for *_, times in checker.worst.values())
    print(f"\n{passed - len(checker.failures)} passed, {len(checker.failures)} failed")
    sys.exit(1 if checker.failures else 0)


if __name__ == "__main__":
    main()
