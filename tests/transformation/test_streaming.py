from __future__ import annotations

import gc
import weakref
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from helpers import RAS, head, tiny_checkpoint
from napari_mrtrans import Contrast, MrtransError, Pair, SliceUpdate, Volume, stream, transform
from napari_mrtrans.checkpoints.calibration import Calibration
from napari_mrtrans.checkpoints.checkpoint import Checkpoint, write_calibration
from napari_mrtrans.checkpoints.correction import SpreadCorrection
from napari_mrtrans.checkpoints.library import load_checkpoint
from napari_mrtrans.devices import memory_line
from napari_mrtrans.errors import OutOfMemory, VolumeError
from napari_mrtrans.models.sampler_plan import notice_of
from napari_mrtrans.models.samplers import log_sigmas, stationary_step
from napari_mrtrans.ood.score import std_bias
from napari_mrtrans.ood.signs import Signs
from napari_mrtrans.scan.prepared import PreparedVolume
from napari_mrtrans.transformation import engine, gathered, streaming, whole_volume
from napari_mrtrans.transformation.engine import Engine
from napari_mrtrans.transformation.ensemble import Ensemble
from napari_mrtrans.transformation.job import evenly_spread, open_job
from napari_mrtrans.transformation.request import Request


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return tiny_checkpoint(tmp_path_factory.mktemp("flow") / "tiny-flow.safetensors")


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return tiny_checkpoint(tmp_path_factory.mktemp("direct") / "tiny-direct.safetensors", "direct")


@pytest.fixture
def brain() -> Volume:
    return Volume(head(), RAS, Contrast.T1, "brain_T1w")


def by_index(updates: list[SliceUpdate]) -> dict[int, SliceUpdate]:
    return {update.index: update for update in updates}


def test_slices_come_nearest_to_the_start_first_and_each_once(brain: Volume, flow: Checkpoint) -> None:
    updates = list(stream(brain, flow, target="T2", n=1, steps=1, start_slice=6))
    distances = [abs(update.index - 6) for update in updates]
    filled = np.flatnonzero(brain.data.any(axis=(0, 1)))
    assert updates[0].index == 6
    assert all(a <= b for a, b in pairwise(distances))
    assert sorted(update.index for update in updates) == filled.tolist()
    assert [update.done for update in updates] == list(range(1, len(filled) + 1))
    assert {update.total for update in updates} == {len(filled)}


