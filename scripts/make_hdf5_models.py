#!/usr/bin/env python3
"""Write tiny models of the TensorFlow classes of transformers as `tf_model.h5`, with their outputs.

    scripts/make_hdf5_models.py fixtures

Needs: pip install -r scripts/requirements-tensorflow.txt

For each class in MODELS it writes a directory with what `save_pretrained` writes; `variables.tsv`, the
variables as h5py reads them (scripts/make_hdf5_files.py); and `golden.safetensors`, a batch and what the
Keras model computes for it. For the directories in KEPT, it writes `golden.safetensors` alone.
"""

import os
import sys
import warnings
from pathlib import Path

os.environ.update(TRANSFORMERS_VERBOSITY="error", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")
warnings.filterwarnings("ignore")

import numpy as np
import transformers
from make_hdf5_files import checksum, listing
from safetensors.numpy import save_file

SIZES = {
    "vocab_size": 96,
    "embedding_size": 16,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "max_position_embeddings": 24,
}
# The directory, the class, what differs from SIZES.
MODELS = [
    ("h5_model", "Model", {"embedding_size": 32, "hidden_act": "gelu_new"}),
    ("h5_token_classification", "ForTokenClassification", {"num_labels": 5}),
    ("h5_question_answering", "ForQuestionAnswering", {"layer_norm_eps": 1e-6}),
    ("h5_multiple_choice", "ForMultipleChoice", {"hidden_act": "relu", "num_attention_heads": 2}),
]
# Models that exist already: the directory, the class.
KEPT = [
    ("h5_masked_lm", "ForMaskedLM"),
    ("h5_sequence_classification", "ForSequenceClassification"),
]


def randomise(model, random):
    """Replace the weights by random numbers that are far from the initial ones."""
    for variable in model.weights:
        mean = 1.0 if variable.name.endswith("gamma:0") else 0.0
        variable.assign(random.normal(mean, 0.2, variable.shape).astype(np.float32))


def batch(random):
    """Return three sequences, one with padding and one with two segments."""
    ids = random.integers(0, SIZES["vocab_size"], (3, 10), dtype=np.int32)
    mask = np.ones_like(ids)
    mask[1, 7:] = 0
    types = np.zeros_like(ids)
    types[2, 5:] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def outputs(model, inputs):
    """Return the outputs under their names in a reference file (`electra-convert verify --golden`)."""
    prefix = "gen" if type(model).__name__.endswith("MaskedLM") else "disc"
    is_choice = type(model).__name__.endswith("MultipleChoice")
    # The sequences are the choices of one question.
    given = {name: value[None] for name, value in inputs.items()} if is_choice else inputs
    found = model(given)
    if "last_hidden_state" in found:
        return {"disc_hidden": found.last_hidden_state.numpy()}
    if "start_logits" in found:
        logits = np.stack([found.start_logits, found.end_logits], -1)
    else:
        logits = found.logits.numpy()
    return {f"{prefix}_logits": np.ascontiguousarray(logits[0] if is_choice else logits)}


def write(folder, name, settings, random):
    config = transformers.ElectraConfig(**SIZES | settings)
    model = getattr(transformers, f"TFElectra{name}")(config)
    model.build_in_name_scope()
    randomise(model, random)
    model.save_pretrained(folder)
    write_outputs(folder, model, random)
    (folder / "variables.tsv").write_text(listing(folder / "tf_model.h5", checksum))


def write_outputs(folder, model, random):
    inputs = batch(random)
    save_file(inputs | outputs(model, inputs), folder / "golden.safetensors")


def main():
    random = np.random.default_rng(11)
    folder = Path(sys.argv[1])
    for name, class_name, settings in MODELS:
        write(folder / name, class_name, settings, random)
    for name, class_name in KEPT:
        model = getattr(transformers, f"TFElectra{class_name}").from_pretrained(folder / name)
        write_outputs(folder / name, model, random)


if __name__ == "__main__":
    main()
