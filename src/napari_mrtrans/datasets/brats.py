"""Reader of BraTS 2017 to 2023, with the tumour mask (seg) where it is published.

``Brats18_TCIA02_171_1_t1.nii.gz`` (2017 to 2019; the last number is the visit), ``BraTS20_Training_001_t1.nii`` (2020)
and ``BraTS2021_00000_t1.nii.gz`` (2021) stand beside ``_t2``, ``_flair``, ``_t1ce``, ``_seg``;
``BraTS-GLI-00001-000-t1n.nii.gz`` (2023, any tumour; person and visit) beside ``-t2w``, ``-t2f``, ``-t1c``, ``-seg``.
T1 with contrast agent (t1ce, t1c) is another contrast and left out.
"""

from __future__ import annotations

import re

from ..scan.contrasts import guess_contrast
from .layout import FIFTHS, NIFTI, Place, Shares, subject_label

EXAMPLE = "BraTS2021_00000_t1.nii.gz, BraTS-GLI-00001-000-t1n.nii.gz"
SHARES: Shares | None = FIFTHS

_NAME = re.compile(
    r"(?:^|/)(?P<subject>BraTS(?:1[789]_[A-Z0-9]+_[A-Z0-9]+(?=_\d)|20_[A-Z]+_\d+|2021_\d+|-[A-Z]+-\d+))"
    rf"(?:[_-](?P<visit>\d+))?[_-](?P<file>[A-Z0-9]+){NIFTI}",
    re.IGNORECASE,
)


def place(path: str) -> Place | None:
    """What a path below the data folder says; None: not of this data set."""
    if not (name := _NAME.search(path)):
        return None
    session, file = f"ses-{name['visit']}" if name["visit"] else "", name["file"].lower()
    return Place(subject_label(name["subject"]), session, guess_contrast(file), file == "seg")
