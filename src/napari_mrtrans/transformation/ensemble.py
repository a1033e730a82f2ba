"""Statistics of an ensemble of samples, and the result of a transformation.

Mean and standard deviation are the paper's ("Evaluation of mean and standard deviation images"): over n samples, the
standard deviation with divisor n.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MrtransError
from ..paths import write_together
from ..prepare.whole_head import WHOLE_HEAD
from ..scan.volume import Volume
from ..wording import plural
from .names import KINDS, check_free, file_name, synthetic


def sigma_hat(std: NDArray[np.floating], mask: NDArray[np.bool_]) -> float:
    """Mean standard deviation over the masked voxels (the paper's σ̂); NaN where the mask is empty."""
    return float(std[mask].mean(dtype=np.float64)) if mask.any() else float("nan")


@dataclass
class Ensemble:
    """The answer for one volume, on exactly the input's grid.

    Attributes:
        volume: The input.
        mean: Pixel-wise mean, shape as the input, float32, target's normalised units [0, 1]; 0 outside the head.
        std: Pixel-wise population standard deviation, same shape and units; also where the mean was repaired.
        median: Pixel-wise median, same shape and units, or None above 64 samples.
        samples: (n, ...) or None if not kept.
        per_slice: σ̂ of each axial slice, NaN where nothing was computed, shape (n_slices,).
        sigma_hat: σ̂ over all computed head voxels; of a robust std where the mean was repaired; NaN for one sample.
        info: What was run and what came out; written as JSON.
        calibrated_std: ``std`` corrected so that errors fit it, or None where the checkpoint has no correction.
    """

    volume: Volume
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    median: NDArray[np.float32] | None
    samples: NDArray[np.float32] | None
    per_slice: NDArray[np.float64]
    sigma_hat: float
    info: dict[str, Any] = field(default_factory=dict)
    calibrated_std: NDArray[np.float32] | None = None

    def __repr__(self) -> str:
        """In a line: ``<Ensemble T1→T2 by t1-t2-flair-flow, n = 20, 120 slices, σ̂ 0.052, of <Volume …>>``."""
        names = ("source", "target", "checkpoint", "n", "slices_done")
        source, target, by, n, done = (self.info.get(name) for name in names)
        made = f" {source}→{target} by {by}, n = {n}, {plural(done, 'slice')}," if done is not None else ""
        sigma = f" σ̂ {self.sigma_hat:.3g}," if np.isfinite(self.sigma_hat) else ""
        return f"<Ensemble{made}{sigma} of {self.volume!r}>"

    def computed(self) -> NDArray[np.float32]:
        """The mean with NaN where nothing was asked for: in other slices, and outside a region that alone was."""
        mean = np.full_like(self.mean, np.nan)
        asked = list(self.info["slices"]) if "slices" in self.info else slice(None)
        where = (slice(None),) * self.volume.axial_axis + (asked,)
        mean[where] = self.mean[where]
        roi = self.info.get("roi")
        if roi and roi["only"]:
            mean[(self.mean == 0) & (self.std == 0)] = np.nan
        return mean

    def images(self) -> dict[str, NDArray[np.float32]]:
        """What is written, by the last part of the file's name; samples go last on disk."""
        images = {"mean": self.mean, "std": self.std}
        if self.calibrated_std is not None:
            images["std-calibrated"] = self.calibrated_std
        if self.samples is not None:
            images["samples"] = np.moveaxis(self.samples, 0, -1)
        return images

    def save(
        self,
        folder: str | Path,
        remedy: str = "Choose another folder with -o.",
        *,
        overwrite: bool = False,
        bids: bool = False,
    ) -> dict[str, Path]:
        """Write ``<stem>_<TARGET>_mean.nii.gz``, ``_std``, what else there is, and the JSON; names to paths.

        Files appear under their final names only when all are complete; each says in its header that it is synthetic.
        They replace an earlier result of the name altogether: samples that only that one kept are removed.

        Args:
            folder: Made if need be.
            remedy: Ends the line of an error.
            overwrite: Also where the result of another input has the same name.
            bids: Name the files as BIDS derivatives (:func:`~.names.file_name`).

        Raises:
            MrtransError: the folder cannot be written, or holds the result of another input under this name, or
                ``info`` does not say what the images show.
        """
        if "target" not in self.info:  # one made by hand
            raise MrtransError("What contrast does the ensemble show? Say so before saving: info['target'] = 'T2'.")
        target = self.info["target"]
        images = self.images()
        every = {kind: file_name(self.volume.name, target, kind, bids=bids) for kind in KINDS}
        names = {kind: every[kind] for kind in (*images, "json")}
        if bids:  # which asks that of a derivative; a brain alone has an answer, but for a head that was taken whole
            self.info["SkullStripped"] = WHOLE_HEAD.format(self.volume.name) not in self.info.get("notices", ())
        if not overwrite and "input" in self.info:  # one made by hand has no report
            check_free(Path(folder) / names["json"], self.info["input"], self.info["input_digest"])
        writers = {
            names[kind]: self.volume.image_like(data, synthetic(self.info, kind)).to_filename
            for kind, data in images.items()
        }
        self.info["samples_kept"] = self.samples is not None  # a window keeps them elsewhere
        document = json.dumps(self.info, indent=2) + "\n"
        lacking = set(every.values()) - set(names.values())
        paths = write_together(Path(folder), {**writers, names["json"]: document}, remedy, lacking)
        return dict(zip(names, paths, strict=True))
