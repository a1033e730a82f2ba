"""How the minutes of an adaptation are spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Of the time: for figures, and, where people can be left out, for training without each of them.
FIGURES, LEFT_OUT = 0.2, 0.4
#: From so many people on, some are left out.
FEWEST_PEOPLE = 3
#: Minutes at least that a run without a person gets: with less it would say nothing of what all the minutes give.
SHORTEST = 1.0
#: How much longer than the runs without a person took to their best the last run may go on, for it sees more people.
LONGER = 1.5


@dataclass(frozen=True)
class Plan:
    """Seconds for everything.

    Attributes:
        total: All of it.
        left_out: Numbers of the people, from 0, who are left out in turn.
        each: For training without one of them.
        whole: For training on everybody.
        figures: For judging, each time.
    """

    total: float
    left_out: tuple[int, ...]
    each: float
    whole: float
    figures: float

    @classmethod
    def of(cls, minutes: float, people: int, seed: int, judged: Sequence[int] = ()) -> Plan:
        """As many people are left out as there is time for, one at least if there are three or more; first those who
        are ``judged`` on the most pairs, where it is known of each on how many."""
        total, order = 60 * minutes, np.random.default_rng(seed).permutation(people).tolist()
        if judged:
            order.sort(key=lambda person: -judged[person])
        count = min(people, max(1, int(LEFT_OUT * minutes / SHORTEST))) if people >= FEWEST_PEOPLE else 0
        each = LEFT_OUT * total / count if count else 0.0
        whole = total * (1 - FIGURES) - count * each
        return cls(total, tuple(sorted(order[:count])), each, whole, FIGURES * total / max(count, 1))

    def line(self, people: int) -> str:
        """For the user."""
        minutes = [
            f"{seconds / 60:.3g}" for seconds in (self.each, self.whole, self.figures * max(len(self.left_out), 1))
        ]
        if not self.left_out:
            return f"{minutes[1]} min of training and about {minutes[2]} min of figures."
        return (
            f"{len(self.left_out)} of {people} people left out in turn, {minutes[0]} min each; {minutes[1]} min on "
            f"everybody; about {minutes[2]} min of figures."
        )


class Clock:
    """How much of the plan is done."""

    def __init__(self, total: float) -> None:
        self.total, self._before = total, 0.0

    def at(self, seconds: float) -> tuple[float, float]:
        """Share that is done and seconds left, ``seconds`` into what is done now."""
        done = min(self._before + seconds, self.total)
        return done / self.total, self.total - done

    def finish(self, planned: float) -> None:
        """What was planned to take so long is done, however long it took."""
        self._before += planned
