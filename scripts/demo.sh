#!/usr/bin/env bash
# Sets everything up, then runs the main job on the built-in sample brain: T1 in, T2 with its uncertainty out.
# Opens napari; without a display (or with --headless) it writes files instead and says where.
# Arguments go to "napari-mrtrans demo".
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bash "$root/scripts/setup.sh" all
exec "$root/.venv/bin/napari-mrtrans" demo "$@"
