"""What a calibration is worth on the test subjects, as Markdown: the verdict, and the correction of the spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import sem

from ..checkpoints.calibration import Calibration
from ..checkpoints.checkpoint import Checkpoint
from ..metrics import detection
from ..ood.score import IMAGE_SCORES, SCORES, VERDICTS
from .fit_ood import balanced_figures
from .report.ood_rows import OodRow
from .scans import KINDS, LESION, NORMAL, person

#: Where a calibration tells of pairs with PD that was computed, as ``coverage`` does of acquired images.
COMPUTED_PD = "coverage_computed_pd"
#: Of what is drawn for every test subject.
ALL = "all artefacts and wrong contrast"


def summary(checkpoint: Checkpoint, rows: Sequence[OodRow], calibration: Calibration) -> str:
    """Markdown: AUC by kind and score, and calibration figures, all on the test subjects."""
    assert calibration.ood is not None
    about, best = calibration.about, calibration.ood.score
    normal = [row for row in rows if row.kind == NORMAL]
    kinds = list(dict.fromkeys(row.kind for row in rows if row.unusual))
    groups = {ALL: [row for row in rows if row.kind in KINDS]}
    groups |= {kind: [row for row in rows if row.kind == kind] for kind in kinds}
    names = [name for name in SCORES if any(np.isfinite(row.scores[name]) for row in rows)]
    head = ["unusual input", "scans", *(f"AUC, {name}" for name in names), f"mean P(OOD) by {best}"]
    lines = [f"# {checkpoint.name}", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    if normal:
        lines.append(f"| none | {len(normal)} |{' – |' * len(names)} {_mean_p(normal)} |")
    for kind, mine in groups.items():
        if not mine or not normal:
            continue
        aucs = (stratified_auc(normal, mine, name) for name in names)
        cells = ["–" if auc is None else f"{auc:.3f}" for auc in aucs]
        lines.append(f"| {kind} | {len(mine)} | {' | '.join(cells)} | {_mean_p(mine)} |")
    lines += _called(normal, groups[ALL])
    scored = [row for row in rows if np.isfinite(row.scores[best])]
    lines += probability_lines(
        [row for row in scored if row.kind == NORMAL], [row for row in scored if row.kind in KINDS], best
    )
    if without := len(rows) - len(scored):
        told = f"Without a score by {best}, and so without P(OOD), as of contrasts that too few people have: {without}."
        lines += ["", told]
    lines += _cross_validated(about["cross_validated"])
    marked = "slices about the largest part of an expert mask"
    lesions = marked if LESION in kinds else "not looked at, for no expert mask of a test subject marks something"
    lines += ["", f"AUC within each pair. Test subjects only: {', '.join(about['subjects'].get('test', []))}. "
              f"'{LESION}': {lesions}. {about['slices']} slices of each scan, n = {about['n']}, seed {about['seed']}. "
              f"{about['date']}, {about['machine']}."]  # fmt: skip
    return "\n".join(lines) + "\n"


def spread_summary(name: str, calibration: Calibration) -> str:
    """Markdown: what the intervals of the checkpoint ``name`` hold on the test subjects; empty where nothing was
    measured."""
    if not (found := calibration.about.get("coverage")):
        return ""
    how = calibration.about.get("spread") or calibration.about
    people = ", ".join(dict.fromkeys(item["subject"] for item in found))
    computed = calibration.about.get(COMPUTED_PD)
    made = ["", "With PD computed from the other contrasts:", "", *coverage_lines(computed)] if computed else []
    lines = [f"# {name}: what its intervals hold", "", *coverage_lines(found), *made, "",
             f"Test subjects only: {people}. Slices of each scan: {how['slices']}; n = {how['n']}, seed {how['seed']}. "
             f"{how['date']}, {how['machine']}."]  # fmt: skip
    return "\n".join(lines) + "\n"


def coverage_lines(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table of what the 90 % intervals of each pair hold, and of how well the standard deviation tells where the
    errors are, before and after the correction; means over people, ± the standard error of so few of them. Ranks that
    are unknown are left out."""
    ranked = {
        "rank_before": "std ~ error",
        "rank_after": "corrected std ~ error",
        "rank_intensity": "intensity ~ error",
    }
    held = {"before": "voxels within the central 90 % interval", "after": "after the correction, ± standard error"}
    heads = held | {name: head for name, head in ranked.items() if any(item.get(name) is not None for item in found)}
    lines = [f"| pair | {' | '.join(heads.values())} | scans, people |", "|---" * (len(heads) + 2) + "|"]
    for pair in [*dict.fromkeys(item["pair"] for item in found), "all"]:
        own = [item for item in found if pair in (item["pair"], "all")]
        means = {name: _of_people(own, name) for name in heads}
        cells = {name: f"{np.mean(people):.3f}" if people else "–" for name, people in means.items()}
        if len(means["after"]) > 1:
            cells["after"] += f" ± {sem(means['after']):.3f}"
        lines.append(f"| {pair} | {' | '.join(cells.values())} | {len(own)}, {len(means['after'])} |")
    return lines


