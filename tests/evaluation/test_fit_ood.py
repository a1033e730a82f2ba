from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from napari_mrtrans.errors import MrtransError
from napari_mrtrans.evaluation.fit_ood import Sigma, balanced, balanced_figures, fit_ood, sigma_ranges
from napari_mrtrans.evaluation.out_of_fold import Image, novelty_and_artefact, out_of_fold
from napari_mrtrans.ood.score import FEWEST, IMAGE_SCORES
from napari_mrtrans.ood.signs import Looks
from napari_mrtrans.scan.contrasts import Contrast

FEATURES, SLICES = 6, 12
NAMES = [f"set/sub-{i}" for i in range(12)]
#: Each shifts one feature; motion shifts none, and the network alone sees it.
SHIFTS = {"noise": 0, "spike": 1, "ghosting": 2}
KINDS = (*SHIFTS, "motion")
LOOKS = Looks(contrasts=[Contrast.T1, Contrast.T2], kinds=["none", *KINDS])


def image(subject: str, kind: str, rng: np.random.Generator, *, size: float = 4.0) -> Image:
    """Twelve slices of normal features, and a network that is right more often than not."""
    x = rng.normal(size=(SLICES, FEATURES))
    if kind in SHIFTS:
        x[:, SHIFTS[kind]] += size
    logits = rng.normal(size=(SLICES, LOOKS.size))
    logits[:, 0] += size
    logits[:, len(LOOKS.contrasts) + (LOOKS.kinds.index(kind) if kind in KINDS else 0)] += size / 2
    split = len(LOOKS.contrasts)
    told = [part - np.logaddexp.reduce(part, axis=1)[:, None] for part in (logits[:, :split], logits[:, split:])]
    return Image(subject, Contrast.T1, kind, np.hstack([x, *told]))


def study(*, size: float = 4.0, sigma: float = 0.05, seed: int = 0) -> tuple[list[Image], list[Sigma]]:
    """Usual scans have a σ̂ near 0.05, unusual ones near ``sigma``."""
    rng = np.random.default_rng(seed)
    images = [image(name, kind, rng, size=size) for name in NAMES for kind in ("normal", *KINDS)]
    sigmas = [
        Sigma(one, "T1->T2", value, np.array([value]))
        for one in images
        for value in [float(rng.normal(0.05 if one.usual else sigma, 0.004))]
    ]
    return images, sigmas


def test_where_the_image_tells_its_score_is_the_one_chosen() -> None:
    images, sigmas = study()
    ood, figures = fit_ood(images, sigmas, 20, LOOKS)
    assert ood.score == "image"
    assert figures["image"]["auc"] > 0.99
    assert figures["sigma_hat"]["auc"] < 0.7
    assert (figures["normal"], figures["unusual"]) == (12, 48)
    fresh = np.random.default_rng(9)
    for kind, expected in (("normal", False), ("noise", True), ("motion", True)):
        signs = ood.signs(image("sub-new", kind, fresh).features, Contrast.T1)
        scores = ood.scores("T1->T2", 20, 0.05, np.array([0.05]), signs)
        assert (ood.assess(scores) > 0.5) == expected
        assert (ood.reason(scores, signs, Contrast.T1) == "motion") == (kind == "motion")


def test_where_sigma_hat_tells_it_is_heard() -> None:
    images, sigmas = study(size=0.0, sigma=0.2)
    ood, figures = fit_ood(images, sigmas, 20, LOOKS)
    assert ood.score in ("sigma_hat", "sigma_hat_max", "combined")
    assert figures["image"]["auc"] < 0.8 < figures[ood.score]["auc"]


def test_sigma_hat_of_people_whom_the_network_knows_is_no_ground_for_a_choice() -> None:
    images, sigmas = study(size=0.0, sigma=0.2)
    ood, figures = fit_ood(images, [replace(one, seen=True) for one in sigmas], 20, LOOKS)
    assert "sigma_hat" not in figures and ood.score in IMAGE_SCORES
    assert set(ood.ranges) == {"T1->T2"}  # the range of training scans is theirs still


def test_novelty_misses_what_no_feature_shows_and_the_networks_see_it() -> None:
    images, _ = study()
    some = [one for one in images if one.usual or one.kind == "motion"]
    _, figures = fit_ood(some, [], 20, LOOKS)
    assert figures["novelty"]["auc"] < 0.75 < 0.95 < figures["artefact"]["auc"]
    assert figures["image"]["auc"] > figures["novelty"]["auc"]


def test_without_networks_novelty_decides() -> None:
    images, _ = study()
    plain = [replace(one, features=one.features[:, :FEATURES]) for one in images if one.kind != "motion"]
    ood, figures = fit_ood(plain, [], 20)
    assert ood.looks is None and "contrast" not in figures and figures["image"]["auc"] > 0.95


