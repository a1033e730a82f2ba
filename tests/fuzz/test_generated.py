"""Whole headers, documents and folders, drawn by hypothesis: what is well-formed in its parts and makes no sense.

Derandomised: the same cases everywhere, and more of them with a larger NAPARI_MRTRANS_FUZZ.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.bounded import ends_well, refusal, share
from helpers import TINY, head, tiny_checkpoint
from napari_mrtrans.checkpoints.calibration import Calibration
from napari_mrtrans.checkpoints.checkpoint import CALIBRATION_SUFFIX, CARD_KEY, read_checkpoint, write_calibration
from napari_mrtrans.checkpoints.installing import install
from napari_mrtrans.datasets.readers import read_folders
from napari_mrtrans.scan.masks import load_mask
from napari_mrtrans.scan.prepared import PreparedVolume
from napari_mrtrans.scan.volume import Volume
from napari_mrtrans.training.catalogue import load_recipe
from napari_mrtrans.training.setup import check_model

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits memory by a Linux call")

ODD = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, -1.0, 1e-30, 1e30, 3e38, -1024.0])
NUMBER = st.one_of(ODD, st.floats(0.25, 5.0, width=32))
SIZE = st.one_of(st.integers(1, 9), st.sampled_from([-32768, -1, 0, 300, 32767]))


def cases(of_all: float) -> Any:
    """The settings of one test that has this share of all cases."""
    return settings(
        max_examples=share(of_all), derandomize=True, database=None, deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


@st.composite
def nifti(draw: st.DrawFn) -> bytes:
    """Header and voxels of a NIfTI-1 file: mostly of some sense, each field odd now and then."""
    order = draw(st.sampled_from("<<<>"))
    shape = draw(st.one_of(st.just([9, 8, 7]), st.lists(SIZE, min_size=1, max_size=7)))
    rank = draw(st.sampled_from([len(shape)] * 6 + [0, 3, 8, -1]))
    code, bits = draw(
        st.sampled_from([(2, 8), (4, 16), (8, 32), (16, 32), (64, 64), (32, 64), (128, 24), (1, 1), (9, 9)])
    )
    header = bytearray(352)
    struct.pack_into(order + "i", header, 0, draw(st.sampled_from([348] * 9 + [540])))
    struct.pack_into(order + "8h", header, 40, rank, *(shape + [1] * 7)[:7])
    struct.pack_into(order + "2h", header, 70, code, bits)
    struct.pack_into(order + "8f", header, 76, *draw(st.lists(NUMBER, min_size=8, max_size=8)))
    struct.pack_into(order + "3f", header, 108, draw(st.sampled_from([352.0] * 9 + [0.0, -8.0, 1e9])), 1, 0)
    if draw(st.booleans()):
        struct.pack_into(order + "2f", header, 112, draw(NUMBER), draw(NUMBER))
    header[123] = draw(st.sampled_from([0, 1, 2, 3, 8, 255]))
    struct.pack_into(order + "2h", header, 252, draw(st.integers(-1, 5)), draw(st.integers(-1, 5)))
    struct.pack_into(order + "18f", header, 256, *draw(st.lists(NUMBER, min_size=18, max_size=18)))
    if draw(st.booleans()):
        struct.pack_into(order + "12f", header, 280, 1, 0, 0, -4, 0, 1, 0, -4, 0, 0, 1, -4)
    header[344:348] = draw(st.sampled_from([b"n+1\0"] * 9 + [b"ni1\0", b"n+2\0", b"\0\0\0\0"]))
    voxels = head((9, 8, 7)).tobytes(order="F")
    whole = bytes(header) + voxels * draw(st.sampled_from([1, 1, 2, 0]))
    if draw(st.booleans()):
        whole = gzip.compress(whole, 1)
    return whole[: draw(st.sampled_from([None, None, None, -1, -9, 400, 30]))]


@cases(0.2)
@given(data=nifti())
def test_images(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "generated"
    folder.mkdir(exist_ok=True)
    path = folder / ("sub-01_T1w.nii.gz" if data[:2] == b"\x1f\x8b" else "sub-01_T1w.nii")
    path.write_bytes(data)

    def read() -> None:
        prepared = PreparedVolume.of(Volume.load(path))
        assert prepared.volume.data.ndim == 3 and np.isfinite(prepared.volume.data).all()
        assert np.isfinite(prepared.volume.affine).all() and abs(np.linalg.det(prepared.volume.affine[:3, :3])) > 0

    ends_well("image", read)
    ends_well("mask", lambda: load_mask(path))
    assert list(folder.iterdir()) == [path]
    path.unlink()


LEAF = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8),
    st.sampled_from(["../outside", "/etc/passwd", "a\nb", "\0", "x" * 5000]), st.lists(st.integers(0, 3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


def changed(draw: st.DrawFn, document: Any) -> Any:
    """A copy in which one value, at any depth, is another."""
    items = list(document.items()) if isinstance(document, dict) else list(enumerate(document))
    if not items:
        return draw(LEAF)
    key, value = items[draw(st.integers(0, len(items) - 1))]
    deeper = isinstance(value, dict | list) and draw(st.integers(0, 3)) > 0
    copy = document.copy()
    copy[key] = changed(draw, value) if deeper else draw(LEAF)
    return copy


@st.composite
def edits(draw: st.DrawFn, document: Any) -> Any:
    for _ in range(draw(st.integers(1, 3))):
        if isinstance(document, dict | list):
            document = changed(draw, document)
    return document


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return tiny_checkpoint(tmp_path_factory.mktemp("good") / "tiny.safetensors", "direct").path.read_bytes()


@cases(0.1)
@given(draw=st.data())
def test_checkpoints(good: bytes, tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject) -> None:
    """Tensors that overlap, shapes that do not fit, cards with other values, weights that are no numbers."""
    root = tmp_path_factory.getbasetemp() / "checkpoints"
    root.mkdir(exist_ok=True)
    size = struct.unpack("<Q", good[:8])[0]
    document, weights = json.loads(good[8 : 8 + size]), good[8 + size :]
    card = json.loads(document["__metadata__"][CARD_KEY])
    match draw.draw(st.sampled_from(["tensors", "card", "weights"])):
        case "tensors":
            names = [name for name in document if name != "__metadata__"]
            one, other = draw.draw(st.sampled_from(names)), draw.draw(st.sampled_from(names))
            document[one] = draw.draw(st.one_of(st.just(document[other]), edits(document[one])))
        case "card":
            document["__metadata__"][CARD_KEY] = json.dumps(draw.draw(edits(card)))
        case _:
            values = np.frombuffer(weights, np.float16).copy()
            values[:: draw.draw(st.integers(1, 50))] = draw.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
            weights = values.tobytes()
    text = json.dumps(document).encode()
    path = root / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(root / "own"))
        ends_well("checkpoint", lambda: read_checkpoint(path).build())
        ends_well("installed", lambda: install(path))
    assert {found.name for found in root.iterdir()} <= {"x.safetensors", "own"}
    for found in (root / "own").glob("*"):
        found.unlink()


@cases(0.07)
@given(draw=st.data())
def test_calibrations(tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject) -> None:
    root = tmp_path_factory.getbasetemp() / "calibrations"
    if not root.exists():
        made = tiny_checkpoint(root / "tiny.safetensors", "direct")
        write_calibration(made, Calibration(card=made.card_digest), root).rename(root / "good.json")
    document = json.loads((root / "good.json").read_text())
    path = root / f"tiny{CALIBRATION_SUFFIX}"
    path.write_text(json.dumps(draw.draw(edits(document))))
    ends_well("calibration", lambda: read_checkpoint(root / "tiny.safetensors").calibration)


RECIPE = {
    "name": "mine",
    "model": "direct",
    "pairs": ["T1->T2"],
    "options": {"network": TINY},
    "stages": [{"steps": 4, "batch": 2, "crop": [32, 32]}],
    "optimiser": {"lr": 0.001},
    "data": {"folders": ["a", "b"], "phantom": {"subjects": 2}},
}


@cases(0.08)
@given(draw=st.data())
def test_recipes(tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "generated.yaml"
    path.write_text(yaml.safe_dump(draw.draw(edits(RECIPE)), allow_unicode=True), encoding="utf-8", errors="replace")
    ends_well("recipe", lambda: load_recipe(path))


PART = st.one_of(
    st.sampled_from(
        ["sub-01", "sub-02", "ses-1", "anat", "sub-01_T1w.nii.gz", "sub-01_T2w.nii", "..T1w", "🧠", "x\ny"]
    ),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40),
).filter(lambda name: name not in (".", ".."))


@cases(0.05)
@given(places=st.lists(st.tuples(st.lists(PART, min_size=1, max_size=4), st.integers(0, 3)), min_size=1, max_size=6))
def test_folders(tmp_path_factory: pytest.TempPathFactory, places: list[tuple[list[str], int]]) -> None:
    root = tmp_path_factory.mktemp("folder")
    for parts, kind in places:
        place = root.joinpath(*parts)
        try:
            if os.path.lexists(place):
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            if kind == 0:
                place.symlink_to(root, target_is_directory=True)  # a loop
            elif kind == 1:
                os.mkfifo(place)  # never to be waited for
            else:
                place.write_bytes(b"\x1f\x8b\x08" if kind == 2 else bytes(400))
        except OSError:  # in the way of another, or too long
            continue
    ends_well(f"folder {places}", lambda: list(read_folders(root, (".",))))


def big_recipe(widths: list[int]) -> dict[str, Any]:
    return RECIPE | {"options": {"network": TINY | {"widths": widths}}}


def image(shape: tuple[int, ...], offset: float = 352, length: int = 400, size: float = 1.0) -> bytes:
    """A NIfTI-1 file of this many bytes whose header says what it likes."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, len(shape), *(shape + (1,) * 7)[:7])
    struct.pack_into("<2h", header, 70, 16, 32)
    struct.pack_into("<8f", header, 76, *[1.0, *[size] * 7])
    struct.pack_into("<3f", header, 108, offset, 1, 0)
    struct.pack_into("<2h", header, 252, 0, 1)
    struct.pack_into("<12f", header, 280, size, 0, 0, 0, 0, size, 0, 0, 0, 0, size, 0)
    header[344:348] = b"n+1\0"
    return (bytes(header) + bytes(length))[:length]


