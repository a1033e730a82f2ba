"""One whole head made fit for a model, on its own grid; what was found is kept, so the second time is instant."""

from __future__ import annotations

import hashlib
import itertools
import threading
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from ..errors import MrtransError
from ..paths import prepared_cache_dir, write_shared
from ..scan.adult import is_adult_brain
from ..scan.intensity import clean, find_head, padding, zero_level
from ..scan.masks import checked_mask
from ..scan.prepared import PreparedVolume, without_air
from ..scan.volume import Volume
from .bias import log_bias, remove_bias
from .tools import ToolFailed, choose_tool, extract, usable_tools

#: Raise when the same volume would come out differently.
FORMAT = 3
GIVEN, STRIPPED = "given", "already stripped"
WHOLE_HEAD = (
    "'{}' looks like a whole head; the models know skull-stripped brains. Strip it first, or give a brain mask."
)
#: Air that is exactly 0 makes it look stripped.
NOT_ADULT = (
    "'{}' may be a whole head with its air set to 0, or that of a child; the models were trained on stripped brains of "
    "adults. Do not trust the answer, or give a brain mask."
)

#: Volumes that are remembered; a source and the reference that it is compared with.
REMEMBERED = 2
_recent: dict[tuple[object, ...], tuple[PreparedVolume, list[str]]] = {}
_lock = threading.Lock()


def brain_of(
    volume: Volume,
    *,
    mask: NDArray[np.bool_] | None = None,
    tool: str = "auto",
    say: Callable[[str], None] = lambda line: None,
) -> tuple[NDArray[np.bool_], str]:
    """The brain, and where it came from: ``given``, ``already stripped``, ``built-in`` or the name of a tool.

    Args:
        volume: A whole head, or a brain already stripped (which keeps its own outline).
        mask: Its brain, if known; same shape.
        tool: ``auto``, ``built-in``, or one of :data:`.tools.TOOLS`.
        say: Told where a tool failed and the next one was taken.

    Raises:
        VolumeError: the volume is too thin to see a head in it.
        BrainError: no plausible brain was found, or the tool is not installed or failed.
    """
    if mask is not None:
        return mask, GIVEN
    data = clean(volume.data)
    head, whole = find_head(data, volume.voxel_sizes)
    if not whole:
        return head, STRIPPED
    methods = usable_tools(volume.contrast) if tool == "auto" else [choose_tool(tool, volume.contrast)]
    method, inside, _ = _first_of(methods, partial(_strip, volume, data, None, bias=False), say)
    return inside, method


