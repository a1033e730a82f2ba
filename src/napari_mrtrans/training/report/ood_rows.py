"""Scores of normal and unusual inputs, as the report takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

NORMAL = "normal"


@dataclass(frozen=True)
class OodRow:
    """One input of one checkpoint and pair.

    Attributes:
        checkpoint: Its name.
        pair: Transformation.
        subject: Whose scan.
        kind: ``normal``, or which artefact or pathology.
        sigma_hat: Mean standard deviation over the head (the paper's σ̂).
        scores: Other scores by name, larger = more unusual.
        probability: Calibrated P(unusual), None if there is none.
    """

    checkpoint: str
    pair: str
    subject: str
    kind: str
    sigma_hat: float
    scores: dict[str, float] = field(default_factory=dict)
    probability: float | None = None

    @property
    def unusual(self) -> bool:
        """The label of :mod:`napari_mrtrans.detection`."""
        return self.kind != NORMAL


def by_model(rows: Sequence[OodRow]) -> dict[tuple[str, str], list[OodRow]]:
    """Rows of each checkpoint and pair (σ̂ of different targets do not compare), where both classes are there."""
    groups: dict[tuple[str, str], list[OodRow]] = {}
    for row in rows:
        groups.setdefault((row.checkpoint, row.pair), []).append(row)
    return {key: mine for key, mine in groups.items() if len({row.unusual for row in mine}) == 2}
