"""Damaged and hostile files: each ends in a result or in one line, within bounds, and nothing else is written.

Seeded: case ``i`` is the same everywhere. NAPARI_MRTRANS_FUZZ says how many there are in all, with those that
test_generated.py draws: 300, or 10,000 in make nightly.
"""

from __future__ import annotations

import gzip
import json
import struct
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from fuzz.bounded import CASES, ends_well, share
from helpers import head, save_nifti, tiny_checkpoint
from napari_mrtrans.checkpoints.calibration import Calibration
from napari_mrtrans.checkpoints.checkpoint import CALIBRATION_SUFFIX, read_checkpoint, write_calibration
from napari_mrtrans.checkpoints.installing import install
from napari_mrtrans.datasets.readers import read_folders
from napari_mrtrans.scan.masks import load_mask
from napari_mrtrans.scan.prepared import PreparedVolume
from napari_mrtrans.scan.volume import Volume
from napari_mrtrans.training.catalogue import load_recipe

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits memory by a Linux call")


def seeds(of_all: float) -> range:
    """Numbers of the cases of one kind."""
    return range(share(of_all))


def flipped(data: bytes, rng: np.random.Generator, within: int | None = None) -> bytes:
    """A few bytes replaced, or the file cut short, or something put in."""
    out = bytearray(data)
    end = min(len(out), within or len(out))
    match int(rng.integers(4)):
        case 0 | 1:
            for _ in range(int(rng.integers(1, 9))):
                out[int(rng.integers(end))] = int(rng.integers(256))
        case 2:
            del out[int(rng.integers(end)) :]
        case _:
            at = int(rng.integers(end))
            out[at:at] = rng.bytes(int(rng.integers(1, 40)))
    return bytes(out)


def hostile_header(data: bytes, rng: np.random.Generator) -> bytes:
    """One field of a NIfTI-1 header set to what should not be there."""
    out = bytearray(data)
    odd = [float("nan"), float("inf"), -float("inf"), 0.0, -1.0, 1e30, 1e-30]
    match int(rng.integers(6)):
        case 0:  # sizes, up to terabytes
            sizes = [int(rng.choice([-1, 0, 1, 2, 7, 300, 32767])) for _ in range(8)]
            struct.pack_into("<8h", out, 40, *sizes)
        case 1:  # voxel sizes
            struct.pack_into("<f", out, 76 + 4 * int(rng.integers(8)), float(rng.choice(odd)))
        case 2:  # affine
            struct.pack_into("<f", out, 280 + 4 * int(rng.integers(12)), float(rng.choice(odd)))
        case 3:  # data type and bits
            struct.pack_into("<2h", out, 70, int(rng.choice([0, 1, 2, 4, 8, 16, 32, 64, 128, 1536, 2304, 9999])), 8)
        case 4:  # offset, slope, intercept
            struct.pack_into("<f", out, 108 + 4 * int(rng.integers(3)), float(rng.choice(odd)))
        case _:  # codes
            struct.pack_into("<2h", out, 252, int(rng.integers(-3, 9)), int(rng.integers(-3, 9)))
    return bytes(out)


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = save_nifti(tmp_path_factory.mktemp("fuzz") / "sub-01_T1w.nii", head((12, 14, 10)))
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["flip", "header", "gz"])
def test_images(tmp_path: Path, brain: bytes, kind: str) -> None:
    read = 0
    for seed in seeds(0.1):
        rng = np.random.default_rng([1, seed])
        if kind == "flip":
            data = flipped(brain, rng, within=400 if rng.random() < 0.7 else None)
        elif kind == "header":
            data = hostile_header(brain, rng)
        else:
            data = flipped(gzip.compress(brain, 1), rng)
        path = tmp_path / ("sub-01_T1w.nii.gz" if kind == "gz" else "sub-01_T1w.nii")
        path.write_bytes(data)
        case = f"{kind} {seed}"
        read += ends_well(case, lambda path=path: PreparedVolume.of(Volume.load(path)).area)
        ends_well(f"mask, {case}", lambda path=path: load_mask(path))
        path.unlink()
    assert not list(tmp_path.iterdir())
    assert read or kind == "gz" or CASES < 100  # some damage does no harm


