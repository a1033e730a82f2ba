"""The page of one result: what it shows, what it keeps to itself, and commands that work."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import RAS, head, save_nifti, tiny_checkpoint
from napari_mrtrans import MrtransError, Volume, lesion_report, transform
from napari_mrtrans.checkpoints.checkpoint import Checkpoint
from napari_mrtrans.cli.main import app
from napari_mrtrans.transformation.acquired import Acquired
from napari_mrtrans.transformation.commands import command_line, python_call
from napari_mrtrans.transformation.ensemble import Ensemble
from napari_mrtrans.transformation.page import Beside, result_page, without_folders
from napari_mrtrans.transformation.saved import saved_result

SHAPE = (24, 28, 14)


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return tiny_checkpoint(tmp_path_factory.mktemp("flow") / "tiny-flow.safetensors")


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_nifti(tmp_path_factory.mktemp("Doe^John") / "sub-01_T1w.nii.gz", head(SHAPE), RAS)


@pytest.fixture(scope="module")
def result(scan: Path, flow: Checkpoint) -> Ensemble:
    return transform(Volume.load(scan), flow, target="T2", n=2, steps=1, slices=(4, 9))


def text_of(page: str) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))


def test_what_was_made_by_what_and_how_sure(result: Ensemble, scan: Path, flow: Checkpoint) -> None:
    page = result_page(result, Beside(numbers=(13, 0)))
    text = text_of(page)
    assert "<h1>sub-01_T1w.nii.gz → T2</h1>" in page
    assert "Research use only. Not for diagnosis." in text
    assert f"σ̂ = {result.sigma_hat:.4f}: the 2 samples" in text
    made = result.info["made_on"]
    machine = f"{made['number_format']}, torch {made['torch']}, {made['date']}"
    for fact in (flow.sha256, "flow", "dpm++2m, 1 steps", "5 slices", "napari-mrtrans 0.1.0", machine):
        assert fact in text, fact
    earlier = {name: value for name, value in result.info.items() if name != "made_on"}
    assert " computed on cpu " in text_of(result_page(replace(result, info={**earlier, "device": "cpu"})))
    assert "numbers of napari's slider" in text
    assert len(re.findall(r'<img src="data:image/(png|svg\+xml);base64,', page)) == 2
    # Nothing is fetched from elsewhere, and no folder is told.
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    told = re.sub(r"base64,[^\"]*", "", page)  # of a picture's letters any three may be a name
    assert str(scan.parent) not in told and "Doe" not in told


def test_the_acquired_image_and_lesions_where_they_were_measured(result: Ensemble) -> None:
    assert "SSIM" not in result_page(result)
    truth = np.clip(result.mean + 0.1, 0, 1).astype(np.float32)
    inside = result.volume.data > 0
    roi = np.zeros(SHAPE, bool)
    roi[8:14, 9:15, 5:8] = True
    measured = lesion_report(result.mean, truth, roi)
    text = text_of(result_page(result, Beside(acquired=Acquired("sub-01_T2w", truth, inside), lesions=measured)))
    assert "Against the acquired T2" in text
    psnr = re.search(r"sub-01_T2w [\d.]+ ([\d.]+) 5 ", text)
    assert psnr is not None and float(psnr[1]) == pytest.approx(20, abs=0.05)
    assert f"all 108 {measured.r:.3f}" in text


def test_the_command_and_the_call_give_the_same_again(
    result: Ensemble, scan: Path, flow: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(flow.path.parent))
    monkeypatch.chdir(scan.parent)
    line = command_line(result.info)
    assert line == (
        "napari-mrtrans transform sub-01_T1w.nii.gz --to T2 --from T1 --model tiny-flow -n 2 --seed 0 "
        "--sampler dpm++2m --steps 1 --slices 4:9 -o out"
    )
    app(shlex.split(line.replace(" -o out", f" -o {tmp_path}"))[1:], standalone_mode=False)
    again, found = saved_result(tmp_path / "sub-01_T1w_T2.json")
    assert found
    np.testing.assert_array_equal(again.mean, result.mean)
    names: dict[str, Any] = {}
    exec(python_call(result.info).replace('"out"', repr(str(tmp_path / "python"))), names)
    np.testing.assert_array_equal(names["result"].mean, result.mean)


def test_a_region_and_slices_by_steps_are_told(result: Ensemble) -> None:
    asked = {**result.info["request"], "slices": {"start": 2, "stop": 9, "step": 3}, "mask": "1", "roi": "2"}
    info = {**result.info, "request": {**asked, "roi_only": True, "mask_file": "/home/doe/m.nii.gz"}}
    line = command_line(info, samples=True)
    assert line.startswith("# Slices 2 to 8 by 3: in Python, below.\n# Save the ROI layer as ROI.nii.gz first")
    assert "--mask m.nii.gz --roi ROI.nii.gz --roi-only" in line and "--save-samples" in line
    call = python_call(info)
    assert "slices=range(2, 9, 3)" in call and "mask=mask, roi=roi, roi_only=True" in call
    compile(call, "call", "exec")


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("'/home/doe/scans/m.nii.gz' was resampled.", "'m.nii.gz' was resampled."),
        (r"Cannot write to 'C:\Users\Doe\out\a.nii' (no permission).", "Cannot write to 'a.nii' (no permission)."),
        ("T1/T2 and 1/2 are no folders; 30 mm/voxel.", "T1/T2 and 1/2 are no folders; 30 mm/voxel."),
        ("Brain of ~/scans/John Doe/a.nii found", "Brain of a.nii found"),
    ],
)
def test_lines_lose_their_folders(line: str, wanted: str) -> None:
    assert without_folders(line) == wanted


def test_a_saved_result_without_its_input_or_its_mean(result: Ensemble, tmp_path: Path) -> None:
    files = result.save(tmp_path)
    record = files["json"]
    record.write_text(record.read_text().replace("sub-01_T1w.nii.gz", "moved.nii.gz"))
    again, found = saved_result(record)
    assert not found
    assert "was not found, or has changed, and is not shown" in text_of(result_page(again, Beside(source=False)))
    moved = save_nifti(tmp_path / "moved.nii.gz", head(SHAPE)[::-1], RAS)  # another head of the same size
    record.write_text(json.dumps(json.loads(record.read_text()) | {"input": str(moved)}))
    assert not saved_result(record)[1]
    with pytest.raises(MrtransError, match=r"'moved.nii.gz' is not the one that 'sub-01_T1w_T2.json' was made of"):
        saved_result(record, moved)
    files["mean"].unlink()
    with pytest.raises(MrtransError, match="is not beside it"):
        saved_result(record)
    with pytest.raises(MrtransError, match="is no report of a result"):
        saved_result(files["std"])


@pytest.mark.parametrize(
    ("given", "named", "reader"),
    [
        ("/data/study_2024.01.05", "study_2024.01.05", "read_scan"),
        ("/data/1.3.12.2.1107", "1.3.12.2.1107", "read_scan"),
        ("/data/X_T1.NII.GZ", "X_T1.NII.GZ", "Volume.load"),
        ("Layer of T1", "Layer of T1.nii.gz", "Volume.load"),
    ],
)
def test_the_input_is_named_as_it_is(result: Ensemble, given: str, named: str, reader: str) -> None:
    info = {**result.info, "input": given}
    assert shlex.split(command_line(info))[2] == named
    assert f"volume = {reader}({named!r}, " in python_call(info)
