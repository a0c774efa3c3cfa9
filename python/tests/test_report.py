"""Pages of `report=`."""

import electra_convert
import pytest


def test_pages_are_written(fixtures, tmp_path):
    out, page = tmp_path / "out", tmp_path / "report.html"
    electra_convert.convert(fixtures / "trained", out, model="generator", report=page)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>") and "model.ckpt-6000" in text
    with pytest.raises(electra_convert.UsageError, match="--force"):
        electra_convert.verify(out, report=page)
    electra_convert.verify(out, report=page, force=True)
    assert "model.ckpt-6000" not in page.read_text(encoding="utf-8")
    with pytest.raises(electra_convert.UsageError, match="must end in .html"):
        electra_convert.verify(out, report=out / "config.json", force=True)


def test_a_failed_verification_has_a_page(fixtures, tmp_path):
    out, page = tmp_path / "out", tmp_path / "report.html"
    electra_convert.convert(fixtures / "trained", out, model="generator")
    weights = out / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\x00\x00\xc0\x7f")
    with pytest.raises(electra_convert.VerificationError, match="report.html shows every check"):
        electra_convert.verify(out, report=page)
    assert "not finite" in page.read_text(encoding="utf-8")
