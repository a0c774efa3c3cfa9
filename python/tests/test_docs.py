"""The examples of docstrings and of README.md give the results shown."""

import doctest
import re

import electra_convert
import pytest
from conftest import REPOSITORY

NAMES = ["electra_convert", *electra_convert.__all__]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("name", NAMES)
def test_examples_of_docstrings(name, tmp_path):
    item = electra_convert if name == "electra_convert" else getattr(electra_convert, name)
    assert item.__doc__
    names = {"electra_convert": electra_convert, "out": tmp_path / "out"}
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    example = doctest.DocTestParser().get_doctest(item.__doc__, names, name, None, None)
    runner.run(example)
    assert runner.summarize().failed == 0


@pytest.mark.parametrize("document", ["python/README.md", "docs/python.md", "docs/start-python.md"])
def test_examples_of_documents(document, tmp_path, monkeypatch):
    text = (REPOSITORY / document).read_text()
    blocks = re.findall(r"```pycon\n(.*?)```", text, re.DOTALL)
    assert blocks
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fixtures").symlink_to(REPOSITORY / "fixtures")
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    runner.run(
        doctest.DocTestParser().get_doctest("\n".join(blocks), {}, document, document, None)
    )
    assert runner.summarize().failed == 0


def test_all_is_what_there_is():
    for name in electra_convert.__all__:
        assert getattr(electra_convert, name).__doc__, name
