#!/usr/bin/env bash
# Install TensorFlow's library for `--reader tensorflow`, and print what to export.
#
#   eval "$(scripts/libtensorflow.sh [FOLDER])"
#
# Needs Python 3.9 to 3.11 with pip, 500 MB of downloads and disk, and nothing else of the wheel: the
# library inside the PyPI package tensorflow-cpu becomes libtensorflow.so by a link. FOLDER (by
# default .venv-tensorflow) keeps it; a second run only prints.
set -euo pipefail

folder=${1:-.venv-tensorflow}
version=${TENSORFLOW_VERSION:-2.15.1}

if [ ! -e "$folder/bin/python" ]; then
    "${PYTHON:-python3}" -m venv "$folder" >&2
fi
site=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
library=$site/tensorflow
if [ ! -e "$library/libtensorflow_cc.so.2" ]; then
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        "tensorflow-cpu==$version" >&2
fi
ln -sf libtensorflow_cc.so.2 "$library/libtensorflow.so"

printf 'export TENSORFLOW_DIR=%q\n' "$library"
# The shell that evaluates the line expands the variable.
# shellcheck disable=SC2016
printf 'export LD_LIBRARY_PATH=%q${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\n' "$library"
