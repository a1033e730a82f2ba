"""Volumes of an evaluation."""

from __future__ import annotations

import numpy as np

from helpers import turned_head
from napari_mrtrans.evaluation.held_out import _normalised
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.scan.prepared import PreparedVolume
from napari_mrtrans.scan.volume import Volume


def test_a_whole_head_is_measured_on_the_scale_on_which_it_is_transformed() -> None:
    volume = Volume(turned_head(), np.diag([5.0, 5, 5, 1]), Contrast.T1)
    measured, head = _normalised(volume, Contrast.T1)
    prepared = PreparedVolume.of(volume)
    assert prepared.whole
    np.testing.assert_array_equal(head, prepared.head)
    np.testing.assert_array_equal(measured, prepared.normalised(Contrast.T1))
