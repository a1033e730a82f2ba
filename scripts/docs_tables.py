"""Tables of the docs, made of the figures in docs/results: what `evaluate` and `calibrate` wrote there.

    python scripts/docs_tables.py            prints them
    python scripts/docs_tables.py --write    puts each in the place of the one with the same heading

A test sees that the docs hold them as they are.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_mrtrans.evaluation.report import summary
from napari_mrtrans.training.recipe import Recipe
from napari_mrtrans.training.recipe_keys import keys_of

DOCS = Path(__file__).parents[1] / "docs"
PAIRS = ("T1→T2", "T1→FLAIR", "T2→T1", "T2→FLAIR", "FLAIR→T1", "FLAIR→T2")
SAMPLING = ("flow", "ddpm", "ncsn", "cgan", "pool")
#: Methods in the order of models.md, and what they are called there.
METHODS = {
    "look-up table": "look-up table",
    "blurred target": "blurred target",
    "t1-t2-flair-direct": "t1-t2-flair-direct",
    "t1-t2-flair-direct, three planes": "the same, three planes (below)",
    "t1-t2-flair-resvit": "t1-t2-flair-resvit",
    "t1-t2-flair-cgan": "t1-t2-flair-cgan",
    "t1-t2-flair-ncsn": "t1-t2-flair-ncsn",
    "t1-t2-flair-ddpm": "t1-t2-flair-ddpm",
    "t1-t2-flair-flow": "t1-t2-flair-flow",
    "t1-t2-flair-flow, three planes": "the same, three planes (below)",
    "t1-t2-flair-pool": "t1-t2-flair-pool",
}
#: Figures of the same table, by their headings and digits in the report.
FIGURES = {"ssim", "psnr", "psnr_fitted", "sample_psnr", "lpips", "std_over_rmse", "fine_detail"}
COLUMNS = [column for column in summary.COLUMNS if column[1] in FIGURES]

Rows = list[dict[str, Any]]


def mean(rows: Rows, method: str, figure: str, pairs: Sequence[str] = PAIRS, part: int | None = None) -> float:
    """Of a method's figure: over people in each pair, then over pairs; nan where a pair has none."""
    of_pairs = []
    for pair in pairs:
        values = [row.get(figure) for row in rows if (row["method"], row["pair"]) == (method, pair)]
        found = [value if part is None else value[part] for value in values if value is not None]
        of_pairs.append(float(np.mean(found)) if found else float("nan"))
    return float(np.mean(of_pairs))


def shown(value: float, digits: int) -> str:
    """It, or a dash."""
    return "–" if np.isnan(value) else f"{value:.{digits}f}"


def table(head: Sequence[str], lines: Iterable[Sequence[str]], indent: str = "") -> list[str]:
    """Markdown."""
    rows = [f"| {' | '.join(cells)} |" for cells in lines]
    return [indent + line for line in (f"| {' | '.join(head)} |", "|---" * len(head) + "|", *rows)]


def methods(rows: Rows) -> list[str]:
    """All methods, the six pairs together."""
    lines = [
        [told, *(shown(mean(rows, method, figure), digits) for _, figure, digits in COLUMNS)]
        for method, told in METHODS.items()
    ]
    return table(["method, six pairs", *(heading for heading, _, _ in COLUMNS)], lines)


def planes(rows: Rows) -> list[str]:
    """`flow` from one side and from three."""

    def cell(method: str, pairs: Sequence[str]) -> str:
        psnr, ssim, lpips, crps = (mean(rows, method, name, pairs) for name in ("psnr", "ssim", "lpips", "crps"))
        return f"{psnr:.2f} dB, {ssim:.3f}, {lpips:.3f}, {crps:.4f}"

    ways = ("t1-t2-flair-flow", "t1-t2-flair-flow, three planes")
    lines = [[pair, *(cell(way, [pair]) for way in ways)] for pair in PAIRS]
    lines.append(["all", *(cell(way, PAIRS) for way in ways)])
    return table(["four test people", "PSNR, SSIM3D, LPIPS, CRPS: axial", "three planes"], lines)


