"""Runs action.yml as a runner does, with the program: `pytest scripts/test_action.py`.

ELECTRA_CONVERT names the program. WHEEL names a wheel of the Python package: with it the installation is tested too
(from PyPI, for numpy). Needs PyYAML and bash.
"""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
ACTION = yaml.safe_load((REPOSITORY / "action.yml").read_text())
PROGRAM = os.environ["ELECTRA_CONVERT"]
TRAINED = str(REPOSITORY / "fixtures" / "trained")
TOKEN = r"::stop-commands::([0-9a-f]{32})\n"


class Finished:
    """What is left of a run: exit code, log, summary, outputs, and the JSON document if there is one."""

    def __init__(self, code, log, runner):
        self.code, self.log = code, log
        self.summary = (runner / "summary").read_text()
        lines = (runner / "output").read_text().splitlines()
        self.outputs = dict(line.split("=", 1) for line in lines)
        self.document = json.loads(Path(self.outputs["report"]).read_text())

    def shown(self):
        """Returns the summary as a reader sees it, without the escapes."""
        return re.sub(r"&#(\d+);", lambda found: chr(int(found[1])), self.summary)

    def directories(self):
        return json.loads(self.outputs["directories"])


def evaluate(template, inputs):
    """Replaces `${{ inputs.NAME }}`; no other expression is expected in `env`."""
    return re.sub(r"\$\{\{ inputs\.([a-z]+) \}\}", lambda found: inputs[found[1]], template)


