"""The functions of the package, except those that need transformers or huggingface_hub."""

from . import _native
from ._call import run, words
from ._errors import UsageError
from ._options import program_options
from ._results import Checkpoint, Conversion, Verification, from_json


def inspect(
    checkpoint,
    *,
    step=None,
    rename=(),
    variables=True,
    graph=False,
    config=None,
    num_attention_heads=None,
    hidden_act=None,
    layer_norm_eps=None,
    allow_unknown=False,
    weights="raw",
    task=None,
    task_kind=None,
    labels=None,
):
    """Returns what a checkpoint holds: its models, their configurations with sources, its variables.

    ``checkpoint`` is a prefix (``model.ckpt-400``), one of the checkpoint's files, a directory, a SavedModel, an
    archive, or a URL (``gs://``, ``s3://``, ``az://``, ``https://``), as a string or an `os.PathLike`. ``step`` is the
    training step to read, by default the latest. ``variables=False`` leaves the list of variables empty;
    ``graph=True`` adds what a comparison with the training graph evaluates. The other options are those of
    `convert`.

    A model that cannot be exported has an ``error`` in place of its configuration.

    Raises `CheckpointError` if the checkpoint is missing or corrupt, `UsageError` for a wrong option.

    >>> checkpoint = electra_convert.inspect("fixtures/trained")
    >>> checkpoint.info.step
    6000
    >>> [model.model for model in checkpoint.models]
    ['discriminator', 'generator']
    >>> checkpoint.models[0].config["num_attention_heads"]
    4
    >>> checkpoint.models[0].config_sources["num_attention_heads"].kind
    'meta_graph'
    """
    options = dict(locals())
    for name in ("checkpoint", "variables", "graph"):
        del options[name]
    # No name has a line break.
    options["grep"] = None if variables else r"\n"
    options = {**program_options(options), "graph": graph}
    (document,) = run(words("inspect", [checkpoint], options))
    return from_json(Checkpoint, document)


def convert(
    checkpoint,
    out,
    *,
    model,
    step=None,
    rename=(),
    dtype="keep",
    force=False,
    dry_run=False,
    config=None,
    num_attention_heads=None,
    hidden_act=None,
    layer_norm_eps=None,
    allow_unknown=False,
    allow_inexact=False,
    weights="raw",
    task=None,
    task_kind=None,
    labels=None,
    vocab=None,
    do_lower_case=None,
    strip_accents=None,
    text=None,
    seed=None,
    graph=True,
    verify=True,
    threads=None,
    model_card=False,
    license=None,
    language=None,
    base_model=None,
    report=None,
    progress=None,
):
    """Converts a model of a checkpoint, verifies the files and publishes them in the directory ``out``.

    ``model`` is ``"discriminator"``, ``"generator"``, ``"both"`` (into ``out/discriminator`` and ``out/generator``) or
    ``"finetuned"``. ``out`` is created if necessary; it may be the URL of a directory in a bucket. The files appear
    together after verification, or not at all.

    Options have the names of the program's: ``step`` (training step, by default the latest), ``rename``
    (``"REGEX=REPLACEMENT"`` strings), ``dtype`` (``"keep"``, ``"float32"``, ``"float16"``, ``"bfloat16"``), ``force``
    (replaces an earlier export), ``dry_run`` (writes nothing), ``config`` (path of a config.json),
    ``num_attention_heads``, ``hidden_act``, ``layer_norm_eps``, ``allow_unknown``, ``allow_inexact``, ``weights``
    (``"raw"`` or ``"average"``), ``task``, ``task_kind``, ``labels`` (names in order), ``vocab`` (path of the
    vocabulary; False writes no tokenizer), ``do_lower_case``, ``strip_accents``, ``text`` (path of a text to measure
    the model on) with its ``seed``, ``graph=False`` (no comparison with the training graph), ``verify=False``,
    ``threads``.

    ``model_card=True`` also writes a model card for the Hugging Face Hub, ``README.md``, with ``license``,
    ``language`` (a list of codes) and ``base_model`` if they are given. A README.md is replaced only with ``force``.

    ``report`` is the path of a page to write, which must end in ``.html``: it shows the model, the settings, every check
    and the weights, even if verification fails. An existing page is replaced only with ``force``.

    ``progress(phase, done, total)`` is called on this thread, at most about twenty times a second. ``phase`` is
    ``"opening"`` (a checkpoint in a bucket, without a total), ``"reading"`` (unit: variables), ``"converting"``,
    ``"verifying"``, ``"comparing"``, ``"uploading"``, ``"reading back"`` (bytes) or ``"measuring"`` (sequences). An exception in it cancels the conversion, as Ctrl-C does: ``out`` stays as it was.

    Warnings are issued as `ConversionWarning`.

    Raises `CheckpointError`, `ModelError` if the model cannot be exported, `UsageError` if ``out`` has such files
    already, `VerificationError` if the export did not pass, `FailureError` for I/O errors.

    >>> result = electra_convert.convert("fixtures/trained", out, model="discriminator")
    >>> [export.architecture for export in result.exports]
    ['ElectraForPreTraining']
    >>> result.exports[0].verification.passed
    True
    """
    options = dict(locals())
    for name in ("checkpoint", "out", "progress"):
        del options[name]
    (document,) = run(words("convert", [checkpoint, out], program_options(options)), progress)
    return from_json(Conversion, document)


