"""Checkpoints against acquired targets on held-out subjects, with a monotone look-up table as the floor.

A second row for comparison is the target itself, blurred: what is out of reach because of noise shows there.

All figures are in normalised units, data range 1, inside the head of both source and target unless they say otherwise.
"""

from __future__ import annotations

import csv
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import metrics
from ..checkpoint import Checkpoint
from ..contrasts import Contrast, Pair
from ..errors import MrtransError, RecipeError
from ..intensity import HEADROOM, clean, head_mask, normalise
from ..streaming import transform
from ..volume import Volume
from .data.bids import Session, read_bids

#: Voxels drawn from each training subject for the look-up table.
LOOKUP_VOXELS = 20_000


@dataclass(frozen=True)
class Row:
    """One method, pair and subject.

    ``psnr_p995`` is the PSNR with the target's 99.5th percentile (not 1) as its peak, so that it does not depend
    on the headroom of the normalisation. ``psnr_fitted`` is the PSNR after the best gain and offset for this subject;
    what it exceeds ``psnr`` by is the target scanner's overall contrast, which the source hardly tells.
    ``std_over_rmse`` is mean std / RMSE of the mean. ``ssim_volume`` is the SSIM of the paper's tables, over the whole
    volume, which its black background inflates. ``fine_detail`` is the power above a quarter of the sampling rate, in
    plane, of one sample (or of the only answer) over that of the target: 1 = as sharp.
    """

    method: str
    pair: str
    subject: str
    slices: int
    ssim: float
    ssim_volume: float
    psnr: float
    psnr_p995: float
    psnr_fitted: float
    sample_psnr: float | None
    mean_std: float | None
    rmse: float
    std_over_rmse: float | None
    fine_detail: float
    seconds_per_slice: float | None


