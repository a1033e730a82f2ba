"""What holds for every family: a volume in, an ensemble out, and samples that depend on nothing but their seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import napari_mrtrans as mt
from helpers import RAS, head, tiny_checkpoint
from napari_mrtrans.checkpoints.checkpoint import Checkpoint
from napari_mrtrans.checkpoints.pool import make_pool
from napari_mrtrans.errors import CheckpointError
from napari_mrtrans.models import FAMILIES
from napari_mrtrans.models.families import POOL
from napari_mrtrans.transformation.commands import command_line, python_call

SHAPE = (30, 36, 8)
#: A generator whose noise is an image, beside one of each family; and some of them in turn.
OF_IMAGES = "cgan-of-images"
KINDS = [*FAMILIES, OF_IMAGES, POOL]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    folder = tmp_path_factory.mktemp("checkpoints")
    made = {family: tiny_checkpoint(folder / f"tiny-{family}.safetensors", family) for family in FAMILIES}
    made[OF_IMAGES] = tiny_checkpoint(folder / f"{OF_IMAGES}.safetensors", "cgan", latent_form="image")
    return made | {POOL: make_pool("tiny-pool", [made[who] for who in ("flow", "cgan", "ddpm", OF_IMAGES)], folder)}


def transformed(checkpoint: Checkpoint, **options: object) -> mt.Ensemble:
    volume = mt.Volume(head(SHAPE), RAS, contrast="T1")
    return mt.transform(volume, checkpoint, target="T2", **{"n": 3, "seed": 1, "slices": (2, 6), **options})


@pytest.mark.parametrize("family", KINDS)
def test_a_volume_is_transformed(installed: dict[str, Checkpoint], family: str) -> None:
    checkpoint = installed[family]
    ensemble = transformed(checkpoint)
    inside = head(SHAPE)[:, :, 2:6] > 0
    assert ensemble.mean.shape == SHAPE
    assert ((ensemble.mean >= 0) & (ensemble.mean <= 1)).all()
    assert not ensemble.mean[:, :, 2:6][~inside].any()
    assert bool(ensemble.std[:, :, 2:6][inside].any()) != checkpoint.deterministic
    assert ensemble.info["n"] == (1 if checkpoint.deterministic else 3)
    assert (ensemble.info["sampler"] is None) == checkpoint.single_pass


@pytest.mark.parametrize("family", KINDS)
def test_samples_depend_on_their_seed_and_not_on_their_batch(
    installed: dict[str, Checkpoint], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAPARI_MRTRANS_BF16", "0")  # whose rounding differs with the batch by some 1e-3
    checkpoint = installed[family]
    first = transformed(checkpoint)
    np.testing.assert_array_equal(transformed(checkpoint).mean, first.mean)
    np.testing.assert_allclose(transformed(checkpoint, batch=1).mean, first.mean, atol=1e-4)
    if not checkpoint.deterministic:
        assert np.abs(transformed(checkpoint, seed=2).mean - first.mean).max() > 1e-5


def test_samples_of_a_pool_are_those_of_its_members_in_turn(installed: dict[str, Checkpoint]) -> None:
    asked = {"n": 9, "keep_samples": True}
    pooled = transformed(installed[POOL], **asked)
    turns = ["flow", "cgan", "ddpm", OF_IMAGES]
    alone = {who: transformed(installed[who], **asked).samples for who in turns}
    for number, sample in enumerate(pooled.samples):
        np.testing.assert_allclose(sample, alone[turns[number // 2 % 4]][number], atol=1e-5, err_msg=f"{number}")
    np.testing.assert_allclose(pooled.mean, pooled.samples.mean(axis=0), atol=1e-6)
    by = [
        "tiny-flow",
        "tiny-flow",
        "tiny-cgan",
        "tiny-cgan",
        "tiny-ddpm",
        "tiny-ddpm",
        OF_IMAGES,
        OF_IMAGES,
        "tiny-flow",
    ]
    assert pooled.info["drawn_by"] == by
    assert (pooled.info["sampler"], pooled.info["steps"]) == (None, None)


@pytest.mark.parametrize("family", ["direct", "cgan", "flow"])
def test_one_sample_is_told_with_its_seed(installed: dict[str, Checkpoint], family: str) -> None:
    line = command_line(transformed(installed[family], n=1, seed=5).info)
    assert ("-n 1 --seed 5" in line) == (family != "direct")


@pytest.mark.parametrize("family", ["cgan", POOL])
def test_the_way_to_make_it_again_tells_of_independent_samples(installed: dict[str, Checkpoint], family: str) -> None:
    info = transformed(installed[family], antithetic=False).info
    assert "-n 3 --seed 1 --no-antithetic" in command_line(info) and "--sampler" not in command_line(info)
    assert "antithetic=False" in python_call(info) and "steps" not in python_call(info)


def test_members_of_a_pool_keep_to_their_own_samplers(installed: dict[str, Checkpoint]) -> None:
    asked = transformed(installed[POOL], n=8, sampler="heun", steps=7)
    np.testing.assert_array_equal(asked.mean, transformed(installed[POOL], n=8).mean)
    assert "Sampler and steps are not used: 'tiny-pool' keeps to those of its members." in asked.info["notices"]


def test_a_pool_tells_who_draws_nothing(installed: dict[str, Checkpoint]) -> None:
    notice = (
        f"With n = 4, tiny-ddpm, {installed[OF_IMAGES].name} of 'tiny-pool' draw nothing: the spread is that of the "
        "others, and too small. Take 8 samples or more."
    )
    assert notice in transformed(installed[POOL], n=4).info["notices"]
    for family, n in ((POOL, 8), (POOL, 7), ("flow", 1)):
        assert not any("draw nothing" in line for line in transformed(installed[family], n=n).info["notices"])


def test_a_pool_tells_how_far_it_is(installed: dict[str, Checkpoint]) -> None:
    told: list[tuple[int, int]] = []
    volume = mt.Volume(head(SHAPE), RAS, contrast="T1")
    with_progress = mt.stream(
        volume, installed[POOL], target="T2", n=8, slices=(4, 5), on_step=lambda *now: told.append(now)
    )
    assert len(list(with_progress)) == 1
    assert told == sorted(told) and told[0] == (0, 8)  # three levels twice, one pass twice
    assert {total for _, total in told} == {8}


@pytest.mark.parametrize("family", ["flow", "ncsn", "ddpm"])
@pytest.mark.parametrize("sampler", ["ancestral", "langevin", "ddim"])
def test_noise_added_on_the_way_depends_on_the_seed_alone_too(
    installed: dict[str, Checkpoint], family: str, sampler: str
) -> None:
    steps, rounding = (30, 1e-3) if sampler == "langevin" else (4, 1e-4)  # some processors round by the batch
    whole = transformed(installed[family], sampler=sampler, steps=steps)
    np.testing.assert_allclose(
        transformed(installed[family], sampler=sampler, steps=steps, batch=1).mean, whole.mean, atol=rounding
    )


def test_the_reference_sampler_runs_the_levels_of_training(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    options = {"network": {"widths": [8, 16], "unshuffle": 2, "groups": 4}, "steps": 12}
    checkpoint = tiny_checkpoint(tmp_path / "short.safetensors", "ddpm", options=options)
    volume = mt.Volume(head(SHAPE), RAS, contrast="T1")
    for _ in mt.stream(
        volume, checkpoint, target="T2", n=2, slices=(4, 5), sampler="reference",
        on_step=lambda done, total: calls.append((done, total)),
    ):  # fmt: skip
        pass
    assert calls[-1] == (11, 12)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_file_of_one_family_is_not_taken_for_another(tmp_path: Path, family: str) -> None:
    other = "direct" if family != "direct" else "resvit"
    right = tiny_checkpoint(tmp_path / "right.safetensors", family)
    wrong = Checkpoint(right.path, right.card.model_copy(update={"model": other}))
    with pytest.raises(CheckpointError, match=r"'right.safetensors' does not (describe|fit)"):
        wrong.build()
