from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_mrtrans.errors import MrtransError
from napari_mrtrans.evaluation.fit_ood import (
    Image,
    Sigma,
    artefact_score,
    balanced,
    balanced_figures,
    fit_ood,
    out_of_fold,
)
from napari_mrtrans.ood.score import IMAGE_SCORES
from napari_mrtrans.scan.contrasts import Contrast

FEATURES = 6
NAMES = [f"set/sub-{i}" for i in range(12)]
SHIFTS = {"noise": 0, "spike": 1, "ghosting": 2}


def image(subject: str, kind: str, rng: np.random.Generator, *, size: float = 4.0) -> Image:
    """Eight slices of normal features; each kind shifts one of them."""
    x = rng.normal(size=(8, FEATURES))
    if kind in SHIFTS:
        x[:, SHIFTS[kind]] += size
    return Image(subject, Contrast.T1, kind, x)


def study(*, size: float = 4.0, sigma: float = 0.05, seed: int = 0) -> tuple[list[Image], list[Sigma]]:
    """Usual scans have a σ̂ near 0.05, unusual ones near ``sigma``."""
    rng = np.random.default_rng(seed)
    images = [image(name, kind, rng, size=size) for name in NAMES for kind in ("normal", *SHIFTS)]
    sigmas = [
        Sigma(one, "T1->T2", value, np.array([value]))
        for one in images
        for value in [float(rng.normal(0.05 if one.usual else sigma, 0.004))]
    ]
    return images, sigmas


def test_where_the_image_tells_its_score_is_the_one_chosen() -> None:
    images, sigmas = study()
    ood, figures = fit_ood(images, sigmas, n=20)
    assert ood.score == "image"
    assert figures["image"]["auc"] > 0.99 and figures["image"]["auc_unseen"] > 0.9
    assert figures["sigma_hat"]["auc"] < 0.7
    assert (figures["normal"], figures["unusual"]) == (12, 36)
    fresh = np.random.default_rng(9)
    for kind, expected in (("normal", False), ("noise", True)):
        novelty, artefact = ood.slice_scores(image("sub-new", kind, fresh).features, Contrast.T1).T
        scores = ood.scores("T1->T2", 20, 0.05, np.array([0.05]), novelty, artefact)
        assert (ood.assess(scores) > 0.5) == expected


def test_where_sigma_hat_tells_it_is_heard() -> None:
    images, sigmas = study(size=0.0, sigma=0.2)
    ood, figures = fit_ood(images, sigmas, n=20)
    assert ood.score in ("sigma_hat", "sigma_hat_max", "combined")
    assert figures["image"]["auc"] < 0.8 < figures[ood.score]["auc"]


def test_sigma_hat_of_people_whom_the_network_knows_is_no_ground_for_a_choice() -> None:
    images, sigmas = study(size=0.0, sigma=0.2)
    ood, figures = fit_ood(images, [replace(one, seen=True) for one in sigmas], n=20)
    assert "sigma_hat" not in figures and ood.score in IMAGE_SCORES
    assert set(ood.ranges) == {"T1->T2"}  # the range of training scans is theirs still


def test_a_detector_alone_misses_what_it_has_not_learned_and_novelty_does_not() -> None:
    images, sigmas = study()
    _, figures = fit_ood(images, sigmas, n=20)
    assert figures["artefact"]["auc"] > 0.99
    assert figures["artefact"]["auc_unseen"] < figures["novelty"]["auc_unseen"]
    assert figures["novelty"]["auc_unseen"] == pytest.approx(figures["novelty"]["auc"], abs=1e-12)


def test_usual_scans_score_zero_on_average_out_of_fold() -> None:
    images, sigmas = study()
    ood, _ = fit_ood(images, sigmas, n=20)
    assert ood.detector is not None
    fresh = np.random.default_rng(5)
    new = [ood.detector.slice_scores(image("", "normal", fresh).features, Contrast.T1).mean() for _ in range(100)]
    assert np.mean(new) == pytest.approx(0, abs=1.0)
    assert 0.3 < np.std(new) < 3


def test_a_person_is_never_judged_by_a_fold_that_knew_them() -> None:
    """Labels that hang on the person alone cannot be told out of fold; two data sets may hold the same person."""
    rng = np.random.default_rng(0)
    images = []
    for i in range(16):
        own = rng.normal(size=FEATURES) * 3
        for folder in ("a", "b"):
            for source in (Contrast.T1, Contrast.T2):
                x = own + 0.01 * rng.normal(size=(8, FEATURES))
                images.append(Image(f"{folder}/sub-{i}", source, "noise" if i % 2 else "normal", x))
    found = out_of_fold(images, artefact_score)
    unusual = np.array([not one.usual for one in images])
    assert np.isfinite(found).all()
    assert found[unusual].mean() - found[~unusual].mean() < found.std()


def test_one_class_alone_is_refused() -> None:
    images, _ = study()
    with pytest.raises(MrtransError, match="needs normal and unusual scans"):
        fit_ood([one for one in images if one.usual], [], n=20)


def test_a_model_without_spread_is_judged_by_its_images() -> None:
    images, _ = study()
    ood, figures = fit_ood(images, [], n=1)
    assert ood.score == "image" and not ood.ranges
    assert "sigma_hat" not in figures and "combined" not in figures


def test_balanced_draws_hold_as_many_of_each() -> None:
    labels = [False] * 5 + [True] * 40
    drawn = list(balanced(labels, draws=200))
    assert all(len(i) == 10 and np.asarray(labels)[i].sum() == 5 and len(set(i.tolist())) == 10 for i in drawn)
    assert set(np.concatenate(drawn).tolist()) == set(range(45))


def test_balanced_figures_do_not_reward_the_commoner_class() -> None:
    """P = 0.8 for everything is calibrated where four of five are unusual, and 0.3 off where half are."""
    labels = [False] * 20 + [True] * 80
    assert balanced_figures(labels, [0.8] * 100)["ece"] == pytest.approx(0.3, abs=1e-9)
    assert balanced_figures(labels, [0.8] * 100)["brier"] == pytest.approx(0.5 * (0.64 + 0.04), abs=1e-9)
