"""What is asked of an adaptation is checked where it is asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_mrtrans.asked.settings import Settings
from napari_mrtrans.errors import MrtransError
from napari_mrtrans.scan.contrasts import Contrast, Pair

T1_T2 = Pair(Contrast.T1, Contrast.T2)


@pytest.mark.parametrize("pairs", [("T1->T2",), ["T1→T2"], [T1_T2]])
def test_pairs_may_be_written_as_everywhere(pairs: Any) -> None:
    assert Settings(pairs=pairs).pairs == (T1_T2,)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"pairs": "T1->T2"}, r"in a list such as \['T1->T2'\]"),
        ({"pairs": 3}, "Name at least one pair"),
        ({"pairs": []}, "Name at least one pair"),
        ({"pairs": ["T1"]}, "'T1' is no pair of contrasts; write it as T1->T2"),
        ({"pairs": T1_T2}, "'T1' is no pair of contrasts"),
        ({"minutes": "1"}, "Minutes must be a number; got '1'"),
        ({"minutes": True}, "Minutes must be a number; got True"),
        ({"minutes": float("nan")}, "Minutes must be more than 0; got nan"),
        ({"seed": 0.5}, r"The seed must be a whole number; got 0\.5"),
        ({"seed": -1}, r"The seed must be at least 0 and less than 2\^32; got -1"),
        ({"name": 7}, "'7' cannot name a site"),
        ({"device": 0}, "Unknown device '0'"),
    ],
)
def test_what_is_none_of_these_is_named(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(MrtransError, match=told):
        Settings(**asked)


def test_numbers_of_numpy_are_numbers() -> None:
    assert Settings(minutes=np.float32(2), seed=np.int64(3)).seed == 3  # type: ignore[arg-type]
