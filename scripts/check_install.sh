#!/usr/bin/env bash
# Installs the plugin in the four ways a user may (checkout, editable checkout, wheel, sdist), each in a
# throw-away environment, and looks whether it works there.
#
#   bash scripts/check_install.sh [PYTHON]
#
# PYTHON (default .venv/bin/python) belongs to an environment with the dependencies. They are lent from there
# rather than downloaded four times; the package itself is really installed each time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
lender=${1:-.venv/bin/python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$lender" -m build --no-isolation --outdir "$work/dist" . >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
lent=$("$lender" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

check() { # NAME PIP-ARGUMENTS...
  local name=$1 venv=$work/$1
  shift
  "$lender" -m venv --without-pip "$venv"
  local python=$venv/bin/python
  # A path file adds a folder without reading the path files in it: an editable install there stays unseen.
  echo "$lent" >"$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/lent.pth"
  "$python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
    --ignore-installed -c constraints.txt "$@"
  (
    cd "$work" # not in the checkout: only what was installed may be found
    "$python" - "$name" "$venv" <<'PY'
import sys
from importlib import import_module
from pathlib import Path

import napari_mrtrans
from npe2 import PluginManager

name, venv = sys.argv[1:]
home = Path(napari_mrtrans.__file__).resolve()
assert home.is_relative_to(Path(venv).resolve()) == (name != "editable"), home

manager = PluginManager()
manager.discover()
manifest = manager.get_manifest("napari-mrtrans")
for command in manifest.contributions.commands:
    module, _, attribute = command.python_name.partition(":")
    assert callable(getattr(import_module(module), attribute)), command.python_name
shipped = [c.name for c in napari_mrtrans.list_checkpoints() if c.path.is_relative_to(home.parent)]
assert shipped, "no checkpoint came with it"
print(f"{name}: {home.parent}, version {manifest.package_version}, "
      f"{len(manifest.contributions.commands)} commands, checkpoints {', '.join(shipped)}")
PY
    "$venv/bin/napari-mrtrans" --help >/dev/null
    "$venv/bin/napari-mrtrans" models >/dev/null
    "$venv/bin/napari-mrtrans-train" --list >/dev/null
  )
}

check checkout .
check editable -e .
check wheel "$work"/dist/*.whl
check sdist "$work"/dist/*.tar.gz
echo "All four ways of installing work."
