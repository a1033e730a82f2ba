"""``napari-mrtrans models``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import MrtransError
from .terminal import ProgressBar

if TYPE_CHECKING:
    from ..checkpoints.checkpoint import Checkpoint


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    install: Annotated[
        str | None, typer.Option(metavar="FILE|URL", help="Install a checkpoint; a URL needs --sha256.")
    ] = None,
    sha256: Annotated[str | None, typer.Option(metavar="DIGEST", help="What the file to install must have.")] = None,
    remove: Annotated[str | None, typer.Option(metavar="NAME", help="Delete one of your own checkpoints.")] = None,
    export: Annotated[
        str | None, typer.Option(metavar="NAME", help="Copy one, with what belongs to it, to pass it on; needs -o.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where --export puts it.")] = None,
) -> None:
    """Installed checkpoints; install one, remove it, or copy it to pass it on."""
    if sum(what is not None for what in (install, remove, export)) > 1:
        raise MrtransError("Either --install, --remove or --export, one at a time.")
    if (export is None) != (output is None):
        raise MrtransError("--export NAME goes with -o FOLDER.")
    if sha256 is not None and install is None:
        raise MrtransError("--sha256 goes with --install.")
    if install is not None:
        brought: list[str] = []
        installed = _install(install, sha256, brought.append)
        for line in brought or [f"installed {installed.name} as {installed.path}"]:
            typer.echo(line)
    elif remove is not None:
        from ..checkpoints.removing import remove as delete

        for path in delete(remove):
            typer.echo(f"deleted {path}")
    elif export is not None and output is not None:
        from ..checkpoints.installing import export as copy

        for path in copy(export, output):
            typer.echo(f"wrote {path}")
    else:
        _list(as_json)


def _install(what: str, sha256: str | None, say: Callable[[str], None]) -> Checkpoint:
    from ..checkpoints.installing import download, install

    if "://" not in what:
        return install(Path(what), sha256=sha256, say=say)
    if sha256 is None:
        raise MrtransError("A download needs --sha256: copy it from where the checkpoint is offered.")
    bar = ProgressBar("download", "MB")
    with bar:
        return download(what, sha256, progress=lambda done, total: bar.show("download", done / 1e6, total // 10**6))


def _list(as_json: bool) -> None:
    from ..checkpoints.card_text import details, essence, headline
    from ..checkpoints.library import is_shipped, list_checkpoints
    from ..checkpoints.pool import n_parameters
    from ..checkpoints.shared import sharing_lines
    from ..paths import user_checkpoint_dir

    found = list_checkpoints()
    if as_json:
        rows: list[dict[str, Any]] = [
            {
                "name": c.name,
                "model": c.card.model,
                "is": essence(c),
                "pairs": [str(pair) for pair in c.pairs],
                "size_bytes": c.size_bytes,
                "parameters": n_parameters(c),
                "sampler": c.card.sampler.model_dump(exclude=None if c.card.sampler.mirror else {"mirror"}),
                "steps": c.steps,
                "origin": "shipped" if is_shipped(c) else "user",
                "parent": c.card.adapted.parent if c.card.adapted else None,
                "path": str(c.path),
                "sha256": c.sha256,
                "card": c.card.model_dump(mode="json"),
                "calibration": c.calibration.model_dump(mode="json") if c.calibration else None,
            }
            for c in found
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    for c in found:
        typer.echo(headline(c))
        for label, text in details(c):
            typer.echo(f"    {label}: {text}")
    for line in sharing_lines(found):
        typer.echo(line)
    if not found:
        typer.echo(f"No checkpoints installed; put .safetensors files into {user_checkpoint_dir()}.")
