"""Fit a checkpoint's calibration: the correction of its spread, and what turns its scores into P(OOD).

Fitted to training and validation subjects (the spread to validation subjects alone, for the network has seen the
others' targets), tested on the test subjects, whom neither the network nor the calibration has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import detection
from ..calibration import Z90, Calibration, SpreadCorrection
from ..checkpoint import Checkpoint, write_calibration
from ..contrasts import Contrast, Pair
from ..errors import MrtransError
from ..job import spread_slices
from ..ood import SCORES, Isotonic, Novelty, OodCalibration, Range
from ..paths import check_folder, write_together
from ..volume import Volume
from .data.bids import Session
from .held_out import describe_machine, known_sessions
from .ood_study import KINDS, LESION, NORMAL, Measurement, Settings, measure, source_features
from .report.ood_rows import OodRow, to_json

#: Slices of each scan that tell what is normal.
NOVELTY_SLICES = 12
#: Of the cross-validation; fewer persons tell nothing of how persons differ.
FOLDS = 5

Features = dict[Contrast, dict[str, NDArray[np.float64]]]


def calibrate(
    root: Path,
    checkpoint: Checkpoint,
    out: Path,
    *,
    n: int | None = None,
    slices: int = 3,
    seed: int = 0,
    device: str = "auto",
    others: Mapping[str, Sequence[Path]] | None = None,
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Measure, fit, test; writes ``NAME.calibration.json``, ``NAME.ood.json`` (rows) and ``NAME.ood.md`` into ``out``.

    What was measured is kept in ``out`` as it comes: what was stopped goes on where it was.

    Args:
        root: Data folder that holds the subjects of the card's splits.
        checkpoint: Any family; a deterministic one gets no correction of the spread and no σ̂.
        out: Output folder.
        n: Samples; None = the card's default.
        slices: Slices of each scan, evenly spread.
        seed: Of noise, artefacts and draws.
        device: As :func:`napari_mrtrans.stream`.
        others: Further unusual scans for the test, by kind.
        say: Told progress.

    Raises:
        MrtransError: too few subjects of the card are in the data folder, or the folder cannot be written.
    """
    check_folder(out)
    sessions = known_sessions(root, [checkpoint])
    splits = checkpoint.card.splits
    people = [name for part in ("train", "validation") for name in splits.get(part, []) if name in sessions]
    if len(people) < FOLDS:
        raise MrtransError(
            f"Calibration needs at least {FOLDS} of the subjects that '{checkpoint.name}' was trained on; "
            f"'{root}' holds {len(people)}. Give the folder it was trained on."
        )
    say(f"quality features of {len(people)} subjects")
    known = normal_features(checkpoint, {name: sessions[name] for name in people})
    settings = Settings(n or checkpoint.card.sampler.n, slices, seed, device)
    rows = measure(checkpoint, sessions, out / checkpoint.name, settings, others=others, say=say)
    ood, cross_validated = fit_ood(rows, known, settings.n)
    spread = fit_spread(rows)
    about = {
        "date": date.today().isoformat(),
        "machine": describe_machine(device),
        "n": settings.n,
        "slices": slices,
        "seed": seed,
        "subjects": {part: [name for name in splits.get(part, []) if name in sessions] for part in splits},
        "cross_validated": cross_validated,
    }
    test = [row for row in rows if row.role == "test"]
    judged = [judge(row, checkpoint.name, ood, ood.novelty, settings.n) for row in test]
    about["coverage"] = coverage(test, spread)
    calibration = Calibration(card=checkpoint.card_digest, spread=spread, ood=ood, about=about)
    files = {
        f"{checkpoint.name}.ood.json": to_json(judged),
        f"{checkpoint.name}.ood.md": summary(checkpoint, judged, calibration),
    }
    return [write_calibration(checkpoint, calibration, out), *write_together(out, files)]


def normal_features(checkpoint: Checkpoint, sessions: Mapping[str, Session]) -> Features:
    """Quality features of these people's scans by source contrast and person."""
    found: Features = {}
    for contrast in dict.fromkeys(pair.source for pair in checkpoint.pairs):
        pair = next(pair for pair in checkpoint.pairs if pair.source == contrast)
        for name, session in sessions.items():
            if contrast not in session.files:
                continue
            volume = Volume.load(session.files[contrast], contrast)
            where = spread_slices(volume, checkpoint, pair, NOVELTY_SLICES)
            found.setdefault(contrast, {})[name] = source_features(volume, checkpoint, pair, where)
    return {contrast: people for contrast, people in found.items() if len(people) >= FOLDS}


