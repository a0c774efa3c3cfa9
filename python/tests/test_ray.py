"""`convert_many` on a local Ray cluster of two nodes. Nothing is reported to Ray's makers."""

import os
import threading
import time

import electra_convert
import pytest

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# Ray would take the loopback interface for the one that leads to other machines: this switch, of the systems on which
# Ray has no clusters of machines, keeps it on loopback.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402

LOOPBACK = "127.0.0.1"


@pytest.fixture
def cluster(tmp_path):
    """A head without cores and two nodes with one core each."""
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "node_ip_address": LOOPBACK,
            "include_dashboard": False,
            "object_store_memory": 100 << 20,
        },
    )
    nodes = [
        cluster.add_node(
            num_cpus=1,
            memory=2 << 30,
            node_ip_address=LOOPBACK,
            object_store_memory=100 << 20,
        )
        for _ in range(2)
    ]
    ray.init(address=cluster.address, configure_logging=False, log_to_driver=False)
    yield cluster, nodes
    ray.shutdown()
    cluster.shutdown()


def many(fixtures, tmp_path, count, **options):
    return [
        {
            "checkpoint": fixtures / "trained",
            "out": tmp_path / "out" / str(number),
            "model": "both",
            **options,
        }
        for number in range(count)
    ]


def test_both_nodes_work_and_results_come_back(cluster, fixtures, tmp_path):
    calls = []
    jobs = many(fixtures, tmp_path, 6)
    jobs[3] = {**jobs[3], "model": "finetuned"}
    results = electra_convert.convert_many(
        jobs, executor="ray", memory=200 << 20, progress=lambda *call: calls.append(call)
    )
    results = sorted(results, key=lambda result: result.index)
    assert [result.status for result in results] == ["converted"] * 3 + ["failed"] + ["converted"] * 2
    assert isinstance(results[3].error, electra_convert.ModelError)
    assert results[0].conversion.exports[0].verification.passed
    assert {index for index, *_ in calls} >= {0, 1, 2}
    assert {"converting", "verifying"} <= {phase for _, phase, _, _ in calls}
    again = electra_convert.convert_many([jobs[0], jobs[5]], executor="ray")
    assert {result.status for result in again} == {"skipped"}


def test_a_lost_node_does_not_lose_jobs(cluster, fixtures, tmp_path):
    cluster, nodes = cluster
    results = electra_convert.convert_many(
        many(fixtures, tmp_path, 10), executor="ray", num_workers=10
    )
    finished = [next(results)]
    # Without a warning to its workers.
    cluster.remove_node(nodes[0], allow_graceful=False)
    finished += results
    assert len(finished) == 10
    assert {result.status for result in finished} <= {"converted", "skipped"}, finished
    for number in range(10):
        for model in ("discriminator", "generator"):
            out = tmp_path / "out" / str(number) / model
            assert (out / "model.safetensors").exists()
            assert not (out.parent / ".electra-convert").exists()


def test_a_killed_worker_is_replaced(cluster, fixtures, tmp_path):
    jobs = many(fixtures, tmp_path, 8)
    killed = []

    def kill():
        """Kills a process that converts."""
        deadline = time.monotonic() + 30
        while not killed and time.monotonic() < deadline:
            for process in os.listdir("/proc"):
                if process.isdecimal() and works(process):
                    os.kill(int(process), 9)
                    killed.append(process)
                    break
            time.sleep(0.01)

    def works(process):
        try:
            with open(f"/proc/{process}/cmdline", "rb") as file:
                title = file.read()
            with open(f"/proc/{process}/stat") as file:
                parent = int(file.read().rsplit(")", 1)[1].split()[1])
            return b"ray::_run" in title and is_ours(parent)
        except OSError:
            return False

    def is_ours(process):
        """True for a descendant of this process."""
        while process > 1:
            if process == os.getpid():
                return True
            with open(f"/proc/{process}/stat") as file:
                process = int(file.read().rsplit(")", 1)[1].split()[1])
        return False

    killer = threading.Thread(target=kill)
    killer.start()
    results = list(electra_convert.convert_many(jobs, executor="ray"))
    killer.join()
    assert killed
    assert {result.status for result in results} <= {"converted", "skipped"}, results


def test_leaving_the_loop_cancels_the_others(cluster, fixtures, tmp_path):
    results = electra_convert.convert_many(
        many(fixtures, tmp_path, 30), executor="ray", num_workers=2
    )
    next(results)
    results.close()
    time.sleep(2)
    count = len(list((tmp_path / "out").iterdir()))
    time.sleep(2)
    assert len(list((tmp_path / "out").iterdir())) == count < 30
