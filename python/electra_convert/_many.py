"""Many conversions: in threads, in an executor, or on Ray."""

import json
import os

from ._call import from_native, text
from ._errors import FailureError, UsageError
from ._options import program_options
from ._results import Conversion, JobResult, from_json

# The keys of a job that are not options of a model.
_OF_THE_PROGRAM = ("force", "threads")


def convert_many(
    jobs,
    *,
    executor="threads",
    num_workers=None,
    skip_completed=True,
    on_error="collect",
    memory=None,
    retries=3,
    progress=None,
):
    """Converts many checkpoints, and yields a `JobResult` for each as it finishes.

    A job is a mapping with ``checkpoint``, ``out``, ``model`` and other arguments of `convert`, except ``dry_run``,
    ``progress`` and ``report``. Jobs may come from a generator: no more are taken from it than can soon run. Two jobs must not have
    the same ``out``.

    ``executor`` is ``"threads"``, any `concurrent.futures.Executor`, or ``"ray"`` (extra ``[ray]``), which uses the
    cluster that the process is connected to, or starts one on this machine. ``num_workers`` is the number of conversions
    at once: by default that of cores, on Ray that of the cluster's. On other machines the package must be installed,
    and all paths must be on a file system that all machines share, or URLs.

    A conversion writes ``conversion.json`` beside the model. With ``skip_completed`` an export that is complete and
    whose record matches is skipped, so that the same call resumes; one that does not match is an error unless the job
    has ``force=True``. Without it, matching exports are converted again.

    ``on_error="collect"`` yields failures as results with an ``error``; ``"raise"`` raises the first, after cancelling the other
    jobs. Leaving the loop cancels the other jobs, too.

    ``memory`` is the memory in bytes that each task reserves on Ray, by default 512 MiB; ``retries`` is how often Ray runs a
    task again whose worker was lost. ``progress(index, phase, done, total)`` is called while results are waited for, as
    in `convert`; ``index`` is the number of the job. It needs ``"threads"`` or ``"ray"``.

    Raises `UsageError` for wrong arguments, `FailureError` if Ray is not installed.

    >>> jobs = [
    ...     {"checkpoint": "fixtures/trained", "out": f"{out}/{model}", "model": model}
    ...     for model in ("discriminator", "generator")
    ... ]
    >>> sorted((result.index, result.status) for result in electra_convert.convert_many(jobs))
    [(0, 'converted'), (1, 'converted')]
    >>> [result.status for result in electra_convert.convert_many(jobs)]
    ['skipped', 'skipped']
    """
    if on_error not in ("collect", "raise"):
        raise UsageError(f'on_error is {on_error!r}; expected "collect" or "raise"')
    if num_workers is not None and num_workers < 1:
        raise UsageError(f"num_workers is {num_workers}; expected at least 1")
    engine = _engine(executor, num_workers, memory, retries, progress)
    tasks = (
        (index, job, Task(job, skip_completed, engine.threads)) for index, job in enumerate(jobs)
    )
    return _results(engine, tasks, on_error, progress)


def _engine(executor, num_workers, memory, retries, progress):
    if executor == "ray":
        from ._ray import RayEngine

        return RayEngine(num_workers, memory, retries, progress is not None)
    from ._executors import ExecutorEngine, ThreadEngine

    if executor == "threads":
        return ThreadEngine(num_workers)
    if not callable(getattr(executor, "submit", None)):
        raise UsageError(
            f'executor is {executor!r}; expected "threads", "ray" or a concurrent.futures.Executor'
        )
    if progress is not None:
        raise UsageError('progress needs executor="threads" or executor="ray"')
    return ExecutorEngine(executor, num_workers)


def _results(engine, tasks, on_error, progress):
    """Keeps the engine busy, and yields results."""
    pending = {}
    try:
        while True:
            while len(pending) < engine.limit:
                index, job, task = next(tasks, (None, None, None))
                if task is None:
                    break
                pending[engine.submit(index, task)] = (index, job, task)
            if not pending:
                return
            for handle, outcome in engine.wait(set(pending), progress):
                index, job, task = pending.pop(handle)
                result = _result(index, job, task, outcome)
                if result.error is not None and on_error == "raise":
                    raise result.error
                yield result
    finally:
        engine.stop(set(pending))


def _result(index, job, task, outcome):
    """Makes a result of what a task has returned, or of the exception that it has raised."""
    error = conversion = None
    warnings = ()
    status = "failed"
    if isinstance(outcome, BaseException):
        error = FailureError(f"{task.out}: the worker failed: {outcome!r}")
        error.__cause__ = outcome
    else:
        exit_code, document, warnings = outcome
        if exit_code == 0:
            status = document["status"]
            if status == "converted":
                conversion = from_json(Conversion, document["conversion"])
        else:
            error = from_native(exit_code, document)
    return JobResult(
        index=index,
        job=dict(job),
        out=task.out,
        status=status,
        conversion=conversion,
        error=error,
        warnings=tuple(warnings),
    )


class Task:
    """A job as words of a command line; it pickles."""

    def __init__(self, job, skip_completed, threads):
        from ._api import convert

        job = dict(job)
        known = {"checkpoint", "out", "model", *convert.__kwdefaults__}
        known -= {"dry_run", "progress", "report"}
        for name in job:
            if name not in known:
                raise UsageError(f"{name!r} is not an argument of a job; expected {sorted(known)}")
        for name in ("checkpoint", "out", "model"):
            if job.get(name) is None:
                raise UsageError(f"a job has no {name!r}: {job!r}")
        self.out = text(job.pop("out")).rstrip("/")
        above, _, name = self.out.rpartition("/")
        if name in ("", ".", ".."):
            raise UsageError(f"out is {self.out!r}; expected a path that ends in the name of a directory")
        line = {"checkpoint": text(job.pop("checkpoint")), "out": name, "model": job.pop("model")}
        line["step"] = job.pop("step", None)
        own = {name: job.pop(name) for name in _OF_THE_PROGRAM if name in job}
        options = program_options(job)
        line["options"] = {name: _plain(value) for name, value in options.items()}
        self.words = ["batch", "--json", "--job", json.dumps(line)]
        self.words.append(f"--threads={own.get('threads') or threads}")
        if own.get("force"):
            self.words.append("--force")
        if not skip_completed:
            self.words.append("--redo")
        root = "/" if self.out.startswith("/") else "."
        self.words += ["--", above or root]

    def __call__(self, progress=None):
        """Runs the job; returns the exit code, the document of the job, and warnings."""
        from . import _native
        from ._call import check_process

        check_process()
        exit_code, lines, warnings = _native.call(self.words, progress)
        check_process()
        document = json.loads(lines.splitlines()[0]) if lines else {}
        prefix = f"{document.get('name')}: "
        return exit_code, document, [warning.removeprefix(prefix) for warning in warnings]


def _plain(value):
    """Returns a value that JSON has."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (bytes, os.PathLike)):
        return os.fsdecode(value)
    return value