def judge(row: Measurement, name: str, ood: OodCalibration, novelty: Mapping[Contrast, Novelty], n: int) -> OodRow:
    """A measurement's scores and P(OOD)."""
    known = novelty.get(Pair.parse(row.pair).source)
    strange = np.full(1, np.nan) if known is None else known.slice_scores(np.asarray(row.features))
    sigma = float("nan") if row.sigma_hat is None else row.sigma_hat
    per_slice = np.asarray(row.per_slice or [np.nan])
    scores = ood.scores(row.pair, n, sigma, per_slice, strange)
    return OodRow(name, row.pair, row.subject, row.kind, sigma, scores, ood.assess(scores))


def fit_ood(rows: Sequence[Measurement], known: Features, n: int) -> tuple[OodCalibration, dict[str, Any]]:
    """The calibration, on the score that tells best, and each score's figures out of fold on those it was fitted to.

    Every person's novelty is measured against the others, as a new person's will be.
    """
    fitted = [row for row in rows if row.role != "test"]
    normal = [row for row in fitted if row.kind == NORMAL and row.sigma_hat is not None]
    ranges = {
        pair: Range.of([row.sigma_hat for row in normal if row.pair == pair if row.sigma_hat is not None])
        for pair in dict.fromkeys(row.pair for row in normal)
    }
    constant = Isotonic(scores=[0.0], probabilities=[0.5])
    novelty = {contrast: Novelty.fit(people) for contrast, people in known.items()}
    draft = OodCalibration(n=n, ranges=ranges, novelty=novelty, probability=constant)
    without = {
        person: {
            contrast: Novelty.fit({other: x for other, x in people.items() if other != person})
            for contrast, people in known.items()
        }
        for person in dict.fromkeys(row.subject for row in fitted)
    }
    judged = [judge(row, "", draft, without[row.subject], n) for row in fitted]
    figures = {name: out_of_fold(judged, name) for name in SCORES}
    usable = {name: found for name, found in figures.items() if found is not None}
    if not usable:
        raise MrtransError("Calibration needs normal and unusual scans of every subject; some have no usable slice.")
    best = max(usable, key=lambda name: (usable[name]["auc"], name == "combined"))
    scores, labels = [row.scores[best] for row in judged], [row.unusual for row in judged]
    chosen = draft.model_copy(update={"score": best, "probability": Isotonic.fit(scores, labels)})
    return chosen, {"score": best, "normal": labels.count(False), "unusual": labels.count(True), **usable}


def out_of_fold(rows: Sequence[OodRow], score: str) -> dict[str, float] | None:
    """AUC of a score, and ECE, Brier score and NLL of its isotonic calibration, five-fold by person."""
    from sklearn.model_selection import GroupKFold

    values = np.array([row.scores[score] for row in rows])
    labels = np.array([row.unusual for row in rows])
    people = [row.subject for row in rows]
    if not np.isfinite(values).all() or len(set(people)) < FOLDS or labels.all() or not labels.any():
        return None
    probability = np.empty(len(rows))
    for train, test in GroupKFold(FOLDS).split(values, labels, people):
        fold = Isotonic.fit(values[train].tolist(), labels[train].tolist())
        probability[test] = [fold(value) for value in values[test]]
    return {
        "auc": detection.auc(labels, values),
        "ece": detection.ece(labels, probability),
        "brier": detection.brier(labels, probability),
        "nll": detection.nll(labels, probability),
    }


def fit_spread(rows: Iterable[Measurement]) -> dict[str, SpreadCorrection]:
    """A correction for each pair that a validation subject has."""
    gathered: dict[str, list[Measurement]] = {}
    for row in rows:
        if row.role == "validation" and row.std:
            gathered.setdefault(row.pair, []).append(row)
    return {
        pair: SpreadCorrection.fit(np.concatenate([r.std for r in mine]), np.concatenate([r.error for r in mine]))
        for pair, mine in gathered.items()
    }


