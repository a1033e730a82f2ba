"""Brain masks of synthetic heads, bias fields that were planted, and programs that are not there."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from napari_mrtrans.prepare import tools, whole_head
from napari_mrtrans.prepare.bias import log_bias, remove_bias
from napari_mrtrans.prepare.brain import BrainError, brain_mask, refine
from napari_mrtrans.prepare.whole_head import brain_of, fit_for_models
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.scan.intensity import clean
from napari_mrtrans.scan.volume import Volume
from prepare.heads import dice, head, motion


@pytest.mark.parametrize("contrast", [Contrast.T1, Contrast.T2])
def test_the_brain_of_a_turned_and_stretched_head(contrast: Contrast) -> None:
    stretch = motion((12, 5, -8), (15, -20, 30)) @ np.diag([0.95, 1.08, 1.02, 1.0])
    volume, brain = head(contrast, stretch)
    found = brain_mask(volume)
    with_fluid = ndimage.binary_dilation(brain)  # masks take in the fluid around the brain, here 2.5 mm
    assert dice(found, with_fluid) > 0.93
    assert ndimage.label(found)[1] == 1


def test_a_ball_is_no_brain() -> None:
    """Though it is as large as one."""
    volume, _ = head()
    shape = volume.data.shape
    radius = np.linalg.norm(np.indices(shape) - np.reshape(shape, (3, 1, 1, 1)) / 2, axis=0) * 3.0
    ball = np.where(radius < 75, 600, 0) + np.random.default_rng(0).rayleigh(20, shape)
    with pytest.raises(BrainError, match=r"No brain found in 'phantom': .*--mask"):
        brain_mask(Volume(ball.astype(np.float32), volume.affine, Contrast.T1, "phantom"))


def test_refinement_moves_the_border_to_the_edge() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(60) * 2.0 - 59] * 3, indexing="ij"))
    radius = np.sqrt((grid**2).sum(axis=0))
    data = np.where(radius < 44, 0.6, 0.05) + np.random.default_rng(0).normal(0, 0.02, radius.shape)
    for start in (39.0, 43.0):
        level = refine(data.astype(np.float32), radius < start)
        assert dice(level > 0, radius < 44) > max(0.97, dice(radius < start, radius < 44) - 0.02)


def test_a_planted_bias_field_goes() -> None:
    volume, brain = head()
    i, j, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in volume.data.shape], indexing="ij")
    planted = np.exp(0.4 * i + 0.3 * j * j)
    biased = Volume(volume.data * planted, volume.affine, Contrast.T1)
    corrected = remove_bias(biased, log_bias(biased, brain))

    def spread(data: np.ndarray) -> float:
        """Of the field that is left."""
        return float(np.log(data[brain] / volume.data[brain]).std())

    assert spread(corrected) < 0.4 * spread(biased.data)
    assert corrected[brain].mean() == pytest.approx(biased.data[brain].mean(), rel=0.05)


def _program(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_an_installed_program_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume, brain = head()
    nib.Nifti1Image(brain.astype(np.uint8), volume.affine).to_filename(tmp_path / "mask.nii.gz")
    script = 'echo "$@" > "$(dirname "$0")/said"; cp "$(dirname "$0")/mask.nii.gz" "$6"'
    _program(tmp_path, "mri_synthstrip", script, monkeypatch)
    assert tools.choose_tool("auto", Contrast.FLAIR) == "synthstrip"
    np.testing.assert_array_equal(tools.extract(volume, "synthstrip"), brain)
    assert (tmp_path / "said").read_text().startswith("-i ")


def test_programs_that_fail_or_are_missing_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, "hd-bet", "echo 'No route to host' >&2; exit 1", monkeypatch)
    with pytest.raises(BrainError, match=r"'hd-bet' failed \(No route to host\). Use --brain built-in, or --mask."):
        tools.extract(head()[0], "hd-bet")
    _program(tmp_path, "hd-bet", r"printf 'pas trouv\351\n' >&2; exit 1", monkeypatch)  # Latin-1
    with pytest.raises(BrainError, match=r"'hd-bet' failed \(pas trouv.\)"):
        tools.extract(head()[0], "hd-bet")
    (tmp_path / "hd-bet").write_text("#!/nowhere/python\n")  # of an environment that is gone
    with pytest.raises(tools.ToolFailed, match=r"'hd-bet' could not be started \(No such file or directory\). Use"):
        tools.extract(head()[0], "hd-bet")
    with pytest.raises(BrainError, match="'mri_synthstrip' is not installed"):
        tools.choose_tool("synthstrip", Contrast.T1)
    with pytest.raises(BrainError, match="Unknown brain extraction 'bet'"):
        tools.choose_tool("bet", Contrast.T1)


def test_a_program_for_t1_is_not_used_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, "deepbet-cli", "exit 1", monkeypatch)
    assert tools.choose_tool("auto", Contrast.T1) == "deepbet"
    assert tools.choose_tool("auto", Contrast.T2) == tools.BUILT_IN


def test_prepared_volumes_keep_units_and_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume, brain = head(motion=motion((10, 20, 5)))
    calls = []
    monkeypatch.setattr(whole_head, "extract", lambda *_: calls.append(1) or brain)
    monkeypatch.setattr(whole_head, "prepared_cache_dir", lambda: tmp_path)
    first = fit_for_models(volume, None, True, print)
    whole_head._recent.clear()  # as in the next process
    second = fit_for_models(volume, None, True, print)
    assert len(calls) == 1
    np.testing.assert_array_equal(first.data, second.data)
    np.testing.assert_array_equal(second.head, brain)
    assert not first.data[~brain].any()
    assert np.median(first.data[brain]) == pytest.approx(np.median(volume.data[brain]), rel=0.1)
    changed = Volume(volume.data + 1, volume.affine, Contrast.T1)
    fit_for_models(changed, None, True, print)
    assert len(calls) == 2


def test_a_given_mask_and_a_stripped_volume_need_no_extraction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume, brain = head()
    monkeypatch.setattr(whole_head, "extract", lambda *_: pytest.fail("extracted"))
    monkeypatch.setattr(whole_head, "prepared_cache_dir", lambda: tmp_path)
    assert brain_of(volume, mask=brain)[1] == whole_head.GIVEN
    stripped = Volume(np.where(brain, volume.data, 0), volume.affine, Contrast.T1)
    found, method = brain_of(stripped)
    assert method == whole_head.STRIPPED
    assert dice(found, brain) > 0.99
    assert not [*tmp_path.iterdir()]  # nothing was computed that could be kept


def test_where_a_program_fails_the_next_finds_the_brain_and_nothing_is_remembered_where_all_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, brain = head(motion=motion((5, 10, 0)))
    monkeypatch.setattr(whole_head, "prepared_cache_dir", lambda: tmp_path / "cache")
    _program(tmp_path, "hd-bet", "echo 'No route to host' >&2; exit 1", monkeypatch)
    _program(tmp_path, "mri_synthstrip", "exit 0", monkeypatch)  # and writes nothing
    tried: list[str] = []

    def built_in(_: Volume) -> np.ndarray:
        tried.append("built-in")
        if len(tried) == 1:
            raise BrainError("No plausible brain.")
        return brain

    monkeypatch.setattr(tools, "brain_mask", built_in)
    said: list[str] = []
    first = fit_for_models(volume, None, None, said.append)
    assert not first.known and said[-1] == whole_head.WHOLE_HEAD.format(volume.name)
    assert said[1] == "'hd-bet' failed (No route to host); the brain was looked for by 'synthstrip' instead."
    assert said[2].startswith("'mri_synthstrip' gave no mask that can be used (")
    second = fit_for_models(volume, None, None, said.append)
    assert second.known and len(tried) == 2
    said.clear()
    assert brain_of(volume, say=said.append)[1] == tools.BUILT_IN
    assert said[0] == "'hd-bet' failed (No route to host); the brain was looked for by 'synthstrip' instead."
    assert said[1].startswith("'mri_synthstrip' gave no mask that can be used (") and len(said) == 2
    np.testing.assert_array_equal(second.head, brain)


def test_what_is_prepared_for_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume, brain = head()
    monkeypatch.setattr(whole_head, "prepared_cache_dir", lambda: tmp_path)
    monkeypatch.setattr(whole_head, "extract", lambda *_: brain)
    said: list[str] = []
    made = fit_for_models(volume, None, None, said.append)
    assert "looks like a whole head" in said[0]
    np.testing.assert_array_equal(made.head, brain)
    assert not made.data[~brain].any()
    told = list(said)
    monkeypatch.setattr(whole_head, "extract", lambda *_: pytest.fail("not remembered"))
    assert fit_for_models(volume, None, None, said.append).data is made.data
    assert said == told * 2
    said.clear()
    np.testing.assert_array_equal(fit_for_models(volume, None, False, said.append).data, clean(volume.data))
    assert said == [whole_head.WHOLE_HEAD.format(volume.name)]
    said.clear()
    given = fit_for_models(volume, brain, None, said.append)
    np.testing.assert_array_equal(given.data, clean(volume.data))
    np.testing.assert_array_equal(given.head, brain)
    stripped = Volume(made.data, volume.affine, Contrast.T1)
    np.testing.assert_array_equal(fit_for_models(stripped, None, None, said.append).data, made.data)
    assert not said

    def fail(*_: object) -> None:
        raise BrainError("no brain")

    monkeypatch.setattr(whole_head, "extract", fail)
    other = Volume(volume.data + 1, volume.affine, Contrast.T1, "other")
    np.testing.assert_array_equal(fit_for_models(other, None, None, said.append).data, clean(other.data))
    assert said[-2:] == ["no brain", whole_head.WHOLE_HEAD.format("other")]
    with pytest.raises(BrainError):
        fit_for_models(other, None, True, said.append)


def test_a_program_is_given_millimetres_and_no_nan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume, brain = head()
    data = volume.data.copy()
    data[0, 0, :3] = np.nan
    header = nib.Nifti1Image(data, volume.affine).header
    header.set_xyzt_units("micron")
    volume = Volume(data, volume.affine, volume.contrast, header=header, unit_mm=1e-3)
    nib.Nifti1Image(brain.astype(np.uint8), volume.affine).to_filename(tmp_path / "mask.nii.gz")
    script = 'cp "$2" "$(dirname "$0")/given.nii.gz"; cp "$(dirname "$0")/mask.nii.gz" "$6"'
    _program(tmp_path, "mri_synthstrip", script, monkeypatch)
    np.testing.assert_array_equal(tools.extract(volume, "synthstrip"), brain)
    given = nib.load(tmp_path / "given.nii.gz")
    np.testing.assert_allclose(given.affine, volume.affine)
    assert given.header.get_xyzt_units()[0] == "mm" and np.isfinite(given.get_fdata()).all()
