#!/usr/bin/env bash
# The checkpoints on one GPU, from one small file of packed slices: in half an hour of an H100 or H200.
#
#   bash scripts/train_on_gpu.sh pack DATA data.mrpack     where the scans are
#   bash scripts/train_on_gpu.sh train data.mrpack RUNS    where the GPU is; RUNS/checkpoints has what is finished
#
# Stopped or killed, the second command goes on where it was. Several trainings share the GPU through NVIDIA's multi-process
# service, where there is one: small networks alone leave it idle, and without the service they wait for one another.
#   PYTHON=python3     an interpreter with the packages of pyproject.toml's extra "train" (the package itself need not be
#                      installed)
#   MINUTES=25         whole ones; stop after about this long, resumable: a validation and the writing come after it
#   ONLY=              names of checkpoints, such as "t1-t2-flair-cgan"; default: all whose recipes are on whole slices
#   STEPS=             of every stage, for a trial; default: the recipes'
#   ACCELERATOR=cuda WORKERS=4 COMPILE=0
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}
run() { PYTHONPATH="$root/src${PYTHONPATH:+:$PYTHONPATH}" "$python" -c "$@"; } # CODE ARGUMENTS...
train() { run 'from napari_mrtrans.cli.train import main; main()' "$@"; }

share_the_gpu() { # or not, where that cannot be had
  [[ ${ACCELERATOR:-cuda} == cuda && -z ${CUDA_MPS_PIPE_DIRECTORY:-} ]] || return 0 # a service that is there stays as it is
  export CUDA_MPS_PIPE_DIRECTORY=${TMPDIR:-/tmp}/mrtrans-mps-$UID # an absolute, short path; a run that was killed leaves it
  export CUDA_MPS_LOG_DIRECTORY=$CUDA_MPS_PIPE_DIRECTORY
  mkdir -p "$CUDA_MPS_PIPE_DIRECTORY"
  if nvidia-cuda-mps-control -d || echo get_server_list | nvidia-cuda-mps-control; then
    trap 'echo quit | nvidia-cuda-mps-control >/dev/null' EXIT
    # A program that cannot reach the service goes on without it: only the service knows.
    timeout 60 "$python" -c 'import torch; torch.rand(9, device="cuda").sum().item()' &&
      echo get_server_list | nvidia-cuda-mps-control | grep -q '[0-9]' && return
    echo quit | nvidia-cuda-mps-control || true
    trap - EXIT
  fi
  echo "no multi-process service: the trainings will wait for one another"
  unset CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY
}

check() { # before anything: what is missing, or a GPU that cannot be used, ends all lanes alike
  run '
import sys, torch, torch.utils.tensorboard, napari_mrtrans.cli.chain, napari_mrtrans.training.loop
torch.ones(1, device=sys.argv[1]).sum().item()' "${ACCELERATOR:-cuda}"
}

case ${1:-} in
  pack)
    [[ $# == 3 ]] || { echo "usage: $0 pack DATA data.mrpack" >&2; exit 2; }
    train pack --data "$2" -o "$3" --every-mm 3
    ;;
  train)
    [[ $# == 3 ]] || { echo "usage: $0 train data.mrpack RUNS" >&2; exit 2; }
    [[ ${MINUTES:-25} =~ ^[0-9]+$ ]] || { echo "MINUTES=$MINUTES: give whole minutes" >&2; exit 2; }
    end=$((SECONDS + 60 * ${MINUTES:-25}))
    check || { echo "nothing was trained: $python lacks a package or a device (above)" >&2; exit 1; }
    options=(--no-calibrate --data "$2" -o "$3" --accelerator "${ACCELERATOR:-cuda}" --workers "${WORKERS:-4}")
    [[ ${COMPILE:-0} == 1 ]] && options+=(--compile)
    [[ -n ${STEPS:-} ]] && options+=(--set "stages.0.steps=$STEPS")
    mkdir -p "$3"
    share_the_gpu "$3" >"$3/sharing.log" 2>&1
    wanted=${ONLY:-t1-t2-flair-direct t1-t2-flair-flow t1-t2-flair-ddpm t1-t2-flair-ncsn t1-t2-flair-resvit t1-t2-flair-cgan}
    lane() { # NAMES...: one after the other
      local name left full failed=0
      trap 'exit 130' INT
      for name in "$@"; do
        [[ " $wanted " == *" $name "* ]] || continue
        left=$((end - SECONDS))
        ((left > 30)) || { echo "$name: no time left"; return; }
        full=()
        [[ $name == *-resvit || $name == *-cgan ]] && full=(--full) # their shipped recipes are for one core
        train shipped --only "$name" "${full[@]}" --max-minutes "$((left / 60))" "${options[@]}" ||
          { echo "$name: failed"; failed=1; }
      done
      return "$failed"
    }
    stop() { # SIGNAL: each lane and what it runs
      local job
      for job in $(jobs -p); do kill -s "$1" -- "-$job" 2>/dev/null || true; done
      wait
      exit 1
    }
    set -m # each lane is a process group
    trap 'stop INT' INT
    trap 'stop TERM' TERM HUP
    if [[ " $wanted " == *" t1-t2-flair-"@(cgan|flow)" "* ]]; then wanted+=" t1-t2-flair-direct"; fi
    { # flow and cgan take something from direct, and would each train it in the same folder
      if lane t1-t2-flair-direct && [[ -e $3/checkpoints/t1-t2-flair-direct.safetensors ]]; then
        lane t1-t2-flair-cgan >"$3/lane-4.log" 2>&1 &
        lane t1-t2-flair-flow || true
        wait
      elif [[ " $wanted " == *" t1-t2-flair-direct "* ]]; then
        echo "t1-t2-flair-direct is not finished; flow and cgan wait for it"
      fi
    } >"$3/lane-1.log" 2>&1 &
    lane t1-t2-flair-ddpm t1-t2-flair-resvit >"$3/lane-2.log" 2>&1 &
    lane t1-t2-flair-ncsn >"$3/lane-3.log" 2>&1 &
    wait
    tail -n 3 "$3"/lane-*.log
    mkdir -p "$3/checkpoints"
    ls -l "$3/checkpoints"
    if grep -q ': failed$' "$3"/lane-*.log; then
      echo "not everything was trained: $3/lane-*.log say why" >&2
      exit 1
    fi
    ;;
  *)
    sed -n '2,/^set/p' "${BASH_SOURCE[0]}" | sed '$d; s/^# \{0,1\}//'
    exit 2
    ;;
esac
