"""``transform --again``: a result repeated from its report. What else ``transform`` does is in ``test_main``."""

# ruff: noqa: F811 (fixtures)

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from cli.test_main import RAI, SHAPE, Run, assert_one_line, installed, load, report, run, scan  # noqa: F401 (fixtures)
from helpers import head, save_nifti, tiny_checkpoint
from napari_mrtrans import transform
from napari_mrtrans.checkpoints.calibration import Calibration
from napari_mrtrans.checkpoints.checkpoint import CALIBRATION_SUFFIX, read_checkpoint, write_calibration
from napari_mrtrans.checkpoints.correction import SpreadCorrection
from napari_mrtrans.scan.masks import read_mask
from napari_mrtrans.scan.volume import Volume

STEM = "sub-01_T1w_T2"
MASK = np.zeros(SHAPE, np.uint8)
MASK[5:13, 7:16, 2:7] = 1
KINDS = ("mean", "std", "std-calibrated", "samples")


@pytest.fixture
def own(tmp_path: Path, run: Run, installed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only installed checkpoint, calibrated, in a folder of this test."""
    folder = tmp_path / "own"
    folder.mkdir()
    path = Path(shutil.copy(installed / "tiny-flow.safetensors", folder))
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(folder))
    calibrate(path, 1.2)
    return path


def calibrate(path: Path, factor: float) -> None:
    checkpoint = read_checkpoint(path)
    spread = {"T1->T2": SpreadCorrection(floor=0.01, factor=factor)}
    write_calibration(checkpoint, Calibration(card=checkpoint.card_digest, spread=spread), path.parent)


@pytest.fixture
def first(tmp_path: Path, run: Run, scan: Path, own: Path) -> Path:
    """The report of a masked range of slices, with samples, made from relative paths."""
    save_nifti(tmp_path / "m.nii.gz", MASK, RAI)
    words = ("transform", scan.name, "--to", "T2", "--model", "tiny-flow", "--seed", 3, "--slices", "3:6", "-n", 3)
    code, _, err = run(*words, "--steps", 3, "--mask", "m.nii.gz", "--save-samples", "-o", "A")
    assert (code, err) == (0, "")
    return tmp_path / "A" / f"{STEM}.json"


def test_a_region_only_and_again(tmp_path: Path, run: Run, scan: Path, own: Path) -> None:
    """Files hold 0 outside, the report says so, and --again finds the region by its file."""
    roi = np.zeros(SHAPE, np.uint8)
    roi[7:12, 9:14, [3, 5]] = 1
    save_nifti(tmp_path / "lesion.nii.gz", roi, RAI)
    words = ("transform", scan.name, "--to", "T2", "--model", "tiny-flow", "-n", 2, "--steps", 3)
    code, _, err = run(*words, "--roi", "lesion.nii.gz", "--roi-only", "--save-samples", "-o", "A")
    assert (code, err) == (0, "")
    info = json.loads((tmp_path / "A" / f"{STEM}.json").read_text())
    assert info["slices"] == [3, 5] and info["complete"] is True
    assert info["roi"]["file"] == str(tmp_path / "lesion.nii.gz")
    assert (info["roi"]["only"], info["roi"]["voxels"]) == (True, 50)
    assert info["roi"]["outside"].startswith("0: not asked for")
    for kind in KINDS:
        voxels = np.asarray(nib.load(tmp_path / "A" / f"{STEM}_{kind}.nii.gz").dataobj)
        assert voxels[roi == 1].any() and not voxels[roi == 0].any()
    assert run("transform", "--again", f"A/{STEM}.json", "-o", "B")[0] == 0
    assert_repeated(tmp_path / "A" / f"{STEM}.json", tmp_path / "B")


def test_what_was_said_of_masks_is_in_the_report_and_said_again(
    tmp_path: Path, run: Run, scan: Path, own: Path
) -> None:
    roi = np.zeros(SHAPE, np.float32)
    roi[7:12, 9:14, 3:5] = 1
    save_nifti(tmp_path / "soft.nii.gz", np.where(MASK, np.float32(0.9), np.float32(0.1)), RAI)
    save_nifti(tmp_path / "region.nii.gz", np.where(roi, roi, np.float32(0.2)), RAI)
    words = ("transform", scan.name, "--to", "T2", "--model", "tiny-flow", "-n", 2, "--steps", 1, "--save-samples")
    words = (*words, "--mask", "soft.nii.gz", "--roi", "region.nii.gz", "-o", "A")
    for _ in range(2):  # the second time it is done already
        code, _, err = run(*words)
        assert code == 0 and err.count("has fractional values") == 2
    told = report(tmp_path / "A")["notices"]
    assert [line.split("'")[1] for line in told if "has fractional values" in line] == ["region.nii.gz", "soft.nii.gz"]
    code, _, err = run("transform", "--again", f"A/{STEM}.json", "-o", "B")
    assert code == 0 and err.count("has fractional values") == 2
    assert report(tmp_path / "B")["notices"] == told


def assert_repeated(first: Path, folder: Path, stem: str = STEM) -> None:
    """The same bits, and the same report but for how long it took."""
    assert {path.name for path in folder.iterdir()} == {p.name.replace(STEM, stem) for p in first.parent.iterdir()}
    for kind in KINDS:
        made, again = (nib.load(f"{at}_{kind}.nii.gz") for at in (first.with_suffix(""), folder / stem))
        assert np.asarray(made.dataobj).any()
        assert np.asarray(again.dataobj).tobytes() == np.asarray(made.dataobj).tobytes()
        assert again.header == made.header
    left_out = {"seconds": 0} if stem == STEM else {"seconds": 0, "input": ""}
    assert {**report(folder, stem), **left_out} == {**report(first.parent), **left_out}


def test_again_gives_the_same_bits(run: Run, first: Path, tmp_path: Path) -> None:
    code, out, err = run("transform", "--again", first, "-o", "B")
    assert (code, err) == (0, "")
    assert_repeated(first, tmp_path / "B")
    assert sorted(Path(line.removeprefix("wrote ")).name for line in out.splitlines() if line.startswith("wrote ")) == (
        sorted(path.name for path in first.parent.iterdir())
    )
    assert run("transform", "--again", f"B/{STEM}.json", "-o", "C")[0] == 0
    assert_repeated(first, tmp_path / "C")


def test_again_from_another_folder(run: Run, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths that were given relative to one folder are found from another."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    code, _, err = run("transform", "--again", first, "-o", tmp_path / "B")
    assert (code, err) == (0, "")
    assert_repeated(first, tmp_path / "B")


def test_again_with_the_input_where_it_is_now(run: Run, first: Path, scan: Path, tmp_path: Path) -> None:
    (tmp_path / "moved").mkdir()
    scan.rename(tmp_path / "moved" / "brain.nii.gz")  # a name that tells no contrast
    code, out, err = run("transform", "--again", first, "-o", "B")
    assert (code, out) == (2, "")
    assert_one_line(err, f"The input '{scan}' is not there any more; give the file, too: IN.nii.gz --again {first}.")
    code, _, err = run("transform", "moved/brain.nii.gz", "--again", first, "-o", "B")
    assert (code, err) == (0, "")
    assert_repeated(first, tmp_path / "B", "brain_T2")


def test_again_of_a_deterministic_model(run: Run, scan: Path, tmp_path: Path) -> None:
    assert run("transform", scan, "--to", "T2", "--model", "direct", "--slices", "3:5", "-o", "A")[0] == 0
    code, out, err = run("transform", "--again", f"A/{STEM}.json", "-o", "B")
    assert (code, err) == (0, "")
    assert "sigma-hat" not in out
    np.testing.assert_array_equal(load(tmp_path / "B", "mean"), load(tmp_path / "A", "mean"))
    assert not (tmp_path / "B" / f"{STEM}_samples.nii.gz").exists()


def test_again_with_a_checkpoint_that_is_not_installed(run: Run, scan: Path, tmp_path: Path) -> None:
    path = tiny_checkpoint(tmp_path / "mine.safetensors").path
    words = ("transform", scan, "--to", "T2", "--model", path.name, "-n", 2, "--slices", "3:5", "-o", "A")
    assert run(*words)[0] == 0
    assert run("transform", "--again", f"A/{STEM}.json", "-o", "B")[0] == 0
    np.testing.assert_array_equal(load(tmp_path / "B", "std"), load(tmp_path / "A", "std"))
    path.unlink()
    code, out, err = run("transform", "--again", f"A/{STEM}.json", "-o", "C")
    assert (code, out) == (2, "")
    assert_one_line(err, "The checkpoint 'mine' is not installed any more (it was sha256 ", "); install that one.")
    assert not (tmp_path / "C").exists()


def edited(path: Path, **changes: Any) -> None:
    """Other values in a report, or in its request (``request__n``)."""
    document = json.loads(path.read_text())
    for name, value in changes.items():
        inside, key = (document["request"], name.removeprefix("request__")) if "__" in name else (document, name)
        inside[key] = value
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"napari_mrtrans": "0.0.9"}, f"'{STEM}.json' was made by napari-mrtrans 0.0.9, and this is "),
        ({"complete": False}, f"'{STEM}.json' is of a run that was ended early; this one makes all its slices."),
    ],
    ids=["version", "incomplete"],
)
def test_again_with_a_remark(changes: dict[str, Any], line: str, run: Run, first: Path, tmp_path: Path) -> None:
    before = first.read_text()
    edited(first, **changes)
    code, _, err = run("transform", "--again", first, "-o", "B")
    assert code == 0
    assert_one_line(err, line)
    first.write_text(before)
    assert_repeated(first, tmp_path / "B")


def test_again_of_another_machine_says_so_where_something_is_computed(run: Run, first: Path) -> None:
    edited(first, made_on={"torch": "1.0"})
    assert_one_line(run("transform", "--again", first, "-o", "B")[2], f"'{first.name}' was made on torch 1.0, and this")
    code, out, err = run("transform", "--again", first, "-o", "B")
    assert (code, err) == (0, "") and "done before, nothing to do" in out


def new_voxels(root: Path) -> None:
    data = head(SHAPE)
    data[10, 12, 4] += 1
    save_nifti(root / "sub-01_T1w.nii.gz", data, RAI)


def new_grid(root: Path) -> None:
    save_nifti(root / "sub-01_T1w.nii.gz", head(SHAPE), RAI + np.eye(4) * [1e-3, 0, 0, 0])


def new_mask(root: Path) -> None:
    mask = MASK.copy()
    mask[5, 7, 2] = 0
    save_nifti(root / "m.nii.gz", mask, RAI)


def retrained(root: Path) -> None:
    tiny_checkpoint(root / "own" / "tiny-flow.safetensors", seed=1, notes=["only a test"])


def replaced(root: Path) -> None:
    tiny_checkpoint(root / "own" / "tiny-flow.safetensors", name="another")


def truncated(root: Path) -> None:
    path = root / "A" / f"{STEM}.json"
    path.write_text(path.read_text()[:-40])


def in_report(**changes: Any) -> Callable[[Path], None]:
    return lambda root: edited(root / "A" / f"{STEM}.json", **changes)


def written(text: str | bytes) -> Callable[[Path], None]:
    blob = text.encode() if isinstance(text, str) else text
    return lambda root: bool((root / "A" / f"{STEM}.json").write_bytes(blob)) and None


NO_REPORT = ".json' is no report of a result that can be repeated."
NO_REQUEST = "The report holds no request that this version can repeat ("

#: What has changed since -> what the line says.
CHANGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "voxels": (new_voxels, "/sub-01_T1w.nii.gz' has changed: its voxels or its grid are not those of '"),
    "affine": (new_grid, "/sub-01_T1w.nii.gz' has changed: its voxels or its grid are not those of '"),
    "input gone": (lambda root: (root / "sub-01_T1w.nii.gz").unlink(), "is not there any more; give the file, too:"),
    "mask": (new_mask, "/m.nii.gz' has changed since this result was made."),
    "mask gone": (lambda root: (root / "m.nii.gz").unlink(), "/m.nii.gz' does not exist."),
    "mask on another grid": (
        lambda root: save_nifti(root / "m.nii.gz", np.ones(SHAPE, np.uint8)),
        "The mask 'm.nii.gz' does not lie on the grid of 'sub-01_T1w': its corners are up to ",
    ),
    "mask of no file": (in_report(request__mask_file=None), "The mask of this result came from no file; it cannot be "),
    "checkpoint retrained": (retrained, "The checkpoint 'tiny-flow' has changed (it was sha256 "),
    "checkpoint replaced": (replaced, "The checkpoint 'tiny-flow' is not installed any more (it was sha256 "),
    "checkpoint gone": (
        lambda root: (root / "own" / "tiny-flow.safetensors").unlink(),
        "The checkpoint 'tiny-flow' is not installed any more (it was sha256 ",
    ),
    "calibration": (
        lambda root: calibrate(root / "own" / "tiny-flow.safetensors", 1.3),
        "The calibration of 'tiny-flow' has changed since this result was made.",
    ),
    "calibration gone": (
        lambda root: (root / "own" / f"tiny-flow{CALIBRATION_SUFFIX}").unlink(),
        "The calibration of 'tiny-flow' has changed since this result was made.",
    ),
    "report gone": (lambda root: (root / "A" / f"{STEM}.json").unlink(), ".json' cannot be read (No such file or "),
    "report truncated": (truncated, NO_REPORT),
    "report empty": (written(""), NO_REPORT),
    "report no text": (written(b"\xff\xfe\x00"), NO_REPORT),
    "report nested": (written("[" * 100_000), NO_REPORT),
    "a list": (written("[1, 2]"), NO_REPORT),
    "a number": (written("3"), NO_REPORT),
    "another's": (written('{"Name": "T1 weighted", "RepetitionTime": 2.3}'), NO_REPORT),
    "of before requests": (in_report(request=None), NO_REPORT),
    "request a list": (in_report(request=[1]), NO_REPORT),
    "request empty": (in_report(request={}), NO_REPORT),
    "input a number": (in_report(input=3), NO_REPORT),
    "digest a number": (in_report(sha256=12), NO_REPORT),
    "samples in words": (in_report(samples_kept="yes"), NO_REPORT),
    "no source": (in_report(request__source=None), NO_REPORT),
    "a later request": (in_report(request__colour="red"), NO_REQUEST + "unknown: colour)."),
    "n in words": (in_report(request__n="many"), NO_REQUEST + "n='many' is no whole number)."),
    "n 0": (in_report(request__n=0), NO_REQUEST + "Samples and steps must be at least 1, and the seed at least 0)."),
    "slices of one": (in_report(request__slices=[3]), NO_REQUEST + "slices=[3] is no range; "),
    "slices in words": (in_report(request__slices={"start": "a"}), NO_REQUEST),
    "device a number": (in_report(request__device=0), NO_REQUEST + "device=0 is no name)."),
    "batch a list": (in_report(request__batch=[1]), NO_REQUEST + "Batch '[1]' is neither "),
    "mask file a number": (in_report(request__mask_file=7), NO_REQUEST + "mask_file=7 is no path)."),
    "mask a number": (in_report(request__mask=7), "/m.nii.gz' has changed since this result was made."),
    "target unknown": (in_report(request__target="CT"), NO_REQUEST + "Unknown contrast 'CT'."),
    "target the source": (in_report(request__target="T1"), "'sub-01_T1w' is T1 already; choose another target."),
    "sampler unknown": (in_report(request__sampler="magic"), "Unknown sampler 'magic'; choose one of "),
    "slices beyond": (in_report(request__slices=[3, 99]), "Slices 3:99 are not within 0:8."),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, installed: Path) -> Path:
    """Scan, mask, calibrated checkpoint, and what was made of them."""
    root = tmp_path_factory.mktemp("made")
    (root / "own").mkdir()
    calibrate(Path(shutil.copy(installed / "tiny-flow.safetensors", root / "own")), 1.2)
    scan = Volume.load(save_nifti(root / "sub-01_T1w.nii.gz", head(SHAPE), RAI))
    mask = save_nifti(root / "m.nii.gz", MASK, RAI)
    checkpoint = read_checkpoint(root / "own" / "tiny-flow.safetensors")
    asked = {"n": 2, "steps": 1, "slices": (3, 5), "mask": read_mask(mask, scan), "mask_file": mask}
    transform(scan, checkpoint, target="T2", **asked).save(root / "A")
    return root


@pytest.mark.parametrize("kind", ["nothing", *CHANGED])
def test_what_has_changed_is_one_line_and_leaves_nothing(
    kind: str, run: Run, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    first = tmp_path / "A" / f"{STEM}.json"
    first.write_text(first.read_text().replace(str(made), str(tmp_path)))
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(tmp_path / "own"))
    if kind == "nothing":
        assert run("transform", "--again", first, "-o", "B")[0] == 0
        return
    change, expected = CHANGED[kind]
    change(tmp_path)
    code, out, err = run("transform", "--again", first, "-o", "B")
    assert (code, out) == (2, "")
    assert_one_line(err, expected)
    assert not (tmp_path / "B").exists()


def test_again_with_another_brain_says_so(run: Run, first: Path, tmp_path: Path) -> None:
    """Found by a tool that was not there then."""
    assert "Another brain" not in "".join(run("transform", "--again", first, "-o", "same")[1:])
    document = json.loads(first.read_text())
    first.write_text(json.dumps(document | {"key": document["key"][:64] + "-" + "0" * 16}))
    said = "".join(run("transform", "--again", first, "-o", "other")[1:])
    line = f"Another brain was found than that of '{first.name}', so this is not the same result"
    assert line in " ".join(said.split())
    (record,) = (tmp_path / "other").glob("*.json")
    assert any(note.startswith(line) for note in json.loads(record.read_text())["notices"])


def test_again_of_a_folder(run: Run, tmp_path: Path) -> None:
    code, out, err = run("transform", "--again", tmp_path, "-o", "B")
    assert (code, out) == (2, "")
    assert_one_line(err, f"'{tmp_path}' cannot be read (Is a directory).")


def test_another_scan_in_its_place(run: Run, first: Path, tmp_path: Path) -> None:
    save_nifti(tmp_path / "sub-02_T1w.nii.gz", head(SHAPE, seed=1), RAI)
    code, _, err = run("transform", "sub-02_T1w.nii.gz", "--again", first, "-o", "B")
    assert code == 2
    assert_one_line(err, "The input 'sub-02_T1w.nii.gz' has changed: its voxels or its grid are not those of '")
    code, _, err = run("transform", "gone.nii.gz", "--again", first, "-o", "B")
    assert code == 2
    assert_one_line(err, "'gone.nii.gz' does not exist.")
    assert not (tmp_path / "B").exists()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--to", "T2"), "--to"),
        (("--from", "T1"), "--from"),
        (("-n", 3), "-n"),
        (("--seed", 3), "--seed"),
        (("--steps", 2), "--steps"),
        (("--sampler", "heun"), "--sampler"),
        (("--slices", "3:5"), "--slices"),
        (("--mask", "m.nii.gz"), "--mask"),
        (("--model", "tiny-flow"), "--model"),
        (("--repair",), "--repair"),
        (("--no-repair",), "--no-repair"),
        (("--no-prepare",), "--no-prepare"),
        (("--save-samples",), "--save-samples"),
        (("--device", "auto"), "--device"),
        (("--batch", "auto"), "--batch"),
        (("--batch", 2, "--to", "T2", "-n", 3), "--to, -n, --batch"),
    ],
)
def test_again_goes_with_no_other_option(
    words: tuple[object, ...], named: str, run: Run, scan: Path, tmp_path: Path
) -> None:
    for image in ((), (scan,)):
        code, out, err = run("transform", *image, *words, "--again", "A.json", "-o", "B")
        assert (code, out) == (2, "")
        assert_one_line(err, f"--again repeats a result as it was made; leave out {named}.")
    assert not (tmp_path / "B").exists()


def test_without_again_volume_and_target_are_needed(run: Run, scan: Path, tmp_path: Path) -> None:
    for words in ((), (scan,), ("--to", "T2")):
        code, out, err = run("transform", *words, "-o", "B")
        assert (code, out) == (2, "")
        assert_one_line(err, "Give a volume and its target: napari-mrtrans transform IN.nii.gz --to T2 -o OUT.")
    assert not (tmp_path / "B").exists()
