"""A result that was saved and opened again, as the dock knows runs: listed, shown, removed and reported like them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from ...errors import MrtransError
from ...scan.contrasts import Contrast, Pair
from ...transformation.request import Request
from ...transformation.saved import read_report, saved_result
from ..choices import short_name
from ..file_grid import FileGrid
from ..parts import add_beside, add_part, is_part
from ..reopened import is_corrected, is_still, made_of
from ..source import LayerSource, axial_axis, is_acquired, is_region, layer_affine, layer_stem, result_record
from ..tally import SigmaTally

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ...transformation.acquired import Acquired
    from ...transformation.ensemble import Ensemble
    from ..compare.worker import ReferenceRequest
    from .run import Run


def saved_means(viewer: ViewerModel) -> dict[str, Image]:
    """The means of saved results that are open now, by their runs."""
    records = ((layer, result_record(layer)) for layer in viewer.layers if isinstance(layer, Image) and layer.ndim == 3)
    return {
        record["run"]: layer
        for layer, record in records
        if record.get("reopened") and record.get("kind") == "mean" and "run" in record and is_part(layer)
    }


class SavedLayers:
    """The layers of one saved result that are in the viewer: its files, and what was made of them.

    ``spread``: there were several answers; of one, the standard deviation is 0 and tells nothing.
    """

    samples = None

    def __init__(self, viewer: ViewerModel, run: str, *, spread: bool) -> None:
        self._viewer = viewer
        self._run = run
        self._spread = spread

    def alive(self) -> Iterator[Image]:
        """Those that are open now, but not copies of them."""
        made = (layer for layer in self._viewer.layers if not is_region(layer))
        return (layer for layer in made if result_record(layer).get("run") == self._run and is_part(layer))

    @property
    def made(self) -> list[Image]:
        """The same as a list."""
        return list(self.alive())

    @property
    def mean(self) -> Image | None:
        """The mean."""
        return self._kind("mean")

    @property
    def std(self) -> Image | None:
        """The standard deviation, if its file is open; of both, the corrected one, as the run itself showed it."""
        return self._kind("std") if self._spread else None

    def _kind(self, kind: str) -> Image | None:
        found = (layer for layer in self.alive() if result_record(layer).get("kind") == kind)
        return max(found, key=lambda layer: is_corrected(result_record(layer)), default=None)

    @property
    def _stack(self) -> Any:
        """The samples, along the last axis, if their file is open."""
        stack = self._kind("samples")
        return None if stack is None or stack.ndim != 4 else stack.data

    @property
    def n_kept(self) -> int:
        """How many samples are in the file of them, if it is open."""
        stack = self._stack
        return 0 if stack is None else int(stack.shape[-1])

    def sample(self, k: int, where: tuple[Any, ...]) -> NDArray[np.float32]:
        """Sample ``k`` at an index of the mean's array; its file must be open."""
        return np.asarray(self._stack[(*where, k)], np.float32)

    def samples_at(self, voxel: tuple[int, ...]) -> NDArray[np.float32] | None:
        """The samples of one voxel, if their file is open."""
        stack = self._stack
        return None if stack is None else np.asarray(stack[voxel])

    def adopt(self, kind: str, layer: Image) -> None:
        """Add another layer that belongs to these; what was active stays so."""
        add_part(layer)
        add_beside(self._viewer, layer)

    def show_std(self, visible: bool) -> None:
        """Show or hide the std layer."""
        if self.std is not None:
            self.std.visible = visible


class _SavedTally(SigmaTally):
    """Figures as the report has them."""

    def __init__(self, sigma: NDArray[np.float64], overall: float, count: int) -> None:
        super().__init__(len(sigma))
        self.sigma = sigma
        self._overall, self._count = overall, count

    @property
    def overall(self) -> float:
        return self._overall

    @property
    def count(self) -> int:
        return self._count


class _ToldVerdict:
    """P(OOD) and its reason as the report has them, in place of a calibration."""

    ranges: Mapping[str, Any] = {}

    def __init__(self, info: Mapping[str, Any]) -> None:
        self._info = info

    def scores(self, *_: object) -> dict[str, float]:
        known = self._info.get("ood_scores") or {}
        return {name: float("nan") if value is None else float(value) for name, value in known.items()}

    def assess(self, scores: object) -> float | None:
        return self._info.get("ood_probability")

    def reason(self, *_: object) -> str:
        return str(self._info.get("ood_reason") or "")


