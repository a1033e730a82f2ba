"""Lines of the engine, which knows options of a command, in the words of a window."""

from __future__ import annotations

import re
from collections.abc import Callable

_WORDS = (
    ("give a brain mask with --mask", "choose a brain mask under Advanced"),
    ("give a better one with --mask", "choose a better one under Advanced"),
    ("choose another -o,", "choose another output folder,"),
    (", or --mask", ", or choose a brain mask under Advanced"),
    ("choose another --name", "choose another name"),
    ("give the right one with --data", "choose the right one"),
    ("so it was not installed; --keep installs it all the same.", "so it was not installed."),
    ("; the same command then goes on where it was", "; Go on then continues where it was"),
    ("or choose another --model", "or choose another model"),
    (", or use --no-bids", ""),
    ("fewer --workers", "fewer workers"),
)
#: What is said of a step while it goes on, and means nothing once it is over.
_PASSING = ("extracting its brain first.",)


def for_window(line: str, place: str = "another output folder") -> str:
    """The same line without options that only a command has.

    Args:
        line: Of the engine.
        place: What is chosen in that window where a command is told another folder.
    """
    folders = ((f"{first}hoose another folder with -o", f"{first}hoose {place}") for first in "cC")
    for option, words in (*_WORDS, *folders):
        line = line.replace(option, words)
    return line


def for_adapting(line: str) -> str:
    """:func:`for_window` of the dock that adapts, whose folders go by the result's name."""
    return for_window(line, "another name")


def for_many(line: str) -> str:
    """:func:`for_window` of the dock for many scans, which takes no brain mask."""
    return for_window(line).replace("under Advanced", "in MR contrast transformation")


def passing(line: str) -> bool:
    """It tells of something that goes on now, not of something that stays true."""
    return line.endswith(_PASSING)


def in_slider_numbers(line: str, number: Callable[[int], int]) -> str:
    """The same line with slices counted as on the slider, the last one included.

    Args:
        line: Of the engine, which counts them along the array and leaves the last one out (``slices 2:5``).
        number: Of a slice on the slider.
    """

    def told(found: re.Match[str]) -> str:
        first, last = sorted((number(int(found[1])), number(int(found[2]) - 1)))
        return f"slices {first} to {last}" if first < last else f"slice {first}"

    line = re.sub(r"(?<=\bslice )\d+", lambda found: str(number(int(found[0]))), line)
    return re.sub(r"\bslices (\d+):(\d+)", told, line)
