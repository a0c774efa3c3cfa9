#!/usr/bin/env python3
"""Make the checkpoints of TensorFlow's Model Garden in fixtures/, and what the original models compute.

    python scripts/make_model_garden.py fixtures

Needs `pip install -r scripts/requirements-model-garden.txt` and then
`pip install --no-deps tf-models-official==2.20.0`, whose many other requirements are not used here.
Made with Python 3.11.

- garden_tied: a pre-trained model as Trainer saves it (`encoder`, `model`, `optimizer`, `global_step`), with
  tied word embeddings and a projection of the embeddings. 4 heads where hidden size / 64 is 0.
- garden_untied: a pre-trained model by tf.train.Checkpoint(model=...), with word embeddings of different
  sizes and without any projection.
- garden_encoder: an encoder alone, by save_weights.
- garden_tagging: a token classifier on the subclassed encoder (BertEncoderV2), as Trainer saves it.

- garden_params/electra.yaml: params.yaml of a pre-training run, with the sizes of garden_tied. garden_tagging has
  one of its own.

Beside each checkpoint lies golden.safetensors: one batch, and what the models compute for it.
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import dataclasses
import shutil
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras
from official.core import config_definitions, train_utils
from official.modeling import hyperparams, tf_utils
from official.nlp.configs import electra, encoders
from official.nlp.modeling import models
from safetensors.numpy import save_file

VOCABULARY = 64
LENGTH = 10


def encoder_config(kind="bert", **sizes):
    config = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 24,
        "type_vocab_size": 2,
        # So large that every weight matters in the outputs.
        "initializer_range": 0.2,
    }
    config = encoders.BertEncoderConfig(**config | sizes)
    return encoders.EncoderConfig(type=kind, **{kind: config.as_dict()})


def encoder(kind="bert", embedding_layer=None, **sizes):
    config = encoder_config(kind, **sizes)
    return encoders.build_encoder(config, embedding_layer=embedding_layer)


def batch():
    random = np.random.default_rng(5)
    ids = random.integers(5, VOCABULARY, (3, LENGTH), dtype=np.int32)
    mask = np.ones_like(ids)
    mask[1, 7:] = 0
    types = np.zeros_like(ids)
    types[2, 5:] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def of_encoder(network, inputs):
    words = dict(
        input_word_ids=inputs["input_ids"],
        input_mask=inputs["attention_mask"],
        input_type_ids=inputs["token_type_ids"],
    )
    return network({name: tf.constant(value) for name, value in words.items()}, training=False)


def pretrainer(discriminator, generator):
    """The model of ElectraPretrainTask, built as in `tasks/electra_task.py`."""
    return models.ElectraPretrainer(
        generator_network=generator,
        discriminator_network=discriminator,
        vocab_size=VOCABULARY,
        num_classes=2,
        num_token_predictions=3,
        mlm_activation=tf_utils.get_activation("gelu"),
        mlm_initializer=tf_keras.initializers.TruncatedNormal(stddev=0.2),
    )


def build(model, inputs):
    """Calls the model as training does, so that every layer has its variables."""
    positions = np.tile(np.arange(1, 4, dtype=np.int32), (3, 1))
    model(
        dict(
            input_word_ids=tf.constant(inputs["input_ids"]),
            input_mask=tf.constant(inputs["attention_mask"]),
            input_type_ids=tf.constant(inputs["token_type_ids"]),
            masked_lm_positions=tf.constant(positions),
            masked_lm_ids=tf.constant(inputs["input_ids"][:, 1:4]),
        )
    )


def randomise(model):
    """Biases and LayerNorms start as constants, which would hide a wrong name."""
    random = np.random.default_rng(6)
    for variable in model.weights:
        variable.assign_add(random.normal(0, 0.1, variable.shape).astype(np.float32))


def write_golden(folder, inputs, outputs):
    outputs = {name: np.ascontiguousarray(value) for name, value in outputs.items()}
    save_file(dict(inputs) | outputs, folder / "golden.safetensors")


def outputs_of(prefix, network, inputs):
    found = of_encoder(network, inputs)
    return {
        f"{prefix}_hidden": found["sequence_output"].numpy(),
        f"{prefix}_all_layers": np.stack([layer.numpy() for layer in found["encoder_outputs"]]),
    }


def golden_of_pretrainer(folder, model, inputs):
    disc = outputs_of("disc", model.discriminator_network, inputs)
    logits = model.discriminator_head(model.discriminator_projection(disc["disc_hidden"]))
    gen = outputs_of("gen", model.generator_network, inputs)
    positions = tf.constant(np.tile(np.arange(LENGTH, dtype=np.int32), (3, 1)))
    predictions = model.masked_lm(tf.constant(gen["gen_hidden"]), positions)
    heads = {"disc_logits": logits.numpy()[..., 0], "gen_logits": predictions.numpy()}
    write_golden(folder, inputs, disc | gen | heads)


def write(folder, checkpoint, step):
    manager = tf.train.CheckpointManager(checkpoint, folder, max_to_keep=1)
    manager.save(checkpoint_number=step)


def tied(folder, inputs):
    discriminator = encoder(embedding_size=16)
    shared = discriminator.get_embedding_layer()
    generator = encoder(
        embedding_layer=shared,
        embedding_size=16,
        hidden_size=24,
        num_attention_heads=3,
        intermediate_size=40,
    )
    model = pretrainer(discriminator, generator)
    build(model, inputs)
    randomise(model)
    checkpoint = tf.train.Checkpoint(
        global_step=tf.Variable(300, dtype=tf.int64),
        model=model,
        optimizer=tf_keras.optimizers.legacy.SGD(1e-3),
        **model.checkpoint_items,
    )
    # The optimizer creates its counters.
    checkpoint.optimizer.iterations.assign(300)
    write(folder, checkpoint, 400)
    golden_of_pretrainer(folder, model, inputs)


def untied(folder, inputs):
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}
    model = pretrainer(encoder(num_layers=1), encoder(num_layers=2, **sizes))
    build(model, inputs)
    randomise(model)
    write(folder, tf.train.Checkpoint(model=model), 500)
    golden_of_pretrainer(folder, model, inputs)


def alone(folder, inputs):
    network = encoder(num_layers=1, num_attention_heads=8, embedding_size=16)
    randomise(network)
    network.save_weights(folder / "encoder")
    write_golden(folder, inputs, outputs_of("disc", network, inputs))


def tagging(folder, inputs):
    network = encoder("bert_v2", num_attention_heads=2, embedding_size=16)
    of_encoder(network, inputs)
    model = models.BertTokenClassifier(network=network, num_classes=3, output="logits")
    randomise(model)
    write(folder, tf.train.Checkpoint(model=model, **model.checkpoint_items), 60)
    outputs = outputs_of("disc", network, inputs)
    logits = of_encoder(model, inputs)["logits"].numpy()
    write_golden(folder, inputs, outputs | {"disc_logits": logits})


@dataclasses.dataclass
class TaggingModel(hyperparams.Config):
    """As ModelConfig in `tasks/tagging.py`. The package of the tasks needs tensorflow_text."""

    encoder: encoders.EncoderConfig = dataclasses.field(default_factory=encoders.EncoderConfig)


@dataclasses.dataclass
class Task(config_definitions.TaskConfig):
    model: hyperparams.Config = None


def params(root):
    """What Trainer's program writes before training."""
    generator = dict(hidden_size=24, num_attention_heads=3, intermediate_size=40)
    pretrainer = electra.ElectraPretrainerConfig(
        discriminator_encoder=encoder_config(embedding_size=16),
        generator_encoder=encoder_config(embedding_size=16, **generator),
    )
    tagger = TaggingModel(encoder=encoder_config("bert_v2", num_attention_heads=2, embedding_size=16))
    for folder, model in {"garden_params": pretrainer, "garden_tagging": tagger}.items():
        config = config_definitions.ExperimentConfig(task=Task(model=model))
        train_utils.serialize_config(config, str(root / folder))
    folder = root / "garden_params"
    (folder / "params.yaml").rename(folder / "electra.yaml")


def main():
    root = Path(sys.argv[1])
    makers = {
        "garden_tied": tied,
        "garden_untied": untied,
        "garden_encoder": alone,
        "garden_tagging": tagging,
    }
    for name, make in makers.items():
        folder = root / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        tf_keras.utils.set_random_seed(4)
        make(folder, batch())
    params(root)


if __name__ == "__main__":
    main()