def test_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(tmp_path / "own"))
    good = tiny_checkpoint(tmp_path / "good" / "tiny.safetensors", "direct").path.read_bytes()
    size = struct.unpack("<Q", good[:8])[0]
    outside = tmp_path / "outside"
    for seed in seeds(0.075):
        rng = np.random.default_rng([2, seed])
        match int(rng.integers(4)):
            case 0:
                data = flipped(good, rng, within=8 + size)
            case 1:  # a header that says it is gigabytes long
                data = struct.pack("<Q", int(rng.integers(1 << 62))) + good[8:]
            case 2:  # offsets that overlap, shapes that do not fit
                document = json.loads(good[8 : 8 + size])
                name = str(rng.choice([key for key in document if key != "__metadata__"]))
                key = str(rng.choice(["data_offsets", "shape", "dtype"]))
                document[name][key] = [0, int(rng.integers(1 << 40))] if key != "dtype" else "Q7"
                text = json.dumps(document).encode()
                data = struct.pack("<Q", len(text)) + text + good[8 + size :]
            case _:  # a name that is a path
                document = json.loads(good[8 : 8 + size])
                card = json.loads(document["__metadata__"]["napari_mrtrans"])
                card["name"] = str(rng.choice(["../outside/x", "/tmp/x", "a\nb", "", "x" * 400, "CON"]))
                document["__metadata__"]["napari_mrtrans"] = json.dumps(card)
                text = json.dumps(document).encode()
                data = struct.pack("<Q", len(text)) + text + good[8 + size :]
        path = tmp_path / "case" / "x.safetensors"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        ends_well(f"checkpoint {seed}", lambda path=path: read_checkpoint(path).build())
        ends_well(f"installed checkpoint {seed}", lambda path=path: install(path))
    assert not outside.exists() and {p.name for p in tmp_path.iterdir()} <= {"good", "case", "own"}


def test_calibrations(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "tiny.safetensors", "direct")
    good = write_calibration(checkpoint, Calibration(card=checkpoint.card_digest), tmp_path).read_bytes()
    path = checkpoint.path.with_suffix(CALIBRATION_SUFFIX)
    for seed in seeds(0.05):
        path.write_bytes(flipped(good, np.random.default_rng([3, seed])))
        ends_well(f"calibration {seed}", lambda: read_checkpoint(checkpoint.path).calibration)


def test_recipes(tmp_path: Path) -> None:
    good = b"""name: mine
model: direct
pairs: [T1->T2]
options: {network: {widths: [8, 16], groups: 4}}
stages: [{steps: 4, batch: 2, crop: [32, 32]}]
optimiser: {lr: 0.001}
data: {folders: [a, b], phantom: {subjects: 2}}
"""
    path = tmp_path / "mine.yaml"
    for seed in seeds(0.05):
        path.write_bytes(flipped(good, np.random.default_rng([4, seed])))
        ends_well(f"recipe {seed}", lambda: load_recipe(path))


def test_folders(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    parts = ["sub-01", "sub-ü", "anat", "ses-1", "a b", "x\ny", "..T1w", "sub-01_T1w.nii.gz", "sub-01_T2w.nii", "🧠"]
    for seed in seeds(0.025):
        root = tmp_path / f"{seed}"
        for _ in range(int(rng.integers(1, 7))):
            place = root.joinpath(*(str(part) for part in rng.choice(parts, int(rng.integers(1, 4)))))
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
            except OSError:  # a file is in the way
                continue
            if place.exists() or place.is_symlink():
                continue
            match int(rng.integers(3)):
                case 0:
                    place.symlink_to(root, target_is_directory=True)  # a loop
                case 1:
                    place.write_bytes(rng.bytes(50))
                case _:
                    nib.Nifti1Image(head((4, 4, 4)), np.eye(4)).to_filename(tmp_path / "x.nii")
                    (tmp_path / "x.nii").rename(place)
        ends_well(f"folder {seed}", lambda root=root: list(read_folders(root, (".",))))
