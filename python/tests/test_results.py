"""The module returns what the program prints with --json."""

import json
import pickle

import electra_convert
import pytest
from as_json import as_json, comparable, printed

CHECKPOINTS = ["trained", "tiny_tied", "ft_sst", "fmt_v1", "h5_model", "garden_untied"]


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_inspect_returns_what_the_program_prints(name, fixtures, program):
    result = electra_convert.inspect(fixtures / name, graph=True)
    expected = printed(program("inspect", fixtures / name, "--graph", "--json"))
    assert comparable(as_json(result)) == expected
    assert result.variables
    assert electra_convert.inspect(str(fixtures / name), variables=False).variables == ()


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("trained", "both"),
        ("tiny_tied", "generator"),
        ("ft_sst", "finetuned"),
        ("fmt_v1", "discriminator"),
        ("h5_model", "discriminator"),
    ],
)
def test_convert_and_verify_return_what_the_program_prints(
    name, model, fixtures, program, tmp_path, recwarn
):
    out = tmp_path / "out"
    result = electra_convert.convert(fixtures / name, out, model=model)
    files = {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    finished = program(
        "convert", fixtures / name, out, "--model", model, "--force", "--json", check=True
    )
    expected = printed(finished)
    assert comparable(as_json(result)) == expected
    assert files == {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    messages = {str(warning.message) for warning in recwarn}
    assert messages == {
        line.removeprefix("warning: ") for line in finished.stderr.splitlines() if line
    }

    folder = out if model != "both" else out / "generator"
    verification = electra_convert.verify(folder, source=fixtures / name)
    expected = printed(program("verify", folder, "--source", fixtures / name, "--json"))
    assert comparable(as_json(verification)) == expected


def test_a_dry_run_writes_nothing(fixtures, program, tmp_path):
    out = tmp_path / "out"
    result = electra_convert.convert(fixtures / "trained", out, model="both", dry_run=True)
    assert not out.exists()
    assert result.seconds is None
    words = ["--model", "both", fixtures / "trained", out, "--dry-run", "--json"]
    assert comparable(as_json(result)) == printed(program(*words))


def test_results_are_frozen_and_pickle(fixtures, tmp_path):
    result = electra_convert.convert(fixtures / "trained", tmp_path / "out", model="generator")
    for value in (result, electra_convert.inspect(fixtures / "trained")):
        assert pickle.loads(pickle.dumps(value)) == value
    with pytest.raises(AttributeError):
        result.seconds = 1.0


def test_config_is_config_json(fixtures, tmp_path):
    electra_convert.convert(fixtures / "trained", tmp_path / "out", model="generator")
    written = json.loads((tmp_path / "out/config.json").read_text())
    config = electra_convert.config(fixtures / "trained", model="generator")
    assert config == written
    changed = electra_convert.config(fixtures / "trained", model="generator", dtype="float16")
    assert changed["dtype"] == "float16"


def test_options_reach_the_program(fixtures, tmp_path):
    with pytest.warns(electra_convert.ConversionWarning, match="unused"):
        result = electra_convert.convert(
            fixtures / "ft_sst",
            tmp_path / "out",
            model="finetuned",
            labels=["bad", "good"],
            rename=["^unused/=still_unused/"],
            dtype="float32",
            vocab=False,
            graph=False,
            threads=1,
            allow_unknown=True,
        )
    (export,) = result.exports
    assert export.config["id2label"] == {"0": "bad", "1": "good"}
    assert export.dtype == "float32"
    assert export.tokenizer is None
    assert export.verification.graph is None