class SavedRun:
    """What the dock shows, removes and reports of a saved result.

    Args:
        viewer: Where its layers are.
        mean: The layer of its mean.

    Raises:
        MrtransError: the report cannot be read, or is another by now.
    """

    monitor = None
    saved, seconds = True, 0.0

    def __init__(self, viewer: ViewerModel, mean: Image) -> None:
        self._record = record = result_record(mean)
        self.path = Path(record["report"])
        self._info = info = read_report(self.path)
        if not is_still(record):
            raise MrtransError(f"'{self.path.name}' was written anew since its files were opened.")
        affine = layer_affine(mean)
        self.run = record["run"]
        self.axis = axial_axis(affine)
        self.n_slices = int(mean.data.shape[self.axis])
        self.layers = SavedLayers(viewer, self.run, spread=info.get("sigma_hat") is not None)
        self.anchor, self.source = mean, mean
        self.pair = Pair(Contrast.parse(info["source"]), Contrast.parse(info["target"]))
        self.n = int(info["n"])
        self.source_found = True
        self._grid = FileGrid.of(mean.data.shape, affine, mean.metadata)
        name = record["input"]
        label = short_name(info["model"], info["checkpoint"], self.pair)
        label += "" if info.get("sigma_hat") is None else f", n={self.n}"
        self.title = f"{name} → {self.pair.target} ({label}), saved"
        self.work = SimpleNamespace(source=SimpleNamespace(name=name))
        turn = -1 if self.upside_down else 1
        sigma = [np.nan if value is None else float(value) for value in info["sigma_hat_per_slice"]]
        finished = [self.n_slices - 1 - index if self.upside_down else index for index in info["slices"]]
        overall = np.nan if info.get("sigma_hat") is None else float(info["sigma_hat"])
        self.gathered = SimpleNamespace(finished=sorted(finished))
        self.tally = _SavedTally(np.array(sigma[::turn]), overall, len(finished))
        self.ood: Any = _ToldVerdict(info) if info.get("ood_scores") else None

    @property
    def upside_down(self) -> bool:
        """The axial axis of the file runs against that of its layer."""
        return bool(self._grid.turn[self.axis, 1] < 0)

    def value_at(self, voxel: tuple[int, ...]) -> float:
        """The mean there; NaN where nothing was asked for."""
        mean, std = self.layers.mean, self.layers.std
        if mean is None:
            return float("nan")
        value = float(mean.data[voxel])
        blank = value == 0 and (std is None or std.data[voxel] == 0)
        elsewhere = voxel[self.axis] not in self.gathered.finished and not self._whole
        return float("nan") if elsewhere or (blank and self._record.get("roi_only")) else value

    @property
    def _whole(self) -> bool:
        """All of the head was computed: other slices are known to be 0."""
        asked = self._info["request"]
        return bool(self._info.get("complete")) and asked.get("slices") is None and not self._info.get("roi")

    def about(self, layer: Image | None) -> bool:
        """It is one of its layers, or an image of the name of what it was made of."""
        if layer is None:
            return False
        return layer in self.layers.made or (is_acquired(layer) and made_of(self._record, layer, layer_stem(layer)))

    def in_file(self, data: NDArray[Any]) -> NDArray[Any]:
        """Voxels of the layer in the order of the file."""
        return self._grid.array(data)

    def ensemble(self) -> Ensemble:
        """What the files hold.

        Raises:
            MrtransError: one is missing or not what it was, or they are of another run by now.
        """
        if read_report(self.path) != self._info:
            raise MrtransError(f"'{self.path.name}' was written anew since it was opened; open its files again.")
        result, self.source_found = saved_result(self.path)
        return result

    def compared(self, reference: ReferenceRequest) -> Acquired:
        """An acquired image on the voxels of the mean's layer.

        Raises:
            MrtransError: it does not overlap, or is not of the same head.
        """
        from ...transformation.acquired import acquired_on, asked_mask

        brain = LayerSource.of(self.anchor, self.pair.target).volume()
        result = self.ensemble()
        if self.source_found:  # the mean of a slab holds a part of the head only
            brain = replace(brain, data=self._grid.layer(result.volume.data), contrast=self.pair.source)
        prepare = result.info.get("request", {}).get("prepare")
        assumed: list[str] = []
        mask = asked_mask(result, assumed.append)
        if mask is not None:
            mask = self._grid.layer(mask)
        request = Request(self.pair.target, self.pair.source, mask=mask, prepare=prepare)
        found = acquired_on(
            reference.source.volume(), brain, request, reference.to_reference, partial=not self.source_found
        )
        known = np.isfinite(self._grid.layer(result.computed()))  # a file holds 0 where nothing was asked for
        return replace(found, head=found.head & known, notices=tuple(assumed))


def saved_runs(viewer: ViewerModel, known: list[SavedRun]) -> list[SavedRun]:
    """Those of ``known`` that are still open, and what was opened since, if its report can be read."""
    means = saved_means(viewer)
    runs = [run for run in known if means.get(run.run) is run.anchor]
    there = {run.run for run in runs}
    for name, mean in means.items():
        if name not in there:
            try:
                runs.append(SavedRun(viewer, mean))
            except (MrtransError, ValueError, KeyError, TypeError):
                continue
    return runs


if TYPE_CHECKING:
    #: What the dock shows: a run of this session, or a saved one.
    Result = Run | SavedRun
