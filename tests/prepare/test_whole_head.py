from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers import RAS, head, save_nifti
from napari_mrtrans.datasets.sessions import find_sessions
from napari_mrtrans.errors import MrtransError
from napari_mrtrans.prepare import whole_head
from napari_mrtrans.prepare.whole_head import GIVEN, STRIPPED, brain_of, fit_for_models
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.scan.prepared import PreparedVolume
from napari_mrtrans.scan.volume import Volume


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_head, "prepared_cache_dir", lambda: tmp_path / "cache")


def test_a_stripped_brain_is_left_as_it_is() -> None:
    volume = Volume(head(), RAS, name="brain")
    said: list[str] = []
    prepared = fit_for_models(volume, None, None, said.append)
    assert prepared.volume is volume and not said
    np.testing.assert_array_equal(prepared.data, volume.data)
    np.testing.assert_array_equal(prepared.head, volume.data > 0)
    assert brain_of(volume)[1] == STRIPPED


def test_a_given_mask_is_taken() -> None:
    volume = Volume(head() + 5, RAS, name="head")
    mask = volume.data > 6
    brain, method = brain_of(volume, mask=mask)
    assert method == GIVEN and np.array_equal(brain, mask)


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(MrtransError, match="they must lie on one grid"):
        fit_for_models(Volume(head(), RAS, name="head"), np.ones((2, 2, 2)), True, print)


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the volumes that were prepared rather than remembered, of which there are none at first."""
    fitted: list[str] = []
    fit = whole_head._fit

    def counted(volume: Volume, *rest: object) -> PreparedVolume:
        fitted.append(volume.name)
        return fit(volume, *rest)

    monkeypatch.setattr(whole_head, "_fit", counted)
    monkeypatch.setattr(whole_head, "_recent", {})
    return fitted


def fit(
    volume: Volume, mask: np.ndarray | None = None, prepare: bool | None = None
) -> tuple[PreparedVolume, list[str]]:
    """What is prepared, and what was said."""
    said: list[str] = []
    return fit_for_models(volume, mask, prepare, said.append), said


def test_equal_voxels_are_prepared_once_and_belong_to_whoever_asks(fitted: list[str], tmp_path: Path) -> None:
    paths = [save_nifti(tmp_path / folder / "brain_T1w.nii.gz", head()) for folder in "ab"]
    first, second = (Volume.load(path) for path in paths)
    one, two = fit(first)[0], fit(second)[0]
    assert fitted == ["brain_T1w"]
    assert one.volume is first and two.volume is second
    assert [prepared.volume.path for prepared in (one, two)] == paths
    assert two.data is one.data and two.head is one.head
    np.testing.assert_array_equal(two.area, one.area)


def test_what_was_said_is_said_again(fitted: list[str]) -> None:
    noisy = head() + np.random.default_rng(0).uniform(1, 20, head().shape).astype(np.float32)
    line = whole_head.WHOLE_HEAD.format("scan")
    for _ in range(3):
        assert fit(Volume(noisy, RAS, name="scan"), prepare=False)[1] == [line]
    assert fit(Volume(noisy, RAS, name="other"), prepare=False)[1] == [whole_head.WHOLE_HEAD.format("other")]
    assert fitted == ["scan", "other"]


@pytest.mark.parametrize("other", ["voxels", "grid", "name", "mask", "another mask", "prepare"])
def test_anything_else_is_prepared_anew(other: str, fitted: list[str]) -> None:
    data, affine, name, mask, prepare = head(), RAS.copy(), "scan", None, None
    masks = [head() > 0, np.where(np.arange(48)[:, None] < 24, head() > 0, False)]
    if other == "another mask":
        mask = masks[0]
    fit(Volume(data, affine, name=name), mask, prepare)
    if other == "voxels":
        data[20, 24, 10] += 1
    elif other == "grid":
        affine[0, 3] += 1e-3
    elif other == "name":
        name = "other"
    elif other in ("mask", "another mask"):
        mask = masks[1]
    else:
        prepare = False
    prepared, _ = fit(Volume(data, affine, name=name), mask, prepare)
    assert fitted == ["scan", name]
    np.testing.assert_array_equal(prepared.data, data)
    np.testing.assert_array_equal(prepared.head, masks[1] if mask is not None else data > 0)


def test_two_volumes_are_remembered(fitted: list[str]) -> None:
    """A source and the reference that it is compared with, whichever comes first; never more."""
    volumes = {name: Volume(head(seed=seed), RAS, name=name) for seed, name in enumerate("abc")}
    for name in "abab":
        assert fit(volumes[name])[0].volume is volumes[name]
    assert fitted == ["a", "b"]
    fit(volumes["c"])
    fit(volumes["b"])
    assert fitted == ["a", "b", "c"]
    assert len(whole_head._recent) == whole_head.REMEMBERED == 2
    fit(volumes["a"])
    assert fitted == ["a", "b", "c", "a"]
    assert len(whole_head._recent) == 2


def test_a_failure_is_not_remembered(fitted: list[str]) -> None:
    volume = Volume(head(), RAS, name="scan")
    for _ in range(2):
        with pytest.raises(MrtransError, match=r"^The mask is empty\. Give another, or none\.$"):
            fit(volume, np.zeros(volume.data.shape))
    assert not whole_head._recent and not fitted


def test_files_of_one_session_are_told_by_their_names(tmp_path: Path) -> None:
    names = ("sub-07_ses-2_T1w.nii.gz", "sub-07_ses-2_FLAIR.nii.gz")
    for name in names:
        (tmp_path / name).touch()
    (session,), _ = find_sessions([tmp_path / name for name in names])
    assert (session.stem, len(session.files)) == ("sub-07_ses-2", 2)


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["a_T1w.nii.gz", "b_T1w.nii.gz"], "are both T1; give one of each contrast"),
        (["scan.nii.gz"], "contrast of 'scan.nii.gz' is not known"),
    ],
)
def test_bad_sessions_are_named(tmp_path: Path, names: list[str], line: str) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(MrtransError, match=line):
        find_sessions([tmp_path / name for name in names])
    with pytest.raises(MrtransError, match="holds no BIDS scans"):
        find_sessions([tmp_path])
    with pytest.raises(MrtransError, match="does not exist"):
        find_sessions([tmp_path / "nowhere"])


@pytest.mark.parametrize("damage", ["cut", "turned"])
def test_a_damaged_copy_of_a_brain_is_made_anew(damage: str, tmp_path: Path) -> None:
    volume = Volume(np.arange(336, dtype=np.float32).reshape(6, 7, 8), RAS, Contrast.T1, "scan")
    mask, field = np.eye(6, 7, dtype=bool)[..., None].repeat(8, axis=2), np.ones((2, 2, 2), dtype=np.float32)
    path = tmp_path / "kept.npz"
    whole_head._write(path, mask, field)
    kept = whole_head._read(path, volume)
    assert kept is not None and (kept[0] == mask).all()
    content = bytearray(path.read_bytes())
    for place in (10, 60, 100, len(content) // 2, len(content) - 30):
        turned = bytes([content[place] ^ 255]) + content[place + 1 :]
        path.write_bytes(content[:place] + (b"" if damage == "cut" else turned))
        whole_head._read(path, volume)  # a copy, if it is whole in spite of that, or None: no error
