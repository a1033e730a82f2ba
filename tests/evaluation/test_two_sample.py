from __future__ import annotations

import numpy as np
import pytest

from napari_mrtrans.evaluation import two_sample
from napari_mrtrans.evaluation.held_out import NotMeasured
from napari_mrtrans.evaluation.two_sample import SIDE, Classifier, Patches, patches


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_sample, "STEPS", 60)


def person(seed: int, blur: float) -> Patches:
    """A person's patches: targets are white noise on the source, answers are that too, or blurred."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    source, head = rng.random((56, 56, 5)), np.ones((56, 56, 5), dtype=bool)
    first, second = (0.5 * source + 0.3 * rng.standard_normal(source.shape) for _ in range(2))
    answer = gaussian_filter(first, (blur, blur, 0)) if blur else first
    return patches((source, answer, second, head), 2, rng, range(5))


def test_blurred_answers_are_told_from_targets_and_answers_of_the_same_kind_are_not() -> None:
    assert Classifier(person(0, 1.0)).auc(person(1, 1.0)) > 0.95
    assert Classifier(person(0, 0.0)).auc(person(1, 0.0)) == pytest.approx(0.5, abs=0.15)


def test_patches_lie_in_the_head_and_show_source_beside_image() -> None:
    rng = np.random.default_rng(0)
    source, answer, target = rng.random((3, 40, 60, 4))
    head = np.zeros((40, 60, 4), dtype=bool)
    head[:, :36, 1] = True
    found = patches((source, answer, target, head), 2, rng, range(4))
    assert len(found.answers) == 2 * found.answers.sum() > 0
    assert found.images.shape[1:] == (2, SIDE, SIDE)
    assert ((found.images[:, 0] > 0).mean(axis=(1, 2)) >= 0.75).all()
    np.testing.assert_array_equal(found.images[found.answers, 0], found.images[~found.answers, 0])
    assert np.isin(found.images[found.answers, 1], np.append(answer[head].astype(np.float32), 0)).all()
    assert np.isin(found.images[~found.answers, 1], np.append(target[head].astype(np.float32), 0)).all()


def test_one_class_is_refused_and_a_small_head_has_no_figure() -> None:
    both = person(0, 1.0)
    only = Patches(both.images[both.answers], both.answers[both.answers])
    with pytest.raises(NotMeasured, match="samples and targets of training people; one of them is missing"):
        Classifier(only)
    empty = Patches(both.images[:0], both.answers[:0])
    with pytest.raises(NotMeasured, match="one of them is missing"):
        Classifier(empty)
    assert Classifier(both).auc(empty) is None