def _strip(
    volume: Volume, data: NDArray[np.float32], mask: NDArray[np.bool_] | None, method: str, *, bias: bool = True
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """The brain, and the intensities in it; ``data`` are the volume's clean ones, ``mask`` its brain where known."""
    kept = prepared_cache_dir() / f"{_key(volume, method, mask, bias)}.npz"
    found = _read(kept, volume)
    if found is None:
        inside = extract(volume, method) if mask is None else mask
        field = log_bias(volume, inside) if bias else np.zeros((0, 0, 0), dtype=np.float32)
        found = inside, field
        _write(kept, *found)
    inside, field = found
    corrected = remove_bias(volume, field) if bias else data
    return inside, np.where(inside, corrected, 0.0).astype(np.float32)


def fit_for_models(
    volume: Volume, mask: NDArray[Any] | None, prepare: bool | None, say: Callable[[str], None]
) -> PreparedVolume:
    """The volume as it is transformed: cleaned, its head known, and a whole head stripped where that is wanted.

    The last ones are remembered, so that another run on the same volume starts at once.

    Args:
        volume: The input.
        mask: Its brain, if known.
        prepare: True: prepare; False: don't; None: whole heads without a mask are prepared, and where that fails are
            taken as they are.
        say: Told what is done, and what the user should know.

    Raises:
        MrtransError: there is no head, the mask is of no use, or ``prepare`` is True and it cannot be done.
    """
    given = None if mask is None else checked_mask(mask, volume)
    key = (volume.digest(), volume.name, volume.contrast, "" if given is None else _digest(np.packbits(given)), prepare)
    with _lock:
        found = _recent.get(key)
        if found is not None:
            _recent[key] = _recent.pop(key)  # the last one used
    if found is not None:
        prepared, told = found
        for line in told:
            say(line)
        return replace(prepared, volume=volume)
    told = []

    def tell(line: str) -> None:
        told.append(line)
        say(line)

    prepared = _fit(volume, given, prepare, tell)
    if prepare is None and WHOLE_HEAD.format(volume.name) in told:
        return prepared  # what failed is tried again
    with _lock:
        _recent[key] = prepared, told
        while len(_recent) > REMEMBERED:
            del _recent[next(iter(_recent))]
    return prepared


def _fit(
    volume: Volume, given: NDArray[np.bool_] | None, prepare: bool | None, say: Callable[[str], None]
) -> PreparedVolume:
    for line in volume.notices:
        say(line)
    plain = PreparedVolume.of(volume, given)
    if line := shifted_line(volume):
        say(line)
    whole = plain.whole
    if whole and prepare is None:
        say(f"'{volume.name}' looks like a whole head; extracting its brain first.")
    if prepare or (whole and prepare is None):
        methods = [GIVEN] if given is not None else usable_tools(volume.contrast) if whole else [STRIPPED]
        try:
            known = None if whole else plain.head if given is None else given
            _, brain, data = _first_of(methods, partial(_strip, volume, plain.data, known), say)
            return PreparedVolume(volume, data, without_air(brain, data), known=True)
        except MrtransError as error:
            if prepare:
                raise
            say(str(error))
    if whole:
        say(WHOLE_HEAD.format(volume.name))
    elif given is None and not is_adult_brain(plain.data, volume.voxel_sizes, plain.head):
        say(NOT_ADULT.format(volume.name))
    return plain


def _first_of(
    methods: Sequence[str],
    strip: Callable[[str], tuple[NDArray[np.bool_], NDArray[np.float32]]],
    say: Callable[[str], None],
) -> tuple[str, NDArray[np.bool_], NDArray[np.float32]]:
    """What ``strip`` gives by the first of several methods; where a program fails, by the next. With that method."""
    for method, following in itertools.pairwise(methods):
        try:
            return method, *strip(method)
        except ToolFailed as error:
            say(f"{error.what}; the brain was looked for by '{following}' instead.")
    return methods[-1], *strip(methods[-1])


def shifted_line(volume: Volume) -> str:
    """What is said where the background is not at 0; empty where it is."""
    if zero := zero_level(volume.data):
        return f"'{volume.name}' has its background at {zero:.4g}; that was taken for 0."
    if (around := padding(volume.data)) is not None:
        return f"'{volume.name}' is padded with {around:.4g}; that was taken for no signal, and 0 kept as it is."
    return ""


def _key(volume: Volume, method: str, mask: NDArray[np.bool_] | None, bias: bool) -> str:
    digest = hashlib.sha256(repr((FORMAT, volume.data.shape, method, bias)).encode())
    digest.update(volume.affine.tobytes())
    digest.update(volume.data.tobytes())
    if mask is not None:
        digest.update(np.packbits(mask).tobytes())
    return digest.hexdigest()[:32]


def _digest(data: NDArray[Any]) -> str:
    return hashlib.blake2b(data.tobytes(), digest_size=16).hexdigest()


def _read(path: Path, volume: Volume) -> tuple[NDArray[np.bool_], NDArray[np.float32]] | None:
    """What was kept, or None where nothing (or nothing readable) is."""
    try:
        with np.load(path) as kept:
            bits = np.unpackbits(kept["mask"], count=volume.data.size).astype(bool)
            return bits.reshape(volume.data.shape), kept["field"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error):
        return None


def _write(path: Path, mask: NDArray[np.bool_], field: NDArray[np.float32]) -> None:
    """A cache that cannot be written costs time, not the result."""
    with suppress(OSError):
        write_shared(path, lambda part: np.savez_compressed(part, mask=np.packbits(mask), field=field))
