#!/bin/sh
# Makes everything that the project needs on this machine: system tools (named, or installed where we are root), .venv,
# the environments of the client libraries. Does nothing, quickly, when all is there. Never calls sudo.
#
# Settings, by environment:
#   PYTHON         the interpreter to use (3.11 or newer); by default the first suitable one that is found
#   WATCHER_CACHE  where client environments and downloads are kept, where the home directory cannot be written
# pip's and uv's own settings (index, find-links, proxy, certificates) are respected.
#
# Exit status: 0 ready; 3 something is missing that only the user can provide, and the last lines say what and how.
set -eu

cd "$(dirname "$0")/.."
venv=.venv
stamp=$venv/.watcher-ready
lock=requirements.lock
# An ordinary user's PATH on Debian lacks the folders where nft and ip live.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH

say() { printf 'setup: %s\n' "$*" >&2; }
lack() {
    printf 'setup: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '       %s\n' "$line" >&2; done
    exit 3
}
is_root() { [ "$(id -u)" = 0 ]; }
has() { command -v "$1" >/dev/null 2>&1; }

apt_install() {
    say "installing with apt-get: $*"
    # A fresh image has no package lists; old lists name files that the mirrors no longer have.
    if ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 && apt_get install "$@"; then return 0; fi
    apt_get update || true
    apt_get install "$@" || { printf '%s\n' "$said" >&2; return 1; }
}
# Sets `said`: what it printed, of interest only where it fails.
apt_get() { said=$(DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends "$@" 2>&1 </dev/null); }

# ---- Python -------------------------------------------------------------------------------------------------------
is_suitable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
has_venv() { "$1" -c 'import ensurepip, venv; ensurepip.version()' >/dev/null 2>&1; }

# One under a private home directory (pyenv's, uv's) would make a .venv that no other user of this machine can run.
is_for_everyone() {
    "$1" - <<'END' >/dev/null 2>&1
import os, pathlib, sys
real = pathlib.Path(os.path.realpath(sys.executable))
sys.exit(not all(place.stat().st_mode & 0o001 for place in (real, *real.parents)))
END
}

# Sets `python`. Of the suitable ones: first one that everyone can run and that can make a .venv, then one that can make a .venv,
# then any.
find_python() {
    python= second= third=
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        # Every one on the PATH, since a version manager's may hide the system's.
        for candidate in $(paths_of "$name"); do
            is_suitable "$candidate" || continue
            if ! has_venv "$candidate"; then third=${third:-$candidate}; continue; fi
            if ! is_for_everyone "$candidate"; then second=${second:-$candidate}; continue; fi
            python=$candidate
            return 0
        done
    done
    python=${second:-$third}
    [ -n "$python" ]
}

paths_of() {
    old_ifs=$IFS IFS=:
    for folder in $PATH; do
        # Folders with a blank are left out: PYTHON=... serves them.
        case $folder in *[[:space:]]* | "") continue ;; esac
        if [ -x "$folder/$1" ]; then printf '%s\n' "$folder/$1"; fi
    done
    IFS=$old_ifs
}

# ---- what only an administrator can install -----------------------------------------------------------------------
# Sets `missing`, in words, and `packages` of Debian and Ubuntu that bring it.
look() {
    missing='' packages=''
    look_for_tools
    venv_is_ready || look_for_python
}

lacks() { missing="${missing:+$missing, }$1" packages="$packages $2"; }

look_for_tools() {
    [ "$(uname -s)" = Linux ] || return 0 # no lab elsewhere: `watcher doctor` says what to do
    for pair in nft:nftables ip:iproute2 ss:iproute2 nsenter:util-linux unshare:util-linux; do
        has "${pair%%:*}" || lacks "${pair%%:*}" "${pair#*:}"
    done
}

