"""Whether what the corrected spread has learned of some people's errors holds for people of another origin.

Reads what ``napari-mrtrans-train calibrate`` measured of training and validation people. For each origin (the first
letters of their names, or the data set) the curves are fitted to everybody else, and the rank correlation of the size
of the error with four maps is taken on the people of that origin: the standard deviation of the samples, the same
averaged over its surroundings, that times the curves, and plain intensity (of answer or source, whichever is the
closer, either sign). All rows in the file are taken: let the folder be of one calibration.

    python benchmarks/spread_curves.py OUT/t1-t2-flair-flow/measured.jsonl
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np

from napari_mrtrans.checkpoints.correction import SpreadCorrection, Voxels
from napari_mrtrans.evaluation.held_out import data_set
from napari_mrtrans.evaluation.ood_study import Measurement
from napari_mrtrans.evaluation.scans import person
from napari_mrtrans.metrics.uncertainty import rank_correlation, rank_of_intensity
from napari_mrtrans.training.finished import Finished

HEAD = ("std", "surroundings", "and curves", "intensity")


def origin(row: Measurement) -> str:
    """Hospital or data set."""
    letters = re.match(r"sub-([A-Za-z]{1,4})", person(row.subject))
    return letters[1] if letters else data_set(row.subject)


def ranks(correction: SpreadCorrection, voxels: Voxels) -> list[float]:
    """Of the four maps."""
    maps = (voxels.std, voxels.smooth, correction.of(voxels))
    plain = rank_of_intensity(voxels.answer, voxels.source, voxels.error)
    return [*(rank_correlation(image, voxels.error) for image in maps), plain]


def main() -> None:
    """Print a table by origin and one by pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", type=Path)
    kept = Finished(parser.parse_args().measured, Measurement).rows.values()
    rows = [row for row in kept if row.kept and row.role != "test"]
    found: dict[str, list[list[float]]] = {}
    for pair in dict.fromkeys(row.pair for row in rows):
        mine = [row for row in rows if row.pair == pair]
        for one in sorted({origin(row) for row in mine}):
            others = [row.answered for row in mine if origin(row) != one]
            if others:
                correction = SpreadCorrection.shaped(Voxels.joined(others))
                people = [ranks(correction, row.answered) for row in mine if origin(row) == one]
                for group in (f"{one} ({len({row.subject for row in rows if origin(row) == one})})", pair, "all"):
                    found.setdefault(group, []).extend(people)
    print(f"| left out | {' | '.join(HEAD)} |\n|{'---|' * (len(HEAD) + 1)}")
    for group, values in sorted(found.items()):
        print(f"| {group} | {' | '.join(f'{value:.3f}' for value in np.mean(values, axis=0))} |")


if __name__ == "__main__":
    main()
