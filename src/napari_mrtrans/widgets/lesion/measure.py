"""A lesion report of layers: what belongs to a prediction is found, and everything is brought onto its voxels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
from napari.layers import Image, Labels, Layer, Shapes
from nibabel.affines import apply_affine
from numpy.typing import NDArray

from ...errors import MrtransError
from ...lesion.computed import computed_only, not_computed
from ...lesion.files import roi_from_file
from ...lesion.measure import RING, box_around, check_large_enough, lesion_report, nothing_there
from ...lesion.report import LesionReport
from ...prepare.reference import COARSE, check_same_head
from ...scan.intensity import clean, head_mask, is_stripped, is_whole_head
from ...scan.masked import unmasked
from ...scan.nifti import stem as nifti_stem
from ...scan.resample import resample
from ..file_grid import FileGrid
from ..parts import is_part
from ..placement import drawn_on, lie_alike, place_of
from ..reopened import is_corrected, made_of
from ..source import (
    axial_axis,
    check_layer,
    is_acquired,
    layer_affine,
    layer_stem,
    result_record,
    scanner_affine,
)
from .roi import image_on, image_to_image, moved_by_hand, roi_on

if TYPE_CHECKING:
    from napari.components import ViewerModel

#: Of a head with fewer voxels (every :data:`COARSE` along each axis), the outline tells nothing.
MIN_HEAD = 2000


def measured(
    viewer: ViewerModel, prediction: Image, reference: Image | None, roi: Labels | Shapes
) -> tuple[LesionReport, list[str]]:
    """The report of a ROI on the prediction's voxels, and what is to be told of how it was had.

    Std, samples and source are those of the prediction's run that are still in the viewer. Without a reference there is
    no correlation.

    Raises:
        MrtransError: the ROI or the reference cannot be used.
    """
    if reference is not None and prediction is reference:
        raise MrtransError(f"'{prediction.name}' is prediction and reference; choose another one of them.")
    check_layer(prediction)
    notes: list[str] = []
    mask = roi_on(roi, prediction, viewer.layers)
    check_large_enough(mask, roi.name)
    spread = _std_of(viewer, prediction)
    std = None if spread is None else unmasked(spread.data)
    region_only = bool(result_record(prediction).get("roi_only"))
    data, axis = unmasked(prediction.data), axial_axis(layer_affine(prediction))
    predicted = computed_only(data, axis, region_only=region_only, std=std)
    if std is not None:  # a preview has a mean alone
        predicted = np.where(np.isnan(std), np.nan, predicted)
        if not np.nan_to_num(std).any():  # one answer has no spread
            std = None
    if line := not_computed(predicted, mask):
        notes.append(line)
    others: list[Layer] = [] if lie_alike(place_of(roi), place_of(prediction)) else [roi]
    others += [] if reference is None else [reference]
    by_scanner = [layer for layer in others if scanner_affine(layer) is not None]
    if by_scanner and scanner_affine(prediction) is not None:
        notes += moved_by_hand(*by_scanner, prediction)
    box = box_around(mask, RING)
    target = None
    if reference is not None:
        target = image_on(reference, prediction, box)
        if mask.any() and not np.isfinite(target[mask]).any():
            to_reference = image_to_image(prediction, reference)
            raise MrtransError(nothing_there(reference.name, reference.data.shape, to_reference, mask))
        _check_head(prediction, reference)
        lies_alike = np.allclose(image_to_image(prediction, reference), np.eye(4))
        if reference.data.shape != prediction.data.shape or not lies_alike:
            notes.append(f"'{reference.name}' lies on another grid than '{prediction.name}'; it was resampled.")
    source = _source_of(viewer, prediction)
    report = lesion_report(
        predicted,
        target,
        mask,
        std=std,
        samples=_samples_of(viewer, prediction),
        source=None if source is None else image_on(source, prediction, box),
        ring=RING,
        std_corrected=spread is not None and is_corrected(result_record(spread)),
    )
    return report, notes


def in_file(report: LesionReport, prediction: Image) -> LesionReport:
    """The report with its voxels as the prediction's file counts them, as ``napari-mrtrans lesion`` tells them: the
    reader turns a file's axes round."""
    affine = layer_affine(prediction)
    grid = FileGrid.of(prediction.data.shape, affine, prediction.metadata)
    to_file = np.rint(np.linalg.inv(grid.affine) @ affine)  # axes in another order, or running the other way
    components = (
        replace(lesion, centre=tuple(apply_affine(to_file, lesion.centre).tolist())) for lesion in report.components
    )
    voxels = apply_affine(to_file, report.voxels).astype(np.intp)
    return replace(report, voxels=voxels, components=tuple(components))