@pytest.fixture
def action(tmp_path):
    """Runs the steps of action.yml in a directory with a link to the fixtures."""
    runner, workspace = tmp_path / "runner temp", tmp_path / "workspace"
    runner.mkdir()
    workspace.mkdir()
    (workspace / "fixtures").symlink_to(REPOSITORY / "fixtures")

    def run(environment=None, during=None, **given):
        assert given.keys() <= ACTION["inputs"].keys()
        inputs = {name: given.get(name, one.get("default", "")) for name, one in ACTION["inputs"].items()}
        (step,) = ACTION["runs"]["steps"]
        assert step["shell"] == "bash"
        variables = {
            **os.environ,
            **{name: evaluate(value, inputs) for name, value in step["env"].items()},
            "ELECTRA_CONVERT": PROGRAM,
            "GITHUB_ACTION_PATH": str(REPOSITORY),
            "GITHUB_OUTPUT": str(runner / "output"),
            "GITHUB_STEP_SUMMARY": str(runner / "summary"),
            "RUNNER_TEMP": str(runner),
            "PYTHONDONTWRITEBYTECODE": "1",
            **(environment or {}),
        }
        # As GitHub's runner starts bash for `shell: bash`.
        script = tmp_path / "script.sh"
        script.write_text(step["run"])
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", script]
        process = subprocess.Popen(
            command, cwd=workspace, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if during:
            during(process)
        log, _ = process.communicate()
        return Finished(process.returncode, log, runner)

    run.workspace = workspace
    return run


def test_no_expression_is_in_a_script():
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step["run"]
    for output in ACTION["outputs"].values():
        assert re.fullmatch(r"\$\{\{ steps\.convert\.outputs\.[a-z-]+ \}\}", output["value"])


def test_a_model_is_converted_and_described(action):
    finished = action(checkpoint=TRAINED, model="discriminator", out="out")
    assert finished.code == 0, finished.log
    assert finished.outputs["exit-code"] == "0"
    assert finished.directories() == ["out"]
    assert (action.workspace / "out" / "model.safetensors").exists()
    assert finished.document["status"] == "converted"
    summary = finished.summary
    assert "507,649" in summary and "<code>ElectraForPreTraining</code>" in summary
    assert "| all checks | passed |" in summary
    assert "| checksums | 59 tensors equal to their variables, 0 unchecked |" in summary
    assert re.search(r"\| training graph: \S+ \| deviation \d\.\de-\d\d, tolerance \d\.\de-\d\d \|", summary)
    assert "| <code>num&#95;attention&#95;heads</code> | <code>4</code> | meta&#95;graph&#58; " in summary


def test_both_models_are_two_rows(action):
    finished = action(checkpoint="fixtures/trained", model="both", out="two models")
    assert finished.code == 0, finished.log
    assert finished.directories() == ["two models/discriminator", "two models/generator"]
    for directory in finished.directories():
        assert (action.workspace / directory / "config.json").exists()
    assert "### Checks of the generator" in finished.summary
    assert "ElectraForMaskedLM" in finished.summary


def test_options_are_words_with_quotes(action):
    words = "--no-verify\n  --vocab none   --dtype 'f16'"
    finished = action(checkpoint=TRAINED, model="generator", out="out", args=words)
    assert finished.code == 0, finished.log
    (export,) = finished.document["exports"]
    assert export["dtype"] == "float16" and export["tokenizer"] is None
    assert "| verification | not run |" in finished.summary


def test_a_plan_is_not_called_an_export(action):
    finished = action(checkpoint=TRAINED, model="generator", out="out", args="--dry-run")
    assert finished.code == 0, finished.log
    assert finished.summary.startswith("## Planned, not written")
    assert finished.directories() == [] and "not written" in finished.summary
    assert not (action.workspace / "out").exists()


HOSTILE = [
    "a b 'c' \"d\"",
    "$(touch injected)`touch injected`${HOME}",
    "'; touch injected; '",
    "a\n::set-output name=exit-code::9\nb|c<script>[x](y)\n\n# heading",
    "--force",
    "${{ github.token }}",
    "* | &amp; %0A %",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_inputs_are_data(action, name):
    """A name with characters of a shell, of Markdown and of workflow commands is a name like any other."""
    source = action.workspace / name
    source.mkdir()
    for file in Path(TRAINED).iterdir():
        (source / file.name).symlink_to(file)
    target = f"{name} out"
    finished = action(checkpoint=name, model="generator", out=target)
    assert finished.code == 0, finished.log
    assert finished.directories() == [target]
    assert {path.name for path in action.workspace.iterdir()} == {"fixtures", name, target}
    assert "<script>" not in finished.summary and "[x](y)" not in finished.summary
    rows = [line for line in finished.summary.splitlines() if line.startswith("| generator")]
    assert len(rows) == 1 and rows[0].count("|") == 7


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_models_and_options_are_refused(action, name):
    refused = action(checkpoint=TRAINED, model=name, out="out")
    assert refused.code == 2, refused.log
    assert "Exit code 2" in refused.summary
    for words in (name, f"--task {name}"):
        action(checkpoint=TRAINED, model="generator", out="elsewhere", args=words)
    assert not list(action.workspace.rglob("injected"))


def test_no_line_of_the_program_is_a_workflow_command(action):
    """Between the two marks the runner ignores commands; afterwards one annotation shows the error."""
    finished = action(checkpoint="absent\n::warning::injected", model="generator", out="out")
    assert finished.code == 3
    token = re.search(TOKEN, finished.log)[1]
    _, _, after = finished.log.partition(f"\n::{token}::\n")
    commands = [line for line in after.splitlines() if line.startswith("::")]
    assert len(commands) == 1 and commands[0].startswith("::error title=electra-convert::")
    assert "::warning" not in [line[:9] for line in after.splitlines()]


@pytest.mark.parametrize(
    ("inputs", "code", "reason"),
    [
        ({"checkpoint": "absent"}, 3, "absent"),
        ({"model": "finetuned"}, 4, "fine-tuned"),
        ({"args": "--num-attention-heads 2"}, 4, "head"),
        ({"args": "--no-such-option"}, 2, "no-such-option"),
        ({"args": "'open"}, 2, "args"),
        ({"model": ""}, 2, "`model` is empty"),
        ({"version": "1; rm"}, 2, "version"),
    ],
)
def test_a_failure_has_the_exit_code_of_the_program_and_its_reason(action, inputs, code, reason):
    environment = {"ELECTRA_CONVERT": ""} if "version" in inputs else None
    finished = action(environment, **{"checkpoint": TRAINED, "model": "generator", "out": "out", **inputs})
    assert finished.code == code, finished.log
    assert finished.outputs["exit-code"] == str(code)
    assert finished.directories() == []
    assert f"Exit code {code}." in finished.summary
    assert reason in finished.shown()
    assert finished.document["exit_code"] == code and reason in finished.document["error"]
    assert not (action.workspace / "out").exists()


def test_a_second_conversion_into_the_same_directory_fails(action):
    assert action(checkpoint=TRAINED, model="generator", out="out").code == 0
    (action.workspace.parent / "runner temp" / "summary").unlink()
    finished = action(checkpoint=TRAINED, model="generator", out="out")
    assert finished.code == 2
    assert finished.summary.startswith("## Not converted")


def test_failed_checks_are_listed(action):
    """Two layers that are exchanged compute something else than the training graph: nothing is published."""
    swapped = [("layer_0", "layer_x"), ("layer_1", "layer_0"), ("layer_x", "layer_1")]
    words = " ".join(f"--rename {before}/={after}/" for before, after in swapped)
    finished = action(checkpoint=TRAINED, model="discriminator", out="out", args=words)
    assert finished.code == 5, finished.log
    assert finished.directories() == []
    assert "### Checks that failed" in finished.summary
    failures = finished.document["verification"]["failures"]
    listed = [line for line in finished.summary.splitlines() if line.startswith("- output encoder deviates by")]
    assert len(failures) == 2 and len(listed) == 1
    assert not (action.workspace / "out").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_cancelled_job_leaves_nothing(action, number):
    """The runner sends a signal to the process of the step; the measurement on a long text is interrupted by it."""
    (action.workspace / "text.txt").write_text("the function of the module returns a list . \n" * 20_000)
    staging = action.workspace / "out" / ".electra-convert"

    def cancel(process):
        deadline = time.monotonic() + 60
        while not staging.exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.5)
        process.send_signal(number)

    words = "--text text.txt"
    finished = action(during=cancel, checkpoint=TRAINED, model="discriminator", out="out", args=words)
    assert finished.code == 128 + number, finished.log
    assert f"was ended by signal {number}" in finished.shown()
    assert {path.name for path in action.workspace.iterdir()} == {"fixtures", "text.txt"}


def test_a_version_that_pip_does_not_find_fails(action):
    environment = {"ELECTRA_CONVERT": "", "PIP_NO_INDEX": "1"}
    finished = action(environment, checkpoint=TRAINED, model="generator", out="out", version="9.9.9")
    assert finished.code == 1
    assert "pip cannot install electra-convert==9.9.9" in finished.shown()


@pytest.mark.skipif("WHEEL" not in os.environ, reason="WHEEL names no wheel")
def test_the_wheel_is_installed(action):
    wheel = Path(os.environ["WHEEL"]).resolve()
    version = wheel.name.split("-")[1]
    environment = {"ELECTRA_CONVERT": "", "PIP_FIND_LINKS": str(wheel.parent)}
    inputs = {"checkpoint": TRAINED, "model": "discriminator", "version": version}
    finished = action(environment, **inputs, out="out")
    assert finished.code == 0, finished.log
    assert finished.directories() == ["out"]


def test_the_example_of_the_guide_runs(action):
    """The steps with `uses: …/electra-convert@…` in docs have inputs of action.yml, and convert."""
    page = (REPOSITORY / "docs" / "start-pipeline.md").read_text()
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    steps = [step for block in blocks if isinstance(block, list) for step in block]
    given = [step["with"] for step in steps if "/electra-convert@" in step.get("uses", "")]
    assert given
    for inputs in given:
        finished = action(**{name: value for name, value in inputs.items() if name != "version"})
        assert finished.code == 0, finished.log
