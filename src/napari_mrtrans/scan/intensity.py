"""Intensity normalisation: from scanner units to the [0, 1] in which every model works and answers.

MR intensities have no unit, and their upper percentiles depend on how much cerebrospinal fluid, oedema or fat a volume
holds (on our training subjects the 99.5th percentile of a T2 brain is 2.1 to 4.4 times its median). The *median* of
the brain is steadier, so it is mapped onto a fixed value for each contrast, ``1 / headroom``; brighter voxels keep
their ratio up to the clip at 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import VolumeError
from .contrasts import Contrast

#: Beyond these a head is whole: its volume in ml, or the area of its largest slice in cm². The brains of our training
#: subjects reach 1639 and 201; whole heads start at 2600 and 253, even where the neck is cut off.
LARGEST_BRAIN = (2200.0, 230.0)
#: The two axes that each axis is perpendicular to.
_PLANES = ((1, 2), (0, 2), (0, 1))
#: A piece of a stripped volume with less than this share of its voxels is not counted as brain.
SPECK = 0.001
#: So many slices that were lost, one beside the other, do not part a head.
LOST = 2

#: How many times the brain's median maps onto 1. Lesions on FLAIR fit; of T2, some people's brightest 1 to 2 % do not.
HEADROOM: dict[Contrast, float] = {Contrast.T1: 2.0, Contrast.T2: 3.5, Contrast.PD: 2.0, Contrast.FLAIR: 3.0}

#: Of the corners' voxels, the share that must have one value, and by how much of the tissue's intensity the corners may
#: vary, to be a background that tells where 0 is.
_CONSTANT, _NARROW = 0.3, 0.25
#: What is below the background by this share of the tissue's intensity is no ripple, and more of such voxels than this
#: share of the tissue's, or than these, are no outliers.
_DEEP, _FEW, _FEWEST = 0.5, 0.02, 8
#: A background of one value that is no more than this share of the tissue's intensity away from 0 is rounding.
_ROUNDED = 1e-3
#: Where more of the voxels than the first are below 0, interpolation has drawn ripples into the air, and what is less
#: than the second of the tissue's intensity is one, unless as many of the corners' voxels are above the third.
_RIPPLED, _RIPPLE, _STILL = 0.02, 0.02, 1e-5
#: A background that is further below 0 than this share of the tissue's intensity is padding where no larger share than
#: the second of what is above it is below 0 (of brains in [-1, 1], 10 % are), and close to 0 no more than the third of
#: what is as close above.
_FAR, _BETWEEN, _CUT = 0.1, 0.02, 0.2
#: So close to the padding, as a share of it, is padding; so many voxels beside it, and so few below 0, tell nothing.
_MIXED, _RIM, _ODD = 0.1, 2, 4


def clean(data: NDArray[np.generic]) -> NDArray[np.float32]:
    """Finite and non-negative, the background at 0 (:func:`zero_level`).

    NaN, padding (:func:`padding`) and what is below the background become 0, +inf the largest value; so do ripples
    above it, of a spline that resampled a stripped brain, where those below it tell of them.

    Raises:
        VolumeError: much is negative and no background tells where 0 is.
    """
    out = np.asarray(data, dtype=np.float32)
    if padding(out) is not None:
        out = np.clip(out, 0.0, None)
    finite = np.isfinite(out)
    top, zero = float(out[finite].max()) if finite.any() else 0.0, zero_level(out)
    out = np.nan_to_num(out, nan=zero, posinf=top, neginf=zero)
    out -= np.float32(zero)
    rippled = float((out < 0).mean()) > _RIPPLED
    out = np.clip(out, 0.0, None)
    if rippled:
        typical = _typical(out[out > 0])
        # Ripples have died out in the corners, where noise about 0 is as everywhere in the air.
        if _corners(out > _STILL * typical).mean() < _RIPPLED:
            out[out < _RIPPLE * typical] = 0
    return out


def zero_level(data: NDArray[np.floating]) -> float:
    """The intensity that stands for no signal: 0, or the background's where that is clearly below 0, or one value
    beside 0 to which a stored number's rounding has moved it.

    Scores (z, [-1, 1]) and stored numbers without their intercept (-1024) have lost their zero; the air, or what was
    set to one value around a stripped brain, tells it. What is padded (:func:`padding`) has its zero at 0.

    Raises:
        VolumeError: much is negative, and there is no background, or much is below it as well.
    """
    finite = data[np.isfinite(data)]
    if not finite.size or finite.min() == 0:
        return 0.0
    level = background(data) or 0.0
    if _is_padding(level, data):
        return 0.0
    rounded = 0 < level < _ROUNDED * _typical(finite[finite > level] - level)
    zero = level if level < 0 or rounded else 0.0
    if finite.min() >= zero:
        return zero
    tissue = _tissue(finite[finite > zero] - zero)
    typical = float(np.median(tissue)) if tissue.size else 0.0
    if (finite < zero - _DEEP * typical).sum() > max(_FEW * tissue.size, _FEWEST):
        share = 100 * float((finite < zero).sum()) / max(int((finite != zero).sum()), 1)
        raise VolumeError(
            f"{share:.0f} % of the intensities are below the background ({zero:.3g}), as after z-scoring inside a "
            "mask, so that nothing tells where 0 is. Give the image as it was before that."
        )
    return zero


def padding(data: NDArray[np.floating]) -> float | None:
    """The intensity below 0 that was put where nothing was scanned, or nothing kept: next to nothing lies between it
    and 0. None where there is none."""
    finite = data[np.isfinite(data)]
    level = background(data) if finite.size and finite.min() < 0 else None
    return level if level is not None and _is_padding(level, data) else None


def _is_padding(level: float, data: NDArray[np.floating]) -> bool:
    from scipy import ndimage

    known = np.isfinite(data) & (data > level)
    if level >= 0 or _ends_at_0(level, data[known]):
        return level < 0
    deep = -level > (1 + _MIXED) * data[known].max(initial=0)  # scores reach as far above 0; else it may be mixed in
    beside = ndimage.binary_dilation(data < (1 - _MIXED) * level, iterations=_RIM)
    return bool(deep) and _ends_at_0(level, data[known & ~beside])


def _ends_at_0(level: float, above: NDArray[np.floating]) -> bool:
    typical = _typical(above[above > 0])
    close = above[np.abs(above) < _NARROW * typical]
    few = (above < 0).sum() <= _BETWEEN * above.size
    cut = (close < 0).sum() <= max(_CUT * (close > 0).sum(), _ODD)
    return bool(few and cut and -level > _FAR * typical > 0)


def _tissue(above: NDArray[np.floating]) -> NDArray[np.floating]:
    """The tissue's intensities, of those above the background."""
    return above[above > 0.1 * np.percentile(above, 98)] if above.size else above


