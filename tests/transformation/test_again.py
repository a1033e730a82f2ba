"""What ``repeated`` gives back; which changes it finds, in words, is in ``cli/test_transform.py``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from helpers import head, save_nifti, tiny_checkpoint
from napari_mrtrans import __version__, stream, transform
from napari_mrtrans.checkpoints import library
from napari_mrtrans.checkpoints.calibration import Calibration
from napari_mrtrans.checkpoints.checkpoint import Checkpoint, read_checkpoint, write_calibration
from napari_mrtrans.checkpoints.correction import SpreadCorrection
from napari_mrtrans.errors import CheckpointError, MrtransError
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.scan.masks import read_mask
from napari_mrtrans.scan.volume import Volume
from napari_mrtrans.transformation.again import other_machine, repeated
from napari_mrtrans.transformation.gathered import Gathered
from napari_mrtrans.transformation.request import Request
from napari_mrtrans.transformation.whole_volume import transform_request

SHAPE = (20, 24, 8)
#: Axes towards right, anterior and inferior.
RAI = np.array([[1.0, 0, 0, -9], [0, 1.2, 0, -14], [0, 0, -3, 20], [0, 0, 0, 1]])


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    """The only one that is installed."""
    monkeypatch.setattr(library, "shipped_checkpoint_dir", lambda: tmp_path / "nothing-shipped")
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(tmp_path / "installed"))
    return tiny_checkpoint(tmp_path / "installed" / "tiny-flow.safetensors")


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    return save_nifti(tmp_path / "sub-01_T1w.nii.gz", head(SHAPE), RAI)


def made(scan: Path, checkpoint: Checkpoint, folder: Path, **asked: Any) -> tuple[Path, Any]:
    """A report on disk, and the result that it tells of."""
    keep = asked.pop("keep_samples", False)
    result = transform(Volume.load(scan), checkpoint, target="T2", keep_samples=keep, **{"n": 2, "steps": 1, **asked})
    return result.save(folder)["json"], result


@pytest.mark.parametrize("slices", [(2, 5), range(1, 7, 2), None], ids=["pair", "range", "all"])
@pytest.mark.parametrize("keep", [True, False])
def test_what_was_asked_comes_back(
    slices: range | tuple[int, int] | None, keep: bool, scan: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    asked = {"seed": 5, "slices": slices, "sampler": "heun", "batch": 1, "start_slice": 3, "device": "cpu"}
    report, result = made(scan, checkpoint, tmp_path / "A", keep_samples=keep, **asked)
    said: list[str] = []
    volume, found, request, kept = repeated(report, say=said.append)
    assert (said, kept, found.path) == ([], keep, checkpoint.path)
    assert request.to_json() == result.info["request"]
    assert request.slices == slices
    again = transform_request(volume, found, request, keep_samples=kept)
    for name in ("mean", "std", "median", "per_slice") + (("samples",) if keep else ()):
        assert getattr(again, name).tobytes() == getattr(result, name).tobytes()
    assert {**again.info, "seconds": 0} == {**result.info, "seconds": 0}


def test_the_mask_is_read_again(scan: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    inside = np.zeros(SHAPE, np.float32)
    inside[6:12, 8:15, 3:5] = 0.4
    inside[0] = -3
    file = save_nifti(tmp_path / "m.nii.gz", inside, RAI)
    mask = read_mask(file, Volume.load(scan))
    report, result = made(scan, checkpoint, tmp_path / "A", mask=mask, mask_file=file)
    volume, found, request, _ = repeated(report)
    np.testing.assert_array_equal(request.mask, inside > 0)
    assert request.mask_file == file
    np.testing.assert_array_equal(transform_request(volume, found, request).mean, result.mean)
    report, _ = made(scan, checkpoint, tmp_path / "B", mask=mask)
    with pytest.raises(MrtransError, match=r"^The mask of this result came from no file; it cannot be repeated\.$"):
        repeated(report)


def test_the_source_need_not_be_in_the_name(scan: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    report, _ = made(scan, checkpoint, tmp_path / "A", source="FLAIR")
    moved = scan.rename(tmp_path / "brain.nii.gz")
    volume, _, request, _ = repeated(report, moved)
    assert (volume.contrast, volume.name, request.source) == (Contrast.FLAIR, "brain", Contrast.FLAIR)


def test_paths_are_absolute(
    scan: Path, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    relative = read_checkpoint("installed/tiny-flow.safetensors")
    report, result = made(Path(scan.name), relative, tmp_path / "A", slices=(3, 4))
    assert (result.info["input"], result.info["checkpoint_file"]) == (str(scan), str(checkpoint.path))
    monkeypatch.chdir("/")
    assert repeated(report)[0].path == scan


def test_a_volume_of_no_file_is_asked_for(checkpoint: Checkpoint, scan: Path, tmp_path: Path) -> None:
    volume = Volume(head(SHAPE), nib.load(scan).affine, Contrast.T1, "layer")
    result = transform(volume, checkpoint, target="T2", n=2, steps=1, slices=(3, 4))
    report = result.save(tmp_path / "A")["json"]
    with pytest.raises(MrtransError, match=r"^The input 'layer' is not there any more; give the file, too: "):
        repeated(report)
    assert repeated(report, scan)[0].digest() == volume.digest()


def test_the_same_checkpoint_in_another_place_will_do(scan: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Installed or not, under whatever file name, whichever of several has the same content and calibration."""
    (tmp_path / "mine").mkdir()
    mine = read_checkpoint(shutil.copy(checkpoint.path, tmp_path / "mine"))
    calibration = Calibration(card=mine.card_digest, spread={"T1->T2": SpreadCorrection(floor=0.01, factor=1.5)})
    write_calibration(mine, calibration, tmp_path / "mine")
    report, _ = made(scan, mine, tmp_path / "A", slices=(3, 4))
    assert repeated(report)[1].path == mine.path  # the installed one has no calibration
    mine.path.unlink()
    with pytest.raises(CheckpointError, match=r"^The calibration of 'tiny-flow' has changed since"):
        repeated(report)
    renamed = checkpoint.path.rename(checkpoint.path.with_name("other.safetensors"))
    write_calibration(read_checkpoint(renamed), calibration, renamed.parent)
    assert repeated(report)[1].path == renamed
    renamed.unlink()
    with pytest.raises(CheckpointError, match=r"^The checkpoint 'tiny-flow' is not installed any more "):
        repeated(report)


