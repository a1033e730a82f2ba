"""One result as one page: slices, verdict, σ̂ of each slice, settings, and how to repeat it.

It names files without their folders, and nothing that a header holds.
"""

from __future__ import annotations

import io
import platform
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..lesion.computed import lines_beside
from ..lesion.report import LesionReport
from ..page.html import NONE, Cell, Picture, Section, Table, page
from ..page.panels import SCALES, Panel, panels_png
from ..scan.contrasts import Contrast
from ..scan.prepared import PreparedVolume
from ..wording import plural
from .acquired import Acquired
from .commands import command_line, python_call
from .ensemble import Ensemble

#: Slices in the picture.
SHOWN = 5
#: Slices with less of the head than this share of the largest are not chosen for the picture.
LARGE = 0.3
#: So many are listed, the largest first.
MOST_LESIONS = 20
_FOLDERS = re.compile(r"(?<![\w.~])(?:[A-Za-z]:)?~?(?:[\\/][^\\/'\"\n]+)*[\\/](?=[^\\/'\"\s])")
_PACKAGES = ("numpy", "napari")


@dataclass(frozen=True)
class Beside:
    """What a page tells besides the result.

    Attributes:
        source: The input was found, so that it can be shown.
        acquired: An image of the target contrast on the result's grid, if there is one.
        lesions: What was measured in a region of interest.
        region: The name of that region.
        numbers: What slices are called: those at the first and last index; None = their indices.
        on_screen: Index of a slice that must be in the picture.
        samples_kept: Samples were kept.
    """

    source: bool = True
    acquired: Acquired | None = None
    lesions: LesionReport | None = None
    region: str = ""
    numbers: tuple[int, int] | None = None
    on_screen: int | None = None
    samples_kept: bool = False


def result_page(result: Ensemble, beside: Beside | None = None) -> str:
    """The whole document of a result with its report in ``info``."""
    beside = beside or Beside()
    info = result.info
    name = Path(str(info["input"])).name
    shown = _chosen(result, beside.on_screen)
    sections = [
        _verdict(result),
        Section("Slices", _caption(result, beside), pictures=[_slices(result, beside, shown)]),
        _curve(result, beside, shown),
        _against(result, beside),
        _lesions(beside, info),
        _settings(result),
        Section("How to repeat it", _REPEAT, code=[command_line(info, beside.samples_kept), python_call(info)]),
    ]
    return page(f"{name} → {info['target']}", [section for section in sections if section])


_WARNING = (
    "Research use only. Not for diagnosis. The mean, its standard deviation and all figures of them come from a model: "
    "nobody has measured what they show."
)
_REPEAT = (
    "The same input, checkpoint and settings give the same result on the same machine. Names are those of the files; "
    "put their folders before them."
)


def without_folders(text: str) -> str:
    """A line in which files are named without the folders they lie in."""
    return _FOLDERS.sub("", text)


def _verdict(result: Ensemble) -> Section:
    info = result.info
    probability, reason = info.get("ood_probability"), info.get("ood_reason")
    said = str(info.get("verdict") or "not judged: the checkpoint is not calibrated")
    first = said if probability is None else f"P(OOD) = {probability:.2f}: {said}"
    behind = f", from {plural(len(info['slices']), 'slice')}"
    why = f" Unusual: {reason}." if reason else ""
    spread = ""
    if np.isfinite(result.sigma_hat):
        spread = (
            f" σ̂ = {result.sigma_hat:.4f}: the {info['n']} samples of a voxel spread by "
            f"±{100 * result.sigma_hat:.1f} % of the {info['target']} intensity range, on average over the head."
        )
    notes = [without_folders(str(line)) for line in info.get("notices", [])]
    meaning = " P(OOD) is the calibrated probability that the scan is unlike those the model has learned from."
    return Section("Result", f"{first}{behind}.{why}{meaning}{spread}", warnings=[_WARNING, *notes])


