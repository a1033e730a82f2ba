"""From a napari image layer to one MR volume, and between the viewer's sliders and its axial slices.

A layer opened by napari-nifti holds its voxels in S, A, R order while ``metadata["affine"]`` maps R, A, S ordered
voxels to RAS millimetres, so the affine of the array as it lies in memory has its columns reversed. Its display
scale is negative and its translation the far corner: the sliders run against the array index.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import nibabel as nib
import numpy as np
from napari.layers import Image, Labels, Layer, Shapes
from numpy.typing import NDArray

from ..errors import VolumeError
from ..scan.contrasts import Contrast, guess_contrast, names_mask
from .assumed import assumed_affine, assumed_axis, placed_in_mm, unit_ratios
from .parts import add_part
from .recorded import of_four_axes, recorded_affine
from .reopened import reopened_record

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ..scan.volume import Volume

RESULT_KEY = "mrtrans"
#: Layers whose files were looked at, and are no results.
_foreign: WeakSet[Layer] = WeakSet()


@dataclass(frozen=True, eq=False)
class LayerSource:
    """What a worker needs of a layer, without the layer: it may be renamed or deleted meanwhile."""

    data: Any
    affine: NDArray[np.float64]
    name: str
    contrast: Contrast | None
    header: nib.Nifti1Header | None = None

    @classmethod
    def of(cls, layer: Layer, contrast: Contrast | None) -> LayerSource:
        """Of a 3-D image layer that is said to show ``contrast``."""
        return cls(layer.data, layer_affine(layer), layer_stem(layer), contrast, layer_header(layer))

    def volume(self) -> Volume:
        """Read and check the voxels (takes its time; not for the GUI thread).

        Raises:
            VolumeError: constant, empty, complex, ...
        """
        from ..scan.volume import Volume

        return Volume.from_file(
            np.asanyarray(self.data), self.affine, self.header, contrast=self.contrast, name=self.name
        )


def check_layer(layer: Layer) -> None:
    """Raise a ``VolumeError`` unless ``layer`` is one 3-D scalar image."""
    kind = None
    if not isinstance(layer, Image):
        kind = f"a {type(layer).__name__} layer"
    elif layer.rgb:
        kind = "RGB"
    elif layer.multiscale:
        kind = "multiscale"
    elif layer.ndim != 3:
        kind = f"{layer.ndim}-D"
    if kind is not None:
        single = " Its fourth axis holds just one: drop it, or use napari-mrtrans transform."
        remedy = single if isinstance(layer, Image) and layer.ndim == 4 and layer.data.shape[-1] == 1 else ""
        raise VolumeError(f"'{layer.name}' is {kind}; expected one 3-D volume.{remedy}")


def nifti_affine(layer: Layer) -> NDArray[np.float64] | None:
    """The affine (array index to RAS mm) recorded in the layer's metadata, or None, as for a part cut out of a file."""
    return recorded_affine(layer.metadata, layer.data.shape if isinstance(layer, Image | Labels) else None)


def layer_affine(layer: Layer) -> NDArray[np.float64]:
    """Array index to RAS millimetres for ``layer.data`` as it lies in memory; without a record, what is assumed."""
    recorded = nifti_affine(layer)
    if recorded is not None:
        return recorded
    return assumed_affine(placed_in_mm(layer)[:3, :3], assumed_axis(layer.metadata))


def layer_header(layer: Layer) -> nib.Nifti1Header | None:
    """The header that the reader left with an affine; what unit that counts in is written there."""
    header = layer.metadata.get("header")
    return header if isinstance(header, nib.Nifti1Header) and nifti_affine(layer) is not None else None


def scanner_affine(layer: Layer) -> NDArray[np.float64] | None:
    """:func:`nifti_affine` in millimetres, whatever unit the file counts in."""
    from ..scan.field_of_view import millimetres, stated_unit

    affine = nifti_affine(layer)
    if affine is not None and not isinstance(layer, Shapes) and layer.ndim in (3, 4):
        sizes = layer.data.shape[:3] if of_four_axes(layer.metadata) else layer.data.shape[-3:]
        shape = tuple(int(size) for size in sizes)
        affine[:3] *= millimetres(affine, shape, stated_unit(layer_header(layer)))
    return affine


def axial_axis(affine: NDArray[np.float64]) -> int:
    """The array axis closest to inferior-superior."""
    return _anatomical_axes(affine)[0]


