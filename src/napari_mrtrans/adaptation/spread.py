"""The calibration of an adapted checkpoint: fitted to the site where there is enough of it, else the parent's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoints.calibration import Calibration
from ..checkpoints.checkpoint import Checkpoint, write_calibration
from ..checkpoints.correction import SpreadCorrection, Voxels
from ..checkpoints.judge_file import load_judge
from ..datasets.bids import Session
from ..devices import describe_machine
from ..evaluation.calibrate import image_features
from ..evaluation.fit_ood import FOLDS, Sigma, fit_ood
from ..evaluation.fit_spread import FEW_PEOPLE, fit_spread
from ..evaluation.ood_study import Measurement
from ..evaluation.scans import NORMAL, FeatureStore
from ..ood.score import OodCalibration, std_bias
from ..ood.signs import Looks
from ..scan.contrasts import Pair
from .figures import Judged, within
from .site import Site

#: Slices of a pair from which a spread is fitted to it.
ENOUGH = 6


def measurements(rows: Sequence[Judged], n: int, wanted: int) -> list[Measurement]:
    """Each person's slices of each pair as :mod:`napari_mrtrans.evaluation.calibrate` takes them.

    Args:
        rows: Of a model that samples.
        n: Samples that were drawn.
        wanted: Samples that the checkpoint is used with; std grows a little with their number.
    """
    factor = std_bias(wanted) / std_bias(n)
    out = []
    for pair, person in dict.fromkeys((row.pair, row.person) for row in rows):
        own = [row for row in rows if (row.pair, row.person) == (pair, person)]
        hats = [factor * row.mean_std for row in own if row.mean_std is not None]
        weights = [row.voxels for row in own]
        voxels = Voxels.joined(row.answered for row in own)
        kept = voxels.lists(np.random.default_rng(0), len(voxels.std), factor)
        hat = float(np.average(hats, weights=weights))
        out.append(Measurement(pair, f"sub-{person}", "validation", NORMAL, hat, hats, kept))
    return out


def fitted_spread(
    rows: Sequence[Judged], n: int, wanted: int, parent: Mapping[str, SpreadCorrection] | None = None
) -> dict[str, SpreadCorrection]:
    """A correction for each pair that has enough slices, with the parent's curves; none for models with one answer.

    One or two people do not tell how much people differ, which the parent's correction allows for: of a pair that fewer
    than three have it is, on their slices, no narrower than the parent's.
    """
    if not any(row.kept for row in rows):
        return {}
    count = {pair: sum(row.pair == pair for row in rows) for pair in {row.pair for row in rows}}
    enough = measurements([row for row in rows if count[row.pair] >= ENOUGH], n, wanted)
    out = fit_spread(enough, parent) if enough else {}
    for pair, correction in out.items():
        mine = [row for row in enough if row.pair == pair]
        if parent and pair in parent and len({row.subject for row in mine}) < FEW_PEOPLE:
            voxels = Voxels.joined(row.answered for row in mine)
            wider = float(parent[pair].of(voxels).mean() / correction.of(voxels).mean())
            out[pair] = correction.scaled(max(1.0, wider))
    return out


def corrected_coverage(
    before: Sequence[Judged], after: Sequence[Judged], parent: dict[str, SpreadCorrection], n: int, wanted: int
) -> dict[str, tuple[float, float]]:
    """For each pair the share of voxels within the corrected 90 % interval: by the parent's correction, and by one that
    was fitted to the other half of the slices (of the people, where there are several)."""
    out = {}
    half = _halves(after)
    crossed = [
        fitted_spread([row for row, side in zip(after, half, strict=True) if side != one], n, wanted, parent)
        for one in (0, 1)
    ]
    for pair in dict.fromkeys(row.pair for row in before):
        own = [row for row in before if row.pair == pair]
        sides = [
            [row for row, side in zip(after, half, strict=True) if side == one and row.pair == pair] for one in (0, 1)
        ]
        if pair in parent and all(pair in fit for fit in crossed) and all(sides):
            shares = [within(side, fit[pair]) for side, fit in zip(sides, crossed, strict=True)]
            out[pair] = within(own, parent[pair]), float(np.mean(shares))
    return out


def _halves(rows: Sequence[Judged]) -> list[int]:
    """0 or 1 for each row: by person, or, of one person, by turns within each pair."""
    people = sorted({row.person for row in rows})
    if len(people) > 1:
        return [people.index(row.person) % 2 for row in rows]
    seen: dict[str, int] = {}
    out = []
    for row in rows:
        out.append(seen.get(row.pair, 0) % 2)
        seen[row.pair] = seen.get(row.pair, 0) + 1
    return out


def write_site_calibration(
    checkpoint: Checkpoint, parent: Checkpoint, site: Site, rows: Sequence[Judged], n: int,
    out: Path, say: Callable[[str], None],
) -> Path | None:  # fmt: skip
    """Write the calibration beside an adapted checkpoint; None where there is nothing to write.

    Args:
        checkpoint: It, on disk.
        parent: What it was adapted from.
        site: Whose scans.
        rows: Held-out slices that it answered.
        n: Samples of each.
        out: Where features of the scans are kept meanwhile.
        say: Told what was fitted and what was not.
    """
    pairs = [pair.key for pair in checkpoint.pairs]
    spread = fitted_spread(rows, n, checkpoint.card.sampler.n, parent.spread)
    if not checkpoint.deterministic:
        kept = {pair: parent.spread[pair] for pair in pairs if pair in parent.spread and pair not in spread}
        if kept:
            say(f"Too few held-out slices to correct the spread of {', '.join(kept)}: the parent's correction is kept.")
        spread = {**kept, **spread}
    ood, about = _ood(checkpoint, parent, site, rows, n, out, say)
    if ood is None and not spread:
        return None
    about |= {
        "date": date.today().isoformat(),
        "machine": describe_machine("cpu"),
        "n": n,
        "people": len({row.person for row in rows}),
        "slices": len(rows),
        "adapted_from": parent.name,
    }
    calibration = Calibration(card=checkpoint.card_digest, spread=spread, ood=ood, about=about)
    return write_calibration(checkpoint, calibration, checkpoint.path.parent)


def _ood(
    checkpoint: Checkpoint, parent: Checkpoint, site: Site, rows: Sequence[Judged], n: int,
    out: Path, say: Callable[[str], None],
) -> tuple[OodCalibration | None, dict[str, Any]]:  # fmt: skip
    """What tells usual from unusual scans, and how its scores did."""
    sessions = {session.name: session for session in site.sessions if isinstance(session, Session)}
    if len({session.subject for session in sessions.values()}) >= FOLDS:
        say("Fitting P(OOD) to the site's scans.")
        store = FeatureStore(out / "features.jsonl", 0)
        images = list(image_features(checkpoint, sessions, store, lambda line: None))
        of = {(image.subject, image.source): image for image in images if image.usual}
        names = {number: site.sessions[own[0]].name for number, own in enumerate(site.people.values(), 1)}
        sigmas = [
            Sigma(of[key], row.pair, row.sigma_hat, np.asarray(row.per_slice))
            for row in (measurements(rows, n, checkpoint.card.sampler.n) if not checkpoint.deterministic else [])
            if row.sigma_hat is not None and (key := (names[int(row.subject[4:])], Pair.parse(row.pair).source)) in of
        ]
        card = load_judge().card
        ood, judged = fit_ood(
            images,
            sigmas,
            checkpoint.card.sampler.n,
            Looks(contrasts=card.contrasts, kinds=card.kinds),
            say,
        )
        return ood, {"cross_validated": judged}
    known = parent.calibration
    if known is None or known.ood is None:
        say("P(OOD) is not calibrated: the parent's is not, and the site has too few people.")
        return None, {}
    if not known.ood.of_image:
        say("P(OOD) is not calibrated: the parent's rests on its own spread, and the site has too few people.")
        return None, {}
    say(f"P(OOD) stays the parent's, which judges the source image: fitting it anew takes {FOLDS} people.")
    return known.ood.model_copy(update={"ranges": {}}), {"ood": f"that of {parent.name}"}