def test_a_run_that_has_ended_holds_nothing(brain: Volume, flow: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither volumes nor networks wait for Python to look for cycles."""
    engines: list[weakref.ref[Engine]] = []
    begin = Engine.__init__

    def begun(self: Engine, *given: Any, **more: Any) -> None:
        begin(self, *given, **more)
        engines.append(weakref.ref(self))

    monkeypatch.setattr(Engine, "__init__", begun)
    gc.disable()
    try:
        transform(brain, flow, target="T2", n=1, steps=1, slices=(5, 7))
        assert engines and all(engine() is None for engine in engines)
    finally:
        gc.enable()


def test_a_checkpoint_may_be_named(brain: Volume, direct: Checkpoint) -> None:
    asked: dict[str, Any] = {"target": "T2", "slices": (5, 7)}
    made = transform(brain, direct.path, **asked)
    assert made.info["checkpoint"] == direct.name
    assert len(list(stream(brain, str(direct.path), **asked))) == made.info["slices_done"]
    with pytest.raises(MrtransError, match="No checkpoint 'nothing'"):
        transform(brain, "nothing", **asked)
    with pytest.raises(MrtransError, match="No checkpoint 'nothing'"):
        next(stream(brain, "nothing", **asked))


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("a_T1w.nii.gz", "got the path 'a_T1w.nii.gz'; read the file first: Volume.load(path)."),
        (Path("a_T1w.nii.gz"), "got the path 'a_T1w.nii.gz'; read the file first: Volume.load(path)."),
        (np.ones((4, 5, 6)), "got an array of shape (4, 5, 6); say where its voxels lie: Volume(array, affine)."),
        (nib.Nifti1Image(head(), RAS), "got Nifti1Image; read a file: Volume.load(path)."),
        (None, "got NoneType; read a file: Volume.load(path)."),
    ],
    ids=["text", "path", "array", "image", "nothing"],
)
def test_what_is_no_volume_is_one_line(given: Any, line: str, direct: Checkpoint) -> None:
    for call in (transform, lambda *said, **asked: next(stream(*said, **asked))):
        with pytest.raises(VolumeError) as caught:
            call(given, direct, target="T2")
        assert str(caught.value) == f"Expected a Volume, {line}"


def test_slices_of_a_region_are_those_that_it_touches(brain: Volume, flow: Checkpoint) -> None:
    roi = np.zeros(brain.data.shape, bool)
    roi[20, 24, [6, 9, 10]] = roi[0, 0, 0] = True  # slice 0 holds no head
    settings: dict[str, Any] = {"target": "T2", "n": 2, "steps": 1}
    whole = by_index(list(stream(brain, flow, **settings)))
    some = by_index(list(stream(brain, flow, **settings, roi=roi)))
    only = by_index(list(stream(brain, flow, **settings, roi=roi, roi_only=True)))
    assert sorted(some) == sorted(only) == [6, 9, 10]
    assert {update.total for update in some.values()} == {3}
    for index, update in only.items():
        np.testing.assert_allclose(some[index].mean, whole[index].mean, atol=1e-5)
        here = roi[:, :, index]
        np.testing.assert_array_equal(update.known, here)
        np.testing.assert_array_equal(update.mean, np.where(here, some[index].mean, 0))
        np.testing.assert_array_equal(update.samples, np.where(here, some[index].samples, 0))
        assert update.mean.dtype == np.float32
        # The network saw the whole slice, and so did σ̂.
        assert (update.sigma_hat, update.voxels) == (some[index].sigma_hat, some[index].voxels)
    both = stream(brain, flow, **settings, roi=roi, slices=(8, 10))
    assert [update.index for update in both] == [9]


@pytest.mark.parametrize(
    ("roi", "line"),
    [
        (np.zeros((40, 48, 20)), "Nothing is marked in the ROI."),
        (np.ones((40, 48, 19)), "The ROI has shape (40, 48, 19), the volume (40, 48, 20); they must share one grid."),
        (np.arange(20) * np.ones((40, 48, 1)) == 19, "No head in the slices of the ROI; mark another region."),
        (None, "A result of a region only needs the region: roi=MASK (--roi MASK.nii.gz)."),
    ],
    ids=["empty", "other shape", "no head", "none"],
)
def test_a_region_that_cannot_be_used_is_one_line(roi: Any, line: str, brain: Volume, flow: Checkpoint) -> None:
    with pytest.raises(MrtransError) as raised:
        next(stream(brain, flow, target="T2", roi=roi, roi_only=roi is None))
    assert str(raised.value) == line


def test_statistics_are_those_of_the_samples(brain: Volume, flow: Checkpoint) -> None:
    (update,) = stream(brain, flow, target="T2", n=5, slices=(10, 11))
    assert update.samples is not None
    assert update.median is not None
    assert update.samples.shape == (5, 40, 48)
    np.testing.assert_allclose(update.mean, update.samples.mean(0), atol=1e-6)
    np.testing.assert_allclose(update.std, update.samples.std(0), atol=1e-6)
    np.testing.assert_allclose(update.median, np.median(update.samples, axis=0), atol=1e-6)
    inside = brain.data[:, :, 10] > 0
    assert update.voxels == inside.sum()
    assert update.sigma_hat == pytest.approx(update.std[inside].mean(), rel=1e-5)
    assert update.std[inside].min() > 0
    assert not update.samples[:, ~inside].any()
    assert update.samples.min() >= 0
    assert update.samples.max() <= 1


def test_many_samples_give_the_same_moments_without_being_held(
    brain: Volume, flow: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"target": "T2", "n": 7, "slices": (10, 11), "batch": 3}
    (held,) = stream(brain, flow, **options)
    monkeypatch.setattr(engine, "MAX_HELD", 4)
    (running,) = stream(brain, flow, **options)
    assert running.samples is None
    assert running.median is None
    np.testing.assert_allclose(running.mean, held.mean, atol=1e-6)
    np.testing.assert_allclose(running.std, held.std, atol=1e-6)


def test_same_seed_same_bits_other_seed_other_samples(brain: Volume, flow: Checkpoint) -> None:
    def run(seed: int) -> np.ndarray:
        (update,) = stream(brain, flow, target="T2", n=2, seed=seed, slices=(9, 10))
        assert update.samples is not None
        return update.samples

    np.testing.assert_array_equal(run(3), run(3))
    assert np.abs(run(3) - run(4)).max() > 1e-3


@pytest.mark.parametrize("batch", [1, 3, 9, 64])
def test_batch_and_order_change_nothing_but_rounding(brain: Volume, flow: Checkpoint, batch: int) -> None:
    options: dict[str, Any] = {"target": "FLAIR", "n": 3, "slices": (6, 13)}
    reference = by_index(list(stream(brain, flow, **options)))
    other = by_index(list(stream(brain, flow, batch=batch, start_slice=12, **options)))
    assert reference.keys() == other.keys()
    for index, update in reference.items():
        np.testing.assert_allclose(other[index].samples, update.samples, atol=2e-5)


def test_a_sample_is_the_same_whatever_else_is_asked_for(brain: Volume, flow: Checkpoint) -> None:
    (few,) = stream(brain, flow, target="T2", n=2, slices=(9, 10))
    many = by_index(list(stream(brain, flow, target="T2", n=4, slices=(8, 11))))[9]
    np.testing.assert_allclose(many.samples[:2], few.samples, atol=2e-5)  # type: ignore[index]


def test_samples_are_opposite_in_pairs_or_independent(brain: Volume, flow: Checkpoint) -> None:
    def run(antithetic: bool) -> np.ndarray:
        (update,) = stream(brain, flow, target="T2", n=2, slices=(9, 10), antithetic=antithetic)
        assert update.samples is not None
        return update.samples[:, brain.data[:, :, 9] > 0]

    paired, apart = run(True), run(False)
    np.testing.assert_array_equal(paired[0], apart[0])
    deviation = [both - both.mean() for both in (paired, apart)]
    assert np.abs(paired[1] - apart[1]).max() > 1e-3
    assert np.corrcoef(*deviation[0])[0, 1] < np.corrcoef(*deviation[1])[0, 1]


def test_far_slices_of_a_uniform_volume_are_draws_of_their_own_and_neighbours_are_alike(flow: Checkpoint) -> None:
    """Every slice of the source is the same, so that its samples differ by the noise alone."""
    data = np.repeat(head((40, 48, 3))[:, :, 1:2], 50, axis=2)
    slices = by_index(list(stream(Volume(data, RAS, Contrast.T1), flow, target="T2", n=1, slices=range(0, 50, 1))))
    inside = data[:, :, 0] > 0
    first = slices[0].mean[inside]
    distance = [float(np.abs(slices[i].mean[inside] - first).mean()) for i in (1, 8, 48)]
    assert 0 < 3 * distance[0] < distance[1] < distance[2]


@pytest.mark.parametrize("axcodes", ["LPS", "PSR", "SAR", "IAL", "RAI"])
def test_the_array_order_of_a_volume_does_not_matter(flow: Checkpoint, axcodes: str) -> None:
    image = nib.Nifti1Image(head(), np.diag([1, 1, 2.5, 1]))
    turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(axcodes))
    turned = image.as_reoriented(turn)

    def run(nifti: nib.Nifti1Image) -> nib.Nifti1Image:
        volume = Volume(nifti.get_fdata(), nifti.affine, Contrast.T1)
        result = transform(volume, flow, target="T2", n=2)
        assert result.mean.shape == volume.data.shape
        assert len(result.per_slice) == volume.n_slices
        return nib.Nifti1Image(result.mean, nifti.affine)

    expected, back = run(image), nib.as_closest_canonical(run(turned))
    np.testing.assert_allclose(back.get_fdata(), expected.get_fdata(), atol=2e-5)


def test_other_voxel_sizes_are_resampled_and_come_back_on_their_grid(flow: Checkpoint) -> None:
    volume = Volume(head((60, 70, 9)), np.diag([0.6, 0.7, 4.0, 1.0]), Contrast.T2)
    result = transform(volume, flow, target="T1", n=2)
    assert result.mean.shape == volume.data.shape
    assert not result.mean[volume.data == 0].any()
    assert (result.std[volume.data > 0] > 0).mean() > 0.99


def test_deterministic_models_answer_once_and_claim_no_spread(brain: Volume, direct: Checkpoint) -> None:
    result = transform(brain, direct, target="T2", n=20, keep_samples=True)
    assert result.info["n"] == 1
    assert result.info["sigma_hat"] is None
    assert not result.std.any()
    assert result.samples is not None
    np.testing.assert_array_equal(result.samples[0], result.mean)


@pytest.mark.parametrize(("slices", "count"), [(24, 12), (24, 5), (12, 5), (34, 12), (20, 1), (9, 12), (60, 12)])
def test_evenly_spread_slices_reach_both_ends_and_do_not_ask_how_a_scan_is_stored(slices: int, count: int) -> None:
    up = np.zeros((16, 16, slices + 4), dtype=np.float32)
    up[2:-2, 2:-2, 2:-2] = 1
    affine = np.diag([1.0, 1, -1, 1])
    affine[2, 3] = up.shape[2] - 1
    chosen = evenly_spread(PreparedVolume.of(Volume(up, RAS, Contrast.T1)), count)
    turned = evenly_spread(PreparedVolume.of(Volume(up[:, :, ::-1], affine, Contrast.T1)), count)
    assert len(chosen) == min(count, slices)
    assert chosen[0] >= 2 and chosen[-1] <= slices + 1
    below, above = chosen[0] - 2, slices + 1 - chosen[-1]
    assert abs(below - above) <= 1 and max(below, above) <= (slices if count == 1 else chosen.step)
    assert sorted(up.shape[2] - 1 - i for i in turned) == list(chosen)


@pytest.mark.parametrize("slices", [11, 14])
def test_of_a_slab_those_slices_are_assessed_that_can_be_judged(slices: int) -> None:
    """As a transformation judges it: at the ends of a slab nothing is."""
    image, first = head((48, 56, 60)), 30 - slices // 2
    slab = Volume(image[:, :, first : first + slices], RAS, Contrast.T1)
    found = whole_volume.assess(slab, load_checkpoint("t1-t2-flair-direct"), Request("T2"))
    assert found["ood_probability"] is not None and found["slices_done"] == min(5, slices - 8)


@pytest.mark.parametrize(("pixel", "kinds"), [(2.0, (5.0, 1.0)), (3.0, ())])
def test_of_coarse_pixels_it_is_not_told_which_artefact_it_is(
    pixel: float, kinds: tuple[float, ...], flow: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They look as turned, moving or thick slices do."""
    scan = Volume(head(), np.diag([1.0, pixel, 3.0, 1.0]), Contrast.T1)
    job = open_job(scan, flow, Request(Contrast.T2))
    monkeypatch.setattr(streaming, "slice_features", lambda *_: np.zeros(1))
    ood = SimpleNamespace(signs=lambda *_: [Signs(3.0, 5.0, 0.0, (), (5.0, 1.0))])
    engine, index = SimpleNamespace(job=job, source_slice=None), len(job.mask) // 2
    signs = streaming._signs(engine, SimpleNamespace(ood=ood), index)
    assert (signs.artefact, signs.kinds) == (5.0, kinds)


def test_whole_volume_collects_the_slices(brain: Volume, flow: Checkpoint) -> None:
    told: list[int] = []
    result = transform(
        brain,
        flow,
        target="T2",
        n=2,
        slices=(8, 12),
        keep_samples=True,
        progress=lambda update: told.append(update.index),
    )
    assert sorted(told) == [8, 9, 10, 11]
    assert result.samples is not None
    assert result.samples.shape == (2, *brain.data.shape)
    assert result.median is not None
    np.testing.assert_allclose(result.mean, result.samples.mean(0), atol=1e-6)
    assert np.isnan(result.per_slice[:8]).all()
    assert np.isfinite(result.per_slice[8:12]).all()
    inside = (brain.data > 0) & (np.arange(20) >= 8) & (np.arange(20) < 12)
    assert result.sigma_hat == pytest.approx(result.std[inside].mean(), rel=1e-4)


def test_mask_of_the_user_limits_the_head(brain: Volume, flow: Checkpoint) -> None:
    mask = np.zeros(brain.data.shape)
    mask[10:30, 10:38, 5:15] = 1
    result = transform(brain, flow, target="T2", n=2, mask=mask)
    assert not result.mean[mask == 0].any()
    assert result.info["slices_done"] == 10


def test_cancel_ends_before_the_next_evaluation_and_keeps_what_was_finished(brain: Volume, flow: Checkpoint) -> None:
    finished: list[int] = []
    steps: list[tuple[int, int]] = []
    for update in stream(
        brain, flow, target="T2", n=2, cancel=lambda: len(finished) == 2 and steps[-1][0] == 1,
        on_step=lambda done, total: steps.append((done, total)),
    ):  # fmt: skip
        finished.append(update.index)
    assert len(finished) == 2
    assert steps[-1][0] == 1


class Shortage:
    """Makes the engine run out of memory above a number of images."""

    def __init__(self, limit: int, error: Exception) -> None:
        self.limit, self.error = limit, error
        self.real = Engine._sample

    def __call__(self, this: Engine, group: list[int], numbers: range) -> np.ndarray:
        if len(group) * len(numbers) > self.limit:
            raise self.error
        return self.real(this, group, numbers)


CUDA_SHORTAGE = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.")
CPU_SHORTAGE = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes.")


@pytest.mark.parametrize("error", [CUDA_SHORTAGE, CPU_SHORTAGE, MemoryError()])
def test_out_of_memory_halves_the_batch_and_goes_on(
    brain: Volume, flow: Checkpoint, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    options: dict[str, Any] = {"target": "T2", "n": 8, "slices": (9, 12)}
    reference = by_index(list(stream(brain, flow, **options)))
    shortage = Shortage(2, error)
    monkeypatch.setattr(Engine, "_sample", lambda *arguments: shortage(*arguments))
    notices: list[str] = []
    other = by_index(list(stream(brain, flow, status=notices.append, **options)))
    assert notices[-1] == "Out of memory; batch lowered to 2."
    for index, update in reference.items():
        np.testing.assert_allclose(other[index].samples, update.samples, atol=2e-5)


def test_the_calibrated_std_allows_for_how_few_samples_there_are(brain: Volume, tmp_path: Path) -> None:
    """It was fitted to the spread of as many as the card says; of one sample there is no spread."""
    flow = tiny_checkpoint(tmp_path / "tiny-flow.safetensors")
    calibration = Calibration(card=flow.card_digest, spread={"T1->T2": SpreadCorrection(floor=0.0, factor=2.0)})
    write_calibration(flow, calibration, tmp_path)
    usual = std_bias(flow.card.sampler.n)
    for n in (2, 4, flow.card.sampler.n):
        (update,) = stream(brain, flow, target="T2", n=n, slices=(9, 10))
        assert update.calibrated_std is not None
        inside = update.calibrated_std > 0
        ratio = update.calibrated_std[inside] / update.std[inside]
        np.testing.assert_allclose(ratio, 2 * usual / std_bias(n), rtol=1e-4)
    (update,) = stream(brain, flow, target="T2", n=1, slices=(9, 10))
    assert update.calibrated_std is None and np.isnan(update.sigma_hat)


@pytest.mark.parametrize(
    ("n", "antithetic", "share"),
    [(4, True, 1.0), (20, True, 1.0269), (2, True, 0.9664), (4, False, 0.7752)],
)
def test_the_averaged_variance_of_few_samples_is_too_small(
    n: int, antithetic: bool, share: float, brain: Volume, tmp_path: Path
) -> None:
    """``share``: of that of four in pairs, to which the correction was fitted."""
    flow = tiny_checkpoint(tmp_path / "tiny-flow.safetensors")
    law = SpreadCorrection(floor=0.0, factor=1.0, blur_mm=0.01)  # as good as not averaged
    write_calibration(flow, Calibration(card=flow.card_digest, spread={"T1->T2": law}), tmp_path)
    assert flow.card.sampler.n == 4
    (update,) = stream(brain, flow, target="T2", n=n, steps=1, slices=(10, 11), antithetic=antithetic)
    inside = update.std > 0
    assert np.median(update.calibrated_std[inside] / update.std[inside]) == pytest.approx(share**-0.5, rel=0.002)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_slices_that_memory_was_too_short_for_are_computed_afterwards(
    brain: Volume, flow: Checkpoint, monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    """A batch of several slices, of which the smaller batch takes only the first."""
    options: dict[str, Any] = {"target": "T2", "n": n, "slices": (4, 14)}
    reference = by_index(list(stream(brain, flow, **options)))
    shortage = Shortage(4, CUDA_SHORTAGE)
    monkeypatch.setattr(Engine, "_sample", lambda *arguments: shortage(*arguments))
    updates = list(stream(brain, flow, batch=16, **options))
    other = by_index(updates)
    assert other.keys() == reference.keys() and len(updates) == 10
    assert [update.done for update in updates] == list(range(1, 11))
    for index, update in reference.items():
        np.testing.assert_allclose(other[index].samples, update.samples, atol=5e-3)  # bfloat16


def test_out_of_memory_at_batch_1_says_what_to_do_and_keeps_finished_slices(
    brain: Volume, flow: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []

    def sample(this: Engine, group: list[int], numbers: range) -> np.ndarray:
        if done:
            raise torch.OutOfMemoryError("out of memory")
        return np.full((len(group), len(numbers), *_size(this, group)), 0.5, dtype=np.float32)

    monkeypatch.setattr(Engine, "_sample", sample)
    with pytest.raises(
        OutOfMemory, match=r"ran out of memory at slice 9\. Finished slices were kept\. Close other programs"
    ):
        for update in stream(brain, flow, target="T2", n=2, start_slice=10, batch=2):
            done.append(update.index)
    assert done == [10]
    assert not isinstance(OutOfMemory(""), RuntimeError)
    done.clear()
    with pytest.raises(OutOfMemory) as ended:
        transform(brain, flow, target="T2", n=2, start_slice=10, progress=lambda update: done.append(update.index))
    assert isinstance(ended.value.result, Ensemble)
    assert [*np.flatnonzero(np.isfinite(ended.value.result.computed()).any(axis=(0, 1)))] == [10]
    with pytest.raises(OutOfMemory) as ended:
        transform(brain, flow, target="T2", n=2)
    assert ended.value.result is None


def _size(this: Engine, group: list[int]) -> tuple[int, int]:
    rows, columns = this._slice(group[0])[1]
    return rows.stop - rows.start, columns.stop - columns.start


def test_the_gpu_line_names_the_cpu_as_remedy() -> None:
    assert memory_line("cuda", "at slice 41. Finished slices were kept") == (
        "The GPU ran out of memory at slice 41. Finished slices were kept. Choose CPU, or close other programs."
    )


def test_other_device_failures_are_not_runtime_errors(
    brain: Volume, flow: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    shortage = Shortage(0, NotImplementedError("no such operator\nmore"))
    monkeypatch.setattr(Engine, "_sample", lambda *arguments: shortage(*arguments))
    with pytest.raises(MrtransError, match="no such operator"):
        list(stream(brain, flow, target="T2", n=1))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_missing_cuda_falls_back_and_says_so(brain: Volume, flow: Checkpoint) -> None:
    notices: list[str] = []
    assert list(stream(brain, flow, target="T2", n=1, slices=(9, 10), device="cuda", status=notices.append))
    assert notices == ["CUDA not available; using CPU."]


def test_a_whole_head_is_noticed(flow: Checkpoint) -> None:
    rng = np.random.default_rng(0)
    scanned = Volume(head() + rng.rayleigh(5, head().shape), RAS, Contrast.T1, "scan")
    notices: list[str] = []
    list(stream(scanned, flow, target="T2", n=1, slices=(9, 10), status=notices.append))
    assert notices[0].startswith("'scan' looks like a whole head")
    notices.clear()
    list(stream(scanned, flow, target="T2", n=1, slices=(9, 10), mask=head() > 0, status=notices.append))
    assert not notices


def test_samplers_that_lose_spread_say_so(brain: Volume, flow: Checkpoint) -> None:
    notices: list[str] = []
    list(stream(brain, flow, target="T2", n=1, slices=(9, 10), sampler="euler", steps=10, status=notices.append))
    assert notices == ["'euler' with 10 steps distorts the spread; use dpm++2m, or 50 steps."]


@pytest.mark.parametrize(
    ("sampler", "steps", "told"),
    [
        ("dpm++2m", 5, "'dpm++2m' with 5 steps distorts the spread; use 7 steps."),
        ("dpm++2m", 7, ""),
        ("heun", 2, "'heun' with 2 steps distorts mean and spread; use dpm++2m, or 12 steps."),
        ("heun", 8, "'heun' with 8 steps distorts the spread; use dpm++2m, or 12 steps."),
        ("ddim", 1, "'ddim' with 1 step distorts the spread; use dpm++2m, or 50 steps."),
        ("ancestral", 20, "'ancestral' with 20 steps distorts the spread; use dpm++2m, or 500 steps."),
        ("langevin", 100, "'langevin' with 100 steps distorts mean and spread; use dpm++2m, or 500 steps."),
        ("reference", 1, ""),
    ],
)
def test_what_few_steps_do_is_told(sampler: str, steps: int, told: str) -> None:
    assert notice_of(sampler, steps, 0.002, 20.0) == told
    assert notice_of("ancestral", 15, 0.002, 20.0, tells_variance=True) == ""


def test_a_sampler_that_diverges_is_refused(brain: Volume, flow: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_mrtrans.transformation.job.fit_for_models", None)  # a whole head takes minutes
    own = flow.card.sampler
    with pytest.raises(MrtransError, match=r"'langevin' diverges in 12 steps; take \d+ or more, or dpm\+\+2m\."):
        list(stream(brain, flow, target="T2", n=2, slices=(9, 10), sampler="langevin", steps=12))
    with pytest.raises(MrtransError) as refused:
        notice_of("langevin", 12, own.sigma_min, own.sigma_max)
    fewest = int(str(refused.value).split("take ")[1].split()[0])
    levels = log_sigmas(fewest, own.sigma_min, own.sigma_max)
    assert stationary_step(levels[0] / levels[1]) < 1
    assert notice_of("langevin", fewest, own.sigma_min, own.sigma_max)


@pytest.mark.parametrize("asked", [{"steps": 77}, {"sampler": "heun"}])
def test_a_model_without_noise_levels_says_that_it_does_not_use_them(
    brain: Volume, direct: Checkpoint, asked: dict[str, Any]
) -> None:
    notices: list[str] = []
    list(stream(brain, direct, target="T2", slices=(9, 10), status=notices.append, **asked))
    assert notices == [f"Sampler and steps are not used: '{direct.name}' takes one pass for each sample."]
    notices.clear()
    list(stream(brain, direct, target="T2", slices=(9, 10), status=notices.append))
    assert not notices


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": "PD"}, "does not serve T1→PD"),
        ({"target": "T1"}, "is T1 already"),
        ({"target": "T9"}, "Unknown contrast 'T9'"),
        ({"target": "T2", "n": 0}, "at least 1"),
        ({"target": "T2", "slices": (15, 99)}, "15:99 are not within 0:20"),
        ({"target": "T2", "slices": (0, 1)}, "No head in slices 0:1"),
        ({"target": "T2", "start_slice": 20}, "not within 0:20"),
        ({"target": "T2", "batch": "many"}, "neither a positive number nor auto"),
        ({"target": "T2", "batch": 0}, "neither a positive number nor auto"),
        ({"target": "T2", "sampler": "magic"}, "Unknown sampler 'magic'"),
        ({"target": "T2", "device": "toaster"}, "Unknown device 'toaster'"),
        ({"target": "T2", "mask": np.ones((2, 2, 2))}, "must lie on one grid"),
        ({"target": "T2", "mask": np.zeros((40, 48, 20))}, "mask is empty"),
    ],
)
def test_impossible_requests_are_refused_in_one_line(
    brain: Volume, flow: Checkpoint, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(MrtransError, match=words) as caught:
        list(stream(brain, flow, **options))
    assert "\n" not in str(caught.value)


def test_unknown_source_contrast_is_asked_for(flow: Checkpoint) -> None:
    volume = Volume(head(), RAS, None, "scan")
    with pytest.raises(MrtransError, match=r"contrast of 'scan' is not known.*--from"):
        list(stream(volume, flow, target="T2"))
    assert list(stream(volume, flow, source="T1", target="T2", n=1, slices=(9, 10)))


@pytest.fixture
def spiky(monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Every sample is noise around 0.5, but the first of each slice has an outlier at this pixel."""
    rng = np.random.default_rng(0)

    def answer(this: Engine, index: int, samples: np.ndarray) -> np.ndarray:
        made = 0.5 + 0.03 * rng.standard_normal((len(samples), 48, 40)).clip(-2, 2)
        if index == 9:
            made[0, 25, 20] = 0  # canonical slices lie (rows, columns) = (A, R)
        return np.where(this.job.mask[index], made, 0).astype(np.float32)

    monkeypatch.setattr(Engine, "_to_source", answer)
    return 20, 25


def test_outliers_of_ddpm_are_repaired_unless_told_otherwise(
    brain: Volume, tmp_path: Path, flow: Checkpoint, spiky: tuple[int, int]
) -> None:
    ddpm = tiny_checkpoint(tmp_path / "tiny-ddpm.safetensors", "ddpm")
    options: dict[str, Any] = {"target": "T2", "n": 16, "steps": 1, "batch": 16, "slices": (8, 11)}
    for checkpoint, repair, on in ((ddpm, None, True), (ddpm, False, False), (flow, None, False), (flow, True, True)):
        seen = by_index(list(stream(brain, checkpoint, repair=repair, **options)))
        assert [seen[index].repaired for index in (8, 9, 10)] == [0, int(on), 0]
        update = seen[9]
        assert update.samples is not None
        mean, std = update.samples.mean(0), update.samples.std(0)
        changed = np.abs(update.mean - mean) > 1e-6
        assert changed.sum() == on
        assert changed[spiky] == on
        assert update.mean[spiky] == pytest.approx(np.median(update.samples[:, *spiky]) if on else mean[spiky])
        np.testing.assert_allclose(update.std, std, atol=1e-6)
        if on:
            around = np.abs(update.samples[:, *spiky] - np.median(update.samples[:, *spiky]))
            std[spiky] = 1.4826 * np.median(around)
        inside = brain.data[:, :, 9] > 0
        assert update.sigma_hat == pytest.approx(std[inside].mean(), rel=1e-6)
        assert np.abs(update.std[inside].mean() - std[inside].mean()) > 3e-5 or not on
        info = transform(brain, checkpoint, repair=repair, **options).info
        assert (info["repair"], info["repaired_voxels"]) == (on, int(on))


def test_without_a_median_nothing_is_repaired_and_it_says_so(
    brain: Volume, flow: Checkpoint, spiky: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (engine, gathered, streaming, whole_volume):
        monkeypatch.setattr(module, "MAX_HELD", 4)
    notices: list[str] = []
    options: dict[str, Any] = {"target": "T2", "n": 5, "slices": (9, 10), "status": notices.append}
    result = transform(brain, flow, repair=True, **options)
    assert notices == ["Outliers are not repaired: above 4 samples, no median is held."]
    assert (result.info["repair"], result.info["repaired_voxels"]) == (False, 0)
    notices.clear()
    transform(brain, flow, **options)
    assert not notices


def test_a_checkpoint_may_serve_a_single_pair(tmp_path: Path, brain: Volume) -> None:
    single = tiny_checkpoint(tmp_path / "single.safetensors", pairs=[Pair(Contrast.T1, Contrast.T2)])
    assert list(stream(brain, single, target="T2", n=1, slices=(9, 10)))
    with pytest.raises(MrtransError, match="it serves T1→T2"):
        list(stream(brain, single, target="FLAIR"))


def test_fewer_than_one_sample_is_refused_also_when_they_are_kept(brain: Volume, flow: Checkpoint) -> None:
    with pytest.raises(MrtransError, match="at least 1"):
        transform(brain, flow, target="T2", n=-1, keep_samples=True)