# Only the real control plane needs these, so an ordinary user can do without; `watcher doctor` names what is missing.
want_for_control_plane() {
    is_root && has apt-get && [ "$(uname -s)" = Linux ] || return 0
    wanted=''
    for pair in haproxy:haproxy iptables:iptables; do
        has "${pair%%:*}" || wanted="$wanted ${pair#*:}"
    done
    # shellcheck disable=SC2086  # a list of packages
    [ -z "$wanted" ] || apt_install $wanted || say "not installed:$wanted (the real control plane needs it)"
    # For the tests only: what a user would type against it.
    has kubectl || apt_install kubernetes-client || true
    wanted=''
    for name in buildah podman runc mmdebstrap; do has "$name" || wanted="$wanted $name"; done
    # Never in exchange for Docker's own runc.
    # shellcheck disable=SC2086  # a list of packages
    [ -z "$wanted" ] || apt_install --no-remove $wanted || say "not installed:$wanted (the tests of the image need it)"
}

# The broker of the MQTT stacks; an ordinary user can do without. Debian's package starts one at once, on loopback and for
# good: where that was not there before, it is stopped. The lab starts its own.
want_for_mqtt() {
    is_root && has apt-get && [ "$(uname -s)" = Linux ] && ! has mosquitto || return 0
    if ! apt_install mosquitto; then say "not installed: mosquitto (the MQTT stacks need it)"; return 0; fi
    if has systemctl; then systemctl --quiet disable --now mosquitto >/dev/null 2>&1 || true; fi
}

# For the tests only, too. Debian has it in a package that starts a server; the one program is taken out of it.
want_promtool() {
    is_root && has apt-get && has dpkg-deb || return 0
    if has promtool || [ -x "$venv/bin/promtool" ]; then return 0; fi
    folder=$(mktemp -d)
    # Old lists name a file that the mirrors no longer have.
    fetch() { (cd "$folder" && apt-get -qq download prometheus && dpkg-deb --extract prometheus_*.deb .) >/dev/null 2>&1; }
    if fetch || { apt-get -qq update >/dev/null 2>&1 && fetch; }; then
        mv "$folder/usr/bin/promtool" "$venv/bin/promtool"
    else
        say "promtool could not be fetched (the tests of the alerts need it)"
    fi
    rm -rf "$folder"
}

# For the tests only: the browser that the page is tested in, and a font with the symbols of the matrix.
want_browser() {
    is_root && has apt-get && [ "$(uname -s)" = Linux ] || return 0
    has chromium || has chromium-browser || has google-chrome || apt_install chromium fonts-dejavu-core || true
}

look_for_python() {
    if [ -n "${PYTHON:-}" ]; then
        python=$PYTHON
        is_suitable "$python" || lack "PYTHON=$python is not a Python of version 3.11 or newer that this user can run"
    elif ! find_python; then
        lacks "Python 3.11 or newer" "$(python_packages)"
        return 0
    fi
    has_venv "$python" || lacks "$python's modules venv and ensurepip" "$(version_of "$python")-venv"
}

version_of() { "$1" -c 'import sys; print("python%d.%d" % sys.version_info[:2])'; }

# Where python3 is too old, there may be a newer one beside it.
python_packages() {
    if has python3; then
        for newer in python3.14 python3.13 python3.12 python3.11; do
            if apt-cache show "$newer" >/dev/null 2>&1; then echo "$newer $newer-venv"; return 0; fi
        done
    fi
    echo python3 python3-venv
}

need_system() {
    look
    [ -n "$missing" ] || return 0
    if is_root && has apt-get; then
        # shellcheck disable=SC2086  # a list of packages
        apt_install $packages || true
        look
        [ -n "$missing" ] || return 0
    fi
    # shellcheck disable=SC2086  # a list of packages
    packages=$(printf '%s\n' $packages | sort -u | paste -s -d ' ' -)
    if has apt-get; then
        lack "missing: $missing" "an administrator installs it with:" "apt-get update && apt-get install -y $packages" \
            "(another Python: PYTHON=/path/to/python3.12 make setup)"
    fi
    lack "missing: $missing" "install it with this system's package manager; in Debian the packages are: $packages" \
        "(another Python: PYTHON=/path/to/python3.12 make setup)"
}

