"""Converts ELECTRA TensorFlow checkpoints to Hugging Face models, without TensorFlow.

>>> result = electra_convert.convert("fixtures/trained", out, model="discriminator")
>>> result.checkpoint.step
6000

`inspect`, `convert` and `verify` do what the program's commands do, `convert_many` converts many checkpoints; `config` and `state_dict` return a model's
configuration and tensors without writing a file. A checkpoint is a path or a URL. Every failure of the program is a
`ConvertError` with its ``exit_code``. The GIL is released while a command runs, so that threads convert in parallel;
Ctrl-C raises `KeyboardInterrupt` within a second. A process that was forked after the first call raises
`FailureError`.
"""

from ._api import config, convert, inspect, state_dict, verify
from ._errors import (
    CheckpointError,
    ConversionWarning,
    ConvertError,
    FailureError,
    ModelError,
    UsageError,
    VerificationError,
)
from ._hub import push_to_hub
from ._many import convert_many
from ._results import (
    AgreedSource,
    Checkpoint,
    CheckpointInfo,
    Checksums,
    ClassCheck,
    ComparedOutput,
    Conversion,
    Deviation,
    Export,
    File,
    GoldenCheck,
    GraphCheck,
    GraphOutput,
    HeadCount,
    HeadLogits,
    JobResult,
    LeftOut,
    MeasuredHeadCount,
    Mismatch,
    Model,
    NotEvaluated,
    Piece,
    RoleSummary,
    Source,
    Task,
    Tensor,
    TextCheck,
    TokenExamples,
    Tokenizer,
    TokenizerCheck,
    TokenizerEvidence,
    Variable,
    Verification,
)
from ._transformers import load, load_tokenizer

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