def labels_from_file(path: Path, like: Image) -> tuple[Labels, list[str]]:
    """A mask file as a Labels layer on the voxels of ``like``, and what is to be told of how it got there.

    Raises:
        MrtransError: the file cannot be used or lies elsewhere, or ``like`` has no NIfTI affine to place it by.
    """
    affine = scanner_affine(like)
    if affine is None:
        raise MrtransError(
            f"'{like.name}' has no NIfTI affine, so a file cannot be placed on it. Open the mask in napari, as labels."
        )
    notes: list[str] = []
    mask = roi_from_file(path, affine, like.data.shape, name=like.name, say=notes.append)
    return Labels(mask.astype(np.uint8), name=nifti_stem(path), **drawn_on(like)), notes


def _check_head(prediction: Image, reference: Image) -> None:
    """Refuse another person's image where both are stripped: their outlines tell, in the slices that are computed."""
    check_layer(reference)
    coarse = (slice(None, None, COARSE),) * 3
    other = clean(unmasked(reference.data)[coarse])
    predicted = unmasked(prediction.data)[coarse]
    head = np.isfinite(predicted) & (predicted > 0)
    sizes = nib.affines.voxel_sizes(layer_affine(reference)) * COARSE
    if head.sum() < MIN_HEAD or is_whole_head(other, sizes) or not is_stripped(clean(predicted)):
        return
    steps = np.diag([COARSE, COARSE, COARSE, 1.0])
    to_other = np.linalg.inv(steps) @ image_to_image(prediction, reference) @ steps
    there = resample(head_mask(other).astype(np.uint8), to_other, head.shape, order=0)
    # Where the other image has no voxels, and in slices that were not computed, nothing can be said.
    known = np.isfinite(there)
    for axis in range(3):
        known &= head.any(axis=tuple({0, 1, 2} - {axis}), keepdims=True)
    check_same_head(head & known, (there > 0) & known, reference.name, prediction.name)


def _of_same_run(viewer: ViewerModel, prediction: Image, kind: str) -> Iterator[Image]:
    """Parts of its result, but not what was made of them in napari; of a prediction that is no part itself, such as a
    copy of one, all that say so."""
    run = result_record(prediction).get("run")
    for layer in viewer.layers:
        record = result_record(layer)
        same = run and (record.get("run"), record.get("kind")) == (run, kind)
        if same and isinstance(layer, Image) and (is_part(layer) or not is_part(prediction)):
            yield layer


def _std_of(viewer: ViewerModel, prediction: Image) -> Image | None:
    """Of both that a result may have, the corrected one, as the run itself showed it."""
    found = (one for one in _of_same_run(viewer, prediction, "std") if one.data.shape == prediction.data.shape)
    return max(found, key=lambda layer: is_corrected(result_record(layer)), default=None)


def _samples_of(viewer: ViewerModel, prediction: Image) -> Iterator[NDArray]:
    for layer in _of_same_run(viewer, prediction, "samples"):
        data = layer.data
        if data.ndim == 4 and result_record(layer).get("reopened"):
            data = np.moveaxis(np.asarray(data), -1, 0)
        if data.shape[-3:] == prediction.data.shape:
            yield from data if data.ndim == 4 else [data]


def _source_of(viewer: ViewerModel, prediction: Image) -> Image | None:
    record, shape = result_record(prediction), prediction.data.shape
    for layer in viewer.layers:
        if (
            is_acquired(layer)
            and layer.data.shape == shape
            and made_of(record, layer, layer_stem(layer), viewer.layers)
        ):
            return layer
    return None