def _typical(above: NDArray[np.floating]) -> float:
    """The median of the tissue's; 0 of nothing."""
    tissue = _tissue(above)
    return float(np.median(tissue)) if tissue.size else 0.0


def background(data: NDArray[np.floating]) -> float | None:
    """The intensity around the head, from the volume's corners; None where they do not agree on one."""
    corners = _corners(np.asarray(data))
    corners = corners[np.isfinite(corners)]
    if not corners.size:
        return None
    values, counts = np.unique(corners, return_counts=True)
    if counts.max() >= _CONSTANT * corners.size:
        return float(values[counts.argmax()])
    low, middle, high = np.percentile(corners, (1, 50, 99))
    finite = data[np.isfinite(data)]
    above = finite[finite > high]
    tissue = float(np.median(above)) - middle if above.size else 0.0
    if high - low > _NARROW * tissue:
        return None
    # Noise about 0, as of real parts, has its zero already.
    return 0.0 if abs(middle) <= 0.1 * tissue else float(low)


def white_level(data: NDArray[np.float32], mask: NDArray[np.bool_], contrast: Contrast) -> float:
    """The intensity that becomes 1: ``HEADROOM[contrast]`` times the median inside ``mask``.

    Raises:
        VolumeError: the mask is empty or the median inside it is not positive.
    """
    inside = data[mask]
    median = float(np.median(inside)) if inside.size else 0.0
    if median <= 0:
        raise VolumeError("No signal inside the head mask; give a better one with --mask.")
    return HEADROOM[contrast] * median


def normalise(data: NDArray[np.float32], mask: NDArray[np.bool_], contrast: Contrast) -> NDArray[np.float32]:
    """Scale ``data`` (any unit, non-negative) to [0, 1]: median of the mask at ``1/HEADROOM``, 0 outside the mask."""
    scaled = np.clip(data / white_level(data, mask, contrast), 0.0, 1.0)
    return np.where(mask, scaled, 0.0).astype(np.float32)


def min_max(data: NDArray[np.float32]) -> NDArray[np.float32]:
    """The paper's normalisation: the least intensity at 0, the greatest at 1; one bright voxel dims all others."""
    low, high = float(data.min()), float(data.max())
    return np.asarray((data - low) / max(high - low, 1e-12), dtype=np.float32)


def is_stripped(data: NDArray[np.float32]) -> bool:
    """Whether the background is exactly 0, as after brain extraction; scanners leave noise there."""
    positive = data > 0
    return bool(positive.mean() <= 0.9 and _corners(positive).mean() <= 0.3)


