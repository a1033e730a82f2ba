#!/usr/bin/env bash
# Sets everything up, then runs all tests; those of the window run in a real napari on a virtual display (Xvfb).
# Arguments go to pytest, e.g.  bash scripts/test.sh tests/scan/test_volume.py -k affine
# COVERAGE=1 notes which lines and branches of src they reach, for scripts/print_coverage.py.
# As many tests run at once as there are cores, four at most; -n 0 runs one after the other, as --pdb needs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh all,test
command -v Xvfb >/dev/null || { echo "test: Xvfb is not installed; the tests of the window need it" >&2; exit 2; }
cores=$(nproc)
measure=()
[[ -z ${COVERAGE:-} ]] || measure=(slipcover --branch --source src --json --out coverage.json -m)
exec .venv/bin/python -m "${measure[@]}" pytest -n "$((cores < 4 ? cores : 4))" --dist worksteal "$@"
