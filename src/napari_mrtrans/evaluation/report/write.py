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

from ...errors import MrtransError
from ...metrics.coverage import LEVELS
from ...page.html import Picture, Section, page
from ...paths import json_text, write_together
from ..lesion_sums import NAMES
from ..row import COUNTS, Row
from . import figures, ood_figures, ood_tables, published, spread_tables, tables
from .ood_rows import OodRow
from .results import Results
from .summary import obtained, summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Held-out evaluation of contrast transformation"
TABLE, DOCUMENT, SUMMARY, PAGE = "metrics.csv", "metrics.json", "summary.md", "report.html"
_DRAWN = ("similarity", "calibration", "effect-of-n", "cumulants", "ood-sigma-hat", "ood-detection")
#: Row attributes that are lists, with what their items are of.
_LISTS: dict[str, Sequence[object]] = {
    "coverage": LEVELS,
    **dict.fromkeys(("psnr_of_n", "ssim_of_n", *(f"kappa{k}_of_n" for k in (1, 2, 3, 4))), COUNTS),
    "band_ratios": ("coarse", "middle", "fine"),
    "lesion_sums": NAMES,
}


def check_foreign(out: Path, kept: Path) -> None:
    """See that no file is replaced that no evaluation has written.

    Args:
        out: The folder.
        kept: What an evaluation keeps of its rows there.

    Raises:
        MrtransError: a file of a report is there, and neither the rows nor the figures of an earlier one.
    """
    drawn = (f"figures/{name}.{kind}" for name in _DRAWN for kind in ("png", "svg"))
    there = next((out / name for name in (TABLE, DOCUMENT, SUMMARY, PAGE, *drawn) if (out / name).exists()), None)
    if there is not None and not kept.exists() and not _is_document(out / DOCUMENT):
        raise MrtransError(
            f"'{there}' is there, and no evaluation has written it; choose another folder with -o, or move the file."
        )


def _is_document(path: Path) -> bool:
    """Whether a file is the figures of a report."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and {"about", "rows"} <= found.keys()


def write_report(
    out: Path,
    rows: Sequence[Row],
    about: dict[str, Any],
    ood: Sequence[OodRow] = (),
    pictures: Mapping[str, Path] | None = None,
) -> list[Path]:
    """Write tables, figures (PNG and SVG) and ``report.html``.

    Args:
        out: The folder.
        rows: What was measured.
        about: How: settings, ``checkpoints`` (name, model, trained_on), date, machine, ``left_out``,
            ``doubts``.
        ood: Scores of normal and unusual inputs.
        pictures: PNG files by caption, to be shown in the page.

    Raises:
        MrtransError: the folder cannot be written.
    """
    results = Results(rows, about)
    drawn = (
        figures.similarity(results),
        figures.calibration(results),
        figures.effect_of_n(results),
        figures.cumulants(results),
        ood_figures.swarm(ood),
        ood_figures.curves(ood),
    )
    images = {name: _render(figure) for name, figure in zip(_DRAWN, drawn, strict=True) if figure}
    document = {"about": about, "rows": [asdict(row) for row in rows], "ood": [asdict(row) for row in ood]}
    paths = write_together(
        out,
        {
            TABLE: _csv(rows),
            DOCUMENT: json_text(document, indent=1) + "\n",
            SUMMARY: summary(rows, about),
            PAGE: page(TITLE, sections(results, ood, images, pictures or {})),
        },
    )
    files = {f"{name}.{kind}": partial(_put, data) for name, kinds in images.items() for kind, data in kinds.items()}
    return paths + write_together(out / "figures", files)


def sections(
    results: Results,
    ood: Sequence[OodRow],
    images: Mapping[str, Mapping[str, bytes]],
    pictures: Mapping[str, Path],
) -> list[Section]:
    """What the page says, in the order of the paper's results."""

    def picture(name: str, caption: str) -> Picture | None:
        return Picture(images[name]["svg"], "svg+xml", caption) if name in images else None

    paired = results.about.get("antithetic", True)
    independent = "every second sample, of antithetic pairs one each" if paired else "independent samples"
    other = tables.other_data(results)
    shown = [Picture(path.read_bytes(), "png", caption) for caption, path in pictures.items()]
    found = [
        Section(
            "What was measured",
            obtained(results),
            warnings=[*results.about.get("left_out", []), *results.about.get("doubts", [])],
        ),
        Section(
            "Pictures",
            "Slices of the first subject of each pair and data set: source, target, prediction (the mean of the "
            "samples), absolute error, and standard deviation of the samples.",
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
            "The paper's Tables 4 and 2. "
            + ("" if other else "No checkpoint met a data set that it was not trained on."),
            [tables.averages(results), other],
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
            "test lets pass (0.95 for truly normal samples). These, the cumulants (equation 17) and the effect of n "
            f"are of {independent}.",
            [tables.spread(results), spread_tables.effect_of_n(results), spread_tables.cumulants(results)],
            [
                picture(
                    "calibration", "Coverage of central intervals, as the paper's Fig. 9; thin lines are subjects."
                ),
                picture("effect-of-n", "Mean of the first n samples against the target, inside the head."),
                picture("cumulants", "Cumulants of the first n samples, mean over the head, over n."),
            ],
        ),
        Section(
            "Where the errors are",
            "Rank correlations (Spearman) with the absolute error of the mean over the head: of the standard "
            "deviation, as sampled and as corrected, of plain intensity (prediction or source, whichever is closer) "
            "and of the prediction's in-plane gradient. Sparsification error: 0 = as good as the errors themselves, "
            "1 = at random. CRPS against the mean absolute error, which is the CRPS of one image without a spread. "
            "Power of (sample - mean) over that of (target - mean) in bands of wavelength: 1 = as wide as the errors. "
            "Told apart: AUC of a small network that tells answers from targets on people it was not trained on, 0.5 = "
            "it cannot.",
            [spread_tables.errors(results)],
        ),
        Section(
            "Lesions and tumours",
            "Pearson's r between answer and target inside expert masks, over the voxels of all people together, and "
            "the mean of each person's. The paper's, over 14 people with MS, T1→T2: direct 0.748, resvit 0.696, cgan "
            "0.669, ncsn 0.705, ddpm 0.711.",
            [spread_tables.lesions(results)],
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
        Section(
            "What training took",
            "Slices and hours are all of a network and of those it started from; memory is the most of them.",
            [spread_tables.training(results)],
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
        del plain["lacks"]
        for name, of in _LISTS.items():
            values = plain.pop(name) or []
            plain |= {f"{name}_{item}": value for item, value in zip(of, values + [None] * len(of), strict=False)}
        flat.append(plain)
    table = io.StringIO()
    writer = csv.DictWriter(table, list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return table.getvalue()
