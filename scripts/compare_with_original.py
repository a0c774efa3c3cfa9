#!/usr/bin/env python3
"""Compare electra-convert with the conversion script that transformers 4 had.

    scripts/compare_with_original.py [--program PATH] FIXTURES

Runs both on the same checkpoints and prints what became of each: tensors equal bit for bit, tensors
left at their initialisation (random ones differ when the script runs twice, others are all 0 or all
1), or an error. The script gets what it cannot do without, a config.json: the one that electra-convert
wrote, or, where there is nothing to write, that of the checkpoint's other model.

What both cost is measured by scripts/bench.sh.

Needs: pip install -r scripts/requirements-original.txt. Exits with 1 when a tensor that both write
differs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")

import torch
from safetensors.torch import load_file

from built_program import built_program

SCRIPT = "transformers.models.electra.convert_electra_original_tf_checkpoint_to_pytorch"

# What is asked of which fixture, and how the config.json is bent.
CASES = [
    ("tiny_default", "discriminator", {}),
    ("tiny_default", "generator", {}),
    ("trained", "discriminator", {}),
    ("trained", "generator", {}),
    ("tiny_noproj", "discriminator", {}),
    ("tiny_noproj", "generator", {}),
    ("tiny_default", "discriminator", {"num_hidden_layers": 3}),
    ("tiny_default", "discriminator", {"num_attention_heads": 8}),
    ("tiny_default", "discriminator", {"hidden_size": 128}),
    ("tiny_untied_embeddings", "generator", {}),
    ("tiny_tied", "discriminator", {}),
    ("tiny_tied", "generator", {}),
    ("tiny_mlm", "generator", {}),
    ("tiny_mlm", "discriminator", {}),
    ("tiny_uniform", "generator", {}),
    ("tiny_electric", "generator", {}),
    ("tiny_relu", "generator", {}),
    ("ft_sst", "discriminator", {}),
    ("fmt_v1", "discriminator", {}),
    ("fmt_partitioned", "discriminator", {}),
    ("fmt_zip.zip", "discriminator", {}),
    ("object_nvidia", "discriminator", {}),
]


def run(command):
    """Runs it; returns exit code and what it printed."""
    done = subprocess.run(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.returncode, done.stdout


def original(prefix, model, config, dump):
    return run(
        [sys.executable, "-m", SCRIPT, "--tf_checkpoint_path", prefix, "--config_file", config]
        + ["--discriminator_or_generator", model, "--pytorch_dump_path", dump]
    )


def ours(program, model, checkpoint, out, *options):
    command = [program, "--model", model, "--vocab", "none", "--force", *options, checkpoint, out]
    return run(command)


def tensors_of(dump):
    return {name: tensor.contiguous() for name, tensor in torch.load(dump).items()}


def equal(a, b):
    return a.dtype == b.dtype and torch.equal(a.view(torch.uint8), b.view(torch.uint8))


def compare(program, checkpoint, model, bend, folder):
    """One row of the table, and whether the two agree where both have a tensor."""
    inspected = run([program, "inspect", checkpoint, "--json"])[1]
    listed = json.loads(inspected)["checkpoint"]
    code, said = ours(program, model, checkpoint, folder / "out")
    mine = load_file(folder / "out/model.safetensors") if code == 0 else None
    we = f"{len(mine)} tensors" if mine else said.strip().split("\n")[-1].removeprefix("error: ")

    config = folder / "out/config.json"
    if mine is None:
        other = "generator" if model == "discriminator" else "discriminator"
        for which in (other, model):
            ours(program, which, checkpoint, folder / "out", "--allow-inexact")
    values = json.loads(config.read_text()) | bend
    (folder / "config.json").write_text(json.dumps(values))
    dumps = []
    for n in range(2):
        dump = folder / f"{n}.bin"
        failed, said = original(listed["prefix"], model, folder / "config.json", dump)
        if failed or not dump.is_file():
            why = said.strip().split("\n")[-1]
            return f"exit {failed}: {why[:90]}", we, True
        dumps.append(tensors_of(dump))
    first, second = dumps
    mine = mine or {}

    def is_untouched(name):
        if not equal(first[name], second[name]):
            return True
        is_constant = first[name].unique().numel() == 1
        return is_constant and (name not in mine or not equal(first[name], mine[name]))

    untouched = [name for name in first if is_untouched(name)]
    both = [name for name in first if name in mine and name not in untouched]
    differ = [name for name in both if not equal(first[name], mine[name])]
    # The decoder, which the script writes twice and we leave tied.
    tied = "electra.embeddings.word_embeddings.weight"
    decoder = first.get("generator_lm_head.weight")
    if mine and decoder is not None and not untouched and not equal(decoder, mine[tied]):
        differ.append("generator_lm_head.weight")
    they = f"exit 0, {len(both) - len(differ)} equal"
    if untouched:
        they += f", {len(untouched)} of {len(first)} left at their initialisation"
    if differ:
        they += f", {len(differ)} DIFFER: {differ[:3]}"
    return they, we, not differ


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", type=Path, help="electra-convert [default: the one built last]")
    parser.add_argument("fixtures", type=Path, help="where tiny_default and the others are")
    args = parser.parse_args()
    program = args.program or built_program()

    agree = True
    for name, model, bend in CASES:
        with tempfile.TemporaryDirectory() as folder:
            row = compare(program, args.fixtures / name, model, bend, Path(folder))
        agree &= row[2]
        bent = f" with {bend}" if bend else ""
        print(f"{name} {model}{bent}\n  script: {row[0]}\n  ours:   {row[1]}", flush=True)
    sys.exit(0 if agree else 1)


if __name__ == "__main__":
    main()