def _of_people(found: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """Each person's mean of a figure over the scans that have it."""
    people: dict[str, list[float]] = {}
    for item in found:
        if item.get(name) is not None:
            people.setdefault(person(item["subject"]), []).append(item[name])
    return [float(np.mean(mine)) for mine in people.values()]


def stratified_auc(normal: Sequence[OodRow], unusual: Sequence[OodRow], score: str) -> float | None:
    """AUC within each pair (σ̂ of different targets do not compare), averaged over the unusual inputs; those of pairs
    that nobody usual has, and those without a score, count for nothing, and None: there are no others."""
    rows = [row for row in (*normal, *unusual) if np.isfinite(row.scores[score])]
    labels, scores = [row.unusual for row in rows], [row.scores[score] for row in rows]
    return detection.stratified_auc(labels, scores, [row.pair for row in rows])


def probability_lines(normal: Sequence[OodRow], unusual: Sequence[OodRow], best: str) -> list[str]:
    """Calibration over all scans together; a source image that several pairs share counts once where it decides."""
    if best in IMAGE_SCORES:
        normal = list({(row.subject, row.pair.partition("->")[0]): row for row in normal}.values())
    if not normal or not unusual:
        return []
    mix = [*normal, *unusual]
    labels = [row.unusual for row in mix]
    values = [row.scores[best] for row in mix]
    calibrated = [row.probability if row.probability is not None else 0.5 for row in mix]
    lines = [
        "",
        f"| {best}, {len(normal)} usual and {len(unusual)} unusual scans | AUC | ECE | Brier | NLL |",
        "|---" * 5 + "|",
    ]
    for title, p in (("min-max normalised", detection.min_max(values).tolist()), ("calibrated", calibrated)):
        every = {"ece": detection.ece(labels, p), "brier": detection.brier(labels, p), "nll": detection.nll(labels, p)}
        for drawn, figures in (("balanced draws", balanced_figures(labels, p)), ("all", every)):
            cells = " | ".join(f"{figures[name]:.3f}" for name in ("ece", "brier", "nll"))
            lines.append(f"| {title}, {drawn} | {detection.auc(labels, p):.3f} | {cells} |")
    return lines


def _cross_validated(found: Mapping[str, Any]) -> list[str]:
    """How the scores did out of fold on the subjects they were fitted to."""
    lines = ["", f"| out of fold, {found['normal']} usual and {found['unusual']} unusual source scans of the other "
             "subjects | AUC | ECE | Brier | NLL |", "|---" * 5 + "|"]  # fmt: skip
    for name in SCORES:
        if figures := found.get(name):
            cells = (f"{figures[part]:.3f}" for part in ("auc", "ece", "brier", "nll"))
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _called(normal: Sequence[OodRow], unusual: Sequence[OodRow]) -> list[str]:
    """How many are called out of distribution, as whole scans and as three neighbouring slices."""
    lines = ["", f"called '{VERDICTS[-1][1]}' (P(OOD) at least {VERDICTS[-1][0]}):", ""]
    for title, rows in (("usual", normal), ("unusual", unusual)):
        whole = [row.probability for row in rows if row.probability is not None]
        few = [p for row in rows for p in row.of_three]
        shares = (f"{np.mean(np.array(p) >= VERDICTS[-1][0]):.1%} of {len(p)}" if p else "–" for p in (whole, few))
        lines.append("- {}: {} scans, {} requests of three neighbouring slices".format(title, *shares))
    return lines


def _mean_p(rows: Sequence[OodRow]) -> str:
    known = [row.probability for row in rows if row.probability is not None]
    return f"{float(np.mean(known)):.2f}" if known else "–"
