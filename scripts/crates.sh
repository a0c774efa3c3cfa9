#!/usr/bin/env bash
# Runs a command of cargo on all crates that are published: scripts/crates.sh package|publish [OPTION...]
#
# cargo sorts them by their dependencies; a crate that is being published waits until those it needs are in the index.
set -euo pipefail
cd "$(dirname "$0")/.."

command=$1
shift
packages=(-p remote-files -p tensor-bytes -p tf-checkpoint -p tf-graph -p candle-electra -p electra-convert)
cargo "$command" --locked "${packages[@]}" "$@"
