"""A held-out subject, and the :class:`.Row` of whatever answers for it: a checkpoint, a look-up table, a blur."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import metrics
from ..datasets.bids import Session
from ..errors import MrtransError, VolumeError
from ..metrics.comparison import MARGIN
from ..metrics.similarity import WINDOW
from ..scan.contrasts import Pair
from ..scan.grid import Orientation
from ..scan.masks import read_mask
from ..transformation.streaming import SliceUpdate
from ..transformation.whole_volume import transform
from .ensemble_figures import Answer, of_errors, of_samples, one_of_each, strata
from .held_out import NotMeasured, PairedVolumes
from .lesion_sums import pearson, sums
from .lookup import Lookup
from .row import Row
from .tiles import NOTHING, Cutter, Drawn, draw
from .way import Way

#: Between whom and why, in a line on lesions that were not compared.
LESIONS = ", lesions: "

#: (prediction, target) of whole slices, in canonical order whichever way their file lies, and the axis across them to
#: LPIPS, or None where it is not to be had.
Perceptual = Callable[[NDArray, NDArray, int], float | None]

#: AUC of telling an answer (a sample) from the target, given source, answer, target and head, and the slice axis.
TwoSample = Callable[[NDArray, NDArray, NDArray, NDArray, int], float | None]


@dataclass(frozen=True)
class Sampling:
    """How checkpoints are sampled; fields as those of :class:`~napari_mrtrans.transformation.request.Request`."""

    n: int | None = None
    steps: int | None = None
    seed: int = 0
    device: str = "auto"
    antithetic: bool = True


@contextmanager
def _of_one_row() -> Iterator[None]:
    """A figure that is not defined costs its row alone.

    Raises:
        NotMeasured: with the words of whatever error there was.
    """
    try:
        yield
    except MrtransError as error:
        raise NotMeasured(str(error)) from None


class View:
    """The part of one subject that is evaluated; arrays are cut to the head's bounding box and a margin.

    Args:
        session: Whose files.
        pair: Which of them.
        slab: Only this many slices in the middle of the head; None = all.
        perceptual: LPIPS.
        sampling: How checkpoints are sampled; its seed is of what is drawn at random for the figures, too.
    """

    def __init__(
        self,
        session: Session,
        pair: Pair,
        slab: int | None,
        perceptual: Perceptual,
        sampling: Sampling = Sampling(),
    ) -> None:
        self.pair, self.subject, self.sampling = pair, session.name, sampling
        self._session, self._slab, self._perceptual = session, slab, perceptual
        self.no_lesion = ""

    @cached_property
    def opened(self) -> PairedVolumes:
        """Read when a row has to be computed."""
        return PairedVolumes.open(self._session, self.pair)

    @cached_property
    def lesion(self) -> NDArray[np.bool_] | None:
        """The expert mask within the head, None where there is none that can be used (:attr:`no_lesion` says why)."""
        path = self._session.mask
        try:
            return None if path is None else read_mask(path, self.opened.volume) & self.opened.both
        except VolumeError as error:
            self.no_lesion = f"{self.subject}{LESIONS}{error}"
            return None

    @cached_property
    def axis(self) -> int:
        """Across the slices."""
        return self.opened.volume.axial_axis

    @cached_property
    def orientation(self) -> Orientation:
        """How the arrays' axes map onto canonical slices."""
        return Orientation.from_affine(self.opened.volume.affine)

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
                upside_down = self.orientation.flips[0]  # the same slices of such a file
                low = (low + high - self._slab + upside_down) // 2
                high = low + self._slab
            box.append(slice(low, min(high, self.opened.both.shape[axis])))
        if (depth := box[self.axis].stop - box[self.axis].start) < WINDOW:
            raise NotMeasured(f"{self.subject}: the head spans {depth} slices; SSIM needs {WINDOW}.")
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
        way: Way,
        drawn: Drawn,
        progress: Callable[[SliceUpdate], None],
        two_sample: TwoSample | None = None,
    ) -> Row:
        """The row of a checkpoint's answer, whose slices go where ``drawn`` says."""
        opened, asked, checkpoint = self.opened, self.sampling, way.checkpoint
        slices, began = self.window[self.axis], time.perf_counter()  # reading the scans does not count
        ensemble = transform(
            opened.volume, checkpoint, target=self.pair.target, source=self.pair.source, n=asked.n, steps=asked.steps,
            seed=asked.seed, device=asked.device, antithetic=asked.antithetic, slices=(slices.start, slices.stop),
            keep_samples=not checkpoint.deterministic, prepare=False, three_planes=way.three_planes, progress=progress,
        )  # fmt: skip
        seconds = (time.perf_counter() - began) / max(1, ensemble.info["slices_done"])
        samples = None if ensemble.samples is None else ensemble.samples[(slice(None), *self.window)]
        shown = None if ensemble.calibrated_std is None else ensemble.calibrated_std[self.window]
        by = () if samples is None else strata(checkpoint, len(samples), asked.antithetic)
        row = self.row(way.name, ensemble.mean[self.window], samples, seconds, shown, by)
        if two_sample is not None:
            one = ensemble.mean[self.window] if samples is None else one_of_each(samples, self.axis, asked.antithetic)
            images = (opened.source[self.window], one, opened.target[self.window], opened.both[self.window])
            source, answer, target, head = map(self.orientation.to_canonical, images)
            row = replace(row, two_sample=two_sample(source, answer, target, head, 0))
        if drawn != NOTHING:
            images_of = {"source": opened.source, "target": opened.target, "mean": ensemble.mean}
            images_of["error"] = np.where(opened.both, np.abs(ensemble.mean - opened.target), 0)
            if samples is not None:
                images_of["std"] = ensemble.std
            pair = {"source": str(self.pair.source), "target": str(self.pair.target)}
            titles = pair | {"mean": way.name, "error": "|error|"}
            lesion = None
            if self.lesion is not None:  # there is an answer within the slab alone
                lesion = np.zeros_like(self.lesion)
                lesion[self.window] = self.lesion[self.window]
            draw(drawn, Cutter(opened.volume, opened.head), images_of, titles, self.middle, lesion)
        return row

    @property
    def middle(self) -> int:
        """The slice that is shown: of those in which source and target are, the nearest to the middle."""
        within = self.window[self.axis]
        there = np.flatnonzero(self.opened.both.any(axis=tuple(a for a in range(3) if a != self.axis)))
        there = there[(there >= within.start) & (there < within.stop)]
        return int(min(there, key=lambda index: abs(int(index) - (within.start + within.stop) // 2)))

    @_of_one_row()
    def row(
        self,
        method: str,
        prediction: NDArray,
        samples: NDArray[np.float32] | None = None,
        seconds: float | None = None,
        calibrated: NDArray[np.float32] | None = None,
        by: Sequence[str] = (),
    ) -> Row:
        """All figures of one method's answer.

        Raises:
            NotMeasured: a voxel of the answer is NaN or infinite, or a figure is not defined for it.
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
        source = np.where(inside, self.opened.source[self.window], 0)
        axes = self.opened.volume.voxel_sizes
        spacing = float(axes[0]), float(axes[1]), float(axes[2])
        antithetic = self.sampling.antithetic
        answer = Answer(prediction, samples, source, truth, inside, self.axis, spacing, antithetic, calibrated, by)
        apart = answer.independent  # of a pool, one sample is of one member
        mean_std = None
        if samples is not None and len(samples) > 1:
            mean_std = float(samples[:, inside].std(axis=0).mean(dtype=np.float64))
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
            lpips=self._perceptual(self._whole(prediction), self._whole(truth), 0),
            sample_psnr=None if apart is None else float(np.mean([metrics.psnr(x, truth, inside) for x in apart])),
            mean_std=mean_std,
            rmse=rmse,
            std_over_rmse=None if mean_std is None else mean_std / rmse,
            fine_detail=float(np.mean([_fine(x, self.axis) for x in ([prediction] if apart is None else apart)]))
            / _fine(truth, self.axis),
            seconds_per_slice=seconds,
            **of_errors(answer),
            **of_samples(answer, self.sampling.seed),
            **self._lesion(prediction, truth),
            lacks=[line for line in (self.opened.lacks, self.no_lesion) if line] or None,
        )

    def _lesion(self, prediction: NDArray, truth: NDArray) -> dict[str, Any]:
        """Correlation with the target inside the expert mask; nothing without one."""
        if self.lesion is None or not self.lesion[self.window].any():
            return {}
        found = sums(prediction, truth, self.lesion[self.window])
        return {"lesion_sums": found, "lesion_r": pearson([found])}

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
        """The box in its whole slices, in canonical order."""
        out = np.zeros(self._shape, dtype=box.dtype)
        out[tuple(slice(None) if a == self.axis else side for a, side in enumerate(self.window))] = box
        return self.orientation.to_canonical(out)


def _fine(image: NDArray, axis: int) -> float:
    """In-plane power above a quarter of the sampling rate, summed over slices."""
    planes = np.moveaxis(image, axis, 0)
    frequencies = np.hypot(np.fft.fftfreq(planes.shape[1])[:, None], np.fft.fftfreq(planes.shape[2])[None])
    return float(np.square(np.abs(np.fft.fft2(planes)))[:, frequencies > 0.25].sum())


def _fitted(prediction: NDArray, truth: NDArray, inside: NDArray[np.bool_]) -> NDArray:
    """The prediction with the gain and offset that bring it closest to the truth."""
    if np.ptp(prediction[inside]) == 0:
        return np.full_like(prediction, truth[inside].mean())
    # of float32 numpy gives up the smaller of the two unknowns where there are a million voxels
    gain, offset = np.polyfit(prediction[inside].astype(np.float64), truth[inside].astype(np.float64), 1)
    return gain * prediction + offset
