from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Progress = Callable[[str, int, int], object]

def main(words: list[str]) -> int: ...
def call(words: list[str], progress: _Progress | None = None) -> tuple[int, str, list[str]]: ...
def tensors(
    words: list[str], progress: _Progress | None = None
) -> tuple[int, str, list[str], dict[str, NDArray[np.floating[Any]]]]: ...
def tokenizer_files(
    words: list[str], progress: _Progress | None = None
) -> tuple[int, str, list[str], dict[str, str]]: ...