def result_record(layer: Layer) -> dict[str, Any]:
    """What a run recorded in its layers, or what a saved result says that was opened again; empty for other layers."""
    if RESULT_KEY not in layer.metadata and layer not in _foreign:
        if record := reopened_record(layer):
            layer.metadata[RESULT_KEY] = record
            add_part(layer)
        else:
            _foreign.add(layer)
    record = layer.metadata.get(RESULT_KEY)
    return record if isinstance(record, dict) else {}


def is_synthetic(layer: Layer) -> bool:
    """A model made it."""
    return bool(result_record(layer))


def guess_layer_contrast(layer: Layer) -> Contrast | None:
    """What a layer shows, by our own record of a result, by its name, else by that of its file; None for a mask."""
    record = result_record(layer)
    if record.get("kind") == "mean":
        return Contrast.parse(record["target"])
    if is_mask(layer):
        return None
    return next((contrast for name in _names(layer) if (contrast := guess_contrast(name))), None)


def is_mask(layer: Layer) -> bool:
    """Whether the name of a layer, or of its file, is that of a mask or a segmentation."""
    return any(names_mask(name) for name in _names(layer))


def _names(layer: Layer) -> list[str]:
    return [layer.name, *([Path(layer.source.path).name] if layer.source.path else [])]


def layer_stem(layer: Layer) -> str:
    """The layer's name without the ``.nii`` that napari leaves of ``.nii.gz``, and without what made a result."""
    name = re.sub(r" \([^()]+\)(?=$| \[)", "", layer.name) if is_synthetic(layer) else layer.name
    return re.sub(r"\.nii(\.gz)?(?=$| \[)", "", name)


def is_candidate(layer: Layer) -> bool:
    """True for layers worth offering as a source: images, but not our own std and sample layers."""
    return isinstance(layer, Image) and result_record(layer).get("kind", "mean") == "mean"


def is_acquired(layer: Layer) -> bool:
    """True for images that no run made."""
    return isinstance(layer, Image) and not result_record(layer)


def is_region(layer: Layer) -> bool:
    """True for layers in which the user may have marked something."""
    return isinstance(layer, Labels | Shapes)


def slice_on_screen(viewer: ViewerModel, layer: Layer, axis: int) -> int:
    """Index along ``axis`` of the slice that the viewer's sliders point at, clipped to the layer."""
    index = round(float(voxel_on_screen(viewer, layer)[axis]))
    return int(np.clip(index, 0, layer.data.shape[axis] - 1))


def voxel_on_screen(viewer: ViewerModel, layer: Layer, point: Sequence[float] | None = None) -> NDArray[np.float64]:
    """Where in ``layer`` the viewer's sliders point, or another ``point`` of its world, in voxels.

    The viewer counts in one unit, and each layer in its own.
    """
    given = np.asarray(viewer.dims.point if point is None else point, dtype=np.float64)[-layer.ndim :]
    place = np.concatenate([np.zeros(layer.ndim - len(given)), given])  # a viewer that closes has two dimensions
    return np.array(layer.world_to_data(place * _to_layer(viewer, layer)), dtype=np.float64)


def _to_layer(viewer: ViewerModel, layer: Layer) -> NDArray[np.float64]:
    """What the viewer's coordinates are multiplied by to be the layer's, for each of its axes."""
    units = (viewer.dims.units or ())[-layer.ndim :]  # napari has none for layers whose units do not compare
    return unit_ratios(units, layer.units) if len(units) == layer.ndim else np.ones(layer.ndim)


def slider_of(viewer: ViewerModel, layer: Layer, axis: int) -> int:
    """The viewer's dimension that runs along ``axis`` of a layer."""
    return viewer.dims.ndim - layer.ndim + int(np.abs(_step(layer, axis)).argmax())


def _step(layer: Layer, axis: int) -> NDArray[np.float64]:
    """How far the next voxel along ``axis`` is, in the layer's world."""
    there, here = np.eye(layer.ndim)[axis], np.zeros(layer.ndim)
    return np.subtract(layer.data_to_world(there), layer.data_to_world(here))


def axis_in_view(viewer: ViewerModel, layer: Layer, axis: int) -> bool:
    """Whether the layer's ``axis`` is drawn, so that no slider moves along it: in other planes and in 3-D."""
    return slider_of(viewer, layer, axis) in viewer.dims.displayed