#: What once went wrong: the file, and what its line says.
PAST = {
    "petabytes": (image((32767, 32767, 32767)), "states 1.41e+14 bytes of voxels, more than its 400 bytes can hold"),
    "sizes that overflow": (image((32767,) * 7), "states 1.62e+32 bytes of voxels, more than its 400 bytes can hold"),
    "an offset past the end": (image((9, 8, 7), offset=1e30), "is truncated or damaged"),
    "an affine that is no number": (image((9, 8, 7), length=3000, size=math.nan), "voxel size of 0; repair its header"),
    "half a header": (image((9, 8, 7), length=100), "cannot be read as NIfTI"),
    "empty": (b"", "cannot be read as NIfTI (Empty file"),
}


@pytest.mark.parametrize("name", PAST)
def test_what_once_went_wrong(name: str, tmp_path: Path) -> None:
    data, says = PAST[name]
    path = tmp_path / "sub-01_T1w.nii"
    path.write_bytes(data)
    line = refusal(name, lambda: Volume.load(path))
    assert line is not None and says in line, line


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(path := tmp_path / "sub-01_T1w.nii.gz")
    for run in (lambda: Volume.load(path), lambda: load_mask(path)):
        line = refusal("pipe", run)
        assert line is not None and line.endswith("is a pipe or a device; expected a NIfTI file (.nii or .nii.gz)."), (
            line
        )


def test_a_network_too_large_for_any_machine_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(big_recipe([8, 1 << 40])))
    line = refusal("widths", lambda: check_model(load_recipe(path)))
    assert line is not None and "Recipe 'mine': options: " in line, line


def test_intensities_next_to_nothing_are_a_head_as_any_other(tmp_path: Path) -> None:
    data = head((12, 14, 10)) * 1e-30
    path = tmp_path / "sub-01_T1w.nii"
    path.write_bytes(image((12, 14, 10), length=352) + data.astype("<f4").tobytes(order="F"))
    assert PreparedVolume.of(Volume.load(path)).area.any()
