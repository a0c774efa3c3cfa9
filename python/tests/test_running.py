"""Progress, cancellation, threads, processes."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import electra_convert
import pytest

# A cancelled command must end within this many seconds.
SECOND = 1.0


def test_progress_has_every_phase_within_its_total(fixtures, tmp_path):
    calls = []
    electra_convert.convert(
        fixtures / "trained",
        tmp_path / "out",
        model="both",
        progress=lambda *call: calls.append((threading.get_ident(), *call)),
    )
    assert {thread for thread, *_ in calls} == {threading.get_ident()}
    assert {"reading", "converting", "verifying", "comparing"} == {call[1] for call in calls}
    assert all(0 <= done <= total for _, _, done, total in calls)
    assert any(phase == "converting" and done == total for _, phase, done, total in calls)


@pytest.mark.parametrize("phase", ["reading", "converting", "verifying", "comparing"])
def test_an_exception_of_the_callback_is_raised(phase, fixtures, tmp_path):
    class OfTheCallback(Exception):
        pass

    def progress(present, done, total):
        if present == phase:
            raise OfTheCallback

    with pytest.raises(OfTheCallback):
        electra_convert.convert(
            fixtures / "trained", tmp_path / "out", model="generator", progress=progress
        )
    # A complete export, or none.
    out = tmp_path / "out"
    names = {path.name for path in out.iterdir()} if out.exists() else set()
    assert not names or "model.safetensors" in names
    assert not any(name.startswith(".") for name in names)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize(
    "call",
    [
        "inspect(url)",
        "config(url, model='generator')",
        "state_dict(url, model='generator')",
        "convert(url, out, model='generator')",
    ],
)
def test_ctrl_c_while_a_server_does_not_answer(call, tmp_path):
    with silent_server() as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/model.ckpt-1.index"
        code = f"""
            from electra_convert import *
            url, out = {url!r}, {str(tmp_path / "out")!r}
            print("begun", flush=True)
            try:
                {call}
            except KeyboardInterrupt:
                print("interrupted")
        """
        ends_within_a_second(textwrap.dedent(code), before=silent.accept)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("phase", ["reading", "converting", "verifying", "comparing"])
def test_ctrl_c_in_a_phase(phase, fixtures, tmp_path):
    """The callback waits in the phase until the signal arrives: Python runs the handler there."""
    code = f"""
        import time
        from electra_convert import convert

        def progress(present, done, total):
            if present == {phase!r}:
                print("begun", flush=True)
                time.sleep(30)

        try:
            convert("fixtures/trained", {str(tmp_path / "out")!r}, model="discriminator", progress=progress)
        except KeyboardInterrupt:
            print("interrupted")
    """
    ends_within_a_second(textwrap.dedent(code))
    leftovers = [path.name for path in tmp_path.rglob(".*")]
    assert leftovers == []


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_ends_the_console_script(tmp_path):
    script = os.path.join(os.path.dirname(sys.executable), "electra-convert")
    with silent_server() as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/model.ckpt-1.index"
        child = subprocess.Popen([script, "inspect", url], stderr=subprocess.PIPE)
        silent.accept()
        sent = time.monotonic()
        child.send_signal(signal.SIGINT)
        _, error = child.communicate(timeout=30)
    assert time.monotonic() - sent < SECOND
    assert child.returncode == -signal.SIGINT
    assert b"Traceback" not in error


def silent_server():
    """Returns a socket that accepts connections and sends nothing."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(10)
    return server


def ends_within_a_second(code, before=None):
    """Runs code that prints ``begun``, sends Ctrl-C, and expects ``interrupted``."""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "begun\n"
    if before is not None:
        before()
    sent = time.monotonic()
    child.send_signal(signal.SIGINT)
    rest, _ = child.communicate(timeout=30)
    assert time.monotonic() - sent < SECOND
    assert rest.endswith("interrupted\n")
    assert child.returncode == 0


def test_threads_convert_in_parallel(fixtures, tmp_path):
    def convert(number):
        out = tmp_path / str(number)
        return electra_convert.convert(fixtures / "trained", out, model="generator").exports[0]

    with ThreadPoolExecutor(8) as pool:
        exports = list(pool.map(convert, range(16)))
    assert all(export.verification.passed for export in exports)
    weights = {(tmp_path / str(n) / "model.safetensors").read_bytes() for n in range(16)}
    assert len(weights) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_other_threads_run_meanwhile():
    """A command that waits for a server does not hold the GIL."""
    counted = 0
    with silent_server() as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/model.ckpt-1.index"

        thread = threading.Thread(target=electra_convert.inspect, args=[url], daemon=True)
        thread.start()
        connection, _ = silent.accept()
        end = time.monotonic() + 0.2
        while time.monotonic() < end:
            counted += 1
        assert thread.is_alive()
        connection.close()
    assert counted > 1000


def step(path):
    """For other processes."""
    return electra_convert.inspect(path).info.step


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_gets_a_clear_error(fixtures):
    assert step(fixtures / "trained") == 6000
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        with pytest.raises(electra_convert.FailureError, match=r"forked .*spawn"):
            pool.submit(step, fixtures / "trained").result(timeout=30)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_process_forked_before_the_first_call_works(fixtures):
    code = """
        import multiprocessing
        import electra_convert

        def step(path):
            return electra_convert.inspect(path).info.step

        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(pool.map(step, ["fixtures/trained"] * 4, chunksize=1))
    """
    code = textwrap.dedent(code)
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert finished.stdout == "[6000, 6000, 6000, 6000]\n", finished.stderr


def test_a_spawned_process_works(fixtures):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        result = pool.submit(electra_convert.inspect, fixtures / "trained").result(timeout=60)
    assert result == electra_convert.inspect(fixtures / "trained")
