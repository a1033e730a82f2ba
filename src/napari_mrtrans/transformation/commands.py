"""How a result is made again: the command, and the call from Python."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..checkpoints.library import is_installed
from ..models.families import family_of
from ..scan.nifti import is_nifti_name

#: Where a mask came from no file, what it is called.
_UNSAVED = {"mask": "MASK.nii.gz", "roi": "ROI.nii.gz"}


def command_line(info: Mapping[str, Any], samples: bool = False) -> str:
    """``napari-mrtrans transform`` of a report, with files named without their folders; ``samples``: keep them."""
    asked, slices = info["request"], info["request"].get("slices")
    words = ["napari-mrtrans", "transform", _input(info), "--to", info["target"], "--from", info["source"]]
    words += ["--model", _model(info)]
    sampled = info.get("sampler") is not None
    if sampled or not family_of(info["model"]).deterministic:
        words += ["-n", info["n"], "--seed", info["seed"]]
        words += ["--sampler", info["sampler"]] if sampled else []
        words += ["--steps", info["steps"]] if sampled and info.get("steps") is not None else []
        words += [] if asked.get("antithetic", True) else ["--no-antithetic"]
    if isinstance(slices, list | tuple):
        words += ["--slices", f"{slices[0]}:{slices[1]}"]
    words += ["--three-planes"] if asked.get("three_planes") else []
    for name in _UNSAVED:
        words += [f"--{name}", _file(asked, name)] if asked.get(name) else []
    words += ["--roi-only"] if asked.get("roi_only") else []
    if asked.get("prepare") is not None:
        words += ["--prepare" if asked["prepare"] else "--no-prepare"]
    if _repair_chosen(info):
        words += ["--repair" if asked["repair"] else "--no-repair"]
    words += ["--save-samples"] if samples else []
    line = " ".join(shlex.quote(str(word)) for word in [*words, "-o", "out"])
    return "\n".join([*_unsaved(asked), line])


def python_call(info: Mapping[str, Any]) -> str:
    """The same in Python."""
    asked, slices = info["request"], info["request"].get("slices")
    options: dict[str, Any] = {"target": info["target"], "n": info["n"], "seed": info["seed"]}
    if info.get("sampler") is not None:
        options["sampler"] = info["sampler"]
        options |= {} if info.get("steps") is None else {"steps": info["steps"]}
    options |= {} if asked.get("antithetic", True) else {"antithetic": False}
    nifti = is_nifti_name(_input(info))
    lines = [f"from napari_mrtrans import {'Volume, ' if nifti else ''}load_checkpoint, transform"]
    lines += [""] if nifti else ["from napari_mrtrans.dicom.read import read_scan", ""]
    lines.append(f'volume = {"Volume.load" if nifti else "read_scan"}({_input(info)!r}, "{info["source"]}")')
    told = [f"{name}={value!r}" for name, value in options.items()]
    if isinstance(slices, Mapping):
        told.append(f"slices=range({slices['start']}, {slices['stop']}, {slices['step']})")
    elif slices is not None:
        told.append(f"slices=({slices[0]}, {slices[1]})")
    told += ["three_planes=True"] if asked.get("three_planes") else []
    told += [] if asked.get("prepare") is None else [f"prepare={asked['prepare']}"]
    told += [f"repair={asked['repair']}"] if _repair_chosen(info) else []
    if asked.get("mask"):
        lines.insert(0, "from napari_mrtrans.scan.masks import read_mask")
        lines.append(f"mask = read_mask({_file(asked, 'mask')!r}, volume)")
        told.append("mask=mask")
    if asked.get("roi"):
        lines.insert(0, "from napari_mrtrans.lesion.files import roi_from_file")
        found = "volume.affine, volume.data.shape, name=volume.name"
        lines.append(f"roi = roi_from_file({_file(asked, 'roi')!r}, {found})")
        told.append("roi=roi")
    told += ["roi_only=True"] if asked.get("roi_only") else []
    lines.append(f"checkpoint = load_checkpoint({_model(info)!r})")
    lines.append(f"result = transform(volume, checkpoint, {', '.join(told)})")
    return "\n".join([*lines, 'result.save("out")'])


def _repair_chosen(info: Mapping[str, Any]) -> bool:
    """Outliers were to be repaired, or not, otherwise than the model's family needs it."""
    asked = info["request"].get("repair")
    return asked is not None and asked is not (info["model"] == "ddpm")


def _input(info: Mapping[str, Any]) -> str:
    """The name of the input's file, or folder of slices; a layer that came from none must be saved first."""
    path = Path(str(info["input"]))
    return path.name if path.is_absolute() or is_nifti_name(path.name) else f"{path.name}.nii.gz"


def _model(info: Mapping[str, Any]) -> str:
    """The checkpoint's name where that is installed, else the name of its file."""
    file = Path(str(info.get("checkpoint_file", "")))
    return str(info["checkpoint"]) if is_installed(file) or not file.name else file.name


def _file(asked: Mapping[str, Any], name: str) -> str:
    file = asked.get(f"{name}_file")
    return Path(file).name if file else _UNSAVED[name]


def _unsaved(asked: Mapping[str, Any]) -> list[str]:
    """What must be done first, or cannot be said in a command, as comments."""
    slices, lines = asked.get("slices"), []
    if isinstance(slices, Mapping):
        steps = range(slices["start"], slices["stop"], slices["step"])
        lines.append(f"# Slices {steps[0]} to {steps[-1]} by {steps.step}: in Python, below.")
    for name, file in _UNSAVED.items():
        if asked.get(name) and not asked.get(f"{name}_file"):
            layer = "ROI" if name == "roi" else "mask"
            lines.append(f"# Save the {layer} layer as {file} first: it came from no file.")
    return lines
