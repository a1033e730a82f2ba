from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers import PAIRS, SMALL_FRAME, TINY, head, tiny_checkpoint, tiny_model
from napari_mrtrans import Contrast, MrtransError, Volume, list_checkpoints, load_checkpoint, stream, transform
from napari_mrtrans.checkpoints import library, planes
from napari_mrtrans.checkpoints.card import Card, Grid, Intensity, SamplerDefaults
from napari_mrtrans.checkpoints.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from napari_mrtrans.checkpoints.planes import beside_digest, has_planes, planes_of
from napari_mrtrans.checkpoints.pool import make_pool
from napari_mrtrans.errors import OutOfMemory
from napari_mrtrans.scan.intensity import HEADROOM
from napari_mrtrans.scan.planes import seen_from
from napari_mrtrans.transformation import job
from napari_mrtrans.transformation.commands import command_line, python_call
from napari_mrtrans.transformation.request import Request
from napari_mrtrans.transformation.streaming import SliceRunner
from napari_mrtrans.transformation.unfinished import Unfinished, work_key
from napari_mrtrans.transformation.whole_volume import transform_request

#: Slices 2 mm apart, so that few of them are a head.
TALL = np.diag([1.0, 1, 2, 1])
#: The same; array axes run to the left, down and back.
TURNED = np.array([[0.0, 0, -1, 30], [-1, 0, 0, 40], [0, -2, 0, 50], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("planes")
    tiny_checkpoint(folder / "tiny.planes.safetensors", "direct", seed=7)
    return tiny_checkpoint(folder / "tiny.safetensors", "direct")


@pytest.fixture(scope="module")
def flow(direct: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Around ``direct``'s answer, in a folder with the same two files."""
    folder = tmp_path_factory.mktemp("around")
    for file in direct.path.parent.iterdir():
        shutil.copy(file, folder)
    return around(direct, folder / "around.safetensors")


def around(mean: Checkpoint, path: Path) -> Checkpoint:
    model, options = tiny_model("flow", mean_network=TINY, seed=3)
    model.mean_net.load_state_dict(mean.build().net.state_dict())
    card = Card(
        name=path.stem, model="flow", options=options, pairs=PAIRS, grid=Grid(), framing=SMALL_FRAME,
        intensity=Intensity(headroom=HEADROOM), sampler=SamplerDefaults(steps=3, n=4),
    )  # fmt: skip
    return read_checkpoint(write_checkpoint(path, model, card))


def brain(affine: Any = TALL) -> Volume:
    return Volume(head((40, 48, 36)), affine, Contrast.T1, "brain_T1w")


def back(volume: Volume, plane: Any, image: np.ndarray) -> np.ndarray:
    """An image of ``seen_from(volume, plane)`` in the order of a straight volume's array."""
    return image.transpose({"coronal": (0, 2, 1), "sagittal": (2, 0, 1)}[plane])


def test_the_answer_is_the_average_of_three_views(direct: Checkpoint) -> None:
    volume, other = brain(), planes_of(direct)
    assert other is not None
    axial = transform(volume, direct, target="T2").mean
    views = [
        back(volume, plane, transform(seen_from(volume, plane), other, target="T2").mean)
        for plane in ("coronal", "sagittal")
    ]
    found = transform(volume, direct, target="T2", three_planes=True)
    assert np.abs(views[0] - axial).max() > 0.01  # other networks, other sides
    np.testing.assert_allclose(found.mean, 0.5 * axial + 0.25 * views[0] + 0.25 * views[1], atol=2e-6)
    assert not found.mean[volume.data == 0].any()


def test_samples_are_drawn_around_the_average_of_three_views(direct: Checkpoint, flow: Checkpoint) -> None:
    means = [transform(brain(), direct, target="T2", three_planes=seen).mean for seen in (False, True)]
    found = [transform(brain(), flow, target="T2", three_planes=seen, n=4) for seen in (False, True)]
    moved, wanted = found[1].mean - found[0].mean, means[1] - means[0]
    inside = brain().data > 0
    assert np.corrcoef(moved[inside], wanted[inside])[0, 1] > 0.9
    assert found[1].std[inside].mean() == pytest.approx(found[0].std[inside].mean(), rel=0.3)
    assert not found[1].mean[~inside].any()


def test_members_of_a_pool_that_have_a_mean_sample_around_the_average(flow: Checkpoint) -> None:
    folder = flow.path.parent
    gan = tiny_checkpoint(folder / "gan.safetensors", "cgan", seed=9)
    pool = make_pool("pool", [flow, gan], folder)
    assert planes_of(pool) == planes_of(flow)
    pooled, axial, alone, other = (
        transform(brain(), one, target="T2", n=4, three_planes=seen, keep_samples=True).samples
        for one, seen in ((pool, True), (pool, False), (flow, True), (gan, False))
    )
    np.testing.assert_allclose(pooled, [*alone[:2], *other[2:]], atol=1e-5)
    assert np.abs(pooled[:2] - axial[:2]).max() > 1e-3
    gan.path.unlink()
    assert not has_planes(pool)


def test_a_model_has_the_network_of_the_very_mean_it_samples_around(
    direct: Checkpoint, flow: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, same = planes_of(flow), planes_of(direct)
    assert seen is not None and same is not None and seen.sha256 == same.sha256
    another = tiny_checkpoint(tmp_path / "another.safetensors", "direct", seed=5)
    changed = around(another, tmp_path / "changed.safetensors")
    tiny_checkpoint(tmp_path / "tiny.planes.safetensors", "direct", seed=7)
    tiny_checkpoint(tmp_path / "tiny.safetensors", "direct")
    assert not has_planes(changed)
    (tmp_path / "broken.planes.safetensors").write_bytes(b"")
    (tmp_path / "broken.safetensors").write_bytes(b"")
    tiny_checkpoint(tmp_path / "another.planes.safetensors", "direct", seed=8)
    assert has_planes(changed)
    # A mean of many training sessions holds their effects, too, which no sampler around it does.
    model, options = tiny_model("direct", seed=6, sessions=64, pivot="median")
    torch.nn.init.normal_(model.effects)
    card = another.card.model_copy(update={"name": "many", "options": options})
    many = read_checkpoint(write_checkpoint(tmp_path / "many.safetensors", model, card))
    tiny_checkpoint(tmp_path / "many.planes.safetensors", "direct", seed=9)
    found = planes_of(around(many, tmp_path / "of-many.safetensors"))
    assert found is not None and found.name == "many.planes"
    elsewhere = around(direct, tmp_path / "user" / "elsewhere.safetensors")
    assert not has_planes(elsewhere)
    monkeypatch.setattr(planes, "shipped_checkpoint_dir", lambda: direct.path.parent)
    assert planes_of(elsewhere) == planes_of(direct)


def test_the_shipped_flow_has_the_network_of_the_shipped_direct() -> None:
    shipped = {name: planes_of(load_checkpoint(f"t1-t2-flair-{name}")) for name in ("direct", "flow", "ddpm", "cgan")}
    assert shipped["flow"] == shipped["direct"] is not None
    assert shipped["ddpm"] is shipped["cgan"] is None


def test_the_order_of_the_arrays_axes_changes_nothing(direct: Checkpoint) -> None:
    straight = transform(brain(), direct, target="T2", three_planes=True)
    turned = Volume(head((40, 48, 36)).transpose(1, 2, 0)[::-1, ::-1, ::-1], TURNED, Contrast.T1, "brain_T1w")
    other = transform(turned, direct, target="T2", three_planes=True)
    np.testing.assert_allclose(other.mean[::-1, ::-1, ::-1].transpose(2, 0, 1), straight.mean, atol=2e-6)


def test_some_slices_and_a_region_are_as_in_the_whole(direct: Checkpoint) -> None:
    whole = transform(brain(), direct, target="T2", three_planes=True).mean
    roi = np.zeros(whole.shape, bool)
    roi[18:22, 20:26, 14:17] = True
    region = transform(brain(), direct, target="T2", three_planes=True, roi=roi, roi_only=True).mean
    np.testing.assert_allclose(region, np.where(roi, whole, 0), atol=2e-6)
    for update in stream(brain(), direct, target="T2", three_planes=True, slices=(14, 16)):
        np.testing.assert_allclose(update.mean, whole[:, :, update.index], atol=2e-6)
        assert update.median is not None and update.samples is not None
        np.testing.assert_array_equal(update.samples[0], update.mean)
        np.testing.assert_array_equal(update.median, update.mean)


def test_what_cannot_be_seen_from_the_side_is_refused_before_anything_is_computed(
    direct: Checkpoint, tmp_path: Path
) -> None:
    thick = Volume(head((40, 48, 12)), np.diag([1.0, 1, 5, 1]), Contrast.T1, "thick_T1w")
    with pytest.raises(MrtransError, match=r"voxels of 2 mm at most; those of 'thick_T1w' are 5\.0 mm"):
        transform(thick, direct, target="T2", three_planes=True)
    alone = tiny_checkpoint(tmp_path / "alone.safetensors", "direct")
    with pytest.raises(MrtransError, match="'alone' knows axial slices only; choose t1-t2-flair-flow or"):
        transform(brain(), alone, target="T2", three_planes=True)
    tiny_checkpoint(tmp_path / "flow.planes.safetensors", "direct")
    flow = tiny_checkpoint(tmp_path / "flow.safetensors")
    with pytest.raises(MrtransError, match="knows axial slices only"):
        transform(brain(), flow, target="T2", three_planes=True)
    with pytest.raises(MrtransError, match="three_planes='yes' is neither True nor False"):
        transform(brain(), direct, target="T2", three_planes="yes")  # type: ignore[typeddict-item]


def test_of_a_slab_and_of_a_mask_of_few_slices_there_is_too_little(
    direct: Checkpoint, flow: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    slab = Volume(head((40, 48, 36))[:, :, 8:28], TALL, Contrast.T1, "slab_T1w")
    mask = np.zeros(brain().data.shape, bool)
    mask[10:30, 10:38, 12:18] = True
    for one in (direct, flow):
        with pytest.raises(MrtransError, match=r"50 mm of head .*; 'slab_T1w' has 40 mm. Leave three planes out"):
            transform(slab, one, target="T2", three_planes=True)
        with pytest.raises(MrtransError, match="'brain_T1w' has 12 mm"):
            transform(brain(), one, target="T2", three_planes=True, mask=mask)
    assert transform(slab, direct, target="T2").info["complete"]
    monkeypatch.setattr(job, "fit_for_models", None)  # minutes for a whole head
    with pytest.raises(MrtransError, match="'slab_T1w' has 40 mm"):
        transform(slab, direct, target="T2", three_planes=True)


def test_another_network_of_the_views_is_another_result(tmp_path: Path) -> None:
    tiny_checkpoint(tmp_path / "one.planes.safetensors", "direct", seed=1)
    one = tiny_checkpoint(tmp_path / "one.safetensors", "direct")
    plain, seen = (Request(Contrast.T2, Contrast.T1, three_planes=three_planes) for three_planes in (False, True))
    before = [work_key(brain(), one, request) for request in (plain, seen)]
    assert beside_digest(one, False) == one.calibration_digest != beside_digest(one, True)
    tiny_checkpoint(tmp_path / "one.planes.safetensors", "direct", seed=2)
    after = [work_key(brain(), one, request) for request in (plain, seen)]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False]


def test_a_damaged_file_or_one_of_other_pairs_is_said(tmp_path: Path) -> None:
    one = tiny_checkpoint(tmp_path / "one.safetensors", "direct")
    (tmp_path / "one.planes.safetensors").write_bytes(b"no tensors")
    assert has_planes(one)
    with pytest.raises(MrtransError, match=r"one\.planes\.safetensors"):
        transform(brain(), one, target="T2", three_planes=True)
    tiny_checkpoint(tmp_path / "one.planes.safetensors", "direct", pairs=one.pairs[:2])
    assert planes_of(one) is None


def test_the_other_views_file_is_no_model_to_choose(
    direct: Checkpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(library, "shipped_checkpoint_dir", lambda: direct.path.parent)
    monkeypatch.setattr(library, "user_checkpoint_dir", lambda: tmp_path)
    assert [checkpoint.name for checkpoint in list_checkpoints()] == ["tiny"]


@pytest.mark.parametrize("after", [1, 5, 40])
def test_it_can_be_cancelled_in_any_view(direct: Checkpoint, after: int) -> None:
    calls = itertools.count()
    found = list(stream(brain(), direct, target="T2", three_planes=True, cancel=lambda: next(calls) > after))
    assert found == []


def test_what_fails_in_a_view_is_said_of_it_and_not_tried_again(
    direct: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, tried = SliceRunner.compute, []

    def compute(self: SliceRunner, pending: Any) -> Any:
        if len(pending) == 38:  # the first coronal ones
            tried.append(pending)
            raise OutOfMemory("The computer ran out of memory at slice 7.")
        return good(self, pending)

    monkeypatch.setattr(SliceRunner, "compute", compute)
    with pytest.raises(OutOfMemory, match="Three planes, coronal view: The computer ran out of memory at slice 7"):
        transform(brain(), direct, target="T2", three_planes=True, slices=(10, 20))
    assert len(tried) == 1


def test_slices_of_an_earlier_run_need_no_view_again(
    direct: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request(Contrast.T2, Contrast.T1, three_planes=True)
    store = Unfinished(tmp_path / "brain_T2.json", "key")
    first = transform_request(brain(), direct, request, store=store).mean

    def compute(self: SliceRunner, pending: Any) -> Any:
        raise AssertionError(pending)

    monkeypatch.setattr(SliceRunner, "compute", compute)
    again = transform_request(brain(), direct, request, store=store).mean
    np.testing.assert_allclose(again, first, atol=1e-3)


def test_the_report_says_so_and_repeats_it(direct: Checkpoint) -> None:
    info = transform(brain(), direct, target="T2", three_planes=True, slices=(15, 16)).info
    assert info["request"]["three_planes"] is True
    assert info["notices"] == ["Three planes: 38 coronal and 32 sagittal slices come before the first axial one."]
    assert " --three-planes" in command_line(info)
    assert "three_planes=True" in python_call(info)
    plain = transform(brain(), direct, target="T2", slices=(15, 16)).info
    assert "three" not in command_line(plain) + python_call(plain)
