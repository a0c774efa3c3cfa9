"""The installed package: console script, metadata, stubs, import."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import electra_convert
import pytest


def test_console_script_and_module_are_the_program(program):
    version = importlib.metadata.version("electra-convert")
    assert program("--version").stdout == f"electra-convert {version}\n"
    command = [sys.executable, "-m", "electra_convert"]
    finished = subprocess.run([*command, "--version"], capture_output=True, text=True)
    assert finished.stdout == f"electra-convert {version}\n"
    help_text = program("--help").stdout
    assert "--num-attention-heads" in help_text and "Exit codes" in help_text


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("man/man1/electra-convert.1", ["man"]),
        ("bash-completion/completions/electra-convert", ["completions", "bash"]),
        ("zsh/site-functions/_electra-convert", ["completions", "zsh"]),
        ("fish/vendor_completions.d/electra-convert.fish", ["completions", "fish"]),
    ],
)
def test_the_manual_page_and_completions_are_installed(program, file, words):
    """scripts/share.sh writes them before maturin packs the wheel."""
    printed = program(*words).stdout
    assert printed and Path(sys.prefix, "share", file).read_text() == printed


def test_the_program_restarts_with_its_number_of_threads(program, fixtures, tmp_path):
    """candle reads the number from the environment, so that the program starts itself again."""
    words = ["--model", "generator", fixtures / "trained", tmp_path / "out", "--threads", "1"]
    finished = program(*words)
    assert finished.returncode == 0, finished.stderr
    assert "Exported the generator" in finished.stdout


def test_a_missing_model_lists_commands(program, fixtures, tmp_path):
    finished = program(fixtures / "trained", tmp_path / "out", stdin=subprocess.DEVNULL)
    assert finished.returncode == 2
    assert f"electra-convert --model discriminator {fixtures / 'trained'}" in finished.stderr


def test_import_is_quick_and_imports_nothing_large():
    code = "import sys, electra_convert; print([m for m in sys.modules if '.' not in m])"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert not {"numpy", "torch", "transformers", "huggingface_hub"} & set(eval(finished.stdout))
    # Of the processor, so that other programs on the machine do not count.
    clock = "time.process_time()"
    code = f"import time; t = {clock}; import electra_convert; print({clock} - t)"
    times = []
    for _ in range(5):
        finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        times.append(float(finished.stdout))
    assert min(times) < 0.1, times


def test_stubs_are_those_of_the_module(tmp_path):
    pytest.importorskip("mypy")
    package = Path(electra_convert.__file__).parent
    assert (package / "py.typed").exists()
    command = [sys.executable, "-m", "mypy.stubtest", "electra_convert", "--ignore-missing-stub"]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_types_as_a_user_sees_them(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "user.py").write_text(
        "from pathlib import Path\n"
        "import electra_convert\n"
        "result = electra_convert.convert(Path('a'), 'gs://b/c', model='both')\n"
        "deviations: list[float | None] = [c.padding_deviation for e in result.exports"
        " if e.verification for c in e.verification.classes]\n"
        "reveal_type(electra_convert.inspect('a').models[0].config)\n"
        "electra_convert.convert('a', 'b', model='other')\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "user.py"]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert '"dict[str, Any] | None"' in finished.stdout, finished.stdout
    errors = [line for line in finished.stdout.splitlines() if ": error:" in line]
    assert len(errors) == 1 and 'user.py:6' in errors[0], finished.stdout
