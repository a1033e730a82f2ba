"""Which checkpoints are installed: those shipped with the package and those in the user's folder."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import CheckpointError
from ..models.families import FAMILIES
from ..paths import shipped_checkpoint_dir, typed, user_checkpoint_dir
from ..scan.contrasts import Contrast, Pair
from .checkpoint import Checkpoint, read_checkpoint
from .planes import is_planes

_first: list[Path] = []


@contextmanager
def searched_first(folder: Path) -> Iterator[None]:
    """Meanwhile, checkpoints in ``folder`` are installed too, and hide others of the same name."""
    _first.append(folder)
    try:
        yield
    finally:
        _first.remove(folder)


def list_checkpoints() -> list[Checkpoint]:
    """Installed checkpoints, default first.

    A damaged file is skipped with a warning; a user's file hides a shipped one of the same name. Of a family those that
    come with the package are first, so that its name means the same after others were installed; then the user's. What
    was adapted to one scanner is worse on others, and comes last.
    """
    found: dict[str, Checkpoint] = {}
    for folder in (shipped_checkpoint_dir(), user_checkpoint_dir(), *_first):
        for path in sorted(folder.glob("*.safetensors")) if folder.is_dir() else []:
            if is_planes(path) or path.name.startswith("."):  # what is half-written, and what macOS puts beside
                continue
            try:
                checkpoint = read_checkpoint(path)
            except CheckpointError as error:
                warnings.warn(str(error), stacklevel=2)
                continue
            found[checkpoint.name] = checkpoint

    def order(c: Checkpoint) -> tuple[int, bool, bool, str]:
        return _rank(c.card.model), bool(c.card.unnamed), not is_shipped(c), c.name

    return sorted(found.values(), key=order)


def listed_quietly() -> list[Checkpoint]:
    """As :func:`list_checkpoints`, without a word of damaged ones, where they are not what was asked about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list_checkpoints()


def is_installed(file: Path) -> bool:
    """Whether a checkpoint's file lies where its name finds it."""
    return file.parent in (shipped_checkpoint_dir(), user_checkpoint_dir(), *_first)


def is_shipped(checkpoint: Checkpoint) -> bool:
    """Whether it comes with the package, rather than from the user."""
    return checkpoint.path.parent == shipped_checkpoint_dir()


def checkpoints_for(source: Contrast, target: Contrast) -> list[Checkpoint]:
    """Installed checkpoints that serve one pair, default first."""
    return [c for c in list_checkpoints() if Pair(source, target) in c.pairs]


def load_checkpoint(name: str | Path) -> Checkpoint:
    """A checkpoint by installed name, by file, or by family name (``flow``: the preferred one of that family).

    Two contrasts and a family (``t1-t2-flow``) are the preferred one of the family that makes the second of the first.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    text = str(name)
    if text.endswith(".safetensors"):
        return read_checkpoint(typed(text))
    installed = list_checkpoints()
    for checkpoint in installed:
        if text == checkpoint.name:
            return checkpoint
    for checkpoint in installed:
        family = checkpoint.card.model
        kinds = [family, *(f"{pair.source}-{pair.target}-{family}" for pair in checkpoint.pairs)]
        if text.lower() in map(str.lower, kinds):
            return checkpoint
    if typed(text).is_file():
        return read_checkpoint(typed(text))
    raise CheckpointError(f"No checkpoint '{text}'. {_installed_line(installed)}")


def choose_checkpoint(name: str | Path | None, source: Contrast, target: Contrast) -> Checkpoint:
    """The checkpoint for a pair: the one named (as :func:`load_checkpoint`), or the preferred one.

    Raises:
        CheckpointError: none serves the pair; the text lists what is installed.
    """
    pair = Pair(source, target)
    serving = checkpoints_for(source, target)
    if name is None:
        if serving:
            return serving[0]
        raise CheckpointError(no_checkpoint_line(pair))
    named = load_checkpoint(name)
    # Of a family, the first that serves the pair.
    of_family = str(name).lower() == named.card.model.lower() != named.name.lower()
    checkpoint = next((c for c in serving if c.card.model == named.card.model), named) if of_family else named
    if pair not in checkpoint.pairs:
        raise CheckpointError(does_not_serve_line(checkpoint, pair))
    return checkpoint


def first_target(name: str | Path | None, source: Contrast) -> Contrast:
    """A contrast that ``source`` can be turned into, by the checkpoint named (as :func:`load_checkpoint`) or any.

    Raises:
        CheckpointError: there is none.
    """
    for checkpoint in list_checkpoints() if name is None else [load_checkpoint(name)]:
        for pair in checkpoint.pairs:
            if pair.source == source:
                return pair.target
    raise CheckpointError(f"No checkpoint transforms {source}. {_installed_line(list_checkpoints())}")


def does_not_serve_line(checkpoint: Checkpoint, pair: Pair) -> str:
    """What to tell a user whose chosen checkpoint does not serve the pair."""
    serves = ", ".join(map(str, checkpoint.pairs))
    return f"'{checkpoint.name}' does not serve {pair}; it serves {serves}. Train one with napari-mrtrans-train."


def no_checkpoint_line(pair: Pair) -> str:
    """What to tell a user who asks for a pair that nothing serves."""
    installed = _installed_line(list_checkpoints())
    return f"No checkpoint for {pair.source} → {pair.target}. {installed} Train one with napari-mrtrans-train."


def _installed_line(installed: list[Checkpoint]) -> str:
    return f"Installed: {', '.join(c.name for c in installed) or 'none'}."


def _rank(family: str) -> int:
    """Families are offered in their own order, strange ones last; the first that serves a pair is the default."""
    return [*FAMILIES, family].index(family)
