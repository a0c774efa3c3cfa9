"""Failures of the program are exceptions with its exit code."""

import pickle

import electra_convert
import pytest
from electra_convert import CheckpointError, ModelError, UsageError, VerificationError


def test_each_kind_has_its_exit_code(fixtures, tmp_path, program):
    trained = fixtures / "trained"
    out = tmp_path / "out"
    electra_convert.convert(trained, out, model="generator")
    cases = [
        (CheckpointError, 3, ["inspect", tmp_path / "none"], lambda: electra_convert.inspect(tmp_path / "none")),
        (
            UsageError,
            2,
            ["--model", "generator", trained, out],
            lambda: electra_convert.convert(trained, out, model="generator"),
        ),
        (
            UsageError,
            2,
            ["--model", "nothing", trained, out],
            lambda: electra_convert.convert(trained, out, model="nothing"),
        ),
        (
            ModelError,
            4,
            ["--model", "finetuned", trained, tmp_path / "other"],
            lambda: electra_convert.convert(trained, tmp_path / "other", model="finetuned"),
        ),
        (VerificationError, 5, ["verify", trained], lambda: electra_convert.verify(trained)),
    ]
    for error, exit_code, words, call in cases:
        with pytest.raises(error) as caught:
            call()
        assert isinstance(caught.value, electra_convert.ConvertError)
        assert caught.value.exit_code == exit_code
        finished = program(*words)
        assert finished.returncode == exit_code
        first = str(caught.value).splitlines()[0]
        assert first in finished.stderr
    assert not (tmp_path / "other").exists()


def test_a_failed_verification_has_its_checks(fixtures, tmp_path):
    electra_convert.convert(fixtures / "trained", tmp_path / "out", model="generator")
    weights = tmp_path / "out/model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-8] ^= 1
    weights.write_bytes(data)
    with pytest.raises(VerificationError) as caught:
        electra_convert.verify(tmp_path / "out")
    error = caught.value
    assert not error.verification.passed
    assert error.verification.failures
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is VerificationError
    assert str(copy) == str(error)
    assert copy.verification == error.verification


def test_errors_pickle():
    copy = pickle.loads(pickle.dumps(CheckpointError("it is damaged")))
    assert (type(copy), str(copy), copy.exit_code) == (CheckpointError, "it is damaged", 3)


def test_wrong_types_are_refused(fixtures):
    with pytest.raises(TypeError, match="labels"):
        electra_convert.inspect(fixtures / "ft_sst", labels="a,b")
    with pytest.raises(TypeError, match="rename"):
        electra_convert.inspect(fixtures / "ft_sst", rename="a=b")
    with pytest.raises(UsageError, match="comma"):
        electra_convert.inspect(fixtures / "ft_sst", labels=["a,b", "c"])


def test_paths_that_look_like_options_are_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("--help", "-h", b"--version", "\udcff"):
        with pytest.raises(CheckpointError):
            electra_convert.inspect(path)