def _chosen(result: Ensemble, on_screen: int | None) -> list[int]:
    """Array indices of slices for the picture, evenly spread over those that are large enough."""
    done = [int(index) for index in result.info["slices"]]
    across = tuple(axis for axis in range(3) if axis != result.volume.axial_axis)
    area = (result.mean != 0).sum(axis=across)
    large = [index for index in done if area[index] >= LARGE * area[done].max()] or done
    places = np.unique(
        np.linspace(0, len(large) - 1, SHOWN + 2).round().astype(int)[1:-1] if len(large) > SHOWN else []
    )
    chosen = {large[place] for place in places} if len(large) > SHOWN else set(large)
    if on_screen in done and on_screen not in chosen:
        nearest = min(chosen, key=lambda index: abs(index - on_screen)) if len(chosen) >= SHOWN else None
        chosen = chosen - {nearest} | {on_screen}
    return sorted(chosen)


def _number(index: int, count: int, numbers: tuple[int, int] | None) -> int:
    first, last = numbers or (0, count - 1)
    return round(first + (last - first) * index / max(count - 1, 1))


def _caption(result: Ensemble, beside: Beside) -> str:
    info = result.info
    parts = [f"Mean and standard deviation of {info['target']} in the unit interval, as the model knows intensities."]
    if not beside.source:
        parts.append("The input was not found, or has changed, and is not shown.")
    if beside.acquired is not None:
        parts.append(f"Acquired: '{beside.acquired.name}'.")
    roi = info.get("roi")
    if roi and roi["only"]:
        parts.append("Only a region of interest was asked for (red).")
    parts.append("The subject's right is on the left. Slices have the numbers of ")
    return " ".join(parts) + ("the file's axial axis, from 0." if beside.numbers is None else "napari's slider.")


def _slices(result: Ensemble, beside: Beside, chosen: Sequence[int]) -> Picture:
    volume, info = result.volume, result.info
    prepared = PreparedVolume.of(volume)
    orientation = prepared.orientation
    only = bool(info.get("roi") and info["roi"]["only"])
    images: dict[str, NDArray] = {}
    if beside.source:
        images[f"source ({info['source']})"] = prepared.normalised(Contrast.parse(info["source"]))
    images["mean"] = result.mean
    if np.isfinite(result.sigma_hat):
        corrected = result.calibrated_std is not None
        images["calibrated std" if corrected else "std"] = (
            result.std if result.calibrated_std is None else result.calibrated_std
        )
    if beside.acquired is not None:
        images[f"acquired {info['target']}"] = np.nan_to_num(beside.acquired.image)
        images["|error|"] = np.nan_to_num(beside.acquired.error(result.computed()))
    region = orientation.to_canonical((result.mean != 0) | (result.std != 0)) if only else None
    turned = {name: orientation.to_canonical(image) for name, image in images.items()}
    rows, columns = (slice(*(np.flatnonzero(prepared.mask.any(axis=(0, 2 - a)))[[0, -1]] + (0, 1))) for a in range(2))
    lines = []
    for index in chosen:
        plane = orientation.slice_index(index, volume.n_slices)
        outline = None if region is None else region[plane][rows, columns][:, ::-1]
        panels = [
            Panel(name, image[plane][rows, columns][:, ::-1], outline if name.startswith("source") else None)
            for name, image in turned.items()
        ]
        lines.append((f"slice {_number(index, volume.n_slices, beside.numbers)}", panels))
    scales = ", ".join(f"{name} 0 to {top}" for name, top in SCALES.items() if any(n.endswith(name) for n in images))
    _, down, across = prepared.spacing
    return Picture(panels_png(lines, down / across), "png", f"Colours: {scales}." if scales else "Grey.")


def _curve(result: Ensemble, beside: Beside, chosen: Sequence[int]) -> Section | None:
    if not np.isfinite(result.per_slice).any():
        return None
    from matplotlib.figure import Figure

    count = len(result.per_slice)
    numbers = [_number(index, count, beside.numbers) for index in range(count)]
    figure = Figure(figsize=(7, 2.4), layout="constrained")
    axes = figure.subplots()
    axes.plot(numbers, result.per_slice, color="#d0367a", marker=".", markersize=3)
    for index in chosen:
        axes.axvline(_number(index, count, beside.numbers), color="#bbb", linewidth=0.8, zorder=0)
    axes.set(xlabel="slice", ylabel="σ̂", ylim=(0, None))
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    text = (
        "Mean standard deviation over the head of each slice: where the model is least sure. Grey: slices shown above."
    )
    return Section("σ̂ of each slice", text, pictures=[Picture(out.getvalue(), "svg+xml", "σ̂ of each slice")])


