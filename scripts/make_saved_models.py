#!/usr/bin/env python3
"""Write the SavedModels of fixtures/saved_models.

    scripts/make_saved_models.py ELECTRA fixtures/saved_models [NAME...]

ELECTRA is a clone of https://github.com/google-research/electra, whose code builds the graphs of TensorFlow 1.
Needs `scripts/requirements-tensorflow.txt`. Without names it writes all of them, each an archive:

- classification: what save_pretrained(..., saved_model=True) of TFElectraForSequenceClassification writes,
  with dropout, a vocabulary among the assets, and the HDF5 file of the same weights;
- masked_lm: tf.saved_model.save of a TFElectraForMaskedLM whose head is tied;
- module: tf.saved_model.save of a tf.Module with two functions around a TFElectraForPreTraining, without
  signatures;
- simple_save: a discriminator of the original code, by tf.compat.v1.saved_model.simple_save;
- estimator: a fine-tuned classifier of the original code, as tf.estimator exports it, whose inputs come
  from serialised examples.

Beside each lies NAME.safetensors: one batch, and what the original graph computes for it.
"""

import os
import sys
import tempfile
import types
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import tensorflow as tf
from safetensors.numpy import save_file
from saved_archive import pack

v1 = tf.compat.v1
VOCABULARY, EMBEDDING, HIDDEN, HEADS, INNER, POSITIONS = 40, 8, 16, 2, 24, 20
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def batch(length=16):
    random = np.random.default_rng(5)
    ids = random.integers(5, VOCABULARY, (3, length), dtype=np.int32)
    mask = np.ones_like(ids)
    mask[1, length // 2 :] = 0
    ids[mask == 0] = 0
    types_ = np.zeros_like(ids)
    types_[2, length // 3 :] = 1
    return dict(zip(INPUTS, (ids, mask, types_)))


def values(name, shape):
    """Returns weights that are far from initialisation."""
    random = np.random.default_rng(sum(name.encode()))
    centre = 1.0 if "gamma" in name else 0.0
    return random.normal(centre, 0.3, shape).astype(np.float32)


def write_vocabulary(folder):
    folder.mkdir(exist_ok=True)
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens += [f"w{number}" for number in range(VOCABULARY - len(tokens))]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")


# TensorFlow 2


def hugging_face(name, **changes):
    """Returns a model of a class of transformers."""
    import transformers

    config = transformers.ElectraConfig(
        vocab_size=VOCABULARY,
        embedding_size=EMBEDDING,
        hidden_size=HIDDEN,
        num_attention_heads=HEADS,
        intermediate_size=INNER,
        max_position_embeddings=POSITIONS,
        **changes,
    )
    model = getattr(transformers, name)(config)
    model({key: tf.constant(value) for key, value in batch().items()})
    for weight in model.weights:
        weight.assign(values(weight.name, weight.shape))
    return model


def outputs_of(model, prefix):
    inputs = {key: tf.constant(value) for key, value in batch().items()}
    outputs = model(inputs, output_hidden_states=True)
    return {
        f"{prefix}_hidden": outputs.hidden_states[-1].numpy(),
        f"{prefix}_logits": outputs.logits.numpy(),
    }


def classification(folder):
    model = hugging_face(
        "TFElectraForSequenceClassification",
        num_hidden_layers=2,
        num_labels=3,
        hidden_act="relu",
        layer_norm_eps=1e-6,
    )
    model.save_pretrained(folder, saved_model=True)
    write_vocabulary(folder / "saved_model/1/assets")
    return outputs_of(model, "disc")


def masked_lm(folder):
    model = hugging_face("TFElectraForMaskedLM", num_hidden_layers=1)
    tf.saved_model.save(model, str(folder))
    return outputs_of(model, "gen")


def module(folder):
    model = hugging_face("TFElectraForPreTraining", num_hidden_layers=1)

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.electra = model

        def compute(self, ids, mask, kinds, training):
            inputs = dict(zip(INPUTS, (ids, mask, kinds)))
            return self.electra(inputs, training=training).logits

        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int64)] * 3)
        def detect(self, ids, mask, kinds):
            return self.compute(ids, mask, kinds, training=False)

        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int64)] * 3)
        def train(self, ids, mask, kinds):
            return self.compute(ids, mask, kinds, training=True)

    tf.saved_model.save(Module(), str(folder))
    return outputs_of(model, "disc")


# TensorFlow 1


def layer_norm(inputs, begin_norm_axis, begin_params_axis, scope):
    """Does what tf.contrib.layers.layer_norm does, which TensorFlow 2 does not have."""
    assert begin_norm_axis == begin_params_axis == -1
    with v1.variable_scope(scope, "LayerNorm", [inputs]):
        width = inputs.shape[-1:]
        beta = v1.get_variable("beta", width, initializer=v1.zeros_initializer())
        gamma = v1.get_variable("gamma", width, initializer=v1.ones_initializer())
        mean, variance = v1.nn.moments(inputs, [-1], keep_dims=True)
        return v1.nn.batch_normalization(inputs, mean, variance, beta, gamma, 1e-12)


