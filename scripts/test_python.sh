#!/usr/bin/env bash
# Builds the Python wheel, installs it into a clean virtual environment and runs python/tests there.
#
# Usage: scripts/test_python.sh [WHEEL]
# With WHEEL nothing is built. PYTHON names the interpreter. REQUIREMENTS names a file with more packages for the tests,
# such as scripts/requirements-pytorch.txt for models of transformers (gigabytes). Needs PyPI.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
target=${CARGO_TARGET_DIR:-target}
wheel=${1:-}

if [ -z "$wheel" ]; then
    cargo clippy --locked --no-deps -p electra-convert-python -- -D warnings
    tools=$target/venv-maturin
    [ -e "$tools/bin/python" ] || "$python" -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check 'maturin>=1.9,<2'
    build() {
        rm -rf "$target/wheels-tested"
        "$tools/bin/maturin" build --release --locked --manifest-path python/Cargo.toml --out "$target/wheels-tested"
        wheel=$(echo "$target"/wheels-tested/*.whl)
    }
    build
    # The manual page and the completions are what the program of this wheel prints; the second build only packs them.
    "$tools/bin/pip" install --quiet --disable-pip-version-check --no-deps --force-reinstall "$wheel"
    generated=python/electra_convert._native.data
    trap 'rm -rf "$generated"' EXIT
    scripts/share.sh "$tools/bin/electra-convert" "$generated/data/share"
    build
fi
size=$(stat --format=%s "$wheel")
echo "$(basename "$wheel"): $size bytes"
[ "$size" -le $((15 << 20)) ] || { echo "the wheel is larger than 15 MiB" >&2; exit 1; }

clean=$target/venv-wheel
rm -rf "$clean"
"$python" -m venv "$clean"
"$clean/bin/pip" install --quiet --disable-pip-version-check "$wheel" pytest mypy transformers huggingface_hub ray ${REQUIREMENTS:+-r "$REQUIREMENTS"}
"$clean/bin/python" -m pytest -q -p no:cacheprovider python/tests
