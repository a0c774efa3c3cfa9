"""The tests run against the installed wheel: scripts/test_python.sh."""

import os
import subprocess
import sys
from pathlib import Path

import electra_convert
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

if REPOSITORY / "python" in Path(electra_convert.__file__).resolve().parents:
    raise RuntimeError("install the wheel: these tests must not import the source tree")


@pytest.fixture
def fixtures():
    """The directory of checkpoints."""
    return REPOSITORY / "fixtures"


@pytest.fixture(autouse=True)
def in_repository(monkeypatch):
    """Paths in the tests and the documents begin at the root of the repository."""
    monkeypatch.chdir(REPOSITORY)


@pytest.fixture
def program():
    """Runs the console script of this environment."""
    script = Path(sys.executable).parent / "electra-convert"

    def run(*words, **options):
        environment = {**os.environ, **options.pop("env", {})}
        return subprocess.run(
            [script, *words], capture_output=True, text=True, env=environment, **options
        )

    return run
