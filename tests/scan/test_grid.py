from __future__ import annotations

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from napari_mrtrans.scan.grid import AxisMap, Orientation, SliceGrid, interpolation_matrix

ORIENTATIONS = [
    "".join(codes[i][s] for i, s in zip(order, signs, strict=True))
    for codes in [("RL", "AP", "SI")]
    for order in permutations(range(3))
    for signs in product((0, 1), repeat=3)
]
SPACINGS = [0.5, 0.7, 0.8, 0.9, 0.97, 1.0, 1.03, 1.1, 1.2, 1.5, 2.0]


def affine_of(codes: str, zooms: tuple[float, float, float] = (1, 1, 1)) -> NDArray[np.float64]:
    """Voxel to RAS of an array whose axes run towards ``codes``."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, code in enumerate(codes):
        row = next(i for i, pair in enumerate(("RL", "AP", "SI")) if code in pair)
        affine[row, axis] = zooms[axis] * (1 if code in "RAS" else -1)
    return affine


def smooth_image(shape: tuple[int, int], sigma: float, seed: int = 0) -> NDArray[np.float32]:
    image = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), sigma)
    return ((image - image.min()) / np.ptp(image)).astype(np.float32)


def box_mask(shape: tuple[int, int, int], margin: int) -> NDArray[np.bool_]:
    mask = np.zeros(shape, dtype=bool)
    mask[:, margin:-margin, margin:-margin] = True
    return mask


def test_there_are_48_orientations() -> None:
    assert len(set(ORIENTATIONS)) == 48
    assert all(nib.aff2axcodes(affine_of(codes)) == tuple(codes) for codes in ORIENTATIONS)


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_canonical_means_superior_anterior_right(codes: str) -> None:
    """Each voxel holds its own world position; canonical axes must run along +S, +A, +R, and back again."""
    shape = (4, 5, 6)
    affine = affine_of(codes)
    world = nib.affines.apply_affine(affine, np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1))
    orientation = Orientation.from_affine(affine)
    for axis, coordinate in enumerate((2, 1, 0)):
        canonical = orientation.to_canonical(world[..., coordinate])
        steps = np.diff(canonical, axis=axis)
        np.testing.assert_array_equal(steps, 1)
    data = np.random.default_rng(0).random(shape)
    canonical = orientation.to_canonical(data)
    axial = orientation.order[0]
    for index in range(shape[axial]):
        number = orientation.slice_index(index, shape[axial])
        np.testing.assert_array_equal(orientation.slice_to_array(canonical[number]), np.take(data, index, axis=axial))
        assert orientation.slice_index(number, shape[axial]) == index


def test_stacked_slices_turn_alike() -> None:
    orientation = Orientation.from_affine(affine_of("PSL"))
    stack = np.random.default_rng(0).random((3, 2, 5, 7))
    turned = orientation.slice_to_array(stack)
    for i, j in product(range(3), range(2)):
        np.testing.assert_array_equal(turned[i, j], orientation.slice_to_array(stack[i, j]))


@pytest.mark.parametrize("degrees", [5, 20, 40])
@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAR", "PIR"])
def test_oblique_volumes_keep_their_nearest_orientation(codes: str, degrees: float) -> None:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    tilt = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    affine = affine_of(codes)
    oblique = affine.copy()
    oblique[:3, :3] = tilt @ affine[:3, :3]
    assert Orientation.from_affine(oblique) == Orientation.from_affine(affine)


@pytest.mark.parametrize("multiple", [1, 8, 16])
@pytest.mark.parametrize("voxel", [1.0, 0.985, 1.015])
def test_equal_spacing_is_an_exact_identity(voxel: float, multiple: int) -> None:
    mask = np.zeros((3, 41, 52), dtype=bool)
    mask[:, 7:30, 11:45] = True
    grid = SliceGrid.fit(mask, (voxel, voxel), 1.0, multiple)
    image = np.where(mask, np.random.default_rng(0).random(mask.shape), 0).astype(np.float32)
    there = grid.to_model(image)
    assert there.shape == (3, *grid.shape)
    assert all(n % multiple == 0 for n in grid.shape)
    np.testing.assert_array_equal(grid.to_source(there, mask), image)
    assert there.sum(dtype=np.float64) == image.sum(dtype=np.float64)


@pytest.mark.parametrize("columns", [0.6, 1.0, 1.7])
@pytest.mark.parametrize("rows", SPACINGS)
def test_a_constant_image_stays_constant(rows: float, columns: float) -> None:
    mask = box_mask((2, 110, 90), 10)
    grid = SliceGrid.fit(mask, (rows, columns), 1.0, 16)
    there = grid.to_model(np.full((2, 110, 90), 0.37, np.float32))
    # Pixels that lie well inside the source: beyond its border they see zeros.
    inside = [
        (axis.start + axis.step * np.arange(axis.n) > 2.5) & (axis.start + axis.step * np.arange(axis.n) < size - 3.5)
        for axis, size in ((grid.rows, 110), (grid.columns, 90))
    ]
    assert all(line.sum() > 20 for line in inside)
    np.testing.assert_allclose(there[:, inside[0]][:, :, inside[1]], 0.37, rtol=1e-5)
    back = grid.to_source(np.full((2, *grid.shape), 0.37, np.float32), np.ones_like(mask))
    np.testing.assert_allclose(back[mask], 0.37, rtol=1e-5)


@pytest.mark.parametrize("voxel", SPACINGS)
def test_there_and_back_loses_little_of_a_smooth_image(voxel: float) -> None:
    mask = box_mask((1, 96, 120), 16)
    image = smooth_image((96, 120), 4 / voxel)[None]
    grid = SliceGrid.fit(mask, (voxel, voxel), 1.0, 16)
    back = grid.to_source(grid.to_model(image), np.ones_like(mask))
    error = np.abs(back - image)[mask]
    assert error.max() < 0.06
    assert error.mean() < 0.012


@pytest.mark.parametrize("voxel", [1.1, 1.2, 1.5, 2.0, 3.0])
def test_large_voxels_come_back_sharp(voxel: float) -> None:
    """A network that answers with a perfect target would not be blurred: of pure noise, a third is lost at most."""
    mask = box_mask((1, 96, 96), 20)
    image = np.where(mask, 0.2 + 0.6 * np.random.default_rng(0).random(mask.shape), 0).astype(np.float32)
    grid = SliceGrid.fit(mask, (voxel, voxel), 1.0, 16)
    there = grid.to_model(image)
    assert there.min() == 0 and there.max() <= 1
    linear = grid.rows.linear() @ image @ grid.columns.linear().T
    np.testing.assert_array_equal(there[linear <= 0], 0)  # ringing draws nothing into the air
    lost = np.sqrt(np.square(grid.to_source(there, mask) - image)[mask].mean()) / image[mask].std()
    lost_by_linear = np.sqrt(np.square(grid.to_source(linear, mask) - image)[mask].mean()) / image[mask].std()
    assert lost < 0.35 < 0.5 < lost_by_linear


@pytest.mark.parametrize("voxel", [0.5, 0.7, 1.3, 2.0])
def test_no_shift_between_source_and_model(voxel: float) -> None:
    """Model pixel p shows source coordinate start + step p, against scipy's own interpolation."""
    image = smooth_image((80, 80), 5 / voxel)
    grid = SliceGrid.fit(box_mask((1, 80, 80), 8), (voxel, voxel), 1.0, 8)
    assert grid.rows.step == pytest.approx(1 / voxel)
    rows = grid.rows.start + grid.rows.step * np.arange(grid.rows.n)
    columns = grid.columns.start + grid.columns.step * np.arange(grid.columns.n)
    expected = map_coordinates(image, np.meshgrid(rows, columns, indexing="ij"), order=1)
    inside = np.ix_((rows > 5) & (rows < 74), (columns > 5) & (columns < 74))
    np.testing.assert_allclose(grid.to_model(image)[inside], expected[inside], atol=0.03)
    spike = np.zeros(grid.shape, np.float32)
    spike[grid.rows.n // 2, grid.columns.n // 2] = 1
    back = grid.to_source(spike, np.ones(image.shape, dtype=bool))
    centre = (np.indices(back.shape) * back).sum(axis=(1, 2)) / back.sum()
    assert centre[0] == pytest.approx(rows[grid.rows.n // 2], abs=0.02)
    assert centre[1] == pytest.approx(columns[grid.columns.n // 2], abs=0.02)


@pytest.mark.parametrize("voxel", SPACINGS)
@pytest.mark.parametrize(("first", "last"), [(0, 9), (0, 0), (3, 40), (50, 59), (0, 59)])
def test_the_grid_covers_the_head_also_at_the_border(first: int, last: int, voxel: float) -> None:
    mask = np.zeros((1, 60, 60), dtype=bool)
    mask[0, first : last + 1, first : last + 1] = True
    grid = SliceGrid.fit(mask, (voxel, voxel), 1.0, 16)
    for axis in (grid.rows, grid.columns):
        assert axis.start <= first
        assert axis.start + axis.step * (axis.n - 1) >= last
        np.testing.assert_allclose(axis.backward()[first : last + 1].sum(axis=1), 1, rtol=1e-5)


def test_anisotropic_pixels_become_square_and_come_back() -> None:
    """A disc seen with 0.5 x 2 mm pixels is a disc on the model's grid."""
    rows, columns = np.meshgrid(np.arange(160), np.arange(40), indexing="ij")
    disc = np.hypot((rows - 80) * 0.5, (columns - 20) * 2.0) < 25
    grid = SliceGrid.fit(disc[None], (0.5, 2.0), 1.0, 8)
    seen = grid.to_model(disc[None].astype(np.float32))
    there = seen[0] > 0.5
    height, width = np.ptp(np.argwhere(there), axis=0) + 1
    assert abs(int(height) - 50) <= 2
    assert abs(int(width) - 50) <= 2
    assert there.sum() == pytest.approx(np.pi * 25**2, rel=0.05)
    np.testing.assert_array_equal(grid.to_source(seen, disc[None])[0] > 0.5, disc)


def test_beyond_the_source_the_model_sees_zeros() -> None:
    axis = AxisMap.fit(10, 1.0, 1.0, (-6, 15), 16)
    matrix = axis.forward()
    outside = (axis.start + np.arange(axis.n) < 0) | (axis.start + np.arange(axis.n) > 9)
    assert outside.any()
    assert not matrix[outside].any()
    np.testing.assert_array_equal(matrix[~outside], np.eye(10))


@pytest.mark.parametrize("step", [0.4, 1.0, 1.25, 1.4286, 2.0, 3.3])
def test_rows_of_the_interpolation_matrix(step: float) -> None:
    matrix = interpolation_matrix(12, 60, 5.3, step)
    assert matrix.shape == (12, 60)
    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-6)
    # Never wider than the triangle: voxels a step further away don't leak in.
    distance = np.abs(5.3 + step * np.arange(12)[:, None] - np.arange(60)[None])
    assert not matrix[distance >= max(1.0, step)].any()