def _against(result: Ensemble, beside: Beside) -> Section | None:
    acquired = beside.acquired
    if acquired is None:
        return None
    found = acquired.agreement(result.computed(), result.volume.axial_axis, result.info["slices"])
    rows = [[Cell(acquired.name), Cell(_told(found.ssim, 3)), Cell(_told(found.psnr, 2)), Cell(str(found.slices))]]
    note = "Of the mean, over the head of the computed slices that the acquired image has; data range 1."
    table = Table("Agreement", ["acquired image", "SSIM", "PSNR, dB", "slices"], rows, note)
    return Section(f"Against the acquired {result.info['target']}", tables=[table])


def _lesions(beside: Beside, info: Mapping[str, Any]) -> Section | None:
    report = beside.lesions
    if report is None:
        return None
    rows = [
        [
            Cell(str(row["lesion"])),
            Cell(str(row["n_voxels"])),
            Cell(_told(row["r"], 3)),
            Cell(NONE if row["r_low"] is None else f"{row['r_low']:.2f} to {row['r_high']:.2f}"),
        ]
        for row in report.rows()[: MOST_LESIONS + 1]
    ]
    more = max(len(report.components) - MOST_LESIONS, 0)
    note = (f"The {MOST_LESIONS} largest; {more} more are not listed. " if more else "") + (
        "r: Pearson correlation with the acquired image. 95 %: its interval; neighbours are no independent voxels."
    )
    title = f"In '{without_folders(beside.region)}'" if beside.region else "In the region of interest"
    table = Table(title, ["lesion", "voxels", "r", "95 %"], rows, note)
    lines = lines_beside("\n".join(info.get("notices", [])), report)
    return Section("Lesions", " ".join(f"{line}." for line in lines), tables=[table])


def _settings(result: Ensemble) -> Section:
    info = result.info
    asked = info["request"]
    single = info.get("sampler") is None
    roi = info.get("roi")
    facts = {
        "input": Path(str(info["input"])).name,
        "pair": f"{info['source']} → {info['target']}",
        "model": info["model"],
        "checkpoint": info["checkpoint"],
        "sha256": info.get("sha256", NONE),
        "samples (n)": info["n"],
        "seed": info["seed"],
        "sampler": None if single else f"{info['sampler']}, {info['steps']} steps",
        "drawn by": ", ".join(f"{who}: {count}" for who, count in Counter(info.get("drawn_by", ())).items()) or None,
        "antithetic pairs": None if single and info["n"] == 1 else _yes(asked.get("antithetic", True)),
        "planes": "axial, coronal and sagittal" if asked.get("three_planes") else None,
        "outliers repaired": _yes(info.get("repair", False)),
        "slices": plural(len(info["slices"]), "slice") + ("" if info.get("complete") else ", ended early"),
        "region of interest": roi and f"{plural(roi['voxels'], 'voxel')}{', nothing else' if roi['only'] else ''}",
        "brain mask": asked.get("mask") and Path(asked.get("mask_file") or "of a layer").name,
        "computed on": _machine(info),
        "seconds": info.get("seconds") and f"{info['seconds']:.0f}",
        "made with": f"napari-mrtrans {info.get('napari_mrtrans', NONE)}",
        "page written with": ", ".join([f"Python {platform.python_version()}", *_versions()]),
    }
    rows = [[Cell(name), Cell(str(value))] for name, value in facts.items() if value is not None]
    return Section("Settings", tables=[Table("", ["setting", "value"], rows)])


def _machine(info: Mapping[str, Any]) -> str | None:
    """The device, and, where the report tells it, what else the last bits depend on, and the day."""
    made = info.get("made_on") or {}
    threads, torch = made.get("threads"), made.get("torch")
    said = [info.get("device"), made.get("processor"), threads and plural(threads, "thread"), made.get("number_format")]
    return ", ".join(filter(None, [*said, torch and f"torch {torch}", made.get("date")])) or None


def _versions() -> list[str]:
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return found


def _told(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def _yes(value: Any) -> str:
    return "yes" if value else "no"
