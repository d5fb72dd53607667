#!/bin/sh
# Makes an image to build on, from Debian's packages alone: for where no registry of images can be reached.
# Usage, as root: tools/base-image.sh NAME [SUITE]; then BASE=NAME tools/build-image.sh TAG
#
# Needs mmdebstrap and podman. SUITE is a release of Debian with Python 3.11 or newer; default bookworm.
set -eu

[ $# -ge 1 ] || { printf 'usage: %s NAME [SUITE]\n' "$0" >&2; exit 2; }
name=$1 suite=${2:-bookworm}
for tool in mmdebstrap podman; do
    command -v "$tool" >/dev/null 2>&1 || { printf '%s is not there: apt-get install -y %s\n' "$tool" "$tool" >&2; exit 3; }
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
mmdebstrap --quiet --variant=minbase --include=ca-certificates,python3-minimal,python3-venv \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' "$suite" "$folder/base.tar"
podman import --quiet --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' "$folder/base.tar" "$name"
