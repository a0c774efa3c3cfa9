"""Runs commands of the program in process: arguments to words, results to objects, failures to exceptions."""

import json
import os
import warnings as _warnings

from . import _native
from ._errors import BY_EXIT_CODE, ConversionWarning, FailureError, UsageError
from ._results import Verification, from_json

# The process whose threads electra_convert has started.
_started_in = None


def words(command, positional, options):
    """Returns a command line. An option that is None or False is left out; a list is repeated."""
    line = [command, "--json"]
    for name, value in options.items():
        option = "--" + name.replace("_", "-")
        if value is None or value is False:
            continue
        if value is True:
            line.append(option)
        elif isinstance(value, (list, tuple)):
            line += [f"{option}={text(item)}" for item in value]
        else:
            line.append(f"{option}={text(value)}")
    return [*line, "--", *map(text, positional)]


def text(value):
    """Returns a path or a number as a word of a command line."""
    if isinstance(value, (str, bytes, os.PathLike)):
        return os.fsdecode(value)
    return str(value)


def run(line, progress=None, function=_native.call):
    """Runs a command; returns its JSON document, and what else the function of the extension module returns."""
    check_process()
    try:
        exit_code, document, warnings, *rest = function(line, progress)
    except UnicodeEncodeError as error:
        raise UsageError(f"an argument is not valid Unicode: {error}") from None
    check_process()
    document = json.loads(document) if document else {}
    if exit_code != 0:
        raise from_native(exit_code, document)
    for warning in warnings:
        _warnings.warn(warning, ConversionWarning, stacklevel=3)
    return document, *rest


def check_process():
    """Raises an error in a forked process that lacks the threads of its parent."""
    global _started_in
    if _started_in is None:
        _started_in = os.getpid()
    elif _started_in != os.getpid():
        raise FailureError(
            f"this process was forked from process {_started_in} after electra_convert had started threads there, and "
            'has no such threads; start processes with multiprocessing.get_context("spawn"), or fork before the '
            "first call"
        )


def from_native(exit_code, document):
    """Returns the exception for a command that failed."""
    message = document.get("error", "the command failed without a message")
    error = BY_EXIT_CODE.get(exit_code, FailureError)(message)
    if exit_code == 5:
        checks = document if "passed" in document else document.get("verification")
        error.verification = None if checks is None else from_json(Verification, checks)
        error.args = (message, error.verification)
    return error
