#!/usr/bin/env bash
# The full budget of the six models on one GPU, from one small file of packed slices.
#
#   bash scripts/train_on_gpu.sh pack DATA data.mrpack     where the scans are
#   bash scripts/train_on_gpu.sh train data.mrpack RUNS    where the GPU is; RUNS/checkpoints has what is finished
#
# Stopped or killed, the second command goes on where it was. Two lanes share the GPU: small networks alone leave it idle.
#   PYTHON=python3     an interpreter with the packages of pyproject.toml's extra "train" (the package itself need not be
#                      installed)
#   MINUTES=25         stop after this long, resumable
#   BATCH=32           slices of each step, instead of the recipes' 8: a GPU takes many at once
#   STEPS=             of every stage, for a trial or another budget; default: as many slices as the recipes'
#   ACCELERATOR=cuda WORKERS=6 COMPILE=1
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}
train() { PYTHONPATH="$root/src${PYTHONPATH:+:$PYTHONPATH}" "$python" -c 'from napari_mrtrans.cli.train import main; main()' "$@"; }

case ${1:-} in
  pack)
    [[ $# == 3 ]] || { echo "usage: $0 pack DATA data.mrpack" >&2; exit 2; }
    train pack --data "$2" -o "$3"
    ;;
  train)
    [[ $# == 3 ]] || { echo "usage: $0 train data.mrpack RUNS" >&2; exit 2; }
    end=$((SECONDS + 60 * ${MINUTES:-25}))
    options=(--full --no-calibrate --data "$2" -o "$3" --accelerator "${ACCELERATOR:-cuda}" --workers "${WORKERS:-6}")
    [[ ${COMPILE:-1} == 1 ]] && options+=(--compile)
    batch=${BATCH:-32}
    mkdir -p "$3"
    lane() { # NAMES...: one after the other
      local name left slices
      for name in "$@"; do
        left=$((end - SECONDS))
        ((left > 30)) || { echo "$name: no time left"; return; }
        slices=262144
        [[ $name == *resvit* ]] && slices=131072 # in each of its two phases
        train shipped --only "$name" --max-minutes "$((left / 60))" --set "stages.0.batch=$batch" \
          --set "stages.0.steps=${STEPS:-$((slices / batch))}" "${options[@]}" || echo "$name: failed"
      done
    }
    lane full-direct full-flow full-resvit >"$3/lane-1.log" 2>&1 &
    lane full-ddpm full-ncsn full-cgan >"$3/lane-2.log" 2>&1 &
    wait
    tail -n 3 "$3"/lane-*.log
    ls -l "$3/checkpoints"
    ;;
  *)
    sed -n '2,/^set/p' "${BASH_SOURCE[0]}" | sed '$d; s/^# \{0,1\}//'
    exit 2
    ;;
esac
