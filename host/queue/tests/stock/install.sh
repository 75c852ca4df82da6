#!/usr/bin/env bash
# Installs the stock software that the tests run beside: install.sh TOOLS. Prints the folder for PYTHONPATH.
# Once, in the versions named here; needs python3 and pip.
set -euo pipefail
arq=0.28.0
msgpack=1.2.4

tools=$1
folder=$tools/arq-$arq-msgpack-$msgpack
mkdir -p "$tools"
if [ ! -d "$folder" ]; then
    # Tests run at the same time: one of them installs.
    exec 9>"$tools/.arq-lock"
    flock 9
    if [ ! -d "$folder" ]; then
        rm -rf "$folder.new"
        python3 -m pip install --quiet --disable-pip-version-check --no-input --root-user-action=ignore \
            --target "$folder.new" "arq==$arq" "msgpack==$msgpack" >&2
        mv "$folder.new" "$folder"
    fi
fi
echo "$folder"
