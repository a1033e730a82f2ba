"""Which contrast a series shows: by the words of its header, else by its timing."""

from __future__ import annotations

import re

from ..scan.contrasts import Contrast, guess_contrast, names_agent, names_map
from .header import DESCRIPTION, PROTOCOL, SEQUENCE_NAME, Header

#: Where a contrast may be named, in the order in which they are believed.
_NAMES = {
    DESCRIPTION: "SeriesDescription",
    PROTOCOL: "ProtocolName",
    "0018|9005": "PulseSequenceName",
    SEQUENCE_NAME: "SequenceName",
}
#: What is none of the four contrasts, whatever else is named.
_OTHER = re.compile(
    r"(?<![a-z])(dwi|dti|diff\w*|adc|trace\w*|b\d{3,4}|ep2d\w*|epi|bold|fmri|rs-?fmri|rest\w*|perf\w*|asl|pc?asl|pwi|dsc|tof"
    r"|mra|mrv|angio\w*|swi\w*|swan|phase|pha|mip|minip|field_?map\w*|b0_?map|ciss|fiesta\w*|trufi|b-?ffe|stir|mrs|spectro\w*"
    r"|localizer|localiser|scout|survey|aahead\w*|loc|report|screen\w*|posdisp\w*)(?![a-z])",
    re.IGNORECASE,
)
#: What scanners write as contrast agent where there was none.
_NO_AGENT = {"", "none", "no", "no contrast", "without", "without contrast", "n/a", "na", "nil", "-"}
_OTHER_TYPES = {
    "P",
    "PHASE",
    "DIFFUSION",
    "ADC",
    "FA",
    "TRACEW",
    "LOCALIZER",
    "MIP",
    "MNIP",
    "PROJECTION IMAGE",
    "T1 MAP",
}


def other_kind(header: Header) -> str:
    """What shows that an image is none of the four contrasts; empty where nothing does."""
    for tag in (DESCRIPTION, PROTOCOL):
        if found := _OTHER.search(_plain(header.text(tag))):
            return found[0].lower()
    for part in header.parts("0008|0008")[2:]:
        if part in _OTHER_TYPES:
            return part.lower()
    if "EP" in header.parts("0018|0020"):
        return "echo-planar"
    return "angiography" if header.text("0018|0025").upper() == "Y" else ""


def guess(header: Header) -> tuple[Contrast | None, str]:
    """The contrast that a header tells, and where it stands there; None and nothing where it does not."""
    if other_kind(header):
        return None, ""
    agent = header.text("0018|0010").casefold() not in _NO_AGENT
    for tag, name in _NAMES.items():
        text = _plain(header.text(tag))
        agent = agent or names_agent(text)
        if names_map(text):
            return None, ""
        parts = {guess_contrast(part) for part in re.split(r"[\W_]+", text) if part}
        if {Contrast.PD, Contrast.T2} <= parts:  # both echoes have that name
            continue
        if found := guess_contrast(text):
            return (None, "") if agent and found is Contrast.T1 else (found, f"its {name}")
    found = by_timing(header)
    return (None, "") if found is None or (agent and found is Contrast.T1) else (found, _timing_words(header))


def by_timing(header: Header) -> Contrast | None:
    """What repetition, echo and inversion time (ms) of a spin or gradient echo make, in their usual ranges."""
    kinds = header.parts("0018|0020")
    repetition, echo = header.number("0018|0080"), header.number("0018|0081")
    inversion = header.number("0018|0082") or 0.0
    if repetition is None or echo is None or not {"SE", "GR", "IR"} & set(kinds):
        return None
    if inversion >= 1500 and repetition >= 4000 and echo >= 60:
        return Contrast.FLAIR
    if 0 < inversion < 300:  # fat is nulled, as in STIR
        return None
    if "GR" in kinds:
        variants = header.parts("0018|0021")
        spoiled = not variants or bool({"SP", "MP"} & set(variants))
        short = inversion > 0 or repetition <= 50
        return Contrast.T1 if spoiled and short and echo < 10 and inversion < 1500 else None
    if 300 <= inversion < 1500:
        return Contrast.T1 if echo <= 40 and repetition <= 3500 else None
    if echo <= 30 and repetition <= 1200:
        return Contrast.T1
    if repetition >= 1800 and not inversion:
        return Contrast.PD if echo <= 45 else Contrast.T2 if echo >= 60 else None
    return None


def _timing_words(header: Header) -> str:
    times = [("TR", "0018|0080"), ("TE", "0018|0081"), ("TI", "0018|0082")]
    said = [f"{name} {value:g} ms" for name, tag in times if (value := header.number(tag))]
    return f"its timing ({', '.join(['+'.join(header.parts('0018|0020')), *said])})"


def _plain(text: str) -> str:
    """Without what a guess from a file's name would take for folders."""
    return re.sub(r"[\\/]+", " ", text)
