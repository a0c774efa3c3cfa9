#!/usr/bin/env bash
# Time and peak memory of conversions beside plain copies of as many bytes.
#
# Usage: scripts/bench.sh [small|base|large]...   (by default all three)
# Needs: a release build, hyperfine, GNU time, and what scripts/make_checkpoint.py needs (PYTHON names
# the interpreter). WORK is a folder on a memory file system (/dev/shm), DISK one on a disk (none: the
# disk is left out); the inputs, 6 GB for large, are made in WORK once and stay there.
set -euo pipefail
cd "$(dirname "$0")/.."

sizes=("$@")
[ ${#sizes[@]} -gt 0 ] || sizes=(small base large)
work=${WORK:-/dev/shm/electra-bench}
program=${CARGO_TARGET_DIR:-target}/release/electra-convert
[ -x "$program" ] || { echo "no $program: cargo build --release" >&2; exit 2; }
mkdir -p "$work"

convert() { echo "$program --model discriminator --vocab none --no-verify -q $1 $2/out"; }

# Prints the median seconds of a command; the rest of its arguments is run before each time.
median() {
    local command=$1 before=$2
    hyperfine --style none --warmup 1 --runs 7 --prepare "$before" --export-json "$work/times.json" \
        "$command" >/dev/null 2>&1
    awk -F '[:,]' '/"median"/ { printf "%.3f", $2 }' "$work/times.json"
}

row() { printf '%-34s %8s %8s %10s\n' "$@"; }

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }

row what seconds "x copy" "peak KiB"
for size in "${sizes[@]}"; do
    for kind in adam weights; do
        input=$work/$size-$kind
        if [ ! -e "$input/model.ckpt-1000.index" ]; then
            slots=()
            [ "$kind" = weights ] || slots=(--adam)
            "${PYTHON:-python3}" scripts/make_checkpoint.py --size "$size" "${slots[@]}" \
                "$input/model.ckpt-1000" >/dev/null 2>&1
        fi
    done
    rm -rf "$work/out" "$work/copy"
    $(convert "$work/$size-weights" "$work")
    cp "$work/out/model.safetensors" "$work/source"

    copy=$(median "cp $work/source $work/copy" "rm -f $work/copy")
    row "$size: cp, in memory" "$copy" 1.00 ""
    for kind in weights adam; do
        command=$(convert "$work/$size-$kind" "$work")
        seconds=$(median "$command" "rm -rf $work/out")
        rm -rf "$work/out"
        peak=$(/usr/bin/time --format=%M $command 2>&1)
        row "$size: convert ($kind), in memory" "$seconds" "$(ratio "$seconds" "$copy")" "$peak"
    done
    if [ -n "${DISK:-}" ]; then
        synced="dd if=$work/source of=$DISK/copy bs=4M conv=fsync"
        copy=$(median "$synced" "rm -f $DISK/copy")
        row "$size: dd conv=fsync, to disk" "$copy" 1.00 ""
        seconds=$(median "$(convert "$work/$size-weights" "$DISK")" "rm -rf $DISK/out")
        row "$size: convert, to disk" "$seconds" "$(ratio "$seconds" "$copy")" ""
        rm -rf "$DISK/out" "$DISK/copy"
    fi
    command="$program --model discriminator --vocab none -q $work/$size-weights $work/out"
    seconds=$(median "$command" "rm -rf $work/out")
    rm -rf "$work/out"
    peak=$(/usr/bin/time --format=%M $command 2>&1)
    row "$size: convert and verify, in memory" "$seconds" "" "$peak"
    command="$program verify -q $work/out"
    seconds=$(median "$command" true)
    peak=$(/usr/bin/time --format=%M $command 2>&1)
    row "$size: verify alone, in memory" "$seconds" "" "$peak"
    rm -rf "$work/out" "$work/copy" "$work/source"
done
tiny=$(median "$program --model discriminator --no-verify -q fixtures/tiny_default $work/out" "rm -rf $work/out")
row "fixtures/tiny_default: convert" "$tiny" "" ""
row "--help" "$(median "$program --help" true)" "" ""
