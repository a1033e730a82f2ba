"""The paper's Table 3, and how well each score finds each kind of unusual input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ...datasets.bids import subject_of
from ...metrics import detection
from .ood_rows import OodRow, by_model, grouped
from .tables import NONE, Cell, Table

RESAMPLES = 1000
#: Kept beside the scores: what has a column of its own, and a count.
_NO_SCORES = ("sigma_hat", "slices")


def detected(rows: Sequence[OodRow]) -> Table | None:
    """Table 3: calibration errors before and after calibration, AUC and the largest F1; None without both classes.

    Before calibration, σ̂ is scaled to [0, 1] by the range of these very inputs.
    """
    lines = []
    for (checkpoint, pair), mine in grouped(rows).items():
        if spread := by_model(mine).get((checkpoint, pair)):
            mine = spread  # of a model that samples, what was sampled
        labels, raw = [row.unusual for row in mine], [row.sigma_hat for row in mine]
        calibrated = [row.probability for row in mine if row.probability is not None]
        whole = len(calibrated) == len(mine)
        if not whole and not spread:
            continue
        low, high = auc_interval(mine) if spread else (np.nan, np.nan)
        lines.append(
            [
                *map(Cell, (checkpoint, pair, f"{len(mine) - sum(labels)} + {sum(labels)}")),
                *(_errors(labels, detection.min_max(raw)) if spread else [Cell(NONE)] * 3),
                *(_errors(labels, calibrated) if whole else [Cell(NONE)] * 3),
                Cell(f"{detection.auc(labels, raw):.3f}", f"{low:.3f} to {high:.3f}") if spread else Cell(NONE),
                Cell(f"{detection.auc(labels, calibrated):.3f}" if whole else NONE),
                Cell(f"{detection.max_f1(labels, raw):.3f}" if spread else NONE),
                Cell(f"{detection.all_positive_f1(labels):.3f}"),
            ]
        )
    errors = ("ECE", "Brier", "NLL")
    head = ["checkpoint", "pair", "normal + unusual", *(f"{name}, σ̂" for name in errors),
            *(f"{name}, calibrated" for name in errors), "AUC, σ̂", "AUC, calibrated", "max F1, σ̂",
            "F1 of calling all unusual"]  # fmt: skip
    note = (
        "ECE, Brier score and NLL: smaller is better. σ̂ before calibration is scaled by the range of these inputs. "
        "Second line of AUC: 95 % bootstrap interval over subjects, too narrow for few of them. A maximum F1 means "
        "something only above the F1 of calling every input unusual."
    )
    return Table("Telling unusual inputs from normal ones", head, lines, note) if lines else None


def by_kind(rows: Sequence[OodRow]) -> Table | None:
    """AUC of σ̂ and of every other score for each kind of unusual input; None without both classes."""
    names = list(dict.fromkeys(name for row in rows for name in row.scores if name not in _NO_SCORES))
    lines = []
    for (checkpoint, pair), mine in grouped(rows).items():
        for kind in dict.fromkeys(row.kind for row in mine if row.unusual):
            some = [row for row in mine if row.kind == kind or not row.unusual]
            labels = [row.unusual for row in some]
            known = [row for row in some if np.isfinite(row.sigma_hat)]
            both = len({row.unusual for row in known}) == 2
            sigma = detection.auc([row.unusual for row in known], [row.sigma_hat for row in known]) if both else None
            texts = [NONE if sigma is None else f"{sigma:.3f}"]
            for name in names:
                scores = [row.scores[name] for row in some if name in row.scores]
                texts.append(f"{detection.auc(labels, scores):.3f}" if len(scores) == len(some) else NONE)
            lines.append([*map(Cell, (checkpoint, pair, kind, str(sum(labels)), *texts))])
    head = ["checkpoint", "pair", "kind", "inputs", "σ̂", *names]
    note = "AUC of each score, against all normal inputs: 0.5 is chance, 1 perfect, below 0.5 the wrong way round."
    return Table("AUC by kind of input and score", head, lines, note) if lines else None


def auc_interval(rows: Sequence[OodRow]) -> tuple[float, float]:
    """95 % bootstrap interval (percentiles) of the AUC of σ̂; a subject is drawn with all its inputs."""
    subjects = sorted({subject_of(row.subject) for row in rows})
    drawn = np.random.default_rng(0).multinomial(len(subjects), np.full(len(subjects), 1 / len(subjects)), RESAMPLES)
    weights = drawn[:, [subjects.index(subject_of(row.subject)) for row in rows]].astype(float)
    unusual = np.array([row.unusual for row in rows])
    scores = np.array([row.sigma_hat for row in rows])
    # The share of pairs in the right order, ties half, each pair as often as its inputs were drawn.
    order = 0.5 + 0.5 * np.sign(scores[unusual][:, None] - scores[~unusual])
    right = ((weights[:, unusual] @ order) * weights[:, ~unusual]).sum(axis=1)
    pairs = weights[:, unusual].sum(axis=1) * weights[:, ~unusual].sum(axis=1)
    low, high = np.percentile(right[pairs > 0] / pairs[pairs > 0], [2.5, 97.5])
    return float(low), float(high)


def _errors(labels: Sequence[bool], probability: ArrayLike) -> list[Cell]:
    return [Cell(f"{of(labels, probability):.3f}") for of in (detection.ece, detection.brier, detection.nll)]