def is_whole_head(
    data: NDArray[np.float32], voxel_sizes: NDArray[np.floating], head: NDArray[np.bool_] | None = None
) -> bool:
    """Whether skull and scalp are still there: noise in the background, or too large for a brain.

    Many scanners and archives set the air around a head to exactly 0, so that alone does not make it stripped.

    Args:
        data: Non-negative.
        voxel_sizes: In mm, for each axis.
        head: Its :func:`head_mask`, if known.
    """
    if not is_stripped(data):
        return True
    head = head_mask(data) if head is None else head
    voxel = float(np.prod(voxel_sizes))
    areas = (head.sum(axis=plane).max() * voxel / voxel_sizes[axis] for axis, plane in enumerate(_PLANES))
    return bool(head.sum() * voxel / 1e3 > LARGEST_BRAIN[0] or max(areas) / 1e2 > LARGEST_BRAIN[1])


def find_head(data: NDArray[np.float32], voxel_sizes: NDArray[np.floating]) -> tuple[NDArray[np.bool_], bool]:
    """Where the head is, and whether it is whole (:func:`is_whole_head`).

    Around a whole head, only the corners may be exactly 0, as after it was turned or padded, and the air has noise.
    """
    head = head_mask(data)
    whole = is_whole_head(data, voxel_sizes, head)
    return (head_mask(data, stripped=False) if whole and is_stripped(data) else head), whole


def head_mask(data: NDArray[np.float32], *, stripped: bool | None = None) -> NDArray[np.bool_]:
    """Where the head is, shape as ``data`` (non-negative); see :func:`find_head` for what may be whole.

    A skull-stripped volume says so itself: its background is exactly one constant (0). All but specks (:data:`SPECK`)
    is brain then, which low slices, single ones and those on either side of a lost one show in several pieces. For a
    whole head, Otsu's threshold on the log intensities separates head from air, and the largest component is kept,
    across up to :data:`LOST` slices in which nothing is. Holes are filled.

    Args:
        data: Non-negative.
        stripped: Whether it is; None: by its background (:func:`is_stripped`).

    Raises:
        VolumeError: nothing stands out from the background.
    """
    from scipy import ndimage

    positive, stripped = data > 0, is_stripped(data) if stripped is None else stripped
    if not stripped:
        from skimage.filters import threshold_otsu

        mean = float(data.mean(dtype=np.float64)) or 1.0
        relative = np.log1p(data.astype(np.float64) / mean)  # of any unit, tiny ones included
        positive = data > np.expm1(threshold_otsu(relative)) * mean
    boxes = ndimage.find_objects(positive.view(np.int8))
    if not boxes:
        raise VolumeError("No head found in this volume: all voxels are background. Give another scan.")
    out = np.zeros(data.shape, dtype=bool)
    # Dark fluid may be exactly 0 after stripping or clipping: what the air around cannot reach counts as head.
    there = positive[boxes[0]]
    out[boxes[0]] = fill_holes(without_specks(there) if stripped else _largest_across_gaps(there))
    return out


def without_specks(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The face-connected parts of ``mask`` (three axes, not empty) that are no specks (:data:`SPECK`)."""
    from scipy import ndimage

    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(sizes >= min(SPECK * sizes.sum(), sizes.max()))[labels]


def largest_component(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest face-connected part of ``mask`` (three axes), which must not be empty."""
    from scipy import ndimage

    labels, _ = ndimage.label(mask)
    return np.asarray(labels == 1 + int(np.bincount(labels.ravel())[1:].argmax()))


def _largest_across_gaps(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest part of ``mask``, whose pieces on either side of up to :data:`LOST` empty slices are one."""
    from scipy import ndimage

    kept = []
    for plane in _PLANES:
        gaps, _ = ndimage.label(~mask.any(axis=plane))
        kept.append(np.flatnonzero((gaps == 0) | (np.bincount(gaps)[gaps] > LOST)))
    out = np.zeros_like(mask)
    out[np.ix_(*kept)] = largest_component(mask[np.ix_(*kept)])
    return out


def fill_holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """``mask`` (three axes) and all that the outside cannot reach: SciPy's ``binary_fill_holes``, but faster."""
    from scipy import ndimage

    outside, _ = ndimage.label(~np.pad(mask, 1))
    return np.asarray(outside != outside[0, 0, 0])[1:-1, 1:-1, 1:-1]


def _corners(data: NDArray) -> NDArray:
    """The eight corners of a volume, a tenth of each axis wide: air, which is exactly 0 only after stripping."""
    ends = [np.r_[0 : -(-n // 10), n - -(-n // 10) : n] for n in data.shape]
    return data[np.ix_(*ends)]