def test_usual_scans_score_zero_on_average_out_of_fold() -> None:
    images, _ = study(seed=1)
    ood, _ = fit_ood(images, [], 20, LOOKS)
    fresh = np.random.default_rng(5)
    new = [ood.signs(image("", "normal", fresh).features, Contrast.T1) for _ in range(100)]
    for part in ("artefact", "contrast"):
        means = [np.mean([getattr(signs, part) for signs in own]) for own in new]
        assert np.mean(means) == pytest.approx(0, abs=1.0)
        assert 0.3 < np.std(means) < 3


def test_three_slices_are_judged_on_their_own_terms() -> None:
    """Of few slices the mean varies more, so the same score is less of a proof."""
    images, _ = study(size=1.2)
    ood, _ = fit_ood(images, [], 20, LOOKS)
    few, many = (ood.probability[count] for count in (FEWEST, SLICES))
    grid = np.linspace(*np.quantile(many.scores, [0.0, 1.0]), 50)
    slope = [np.ptp([fitted(value) for value in grid]) for fitted in (few, many)]
    assert few != many and slope[1] > 0.5


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
    scores = out_of_fold(images, partial(novelty_and_artefact, size=FEATURES))
    found = np.array([own[:, 1].mean() for own in scores])
    unusual = np.array([not one.usual for one in images])
    assert np.isfinite(found).all()
    assert found[unusual].mean() - found[~unusual].mean() < found.std()


def test_one_class_alone_is_refused() -> None:
    images, _ = study()
    with pytest.raises(MrtransError, match="needs normal and unusual scans"):
        fit_ood([one for one in images if one.usual], [], 20, LOOKS)


def test_a_model_without_spread_is_judged_by_its_images() -> None:
    images, _ = study()
    ood, figures = fit_ood(images, [], 1, LOOKS)
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


def test_a_contrast_of_few_people_does_not_decide_for_the_others() -> None:
    """Unknown out of fold for one person's FLAIR, every score that sees artefacts would be out of the question."""
    images, sigmas = study()
    rng = np.random.default_rng(7)
    rare = [replace(image(NAMES[0], kind, rng), source=Contrast.FLAIR) for kind in ("normal", *KINDS)]
    said: list[str] = []
    ood, figures = fit_ood([*images, *rare], sigmas, 20, LOOKS, said.append)
    assert ood.score == "image" and figures["image"]["auc"] > 0.99
    assert (figures["normal"], figures["unusual"]) == (12, 48)
    assert [line for line in said if "FLAIR" in line]
    blank = replace(images[0], features=np.full_like(images[0].features, np.nan))
    ood, _ = fit_ood([blank, *images[1:]], sigmas, 20, LOOKS)
    assert ood.score == "image"


def flair_of_some(flair: set[int], people: int) -> list[Image]:
    """A FLAIR of some of the people, and a T1 of each of the others; each usual, and with an artefact."""
    rng = np.random.default_rng(8)
    made = [image(f"sub-{number:02}", kind, rng) for number in range(people) for kind in ("normal", "noise")]
    return [replace(one, source=Contrast.FLAIR) if int(one.subject[4:]) in flair else one for one in made]


@pytest.mark.parametrize(("flair", "people"), [({0, 2, 3, 12}, 24), ({0, 1, 2, 12, 24, 36}, 48)])
def test_a_contrast_that_four_people_have_is_known_whoever_they_are(flair: set[int], people: int) -> None:
    """Of more people than folds several are left out together: of FLAIR never so many that fewer than three remain."""
    said: list[str] = []
    ood, _ = fit_ood(flair_of_some(flair, people), [], 20, LOOKS, said.append)
    assert not said and set(ood.novelty) == {Contrast.T1, Contrast.FLAIR}


def test_folds_are_of_people_alone_wherever_that_leaves_enough_of_each_contrast() -> None:
    from sklearn.model_selection import GroupKFold

    for flair in ({0, 1, 2, 3}, {0, 1, 2}):  # enough of FLAIR are left, and no division would leave enough
        images, seen = flair_of_some(flair, 24), []

        def fit(some: list[Image], seen: list = seen) -> object:
            seen.append({one.subject for one in some})
            return lambda one: np.zeros((len(one.features), 2))

        out_of_fold(images, fit)
        names = [one.subject for one in images]
        assert seen == [{names[i] for i in train} for train, _ in GroupKFold(12).split(names, groups=names)]


def test_few_scans_tell_no_range() -> None:
    assert sigma_ranges([("T1->T2", 0.05)] * 4) == {}
    assert sigma_ranges([("T1->T2", 0.05)] * 5)["T1->T2"].middle == 0.05


def test_sigma_hat_of_several_targets_is_compared_within_each() -> None:
    images, sigmas = study(size=0.0, sigma=0.08)
    wide = [replace(s, pair="T1->FLAIR", sigma_hat=3 * s.sigma_hat, per_slice=3 * s.per_slice) for s in sigmas]
    _, alone = fit_ood(images, sigmas, 20, LOOKS)
    ood, both = fit_ood(images, [*sigmas, *wide], 20, LOOKS)
    assert both["sigma_hat"]["auc"] == pytest.approx(alone["sigma_hat"]["auc"]) and alone["sigma_hat"]["auc"] > 0.99
    assert ood.score not in ("sigma_hat", "sigma_hat_max")
