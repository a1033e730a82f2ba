"""What ``transform`` leaves on disk: names, marks, what was finished when it ended early; and its closing block."""

# ruff: noqa: F811 (fixtures)

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from cli.test_main import RAI, SHAPE, Run, assert_one_line, installed, load, report, run, scan  # noqa: F401 (fixtures)
from helpers import head, save_nifti, tiny_checkpoint
from napari_mrtrans.cli.closing import close, judged
from napari_mrtrans.cli.main import run_app
from napari_mrtrans.transformation.engine import Engine

STEM = "sub-01_T1w_T2"
WORDS = ("--to", "T2", "--model", "tiny-flow", "-n", 2, "--steps", 3)
#: Along the file's axial axis.
WITH_HEAD = [int(k) for k in np.flatnonzero(head(SHAPE).any(axis=(0, 1)))]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Array indices of the slices that a network computed."""
    return watch(monkeypatch, lambda index: None)


def watch(monkeypatch: pytest.MonkeyPatch, before: Callable[[int], None]) -> list[int]:
    done: list[int] = []
    real = Engine.transform

    def transform(self: Engine, group: list[int], size: int) -> Any:
        for index in group:
            number = self.job.orientation.slice_index(index, len(self.job.mask))
            before(number)
            done.append(number)
        return real(self, group, size)

    monkeypatch.setattr(Engine, "transform", transform)
    return done


def hidden(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("whole", [True, False])
def test_a_head_that_was_taken_whole_is_not_called_stripped(whole: bool, run: Run, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(1, 20, SHAPE).astype(np.float32)
    save_nifti(tmp_path / "sub-01_T1w.nii.gz", head(SHAPE) + noise if whole else head(SHAPE), RAI)
    words = ("sub-01_T1w.nii.gz", *WORDS, "--slices", "3:5", "--no-prepare", "--bids", "-o", "out")
    assert run("transform", *words)[0] == 0
    assert report(tmp_path / "out", "sub-01_desc-synthetic_T2w")["SkullStripped"] is not whole


def test_two_inputs_of_one_name_do_not_replace_one_another(run: Run, tmp_path: Path) -> None:
    for name, data in (("s1", head(SHAPE)), ("s2", head(SHAPE, seed=1))):
        save_nifti(tmp_path / name / "T1.nii.gz", data, RAI)
    words = (*WORDS, "--slices", "3:5", "-o", "out")
    assert run("transform", "s1/T1.nii.gz", *words)[0] == 0
    first = load(tmp_path / "out", "mean", "T1_T2")
    code, out, err = run("transform", "s2/T1.nii.gz", *words)
    assert (code, out) == (2, "")
    assert_one_line(
        err, "is the result of another input of that name (", "s1/T1.nii.gz); choose another folder, or --over"
    )
    np.testing.assert_array_equal(load(tmp_path / "out", "mean", "T1_T2"), first)
    assert run("transform", "s1/T1.nii.gz", *words, "--seed", 3)[0] == 0  # the same input may
    assert run("transform", "s2/T1.nii.gz", *words, "--overwrite")[0] == 0
    assert report(tmp_path / "out", "T1_T2")["input"].endswith("s2/T1.nii.gz")


def test_results_say_that_they_are_synthetic(run: Run, scan: Path, tmp_path: Path) -> None:
    assert run("transform", scan, *WORDS, "--slices", "3:5", "--save-samples", "--bids", "-o", "out")[0] == 0
    start = "sub-01_desc-synthetic"
    expected = {
        f"{start}_T2w.nii.gz": b"synthetic T2 from T1, tiny-flow, n=2",
        f"{start}Std_T2w.nii.gz": b"synthetic T2 std from T1, tiny-flow, n=2",
        f"{start}Samples_T2w.nii.gz": b"synthetic T2 samples from T1, tiny-flow, n=2",
    }
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*expected, f"{start}_T2w.json"}
    for name, descrip in expected.items():
        assert nib.load(tmp_path / "out" / name).header["descrip"].item() == descrip


def test_what_is_done_is_not_done_again(run: Run, scan: Path, computed: list[int], tmp_path: Path) -> None:
    words = ("transform", scan, *WORDS, "-o", "out")
    assert run(*words)[0] == 0
    assert sorted(computed) == WITH_HEAD and not hidden(tmp_path / "out")
    computed.clear()
    code, out, err = run(*words)
    assert (code, err, computed) == (0, "", [])
    assert out.startswith(
        f"T1→T2 of '{scan.name}' by tiny-flow: {len(WITH_HEAD)} slices, 2 samples: done before, nothing"
    )
    assert run(*words, "--overwrite")[0] == 0
    assert sorted(computed) == WITH_HEAD
    computed.clear()
    (tmp_path / "out" / f"{STEM}_std.nii.gz").unlink()
    assert run(*words)[0] == 0
    assert sorted(computed) == WITH_HEAD


def test_samples_that_were_kept_stay(run: Run, scan: Path, computed: list[int], tmp_path: Path) -> None:
    """Asked again without them, nothing is to do; asked with them, they are made."""
    words = ("transform", scan, *WORDS, "-o", "out")
    samples = tmp_path / "out" / f"{STEM}_samples.nii.gz"
    assert run(*words)[0] == 0
    assert run(*words, "--save-samples")[0] == 0
    assert len(computed) == 2 * len(WITH_HEAD) and samples.is_file()
    computed.clear()
    assert "done before, nothing to do" in run(*words)[1]
    assert not computed and samples.is_file()


def test_a_name_that_is_no_utf_8(run: Run, tmp_path: Path) -> None:
    """As of archives that are older."""
    name = os.fsdecode(b"sub-M\xfcller_T1w.nii.gz")
    try:
        save_nifti(tmp_path / name, head(SHAPE), RAI)
    except OSError:
        pytest.skip("this file system takes no such name")
    assert run("transform", name, *WORDS, "-o", "out")[0] == 0
    assert len(list((tmp_path / "out").glob("*_mean.nii.gz"))) == 1


@pytest.mark.parametrize("keep", [True, False])
def test_a_run_that_was_interrupted_goes_on_where_it_was(
    keep: bool, run: Run, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("transform", scan, *WORDS, *(("--save-samples",) if keep else ()))
    assert run(*words, "-o", "whole")[0] == 0

    def interrupt(index: int) -> None:
        if len(done) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        done = watch(patch, interrupt)
        assert run(*words, "-o", "out")[0] == 130
    (folder,) = (tmp_path / "out").iterdir()
    assert len([*folder.glob("slice-*.npz")]) == 2
    (folder / f"slice-{done[0]:05}.npz").write_bytes(b"damaged")
    with monkeypatch.context() as patch:
        rest = watch(patch, lambda index: None)
        assert run(*words, "-o", "out")[0] == 0
    assert sorted(rest) == sorted({*WITH_HEAD} - {done[1]})
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        path.name for path in (tmp_path / "whole").iterdir()
    }
    for kind in ("mean", "std", *(("samples",) if keep else ())):
        assert load(tmp_path / "out", kind).tobytes() == load(tmp_path / "whole", kind).tobytes()
    whole, resumed = report(tmp_path / "whole"), report(tmp_path / "out")
    assert {**resumed, "seconds": 0} == {**whole, "seconds": 0}


def test_slices_of_other_settings_are_not_taken(
    run: Run, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(index: int) -> None:
        if len(done) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        done = watch(patch, interrupt)
        assert run("transform", scan, *WORDS, "-o", "out")[0] == 130
    with monkeypatch.context() as patch:
        rest = watch(patch, lambda index: None)
        assert run("transform", scan, *WORDS, "--seed", 4, "-o", "out")[0] == 0
    assert sorted(rest) == WITH_HEAD and not hidden(tmp_path / "out")


def test_a_slice_that_fails_keeps_the_others(
    run: Run, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(index: int) -> None:
        if index == 3:
            raise IndexError("too small")

    with monkeypatch.context() as patch:
        watch(patch, fail)
        code, _, err = run("transform", scan, *WORDS, "-o", "out")
    line = f"1 of {len(WITH_HEAD)} slices failed, the others were kept. IndexError: too small"
    assert code == 2 and set(err.splitlines()) == {line}
    found = report(tmp_path / "out")
    assert (found["complete"], found["notices"]) == (False, [line])
    assert found["slices"] == [k for k in WITH_HEAD if k != 3]
    assert np.flatnonzero(load(tmp_path / "out", "mean").any(axis=(0, 1))).tolist() == found["slices"]
    with monkeypatch.context() as patch:
        rest = watch(patch, lambda index: None)
        assert run("transform", scan, *WORDS, "-o", "out")[0] == 0
    assert rest == [3] and report(tmp_path / "out")["complete"]


def test_numbers_that_are_no_image_are_never_shown(run: Run, scan: Path, tmp_path: Path) -> None:
    import torch

    from napari_mrtrans.checkpoints.checkpoint import Checkpoint

    good = tiny_checkpoint(tmp_path / "bad.safetensors")
    build = Checkpoint.build
    for value in (float("nan"), float("inf")):

        def broken(self: Checkpoint, device: Any = "cpu", value: float = value) -> Any:
            model = build(self, device)
            sample = model.sample

            def spoiled(source: Any, *rest: Any) -> Any:
                out = sample(source, *rest)
                out[0, 1, 2, 2] = torch.tensor(value)
                return out

            model.sample = spoiled
            return model

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Checkpoint, "build", broken)
            code, out, err = run("transform", scan, *WORDS[:2], "--model", good.path, "-n", 2, "-o", "out")
        assert (code, out) == (2, "")
        middle = len(WITH_HEAD) // 2
        assert_one_line(
            err, f"'bad' gave NaN or infinity for slice {WITH_HEAD[::-1][middle]}, sample 2: the file is damaged"
        )
        assert not (tmp_path / "out").exists()


def test_the_closing_block(capfd: pytest.CaptureFixture[str]) -> None:
    close("done", [Path("a.nii")], ["once", "twice", "once"], "last")
    assert capfd.readouterr() == ("done\nwrote a.nii\nlast\n", "once\ntwice\n")
    info = {"sigma_hat": 0.03125, "ood_probability": 0.912, "verdict": "out of distribution", "ood_reason": "it is odd"}
    assert judged(info) == "sigma-hat 0.0312  P(OOD) 0.91  out of distribution: it is odd"
    assert judged({**info, "sigma_hat": None, "ood_probability": None, "verdict": "not calibrated"}) == "not calibrated"


def test_a_notice_is_told_once_and_a_mask_s_border_is_told(run: Run, scan: Path, tmp_path: Path) -> None:
    soft = np.where(head(SHAPE) > 0, 1.0, 0.0)
    soft[5, 5, 3], soft[0] = 0.5, 1e-3
    save_nifti(tmp_path / "m.nii.gz", soft.astype(np.float32), RAI)
    code, out, err = run("transform", scan, *WORDS, "--slices", "3:5", "--mask", "m.nii.gz", "-o", "out")
    assert code == 0
    assert_one_line(err, "'m.nii.gz' has fractional values: voxels above half of its maximum (0.5) are inside, ")
    assert out.splitlines()[0].startswith("T1→T2 of 'sub-01_T1w.nii.gz' by tiny-flow: 2 slices, 2 samples, ")
    assert out.splitlines()[-1].startswith("sigma-hat 0.") and out.splitlines()[-1].endswith("not calibrated")


def test_a_background_below_0_is_shifted_and_it_is_said(run: Run, tmp_path: Path) -> None:
    save_nifti(tmp_path / "a_T1w.nii.gz", head(SHAPE), RAI)
    save_nifti(tmp_path / "b_T1w.nii.gz", np.round(head(SHAPE)).astype(np.float32) - 1024, RAI)
    for name in "ab":
        code, _, err = run("transform", f"{name}_T1w.nii.gz", *WORDS, "--slices", "3:5", "-o", "out")
        assert (code, err) == (0, "" if name == "a" else "'b_T1w' has its background at -1024; that was taken for 0.\n")
    np.testing.assert_allclose(
        load(tmp_path / "out", "mean", "b_T1w_T2"), load(tmp_path / "out", "mean", "a_T1w_T2"), atol=0.02
    )


def test_a_terminal_that_knows_few_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    app = typer.Typer()

    @app.command()
    def tell() -> None:
        typer.echo("σ̂ 0.1 → é")

    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp1252"))
    monkeypatch.setattr(sys, "argv", ["tell"])
    with pytest.raises(SystemExit) as ended:
        run_app(app, "tell")
    sys.stdout.flush()
    assert ended.value.code == 0
    assert raw.getvalue().split() == ["?? 0.1 ? é".encode("cp1252").split()[i] for i in range(4)]
