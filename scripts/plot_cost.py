#!/usr/bin/env python3
"""Draw how time and peak memory grow with the exported bytes, from what scripts/bench.sh kept.

Needs: pip install matplotlib
Example: scripts/bench.sh && scripts/plot_cost.py /dev/shm/electra-bench/results.tsv docs/cost.svg
"""

import argparse
import csv
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

# What bench.sh calls it, what the plot calls it, how it is drawn.
LINES = [
    ("transformers 4 (", "transformers 4's script", dict(color="tab:red", marker="s")),
    ("convert and verify", "convert and verify", dict(color="tab:green", marker="^")),
    ("convert (weights)", "convert --no-verify", dict(color="tab:blue", marker="o")),
    ("cp, in memory", "cp", dict(color="black", linestyle=":", marker=".")),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("results", type=Path, help="results.tsv in the WORK of bench.sh")
    parser.add_argument("plot", type=Path, help="such as docs/cost.svg")
    args = parser.parse_args()

    with args.results.open() as file:
        rows = [row for row in csv.reader(file, delimiter="\t") if row[1]]

    # The same figures give the same bytes.
    matplotlib.rcParams["svg.hashsalt"] = "cost"
    figure, (time, memory) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for start, label, style in LINES:
        of_line = sorted(
            (int(size) / 1e9, float(seconds), peak)
            for _, size, what, seconds, _, peak in rows
            if what.startswith(start)
        )
        time.plot([x for x, *_ in of_line], [s for _, s, _ in of_line], label=label, **style)
        with_peak = [(x, int(peak) * 1024 / 1e9) for x, _, peak in of_line if peak]
        if with_peak:
            memory.plot(*zip(*with_peak), label=label, **style)
    sizes = sorted({int(size) / 1e9 for _, size, *_ in rows})
    memory.plot(sizes, sizes, color="grey", linestyle="--", label="the exported bytes")
    for axes, what in (time, "seconds"), (memory, "peak memory in GB"):
        axes.set(xscale="log", yscale="log", xlabel="exported GB", ylabel=what)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(args.plot, metadata={"Date": None})


if __name__ == "__main__":
    main()
