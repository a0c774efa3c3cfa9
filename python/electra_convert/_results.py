"""Results: frozen dataclasses with the fields of the program's JSON documents.

``docs/json.md`` of the repository describes each field. Lengths are in bytes, times in seconds; a value that is not
known is None. Sequences are tuples.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from typing import Any

from ._errors import ConvertError


@dataclass(frozen=True)
class CheckpointInfo:
    """A checkpoint: its files, its training step and which models it has."""

    prefix: str
    name: str
    format: str
    object_based: bool
    shards: int
    archive: str | None
    inflated_bytes: int | None
    step: int | None
    setup: str | None
    description: str | None


@dataclass(frozen=True)
class AgreedSource:
    """Another source of the same value."""

    kind: str
    detail: str


@dataclass(frozen=True)
class Source:
    """Where a value of a configuration comes from."""

    kind: str
    detail: str
    agreed: tuple[AgreedSource, ...] | None = None
    note: str | None = None


@dataclass(frozen=True)
class GraphOutput:
    """What a comparison with the training graph evaluates of one output."""

    name: str
    output: str | None = None
    ids: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None
    position_ids: tuple[str, ...] | None = None
    masks: tuple[str, ...] | None = None
    positions: tuple[str, ...] | None = None
    batch: int | None = None
    length: int | None = None
    nodes: int | None = None
    node: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Model:
    """A model of a checkpoint. Of one that cannot be exported, ``error`` is the reason and ``config`` is None."""

    model: str
    task: str | None
    architecture: str | None = None
    tensors: int | None = None
    parameters: int | None = None
    bytes: int | None = None
    config: dict[str, Any] | None = None
    config_sources: dict[str, Source] | None = None
    command: str | None = None
    graph: tuple[GraphOutput, ...] | None = None
    error: str | None = None


@dataclass(frozen=True)
class RoleSummary:
    """The variables of one role."""

    role: str
    variables: int
    elements: int
    bytes: int


@dataclass(frozen=True)
class Piece:
    """A variable, or a slice of one, in a data file."""

    file: str | None
    offset: int | None
    bytes: int
    crc32c: str | None
    slice: tuple[tuple[int, ...], ...] | None


@dataclass(frozen=True)
class Variable:
    """A variable of a checkpoint."""

    name: str
    renamed: str | None
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    role: str
    average_of: str | None
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds: the result of `inspect`."""

    info: CheckpointInfo = field(metadata={"json": "checkpoint"})
    models: tuple[Model, ...]
    roles: tuple[RoleSummary, ...]
    variables: tuple[Variable, ...]


@dataclass(frozen=True)
class Tensor:
    """A tensor of an export."""

    name: str
    variables: tuple[str, ...]
    recipe: str
    shape: tuple[int, ...]
    from_dtype: str
    dtype: str
    rounded: bool


@dataclass(frozen=True)
class LeftOut:
    """Variables of one role that are not exported."""

    role: str
    variables: int
    bytes: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """The task of a fine-tuned model."""

    name: str
    kind: str
    labels: int


@dataclass(frozen=True)
class TokenExamples:
    """A number of tokens, and the first of them."""

    tokens: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class TokenizerEvidence:
    """What the tokens of a vocabulary show of the settings of a tokenizer."""

    tokens: int
    with_case: int
    lost_by_lower_casing: TokenExamples
    lost_by_stripping: TokenExamples
    only_by_stripping: TokenExamples
    split_words: TokenExamples


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer that is written."""

    vocabulary: str
    tokens: int
    rows: int | None
    notes: tuple[str, ...]
    do_lower_case: bool
    decided_by: str
    strip_accents: bool | None
    accents_decided_by: str
    evidence: TokenizerEvidence


@dataclass(frozen=True)
class File:
    """A written file."""

    path: str
    bytes: int


@dataclass(frozen=True)
class Mismatch:
    """A tensor of another shape than a class expects."""

    name: str
    found: tuple[int, ...]
    expected: tuple[int, ...]


@dataclass(frozen=True)
class ClassCheck:
    """What one class of transformers finds in the weights, and what it computes."""

    loaded: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[Mismatch, ...]
    output_shape: tuple[int, ...] | None
    padding_deviation: float | None
    order_deviation: float | None
    seconds: float | None
    name: str = field(metadata={"json": "class"})


@dataclass(frozen=True)
class Checksums:
    """Number of tensors by what they were compared with."""

    against_index: int
    rounded: int
    by_value: int
    computed: int
    against_recorded: int
    unchecked: int


@dataclass(frozen=True)
class HeadLogits:
    """The comparison of a fine-tuned head with the checkpoint's own."""

    name: str
    deviation: float
    tolerance: float | None
    sequences: int


