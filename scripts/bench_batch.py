#!/usr/bin/env python3
"""Measure `batch`: parallel conversions, memory, overhead over single conversions, skipping finished exports.

Needs a release build. The checkpoints are hard links: 64 and 1,000 of fixtures/tiny_default, and 8 of --base, a
checkpoint of Base size that scripts/make_checkpoint.py writes; without it these rows are left out. --work is a directory
on the file system of the checkpoint, such as /dev/shm; it needs 4 GB for the exports of Base size.

Example: scripts/bench_batch.py --base /dev/shm/base/model.ckpt-1000 --work /dev/shm/bench target/release/electra-convert
"""

import argparse
import os
import shutil
import statistics
import subprocess
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
TINY = REPOSITORY / "fixtures/tiny_default/model.ckpt-400"
SUFFIXES = (".index", ".data-00000-of-00001", ".meta")


def link(prefix, folder, count):
    """Makes `count` steps of one checkpoint, by hard links where the file system allows."""
    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        for suffix in SUFFIXES:
            source = Path(f"{prefix}{suffix}")
            if not source.exists():
                continue
            target = folder / f"model.ckpt-{number}{suffix}"
            try:
                target.hardlink_to(source)
            except OSError:
                shutil.copy(source, target)


def measure(commands):
    """Runs commands one after the other; returns the seconds, and the largest peak memory in MiB."""
    begin = time.perf_counter()
    peak = 0
    for command in commands:
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            raise SystemExit(f"exit code {child.returncode}: {' '.join(map(str, command))}")
        peak = max(peak, usage.ru_maxrss / 1024)
    return time.perf_counter() - begin, peak


def ratio(times, others):
    """Returns the median of the ratios of each round."""
    return statistics.median(a / b for a, b in zip(times, others))


class Bench:
    def __init__(self, program, work, rounds):
        self.program, self.work, self.rounds = program, work, rounds

    def rows(self, commands):
        """Runs alternatives in turn, every second round backwards, so that load on the machine and the memory that a
        row leaves behind meet all; returns the times of all rounds and the largest peak."""
        found = {name: [] for name in commands}
        for number in range(self.rounds):
            for name in list(commands)[:: -1 if number % 2 else 1]:
                out = self.work / "out"
                shutil.rmtree(out, ignore_errors=True)
                found[name].append(measure(commands[name](out)))
        return {name: ([t for t, _ in times], max(peak for _, peak in times)) for name, times in found.items()}

    def batch(self, source, *options):
        words = [self.program, "batch", "-q", "--model", "discriminator", "--vocab", "none"]
        return lambda out: [[*words, *options, source, out]]

    def singles(self, source, *options):
        words = [self.program, "-q", "--model", "discriminator", "--vocab", "none", *options]
        steps = sorted(source.glob("*.index"))
        return lambda out: [[*words, step, out / step.stem] for step in steps]

    def conversions(self, name, source):
        cores = str(os.cpu_count())
        rows = self.rows(
            {
                "single conversions, one after the other": self.singles(source),
                "batch --jobs 1": self.batch(source, "--jobs", "1"),
                f"batch --jobs {cores}": self.batch(source, "--jobs", cores),
                "single conversions, --threads 1": self.singles(source, "--threads", "1"),
                "batch --jobs 1 --threads 1": self.batch(source, "--jobs", "1", "--threads", "1"),
            }
        )
        for row, (times, peak) in rows.items():
            print(f"{name:10} {row:42} {statistics.median(times):8.3f} s {peak:8.1f} MiB")
        (single, one, many, single_1, one_1) = (times for times, _ in rows.values())
        print(f"{name:10} overhead of batch --jobs 1: {100 * (ratio(one, single) - 1):.1f} %")
        print(f"{name:10} with one thread: {100 * (ratio(one_1, single_1) - 1):.1f} %")
        print(f"{name:10} {cores} jobs against 1 job: {ratio(one, many):.2f} x; of one thread: {ratio(one_1, many):.2f} x")

    def skipping(self, source):
        out = self.work / "finished"
        command = self.batch(source, "--no-verify")(out)
        seconds, _ = measure(command)
        print(f"1,000 tiny conversions without verification: {seconds:.2f} s")
        times = [measure(command) for _ in range(self.rounds)]
        seconds = statistics.median(seconds for seconds, _ in times)
        print(f"1,000 finished exports skipped: {seconds:.3f} s, {max(p for _, p in times):.1f} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, help="prefix of a checkpoint of Base size")
    parser.add_argument("--work", type=Path, required=True, help="a directory that does not exist")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("program", type=Path)
    args = parser.parse_args()
    args.work.mkdir(parents=True)
    bench = Bench(args.program.resolve(), args.work, args.rounds)
    try:
        sources = {"64 tiny": (TINY, 64), "8 Base": (args.base, 8), "1000": (TINY, 1000)}
        for name, (prefix, count) in sources.items():
            if prefix is None:
                continue
            source = args.work / name.replace(" ", "-")
            link(prefix, source, count)
            if count == 1000:
                bench.skipping(source)
            else:
                bench.conversions(name, source)
    finally:
        shutil.rmtree(args.work)


if __name__ == "__main__":
    main()
