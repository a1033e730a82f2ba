"""The paper's Figs. 5 and 6: σ̂ of normal and unusual inputs, and how well it tells them apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...metrics import detection
from .figures import colours, legend_below
from .ood_rows import NORMAL, OodRow, by_model

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def swarm(rows: Sequence[OodRow]) -> Figure | None:
    """Fig. 5: σ̂ of every input, above before calibration and below as P(unusual); a column a checkpoint and pair."""
    from matplotlib.figure import Figure

    groups = by_model(rows)
    if not groups:
        return None
    colour = colours(list(dict.fromkeys(row.kind for row in rows)), [NORMAL])
    calibrated = any(row.probability is not None for mine in groups.values() for row in mine)
    figure = Figure(figsize=(2.9 * len(groups) + 0.6, 3.0 * (1 + calibrated) + 0.7), layout="constrained")
    panels = figure.subplots(1 + calibrated, len(groups), squeeze=False)
    for column, ((checkpoint, pair), mine) in enumerate(groups.items()):
        panels[0, column].set_title(f"{checkpoint}\n{pair}", fontsize=9)
        for axes, attribute in zip(panels[:, column], ("sigma_hat", "probability"), strict=False):
            for side, unusual in enumerate((False, True)):
                some = [r for r in mine if r.unusual == unusual and getattr(r, attribute) is not None]
                values = np.array([getattr(row, attribute) for row in some])
                x = side + beside(values)
                for kind in dict.fromkeys(row.kind for row in some):
                    picked = np.array([row.kind == kind for row in some])
                    axes.plot(x[picked], values[picked], "o", color=colour[kind], label=kind, markersize=4)
            axes.set_xticks([0, 1], [NORMAL, "unusual"])
            axes.set_xlim(-0.5, 1.5)
            axes.grid(axis="y", color="#eeeeee")
    panels[0, 0].set_ylabel("σ̂")
    panels[-1, 0].set_ylabel("P(unusual)" if calibrated else "σ̂")
    legend_below(figure, panels.ravel())
    return figure


def curves(rows: Sequence[OodRow]) -> Figure | None:
    """Fig. 6: ROC curves and F1 over the threshold on σ̂ scaled to [0, 1], with the F1 of calling all unusual."""
    from matplotlib.figure import Figure

    groups = by_model(rows)
    if not groups:
        return None
    figure = Figure(figsize=(9, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
    for colour, ((checkpoint, pair), mine) in zip(
        colours([str(key) for key in groups]).values(), groups.items(), strict=True
    ):
        labels, scores = [row.unusual for row in mine], detection.min_max([row.sigma_hat for row in mine])
        name = f"{checkpoint}, {pair}"
        left.plot(
            *detection.roc(labels, scores), color=colour, label=f"{name}: AUC {detection.auc(labels, scores):.3f}"
        )
        thresholds, f1 = detection.f1_curve(labels, scores)
        right.step(thresholds, f1, where="pre", color=colour, label=f"{name}: max {f1.max():.3f}")
        right.axhline(detection.all_positive_f1(labels), color=colour, linestyle=":", linewidth=0.8)
    left.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    right.set(xlabel="threshold on scaled σ̂ (dotted: all called unusual)", ylabel="F1", ylim=(0, 1.05))
    for axes in (left, right):
        axes.legend(fontsize="x-small", loc="lower right" if axes is left else "lower left")
        axes.grid(color="#eeeeee")
    return figure


def beside(values: NDArray[np.floating], width: float = 0.35, bins: int = 30) -> NDArray[np.float64]:
    """Sideways places of the dots of a swarm: those of one height side by side, centred, within ``width``."""
    place = np.zeros(len(values))
    if not len(values):
        return place
    height = np.floor(bins * (values - values.min()) / max(float(np.ptp(values)), 1e-12))
    crowd = max(int(np.unique(height, return_counts=True)[1].max()), 8)
    for level in np.unique(height):
        mine = np.flatnonzero(height == level)
        place[mine] = (np.arange(len(mine)) - (len(mine) - 1) / 2) * 2 * width / crowd
    return place