class Lookup:
    """The best monotone look-up table target(source): isotonic regression on voxels of the training subjects."""

    def __init__(self, sessions: Sequence[Session], pair: Pair, seed: int = 0) -> None:
        from sklearn.isotonic import IsotonicRegression

        rng = np.random.default_rng(seed)
        xs, ys = [], []
        for session in sessions:
            if pair.source not in session.files or pair.target not in session.files:
                continue
            source, first = normalised_volume(Volume.load(session.files[pair.source]), pair.source)
            target, second = normalised_volume(Volume.load(session.files[pair.target]), pair.target)
            both = np.flatnonzero(first & second)
            picked = rng.choice(both, min(LOOKUP_VOXELS, len(both)), replace=False)
            xs.append(source.ravel()[picked])
            ys.append(target.ravel()[picked])
        if not xs:
            raise RecipeError(f"No training subject of this checkpoint has {pair} in the data folder.")
        x, y = np.concatenate(xs), np.concatenate(ys)
        fits = [IsotonicRegression(increasing=up, out_of_bounds="clip").fit(x, y) for up in (True, False)]
        self.fit = min(fits, key=lambda fit: float(np.square(fit.predict(x) - y).sum()))

    def __call__(self, source: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(self.fit.predict(source.ravel()).reshape(source.shape), dtype=np.float32)


def evaluate(
    root: Path,
    checkpoints: Sequence[Checkpoint],
    out: Path,
    *,
    pairs: Sequence[Pair] | None = None,
    subjects: Sequence[str] | None = None,
    n: int | None = None,
    steps: int | None = None,
    slab: int | None = None,
    seed: int = 0,
    device: str = "auto",
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Evaluate on held-out sessions; writes ``metrics.csv``, ``metrics.json`` and ``summary.md`` into ``out``.

    Args:
        root: Data folder that holds the folders or subjects the cards name.
        checkpoints: What to compare. Their cards say which subjects are test subjects.
        out: Output folder.
        pairs: Restrict to these.
        subjects: Restrict to these (must not be training subjects of any checkpoint).
        n: Samples; None = the card's default.
        steps: Noise levels; None = the card's default.
        slab: Only this many slices around the middle of the head (at least 11); None = all.
        seed: Of the starting noise.
        device: As :func:`napari_mrtrans.stream`.
        say: Told every finished row.

    Raises:
        MrtransError: a subject was trained on, is missing, or nothing is left to evaluate.
    """
    if slab is not None and slab < 11:
        raise MrtransError("--slab must be at least 11 slices, the width of the SSIM window.")
    sessions = {session.name: session for session in known_sessions(root, checkpoints)}
    rows: list[Row] = []
    for pair in dict.fromkeys(pair for c in checkpoints for pair in c.pairs if pairs is None or pair in pairs):
        serving = [c for c in checkpoints if pair in c.pairs]
        training = sorted({name for c in serving for name in c.card.splits.get("train", [])})
        lookup = Lookup([sessions[name] for name in training if name in sessions], pair)
        for name in subjects or sorted({name for c in serving for name in c.card.splits.get("test", [])}):
            if name in training:
                raise MrtransError(f"'{name}' is a training subject; evaluate on others.")
            if name not in sessions:
                raise MrtransError(f"Subject '{name}' is not in '{root}'.")
            if pair.source in sessions[name].files and pair.target in sessions[name].files:
                for row in _rows(sessions[name], pair, serving, lookup, n, steps, slab, seed, device):
                    rows.append(row)
                    say(_line(row))
    if not rows:
        raise MrtransError("Nothing to evaluate: no subject has both contrasts of a pair.")
    return _write(
        out,
        rows,
        {"n": n, "steps": steps, "slab": slab, "seed": seed, "checkpoints": [c.name for c in checkpoints]},
    )


def known_sessions(root: Path, checkpoints: Sequence[Checkpoint]) -> list[Session]:
    """Sessions below ``root`` in the folders that the checkpoints' splits name."""
    names = [name for c in checkpoints for part in c.card.splits.values() for name in part]
    folders = tuple(dict.fromkeys(name.split("/")[0] for name in names if not name.startswith("sub-"))) or (".",)
    return read_bids(root, folders)


def normalised_volume(volume: Volume, contrast: Contrast) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The volume in [0, 1] and its head mask, both on its own grid."""
    data = clean(volume.data)
    mask = head_mask(data)
    return normalise(data, mask, contrast), mask


def _rows(
    session: Session, pair: Pair, serving: Sequence[Checkpoint], lookup: Lookup,
    n: int | None, steps: int | None, slab: int | None, seed: int, device: str,
) -> list[Row]:  # fmt: skip
    volume = Volume.load(session.files[pair.source], pair.source)
    source, first = normalised_volume(volume, pair.source)
    target, second = normalised_volume(Volume.load(session.files[pair.target]), pair.target)
    if source.shape != target.shape:
        raise MrtransError(
            f"{session.name}: {pair.source} and {pair.target} lie on different grids; co-register them first."
        )
    bounds = _slab(first & second, volume.axial_axis, slab)
    window = _window(first & second, volume.axial_axis, bounds)
    inside, truth = (first & second)[window], target[window]
    view = _View(str(pair), session.name, bounds[1] - bounds[0], volume, truth, inside)
    out = [
        view.row("look-up table", lookup(source[window]), None, None, None),
        view.row("blurred target", _blurred(truth, volume.axial_axis), None, None, None),
    ]
    for checkpoint in serving:
        began = time.perf_counter()
        ensemble = transform(
            volume, checkpoint, target=pair.target, source=pair.source, n=n, steps=steps, seed=seed, device=device,
            slices=bounds, keep_samples=not checkpoint.deterministic,
        )  # fmt: skip
        seconds = (time.perf_counter() - began) / max(1, ensemble.info["slices_done"])
        std = None if checkpoint.deterministic else ensemble.std[window]
        sample = None if ensemble.samples is None else ensemble.samples[0][window]
        out.append(view.row(checkpoint.name, ensemble.mean[window], std, sample, seconds))
    return out


def _slab(mask: NDArray[np.bool_], axis: int, width: int | None) -> tuple[int, int]:
    hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
    low, high = int(hit[0]), int(hit[-1]) + 1
    if width is None or width >= high - low:
        return low, high
    low = (low + high - width) // 2
    return low, low + width


def _window(mask: NDArray[np.bool_], axis: int, bounds: tuple[int, int]) -> tuple[slice, ...]:
    """Bounding box of the head, limited to the evaluated slices along the axial axis."""
    sides = []
    for a in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(b for b in range(3) if b != a)))
        sides.append(slice(*bounds) if a == axis else slice(int(hit[0]), int(hit[-1]) + 1))
    return tuple(sides)


@dataclass(frozen=True)
class _View:
    """The part of one subject that is evaluated; arrays are cut to the head's bounding box."""

    pair: str
    subject: str
    slices: int
    volume: Volume
    truth: NDArray[np.float32]
    inside: NDArray[np.bool_]

    def row(
        self, method: str, prediction: NDArray, std: NDArray | None, sample: NDArray | None, seconds: float | None
    ) -> Row:
        """All figures of one method's answer."""
        inside = self.inside
        prediction, truth = np.where(inside, prediction, 0), np.where(inside, self.truth, 0)
        rmse = float(np.sqrt(np.mean(np.square(prediction - truth)[inside])))
        mean_std = None if std is None else float(std[inside].mean())
        similarity = metrics.ssim_map(prediction, truth)
        # Beyond the box both are black, and so alike.
        plane = self.volume.data.size / self.volume.n_slices
        black = 1 - similarity.size / (plane * self.slices)
        axis = self.volume.axial_axis
        answer = prediction if sample is None else np.where(inside, sample, 0)
        return Row(
            method=method,
            pair=self.pair,
            subject=self.subject,
            slices=self.slices,
            ssim=float(similarity[inside].mean()),
            ssim_volume=float(black + (1 - black) * similarity.mean()),
            fine_detail=_fine(answer, axis) / _fine(truth, axis),
            psnr=metrics.psnr(prediction, truth, inside),
            psnr_p995=metrics.psnr(prediction, truth, inside, data_range=float(np.percentile(truth[inside], 99.5))),
            psnr_fitted=metrics.psnr(_fitted(prediction, truth, inside), truth, inside),
            sample_psnr=None if sample is None else metrics.psnr(sample, truth, inside),
            mean_std=mean_std,
            rmse=rmse,
            std_over_rmse=None if mean_std is None else mean_std / rmse,
            seconds_per_slice=seconds,
        )


def _blurred(image: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """In-plane Gaussian blur of 1 pixel: an answer with all structure and little of the noise."""
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(image, [0.0 if a == axis else 1.0 for a in range(3)]))


def _fine(image: NDArray, axis: int) -> float:
    """In-plane power above a quarter of the sampling rate, summed over slices."""
    planes = np.moveaxis(image, axis, 0)
    frequencies = np.hypot(np.fft.fftfreq(planes.shape[1])[:, None], np.fft.fftfreq(planes.shape[2])[None])
    return float(np.square(np.abs(np.fft.fft2(planes)))[:, frequencies > 0.25].sum())


def _fitted(prediction: NDArray, truth: NDArray, inside: NDArray[np.bool_]) -> NDArray:
    """The prediction with the gain and offset that bring it closest to the truth."""
    if np.ptp(prediction[inside]) == 0:
        return np.full_like(prediction, truth[inside].mean())
    gain, offset = np.polyfit(prediction[inside], truth[inside], 1)
    return gain * prediction + offset


def _line(row: Row) -> str:
    spread = "" if row.std_over_rmse is None else f"  std/RMSE {row.std_over_rmse:.2f}"
    speed = "" if row.seconds_per_slice is None else f"  {row.seconds_per_slice:.2f} s/slice"
    return f"{row.pair:9} {row.subject:24} {row.method:22} SSIM {row.ssim:.4f}  PSNR {row.psnr:.2f} dB{spread}{speed}"


def _write(out: Path, rows: list[Row], settings: dict[str, Any]) -> list[Path]:
    import torch

    about = {
        **settings,
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {_processor()}",
        "torch": torch.__version__,
        "headroom": {contrast.value: value for contrast, value in HEADROOM.items()},
    }
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / "metrics.csv", out / "metrics.json", out / "summary.md"]
    with paths[0].open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(asdict(rows[0])))
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    paths[1].write_text(
        json.dumps({"about": about, "rows": [asdict(row) for row in rows]}, indent=1) + "\n", encoding="utf-8"
    )
    paths[2].write_text(summary(rows, about), encoding="utf-8")
    return paths


