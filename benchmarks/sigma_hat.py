"""Whether plain sigma-hat, the paper's score, tells unusual inputs from usual ones.

On a checkpoint's test people: their scans as they are, and with each simulated artefact or under another contrast's
name, one pair for each source contrast. The AUC is taken within each pair (sigma-hat of different targets does not
compare) and averaged over the unusual inputs. ``napari-mrtrans-train calibrate`` reports the same of three slices and
of all people, at many times the cost.

    python benchmarks/sigma_hat.py t1-t2-flair-flow t1-t2-flair-ncsn --data DATA
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from napari_mrtrans import load_checkpoint
from napari_mrtrans.devices import describe_machine
from napari_mrtrans.evaluation.calibrate_report import stratified_auc
from napari_mrtrans.evaluation.held_out import sessions_of
from napari_mrtrans.evaluation.ood_study import FEW, Settings, planned
from napari_mrtrans.evaluation.report.ood_rows import OodRow
from napari_mrtrans.evaluation.scans import KINDS, NORMAL


def main() -> None:
    """Print a table: a line for each checkpoint, a column for each kind of unusual input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=load_checkpoint)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--slices", type=int, default=1, help="of each scan, evenly spread")
    parser.add_argument("-n", type=int, default=FEW, help="samples of each slice")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args()
    settings = Settings(asked.n, asked.slices, asked.seed, asked.device)
    kinds = ["all", *KINDS]
    print(f"| AUC of σ̂ | usual, unusual scans | mean σ̂ of both | {' | '.join(kinds)} |")
    print("|---" * (len(kinds) + 3) + "|")
    for checkpoint in asked.checkpoints:
        inputs = list(planned(checkpoint, sessions_of(asked.data, checkpoint, "test"), asked.seed))
        pairs = {one.pair for one in inputs if one.scan.kind != NORMAL}
        rows = []
        for row in (one.run(checkpoint, settings) for one in inputs if one.pair in pairs):
            assert row.sigma_hat is not None, "a model that gives one answer has no sigma-hat"
            scores = {"sigma_hat": row.sigma_hat}
            rows.append(OodRow(checkpoint.name, row.pair, row.subject, row.kind, row.sigma_hat, scores, None))
        usual = [row for row in rows if row.kind == NORMAL]
        groups = [[row for row in rows if row.kind in (KINDS if kind == "all" else [kind])] for kind in kinds]
        means = ", ".join(f"{np.mean([row.sigma_hat for row in some]):.4f}" for some in (usual, groups[0]))
        figures = (f"{stratified_auc(usual, some, 'sigma_hat'):.2f}" if usual and some else "–" for some in groups)
        print(f"| {checkpoint.name} | {len(usual)}, {len(groups[0])} | {means} | {' | '.join(figures)} |", flush=True)
    print(f"\nn = {asked.n}, {asked.slices} slices of each scan, seed {asked.seed}. {describe_machine(asked.device)}.")


if __name__ == "__main__":
    main()
