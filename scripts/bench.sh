#!/usr/bin/env bash
# Time and peak memory of conversions beside plain copies of as many bytes.
#
# Usage: scripts/bench.sh [small|base|large|huge]...   (by default the first three)
# Needs: a release build, hyperfine, GNU time, and what scripts/make_checkpoint.py needs (PYTHON names
# the interpreter). WORK is a folder on a memory file system (/dev/shm), DISK one on a disk (none: the
# disk is left out). ORIGINAL names an interpreter with scripts/requirements-original.txt, for the
# script of transformers 4 (none: it is left out). The inputs, 6 GB for large, are made in WORK once
# and stay there; huge, four times large, needs 18 GB of memory and an empty WORK.
#
# The table is also kept in WORK/results.tsv, which scripts/plot_cost.py draws.
set -euo pipefail
cd "$(dirname "$0")/.."

sizes=("$@")
[ ${#sizes[@]} -gt 0 ] || sizes=(small base large)
work=${WORK:-/dev/shm/electra-bench}
program=${CARGO_TARGET_DIR:-target}/release/electra-convert
script=transformers.models.electra.convert_electra_original_tf_checkpoint_to_pytorch
[ -x "$program" ] || { echo "no $program: cargo build --release" >&2; exit 2; }
mkdir -p "$work"
results=$work/results.tsv
touch "$results"

convert() { echo "$program --model discriminator --vocab none --no-verify -q $1 $2/out"; }

# Prints the median seconds of a command; `before` is run before each time.
median() {
    local command=$1 before=$2 runs=${3:-7}
    hyperfine --style none --warmup 1 --runs "$runs" --prepare "$before" \
        --export-json "$work/times.json" "$command" >/dev/null 2>&1
    awk -F '[:,]' '/"median"/ { printf "%.3f", $2 }' "$work/times.json"
}

# Prints the peak memory of a command, in KiB. A command is a line of words without quotes.
# shellcheck disable=SC2086
peak() { /usr/bin/time --format=%M --output="$work/peak" $1 >/dev/null 2>&1; tail -1 "$work/peak"; }

# Prints a row and keeps it: size, what, seconds, times the copy, peak KiB.
row() {
    printf '%-6s %-34s %8s %8s %10s\n' "$@"
    [ "$1" = size ] || printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "${bytes:-}" "${@:2}" >>"$results"
}

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }

row size what seconds "x copy" "peak KiB"
for size in "${sizes[@]}"; do
    kinds=(weights adam)
    [ "$size" != huge ] || kinds=(weights)
    for kind in "${kinds[@]}"; do
        input=$work/$size-$kind
        if [ ! -e "$input/model.ckpt-1000.index" ]; then
            slots=()
            [ "$kind" = weights ] || slots=(--adam)
            "${PYTHON:-python3}" scripts/make_checkpoint.py --size "$size" "${slots[@]}" \
                "$input/model.ckpt-1000" >/dev/null 2>&1
        fi
    done
    rm -rf "$work/out" "$work/copy"
    # shellcheck disable=SC2091
    $(convert "$work/$size-weights" "$work")
    mv "$work/out/model.safetensors" "$work/source"
    cp "$work/out/config.json" "$work/config.json"
    rm -rf "$work/out"
    bytes=$(stat --format=%s "$work/source")
    sed -i "/^$size\t/d" "$results"

    copy=$(median "cp $work/source $work/copy" "rm -f $work/copy")
    rm -f "$work/copy"
    row "$size" "cp, in memory" "$copy" 1.00 ""
    for kind in "${kinds[@]}"; do
        command=$(convert "$work/$size-$kind" "$work")
        seconds=$(median "$command" "rm -rf $work/out")
        rm -rf "$work/out"
        row "$size" "convert ($kind), in memory" "$seconds" "$(ratio "$seconds" "$copy")" "$(peak "$command")"
        rm -rf "$work/out"
    done
    command="$program --model discriminator --vocab none -q $work/$size-weights $work/out"
    seconds=$(median "$command" "rm -rf $work/out")
    rm -rf "$work/out"
    row "$size" "convert and verify, in memory" "$seconds" "$(ratio "$seconds" "$copy")" "$(peak "$command")"
    command="$program verify -q $work/out"
    seconds=$(median "$command" true)
    row "$size" "verify alone, in memory" "$seconds" "$(ratio "$seconds" "$copy")" "$(peak "$command")"
    rm -rf "$work/out"
    if [ -n "${DISK:-}" ]; then
        synced="dd if=$work/source of=$DISK/copy bs=4M conv=fsync"
        copy=$(median "$synced" "rm -f $DISK/copy")
        rm -f "$DISK/copy"
        row "$size" "dd conv=fsync, to disk" "$copy" 1.00 ""
        seconds=$(median "$(convert "$work/$size-weights" "$DISK")" "rm -rf $DISK/out")
        row "$size" "convert, to disk" "$seconds" "$(ratio "$seconds" "$copy")" ""
        rm -rf "$DISK/out"
    fi
    rm -f "$work/source"
    if [ -n "${ORIGINAL:-}" ]; then
        command="$ORIGINAL -m $script --tf_checkpoint_path $work/$size-${kinds[-1]}/model.ckpt-1000"
        command+=" --config_file $work/config.json --discriminator_or_generator discriminator"
        command+=" --pytorch_dump_path $work/copy"
        row "$size" "transformers 4 (${kinds[-1]}), in memory" "$(median "$command" true 3)" "" "$(peak "$command")"
        rm -f "$work/copy"
    fi
done
bytes=
sed -i '/^-\t/d' "$results"
tiny="$program --model discriminator --no-verify -q fixtures/tiny_default $work/out"
row - "fixtures/tiny_default: convert" "$(median "$tiny" "rm -rf $work/out")" "" ""
row - "--help" "$(median "$program --help" true)" "" ""
rm -rf "$work/out"