def _processor() -> str:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return torch.backends.cpu.get_cpu_capability()


def summary(rows: Sequence[Row], about: dict[str, Any]) -> str:
    """A Markdown table: means over subjects for each pair and method, and how they were obtained."""
    lines = [
        "| pair | method | subjects | SSIM3D | SSIM3D, volume | PSNR (dB) | PSNR, peak p99.5 (dB) | PSNR, fitted (dB) "
        "| PSNR of one sample (dB) | mean std / RMSE | fine detail | s per slice |",
        "|---" * 12 + "|",
    ]
    for pair, method in dict.fromkeys((row.pair, row.method) for row in rows):
        mine = [row for row in rows if (row.pair, row.method) == (pair, method)]

        def average(key: str, digits: int, mine: list[Row] = mine) -> str:
            values = [getattr(row, key) for row in mine]
            return "–" if None in values else f"{float(np.mean(values)):.{digits}f}"

        cells = [
            average("ssim", 4),
            average("ssim_volume", 4),
            average("psnr", 2),
            average("psnr_p995", 2),
            average("psnr_fitted", 2),
            average("sample_psnr", 2),
            average("std_over_rmse", 2),
            average("fine_detail", 2),
            average("seconds_per_slice", 2),
        ]
        lines.append(f"| {pair} | {method} | {len(mine)} | {' | '.join(cells)} |")
    slices = "all slices" if about["slab"] is None else f"{about['slab']} slices in the middle of the head"
    n = about["n"] or "default"
    return "\n".join(lines) + (
        f"\n\nMeans over held-out subjects, inside the head (volume: all voxels), range [0, 1], {slices}, n = {n}, "
        f"seed {about['seed']}. {about['date']}, {about['machine']}, torch {about['torch']}.\n"
    )
