"""Checkpoints against acquired targets on held-out subjects, with a monotone look-up table as the floor.

A second row for comparison is the target itself, blurred: what is out of reach because of noise shows there.

All figures are in normalised units, data range 1, inside the head of both source and target unless they say otherwise.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__, metrics
from ..checkpoint import Checkpoint
from ..contrasts import Pair
from ..errors import MrtransError, RecipeError
from ..intensity import HEADROOM
from ..paths import check_folder, write_together
from ..streaming import transform
from .data.bids import Session
from .held_out import PairedVolumes, check_held_out, describe_machine, known_sessions

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
    """The best monotone look-up table target(source), fitted when it is first asked.

    Args:
        sessions: Training subjects.
        pair: What it serves.
        seed: Of the choice of voxels.
    """

    def __init__(self, sessions: Sequence[Session], pair: Pair, seed: int = 0) -> None:
        self.sessions = [session for session in sessions if {pair.source, pair.target} <= session.files.keys()]
        self.pair, self.seed = pair, seed
        if not self.sessions:
            raise RecipeError(f"No training subject of this checkpoint has {pair} in the data folder.")

    @cached_property
    def fit(self) -> Any:
        """Isotonic regression, rising or falling, on voxels of all subjects."""
        from sklearn.isotonic import IsotonicRegression

        rng = np.random.default_rng(self.seed)
        xs, ys = [], []
        for session in self.sessions:
            paired = PairedVolumes.open(session, self.pair)
            both = np.flatnonzero(paired.both)
            picked = rng.choice(both, min(LOOKUP_VOXELS, len(both)), replace=False)
            xs.append(paired.source.ravel()[picked])
            ys.append(paired.target.ravel()[picked])
        x, y = np.concatenate(xs), np.concatenate(ys)
        fits = [IsotonicRegression(increasing=up, out_of_bounds="clip").fit(x, y) for up in (True, False)]
        return min(fits, key=lambda fit: float(np.square(fit.predict(x) - y).sum()))

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

    Finished rows are kept in ``finished.jsonl`` there: what was stopped goes on where it was, and several runs may
    fill one folder.

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
        say: Told every row.

    Raises:
        MrtransError: a subject was trained on, is missing, or nothing is left to evaluate.
    """
    if slab is not None and slab < 11:
        raise MrtransError("--slab must be at least 11 slices, the width of the SSIM window.")
    sessions = known_sessions(root, checkpoints)
    check_folder(out)
    finished = Finished(out / "finished.jsonl")
    settings = {"n": n, "steps": steps, "slab": slab, "seed": seed}
    rows: list[Row] = []
    for pair in dict.fromkeys(pair for c in checkpoints for pair in c.pairs if pairs is None or pair in pairs):
        serving = [c for c in checkpoints if pair in c.pairs]
        training = sorted({name for c in serving for name in c.card.splits.get("train", [])})
        lookup = Lookup([sessions[name] for name in training if name in sessions], pair)
        for name in subjects or sorted({name for c in serving for name in c.card.splits.get("test", [])}):
            check_held_out(name, training, sessions, root)
            if pair.source not in sessions[name].files or pair.target not in sessions[name].files:
                continue
            view = _View(sessions[name], pair, slab)
            where = {"pair": str(pair), "subject": name, "slab": slab, "version": __version__}
            made: list[tuple[dict[str, Any], Callable[[], Row]]] = [
                ({"lookup": training}, partial(view.looked_up, lookup)),
                ({"blurred": True}, view.blurred),
            ]
            for c in serving:
                key = {**settings, "n": n or c.card.sampler.n, "sha256": c.sha256}
                made.append((key, partial(view.transformed, c, n=n, steps=steps, seed=seed, device=device)))
            for key, make in made:
                rows.append(finished.row({**where, **key}, make))
                say(_line(rows[-1]))
    if not rows:
        raise MrtransError("Nothing to evaluate: no subject has both contrasts of a pair.")
    return _write(out, rows, {**settings, "checkpoints": [c.name for c in checkpoints]}, device)


