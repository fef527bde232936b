#!/bin/sh
# Install the packages named in a file into /opt/venv, in the versions of constraints.txt: install.sh NAMES
# Packages come from the folder /wheels if it holds wheels, otherwise from pip's index.
# With TORCH=cpu torch and torchvision are their CPU builds, from /wheels or from the index TORCH_INDEX.
set -eu
venv=/opt/venv

python3 -m venv --without-pip "$venv"
offline=$(find /wheels -name '*.whl' -printf '--no-index --find-links=/wheels' -quit 2>/dev/null || true)
# A local version such as 2.14.1+cpu names the CPU build; pip prefers it where it finds both.
case ${TORCH:-cuda} in
    cpu) builds='s/^(torch|torchvision)==([^+]+)$/\1==\2+cpu/' ;;
    *) builds='s/^(torch|torchvision)==([^+]+)$/\1==\2,!=\2+cpu/' ;;
esac
sed -E "$builds" "$(dirname "$0")/constraints.txt" > "$venv/constraints.txt"
[ -z "${TORCH_INDEX:-}" ] || offline="--find-links=/wheels --extra-index-url=$TORCH_INDEX"
# shellcheck disable=SC2086  # $offline is two options, one or none
pip --python "$venv/bin/python" install --quiet --no-cache-dir --no-compile --only-binary :all: --root-user-action ignore \
    --disable-pip-version-check $offline --constraint "$venv/constraints.txt" --requirement "$1"
rm "$venv/constraints.txt"
if [ "${TORCH:-cuda}" = cpu ] && [ -n "$(find "$venv" -type d -name 'nvidia*' -path '*/site-packages/*' -print -quit)" ]; then
    echo "error: NVIDIA's libraries were installed with torch's CPU build: is TORCH_INDEX the index of CPU builds?" >&2
    exit 1
fi

# Delete files that only compilers and developers of these packages read; no serving process loads them.
find "$venv" -name '*.a' -delete
find "$venv" -type d \( -name tests -path '*/site-packages/*' -o -path '*/torch/include' -o -path '*/torch/test' \
    -o -path '*/nvidia/*/include' -o -path '*/kubernetes/aio' \) -prune -exec rm -rf {} +

# Compile bytecode now, because the root file system is read-only when the image runs; it does not depend on file times.
# torch ships a file for a newer Python, which is recognised by its name.
"$venv/bin/python" -m compileall -q -j 0 -x '/py3[0-9]+_' --invalidation-mode unchecked-hash "$venv/lib"
