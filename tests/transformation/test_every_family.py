"""What holds for every family: a volume in, an ensemble out, and samples that depend on nothing but their seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import napari_mrtrans as mt
from helpers import RAS, head, tiny_checkpoint
from napari_mrtrans.checkpoints.checkpoint import Checkpoint
from napari_mrtrans.errors import CheckpointError
from napari_mrtrans.models import FAMILIES

SHAPE = (30, 36, 8)
#: A generator whose noise is an image, beside one of each family.
OF_IMAGES = "cgan-of-images"
KINDS = [*FAMILIES, OF_IMAGES]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    folder = tmp_path_factory.mktemp("checkpoints")
    made = {family: tiny_checkpoint(folder / f"tiny-{family}.safetensors", family) for family in FAMILIES}
    return made | {OF_IMAGES: tiny_checkpoint(folder / f"{OF_IMAGES}.safetensors", "cgan", latent_form="image")}


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


@pytest.mark.parametrize("family", ["flow", "ncsn", "ddpm"])
@pytest.mark.parametrize("sampler", ["ancestral", "langevin", "ddim"])
def test_noise_added_on_the_way_depends_on_the_seed_alone_too(
    installed: dict[str, Checkpoint], family: str, sampler: str
) -> None:
    whole = transformed(installed[family], sampler=sampler, steps=4)
    np.testing.assert_allclose(
        transformed(installed[family], sampler=sampler, steps=4, batch=1).mean, whole.mean, atol=1e-4
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
