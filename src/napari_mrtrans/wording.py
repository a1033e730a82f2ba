"""Words that lines of every room are made of."""

from __future__ import annotations


def plural(count: int, one: str, many: str = "") -> str:
    """``1 slice``, ``2 slices``; ``many`` where it isn't ``one`` with an s."""
    return f"{count} {one}" if count == 1 else f"{count} {many or one + 's'}"


def and_more(count: int) -> str:
    """``" and 3 more"``, after the names that are told; nothing where there are none."""
    return f" and {count} more" if count > 0 else ""
