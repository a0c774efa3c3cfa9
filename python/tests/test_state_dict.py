"""Tensors in memory are those of the file that a conversion writes."""

import json
import struct

import electra_convert
import numpy as np
import pytest

DTYPES = {"F32": np.float32, "F16": np.float16}


def safetensors(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__")
    for name, tensor in header.items():
        start, end = (8 + length + offset for offset in tensor["data_offsets"])
        values = np.frombuffer(data[start:end], DTYPES[tensor["dtype"]])
        yield name, values.reshape(tensor["shape"])


@pytest.mark.parametrize(
    ("name", "model", "dtype"),
    [
        ("trained", "discriminator", None),
        ("trained", "generator", "float16"),
        ("fmt_f16", "discriminator", None),
        ("fmt_bf16", "discriminator", "f32"),
        ("ft_sst", "finetuned", None),
        ("h5_model", "discriminator", None),
        ("fmt_zip.zip", "discriminator", None),
    ],
)
@pytest.mark.filterwarnings("ignore::electra_convert.ConversionWarning")
def test_tensors_are_those_of_the_file(name, model, dtype, fixtures, tmp_path):
    tensors = electra_convert.state_dict(fixtures / name, model=model, dtype=dtype)
    electra_convert.convert(
        fixtures / name, tmp_path / "out", model=model, dtype=dtype or "keep", vocab=False
    )
    written = dict(safetensors(tmp_path / "out/model.safetensors"))
    assert list(tensors) == sorted(written)
    for key, array in tensors.items():
        assert array.dtype == written[key].dtype
        np.testing.assert_array_equal(array, written[key])
        assert array.flags.c_contiguous and array.flags.writeable


def test_a_type_that_numpy_does_not_have_is_a_usage_error(fixtures):
    for name, dtype in [("fmt_bf16", None), ("trained", "bf16"), ("trained", "bfloat16")]:
        with pytest.raises(electra_convert.UsageError, match="NumPy has no") as caught:
            electra_convert.state_dict(fixtures / name, model="discriminator", dtype=dtype)
        assert "float32" in str(caught.value) or "f32" in str(caught.value)


def test_damaged_values_are_an_error(fixtures, tmp_path):
    for path in (fixtures / "trained").iterdir():
        data = bytearray(path.read_bytes())
        if ".data-" in path.name:
            data[len(data) // 2] ^= 1
        (tmp_path / path.name).write_bytes(data)
    with pytest.raises(electra_convert.CheckpointError):
        for model in ("discriminator", "generator"):
            electra_convert.state_dict(tmp_path, model=model)


def test_options_that_write_are_refused(fixtures):
    with pytest.raises(TypeError, match="force"):
        electra_convert.state_dict(fixtures / "trained", model="generator", force=True)
    with pytest.raises(electra_convert.UsageError, match="both"):
        electra_convert.config(fixtures / "trained", model="both")
