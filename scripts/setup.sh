#!/usr/bin/env bash
# Sets up a checkout: system libraries, a virtual environment in .venv, and this package in it.
#
#   bash scripts/setup.sh [EXTRAS]        EXTRAS: comma-separated, default "all"
#   PYTHON=python3.12 bash scripts/setup.sh
#
# Safe to run again: what is there already is left alone, and nothing is downloaded.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

extras=${1:-all}
python=${PYTHON:-python3}
venv=.venv
stamp=$venv/napari-mrtrans.setup

say() { printf '== %s\n' "$*" >&2; }
die() { printf 'setup: %s\n' "$*" >&2; exit 2; }
version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

version=$(version_of "$python") || die "cannot run '$python'. Install Python 3.11 or newer, or name one: PYTHON=/path/to/python3.11"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  || die "'$python' is Python $version; 3.11 or newer is needed. Name another one: PYTHON=python3.11 bash ${0##*/}"

# --- system libraries: what Qt and OpenGL need to show a window ---------------------------------------------
packages=(
  libdbus-1-3 libegl1 libfontconfig1 libgl1 libgl1-mesa-dri libglib2.0-0 libwayland-cursor0
  libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0 libxkbcommon-x11-0
)
if [[ ,$extras, == *,test,* ]]; then
  packages+=(xvfb)
fi
venv_works() {
  "$venv/bin/python" -m pip --version >/dev/null 2>&1 || return 1
  [[ -z ${PYTHON:-} || $(version_of "$venv/bin/python") == "$version" ]]
}
# Debian's python3 comes without what makes a virtual environment.
if ! venv_works && ! "$python" -c 'import ensurepip' 2>/dev/null; then
  packages+=("python$version-venv")
fi

is_installed() { # newer releases call some libraries by another name, e.g. libglib2.0-0t64
  local name
  for name in "$1" "${1}t64"; do
    [[ $(dpkg-query -W -f='${db:Status-Abbrev}' "$name" 2>/dev/null) == ii* ]] && return 0
  done
  return 1
}

if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
  missing=()
  for package in "${packages[@]}"; do
    is_installed "$package" || missing+=("$package")
  done
  if ((${#missing[@]})); then
    say "Installing system packages: ${missing[*]}"
    as_root=(env DEBIAN_FRONTEND=noninteractive)
    if ((EUID != 0)); then
      command -v sudo >/dev/null || die "not root and no sudo here. Ask an administrator to run: apt-get install ${missing[*]}"
      as_root=(sudo "${as_root[@]}")
    fi
    "${as_root[@]}" apt-get update -qq || say "apt-get update failed; trying with the package lists at hand"
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null \
      || die "apt-get could not install: ${missing[*]}"
  fi
else
  say "Not a Debian or Ubuntu machine: install the equivalents of these yourself: ${packages[*]}"
fi

# --- virtual environment -------------------------------------------------------------------------------------
if ! venv_works; then
  say "Making a virtual environment in $PWD/$venv (Python $version)"
  "$python" -m venv --clear "$venv"
fi

# --- the package -----------------------------------------------------------------------------------------------
# One line per extra that was installed from just these two files, in just this place.
fingerprint=$({ pwd; cat pyproject.toml constraints.txt; } | sha256sum | cut -d' ' -f1)
is_current() {
  local extra
  for extra in ${extras//,/ }; do
    grep -qsx "$fingerprint $extra" "$stamp" || return 1
  done
}
if ! is_current; then
  say "Installing napari-mrtrans[$extras] and what it needs (several minutes the first time)"
  quiet=()
  [[ -t 1 ]] || quiet=(--quiet)
  "$venv/bin/python" -m pip install ${quiet[@]+"${quiet[@]}"} --disable-pip-version-check -c constraints.txt -e ".[$extras]"
  for extra in ${extras//,/ }; do
    echo "$fingerprint $extra" >>"$stamp"
  done
fi
say "Ready: $PWD/$venv"
