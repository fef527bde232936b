#!/bin/sh
# Install the packages named in a file into /opt/venv, in the versions of constraints.txt: install.sh NAMES
# From the folder /wheels alone where it holds wheels, else from pip's index.
set -eu
venv=/opt/venv

python3 -m venv --without-pip "$venv"
offline=$(find /wheels -name '*.whl' -printf '--no-index --find-links=/wheels' -quit 2>/dev/null || true)
# shellcheck disable=SC2086  # two options or none
pip --python "$venv/bin/python" install --quiet --no-cache-dir --no-compile --only-binary :all: --root-user-action ignore \
    --disable-pip-version-check $offline --constraint "$(dirname "$0")/constraints.txt" --requirement "$1"

# What only a compiler or a developer of these packages reads; nothing of it is loaded by a process that serves.
find "$venv" -name '*.a' -delete
find "$venv" -type d \( -name tests -path '*/site-packages/*' -o -path '*/torch/include' -o -path '*/torch/test' \
    -o -path '*/nvidia/*/include' -o -path '*/kubernetes/aio' \) -prune -exec rm -rf {} +

# The root file system is read-only when the image runs, so bytecode is made now; it is valid whatever the files' times.
# torch ships a file in the grammar of a newer Python, whose name says so.
"$venv/bin/python" -m compileall -q -j 0 -x '/py3[0-9]+_' --invalidation-mode unchecked-hash "$venv/lib"