class Finished:
    """Rows computed earlier, one JSON document a line; a line cut short by a kill is left out.

    Args:
        path: The file; made when there is something to write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                document = json.loads(line)
                self.rows[document["key"]] = Row(**document["row"])
            except (ValueError, KeyError, TypeError):
                continue

    def row(self, key: dict[str, Any], make: Callable[[], Row]) -> Row:
        """The row of ``key`` if there is one, else what ``make`` gives, which is kept."""
        name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        if name not in self.rows:
            self.rows[name] = make()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write("\n" * (file.tell() > 0) + json.dumps({"key": name, "row": asdict(self.rows[name])}))
        return self.rows[name]


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


class _View:
    """The part of one subject that is evaluated; arrays are cut to the head's bounding box."""

    def __init__(self, session: Session, pair: Pair, slab: int | None) -> None:
        self.pair, self.subject = pair, session.name
        self._session, self._slab = session, slab

    @cached_property
    def opened(self) -> PairedVolumes:
        """Read when a row has to be computed."""
        return PairedVolumes.open(self._session, self.pair)

    @cached_property
    def bounds(self) -> tuple[int, int]:
        """First and last + 1 of the evaluated slices."""
        return _slab(self.opened.both, self.opened.volume.axial_axis, self._slab)

    @cached_property
    def window(self) -> tuple[slice, ...]:
        """The box."""
        return _window(self.opened.both, self.opened.volume.axial_axis, self.bounds)

    def looked_up(self, lookup: Lookup) -> Row:
        """The row of a look-up table's answer."""
        return self.row("look-up table", lookup(self.opened.source[self.window]))

    def blurred(self) -> Row:
        """The row of the target after an in-plane Gaussian blur of 1 pixel: all structure, little of the noise."""
        from scipy.ndimage import gaussian_filter

        axis = self.opened.volume.axial_axis
        width = [float(a != axis) for a in range(3)]
        return self.row("blurred target", np.asarray(gaussian_filter(self.opened.target[self.window], width)))

    def transformed(self, checkpoint: Checkpoint, *, n: int | None, steps: int | None, seed: int, device: str) -> Row:
        """The row of a checkpoint's answer."""
        began = time.perf_counter()
        ensemble = transform(
            self.opened.volume, checkpoint, target=self.pair.target, source=self.pair.source, n=n, steps=steps,
            seed=seed, device=device, slices=self.bounds, keep_samples=not checkpoint.deterministic,
        )  # fmt: skip
        seconds = (time.perf_counter() - began) / max(1, ensemble.info["slices_done"])
        std = None if checkpoint.deterministic else ensemble.std[self.window]
        sample = None if ensemble.samples is None else ensemble.samples[0][self.window]
        return self.row(checkpoint.name, ensemble.mean[self.window], std, sample, seconds)

    def row(
        self,
        method: str,
        prediction: NDArray,
        std: NDArray | None = None,
        sample: NDArray | None = None,
        seconds: float | None = None,
    ) -> Row:
        """All figures of one method's answer."""
        volume, slices = self.opened.volume, self.bounds[1] - self.bounds[0]
        inside, truth = self.opened.both[self.window], self.opened.target[self.window]
        prediction, truth = np.where(inside, prediction, 0), np.where(inside, truth, 0)
        rmse = float(np.sqrt(np.mean(np.square(prediction - truth)[inside])))
        mean_std = None if std is None else float(std[inside].mean())
        similarity = metrics.ssim_map(prediction, truth)
        # Beyond the box both are black, and so alike.
        plane = volume.data.size / volume.n_slices
        black = 1 - similarity.size / (plane * slices)
        axis = volume.axial_axis
        answer = prediction if sample is None else np.where(inside, sample, 0)
        return Row(
            method=method,
            pair=str(self.pair),
            subject=self.subject,
            slices=slices,
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


def _write(out: Path, rows: list[Row], settings: dict[str, Any], device: str) -> list[Path]:
    import torch

    about = {
        **settings,
        "date": date.today().isoformat(),
        "machine": describe_machine(device),
        "torch": torch.__version__,
        "headroom": {contrast.value: value for contrast, value in HEADROOM.items()},
    }
    table = io.StringIO()
    writer = csv.DictWriter(table, list(asdict(rows[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    document = json.dumps({"about": about, "rows": [asdict(row) for row in rows]}, indent=1) + "\n"
    return write_together(
        out, {"metrics.csv": table.getvalue(), "metrics.json": document, "summary.md": summary(rows, about)}
    )


#: Columns of the summary: heading, attribute of :class:`Row`, digits.
COLUMNS = (
    ("SSIM3D", "ssim", 4),
    ("SSIM3D, volume", "ssim_volume", 4),
    ("PSNR (dB)", "psnr", 2),
    ("PSNR, peak p99.5 (dB)", "psnr_p995", 2),
    ("PSNR, fitted (dB)", "psnr_fitted", 2),
    ("PSNR of one sample (dB)", "sample_psnr", 2),
    ("mean std / RMSE", "std_over_rmse", 2),
    ("fine detail", "fine_detail", 2),
    ("s per slice", "seconds_per_slice", 2),
)


def summary(rows: Sequence[Row], about: dict[str, Any]) -> str:
    """Markdown: means over subjects for each method, of all pairs together and of each, and how they were obtained."""
    methods = list(dict.fromkeys(row.method for row in rows))
    pairs = list(dict.fromkeys(row.pair for row in rows))
    parts = []
    # A mean over pairs compares nothing unless every method was measured on the same ones.
    if len(pairs) > 1 and len({frozenset((r.pair, r.subject) for r in rows if r.method == m) for m in methods}) == 1:
        parts.append(_table(["method, all pairs"], {(m,): [row for row in rows if row.method == m] for m in methods}))
    groups = {(p, m): [row for row in rows if (row.pair, row.method) == (p, m)] for p in pairs for m in methods}
    parts.append(_table(["pair", "method"], {key: mine for key, mine in groups.items() if mine}))
    slices = "all slices" if about["slab"] is None else f"{about['slab']} slices in the middle of the head"
    n = about["n"] or "default"
    parts.append(
        f"Means over held-out subjects, inside the head (volume: all voxels), range [0, 1], {slices}, n = {n}, "
        f"seed {about['seed']}. {about['date']}, {about['machine']}, torch {about['torch']}."
    )
    return "\n\n".join(parts) + "\n"


def _table(names: list[str], groups: dict[tuple[str, ...], list[Row]]) -> str:
    """Means, a line for each group of rows; the key of a group fills the columns ``names``."""
    head = [*names, "volumes", *(heading for heading, _, _ in COLUMNS)]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for key, rows in groups.items():
        cells = []
        for _, attribute, digits in COLUMNS:
            values = [getattr(row, attribute) for row in rows]
            cells.append("–" if None in values else f"{float(np.mean(values)):.{digits}f}")
        lines.append(f"| {' | '.join([*key, str(len(rows)), *cells])} |")
    return "\n".join(lines)
