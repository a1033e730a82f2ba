from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import platformdirs
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from helpers import head, planted_row
from napari_mrtrans import MrtransError, metrics
from napari_mrtrans.evaluation.measure import Sampling
from napari_mrtrans.evaluation.optional import Optional
from napari_mrtrans.metrics import perceptual
from napari_mrtrans.paths import metrics_cache_dir


@pytest.fixture(scope="module")
def pair() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Slices along axis 1, the first and last empty."""
    target = head((40, 21, 48)).astype(np.float64) / 500
    noise = 0.1 * np.random.default_rng(0).standard_normal(target.shape)
    return np.where(target > 0, np.clip(target + noise, 0, 1), 0), target


def torchvision_layers() -> nn.Sequential:
    """The layers of torchvision.models.alexnet().features."""
    return nn.Sequential(
        nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(kernel_size=3, stride=2),
        nn.Conv2d(64, 192, kernel_size=5, padding=2), nn.ReLU(), nn.MaxPool2d(kernel_size=3, stride=2),
        nn.Conv2d(192, 384, kernel_size=3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, kernel_size=3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, kernel_size=3, padding=1), nn.ReLU(), nn.MaxPool2d(kernel_size=3, stride=2),
    )  # fmt: skip


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Sequential, Path]:
    """Random weights, and their file with torchvision's keys, a classifier among them."""
    torch.manual_seed(0)
    features = torchvision_layers()
    state = {f"features.{key}": value for key, value in features.state_dict().items()}
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.save({**state, "classifier.1.weight": torch.zeros(3, 4)}, path)
    return features, path