def test_another_version_is_said(scan: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    report, _ = made(scan, checkpoint, tmp_path / "A", slices=(3, 4))
    document = json.loads(report.read_text())
    assert document["napari_mrtrans"] == __version__
    report.write_text(json.dumps({**document, "napari_mrtrans": "9.9", "complete": False}))
    said: list[str] = []
    repeated(report, say=said.append)
    assert said == [
        f"'{report.name}' was made by napari-mrtrans 9.9, and this is {__version__}.",
        f"'{report.name}' is of a run that was ended early; this one makes all its slices.",
    ]


def gathered(volume: Volume, checkpoint: Checkpoint, request: Request) -> Gathered:
    found = Gathered(volume.data.shape, volume.axial_axis)
    asked = {"target": request.target, "n": request.n, "steps": request.steps, "slices": request.slices}
    for update in stream(volume, checkpoint, start_slice=request.start_slice, **asked):
        found.add(update)
    return found


@pytest.mark.parametrize("signs", [(1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, -1)])
@pytest.mark.parametrize("slices", [(1, 4), range(1, 6, 2)], ids=["pair", "range"])
def test_slices_are_told_as_the_file_counts_them(
    slices: range | tuple[int, int], signs: tuple[int, ...], scan: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """A window may show a file's axes in another order; its report is of the file."""
    file = Volume.load(scan)
    shown = nib.load(scan).as_reoriented(np.column_stack([[1, 0, 2], signs]))
    turn = nib.orientations.ornt_transform(*map(nib.io_orientation, (shown.affine, file.affine)))
    layer = Volume(np.asarray(shown.dataobj), shown.affine, Contrast.T1, "layer")
    request = Request(Contrast.T2, Contrast.T1, n=2, steps=1, slices=slices, start_slice=2)
    in_window = gathered(layer, checkpoint, request).turned(turn)
    result = in_window.ensemble(file, checkpoint, request, 1.0)
    volume, found, again, _ = repeated(result.save(tmp_path / "A")["json"])
    np.testing.assert_allclose(transform_request(volume, found, again).mean, result.mean, atol=1e-5)


def test_samples_are_repeated_where_they_were_written(scan: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Whoever adds or drops them before saving."""
    _, result = made(scan, checkpoint, tmp_path / "A", slices=(3, 4), keep_samples=True)
    assert repeated(result.save(tmp_path / "B")["json"])[3] is True
    result.samples = None
    assert repeated(result.save(tmp_path / "C")["json"])[3] is False


def test_what_the_bits_depend_on_is_written_down_and_a_difference_is_told(
    scan: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    report, result = made(scan, checkpoint, tmp_path / "A", slices=(3, 5), device="cpu")
    now = result.info["made_on"]
    assert now["torch"] == torch.__version__ and now["threads"] == torch.get_num_threads()
    assert now["number_format"] in ("float32", "bfloat16") and now["processor"] and now["date"].startswith("20")
    assert other_machine(report, result.info) == ""
    info = json.loads(report.read_text())
    other = {**now, "torch": "1.0", "threads": 99, "date": "2020-01-01"}
    report.write_text(json.dumps({**info, "made_on": other}))
    line = f"'{report.name}' was made on torch 1.0, threads: 99, and this is torch {now['torch']}, threads: "
    assert other_machine(report, result.info) == f"{line}{now['threads']}: the last bits may differ."
    gpu = {**now, "threads": None, "processor": "GPU"}
    line = f"'{report.name}' was made on torch 1.0, {now['processor']}, and this is torch {now['torch']}, GPU: "
    assert other_machine(report, {"made_on": gpu}) == f"{line}the last bits may differ."
    del info["made_on"]  # of an earlier version
    report.write_text(json.dumps(info))
    assert other_machine(report, result.info) == ""
