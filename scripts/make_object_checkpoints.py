#!/usr/bin/env python3
"""Make the object-based checkpoints of fixtures/: TensorFlow 2 code saves Keras models.

    python scripts/make_object_checkpoints.py fixtures

Needs tensorflow-cpu 2.15 and transformers 4.46, whose TFElectra classes are the models:
`pip install tensorflow-cpu==2.15.1 transformers==4.46.3`.

- object_nvidia: a generator and a discriminator that share their embeddings, in the model, the
  optimizer and the counters that NVIDIA's TensorFlow 2 ELECTRA puts into its tf.train.Checkpoint.
- object_untied: both models with embeddings of their own, and the optimizer of Keras 2.11 and later.
- object_weights: a generator alone, trained with relu, by save_weights().

Beside each lies golden.safetensors: one batch, and what the models compute for it.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from safetensors.numpy import save_file
from transformers import ElectraConfig, TFElectraForMaskedLM, TFElectraForPreTraining

SIZES = {
    "vocab_size": 40,
    "embedding_size": 8,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    # So large that every weight matters in the outputs.
    "initializer_range": 0.3,
}
GENERATOR = {"hidden_size": 12, "num_attention_heads": 1, "intermediate_size": 20}


class PretrainingModel(tf.keras.Model):
    """Both models, as NVIDIA's class of this name holds them."""

    def __init__(self, shared):
        super().__init__()
        self.discriminator = TFElectraForPreTraining(ElectraConfig(**SIZES))
        self.generator = TFElectraForMaskedLM(ElectraConfig(**SIZES | GENERATOR))
        if shared:
            embeddings = self.discriminator.electra.embeddings
            self.generator.electra.embeddings = embeddings
            self.generator.generator_lm_head.input_embeddings = embeddings

    def call(self, batch):
        # The generator goes first, so that some of the shared embeddings bear its name.
        return self.generator(batch).logits, self.discriminator(batch).logits


def batch():
    random = np.random.default_rng(5)
    ids = random.integers(5, SIZES["vocab_size"], (3, 10), dtype=np.int32)
    mask = np.ones_like(ids)
    mask[1, 7:] = 0
    types = np.zeros_like(ids)
    types[2, 5:] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def randomise(model):
    """Biases and LayerNorms start as constants, which would hide a wrong name."""
    random = np.random.default_rng(6)
    for variable in model.weights:
        noise = random.normal(0, 0.1, variable.shape).astype(np.float32)
        variable.assign_add(noise)


def train_once(model, optimizer, inputs):
    """One step, so that the optimizer has its state."""
    with tf.GradientTape() as tape:
        loss = tf.add_n([tf.reduce_sum(logits**2) for logits in model(inputs)])
    weights = model.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))


def write_golden(folder, inputs, **models):
    outputs = dict(inputs)
    for prefix, model in models.items():
        found = model(inputs, output_hidden_states=True)
        outputs[f"{prefix}_hidden"] = found.hidden_states[-1].numpy()
        outputs[f"{prefix}_logits"] = found.logits.numpy()
    save_file(outputs, folder / "golden.safetensors")


def pretraining(folder, shared, optimizer, **counters):
    inputs = batch()
    model = PretrainingModel(shared)
    model(inputs)
    randomise(model)
    train_once(model, optimizer, inputs)
    checkpoint = tf.train.Checkpoint(optimizer=optimizer, model=model, **counters)
    manager = tf.train.CheckpointManager(checkpoint, folder, max_to_keep=1)
    manager.save(checkpoint_number=400)
    write_golden(folder, inputs, disc=model.discriminator, gen=model.generator)


def weights(folder):
    inputs = batch()
    model = TFElectraForMaskedLM(ElectraConfig(**SIZES, hidden_act="relu"))
    model(inputs)
    randomise(model)
    model.save_weights(folder / "weights")
    write_golden(folder, inputs, gen=model)


def main():
    root = Path(sys.argv[1])
    folders = [root / name for name in ("object_nvidia", "object_untied", "object_weights")]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    nvidia, untied, bare = folders
    tf.keras.utils.set_random_seed(4)
    pretraining(
        nvidia,
        True,
        tf.keras.mixed_precision.LossScaleOptimizer(tf.keras.optimizers.legacy.Adam(1e-3)),
        step=tf.Variable(300),
        phase2=tf.Variable(False),
    )
    pretraining(untied, False, tf.keras.optimizers.Adam(1e-3))
    weights(bare)


if __name__ == "__main__":
    main()
