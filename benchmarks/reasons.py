"""How often the reason of a verdict is the right one.

On people whom the checkpoint was not trained on: every scan as it is, with each simulated artefact, and under each
other contrast's name; whole scans, judged by five slices as ``napari-mrtrans ood`` does. A wrong contrast is named by
"looks like X, not Y", an artefact by its kind.

    python benchmarks/reasons.py t1-t2-flair-direct --data DATA [--part test]
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from napari_mrtrans import Volume, load_checkpoint
from napari_mrtrans.devices import describe_machine
from napari_mrtrans.evaluation.held_out import sessions_of
from napari_mrtrans.evaluation.ood_inputs import ARTEFACTS, corrupted
from napari_mrtrans.evaluation.scans import NORMAL, WRONG
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.transformation.request import Request
from napari_mrtrans.transformation.whole_volume import assess


def inputs(file: Path, true: Contrast, others: list[Contrast], seed: int) -> Iterator[tuple[str, Volume, str]]:
    """Kind, scan and the reason that would be right, of one file."""
    usual = Volume.load(file, true)
    yield NORMAL, usual, ""
    for kind in ARTEFACTS:
        yield kind, corrupted(usual, kind, seed), kind
    for called in others:
        yield WRONG, replace(usual, contrast=called), f"looks like {true}, not {called}"


def main() -> None:
    """Print a table: a line for each kind of scan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=load_checkpoint)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", default="validation", choices=("validation", "test"))
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    first = {pair.source: pair.target for pair in reversed(asked.checkpoint.pairs)}
    told: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for session in sessions_of(asked.data, asked.checkpoint, asked.part).values():
        for true, file in session.files.items():
            others = [contrast for contrast in session.files if contrast != true]
            for kind, volume, right in inputs(file, true, others, asked.seed):
                assert volume.contrast is not None
                request = Request(first[volume.contrast], volume.contrast, n=1)
                reason = assess(volume, asked.checkpoint, request)["ood_reason"]
                told[kind].append((reason, right))
    print("| | scans | reason is right | none given | another |\n|---|---|---|---|---|")
    for kind, rows in told.items():
        wrong = [reason for reason, right in rows if reason not in (right, "")]
        counts = (
            len(rows),
            sum(a == b for a, b in rows),
            sum(not a and bool(b) for a, b in rows),
            ", ".join(wrong) or "–",
        )
        print(f"| {kind} | {' | '.join(map(str, counts))} |")
    print(f"\nFive slices of each scan, {asked.part} people, seed {asked.seed}. {describe_machine('cpu')}.")


if __name__ == "__main__":
    main()
