#!/usr/bin/env bash
# Time and peak memory of converting and of verifying an ELECTRA, as README states them.
#
# Usage: scripts/measure_verify.sh [small|base|large]
# Needs: GNU time, and what scripts/make_checkpoint.py needs (PYTHON names the interpreter).
set -euo pipefail
cd "$(dirname "$0")/.."

size=${1:-large}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cargo build --locked --release --quiet
program=${CARGO_TARGET_DIR:-target}/release/electra-convert
"${PYTHON:-python3}" scripts/make_checkpoint.py --size "$size" --adam "$work/checkpoint/model.ckpt-1000"

measure() {
    local what=$1
    shift
    for _ in 1 2 3; do
        /usr/bin/time --format="$what: %e s, %M KiB at the most" "$@" >/dev/null
    done
}

measure "convert --no-verify" "$program" --model discriminator --vocab none --no-verify --force -q "$work/checkpoint" "$work/out"
measure "convert" "$program" --model discriminator --vocab none --force -q "$work/checkpoint" "$work/out"
measure "verify" "$program" verify -q "$work/out"
echo "model: $(($(stat -c %s "$work/out/model.safetensors") / 1024)) KiB"
