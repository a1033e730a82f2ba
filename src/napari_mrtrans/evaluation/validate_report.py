"""What ``validate-sampler`` says and writes."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..page.panels import in_memory
from ..paths import write_together
from ..wording import plural
from . import slice_spread, spread
from .spread import RANK

STEM = "validate-sampler"


def write_report(out: Path, report: dict[str, Any]) -> list[Path]:
    """All three files, or none."""
    text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    return write_together(
        out, {f"{STEM}.json": text, f"{STEM}.md": markdown(report), f"{STEM}.png": partial(plot, report)}
    )


def verdict(report: dict[str, Any]) -> list[str]:
    """Plain lines: each criterion with its value, then what follows."""
    lines = []
    for c in report["criteria"]:
        limits = f"{c['low']:g} to {c['high']:g}; reference against itself {_text(c['itself'])}"
        lines.append(f"{'pass' if c['passed'] else 'FAIL'}  {c['name']:38} {_text(c['value']):>7}  ({limits})")
    lines.append("not measured: what sigma-hat tells of unusual scans (AUC)")
    fast, slow = ("{sampler}, {steps} steps".format(**report[key]) for key in ("fast", "reference"))
    if report["reference"]["steps"] != report["reference"]["own_steps"]:
        slow += f" instead of its {report['reference']['own_steps']}"
    said = "Accepted" if report["accepted"] else "Not accepted"
    lines.append(f"{said}: {fast}, against {slow} ({report['checkpoint']}, n = {report['n']}).")
    if any(c["name"] == RANK and c["value"] is None for c in report["criteria"]):
        lines.append("Fewer than 3 slices have no order to compare; raise --slices-per-subject, or name more subjects.")
    if not all(c["decided"] or c["name"] == RANK for c in report["criteria"]):
        lines.append("Where the reference fails against itself too, n may be too small to tell; raise -n.")
    return lines


def markdown(report: dict[str, Any]) -> str:
    """The report as one table and plain lines."""
    head = ("std of R1", "voxels", "median std ratio", "by chance up to", "median bias / std", "median abs(bias) / std",
            "the same, R1 against R2")  # fmt: skip
    keys = ("ratio", "floor", "bias", "absolute_bias", "itself_absolute_bias")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for b in report["bins"]:
        lines.append(f"| {b['name']} | {b['voxels']} | {' | '.join(_text(b[key]) for key in keys)} |")
    lines += [
        "",
        "    " + "\n    ".join(verdict(report)),
        "",
        "F is the fast sampler, R1 and R2 are the reference.",
        "",
    ]
    for v in report["volumes"]:
        ratio, gain = (f"{_text(v[key])} (R1 {_text(v['itself_' + key])})" for key in ("ratio", "difference"))
        lines.append(f"- {v['name']}, {plural(v['slices'], 'slice')}: sigma-hat ratio {ratio}, SSIM difference {gain}")
    named = [(f"R1 inside the central {c['nominal']:.0%} interval of F", c, "R2") for c in report["coverage"]]
    bands = report["spectrum"]["bands"]
    named += [(f"power, {band} frequencies, F over R2", dict(zip(bands, pair, strict=True)), "R1 over R2")
              for band, pair in zip(spread.BANDS, zip(*bands.values(), strict=True), strict=True)]  # fmt: skip
    named += [(f"rank correlation of {of}' sigma-hat", rho, "R1") for of, rho in report["rank_correlation"].items()]
    lines += [f"- {text}: {_text(pair['value'])} ({of} {_text(pair['itself'])})" for text, pair, of in named]
    seconds = (f"{report[key]['seconds_per_slice']:.2f}" for key in ("fast", "reference"))
    lines += ["", *report["notices"], "", f"{' and '.join(seconds)} s for {report['n']} samples of a slice. "
              f"{', '.join(report['pairs'])}; {', '.join(report['subjects'])}; seed {report['seed']}. "
              f"{report['date']}, {report['machine']}, sha256 {report['sha256']}."]  # fmt: skip
    return "\n".join(lines) + "\n"


def plot(report: dict[str, Any], path: Path) -> None:
    """Std ratio by bin with its noise floor; σ̂ of each slice; ratio of the power spectra: a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    by_bin, by_slice, by_ring = figure.subplots(1, 3)
    bins = [b for b in report["bins"] if b["ratio"] is not None]
    floor = np.array([b["floor"] or np.nan for b in bins])
    names = [f"{b['name']}\n{b['voxels']}" for b in bins]
    by_bin.axhspan(0.9, 1.1, color="#e8f3e8", label="accepted")
    by_bin.bar(names, floor - 1 / floor, bottom=1 / floor, width=0.5, color="#bbbbbb", label="chance (R1 / R2)")
    by_bin.plot(names, [b["ratio"] for b in bins], "o", color="#d0367a", label="F / R2")
    by_bin.margins(y=0.3)
    by_bin.set(xlabel="std of R1, voxels", ylabel="median std ratio")
    hats = {key: [s[key] for s in report["slices"]] for key in ("sigma_hat_r1", "sigma_hat_r2", "sigma_hat")}
    by_slice.axline((hats["sigma_hat_r2"][0],) * 2, slope=1, color="#999999", linewidth=0.8)
    by_slice.plot(hats["sigma_hat_r2"], hats["sigma_hat_r1"], "o", color="#bbbbbb", label="R1")
    by_slice.plot(hats["sigma_hat_r2"], hats["sigma_hat"], "o", color="#d0367a", label="F")
    by_slice.set(xlabel="sigma-hat of a slice, R2", ylabel="sigma-hat")
    rings = {key: np.array(a, dtype=float) for key, a in report["spectrum"]["rings"].items()}
    frequency = (np.arange(slice_spread.RINGS) + 0.5) / (2 * slice_spread.RINGS)
    by_ring.axhline(1, color="#999999", linewidth=0.8)
    by_ring.plot(frequency, rings["itself"], color="#bbbbbb", label="R1 / R2")
    by_ring.plot(frequency, rings["value"], color="#d0367a", label="F / R2")
    by_ring.set(xlabel="cycles per voxel", ylabel="power of sample - mean, ratio", ylim=(0, None))
    for axes in (by_bin, by_slice, by_ring):
        axes.legend(fontsize="small")
    figure.suptitle(verdict(report)[len(report["criteria"])], fontsize=10)
    in_memory(partial(figure.savefig, format="png", dpi=120))(path)


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.4f}"
