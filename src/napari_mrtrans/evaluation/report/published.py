"""What the paper's text reports, beside ours. Its tables are not in the text; these are the figures that are.

Its models were trained for one to two days on IXI (357 people) and OASIS-3 (156), healthy or with Alzheimer's disease.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...metrics import detection
from .ood_rows import OodRow, by_model
from .results import CONSISTENCY, SIMILARITY, Metric, Results
from .tables import NONE, Cell, Table

SSIM = SIMILARITY[0]
#: SSIM of DDPM in percent, whole volume, by pair.
DDPM_SSIM = {
    "PD→T2": (97.91, "IXI"),
    "T2→PD": (97.13, "IXI"),
    "T2→FLAIR": (89.06, "OASIS"),
    "FLAIR→T2": (91.50, "OASIS"),
}
#: Of σ̂ before calibration, IXI T1→T2.
AUC = {"cgan": 0.976, "ncsn": 0.850, "ddpm": 0.421}
MAX_F1 = {"cgan": 0.905, "ncsn": 0.819, "ddpm": 0.395}
#: Share of voxels whose samples pass for normal.
NORMAL = {"ncsn": 0.89, "cgan": 0.51, "ddpm": 0.41}
#: On an NVIDIA A40, 20 samples; direct, cgan and resvit under 0.1.
SECONDS = {"ddpm": 15.0, "ncsn": 13.0}
LEAD = 1.73


def beside(results: Results, ood: Sequence[OodRow]) -> Table:
    """The paper's figures and ours, where this run has both model and pair."""
    rows = []
    for pair, (value, data) in DDPM_SSIM.items():
        if pair in results.pairs:
            rows.append((f"SSIM of ddpm, {pair} (%)", f"{value:.2f} ({data})", _of(results, SSIM, "ddpm", pair)))
    ranks = ("ddpm", "ncsn", "direct", "cgan", "resvit")
    ranking = [name for model in ranks if (name := results.checkpoint_of(model)) is not None]
    comparable = results.alike().comparable(ranking)
    ranked = {model: _number(comparable, SSIM, model) for model in ranks}
    known = {model: value for model, value in ranked.items() if value is not None}
    names = {model: results.checkpoint_of(model) or "" for model in known}
    alike = results.sharing(list(names.values()))
    apart = [model for model in known if names[model] not in alike]
    if len(apart) > 1:
        ours = " > ".join(sorted(apart, key=lambda model: -known[model]))
        rows.append(("order by average SSIM", "ddpm > ncsn > direct > cgan > resvit", ours))
    if {"ddpm", "ncsn"} <= set(apart):
        lead = 100 * (known["ddpm"] / known["ncsn"] - 1)
        rows.append(("average SSIM, lead of ddpm over ncsn (%)", f"{LEAD}", f"{lead:.2f}"))
    scssim = [_number(results, CONSISTENCY[0], model, pair) for model in ranked for pair in results.pairs]
    if present := [value for value in scssim if value is not None]:
        rows.append(("SCSSIM, all models (%)", "97.20 to 99.25", f"{min(present):.2f} to {max(present):.2f}"))
    for model, share in NORMAL.items():
        ours = _of(results, Metric("normal_share", "", 100, 0), model)
        rows.append((f"voxels with normal samples, {model} (%)", f"{100 * share:.0f}", ours))
    for model, seconds in SECONDS.items():
        ours = _of(results, Metric("seconds_per_slice", ""), model)
        rows.append(
            (f"seconds per slice, {model}", f"{seconds:.0f} (NVIDIA A40)", f"{ours} ({_machines(results, model)})")
        )
    for (checkpoint, pair), mine in by_model(ood).items():
        model = results.models.get(checkpoint, "")
        labels, scores = [row.unusual for row in mine], [row.sigma_hat for row in mine]
        for name, theirs, ours_of in (("AUC", AUC, detection.auc), ("max F1", MAX_F1, detection.max_f1)):
            if model in theirs and pair == "T1→T2":
                pool = f"{labels.count(False)} usual, {sum(labels)} unusual"
                if name != "AUC":
                    pool += f"; all called unusual: {detection.all_positive_f1(labels):.3f}"
                ours = f"{ours_of(labels, scores):.3f} ({pool})"
                rows.append((f"{name} of σ̂, {model}, {pair}", f"{theirs[model]:.3f} (IXI)", ours))
    note = (
        "The paper's figures are of its own data sets (IXI, OASIS-3), networks and hardware, ours of the subjects of "
        "this report: they do not compare head to head. Only what its text gives is here. Normal samples are told of "
        "independent draws, of which antithetic samples have half: the fewer there are, the more voxels pass."
    )
    if alike:
        left = [model for model in known if names[model] in alike]
        note += f" {', '.join(left)} share weights, so no order of them is evidence; they are left out of it."
    shown = [[Cell(text) for text in row] for row in rows if not row[2].startswith(NONE)]
    return Table("The paper's figures beside ours", ["", "paper, its data", "here"], shown, note)


def _number(results: Results, metric: Metric, model: str, pair: str | None = None) -> float | None:
    """As in the other tables: mean over people, of several pairs that of their means."""
    name = results.checkpoint_of(model)
    return None if name is None else results.alike(metric.attribute).mean(metric, name, pair)


def _machines(results: Results, model: str) -> str:
    """What took the seconds of a family's checkpoint."""
    own = (row.machine for row in results.rows if row.method == results.checkpoint_of(model))
    return "; ".join(dict.fromkeys(filter(None, own))) or str(results.about["machine"])


def _of(results: Results, metric: Metric, model: str, pair: str | None = None) -> str:
    value = _number(results, metric, model, pair)
    return NONE if value is None else f"{value:.{metric.digits}f}"
