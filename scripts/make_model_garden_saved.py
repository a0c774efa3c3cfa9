#!/usr/bin/env python3
"""Write the SavedModels of TensorFlow's Model Garden in fixtures/garden_saved_models.

    python scripts/make_model_garden_saved.py fixtures/garden_saved_models [NAME...]

Needs what make_model_garden.py needs. Without names it writes all of them, each an archive:

- garden_encoder: `save` of a functional encoder (BertEncoder) with relu, which has a signature;
- garden_tied: tf.saved_model.save of a tf.Module without signatures around an ElectraPretrainer with tied word
  embeddings and a projection of the embeddings;
- garden_untied: `save` with save_traces=False of an ElectraPretrainer whose generator has word embeddings of its own:
  it holds no function that computes the model;
- garden_tagging: a token classifier on the subclassed encoder (BertEncoderV2) in an ExportModule, by
  `official.core.export_base.export`, in a directory with a number for its name.

Beside each lies NAME.safetensors: one batch, and what the original models compute for it.
"""

import sys
import tempfile
from pathlib import Path

# First: it chooses Keras 2.
import make_model_garden as garden
import numpy as np
import tensorflow as tf
import tf_keras
from official.core import export_base
from official.nlp.modeling import models
from saved_archive import pack
from safetensors.numpy import save_file

SIZES = {
    "vocab_size": 32,
    "hidden_size": 8,
    "num_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 12,
    "max_position_embeddings": 12,
}
garden.VOCABULARY = SIZES["vocab_size"]
INPUTS = {
    "input_ids": "input_word_ids",
    "attention_mask": "input_mask",
    "token_type_ids": "input_type_ids",
}


def encoder(kind="bert", **sizes):
    return garden.encoder(kind, **SIZES | sizes)


def outputs_of(prefix, network, inputs):
    return {f"{prefix}_hidden": garden.of_encoder(network, inputs)["sequence_output"].numpy()}


def alone(folder, inputs):
    network = encoder(hidden_activation="relu", embedding_size=4)
    garden.randomise(network)
    network.save(folder, include_optimizer=False, save_format="tf")
    return outputs_of("disc", network, inputs)


def outputs_of_pretrainer(model, inputs):
    disc = outputs_of("disc", model.discriminator_network, inputs)
    gen = outputs_of("gen", model.generator_network, inputs)
    hidden = model.discriminator_projection(disc["disc_hidden"])
    logits = model.discriminator_head(hidden).numpy()[..., 0]
    positions = tf.constant(np.tile(np.arange(garden.LENGTH, dtype=np.int32), (3, 1)))
    predictions = model.masked_lm(tf.constant(gen["gen_hidden"]), positions).numpy()
    return disc | gen | {"disc_logits": logits, "gen_logits": predictions}


def tied(folder, inputs):
    discriminator = encoder(embedding_size=4)
    shared = discriminator.get_embedding_layer()
    generator = encoder(
        embedding_layer=shared, embedding_size=4, hidden_size=6, num_attention_heads=3
    )
    model = garden.pretrainer(discriminator, generator)
    garden.build(model, inputs)
    garden.randomise(model)
    spec = [tf.TensorSpec([None, None], tf.int32)] * 3

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.pretrainer = model

        @tf.function(input_signature=spec)
        def detect(self, ids, mask, kinds):
            hidden = model.discriminator_network([ids, mask, kinds], training=False)
            hidden = model.discriminator_projection(hidden["sequence_output"])
            return model.discriminator_head(hidden)

    tf.saved_model.save(Module(), str(folder))
    return outputs_of_pretrainer(model, inputs)


def untied(folder, inputs):
    model = garden.pretrainer(encoder(), encoder(num_attention_heads=2))
    garden.build(model, inputs)
    garden.randomise(model)
    model.save(folder, include_optimizer=False, save_format="tf", save_traces=False)
    return outputs_of_pretrainer(model, inputs)


class Tagging(export_base.ExportModule):
    """As the class of this name in `serving/serving_modules.py`, which needs tensorflow_text."""

    @tf.function
    def serve(self, input_word_ids, input_mask, input_type_ids):
        inputs = dict(
            input_word_ids=input_word_ids, input_mask=input_mask, input_type_ids=input_type_ids
        )
        return dict(logits=self.inference_step(inputs)["logits"])

    def get_inference_signatures(self, function_keys):
        specs = {
            name: tf.TensorSpec([None, None], tf.int32, name=name) for name in INPUTS.values()
        }
        return {key: self.serve.get_concrete_function(**specs) for key in function_keys.values()}


def tagging(folder, inputs):
    network = encoder("bert_v2", embedding_size=4)
    garden.of_encoder(network, inputs)
    model = models.BertTokenClassifier(network=network, num_classes=3, output="logits")
    garden.randomise(model)
    module = Tagging(params=None, model=model)
    export_base.export(module, ["serve"], str(folder / "1700000000"), timestamped=False)
    logits = garden.of_encoder(model, inputs)["logits"].numpy()
    return outputs_of("disc", network, inputs) | {"disc_logits": logits}


MODELS = {
    "garden_encoder": alone,
    "garden_tied": tied,
    "garden_untied": untied,
    "garden_tagging": tagging,
}


def main():
    out, *names = sys.argv[1:]
    out = Path(out)
    out.mkdir(exist_ok=True)
    for name in names or MODELS:
        tf_keras.backend.clear_session()
        tf_keras.utils.set_random_seed(4)
        inputs = garden.batch()
        with tempfile.TemporaryDirectory() as directory:
            folder = Path(directory)
            outputs = MODELS[name](folder, inputs)
            outputs = {key: np.ascontiguousarray(value) for key, value in outputs.items()}
            golden = out / f"{name}.safetensors"
            save_file(inputs | outputs, golden)
            golden.chmod(0o644)
            # Keras' description of its layers and the fingerprint are read by nothing here.
            for name_ in ("keras_metadata.pb", "fingerprint.pb"):
                for path in folder.rglob(name_):
                    path.unlink()
            pack(folder, out / f"{name}.zip")


if __name__ == "__main__":
    main()