# ---- where downloads and client environments go -------------------------------------------------------------------
need_cache() {
    if [ -n "${WATCHER_CACHE:-}" ]; then
        cache=$WATCHER_CACHE
        UV_CACHE_DIR=${UV_CACHE_DIR:-$WATCHER_CACHE/uv}
        PIP_CACHE_DIR=${PIP_CACHE_DIR:-$WATCHER_CACHE/pip}
        export WATCHER_CACHE UV_CACHE_DIR PIP_CACHE_DIR
    elif [ "$(uname -s)" = Darwin ]; then
        cache=${HOME:-/nonexistent}/Library/Caches
    else
        cache=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}
    fi
    if mkdir -p "$cache" 2>/dev/null && [ -w "$cache" ]; then return 0; fi
    lack "the cache folder $cache cannot be written" "name one that can: WATCHER_CACHE=/var/tmp/watcher-$(id -un) make setup" \
        "(and keep it set for watcher run)"
}

# ---- .venv --------------------------------------------------------------------------------------------------------
# What .venv was made from: a changed lock, a moved checkout or (where one is named) another interpreter means: again.
fingerprint() { { pwd -P; printf '%s\n' "$1"; cat "$lock" pyproject.toml tools/setup.sh; } | cksum; }

venv_is_ready() {
    [ -f "$stamp" ] && "$venv/bin/python" -c '' 2>/dev/null || return 1
    { read -r made_with && read -r made_from; } <"$stamp"
    [ "$made_from" = "$(fingerprint "${PYTHON:-$made_with}")" ]
}

# pip's settings for uv, which does not read them: whoever has a mirror has told pip. For .venv and for client environments.
tell_uv() {
    settings=$("$venv/bin/python" -m pip config list 2>/dev/null) || return 0
    value=$(pip_setting index-url); if [ -n "$value" ]; then export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$value}"; fi
    value=$(pip_setting extra-index-url); if [ -n "$value" ]; then export UV_INDEX="${UV_INDEX:-$value}"; fi
    value=$(pip_setting cert); if [ -n "$value" ]; then export SSL_CERT_FILE="${SSL_CERT_FILE:-$value}"; fi
    links=
    for value in $(pip_setting find-links); do
        # pip passes over a folder that is not there, uv does not.
        case $value in *://*) ;; *) [ -d "$value" ] || continue ;; esac
        links=${links:+$links,}$value
    done
    if [ -n "$links" ]; then export UV_FIND_LINKS="${UV_FIND_LINKS:-$links}"; fi
    # uv has no such setting for its environment; without an index what is left is local, unless a link is not.
    case $(pip_setting no-index),$links in [1Tt]*://*) ;; [1Tt]*) export UV_OFFLINE="${UV_OFFLINE:-1}" ;; esac
}

# The environment's setting comes before a file's in pip's list, and it wins.
pip_setting() { printf '%s\n' "$settings" | sed -n "s/^[^=]*\.$1='\(.*\)'\$/\1/p" | sed 's/\\n/ /g' | head -n 1; }

make_venv() {
    if [ ! -w . ] || { [ -e "$venv" ] && [ ! -w "$venv" ]; }; then
        lack "$(pwd)/$venv must be made (again), but this user cannot write it" \
            "remove it as its owner, or use a checkout of your own"
    fi
    say "making $venv with $python"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    # Only uv comes by pip: the pinned one, by its hash. uv does the rest.
    awk '/^[^ ]/ { wanted = /^uv==/ } wanted' "$lock" >"$venv/uv.lock"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r "$venv/uv.lock"
    tell_uv
    # Nothing is built in isolation: the build backend is in the lock like all else.
    uv="$venv/bin/uv --quiet"
    $uv pip sync --python "$venv/bin/python" --require-hashes "$lock"
    $uv pip install --python "$venv/bin/python" --no-deps --no-build-isolation --editable .
    { printf '%s\n' "$python" && fingerprint "$python"; } >"$stamp"
}

need_system
want_for_control_plane
want_for_mqtt
want_browser
need_cache
venv_is_ready || make_venv
want_promtool
tell_uv
# Those of other languages need their compilers, and minutes: `make clients`.
"$venv/bin/watcher" build --kind python
