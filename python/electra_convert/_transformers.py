"""Loads a checkpoint as an object of transformers, which is imported when it is needed."""

import importlib
import os
import tempfile

from . import _native
from ._api import convert, dry_run, inspect
from ._call import run
from ._errors import ModelError, UsageError


# What `from_pretrained` would change after the export was verified.
_SETTINGS = frozenset({"num_attention_heads", "hidden_act", "layer_norm_eps"})


def load(checkpoint, *, model, cls=None, options=None, progress=None, **kwargs):
    """Returns a model of transformers with the weights of a checkpoint.

    Converts into a temporary directory, verifies, and loads from there: what ``from_tf=True`` did in transformers 4.
    ``model`` is ``"discriminator"``, ``"generator"`` or ``"finetuned"``. ``cls`` is the class to load, or its name;
    by default the class of the export. Another class of ELECTRA, such as ``ElectraForSequenceClassification``, loads
    the encoder, and transformers initialises its head. ``options`` are keyword arguments of `convert`, ``progress`` is
    as there; the other keyword arguments go to ``cls.from_pretrained``, except
    ``num_attention_heads``, ``hidden_act`` and ``layer_norm_eps``, which are options of the conversion.

    Needs transformers and PyTorch: ``pip install 'electra-convert[transformers]'``.

    Raises what `convert` raises, and `ImportError` without transformers.
    """
    transformers = _import()
    _refuse_both(model)
    for name in sorted(_SETTINGS & kwargs.keys()):
        raise UsageError(f"{name} is an option of the conversion: give options={{{name!r}: ...}}")
    with tempfile.TemporaryDirectory(
        prefix="electra-convert-load-", ignore_cleanup_errors=True
    ) as directory:
        options = {"model": model, "progress": progress, **(options or {})}
        for name in ("dry_run", "force"):
            if name in options:
                raise TypeError(f"{name} is no option here: the files are temporary")
        (export,) = convert(checkpoint, directory, **options).exports
        if cls is None:
            cls = export.architecture
        if isinstance(cls, str):
            cls = getattr(transformers, cls)
        return cls.from_pretrained(directory, **kwargs)


def load_tokenizer(checkpoint, *, model=None, options=None, **kwargs):
    """Returns the tokenizer of a checkpoint as an object of transformers.

    Its token ids are those of the original code with the settings that the vocabulary shows. No weights are written.
    ``model`` is the model whose number of positions limits the length, by default the first that can be exported.
    ``options`` are keyword arguments of `convert` such as ``vocab`` or ``do_lower_case``; the other keyword arguments
    go to ``AutoTokenizer.from_pretrained``.

    Needs transformers: ``pip install 'electra-convert[transformers]'``.

    Raises what `convert` raises, `UsageError` if no vocabulary was found, and `ImportError` without transformers.
    """
    transformers = _import()
    if model is None:
        model = _first_model(checkpoint, options or {})
    line = dry_run(checkpoint, model, options or {})
    _, files = run(line, None, _native.tokenizer_files)
    if "vocab.txt" not in files:
        raise UsageError("no vocabulary was found beside the checkpoint: give options={'vocab': PATH}")
    with tempfile.TemporaryDirectory(prefix="electra-convert-load-") as directory:
        for name, text in files.items():
            with open(os.path.join(directory, name), "w", encoding="utf-8", newline="") as file:
                file.write(text)
        return transformers.AutoTokenizer.from_pretrained(directory, **kwargs)


def _first_model(checkpoint, options):
    """Returns the name of the first model that can be exported."""
    shared = {name: value for name, value in options.items() if name in inspect.__kwdefaults__}
    models = inspect(checkpoint, variables=False, **shared).models
    for model in models:
        if model.error is None:
            return model.model
    raise ModelError("; ".join(f"{model.model}: {model.error}" for model in models))


def _refuse_both(model):
    if model == "both":
        raise UsageError('model="both" is two models: give one of them')


def _import():
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise ImportError(
            "this needs transformers and PyTorch: pip install 'electra-convert[transformers]'"
        ) from error