def verify(
    directory,
    *,
    source=None,
    step=None,
    rename=(),
    graph=True,
    golden=None,
    tolerance=None,
    text=None,
    generator=None,
    seed=None,
    threads=None,
    report=None,
    force=False,
    progress=None,
):
    """Verifies a converted directory again, and returns the checks.

    ``source`` is the checkpoint to compare with (``step``, ``rename`` and ``graph`` as in `convert`), ``golden`` a
    safetensors file with reference outputs, which may deviate by ``tolerance``; ``text`` is the path of a text to
    measure the model on, with ``generator``, a converted directory, and ``seed``. ``report`` is the path of a page to
    write, as in `convert`; ``force`` replaces an existing one.

    Raises `VerificationError` if a check failed; its ``verification`` has all checks.

    >>> _ = electra_convert.convert("fixtures/trained", out, model="generator")
    >>> electra_convert.verify(out, source="fixtures/trained").checksums.against_index
    58
    """
    options = dict(locals())
    for name in ("directory", "progress"):
        del options[name]
    # Without a checkpoint there is no graph.
    options["graph"] = graph or source is None
    (document,) = run(words("verify", [directory], program_options(options)), progress)
    return from_json(Verification, document)


def config(checkpoint, *, model, **options):
    """Returns the config.json of a model as a dictionary. Nothing is written.

    Options are those of `convert`. Raises what `convert` raises for a model that cannot be exported.

    >>> electra_convert.config("fixtures/trained", model="generator")["hidden_size"]
    64
    """
    (document,) = run(dry_run(checkpoint, model, {"vocab": False, **options}))
    return document["exports"][0]["config"]


def state_dict(checkpoint, *, model, dtype=None, progress=None, **options):
    """Returns the tensors of a model under the names of transformers, as NumPy arrays.

    Kernels ``[in, out]`` are transposed to weights ``[out, in]``. ``dtype`` is ``"float32"`` or ``"float16"``; by
    default each array has the element type of its variable, and float64 becomes float32. NumPy has no bfloat16. The
    CRC-32C of each variable is checked as it is read. Nothing is written. Other options are those of `convert`;
    ``progress`` is as there.

    Raises what `convert` raises for a model that cannot be exported, and `UsageError` for an element type that NumPy
    does not have.

    >>> tensors = electra_convert.state_dict("fixtures/trained", model="discriminator")
    >>> tensors["electra.embeddings.word_embeddings.weight"].shape
    (1200, 64)
    """
    options = {"vocab": False, "dtype": "keep" if dtype is None else dtype, **options}
    if program_options(options)["dtype"] == "bf16":
        raise UsageError('NumPy has no bfloat16; give dtype="float32" or dtype="float16"')
    line = dry_run(checkpoint, model, options)
    try:
        _, tensors = run(line, progress, _native.tensors)
    except TypeError as error:
        raise UsageError(str(error)) from None
    return tensors


def dry_run(checkpoint, model, options):
    """Returns the command line of a conversion of one model that writes nothing."""
    if model == "both":
        raise UsageError('model="both" is two models: give one of them')
    for name in options:
        if name not in _PLAN_OPTIONS:
            raise TypeError(f"{name!r} is not an option of a conversion that writes nothing")
    options = program_options({"model": model, "dry_run": True, **options})
    return words("convert", [checkpoint, "."], options)


# The options of `convert` that decide what is exported.
_PLAN_OPTIONS = frozenset(convert.__kwdefaults__ or ()) - {
    "base_model",
    "dry_run",
    "force",
    "graph",
    "language",
    "license",
    "model_card",
    "progress",
    "report",
    "seed",
    "text",
    "verify",
}
