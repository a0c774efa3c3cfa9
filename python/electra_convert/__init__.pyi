from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from os import PathLike
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ._results import (
    AgreedSource as AgreedSource,
    Checkpoint as Checkpoint,
    CheckpointInfo as CheckpointInfo,
    Checksums as Checksums,
    ClassCheck as ClassCheck,
    ComparedOutput as ComparedOutput,
    Conversion as Conversion,
    Deviation as Deviation,
    Export as Export,
    File as File,
    GoldenCheck as GoldenCheck,
    GraphCheck as GraphCheck,
    GraphOutput as GraphOutput,
    HeadCount as HeadCount,
    HeadLogits as HeadLogits,
    JobResult as JobResult,
    LeftOut as LeftOut,
    MeasuredHeadCount as MeasuredHeadCount,
    Mismatch as Mismatch,
    Model as Model,
    NotEvaluated as NotEvaluated,
    Piece as Piece,
    RoleSummary as RoleSummary,
    Source as Source,
    Task as Task,
    Tensor as Tensor,
    TextCheck as TextCheck,
    TokenExamples as TokenExamples,
    Tokenizer as Tokenizer,
    TokenizerCheck as TokenizerCheck,
    TokenizerEvidence as TokenizerEvidence,
    Variable as Variable,
    Verification as Verification,
)

__all__ = [
    "AgreedSource",
    "Checkpoint",
    "CheckpointError",
    "CheckpointInfo",
    "Checksums",
    "ClassCheck",
    "ComparedOutput",
    "Conversion",
    "ConversionWarning",
    "ConvertError",
    "Deviation",
    "Export",
    "FailureError",
    "File",
    "GoldenCheck",
    "GraphCheck",
    "GraphOutput",
    "HeadCount",
    "HeadLogits",
    "JobResult",
    "LeftOut",
    "MeasuredHeadCount",
    "Mismatch",
    "Model",
    "ModelError",
    "NotEvaluated",
    "Piece",
    "RoleSummary",
    "Source",
    "Task",
    "Tensor",
    "TextCheck",
    "TokenExamples",
    "Tokenizer",
    "TokenizerCheck",
    "TokenizerEvidence",
    "UsageError",
    "Variable",
    "Verification",
    "VerificationError",
    "config",
    "convert",
    "convert_many",
    "inspect",
    "load",
    "load_tokenizer",
    "push_to_hub",
    "state_dict",
    "verify",
]

_Path = str | bytes | PathLike[str] | PathLike[bytes]
_Progress = Callable[[str, int, int], object]
_OneModel = Literal["discriminator", "generator", "finetuned"]
_Dtype = Literal["keep", "f32", "f16", "bf16", "float32", "float16", "bfloat16"]
_Weights = Literal["raw", "average"]
_TaskKind = Literal["tagging", "classification", "span"]

class ConvertError(Exception):
    exit_code: int

class FailureError(ConvertError): ...
class UsageError(ConvertError): ...
class CheckpointError(ConvertError): ...
class ModelError(ConvertError): ...

class VerificationError(ConvertError):
    verification: Verification | None
    def __init__(self, message: str = "", verification: Verification | None = None) -> None: ...

class ConversionWarning(UserWarning): ...

def inspect(
    checkpoint: _Path,
    *,
    step: int | None = None,
    rename: Sequence[str] = (),
    variables: bool = True,
    graph: bool = False,
    config: _Path | None = None,
    num_attention_heads: int | None = None,
    hidden_act: str | None = None,
    layer_norm_eps: float | None = None,
    allow_unknown: bool = False,
    weights: _Weights = "raw",
    task: str | None = None,
    task_kind: _TaskKind | None = None,
    labels: Sequence[str] | None = None,
) -> Checkpoint: ...
def convert(
    checkpoint: _Path,
    out: _Path,
    *,
    model: Literal["discriminator", "generator", "both", "finetuned"],
    step: int | None = None,
    rename: Sequence[str] = (),
    dtype: _Dtype = "keep",
    force: bool = False,
    dry_run: bool = False,
    config: _Path | None = None,
    num_attention_heads: int | None = None,
    hidden_act: str | None = None,
    layer_norm_eps: float | None = None,
    allow_unknown: bool = False,
    allow_inexact: bool = False,
    weights: _Weights = "raw",
    task: str | None = None,
    task_kind: _TaskKind | None = None,
    labels: Sequence[str] | None = None,
    vocab: _Path | Literal[False] | None = None,
    do_lower_case: bool | None = None,
    strip_accents: bool | None = None,
    text: _Path | None = None,
    seed: int | None = None,
    graph: bool = True,
    verify: bool = True,
    threads: int | None = None,
    model_card: bool = False,
    license: str | None = None,
    language: Sequence[str] | None = None,
    base_model: str | None = None,
    report: _Path | None = None,
    progress: _Progress | None = None,
) -> Conversion: ...
def convert_many(
    jobs: Iterable[Mapping[str, Any]],
    *,
    executor: Literal["threads", "ray"] | Executor = "threads",
    num_workers: int | None = None,
    skip_completed: bool = True,
    on_error: Literal["collect", "raise"] = "collect",
    memory: int | None = None,
    retries: int = 3,
    progress: Callable[[int, str, int, int], object] | None = None,
) -> Iterator[JobResult]: ...
def verify(
    directory: _Path,
    *,
    source: _Path | None = None,
    step: int | None = None,
    rename: Sequence[str] = (),
    graph: bool = True,
    golden: _Path | None = None,
    tolerance: float | None = None,
    text: _Path | None = None,
    generator: _Path | None = None,
    seed: int | None = None,
    threads: int | None = None,
    report: _Path | None = None,
    force: bool = False,
    progress: _Progress | None = None,
) -> Verification: ...
def config(checkpoint: _Path, *, model: _OneModel, **options: Any) -> dict[str, Any]: ...
def state_dict(
    checkpoint: _Path,
    *,
    model: _OneModel,
    dtype: Literal["f32", "f16", "float32", "float16"] | None = None,
    progress: _Progress | None = None,
    **options: Any,
) -> dict[str, NDArray[np.floating[Any]]]: ...
def load(
    checkpoint: _Path,
    *,
    model: _OneModel,
    cls: type[Any] | str | None = None,
    options: Mapping[str, Any] | None = None,
    progress: _Progress | None = None,
    **kwargs: Any,
) -> Any: ...
def load_tokenizer(
    checkpoint: _Path,
    *,
    model: _OneModel | None = None,
    options: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> Any: ...
def push_to_hub(
    directory: str | PathLike[str],
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
    create_pr: bool = False,
    endpoint: str | None = None,
    verify: bool = True,
) -> str: ...