def slider_numbers(viewer: ViewerModel, layer: Layer, axis: int) -> tuple[int, int]:
    """What the viewer's slider shows at the first and at the last slice along ``axis``: it may run the other way."""
    dim = slider_of(viewer, layer, axis)
    span = viewer.dims.range[dim]
    own = dim - viewer.dims.ndim + layer.ndim
    place, ratio = voxel_on_screen(viewer, layer), _to_layer(viewer, layer)[own]
    numbers = []
    for index in (0, layer.data.shape[axis] - 1):
        place[axis] = index
        world = layer.data_to_world(place)[own] / ratio
        numbers.append(round((float(world) - span.start) / (span.step or 1)))
    return numbers[0], numbers[1]


def slider_number(viewer: ViewerModel, layer: Layer, axis: int, index: int) -> int:
    """What the viewer's slider shows at slice ``index`` along ``axis``."""
    first, last = slider_numbers(viewer, layer, axis)
    return round(first + (last - first) * index / max(layer.data.shape[axis] - 1, 1))


def show_axial(viewer: ViewerModel, layer: Layer) -> None:
    """Show ``layer`` in axial slices, as radiologists do: anterior up, the patient's left on the right.

    Without an affine, nothing tells anterior from posterior: then the directions stay as they are.
    """
    axial, row, column = _anatomical_axes(layer_affine(layer))
    world = [slider_of(viewer, layer, axis) for axis in (axial, row, column)]
    others = [dim for dim in viewer.dims.order if dim not in world]
    viewer.dims.ndisplay = 2
    viewer.dims.order = (*others, *world)
    if nifti_affine(layer) is not None:
        to_right, to_anterior = _rises(layer, column, 0), _rises(layer, row, 1)
        # the depth turns with one of the others, so that 3-D is not mirrored
        viewer.scene.camera.orientation = (
            "towards" if to_right == to_anterior else "away",
            "up" if to_anterior else "down",
            "left" if to_right else "right",
        )
    viewer.reset_view()


def _rises(layer: Layer, axis: int, ras: int) -> bool:
    """Whether the layer's world coordinate along ``axis`` rises towards right (``ras`` 0) or anterior (1)."""
    step = _step(layer, axis)
    return bool(step[np.abs(step).argmax()] * layer_affine(layer)[ras, axis] > 0)


def plane_in_view(viewer: ViewerModel, layer: Layer) -> str:
    """``axial``, ``coronal`` or ``sagittal``: by the slider that moves through the layer; ``3-D``."""
    if viewer.dims.ndisplay == 3:
        return "3-D"
    names = dict(zip(_anatomical_axes(layer_affine(layer)), ("axial", "coronal", "sagittal"), strict=True))
    through = [axis for axis in names if not axis_in_view(viewer, layer, axis)]
    return names[through[0]] if through else "3-D"


def _anatomical_axes(affine: NDArray[np.float64]) -> tuple[int, int, int]:
    """The array axes closest to inferior-superior, posterior-anterior and left-right."""
    world = nib.io_orientation(affine)[:, 0]
    axial, row, column = (int(np.flatnonzero(world == axis)[0]) for axis in (2, 1, 0))
    return axial, row, column


def show_slice(viewer: ViewerModel, layer: Layer, axis: int, index: int) -> None:
    """Move the viewer's sliders to slice ``index`` along the layer's ``axis``."""
    position = voxel_on_screen(viewer, layer)
    position[axis] = index
    _move_sliders(viewer, layer, position)


def show_voxel(viewer: ViewerModel, layer: Layer, voxel: NDArray[np.number]) -> None:
    """Move the sliders to a voxel of ``layer`` and put it in the middle of the canvas, whatever axes that shows."""
    world = _move_sliders(viewer, layer, voxel)
    viewer.scene.camera.center = tuple(world.get(dim, viewer.dims.point[dim]) for dim in viewer.dims.displayed)


def _move_sliders(viewer: ViewerModel, layer: Layer, voxel: NDArray[np.number]) -> dict[int, float]:
    """Move what is not displayed; the voxel's place in the world by the viewer's dimensions."""
    offset = viewer.dims.ndim - layer.ndim
    there = np.asarray(layer.data_to_world(voxel)) / _to_layer(viewer, layer)
    world = {offset + axis: float(place) for axis, place in enumerate(there)}
    for dim in world.keys() - set(viewer.dims.displayed):
        viewer.dims.set_point(dim, world[dim])
    return world
