"""The paper's Figs. 3 and 9 and the effect of the number of samples; None where there is nothing to draw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

from ...metrics.coverage import LEVELS
from ..row import COUNTS
from .results import SIMILARITY, Results, mean_of

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Okabe and Ito's colours, told apart by everyone; what is not a checkpoint is grey.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#b8a900")
GREYS = ("#bbbbbb", "#888888")


def colours(names: Sequence[str], grey: Sequence[str] = ()) -> dict[str, str]:
    """A colour for each name, greys for those in ``grey``."""
    bright = [name for name in names if name not in grey]
    found = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(bright)}
    return found | {name: GREYS[i % len(GREYS)] for i, name in enumerate(grey)}


def similarity(results: Results) -> Figure | None:
    """Fig. 3: box plots over subjects of each metric, by pair and method; dots are subjects.

    Boxes span the quartiles, whiskers reach to 1.5 times that range.
    """
    from matplotlib.figure import Figure

    methods = results.methods
    colour = colours(methods, [name for name in methods if name not in results.models])
    metrics = [metric for metric in SIMILARITY if any(metric.of(row) is not None for row in results.rows)]
    width = max(6.0, 0.22 * len(methods) * len(results.pairs) + 1.5)
    figure = Figure(figsize=(width, 2.7 * len(metrics)), layout="constrained")
    step = 0.8 / len(methods)
    for axes, metric in zip(figure.subplots(len(metrics), 1, squeeze=False)[:, 0], metrics, strict=True):
        alike = results.alike(metric.attribute)
        for i, method in enumerate(methods):
            for at, pair in enumerate(results.pairs):
                if values := list(alike.values(metric, method, pair).values()):
                    x = at - 0.4 + step * (i + 0.5)
                    line = {"color": colour[method]}
                    axes.boxplot(
                        values, positions=[x], widths=0.8 * step, showfliers=False, boxprops=line, whiskerprops=line,
                        capprops=line, medianprops=line | {"linewidth": 2},
                    )  # fmt: skip
                    axes.plot([x] * len(values), values, ".", color=colour[method], markersize=4)
        axes.set_xticks(range(len(results.pairs)), results.pairs)
        axes.set(
            ylabel=metric.heading + (", less is better" if metric.smaller else ""),
            xlim=(-0.5, len(results.pairs) - 0.5),
        )
        axes.grid(axis="y", color="#eeeeee")
        for border in np.arange(len(results.pairs) - 1) + 0.5:
            axes.axvline(border, color="#dddddd", linewidth=0.8)
    handles = [axes.plot([], [], color=colour[method], linewidth=3, label=method)[0] for method in methods]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize="small", frameon=False)
    return figure


def calibration(results: Results) -> Figure | None:
    """Fig. 9: share of target voxels inside the samples' central intervals, over the nominal level; a panel a pair."""
    from matplotlib.figure import Figure

    results = results.alike()
    sampling = [m for m in results.models if any(row.coverage is not None for row in results.where(m))]
    if not sampling:
        return None
    colour = colours(list(results.models))
    columns = min(3, len(results.pairs))
    lines = -(-len(results.pairs) // columns)
    figure = Figure(figsize=(3.1 * columns + 0.4, 3.1 * lines + 0.7), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, pair in zip(panels, results.pairs, strict=False):
        axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
        for method in sampling:
            rows = [row for row in results.where(method, pair) if row.coverage is not None]
            if not rows:
                continue
            for row in rows:
                axes.plot(LEVELS, row.coverage, color=colour[method], alpha=0.3, linewidth=0.8)
            mean = mean_of(rows, attrgetter("coverage"))
            axes.plot(LEVELS, mean, ".-", color=colour[method], label=method)
        axes.set(title=pair, xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.grid(color="#eeeeee")
    for axes in panels[len(results.pairs) :]:
        axes.set_axis_off()
    for at, axes in enumerate(panels[: len(results.pairs)]):
        axes.set_ylabel("" if at % columns else "share of target voxels inside")
        axes.set_xlabel("nominal central interval" if at + columns >= len(results.pairs) else "")
        axes.tick_params(labelbottom=True)
    legend_below(figure, panels)
    return figure


def effect_of_n(results: Results) -> Figure | None:
    """PSNR and SSIM inside the head of the mean of the first n samples; means over pairs and subjects."""
    from matplotlib.figure import Figure

    results, colour = results.with_samples(), colours(list(results.models))
    names = (("psnr_of_n", "PSNR (dB)", 1), ("ssim_of_n", "SSIM (%)", 100))
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, (attribute, heading, factor) in zip(panels, names, strict=True):
        for method in results.models:
            if means := [factor * value for value in results.curve(attribute, method)]:
                axes.plot(COUNTS[: len(means)], means, "o-", color=colour[method], label=method, markersize=4)
        axes.set(xlabel="samples averaged", ylabel=heading, xscale="log")
        _mark_counts(axes)
    if not panels[0].lines:
        return None
    legend_below(figure, panels)
    return figure


def cumulants(results: Results) -> Figure | None:
    """κ1 to κ4 of the first n samples, mean over the head, pairs and subjects, over n; None without samples."""
    from matplotlib.figure import Figure

    results, colour = results.with_samples(), colours(list(results.models))
    figure = Figure(figsize=(10, 2.9), layout="constrained")
    panels = figure.subplots(1, 4)
    for order, axes in enumerate(panels, start=1):
        for method in results.models:
            curve = results.curve(f"kappa{order}_of_n", method)
            if curve:
                axes.plot(COUNTS[: len(curve)], curve, "o-", color=colour[method], label=method, markersize=4)
        axes.set(title=f"κ{order}", xlabel="samples", xscale="log")
        _mark_counts(axes)
    if not panels[0].lines:
        return None
    legend_below(figure, panels)
    return figure


def _mark_counts(axes: Axes) -> None:
    """Ticks where samples were counted."""
    used = [count for count in COUNTS if count <= axes.dataLim.xmax]
    axes.set_xticks(used, [str(count) for count in used])
    axes.minorticks_off()
    axes.grid(color="#eeeeee")


def legend_below(figure: Figure, panels: Iterable[Axes]) -> None:
    """One entry a name, of all panels."""
    handles: dict[str, Artist] = {}
    for axes in panels:
        handles |= dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    figure.legend(
        handles=list(handles.values()),
        labels=list(handles),
        loc="outside lower center",
        ncols=3,
        fontsize="small",
        frameon=False,
    )
