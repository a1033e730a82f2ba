#!/usr/bin/env bash
# Sets everything up, then runs all tests; those of the window run in a real napari on a virtual display (Xvfb).
# Arguments go to pytest, e.g.  bash scripts/test.sh tests/test_volume.py -k affine
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh all,test
command -v Xvfb >/dev/null || { echo "test: Xvfb is not installed; the tests of the window need it" >&2; exit 2; }
exec .venv/bin/python -m pytest "$@"