@pytest.fixture
def oracle(alexnet: tuple[nn.Sequential, Path], monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """torchmetrics' LPIPS on the same trunk."""
    from torchmetrics.functional.image import lpips

    monkeypatch.setattr(lpips, "_get_tv_model_features", lambda *_: alexnet[0])
    return lpips._LPIPS(net="alex")


def as_colour(images: NDArray[np.float64]) -> torch.Tensor:
    return torch.from_numpy(images).float()[:, None].expand(-1, 3, -1, -1)


def test_lpips_is_that_of_torchmetrics_on_the_filled_slices(
    pair: tuple[NDArray, NDArray], alexnet: tuple[nn.Sequential, Path], oracle: nn.Module
) -> None:
    prediction, target = pair
    filled = np.flatnonzero(target.any(axis=(0, 2)))
    assert 1 < len(filled) < target.shape[1]
    assert len(filled) % perceptual._BATCH
    mask = np.zeros(target.shape, dtype=bool)
    mask[5:35, filled[2:9], 8:40] = True
    for inside, chosen in ((None, filled), (mask, filled[2:9])):
        kept = [np.moveaxis(x if inside is None else x * inside, 1, 0)[chosen] for x in pair]
        expected = float(oracle(*map(as_colour, kept), normalize=True).mean())
        got = metrics.lpips(prediction, target, inside, axis=1, weights=alexnet[1])
        assert got == pytest.approx(expected, rel=1e-4)
        assert expected > 1e-3


def test_equal_images_are_at_distance_0_and_noise_adds_to_it(
    pair: tuple[NDArray, NDArray], alexnet: tuple[nn.Sequential, Path]
) -> None:
    prediction, target = pair
    at = {"axis": 1, "weights": alexnet[1]}
    assert metrics.lpips(target, target, **at) == 0
    assert metrics.lpips(prediction, target, **at) == pytest.approx(metrics.lpips(target, prediction, **at))
    assert metrics.lpips(0.5 * (prediction + target), target, **at) < metrics.lpips(prediction, target, **at)


def test_what_was_not_computed_outside_the_mask_does_not_matter(
    pair: tuple[NDArray, NDArray], alexnet: tuple[nn.Sequential, Path]
) -> None:
    prediction, target = pair
    mask = np.zeros(target.shape, dtype=bool)
    mask[5:35, 5:12, 8:40] = True
    known = metrics.lpips(prediction, target, mask, axis=1, weights=alexnet[1])
    some = np.where(mask, prediction, np.nan)
    assert metrics.lpips(some, target, mask, axis=1, weights=alexnet[1]) == known > 0
    # Slices may be turned: their memory runs backwards.
    turned = [image[:, ::-1] for image in (some, target, mask)]
    assert metrics.lpips(*turned, axis=1, weights=alexnet[1]) == pytest.approx(known, rel=1e-5)


def test_the_environment_names_the_weights(
    pair: tuple[NDArray, NDArray], alexnet: tuple[nn.Sequential, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAPARI_MRTRANS_ALEXNET", str(alexnet[1]))
    assert metrics.lpips(*pair, axis=1) == metrics.lpips(*pair, axis=1, weights=str(alexnet[1]))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user's cache, and no weights named."""
    monkeypatch.delenv("NAPARI_MRTRANS_ALEXNET", raising=False)
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda app: tmp_path / "cache" / app)
    return metrics_cache_dir()


def serve(path: Path, folder: Path, digest: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Offer the weights for download under a name with a digest, as PyTorch's server does."""
    offered = folder / f"alexnet-owt-{digest}.pth"
    offered.write_bytes(path.read_bytes())
    monkeypatch.setattr(perceptual, "ALEXNET_URL", offered.as_uri())
    return offered


def test_weights_are_fetched_once(
    pair: tuple[NDArray, NDArray], alexnet: tuple[nn.Sequential, Path], cache: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    digest = hashlib.sha256(alexnet[1].read_bytes()).hexdigest()[:8]
    offered = serve(alexnet[1], tmp_path, digest, monkeypatch)
    expected = metrics.lpips(*pair, axis=1, weights=alexnet[1])
    assert metrics.lpips(*pair, axis=1) == expected
    assert [file.name for file in cache.iterdir()] == [offered.name]
    offered.unlink()
    assert metrics.lpips(*pair, axis=1) == expected


def test_what_was_damaged_on_the_way_is_not_used(
    pair: tuple[NDArray, NDArray], alexnet: tuple[nn.Sequential, Path], cache: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    serve(alexnet[1], tmp_path, "00000000", monkeypatch)
    with pytest.raises(MrtransError, match="LPIPS is unavailable"):
        metrics.lpips(*pair, axis=1)
    assert list(cache.iterdir()) == []


def test_without_weights_the_remedy_is_named_in_one_line(
    pair: tuple[NDArray, NDArray], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perceptual, "ALEXNET_URL", (tmp_path / "none-12345678.pth").as_uri())
    with pytest.raises(MrtransError, match=r"unavailable: .* elsewhere and name the file in NAPARI_MRTRANS_ALEXNET\.$"):
        metrics.lpips(*pair, axis=1)
    assert not cache.exists() or list(cache.iterdir()) == []


def test_other_files_are_refused(
    pair: tuple[NDArray, NDArray], alexnet: tuple[nn.Sequential, Path], tmp_path: Path
) -> None:
    with pytest.raises(MrtransError, match=r"Cannot read .* from '.*missing.pth' \(No such file or directory\)"):
        metrics.lpips(*pair, axis=1, weights=tmp_path / "missing.pth")
    damaged, other = tmp_path / "damaged.pth", tmp_path / "other.pth"
    for content in (b"", b"hello", alexnet[1].read_bytes()[:1000]):
        damaged.write_bytes(content)
        with pytest.raises(MrtransError, match=r"Cannot read .* \(no weights of torch\)"):
            metrics.lpips(*pair, axis=1, weights=damaged)
    torch.save({"features.0.weight": torch.zeros(64, 3, 11, 11)}, other)
    with pytest.raises(MrtransError, match="does not hold torchvision's AlexNet"):
        metrics.lpips(*pair, axis=1, weights=other)


def test_without_torchmetrics_it_says_what_to_install(
    pair: tuple[NDArray, NDArray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perceptual, "find_spec", lambda name: None)
    with pytest.raises(MrtransError, match=r"pip install 'napari-mrtrans\[eval\]'"):
        metrics.lpips(*pair, axis=1)


def test_refusals(pair: tuple[NDArray, NDArray]) -> None:
    prediction, target = pair
    with pytest.raises(MrtransError, match="different shapes"):
        metrics.lpips(prediction[1:], target, axis=1)
    with pytest.raises(MrtransError, match="mask is empty"):
        metrics.lpips(prediction, target, np.zeros(target.shape, dtype=bool), axis=1)
    with pytest.raises(MrtransError, match="at least 31 pixels"):
        metrics.lpips(prediction, target, axis=0)
    with pytest.raises(MrtransError, match="not all empty"):
        metrics.lpips(np.zeros((40, 3, 40)), np.zeros((40, 3, 40)), axis=1)
    with pytest.raises(MrtransError, match="axis 3 of shape"):
        metrics.lpips(prediction, target, axis=3)


def test_lpips_that_was_lacking_comes_back_and_small_slices_lack_it_alone(
    alexnet: tuple[nn.Sequential, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `evaluate` asks before it measures a row again, with a real file of weights."""
    monkeypatch.setenv("NAPARI_MRTRANS_ALEXNET", str(alexnet[1]))
    said: list[str] = []
    figures = Optional(said.append, Path(), {}, Sampling(n=1))
    assert figures.has_more(planted_row("a", lpips=None)) and not figures.has_more(planted_row("a", lpips=0.1))
    small, large = np.full((20, 20, 1), 0.5, np.float32), np.full((40, 40, 1), 0.5, np.float32)
    assert figures.lpips(small, small, 2) is None and figures.lpips(small, small, 2) is None
    assert figures.lpips(large, large, 2) == 0
    assert len(said) == 1 and "at least 31 pixels" in said[0]


def test_whether_lpips_can_be_had_is_asked_without_a_word(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Else a run that goes on would say more was lacking than one that was not stopped."""
    monkeypatch.setenv("NAPARI_MRTRANS_ALEXNET", str(tmp_path / "gone.pth"))
    said: list[str] = []
    figures = Optional(said.append, Path(), {}, Sampling(n=1))
    assert not figures.has_more(planted_row("a", lpips=None))
    assert not said and not figures.missing
    large = np.full((40, 40, 1), 0.5, np.float32)
    assert figures.lpips(large, large, 2) is None
    assert len(said) == 1 and "Cannot read AlexNet" in said[0]
