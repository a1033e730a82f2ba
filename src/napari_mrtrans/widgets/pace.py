"""How fast each model was on this machine, to say beforehand how long another run takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..wording import clock
from .last_used import settings

if TYPE_CHECKING:
    from ..checkpoints.checkpoint import Checkpoint


def remember(name: str, images: int, seconds: float) -> None:
    """A checkpoint took so many seconds for so many images (slices times samples)."""
    if images > 0 and seconds > 0:
        settings().setValue(f"pace/{name}", f"{seconds / images:.6g}")


def estimate(models: Iterable[tuple[str, Checkpoint]], slices: int, n: int) -> str:
    """What is said of the time that ``n`` samples of up to so many slices take each of these models."""
    kept, total, unknown = settings(), 0.0, []
    for name, checkpoint in models:
        pace = str(kept.value(f"pace/{checkpoint.name}", ""))
        try:
            total += float(pace) * slices * (1 if checkpoint.deterministic else n)
        except ValueError:
            unknown.append(name)
    lines = []
    if total:
        lines.append(f"Takes about {clock(max(total, 1))}" if slices == 1 else f"Takes up to {clock(max(total, 1))}")
    if unknown:
        lines.append(f"{'the' if lines else 'The'} time of {', '.join(unknown)} is known after a first run")
    return "; ".join(lines) + ("." if lines else "")
