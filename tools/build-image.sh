#!/bin/sh
# Builds the soak's image with docker, podman or buildah. Usage: tools/build-image.sh TAG [BUILDER'S OWN OPTIONS]
#
# Settings, by environment:
#   BUILDER   docker, podman or buildah; by default the first of them that is there
#   BASE      the image to build on; by default the one that deploy/image/Containerfile names
# A mirror is told as uv and pip are told of it (UV_DEFAULT_INDEX, UV_INDEX, UV_EXTRA_INDEX_URL, pip's configuration),
# a company's certificates by SSL_CERT_FILE, a proxy by HTTPS_PROXY. The image keeps nothing of them.
set -eu

cd "$(dirname "$0")/.."
[ $# -ge 1 ] || { printf 'usage: %s TAG [options of the builder]\n' "$0" >&2; exit 2; }
tag=$1
shift

builder=${BUILDER:-}
for name in docker podman buildah; do
    if [ -z "$builder" ] && command -v "$name" >/dev/null 2>&1; then builder=$name; fi
done
[ -n "$builder" ] || { printf 'none of docker, podman and buildah is there: install one, or name it: BUILDER=...\n' >&2; exit 3; }

private=$(mktemp -d)
trap 'rm -rf "$private"' EXIT INT TERM

quoted() { printf "%s" "$1" | sed "s/'/'\\\\''/g; s/^/'/; s/\$/'/"; }
setting() { printf 'export %s=%s\n' "$1" "$(quoted "$2")" >>"$private/registry"; }
umask 077
: >"$private/registry"
pip_setting() { python3 -m pip config get "global.$1" 2>/dev/null || true; }
index=${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-$(pip_setting index-url)}}
more=${UV_INDEX:-${PIP_EXTRA_INDEX_URL:-$(pip_setting extra-index-url)}}
if [ -n "$index" ]; then setting UV_DEFAULT_INDEX "$index"; setting PIP_INDEX_URL "$index"; fi
if [ -n "$more" ]; then setting UV_INDEX "$more"; setting PIP_EXTRA_INDEX_URL "$more"; fi
for name in HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy GOPROXY GOSUMDB GOPRIVATE GONOSUMDB; do
    value=$(printenv "$name") || continue
    setting "$name" "$value"
done

set -- --secret "id=registry,src=$private/registry" "$@"
certificates=${SSL_CERT_FILE:-${PIP_CERT:-}}
if [ -n "$certificates" ] && [ -f "$certificates" ]; then set -- --secret "id=ca,src=$certificates" "$@"; fi
if [ -n "${BASE:-}" ]; then set -- --build-arg "BASE=$BASE" "$@"; fi

# Not `exec`: the settings are removed when the builder has ended.
case $builder in
    *docker) DOCKER_BUILDKIT=1 "$builder" build --file deploy/image/Containerfile --tag "$tag" "$@" . ;;
    *) "$builder" build --file deploy/image/Containerfile --tag "$tag" "$@" . ;;
esac
