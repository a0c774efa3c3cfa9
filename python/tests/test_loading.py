"""load and load_tokenizer: with a stand-in for transformers, and with transformers itself if it is installed."""

import json
import subprocess
import sys
import types
from pathlib import Path

import electra_convert
import pytest


class StandIn:
    """A class that remembers what from_pretrained was called with."""

    @classmethod
    def from_pretrained(cls, directory, **kwargs):
        loaded = cls()
        loaded.directory = Path(directory)
        loaded.files = {path.name: path.read_bytes() for path in loaded.directory.iterdir()}
        loaded.kwargs = kwargs
        return loaded


class Other(StandIn):
    pass


@pytest.fixture
def stand_in(monkeypatch):
    module = types.ModuleType("transformers")
    for name in ("ElectraForPreTraining", "ElectraForMaskedLM", "ElectraModel", "AutoTokenizer"):
        setattr(module, name, type(name, (StandIn,), {}))
    monkeypatch.setitem(sys.modules, "transformers", module)
    return module


def test_load_converts_into_a_temporary_directory(stand_in, fixtures):
    trained = fixtures / "trained"
    model = electra_convert.load(trained, model="generator", torch_dtype="auto")
    assert type(model) is stand_in.ElectraForMaskedLM
    assert model.kwargs == {"torch_dtype": "auto"}
    assert {"model.safetensors", "config.json", "vocab.txt"} <= set(model.files)
    assert not model.directory.exists()
    assert type(electra_convert.load(trained, model="discriminator", cls="ElectraModel")) is (
        stand_in.ElectraModel
    )
    other = electra_convert.load(
        trained, model="discriminator", cls=Other, options={"vocab": False, "dtype": "float16"}
    )
    assert type(other) is Other
    assert "vocab.txt" not in other.files
    assert json.loads(other.files["config.json"])["dtype"] == "float16"


def test_load_takes_settings_as_options_only(stand_in, fixtures):
    for name in ("num_attention_heads", "hidden_act", "layer_norm_eps"):
        with pytest.raises(electra_convert.UsageError, match="options="):
            electra_convert.load(fixtures / "trained", model="generator", **{name: 4})


def test_load_raises_what_convert_raises(stand_in, fixtures):
    with pytest.raises(electra_convert.ModelError):
        electra_convert.load(fixtures / "trained", model="finetuned")
    with pytest.raises(electra_convert.UsageError, match="both"):
        electra_convert.load(fixtures / "trained", model="both")
    with pytest.raises(TypeError, match="force"):
        electra_convert.load(fixtures / "trained", model="generator", options={"force": True})


def test_tokenizer_files_are_those_of_a_conversion(stand_in, fixtures, tmp_path):
    tokenizer = electra_convert.load_tokenizer(fixtures / "trained", use_fast=True)
    assert type(tokenizer) is stand_in.AutoTokenizer
    assert tokenizer.kwargs == {"use_fast": True}
    electra_convert.convert(fixtures / "trained", tmp_path / "out", model="discriminator")
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    written.pop("model.safetensors")
    assert tokenizer.files == written
    cased = electra_convert.load_tokenizer(
        fixtures / "trained", model="generator", options={"do_lower_case": False}
    )
    assert json.loads(cased.files["tokenizer_config.json"])["do_lower_case"] is False


@pytest.mark.filterwarnings("ignore::electra_convert.ConversionWarning")
def test_a_checkpoint_without_vocabulary_has_no_tokenizer(stand_in, fixtures):
    with pytest.raises(electra_convert.UsageError, match="vocab"):
        electra_convert.load_tokenizer(fixtures / "trained", options={"vocab": False})


def test_without_transformers_the_error_names_the_extra(fixtures):
    code = (
        "import sys; sys.modules['transformers'] = None; import electra_convert; "
        "electra_convert.load('fixtures/trained', model='generator')"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'electra-convert[transformers]'" in finished.stderr


def test_a_tokenizer_of_transformers(fixtures):
    pytest.importorskip("transformers")
    tokenizer = electra_convert.load_tokenizer(fixtures / "trained")
    vocabulary = (fixtures / "trained/vocab.txt").read_text(encoding="utf-8").split()
    ids = tokenizer("The [MASK] of the function .")["input_ids"]
    pieces = ["[CLS]", "the", "[MASK]", "of", "the", "function", ".", "[SEP]"]
    assert [vocabulary[token] for token in ids] == pieces


def test_a_model_of_transformers(fixtures):
    pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    model = electra_convert.load(fixtures / "trained", model="generator")
    assert type(model).__name__ == "ElectraForMaskedLM"
    tensors = electra_convert.state_dict(fixtures / "trained", model="generator")
    loaded = model.state_dict()
    assert tensors.keys() <= loaded.keys()
    for name, array in tensors.items():
        assert torch.equal(loaded[name], torch.from_numpy(array)), name


def test_the_quickstart_fine_tunes(fixtures):
    pytest.importorskip("transformers")
    pytest.importorskip("torch")
    command = [sys.executable, "examples/quickstart.py", fixtures / "trained"]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    loss = float(finished.stdout.split()[-1])
    assert loss < 0.3
