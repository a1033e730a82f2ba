"""The floor that :mod:`.evaluate` compares checkpoints with: a monotone curve from source to target intensity."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets.bids import Session
from ..errors import MrtransError, VolumeError
from ..scan.contrasts import Pair
from .held_out import NotMeasured, PairedVolumes

#: Voxels drawn from each training subject.
LOOKUP_VOXELS = 20_000


def best_curve(x: NDArray[np.floating], y: NDArray[np.floating]) -> Any:
    """Isotonic regression of ``y`` on ``x``, both (values,), rising or falling, whichever has less squared error."""
    from sklearn.isotonic import IsotonicRegression

    fits = [IsotonicRegression(increasing=up, out_of_bounds="clip").fit(x, y) for up in (True, False)]
    return min(fits, key=lambda fit: float(np.square(fit.predict(x) - y).sum()))


class Lookup:
    """The best monotone look-up table target(source), fitted when it is first asked.

    Args:
        sessions: Training subjects.
        pair: What it serves.
    """

    def __init__(self, sessions: Sequence[Session], pair: Pair) -> None:
        self.sessions = [session for session in sessions if {pair.source, pair.target} <= session.files.keys()]
        self.pair = pair
        self._useless: MrtransError | None = None

    @cached_property
    def fit(self) -> Any:
        """Isotonic regression, rising or falling, on voxels of all subjects that can be used.

        Raises:
            MrtransError: none can.
        """
        if self._useless is not None:  # read once, not for everybody who is looked up
            raise self._useless
        rng = np.random.default_rng(0)
        xs, ys = [], []
        last: MrtransError = NotMeasured(f"No training subject has both contrasts of {self.pair}.")
        for session in self.sessions:
            try:
                paired = PairedVolumes.open(session, self.pair)
            except (VolumeError, NotMeasured) as error:  # of one: the others tell as much
                last = error
                continue
            both = np.flatnonzero(paired.both)
            picked = rng.choice(both, min(LOOKUP_VOXELS, len(both)), replace=False)
            xs.append(paired.source.ravel()[picked])
            ys.append(paired.target.ravel()[picked])
        if not xs:
            self._useless = last
            raise last
        return best_curve(np.concatenate(xs), np.concatenate(ys))

    def __call__(self, source: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(self.fit.predict(source.ravel()).reshape(source.shape), dtype=np.float32)
