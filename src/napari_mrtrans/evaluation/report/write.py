"""All files of a report, from rows."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...metrics.coverage import LEVELS
from ...paths import write_together
from ..measure import COUNTS, Row
from . import figures, ood_figures, ood_tables, published, tables
from .html import Picture, Section, page
from .ood_rows import OodRow
from .results import Results
from .summary import obtained, summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Held-out evaluation of contrast transformation"
#: Row attributes that are lists, with what their items are of.
_LISTS = {"coverage": LEVELS, "psnr_of_n": COUNTS, "ssim_of_n": COUNTS}


def write_report(
    out: Path,
    rows: Sequence[Row],
    about: dict[str, Any],
    ood: Sequence[OodRow] = (),
    montages: Mapping[tuple[str, str], Path] | None = None,
) -> list[Path]:
    """Write tables, figures (PNG and SVG) and ``report.html``.

    Args:
        out: The folder.
        rows: What was measured.
        about: How: settings, ``checkpoints`` (name, model, trained_on), date, machine, ``left_out``.
        ood: Scores of normal and unusual inputs.
        montages: PNG files by pair and method, to be shown in the page.

    Raises:
        MrtransError: the folder cannot be written.
    """
    results = Results(rows, about)
    drawn = {
        "similarity": figures.similarity(results),
        "calibration": figures.calibration(results),
        "effect-of-n": figures.effect_of_n(results),
        "ood-sigma-hat": ood_figures.swarm(ood),
        "ood-detection": ood_figures.curves(ood),
    }
    images = {name: _render(figure) for name, figure in drawn.items() if figure}
    document = {"about": about, "rows": [asdict(row) for row in rows], "ood": [asdict(row) for row in ood]}
    paths = write_together(
        out,
        {
            "metrics.csv": _csv(rows),
            "metrics.json": json.dumps(document, indent=1) + "\n",
            "summary.md": summary(rows, about),
            "report.html": page(TITLE, sections(results, ood, images, montages or {})),
        },
    )
    files = {f"{name}.{kind}": partial(_put, data) for name, kinds in images.items() for kind, data in kinds.items()}
    return paths + write_together(out / "figures", files)


def sections(
    results: Results,
    ood: Sequence[OodRow],
    images: Mapping[str, Mapping[str, bytes]],
    montages: Mapping[tuple[str, str], Path],
) -> list[Section]:
    """What the page says, in the order of the paper's results."""

    def picture(name: str, caption: str) -> Picture | None:
        return Picture(images[name]["svg"], "svg+xml", caption) if name in images else None

    shown = [Picture(path.read_bytes(), "png", f"{pair}, {name}") for (pair, name), path in montages.items()]
    found = [
        Section("What was measured", obtained(results), warnings=results.about.get("left_out", [])),
        Section(
            "Pictures",
            "One slice of the first subject of each pair: source, target, prediction (the mean of the samples), "
            "absolute error, and standard deviation of the samples.",
            pictures=shown,
        ),
        Section(
            "Similarity to the acquired target",
            "Mean ± standard deviation over subjects, on 3-D volumes in [0, 1] with their black background, as in the "
            "paper's Table 1. The background flatters; the head alone is below.",
            tables.similarity(results),
            [picture("similarity", "Dots are subjects; boxes quartiles; whiskers reach 1.5 times their range.")],
            tables.inside(results),
        ),
        Section(
            "Averages and other data",
            "The paper's Tables 4 and 2.",
            [tables.averages(results), tables.other_data(results)],
        ),
        Section(
            "Consistency of neighbouring slices",
            "The paper's Table 5, by both readings of its equation 12.",
            tables.consistency(results),
        ),
        Section(
            "Uncertainty",
            "Below the diagonal, samples are too much alike (overconfident); above, too different. Coverage is by "
            "randomised probability integral transform over voxels of the head, exact for any number of samples; the "
            "calibration error is the mean distance from the diagonal. Normal voxels: the share that the Shapiro-Wilk "
            "test lets pass (0.95 for truly normal samples).",
            [tables.spread(results)],
            [
                picture(
                    "calibration", "Coverage of central intervals, as the paper's Fig. 9; thin lines are subjects."
                ),
                picture("effect-of-n", "Mean of the first n samples against the target, inside the head."),
            ],
        ),
        Section(
            "Detection of unusual inputs",
            "σ̂ is the mean standard deviation over the head. The paper's Table 3 and Figs. 5 and 6.",
            [ood_tables.detected(ood), ood_tables.by_kind(ood)],
            [
                picture("ood-sigma-hat", "Each dot is an input; above before calibration, below after."),
                picture("ood-detection", "Left: ROC curves. Right: F1 over the threshold; dotted, all called unusual."),
            ],
        ),
        Section("The paper's figures", tables=[published.beside(results, ood)]),
    ]
    return [section for section in found if section is found[0] or any([*section.tables, *section.pictures])]


def _render(figure: Figure) -> dict[str, bytes]:
    """PNG and SVG, the same bytes for the same figure."""
    from matplotlib import rc_context

    found = {}
    with rc_context({"svg.hashsalt": "napari-mrtrans"}):
        for kind, metadata in (("png", {}), ("svg", {"Date": None})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, dpi=140, metadata=metadata)
            found[kind] = buffer.getvalue()
    return found


def _put(data: bytes, path: Path) -> None:
    path.write_bytes(data)


def _csv(rows: Sequence[Row]) -> str:
    """One line a row; lists are spread over columns such as ``coverage_0.9`` and ``psnr_of_n_5``."""
    flat = []
    for row in rows:
        plain = asdict(row)
        for name, of in _LISTS.items():
            values = plain.pop(name) or []
            plain |= {f"{name}_{item}": value for item, value in zip(of, values + [None] * len(of), strict=False)}
        flat.append(plain)
    table = io.StringIO()
    writer = csv.DictWriter(table, list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return table.getvalue()