def ranks(rows: Rows) -> list[str]:
    """Rank correlation with the error on the people of `evaluate`: std as sampled, corrected, plain intensity."""

    def cell(name: str, pairs: Sequence[str]) -> str:
        figures = ("rank_std", "rank_calibrated", "rank_intensity")
        std, corrected, plain = (mean(rows, f"t1-t2-flair-{name}", figure, pairs) for figure in figures)
        return f"{std:.2f} → {corrected:.2f} ({plain:.2f})"

    lines = [[pair, *(cell(name, [pair]) for name in SAMPLING)] for pair in PAIRS]
    lines.append(["all", *(cell(name, PAIRS) for name in SAMPLING)])
    return table(["rank correlation, four people", *SAMPLING], lines, "  ")


def powers(rows: Rows) -> list[str]:
    """Power of the samples' deviations over that of the errors, long waves first."""

    def cell(name: str, pair: str) -> str:
        return ", ".join(f"{mean(rows, f't1-t2-flair-{name}', 'band_ratios', [pair], part):.2f}" for part in range(3))

    return table(["power", *SAMPLING], [[pair, *(cell(name, pair) for name in SAMPLING)] for pair in PAIRS], "  ")


def intervals(results: Path, computed: bool) -> list[list[str]]:
    """What the intervals hold and the rank correlations, of `calibrate`'s NAME.spread.md; of pairs of acquired images,
    or of those with PD ``computed``.
    """
    cells: dict[str, dict[str, list[str]]] = {}
    for name in SAMPLING:
        text = (results / f"t1-t2-flair-{name}.spread.md").read_text()
        for line in text.partition("With PD computed")[2 if computed else 0].splitlines():
            pair, *figures = (cell.strip() for cell in line.strip("|").split("|"))
            if "->" in pair or pair == "all":
                cells.setdefault(pair.replace("->", "→"), {})[name] = figures

    def two(text: str) -> str:
        return f"{float(text.partition(' ')[0]):.2f}"

    held = [[pair, *(f"{two(of[n][0])} → {two(of[n][1])}" for n in SAMPLING)] for pair, of in cells.items()]
    ranked = [
        [pair, *(f"{two(of[n][2])} → {two(of[n][3])} ({two(of[n][4])})" for n in SAMPLING)]
        for pair, of in cells.items()
    ]
    of, scans = (", computed PD", 32) if computed else ("", 28)
    return [
        table([f"coverage{of}", *SAMPLING], held, "  "),
        table([f"rank correlation, {scans} scans{of}", *SAMPLING], ranked, "  "),
    ]


def recipe_keys() -> list[str]:
    """Every key of a recipe."""
    told = [[f"`{key.name}`", f"`{key.usual}`" if key.usual else "", key.meaning] for key in keys_of(Recipe)]
    return table(["key of a recipe", "if left out", "what it is"], told)


def tables(docs: Path = DOCS) -> dict[str, list[list[str]]]:
    """By file, its tables: lines, heading first."""
    results = docs / "results"
    rows = json.loads((results / "metrics.json").read_text())["rows"]
    return {
        "models.md": [methods(rows), planes(rows)],
        "uncertainty.md": [
            *(lines for computed in (False, True) for lines in intervals(results, computed)),
            ranks(rows),
            powers(rows),
        ],
        "training.md": [recipe_keys()],
    }


def put(lines: list[str], new: list[str]) -> list[str]:
    """A table in the place of the one with the same heading.

    Raises:
        ValueError: there is not one of it.
    """
    if lines.count(new[0]) != 1:
        raise ValueError(f"{lines.count(new[0])} tables begin with: {new[0].strip()}")
    first = last = lines.index(new[0])
    while last < len(lines) and lines[last].lstrip().startswith("|"):
        last += 1
    return [*lines[:first], *new, *lines[last:]]


def main() -> None:
    """Print or write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    write = parser.parse_args().write
    for name, found in tables().items():
        path = DOCS / name
        lines = path.read_text().splitlines()
        for new in found:
            if write:
                lines = put(lines, new)
            else:
                print("\n".join([f"\n{name}:", *new]))
        if write:
            path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
