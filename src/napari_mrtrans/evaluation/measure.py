"""All figures of one method's answer for one held-out subject.

Figures are in normalised units, data range 1. Unless their name says ``volume``, they are of the head of source and
target; ``volume`` adds the black background of the evaluated slices, as the paper's tables do, which flatters.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import metrics
from ..checkpoints.checkpoint import Checkpoint
from ..datasets.bids import Session
from ..metrics.coverage import calibration_error, coverage, pit
from ..scan.contrasts import Pair
from ..scan.grid import Orientation
from ..transformation.statistics import effect_of_n, normality
from ..transformation.streaming import SliceUpdate
from ..transformation.whole_volume import transform
from .held_out import NotMeasured, PairedVolumes
from .lookup import Lookup
from .report.montage import strip

#: The width of SSIM's window.
SSIM_WINDOW = 11
#: Voxels around the head's bounding box: beyond, windows of SSIM on images or their edges see black only.
MARGIN = 6
#: Most head voxels that the coverage and the test of normality look at.
PIT_VOXELS, NORMALITY_VOXELS = 200_000, 20_000
#: How many samples are averaged to see what more of them bring.
COUNTS = (1, 2, 5, 10, 20)

#: (prediction, target) of whole slices and the axis across them to LPIPS, or None where it is not to be had.
Perceptual = Callable[[NDArray, NDArray, int], float | None]


@dataclass(frozen=True)
class Row:
    """One method, pair and subject.

    ``psnr_p995`` is the PSNR with the target's 99.5th percentile (not 1) as its peak, so that it does not depend
    on the headroom of the normalisation. ``psnr_fitted`` is the PSNR after the best gain and offset for this subject;
    what it exceeds ``psnr`` by is the target scanner's overall contrast, which the source hardly tells.
    ``std_over_rmse`` is mean std / RMSE of the mean. ``fine_detail`` is the power above a quarter of the sampling rate,
    in plane, of one sample (or of the only answer) over that of the target: 1 = as sharp.

    SCSSIM, its variant and LPIPS are of the volume only, LPIPS None without its weights. What needs samples is None for
    deterministic methods: ``coverage`` at :data:`napari_mrtrans.metrics.coverage.LEVELS`, its ``calibration_error``,
    ``normal_share``, the fraction of voxels whose samples Shapiro and Wilk's test lets pass as normal (p > 0.05; None
    below 3 samples or where all are constant), and ``psnr_of_n`` and ``ssim_of_n`` of the mean of the first
    :data:`COUNTS` samples.
    """

    method: str
    pair: str
    subject: str
    slices: int
    ssim: float
    ssim_volume: float
    psnr: float
    psnr_volume: float
    psnr_p995: float
    psnr_fitted: float
    bssim: float
    bssim_volume: float
    scssim: float
    scssim_difference: float
    lpips: float | None
    sample_psnr: float | None
    mean_std: float | None
    rmse: float
    std_over_rmse: float | None
    fine_detail: float
    seconds_per_slice: float | None
    coverage: list[float] | None = None
    calibration_error: float | None = None
    normal_share: float | None = None
    psnr_of_n: list[float] | None = None
    ssim_of_n: list[float] | None = None


class View:
    """The part of one subject that is evaluated; arrays are cut to the head's bounding box and a margin.

    Args:
        session: Whose files.
        pair: Which of them.
        slab: Only this many slices in the middle of the head; None = all.
        perceptual: LPIPS.
    """

    def __init__(self, session: Session, pair: Pair, slab: int | None, perceptual: Perceptual) -> None:
        self.pair, self.subject = pair, session.name
        self._session, self._slab, self._perceptual = session, slab, perceptual

    @cached_property
    def opened(self) -> PairedVolumes:
        """Read when a row has to be computed."""
        return PairedVolumes.open(self._session, self.pair)

    @cached_property
    def axis(self) -> int:
        """Across the slices."""
        return self.opened.volume.axial_axis

    @cached_property
    def window(self) -> tuple[slice, ...]:
        """The box: along :attr:`axis` the evaluated slices."""
        box = []
        for axis in range(3):
            hit = np.flatnonzero(self.opened.both.any(axis=tuple(a for a in range(3) if a != axis)))
            if not hit.size:
                raise NotMeasured(f"{self.subject}: the heads of {self.pair.source} and {self.pair.target} are apart.")
            low, high = int(hit[0]), int(hit[-1]) + 1
            if axis != self.axis:
                low, high = max(0, low - MARGIN), high + MARGIN
            elif self._slab is not None and self._slab < high - low:
                low = (low + high - self._slab) // 2
                high = low + self._slab
            box.append(slice(low, min(high, self.opened.both.shape[axis])))
        if (depth := box[self.axis].stop - box[self.axis].start) < SSIM_WINDOW:
            raise NotMeasured(f"{self.subject}: the head spans {depth} slices; SSIM needs {SSIM_WINDOW}.")
        return tuple(box)

    def looked_up(self, lookup: Lookup) -> Row:
        """The row of a look-up table's answer."""
        return self.row("look-up table", lookup(self.opened.source[self.window]))

    def blurred(self) -> Row:
        """The row of the target after an in-plane Gaussian blur of 1 pixel: all structure, little of the noise."""
        from scipy.ndimage import gaussian_filter

        width = [float(a != self.axis) for a in range(3)]
        return self.row("blurred target", np.asarray(gaussian_filter(self.opened.target[self.window], width)))

    def transformed(
        self,
        checkpoint: Checkpoint,
        montage: Path | None,
        progress: Callable[[SliceUpdate], None],
        *,
        n: int | None,
        steps: int | None,
        seed: int,
        device: str,
    ) -> Row:
        """The row of a checkpoint's answer; the middle slice is drawn into the PNG file ``montage``."""
        began = time.perf_counter()
        slices = self.window[self.axis]
        ensemble = transform(
            self.opened.volume, checkpoint, target=self.pair.target, source=self.pair.source, n=n, steps=steps,
            seed=seed, device=device, slices=(slices.start, slices.stop), keep_samples=not checkpoint.deterministic,
            prepare=False, progress=progress,
        )  # fmt: skip
        seconds = (time.perf_counter() - began) / max(1, ensemble.info["slices_done"])
        samples = None if ensemble.samples is None else ensemble.samples[(slice(None), *self.window)]
        row = self.row(checkpoint.name, ensemble.mean[self.window], samples, seconds, seed)
        if montage is not None:
            self._draw(montage, checkpoint.name, ensemble.mean, None if samples is None else ensemble.std)
        return row

    def row(
        self,
        method: str,
        prediction: NDArray,
        samples: NDArray[np.float32] | None = None,
        seconds: float | None = None,
        seed: int = 0,
    ) -> Row:
        """All figures of one method's answer.

        Raises:
            NotMeasured: a voxel of the answer is NaN or infinite.
        """
        inside, truth = self.opened.both[self.window], self.opened.target[self.window]
        if not np.isfinite(prediction[inside]).all():
            raise NotMeasured(f"{method} on {self.subject}, {self.pair}: the prediction holds NaN or infinite voxels.")
        prediction, truth = np.where(inside, prediction, 0), np.where(inside, truth, 0)
        rmse = float(np.sqrt(np.mean(np.square(prediction - truth)[inside])))
        similarity = metrics.ssim_map(prediction, truth)
        peak = float(np.percentile(truth[inside], 99.5))
        if samples is not None:
            samples = np.where(inside, samples, 0)
        mean_std = None if samples is None else float(samples[:, inside].std(axis=0).mean(dtype=np.float64))
        return Row(
            method=method,
            pair=str(self.pair),
            subject=self.subject,
            slices=truth.shape[self.axis],
            ssim=float(similarity[inside].mean()),
            ssim_volume=self._with_background(float(similarity.mean())),
            psnr=metrics.psnr(prediction, truth, inside),
            psnr_volume=self._psnr_volume(prediction, truth),
            psnr_p995=metrics.psnr(prediction, truth, inside, data_range=peak),
            psnr_fitted=metrics.psnr(_fitted(prediction, truth, inside), truth, inside),
            bssim=metrics.bssim(prediction, truth, inside, axis=self.axis),
            bssim_volume=self._with_background(metrics.bssim(prediction, truth, axis=self.axis)),
            scssim=self._with_background(metrics.scssim(prediction, truth, axis=self.axis)),
            scssim_difference=self._with_background(metrics.scssim_difference(prediction, truth, axis=self.axis)),
            lpips=self._perceptual(self._whole(prediction), self._whole(truth), self.axis),
            sample_psnr=None if samples is None else metrics.psnr(samples[0], truth, inside),
            mean_std=mean_std,
            rmse=rmse,
            std_over_rmse=None if mean_std is None else mean_std / rmse,
            fine_detail=_fine(prediction if samples is None else samples[0], self.axis) / _fine(truth, self.axis),
            seconds_per_slice=seconds,
            **({} if samples is None else self._spread(samples, truth, inside, seed)),
        )

    def _spread(
        self, samples: NDArray[np.float32], truth: NDArray, inside: NDArray[np.bool_], seed: int
    ) -> dict[str, Any]:
        """What the samples tell beyond their mean."""
        rng = np.random.default_rng(seed)
        some = rng.permutation(np.flatnonzero(inside))[:PIT_VOXELS]
        independent = samples[::2].reshape(-1, samples[0].size)  # of every antithetic pair one
        covered = coverage(pit(independent[:, some], truth.ravel()[some], rng))
        few = independent[:, some[:NORMALITY_VOXELS]]
        normal = normality(few, np.ones(few.shape[1], dtype=bool)) if len(few) > 2 else np.nan
        means = effect_of_n(samples, truth, inside, COUNTS)
        return {
            "coverage": covered,
            "calibration_error": calibration_error(covered),
            "normal_share": normal if np.isfinite(normal) else None,
            "psnr_of_n": [mean.psnr for mean in means],
            "ssim_of_n": [mean.ssim for mean in means],
        }

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        """Of the evaluated slices in full."""
        width = self.window[self.axis]
        return tuple(width.stop - width.start if a == self.axis else n for a, n in enumerate(self.opened.both.shape))

    def _with_background(self, similarity: float) -> float:
        """A similarity of the box, over the whole slices: beyond the box both are black, and so alike."""
        share = self.opened.both[self.window].size / np.prod(self._shape)
        return float(1 - share + share * similarity)

    def _psnr_volume(self, prediction: NDArray, truth: NDArray) -> float:
        return metrics.psnr(prediction, truth) - float(10 * np.log10(truth.size / np.prod(self._shape)))

    def _whole(self, box: NDArray) -> NDArray:
        """The box in its whole slices."""
        out = np.zeros(self._shape, dtype=box.dtype)
        out[tuple(slice(None) if a == self.axis else side for a, side in enumerate(self.window))] = box
        return out

    def _draw(self, path: Path, method: str, mean: NDArray, std: NDArray | None) -> None:
        volume, opened = self.opened.volume, self.opened
        middle = (self.window[self.axis].start + self.window[self.axis].stop) // 2
        turned = Orientation.from_affine(volume.affine)
        error = np.where(opened.both, np.abs(mean - opened.target), 0)
        images = {str(self.pair.source): opened.source, str(self.pair.target): opened.target, method: mean}
        images |= {"|error|": error} if std is None else {"|error|": error, "std": std}
        picked = turned.slice_index(middle, volume.n_slices)
        box = turned.to_canonical(opened.head)[picked]
        rows, columns = (slice(*np.flatnonzero(box.any(axis=1 - a))[[0, -1]]) for a in range(2))
        sizes = volume.voxel_sizes[list(turned.order)]
        strip(path, {k: turned.to_canonical(v)[picked][rows, columns] for k, v in images.items()}, sizes[1] / sizes[2])


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