@dataclass(frozen=True)
class HeadCount:
    """The number of attention heads in config.json, and what the weights show of it."""

    configured: int
    verdict: str
    count: int | None
    margin: float


@dataclass(frozen=True)
class TokenizerCheck:
    """The tokenizer files of an export."""

    tokens: int
    rows: int
    do_lower_case: bool
    strip_accents: bool
    missing: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ComparedOutput:
    """An output that the model and the training graph both computed."""

    name: str
    deviation: float
    tolerance: float
    first_difference: str | None


@dataclass(frozen=True)
class NotEvaluated:
    """An output of the training graph that was not evaluated."""

    output: str
    node: str | None
    reason: str


@dataclass(frozen=True)
class GraphCheck:
    """The comparison with the training graph."""

    outputs: tuple[ComparedOutput, ...]
    tolerance: float | None
    nodes: int
    not_evaluated: tuple[NotEvaluated, ...]
    seconds: float


@dataclass(frozen=True)
class Deviation:
    """The largest absolute deviation of one output."""

    name: str
    deviation: float


@dataclass(frozen=True)
class GoldenCheck:
    """The comparison with reference outputs."""

    tolerance: float
    outputs: tuple[Deviation, ...]
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class MeasuredHeadCount:
    """How well a model with one number of attention heads predicts a text; ``loss`` is in nats a token."""

    heads: int
    loss: float
    better: float
    accuracy: float | None = None
    auc: float | None = None


@dataclass(frozen=True)
class TextCheck:
    """The measurement on text."""

    configured: int
    sequences: int
    tokens: int
    measured: tuple[MeasuredHeadCount, ...]
    uses_context: float
    verdict: str


@dataclass(frozen=True)
class Verification:
    """All checks of an export. ``folder`` is None for a part of a conversion."""

    passed: bool
    architecture: str
    classes: tuple[ClassCheck, ...]
    checksums: Checksums
    task: HeadLogits | None
    constant: tuple[str, ...]
    head_count: HeadCount
    tokenizer: TokenizerCheck | None
    graph: GraphCheck | None
    golden: GoldenCheck | None
    text: TextCheck | None
    failures: tuple[str, ...]
    seconds: float
    folder: str | None = None


@dataclass(frozen=True)
class Export:
    """A model that was exported. After a dry run ``files`` and ``verification`` are None."""

    model: str
    architecture: str
    parameters: int
    bytes: int
    dtype: str
    config: dict[str, Any]
    config_sources: dict[str, Source]
    tensors: tuple[Tensor, ...]
    left_out: tuple[LeftOut, ...]
    inexact: str | None
    weights: str
    task: Task | None
    tokenizer: Tokenizer | None
    warnings: tuple[str, ...]
    files: tuple[File, ...] | None = None
    verification: Verification | None = None


@dataclass(frozen=True)
class Conversion:
    """The result of `convert`: one export for each model. After a dry run ``seconds`` is None."""

    checkpoint: CheckpointInfo
    exports: tuple[Export, ...]
    seconds: float | None = None


@dataclass(frozen=True)
class JobResult:
    """The result of a job of `convert_many`.

    ``status`` is ``"converted"``, ``"skipped"`` (a matching export was there) or ``"failed"``. ``index`` is the number
    of the job, and ``job`` the mapping that was given.
    """

    index: int
    job: dict[str, Any]
    out: str
    status: str
    conversion: Conversion | None = None
    error: ConvertError | None = None
    warnings: tuple[str, ...] = ()


_Hint = Any


def _value(hint: _Hint, value: Any) -> Any:
    """Makes a value of an annotated type from its JSON form."""
    if value is None:
        return None
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _value(arguments[0], value)
    if origin is tuple:
        return tuple(_value(arguments[0], item) for item in value)
    if origin is dict:
        return {key: _value(arguments[1], item) for key, item in value.items()}
    return from_json(hint, value) if dataclasses.is_dataclass(hint) else value


def json_name(of: dataclasses.Field[Any]) -> str:
    """Returns the name of a field in JSON."""
    return typing.cast(str, of.metadata.get("json", of.name))


def from_json(cls: Any, document: dict[str, Any]) -> Any:
    """Makes a dataclass from a JSON object. Fields that the dataclass does not have are ignored."""
    hints = typing.get_type_hints(cls)
    fields = dataclasses.fields(cls)
    present = {
        f.name: _value(hints[f.name], document[json_name(f)])
        for f in fields
        if json_name(f) in document
    }
    return cls(**present)
