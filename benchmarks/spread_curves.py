"""Whether what the corrected spread has learned of some people's errors holds for people of another origin.

Reads what ``napari-mrtrans-train calibrate`` measured. For each origin (the first letters of people's names, or the
data set) the curves are fitted to everybody else of the training and validation people. The rank correlation of the
size of the error with five maps is taken on the people of that origin: the standard deviation of the samples, the same
averaged over its surroundings, that times the curves, curves fitted without a standard deviation (what intensities can
tell of a person before the errors are known), and plain intensity with hindsight (of answer or source, whichever is the
closer in a scan, either sign). The same for the test people, with curves fitted to all others. All rows in the file are
taken: let the folder be of one calibration.

    python benchmarks/spread_curves.py OUT/t1-t2-flair-flow/measured.jsonl
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_mrtrans.checkpoints.correction import SpreadCorrection, Voxels
from napari_mrtrans.datasets.bids import data_set
from napari_mrtrans.evaluation.ood_study import Measurement
from napari_mrtrans.evaluation.scans import person
from napari_mrtrans.metrics.uncertainty import rank_correlation, rank_of_intensity
from napari_mrtrans.training.finished import Finished

HEAD = ("std", "surroundings", "and curves", "intensity, foretold", "with hindsight")


def origin(row: Measurement) -> str:
    """Hospital or data set."""
    letters = re.match(r"sub-([A-Za-z]{1,4})", person(row.subject))
    return letters[1] if letters else data_set(row.subject)


def without_std(voxels: Voxels) -> Voxels:
    """As if all samples were alike everywhere."""
    return replace(voxels, smooth=np.ones_like(voxels.smooth))


def ranks(correction: SpreadCorrection, foretold: SpreadCorrection, voxels: Voxels) -> list[float]:
    """Of the five maps; ``foretold`` was fitted without a standard deviation."""
    maps = (voxels.std, voxels.smooth, correction.of(voxels), foretold.of(without_std(voxels)))
    plain = rank_of_intensity(voxels.answer, voxels.source, voxels.error)
    return [*(rank_correlation(image, voxels.error) for image in maps), plain]


def left_out(rows: Sequence[Measurement], apart: Callable[[Measurement], str]) -> dict[str, list[list[float]]]:
    """What curves fitted to the other rows give on those that are ``apart``, by their name, by pair and in all."""
    found: dict[str, list[list[float]]] = {}
    for pair in dict.fromkeys(row.pair for row in rows):
        mine = [row for row in rows if row.pair == pair]
        for one in sorted({apart(row) for row in mine} - {""}):
            others = [row.answered for row in mine if apart(row) != one]
            if others:
                known = Voxels.joined(others)
                fitted = SpreadCorrection.shaped(known), SpreadCorrection.shaped(without_std(known))
                people = [ranks(*fitted, row.answered) for row in mine if apart(row) == one]
                for group in (f"{one} ({len({row.subject for row in rows if apart(row) == one})})", pair, "all"):
                    found.setdefault(group, []).extend(people)
    return found


def main() -> None:
    """Print a table of the origins left out and one of the test people."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", type=Path)
    rows = [row for row in Finished(parser.parse_args().measured, Measurement).rows.values() if row.kept]
    known = [row for row in rows if row.role != "test"]
    for found in (left_out(known, origin), left_out(rows, lambda row: "test" if row.role == "test" else "")):
        print(f"| left out | {' | '.join(HEAD)} |\n|{'---|' * (len(HEAD) + 1)}")
        for group, values in sorted(found.items()):
            print(f"| {group} | {' | '.join(f'{value:.3f}' for value in np.mean(values, axis=0))} |")


if __name__ == "__main__":
    main()
