"""Engines of `convert_many`: threads, and any executor of concurrent.futures."""

import concurrent.futures
import os
import queue
import threading

# How often a wait looks at progress and signals, in seconds.
LOOK = 0.1


def cores():
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class ExecutorEngine:
    """Runs tasks in an executor that belongs to the caller."""

    def __init__(self, executor, num_workers):
        self.executor = executor
        # Enough for its workers, whose number is not known.
        self.limit = num_workers or 4 * cores()
        self.threads = 1

    def submit(self, index, task):
        return self.executor.submit(task)

    def wait(self, pending, progress):
        """Returns the tasks that have finished, at least one, with their results or exceptions."""
        done, _ = concurrent.futures.wait(pending, return_when=concurrent.futures.FIRST_COMPLETED)
        return [(future, future.exception() or future.result()) for future in done]

    def stop(self, pending):
        for future in pending:
            future.cancel()


class Stopped(Exception):
    """The caller has left the loop."""


class ThreadEngine(ExecutorEngine):
    """Runs tasks in threads, which share the cores."""

    def __init__(self, num_workers):
        workers = num_workers or cores()
        super().__init__(concurrent.futures.ThreadPoolExecutor(workers, "convert_many"), workers)
        self.threads = max(1, cores() // workers)
        self._stop = threading.Event()
        self._calls = queue.SimpleQueue()

    def submit(self, index, task):
        def report(phase, done, total):
            if self._stop.is_set():
                raise Stopped
            self._calls.put((index, phase, done, total))

        return self.executor.submit(task, report)

    def wait(self, pending, progress):
        while True:
            done, _ = concurrent.futures.wait(
                pending, LOOK, return_when=concurrent.futures.FIRST_COMPLETED
            )
            while not self._calls.empty():
                call = self._calls.get()
                if progress is not None:
                    progress(*call)
            if done:
                return [(future, future.exception() or future.result()) for future in done]

    def stop(self, pending):
        self._stop.set()
        # Those that are running end at their next progress, and remove what they have staged.
        self.executor.shutdown(cancel_futures=True)
