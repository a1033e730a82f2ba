"""The four contrasts, transformation pairs, and guessing a contrast from a file or layer name."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from ..errors import MrtransError


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


#: The suffix of an image's name in BIDS.
BIDS_SUFFIX = {Contrast.T1: "T1w", Contrast.T2: "T2w", Contrast.PD: "PDw", Contrast.FLAIR: "FLAIR"}


class Pair(NamedTuple):
    """One transformation, e.g. ``T1→T2``."""

    source: Contrast
    target: Contrast

    def __str__(self) -> str:
        return f"{self.source}→{self.target}"

    @property
    def key(self) -> str:
        """``T1->T2``, as in files."""
        return f"{self.source}->{self.target}"

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


# BIDS suffixes, IXI (IXI002-Guys-0828-T1), OASIS-1 and -3, ADNI, BraTS 2018-2023 (…_t1, …-t2w, …-t1n), MSSEG (3DFLAIR,
# DP), vendor series.
def _whole(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z0-9])(?:[23]d|s)?({pattern})(?![a-z0-9])", re.IGNORECASE)


_FLAIR = _whole(r"(t2[ _-]?(w|weighted)?[ _-]?)?flair|t2f|dark[ _-]?fluid|da[ _-]?fl|tirm")
# GE's T1 FLAIR and Siemens' t1_tirm null the fluid of a T1-weighted image. After a subject (P1_T1_FLAIR) T1 is a visit.
_T1_FLAIR = re.compile(
    r"(?P<subject>[a-z]\d+[ _-])?(?<![a-z0-9])t1(w|[ _-]?weighted)?[ _-]?(flair|tirm|dark)", re.IGNORECASE
)
_NAMED: tuple[tuple[Contrast, re.Pattern[str]], ...] = (
    (Contrast.PD, _whole(r"pd(w|weighted)?|proton[ _-]?density|dp")),
    (Contrast.T2, _whole(r"t2(w|weighted)?(tse|fse)?(?!\*)")),
    (Contrast.T1, _whole(r"t1(w|n|weighted)?|unit1")),
)
_T1_SEQUENCE = _whole(r"(t1)?mp[ _-]?rage|mp2?rage|f?spgr|bravo|tfl|oas1_\d+_mr\d+_mpr|adni_\w*_mpr")
_POST_CONTRAST = _whole(r"t1w?(ce|c|gd)")
_AGENT = _whole(
    r"ce([ _-]\w+)?|t1w?[ _+-]+(c|ce)|(t1)?(gd([ _-]?dtpa)?|gad|gado\w*|km|contrast[eo]?)|c(?=\+)"
    r"|post([ _-]?(c|ce|gd|con|contrast|gad|gado\w*|km))?|inject\w*|dotarem|magnevist|omniscan|clariscan"
    r"|artirem|(pro|multi)hance|primovist"
)
#: Whose image it is, and of which visit (``ses-post``: after what?), as BIDS begins a name.
_WHOSE = re.compile(r"^sub-[^_]+_(?:ses-[^_]+_)?", re.IGNORECASE)
#: As at the end of ``BRAVO+C``.
_PLUS_AGENT = re.compile(r"\+ ?(c|gd|gad|gado\w*)(?![a-z0-9])", re.IGNORECASE)
#: At the end of a label that may hold letters and digits alone: ``acq-mprageGd``, ``acq-mpragepostC``.
_GLUED_AGENT = re.compile(
    r"(?<=[a-z0-9])(?:Gd|GD|Gad|Gado[a-z]*|CE|Post)(?=_|$)|(?<=[A-Za-z0-9])[Pp]ost(?:[Cc]|[Gg]d|GD|[Cc]on(?:trast)?)(?=_|$)"
)
#: Two echoes of one sequence, of which a name tells both.
_DUAL_ECHO = _whole(
    r"(pd|dp|proton[ _-]?density)(w|weighted)?[ _+&-]*t2(w|weighted)?|t2(w|weighted)?[ _+&-]*(pd|dp)(w|weighted)?"
)
#: Gradient and planar echoes that are called T2 are T2*.
_T2_STAR = _whole(r"b?ffe|m?gre|medic|merge|fl3d|flash|heme|t2w?[ _-]epi|epi[ _-]t2w?")
#: What is none of the four, whatever else is named; of words that are no subject's, no visit's and no processing's.
_OTHER = _whole(r"adc|dwi|dti|diff|diffusion|ep2d(_?\w+)?|stir|tof|mra|mrv|bold|fmri|p?c?asl|ciss|fiesta|trufi")
#: Before a suffix of BIDS they, and FLAIR, are the name of a study or a group; a second layer of that name is ``[1]``.
_BIDS_END = re.compile(r"_(T1w|T2w|PDw)( \[\d+\])?$")
#: As BIDS has it: phase, parts of complex images, and the second inversion of MP2RAGE, which is PD-weighted.
_OTHER_PART = re.compile(r"(?<![a-z0-9])(part-(phase|real|imag)|inv-2)(?![a-z0-9])", re.IGNORECASE)
_T2_STAR_OR_MAP = _whole(r"t2[ _-]?star|fl2d|hemo|swi|swan|t[12][ _-]?map(ping|s)?")
#: In names of masks, segmentations and maps of tissue, whatever contrast they were drawn on.
_MASK = _whole(r"(?<!no[ _-])[a-z]*masks?\d*|(a|d|prob|pve|brain|lesion|tumou?r)?segs?\d*|[a-z]*segmentations?|pve\d*")
_MASK_END = re.compile(r"(?<!no[ _-])masks?$", re.IGNORECASE)
#: What napari appends to the name of a layer.
_COPY = re.compile(r"( copy)?( \[\d+\])?$")
#: The same at the end of a name: further on, they tell of a study, a person, or what was done (``T1_lesion_filled``).
_MARKED = _whole(r"[a-z]*lesions?\d*|rois?\d*|labels?\d*")
# What an image was brought onto is not what it shows.
_SHOWN = r"(t1w?|t2w?|pdw?|flair|dwi|dti|diff(?:usion)?|bold|fmri|asl|adc)(?:[ _-]space)?(?![a-z0-9])"
_REFERENCE = re.compile(rf"[ _-](to|in|on|space)[ _-]{_SHOWN}", re.IGNORECASE)

#: The same in words that also stand before a contrast that is shown (``reg_T1.nii``).
_REGISTERED = re.compile(
    rf"[ _-](?:(?:co)?reg(?:istered)?|aligned|warped|resampled|2)[ _-](?:to[ _-])?{_SHOWN}", re.IGNORECASE
)


def guess_contrast(name: str) -> Contrast | None:
    """Guess the contrast from a file or layer name; ``None`` when nothing is named, only a contrast-enhanced T1, both
    echoes of a double echo, T2*, or what is none of the four.

    A FLAIR is a FLAIR wherever the name says so (``T2-FLAIR``), but for the T1-weighted ``T1 FLAIR`` and before BIDS'
    suffixes: ``FLAIR_01_T1w`` is T1, and of ``FLAIR_01_T2w`` nothing is guessed, as FLAIR is T2-weighted. Otherwise the
    contrast named last counts, because subjects and visits, which may be called T1 or PD too, come first. In BIDS
    names, ``key-value`` parts are ignored.
    """
    stem = _stem(name)
    agent = names_agent(_WHOSE.sub("", stem))
    if _OTHER_PART.search(stem):
        return None
    stem = _REFERENCE.sub("", _without_entities(stem))
    alone = _REGISTERED.sub("", stem)
    if _FLAIR.search(alone) or any(pattern.search(alone) for _, pattern in _NAMED):
        stem = alone
    if _POST_CONTRAST.search(stem):
        return None
    end = _BIDS_END.search(stem)
    if not end and (found := _T1_FLAIR.search(stem)) and not found["subject"]:
        return None if agent else Contrast.T1
    if not end and _FLAIR.search(stem):
        return Contrast.FLAIR
    if end and end[1] == "T2w" and _FLAIR.search(stem):
        return None
    if _T2_STAR_OR_MAP.search(stem) or (not end and (_OTHER.search(stem) or _DUAL_ECHO.search(stem))):
        return None
    named = [(match.start(), contrast) for contrast, pattern in _NAMED for match in pattern.finditer(stem)]
    guess = max(named)[1] if named else Contrast.T1 if _T1_SEQUENCE.search(stem) else None
    if guess is Contrast.T2 and _T2_STAR.search(stem):
        return None
    return None if guess is Contrast.T1 and agent else guess


def names_anything(name: str) -> bool:
    """Whether a name tells what an image shows, be it none of the four contrasts (:func:`guess_contrast`)."""
    known = (_FLAIR, _T1_SEQUENCE, _POST_CONTRAST, _OTHER, _OTHER_PART, _T2_STAR_OR_MAP)
    return any(pattern.search(name) for pattern in (*known, *(pattern for _, pattern in _NAMED)))


def names_mask(name: str) -> bool:
    """Whether a file or layer is called as masks, segmentations and maps of tissue are, be it after a contrast."""
    stem = _COPY.sub("", _without_entities(_stem(name)))
    if _MASK.search(stem) or _MASK_END.search(stem):
        return True
    *_, marked = (None, *_MARKED.finditer(stem))
    if marked is None or marked.end() < len(stem):
        return False
    # FSL calls what it has cropped T1_roi.
    return not (marked[0] == "roi" and guess_contrast(stem[: marked.start()]) is not None)


def names_agent(name: str) -> bool:
    """Whether a name tells of a contrast agent."""
    return any(pattern.search(name) for pattern in (_POST_CONTRAST, _AGENT, _PLUS_AGENT, _GLUED_AGENT))


def names_map(name: str) -> bool:
    """Whether a name tells of a T2*-weighted image, or of a map of T1 or T2."""
    return bool(_T2_STAR_OR_MAP.search(name))


def _stem(name: str) -> str:
    """The last part of a path without its ending."""
    return re.sub(r"\.(nii|nii\.gz|nii\.bz2|gz|img|hdr)$", "", re.split(r"[\\/]", str(name))[-1], flags=re.IGNORECASE)


def _without_entities(stem: str) -> str:
    """A name as BIDS has it without its ``key-value`` parts; others as they are."""
    if not stem.lower().startswith("sub-"):
        return stem
    return "_".join(part for part in stem.split("_") if not re.fullmatch(r"[a-zA-Z]+-[a-zA-Z0-9+]+", part))
