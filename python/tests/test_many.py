"""`convert_many` in threads and in executors."""

import json
import multiprocessing
import pickle
import shutil
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import electra_convert
import pytest


@pytest.fixture
def jobs(fixtures, tmp_path):
    """Jobs of three checkpoints."""
    return [
        {"checkpoint": fixtures / name, "out": tmp_path / "out" / name, "model": "generator"}
        for name in ("trained", "tiny_default", "tiny_tied")
    ]


def statuses(results):
    return {result.index: result.status for result in results}


def test_results_come_with_what_was_done(jobs):
    results = sorted(electra_convert.convert_many(jobs), key=lambda result: result.index)
    assert [result.status for result in results] == ["converted"] * 3
    first = results[0]
    assert first.job["model"] == "generator" and first.error is None
    assert first.out == str(jobs[0]["out"])
    assert first.conversion.exports[0].verification.passed
    assert pickle.loads(pickle.dumps(results)) == results
    record = json.loads((jobs[0]["out"] / "conversion.json").read_text())
    assert record["model"] == "generator"
    # No summary: there may be many calls for one directory.
    assert not (jobs[0]["out"].parent / "batch.json").exists()


def test_completed_exports_are_skipped(jobs):
    list(electra_convert.convert_many(jobs[:1]))
    weights = jobs[0]["out"] / "model.safetensors"
    before = weights.stat().st_mtime_ns
    assert statuses(electra_convert.convert_many(jobs)) == {
        0: "skipped",
        1: "converted",
        2: "converted",
    }
    assert weights.stat().st_mtime_ns == before
    again = electra_convert.convert_many(jobs, skip_completed=False)
    assert statuses(again) == {0: "converted", 1: "converted", 2: "converted"}
    assert weights.stat().st_mtime_ns != before


def test_an_export_of_other_options_is_an_error_without_force(jobs):
    list(electra_convert.convert_many(jobs[:1]))
    other = {**jobs[0], "dtype": "float16", "vocab": False}
    (result,) = electra_convert.convert_many([other])
    assert result.status == "failed" and isinstance(result.error, electra_convert.UsageError)
    assert "its input vocabulary" in str(result.error)
    (result,) = electra_convert.convert_many([{**other, "force": True}])
    assert result.status == "converted"
    assert result.conversion.exports[0].dtype == "float16"


def test_failures_are_collected_or_raised(jobs, tmp_path):
    missing = {"checkpoint": tmp_path / "none", "out": tmp_path / "out/none", "model": "generator"}
    uniform = {**jobs[1], "model": "finetuned", "out": tmp_path / "out/finetuned"}
    results = electra_convert.convert_many([missing, *jobs, uniform])
    errors = {result.index: type(result.error) for result in results if result.error}
    assert errors == {0: electra_convert.CheckpointError, 4: electra_convert.ModelError}
    with pytest.raises(electra_convert.CheckpointError, match="none"):
        list(electra_convert.convert_many([missing, *jobs], on_error="raise"))


def test_jobs_are_taken_as_they_are_needed(jobs):
    taken = []

    def generate():
        for number in range(1000):
            taken.append(number)
            yield {**jobs[1], "out": jobs[1]["out"] / str(number), "verify": False}

    results = electra_convert.convert_many(generate(), num_workers=2)
    for _ in range(3):
        next(results)
    results.close()
    assert len(taken) < 20


def test_leaving_the_loop_stops_the_others(jobs, fixtures, tmp_path):
    many = [
        {"checkpoint": fixtures / "trained", "out": tmp_path / "out" / str(number), "model": "both"}
        for number in range(40)
    ]
    results = electra_convert.convert_many(many, num_workers=4)
    next(results)
    start = time.monotonic()
    results.close()
    assert time.monotonic() - start < 3
    for out in (tmp_path / "out").iterdir():
        assert (out / "generator/model.safetensors").exists(), out


def test_progress_names_the_job(jobs):
    calls = []
    results = electra_convert.convert_many(jobs, progress=lambda *call: calls.append(call))
    assert len(list(results)) == 3
    assert {"converting", "verifying"} <= {phase for _, phase, _, _ in calls}
    assert {index for index, *_ in calls} == {0, 1, 2}
    assert all(0 <= done <= total for _, _, done, total in calls)


def test_any_executor_runs_jobs(jobs):
    with ThreadPoolExecutor(2) as executor:
        results = electra_convert.convert_many(jobs, executor=executor)
        assert set(statuses(results).values()) == {"converted"}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        results = electra_convert.convert_many(jobs, executor=executor, num_workers=2)
        assert set(statuses(results).values()) == {"skipped"}
        shutil.rmtree(jobs[0]["out"])
        results = electra_convert.convert_many(jobs, executor=executor)
        assert statuses(results)[0] == "converted"


def kill_the_worker():
    import os

    os._exit(1)


def test_a_broken_executor_is_a_failure_of_its_jobs(jobs):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        executor.submit(kill_the_worker).exception()
        with pytest.raises(Exception, match="(?i)terminated|broken|unusable"):
            list(electra_convert.convert_many(jobs, executor=executor))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": None}, "no 'model'"),
        ({"checkpoint": None}, "no 'checkpoint'"),
        ({"dry_run": True}, "'dry_run' is not an argument of a job"),
        ({"dtyp": "f16"}, "'dtyp' is not an argument"),
        ({"out": ".."}, "out is"),
        ({"out": "/"}, "out is"),
    ],
)
def test_a_wrong_job_is_refused(changes, words, jobs):
    with pytest.raises(electra_convert.UsageError, match=words):
        list(electra_convert.convert_many([{**jobs[0], **changes}]))


def test_wrong_arguments_are_refused(jobs):
    for options in (
        {"executor": "processes"},
        {"num_workers": 0},
        {"on_error": "ignore"},
    ):
        with pytest.raises(electra_convert.UsageError):
            list(electra_convert.convert_many(jobs, **options))
    with ThreadPoolExecutor(1) as executor, pytest.raises(electra_convert.UsageError):
        list(electra_convert.convert_many(jobs, executor=executor, progress=print))


def test_every_option_of_convert_reaches_a_job(fixtures, tmp_path):
    (result,) = electra_convert.convert_many(
        [
            {
                "checkpoint": str(fixtures / "ft_sst").encode(),
                "out": str(tmp_path / "a/b"),
                "model": "finetuned",
                "step": 32,
                "labels": ["bad", "good"],
                "rename": ["^x/=y/"],
                "vocab": False,
                "graph": False,
                "model_card": True,
                "language": ["en", "de"],
                "threads": 1,
            }
        ]
    )
    assert result.status == "converted", result.error
    assert result.conversion.exports[0].config["id2label"] == {"0": "bad", "1": "good"}
    assert any("changes no variable's name" in warning for warning in result.warnings)
    card = (tmp_path / "a/b/README.md").read_text()
    assert '- "en"\n- "de"\n' in card
