"""Words that lines of every room are made of."""

from __future__ import annotations


def plural(count: int, one: str, many: str = "") -> str:
    """``1 slice``, ``2 slices``; ``many`` where it isn't ``one`` with an s."""
    return f"{count} {one}" if count == 1 else f"{count} {many or one + 's'}"


def and_more(count: int) -> str:
    """``" and 3 more"``, after the names that are told; nothing where there are none."""
    return f" and {count} more" if count > 0 else ""


def clock(seconds: float) -> str:
    """``80`` as ``1:20``, ``4000`` as ``1:06:40``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
