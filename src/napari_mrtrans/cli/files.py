"""What is asked of files that a command is given, and of those that it is to write."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MrtransError

if TYPE_CHECKING:
    from ..scan.contrasts import Contrast


def check_writable_as(path: Path, suffixes: tuple[str, ...], option: str, inputs: Iterable[Path | None]) -> None:
    """See that a single file that is to be written is none of a command's inputs, and called as what it will be.

    Raises:
        MrtransError: it is, or it is a folder, or has another suffix.
    """
    if path.is_dir():
        raise MrtransError(f"'{path}' is a folder; name a file with {option}.")
    if any(given is not None and path.exists() and given.exists() and path.samefile(given) for given in inputs):
        raise MrtransError(f"'{path}' is an input of this command; choose another {option}.")
    if not path.name.lower().endswith(suffixes):
        raise MrtransError(f"'{path.name}' does not end in {' or '.join(suffixes)}; choose another {option}.")


def check_shows(path: Path, contrast: Contrast | str) -> None:
    """See that an image's name does not say that it shows another contrast.

    Raises:
        MrtransError: it does.
    """
    from ..scan.contrasts import Contrast, guess_contrast

    told = guess_contrast(path.name)
    if told not in (None, Contrast.parse(contrast)):
        raise MrtransError(
            f"'{path.name}' is {told} by its name, and the result is {Contrast.parse(contrast)}; give the acquired "
            f"{Contrast.parse(contrast)}, or rename it."
        )


def made_as(mean: Path) -> Contrast | None:
    """What a mean that ``transform`` wrote shows, by the report beside it; None where there is none."""
    from ..lesion.files import report_beside
    from ..scan.contrasts import Contrast

    try:
        return Contrast.parse(report_beside(mean).get("target", ""))
    except MrtransError:
        return None


def doubts(result: Path, *others: Path | None) -> list[str]:
    """Lines for files that are compared and should not be: of other people by their names, or one and the same."""
    from ..datasets.sessions import entity

    lines = []
    whose = entity("sub", result.name)
    for other in (path for path in others if path is not None):
        if whose and (another := entity("sub", other.name)) not in ("", whose):
            lines.append(f"'{result.name}' is of {whose} and '{other.name}' of {another}: is that one person?")
        if other.exists() and result.exists() and other.samefile(result):
            lines.append(f"'{other.name}' is given twice; compare it with another image.")
    return lines
