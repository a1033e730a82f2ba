"""The four contrasts, transformation pairs, and guessing a contrast from a file or layer name."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from .errors import MrtransError


class Contrast(StrEnum):
    """A structural brain MR contrast; member name and value are equal."""

    T1 = "T1"
    T2 = "T2"
    PD = "PD"
    FLAIR = "FLAIR"

    @classmethod
    def parse(cls, text: str | Contrast) -> Contrast:
        """Read a contrast as people write it: ``T1``, ``t1w``, ``T2-weighted``, ``pd``, ``flair``.

        Raises:
            MrtransError: the text names none of the four contrasts.
        """
        if isinstance(text, Contrast):
            return text
        key = re.sub(r"[\s_-]*(w|weighted|image)$", "", str(text).strip().lower())
        for contrast in cls:
            if key == contrast.value.lower():
                return contrast
        raise MrtransError(f"Unknown contrast '{text}'. Choose one of {', '.join(c.value for c in cls)}.")


class Pair(NamedTuple):
    """One transformation, e.g. ``T1→T2``."""

    source: Contrast
    target: Contrast

    def __str__(self) -> str:
        return f"{self.source}→{self.target}"

    @classmethod
    def parse(cls, text: str) -> Pair:
        """Read ``T1->T2`` or ``T1→T2``.

        Raises:
            MrtransError: not of that form, or source and target are the same.
        """
        parts = re.split(r"\s*(?:->|→)\s*", str(text).strip())
        if len(parts) != 2:
            raise MrtransError(f"'{text}' is no pair of contrasts; write it as T1->T2.")
        pair = cls(Contrast.parse(parts[0]), Contrast.parse(parts[1]))
        if pair.source == pair.target:
            raise MrtransError(f"Source and target of '{text}' are the same contrast.")
        return pair


# BIDS suffixes, IXI (IXI002-Guys-0828-T1), OASIS-3 (…_T1w), BraTS 2018-2023 (…_t1, …-t2w, …-t1n), vendor series.
# FLAIR comes first: a "T2-FLAIR" series is a FLAIR.
_PATTERNS: tuple[tuple[Contrast, str], ...] = (
    (Contrast.FLAIR, r"flair|t2f|dark[ _-]?fluid|tirm"),
    (Contrast.PD, r"pd(w|weighted)?|proton[ _-]?density|dp"),
    (Contrast.T2, r"t2(w|weighted)?(tse|fse)?"),
    (Contrast.T1, r"t1(w|n|weighted)?|mp[ _-]?rage|mp2?rage|spgr|bravo|tfl"),
)
_POST_CONTRAST = re.compile(r"(?<![a-z0-9])(t1ce|t1c|t1gd|ce[ _-]gad\w*)(?![a-z0-9])", re.IGNORECASE)


def guess_contrast(name: str) -> Contrast | None:
    """Guess the contrast from a file or layer name; ``None`` when nothing or only a contrast-enhanced T1 is named."""
    stem = re.sub(r"\.(nii|nii\.gz|gz|img|hdr)$", "", re.split(r"[\\/]", str(name))[-1], flags=re.IGNORECASE)
    if _POST_CONTRAST.search(stem):
        return None
    for contrast, pattern in _PATTERNS:
        if re.search(rf"(?<![a-z0-9])({pattern})(?![a-z0-9])", stem, re.IGNORECASE):
            return contrast
    return None
