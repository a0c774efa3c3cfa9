#!/usr/bin/env bash
# Converts all checkpoints below RUNS with several processes on this machine, each with a shard.
#
#   examples/xargs/convert.sh RUNS OUT [PROCESSES]
#
# One process with --jobs does the same; processes are for machines where each must have its own limits.
set -euo pipefail

runs=${1:?RUNS is missing} out=${2:?OUT is missing} count=${3:-4}
program=${ELECTRA_CONVERT:-electra-convert}

seq 0 $((count - 1)) | xargs -P "$count" -I@shard@ "$program" batch --quiet --model "${MODEL:-discriminator}" \
    --threads 1 --jobs 1 --shard "@shard@/$count" "$runs" "$out"
