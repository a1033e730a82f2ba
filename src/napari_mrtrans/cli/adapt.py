"""``napari-mrtrans-train adapt`` and ``phantom-site``: a checkpoint of your own scanner, and a scanner to try it on."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import MrtransError
from ..wording import plural
from .options import Pairs, each_of
from .orders import NO_ORDERS, Orders
from .terminal import ProgressBar

if TYPE_CHECKING:
    from ..adaptation.run import Outcome
    from ..asked.settings import Progress


def adapt(
    data: Annotated[
        Path, typer.Option(help="Folder with the sessions: BIDS (or one subject of it), or a data set as downloaded.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Output folder; killed, the same command goes on.")],
    model: Annotated[str, typer.Option(help="What to start from: a family, an installed name, or a file.")] = "flow",
    minutes: Annotated[
        float, typer.Option(help="For training and figures; preparing whole heads comes before.")
    ] = 10.0,
    name: Annotated[
        str, typer.Option(help="What the card calls the site; the file is called NAME-FAMILY.")
    ] = "my-scanner",
    pairs: Pairs = None,
    subjects: Annotated[
        list[str] | None, typer.Option("--subjects", metavar="NAME,…", help="Only these; may be repeated.")
    ] = None,
    prepare: Annotated[
        bool, typer.Option("--prepare/--no-prepare", help="Register and strip whole heads first, or refuse them.")
    ] = True,
    install: Annotated[bool, typer.Option("--install/--no-install", help="Install the result if it is better.")] = True,
    keep: Annotated[bool, typer.Option("--keep", help="Install it even if it is not better.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of draws of slices, augmentation and noise.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Tell progress and result as lines of JSON.")] = False,
    listen: Annotated[
        bool,
        typer.Option(
            "--listen", help="Take orders from stdin: a line 'stop' keeps the best so far; its end saves and leaves."
        ),
    ] = False,
) -> None:
    """Adapt a checkpoint to your scanner, on one complete session or more; judge it; install it if it is better."""
    from ..checkpoints.library import load_checkpoint
    from ..datasets.sessions import noted
    from ..scan.contrasts import Pair

    try:
        from ..adaptation.run import adapt_sessions
        from ..asked.settings import Hooks, Settings
        from ..datasets.subjects import find_sessions
    except ImportError as error:
        raise MrtransError(f"Adapting needs more packages ({error}): pip install 'napari-mrtrans[train]'.") from None
    wanted = tuple(Pair.parse(pair) for pair in each_of("--pairs", pairs) or ()) or None
    settings = Settings(minutes, name, wanted, seed, device, prepare, install, keep)
    parent = load_checkpoint(model)
    sessions, skipped = find_sessions(data, each_of("--subjects", subjects) or ())
    orders = Orders(sys.stdin.fileno()) if listen else NO_ORDERS
    if as_json:
        told = _Lines()
        for line in skipped:
            told.say(noted(line))
        hooks = Hooks(told.progress, told.say, orders.stop.is_set, orders.leave.is_set)
        told.end(adapt_sessions(parent, sessions, output, settings, hooks), output)
        return
    bar = ProgressBar("reading scans", "%", pause=30.0)

    def show(now: Progress) -> None:
        error = f", held-out error {100 * (now.curve[-1][1] - 1):+.1f} %" if now.curve else ""
        left = f"{now.seconds_left / 60:.1f} min left"
        bar.show(f"{now.phase}{error}", 100 * now.done, 100, f"{100 * now.done:.0f} %  {now.phase}{error}  {left}")

    with bar:
        for line in skipped:
            bar.say(noted(line))
        hooks = Hooks(show, bar.say, orders.stop.is_set, orders.leave.is_set, previews=False)
        outcome = adapt_sessions(parent, sessions, output, settings, hooks)
    for line in outcome.lines:
        typer.echo(line)
    where = "installed as" if outcome.installed else "wrote"
    typer.echo(f"{where} {outcome.checkpoint.path}")
    typer.echo(f"wrote {output / 'report.html'}")


class _Lines:
    """Lines of JSON on stdout, for a window that runs this in a process of its own; pictures are left to the report."""

    def __init__(self) -> None:
        self._before: dict[str, Any] = {}

    def progress(self, now: Progress) -> None:
        """One line; the curve only where it has a new point."""
        line: dict[str, Any] = {
            "phase": now.phase, "done": round(now.done, 4), "seconds_left": round(now.seconds_left, 1)
        }  # fmt: skip
        if now.curve and self._before.get("curve") != now.curve:
            line["curve"] = self._before["curve"] = now.curve
        if now.preview is not None:
            shown = now.preview
            images = {"source": shown.source, "before": shown.before, "now": shown.now, "target": shown.target}
            line["preview"] = {"pair": shown.pair.key, **{name: _grey(image) for name, image in images.items()}}
        self._print(line)

    def say(self, text: str) -> None:
        """A notice."""
        self._print({"notice": text})

    def end(self, outcome: Outcome, output: Path) -> None:
        """The result."""
        from dataclasses import asdict

        self._print(
            {
                "name": outcome.checkpoint.name,
                "path": str(outcome.checkpoint.path),
                "report": str(output / "report.html"),
                "installed": outcome.installed,
                "better": outcome.better,
                "table": [asdict(line) for line in outcome.table],
                "judged_on": adapted.judged_on if (adapted := outcome.checkpoint.card.adapted) else "",
                "warnings": outcome.warnings,
                "lines": outcome.lines,
            }
        )

    @staticmethod
    def _print(line: dict[str, Any]) -> None:
        print(json.dumps(line), file=sys.stdout, flush=True)


def _grey(image: Any) -> dict[str, Any]:
    """An image in [0, 1] as rows, columns and base64 of a byte a pixel."""
    import base64

    import numpy as np

    grey = (np.clip(image, 0, 1) * 255).round().astype(np.uint8)
    return {"shape": list(grey.shape), "bytes": base64.b64encode(grey.tobytes()).decode()}


def phantom_site(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder: scanner-a and scanner-b, each BIDS.")],
    people: Annotated[int, typer.Option(min=1, help="On each scanner.")] = 4,
    resolution_mm: Annotated[int, typer.Option(min=1, max=4, help="Voxel size; coarse ones are made quickly.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Of scanners and people.")] = 0,
) -> None:
    """Write sessions of two simulated scanners, to try adapting on: each shows all its people in its own way."""
    from ..datasets.phantom import Phantom
    from ..datasets.phantom_options import PhantomOptions
    from ..paths import check_folder, write_together
    from ..scan.contrasts import BIDS_SUFFIX

    check_folder(output)
    options = PhantomOptions(subjects=people, lesions=0.0, tumours=0.0, resolution_mm=resolution_mm)
    for number, letter in enumerate("ab"):
        folder = output / f"scanner-{letter}"
        for index in range(people):
            phantom = Phantom(seed, number * 1000 + index, options, scanner=2 * seed + number)
            volumes, _ = phantom.load()
            subject = f"sub-{letter}{index + 1:02}"
            files = {
                f"{subject}_{BIDS_SUFFIX[contrast]}.nii.gz": volume.image_like(volume.data).to_filename
                for contrast, volume in volumes.items()
            }
            write_together(folder / subject / "anat", files)
        typer.echo(f"wrote {folder}: {plural(people, 'person', 'people')}")