def coverage(rows: Iterable[Measurement], spread: Mapping[str, SpreadCorrection]) -> list[dict[str, Any]]:
    """Share of voxels of each test scan within the central 90 % interval of a normal law, before and after."""
    out = []
    for row in rows:
        if row.std and row.pair in spread:
            std, error = np.asarray(row.std), np.abs(row.error)
            before, after = (float((error <= Z90 * s).mean()) for s in (std, spread[row.pair](std)))
            out.append({"pair": row.pair, "subject": row.subject, "before": round(before, 4), "after": round(after, 4)})
    return out


def summary(checkpoint: Checkpoint, rows: Sequence[OodRow], calibration: Calibration) -> str:
    """Markdown: AUC by kind and score, calibration figures, and coverage, all on the test subjects."""
    assert calibration.ood is not None
    about, best = calibration.about, calibration.ood.score
    normal = [row for row in rows if row.kind == NORMAL]
    kinds = list(dict.fromkeys(row.kind for row in rows if row.unusual))
    groups = {"all artefacts and wrong contrast": [row for row in rows if row.kind in KINDS]}
    groups |= {kind: [row for row in rows if row.kind == kind] for kind in kinds}
    names = [name for name in SCORES if all(np.isfinite(row.scores[name]) for row in rows)]
    head = ["unusual input", "scans", *(f"AUC, {name}" for name in names), f"mean P(OOD) by {best}"]
    lines = [f"# {checkpoint.name}", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    if normal:
        lines.append(f"| none | {len(normal)} |{' – |' * len(names)} {_mean_p(normal)} |")
    for kind, mine in groups.items():
        if not mine or not normal:
            continue
        cells = [f"{stratified_auc(normal, mine, name):.3f}" for name in names]
        lines.append(f"| {kind} | {len(mine)} | {' | '.join(cells)} | {_mean_p(mine)} |")
    mix = [*normal, *groups["all artefacts and wrong contrast"]]
    if normal and len(mix) > len(normal):
        labels = [row.unusual for row in mix]
        raw = detection.min_max([row.scores[best] for row in mix])
        calibrated = [row.probability if row.probability is not None else 0.5 for row in mix]
        lines += ["", f"| {best}, all of them | ECE | Brier | NLL |", "|---|---|---|---|"]
        for title, p in (("min-max normalised", raw), ("calibrated", calibrated)):
            figures = (f(labels, p) for f in (detection.ece, detection.brier, detection.nll))
            lines.append(f"| {title} | {' | '.join(f'{figure:.3f}' for figure in figures)} |")
    if found := about["coverage"]:
        lines += [
            "",
            "| pair | voxels within the central 90 % interval | after the correction | scans |",
            "|---|---|---|---|",
        ]
        for pair in [*dict.fromkeys(item["pair"] for item in found), "all"]:
            own = [item for item in found if pair in (item["pair"], "all")]
            before, after = (float(np.mean([item[key] for item in own])) for key in ("before", "after"))
            lines.append(f"| {pair} | {before:.3f} | {after:.3f} | {len(own)} |")
    lesions = f" '{LESION}': slices about the largest part of an expert mask." if LESION in kinds else ""
    lines += ["", f"AUC within each pair. Test subjects only: {', '.join(about['subjects'].get('test', []))}.{lesions} "
              f"{about['slices']} slices of each scan, n = {about['n']}, seed {about['seed']}. "
              f"{about['date']}, {about['machine']}."]  # fmt: skip
    return "\n".join(lines) + "\n"


def stratified_auc(normal: Sequence[OodRow], unusual: Sequence[OodRow], score: str) -> float:
    """AUC within each pair (σ̂ of different targets do not compare), averaged over the unusual inputs."""
    total = 0.0
    for pair in dict.fromkeys(row.pair for row in unusual):
        mine = [row for row in unusual if row.pair == pair]
        pool = [*(row for row in normal if row.pair == pair), *mine]
        total += len(mine) * detection.auc([row.unusual for row in pool], [row.scores[score] for row in pool])
    return total / len(unusual)


def _mean_p(rows: Sequence[OodRow]) -> str:
    known = [row.probability for row in rows if row.probability is not None]
    return f"{float(np.mean(known)):.2f}" if known else "–"
