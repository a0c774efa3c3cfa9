#!/usr/bin/env bash
# Fuzzes targets, each for some seconds, from the committed corpus, on all cores:
# scripts/fuzz.sh [SECONDS [TARGET...]]
#
# libFuzzer with stable Rust (`fuzz/rustc.sh`). There is no `unsafe` in the crate for a sanitizer to
# check; a panic, an overflow, 256 MiB (`fuzz/src/lib.rs`) and five seconds for one input end the process.
# The input is then in fuzz/artifacts. The seed is fixed: a failure comes again with the same code.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
shift || true
if [ $# -eq 0 ]; then
    set -- fuzz/fuzz_targets/*.rs
    set -- "${@##*/}"
    set -- "${@%.rs}"
fi

RUSTC_WORKSPACE_WRAPPER=$PWD/fuzz/rustc.sh cargo build --locked -p electra-convert-fuzz "${@/#/--bin=}"
build=${CARGO_TARGET_DIR:-target}/debug

work=$(mktemp -d "${TMPDIR:-/tmp}/fuzz.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p fuzz/artifacts

fuzz() {
    mkdir -p "$work/$1/new"
    # New inputs go into the first folder.
    if TMPDIR=$work/$1 "$build/$1" -max_total_time="$seconds" -timeout=5 -seed=1 \
        -rss_limit_mb=1024 -max_len=65536 -artifact_prefix="fuzz/artifacts/$1-" -print_final_stats=1 \
        "$work/$1/new" "fuzz/corpus/$1" >"$work/$1/log" 2>&1; then
        printf '%-15s %s executions, coverage %s\n' "$1" \
            "$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$1/log")" \
            "$(sed -nE 's/.*(INITED|DONE) +cov: ([0-9]+).*/\2/p' "$work/$1/log" | paste -sd-)"
    else
        tail -40 "$work/$1/log"
        echo "$1 failed"
        return 1
    fi
}
export -f fuzz
export work build seconds
printf '%s\n' "$@" | xargs -P "$(nproc)" -I{} bash -c 'fuzz {}'
