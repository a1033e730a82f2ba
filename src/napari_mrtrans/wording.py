"""Words that lines of every room are made of."""

from __future__ import annotations


def plural(count: int, what: str) -> str:
    """``1 slice``, ``2 slices``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
