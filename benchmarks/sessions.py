"""How many sessions adapting takes: gain on people of the same scanner whom no model has seen, against their number.

    python benchmarks/sessions.py [--counts 1,2,4,8] [--minutes 5] [--model direct] [-o sessions]

Without --data on a simulated scanner (``phantom-site``), so it runs anywhere. With --data FOLDER on its sessions: the
last two people judge, the others are learned from. Draws ``gain.png`` into the output folder; what is finished there
is not made again.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from datetime import date
from pathlib import Path

from matplotlib.figure import Figure

from napari_mrtrans.adaptation.run import adapt_sessions
from napari_mrtrans.adaptation.site import find_sessions
from napari_mrtrans.asked.settings import Hooks, Settings
from napari_mrtrans.checkpoints.checkpoint import Checkpoint
from napari_mrtrans.checkpoints.library import load_checkpoint
from napari_mrtrans.cli.adapt import phantom_site
from napari_mrtrans.devices import describe_machine
from napari_mrtrans.evaluation import evaluate as evaluation
from napari_mrtrans.metrics.similarity import WINDOW

JUDGES = 2


def main() -> None:
    """Print a line for each number of sessions, and draw the curve."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--counts", default="1,2,4,8")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--model", default="direct")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("sessions"))
    arguments = parser.parse_args()
    counts = [int(part) for part in arguments.counts.split(",")]
    data = arguments.data or _phantoms(arguments.output, max(counts) + JUDGES, arguments.seed)
    sessions, _ = find_sessions(data)
    people = list(dict.fromkeys(session.subject for session in sessions))
    learners, judges = people[:-JUDGES], people[-JUDGES:]
    parent = load_checkpoint(arguments.model)
    made = {}
    for count in counts:
        settings = Settings(arguments.minutes, f"of{count}", seed=arguments.seed, install=False)
        chosen = [session for session in sessions if session.subject in learners[:count]]
        outcome = adapt_sessions(parent, chosen, arguments.output / f"of{count}", settings, Hooks())
        made[count] = outcome.checkpoint
    before, after = _measured(data, parent, made, judges, arguments.output)
    machine = describe_machine(Settings().device)
    print(f"{parent.name}, {arguments.minutes:g} minutes each, {len(judges)} other people; {machine}")
    print("sessions | " + " | ".join([*before, "mean"]))
    gains = {}
    for count, figures in after.items():
        gains[count] = [figures[pair] - before[pair] for pair in before]
        told = [f"{gain:+.2f}" for gain in [*gains[count], sum(gains[count]) / len(before)]]
        print(f"{count} | " + " | ".join(told), flush=True)
    _draw(gains, list(before), arguments.minutes, arguments.output / "gain.png")


def _phantoms(out: Path, people: int, seed: int) -> Path:
    site = out / "site"
    if not site.is_dir():
        phantom_site(site, people, seed=seed)
    return site / "scanner-a"


def _measured(
    data: Path, parent: Checkpoint, made: dict[int, Checkpoint], judges: list[str], out: Path
) -> tuple[dict[str, float], dict[int, dict[str, float]]]:
    """PSNR by pair, dB inside the head, mean over ``judges``: of the parent, and by the number of sessions."""
    settings = evaluation.Settings(subjects=judges, slab=WINDOW, montages=False)
    evaluation.evaluate(data, [parent, *made.values()], out / "report", settings, say=lambda line: None)
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with (out / "report" / "metrics.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            found[row["method"]][row["pair"]].append(float(row["psnr"]))
    means = {name: {pair: sum(v) / len(v) for pair, v in pairs.items()} for name, pairs in found.items()}
    return means[parent.name], {count: means[checkpoint.name] for count, checkpoint in made.items()}


def _draw(gains: dict[int, list[float]], pairs: list[str], minutes: float, path: Path) -> None:
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for place, pair in enumerate(pairs):
        axes.plot(list(gains), [gain[place] for gain in gains.values()], color="0.75", lw=1)
        axes.annotate(pair, (list(gains)[-1], list(gains.values())[-1][place]), xytext=(4, -3),
                      textcoords="offset points", fontsize=7, color="0.4")  # fmt: skip
    axes.plot(list(gains), [sum(gain) / len(pairs) for gain in gains.values()], "o-", color="tab:blue", label="mean")
    axes.axhline(0, color="0.5", lw=0.8)
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(gains), [str(count) for count in gains])
    axes.set_xlabel("sessions learned from")
    axes.set_ylabel("gain on other people, dB")
    axes.set_title(f"{minutes:g} minutes each, {date.today()}", fontsize=9)
    axes.legend(loc="upper left")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
