"""The engine of `convert_many` on Ray: tasks with retries and resources; Ray schedules them."""

import os
import time

from ._errors import FailureError

# The memory that a task reserves unless the caller states another, in bytes: more than any conversion that was measured.
MEMORY = 512 << 20
# How long a wait lasts before progress is looked at, in seconds.
LOOK = 0.2
# The shortest time between two reports of a task, in seconds.
REPORT = 0.5


def _ray():
    try:
        import ray
    except ImportError as error:
        what = "executor=\"ray\" needs Ray: pip install 'electra-convert[ray]'"
        raise FailureError(what) from error
    return ray


class _Board:
    """An actor with the latest progress of each job."""

    def __init__(self):
        self.calls = []

    def put(self, *call):
        self.calls.append(call)

    def take(self):
        calls, self.calls = self.calls, []
        return calls


def _run(task, index, board):
    """What a worker does."""
    if board is None:
        return task()
    last = 0.0

    def report(phase, done, total):
        nonlocal last
        now = time.monotonic()
        if done == total or now - last > REPORT:
            last = now
            board.put.remote(index, phase, done, total)

    return task(report)


class RayEngine:
    """Runs tasks on the cluster that this process is connected to, or on one that it starts here."""

    threads = 1

    def __init__(self, num_workers, memory, retries, with_progress):
        self.ray = ray = _ray()
        if not ray.is_initialized():
            # Nothing is sent anywhere unless the user wants it.
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            ray.init(include_dashboard=False, configure_logging=False)
        self._fixed = num_workers
        remote = ray.remote(
            num_cpus=1, memory=memory or MEMORY, max_retries=retries, retry_exceptions=False
        )
        self._run = remote(_run)
        self._board = None
        if with_progress:
            actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Board)
            self._board = actor.remote()

    @property
    def limit(self):
        # Twice the cores, so that none waits for this process; a cluster may grow.
        return self._fixed or max(2, 2 * int(self.ray.cluster_resources().get("CPU", 1)))

    def submit(self, index, task):
        return self._run.remote(task, index, self._board)

    def wait(self, pending, progress):
        while True:
            done, _ = self.ray.wait(list(pending), num_returns=1, timeout=LOOK)
            if self._board is not None:
                self._report(progress)
            if done:
                return [(handle, self._outcome(handle)) for handle in done]

    def _outcome(self, handle):
        try:
            return self.ray.get(handle)
        except self.ray.exceptions.RayError as error:
            return error

    def _report(self, progress):
        try:
            calls = self.ray.get(self._board.take.remote(), timeout=LOOK)
        except (self.ray.exceptions.RayError, TimeoutError):
            # The node of the actor was lost, or is busy; results do not depend on it.
            return
        for call in calls:
            progress(*call)

    def stop(self, pending):
        for handle in pending:
            self.ray.cancel(handle)
        if self._board is not None:
            self.ray.kill(self._board)