def original_code(electra):
    """Imports model/modeling.py of the original code."""
    contrib = types.ModuleType("tensorflow.contrib")
    contrib.layers = types.ModuleType("tensorflow.contrib.layers")
    contrib.layers.layer_norm = layer_norm
    sys.modules["tensorflow.contrib"] = contrib
    sys.modules["tensorflow.contrib.layers"] = contrib.layers
    sys.path.insert(0, str(electra))
    from model import modeling

    return modeling


def encoder(modeling, inputs):
    config = modeling.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        intermediate_size=INNER,
        max_position_embeddings=POSITIONS,
    )
    model = modeling.BertModel(
        bert_config=config,
        is_training=False,
        input_ids=inputs["input_ids"],
        input_mask=inputs["attention_mask"],
        token_type_ids=inputs["token_type_ids"],
        use_one_hot_embeddings=False,
        embedding_size=EMBEDDING,
    )
    return model, config


def assign_values(session):
    for variable in v1.global_variables():
        if variable.dtype.base_dtype == tf.float32:
            variable.load(values(variable.op.name, variable.shape), session)
        else:
            variable.load(400, session)


def simple_save(folder, modeling):
    with tf.Graph().as_default(), v1.Session() as session:
        inputs = {name: v1.placeholder(tf.int32, [None, None], name=name) for name in INPUTS}
        model, config = encoder(modeling, inputs)
        # As PretrainingModel of the original code computes them.
        with v1.variable_scope("discriminator_predictions"):
            hidden = v1.layers.dense(
                model.get_sequence_output(),
                units=HIDDEN,
                activation=modeling.get_activation(config.hidden_act),
            )
            logits = tf.squeeze(v1.layers.dense(hidden, units=1), -1)
        v1.train.get_or_create_global_step()
        session.run(v1.global_variables_initializer())
        assign_values(session)
        v1.saved_model.simple_save(session, str(folder / "electra"), inputs, {"logits": logits})
        computed = session.run(
            [model.get_sequence_output(), logits],
            {inputs[name]: value for name, value in batch().items()},
        )
    return dict(zip(("disc_hidden", "disc_logits"), computed))


def estimator(folder, modeling):
    length = 16

    def model_fn(features, labels, mode, params):
        del labels, params
        model, _ = encoder(modeling, features)
        # As ClassificationTask of the original code computes them.
        with v1.variable_scope("task_specific/sst"):
            reprs = model.get_pooled_output()
            logits = v1.layers.dense(reprs, 2)
        loss = tf.reduce_sum(logits)
        step = v1.train.get_or_create_global_step()
        return v1.estimator.EstimatorSpec(
            mode,
            predictions={"logits": logits, "hidden": model.get_sequence_output()},
            loss=loss,
            train_op=v1.assign_add(step, 1),
            export_outputs={"serving_default": v1.estimator.export.PredictOutput({"logits": logits})},
        )

    def examples():
        return tf.data.Dataset.from_tensors(batch(length)).map(lambda inputs: (inputs, 0))

    def receiver():
        serialized = v1.placeholder(tf.string, [None], name="examples")
        parsed = v1.parse_example(
            serialized, {name: v1.FixedLenFeature([length], tf.int64) for name in INPUTS}
        )
        features = {name: tf.cast(value, tf.int32) for name, value in parsed.items()}
        return v1.estimator.export.ServingInputReceiver(features, {"examples": serialized})

    class Assign(v1.train.SessionRunHook):
        def after_create_session(self, session, coord):
            for placeholder, assign, name in self.assignments:
                value = values(name, placeholder.shape)
                session.run(assign, {placeholder: value})

        def begin(self):
            self.assignments = []
            for variable in v1.trainable_variables():
                placeholder = v1.placeholder(tf.float32, variable.shape)
                assign = v1.assign(variable, placeholder)
                self.assignments.append((placeholder, assign, variable.op.name))

    with tempfile.TemporaryDirectory() as directory:
        trained = v1.estimator.Estimator(model_fn, directory)
        trained.train(examples, [Assign()], steps=1)
        trained.export_saved_model(str(folder / "export"), receiver)
        [computed] = [list(trained.predict(examples))]
    [exported] = (folder / "export").iterdir()
    exported.rename(folder / "export/1600000000")
    return {
        "disc_hidden": np.stack([row["hidden"] for row in computed]),
        "disc_logits": np.stack([row["logits"] for row in computed]),
    }


MODELS = {
    "classification": classification,
    "masked_lm": masked_lm,
    "module": module,
    "simple_save": simple_save,
    "estimator": estimator,
}


def main():
    electra, out, *names = sys.argv[1:]
    out = Path(out)
    out.mkdir(exist_ok=True)
    modeling = original_code(Path(electra))
    for name in names or MODELS:
        with tempfile.TemporaryDirectory() as directory:
            folder = Path(directory)
            make = MODELS[name]
            computed = make(folder, modeling) if make in (simple_save, estimator) else make(folder)
            save_file(batch() | computed, out / f"{name}.safetensors")
            pack(folder, out / f"{name}.zip")


main()
