"""An acquired image beside a result."""

from __future__ import annotations

import numpy as np
import pytest

from helpers import head
from napari_mrtrans.metrics import psnr
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.scan.volume import Volume
from napari_mrtrans.transformation.acquired import acquired_on
from napari_mrtrans.transformation.request import Request


def test_errors_in_fluid_that_is_0_in_the_acquired_image_count() -> None:
    t1 = head((40, 48, 20))
    t2 = np.where(t1 > 0, 700 - t1, 0).astype(np.float32)
    fluid = (slice(16, 24), slice(20, 28), slice(8, 12))
    t2[fluid] = 0
    source, reference = (Volume(data, np.eye(4), name=name) for data, name in ((t1, "a_T1w"), (t2, "a_T2w")))
    asked = Request(Contrast.T2, Contrast.T1, prepare=False)
    found = acquired_on(reference, source, asked, np.eye(4))
    assert (found.head == (t1 > 0)).all()
    mean = found.image.copy()
    mean[fluid] = 0.5  # what is not there is shown
    assert (found.error(mean)[fluid] == 0.5).all()
    told = found.agreement(mean, 2, range(20))
    assert told.psnr == pytest.approx(psnr(mean, found.image, t1 > 0)) and told.psnr < 30
