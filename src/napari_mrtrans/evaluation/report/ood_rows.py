"""Scores of normal and unusual inputs, as the report takes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from math import isfinite, nan
from pathlib import Path

from ...errors import MrtransError
from ...paths import json_text
from ...scan.contrasts import Pair

NORMAL = "normal"


@dataclass(frozen=True)
class OodRow:
    """One input of one checkpoint and pair.

    Attributes:
        checkpoint: Its name.
        pair: Transformation.
        subject: Whose scan.
        kind: ``normal``, or which artefact or pathology.
        sigma_hat: Mean standard deviation over the head (the paper's σ̂); NaN for deterministic models.
        scores: Scores by name, larger = more unusual; NaN where unknown.
        probability: Calibrated P(unusual), None if there is none.
        of_three: The same of three neighbouring slices each, at several places.
    """

    checkpoint: str
    pair: str
    subject: str
    kind: str
    sigma_hat: float
    scores: dict[str, float] = field(default_factory=dict)
    probability: float | None = None
    of_three: list[float] = field(default_factory=list)

    @property
    def unusual(self) -> bool:
        """The label of :mod:`napari_mrtrans.metrics.detection`."""
        return self.kind != NORMAL


def by_model(rows: Sequence[OodRow]) -> dict[tuple[str, str], list[OodRow]]:
    """Rows with a σ̂ of each checkpoint and pair (σ̂ of different targets do not compare), where both classes are."""
    return grouped([row for row in rows if isfinite(row.sigma_hat)])


def grouped(rows: Sequence[OodRow]) -> dict[tuple[str, str], list[OodRow]]:
    """The same, with those of models that give one answer and have no σ̂."""
    groups: dict[tuple[str, str], list[OodRow]] = {}
    for row in rows:
        groups.setdefault((row.checkpoint, row.pair), []).append(row)
    return {key: mine for key, mine in groups.items() if len({row.unusual for row in mine}) == 2}


def not_told(rows: Sequence[OodRow]) -> list[str]:
    """A line on each checkpoint and pair whose detection of unusual inputs the report cannot tell, or that there are no
    rows."""
    if not rows:
        return ["detection of unusual inputs: what was given holds no scores."]
    lines, both, sampled = [], grouped(rows), by_model(rows)
    for checkpoint, pair in dict.fromkeys((row.checkpoint, row.pair) for row in rows):
        mine = [row for row in rows if (row.checkpoint, row.pair) == (checkpoint, pair)]
        why = ""
        if (checkpoint, pair) not in both:
            there, lacking = ("unusual", "usual") if mine[0].unusual else ("usual", "unusual")
            why = f"all its inputs are {there}, and none {lacking}"
        elif (checkpoint, pair) not in sampled and any(row.probability is None for row in mine):
            why = "neither σ̂ nor P(OOD) of usual and unusual inputs is known"
        if why:
            lines.append(f"detection of unusual inputs, {checkpoint}, {pair}: {why}.")
    return lines


def to_json(rows: Sequence[OodRow]) -> str:
    """The rows as JSON, unknown scores left out, other unknown numbers as null."""
    documents = []
    for row in rows:
        scores = {name: value for name, value in row.scores.items() if isfinite(value)}
        documents.append(asdict(row) | {"scores": scores})
    return json_text(documents, indent=1, ensure_ascii=False) + "\n"


def read_rows(path: Path) -> list[OodRow]:
    """What :func:`to_json` wrote to a file.

    Raises:
        MrtransError: it cannot be read, or holds something else.
    """
    try:
        rows = [OodRow(**document) for document in json.loads(path.read_text(encoding="utf-8"))]
        return [
            replace(row, pair=str(Pair.parse(row.pair)), sigma_hat=nan if row.sigma_hat is None else row.sigma_hat)
            for row in rows
        ]
    except (OSError, ValueError, TypeError, MrtransError) as error:
        line = str(error).splitlines()[0]
        raise MrtransError(
            f"'{path}' holds no scores of unusual inputs ({line}); give a .ood.json of napari-mrtrans-train calibrate."
        ) from None
