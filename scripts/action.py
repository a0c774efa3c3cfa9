"""The step of action.yml: installs electra-convert, converts a checkpoint, writes the summary and the outputs.

Reads the inputs from the environment (INPUT_CHECKPOINT, INPUT_MODEL, INPUT_OUT, INPUT_VERSION, INPUT_ARGS) and
needs what a runner sets: RUNNER_TEMP, GITHUB_STEP_SUMMARY, GITHUB_OUTPUT. Exits with the exit code of the program.
ELECTRA_CONVERT names a program to run; nothing is installed then.
"""

import json
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from action_summary import summary

USAGE = 2
FAILURE = 1
# A shell's exit code for a process that was ended by signal N is 128 + N.
SIGNAL = 128


class Stop(Exception):
    """An error before the program runs: the message and the exit code of the step."""

    def __init__(self, message, code):
        super().__init__(message)
        self.code = code


def given(name):
    """Returns an input. Its value is data: no shell ever sees it."""
    return os.environ.get(f"INPUT_{name.upper()}", "")


def command(program):
    """Returns the command line that the inputs describe."""
    for name in ("checkpoint", "model", "out"):
        if not given(name).strip():
            raise Stop(f"the input `{name}` is empty", USAGE)
    try:
        words = shlex.split(given("args"))
    except ValueError as error:
        raise Stop(f"the input `args` cannot be split into words: {error}", USAGE) from error
    # After `--` a path that begins with a dash is a path.
    paths = ["--", given("checkpoint"), given("out")]
    return [program, "convert", "--json", f"--model={given('model')}", *words, *paths]


def requirement(version):
    """Returns what pip installs."""
    if not version:
        return "electra-convert"
    if not re.fullmatch(r"[0-9][0-9A-Za-z.!+_-]*", version):
        raise Stop(f"the input `version` is {version!r}, expected a version such as 0.1.0", USAGE)
    return f"electra-convert=={version}"


def installed(directory):
    """Installs the wheel into a virtual environment of its own and returns the path of the program."""
    program = os.environ.get("ELECTRA_CONVERT")
    if program:
        return program
    wheel = requirement(given("version").strip())
    environment = Path(directory, "environment")
    try:
        venv.create(environment, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Stop(f"no virtual environment can be made (Debian: package python3-venv): {error}", FAILURE) from error
    programs = environment / ("Scripts" if os.name == "nt" else "bin")
    # Isolated: modules in the working directory, which is the checkout, must not be taken for those of Python.
    pip = [str(programs / "python"), "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # From wheels only: a runner need not have Rust.
    if subprocess.run([*pip, "--only-binary=:all:", wheel]).returncode:
        raise Stop(f"pip cannot install {wheel}", FAILURE)
    return str(programs / "electra-convert")


def run(words):
    """Runs the program; returns its exit code and what it printed.

    Its standard error goes to the log, where no line of it is taken as a workflow command. A signal is passed on, once,
    so that the program can remove what it has staged when a job is cancelled.
    """
    pause = secrets.token_hex(16)
    print(f"::stop-commands::{pause}", flush=True)
    try:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=sys.stdout, start_new_session=True)
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, lambda number, _: process.send_signal(number))
        printed, _ = process.communicate()
        code = process.returncode
        return SIGNAL - code if code < 0 else code, printed
    except OSError as error:
        raise Stop(f"{words[0]} cannot be started: {error}", FAILURE) from error
    finally:
        print(f"\n::{pause}::", flush=True)


def failure(message, code):
    """Returns the document of a failure, with the fields that the program gives it."""
    return {"command": "convert", "status": "failed", "exit_code": code, "error": message}


def parsed(printed, code):
    """Returns the JSON document of the program, or a document with the reason why it is missing."""
    try:
        return json.loads(printed)
    except ValueError:
        ended = f"was ended by signal {code - SIGNAL}" if code > SIGNAL else "printed no JSON document"
        return failure(f"the program {ended}", code)


def directories(document):
    """Returns the directories, or bucket URLs, that hold an export, in the order of the report."""
    files = [export.get("files") or [] for export in document.get("exports", [])]
    return [re.sub(r"[/\\][^/\\]*$", "", paths[0]["path"]) for paths in files if paths]


def append(variable, text):
    """Appends to a file that the runner reads after the step."""
    path = os.environ.get(variable)
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)


def annotate(message):
    """Prints an error annotation."""
    escaped = message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    print(f"::error title=electra-convert::{escaped}", flush=True)


def main():
    directory = Path(tempfile.mkdtemp(prefix="electra-convert-", dir=os.environ.get("RUNNER_TEMP")))
    report = directory / "report.json"
    try:
        code, printed = run(command(installed(directory)))
        document = parsed(printed, code)
    except Stop as stop:
        code = stop.code
        document = failure(str(stop), code)
    report.write_text(json.dumps(document, indent=2), encoding="utf-8")
    made = json.dumps(directories(document))
    append("GITHUB_OUTPUT", f"exit-code={code}\nreport={report}\ndirectories={made}\n")
    append("GITHUB_STEP_SUMMARY", summary(document, given("checkpoint"), code))
    if code:
        annotate(document.get("error", "the conversion failed"))
    sys.exit(code)


if __name__ == "__main__":
    main()
