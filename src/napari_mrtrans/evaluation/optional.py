"""Figures that may not be to be had: what they lack is said once, and the others are measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import metrics
from ..checkpoints.checkpoint import Checkpoint
from ..datasets.bids import Session
from ..errors import MrtransError
from ..scan.contrasts import Pair
from ..training.finished import digest
from .held_out import trained_on
from .measure import Sampling, TwoSample
from .row import Row
from .two_sample import TwoSampleTest


class Optional:
    """LPIPS and the two-sample test, until it turns out what they lack.

    Args:
        say: Told it.
        root: The data folder.
        sessions: Of it, by name; the training people are among them.
        sampling: How checkpoints are sampled.
    """

    def __init__(
        self, say: Callable[[str], None], root: Path, sessions: Mapping[str, Session], sampling: Sampling
    ) -> None:
        self._say, self._root, self._sessions, self._sampling = say, root, sessions, sampling
        self._tests: dict[tuple[str, Pair], TwoSampleTest] = {}
        self._digests: dict[tuple[str, Pair], str] = {}
        self._no_lpips = False
        self._noted = 0
        #: What was lacking, in lines.
        self.missing: list[str] = []

    def _lacks(self, line: str) -> None:
        self.missing.append(line)
        self._say(f"{line} All other figures are measured.")

    def noted(self, row: Row) -> Row:
        """The row with what has turned out to be lacking since the last one: a run that goes on finds it there."""
        new, self._noted = self.missing[self._noted :], len(self.missing)
        return replace(row, lacks=[*(row.lacks or ()), *new]) if new else row

    def has_more(self, row: Row) -> bool:
        """Whether a row that was measured without LPIPS can have it now."""
        return row.lpips is None and self._lpips_is_there

    @cached_property
    def _lpips_is_there(self) -> bool:
        """Tried on the quiet: what it lacks is for the row to say that asks for it."""
        grey = np.full((64, 64, 1), 0.5, dtype=np.float32)
        try:
            metrics.lpips(grey, grey, axis=2)
        except MrtransError:
            return False
        return True

    def lpips(self, prediction: NDArray, target: NDArray, axis: int) -> float | None:
        """LPIPS of whole slices."""
        if not self._no_lpips:
            try:
                return metrics.lpips(prediction, target, axis=axis)
            except metrics.NoSlices as error:  # of this volume; others may have some
                if (line := f"LPIPS: {error}") not in self.missing:
                    self._lacks(line)
            except MrtransError as error:
                self._no_lpips = True
                self._lacks(f"LPIPS: {error}")
        return None

    def _training(self, checkpoint: Checkpoint, pair: Pair) -> list[Session]:
        """Training people of a checkpoint who are there and have both contrasts."""
        names = trained_on(checkpoint, self._root)
        return [s for n in names if (s := self._sessions.get(n)) and {pair.source, pair.target} <= s.files.keys()]

    def training_digest(self, checkpoint: Checkpoint, pair: Pair) -> str:
        """Of the files that the two-sample test learns from, looked at once."""
        key = checkpoint.sha256, pair
        if key not in self._digests:
            stamps = [s.stamp(needed=()) for s in self._training(checkpoint, pair)]
            self._digests[key] = digest({"files": stamps})
        return self._digests[key]

    def two_sample(self, checkpoint: Checkpoint, pair: Pair) -> TwoSample:
        """The test of a checkpoint, whose classifier is trained once for all held-out people."""

        def measured(source: NDArray, answer: NDArray, target: NDArray, head: NDArray, axis: int) -> float | None:
            key = checkpoint.sha256, pair
            if key not in self._tests:
                training = self._training(checkpoint, pair)
                self._tests[key] = TwoSampleTest(training, pair, checkpoint, self._sampling)
            try:
                return self._tests[key](source, answer, target, head, axis)
            except MrtransError as error:
                line = f"two-sample test of {checkpoint.name}, {pair}: {error}"
                if line not in self.missing:
                    self._lacks(line)
                return None

        return measured
