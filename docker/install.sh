#!/bin/sh
# Makes a virtual environment with what one part of the application needs. Run it in the application's folder:
#
#     install.sh FOLDER EXTRAS
#
# The command `flawsmith` is installed as a reference to this folder: it and the application run from here, not from
# site-packages. TORCH_INDEX, if set, names an index to take torch from, such as one of builds without CUDA.
set -eu

folder=$1
extras=$2

python -m venv --without-pip "$folder"

pip() {
    python -m pip --python "$folder/bin/python" --disable-pip-version-check --no-input --quiet "$@"
}

if [ -n "${TORCH_INDEX:-}" ]; then
    pip install --constraint constraints.txt --index-url "$TORCH_INDEX" --no-deps torch
fi
pip install --constraint constraints.txt --editable ".[$extras]"
