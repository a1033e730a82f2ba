"""Reader of OASIS-3: ``sub-OAS30001_ses-d0129_T1w.nii.gz``, ``_T2w``, ``_FLAIR``, wherever they lie.

That is so in BIDS (``sub-OAS30001/ses-d0129/anat/``) and in what the OASIS download scripts make
(``OAS30001_MR_d0129/anat1/`` or ``OAS30001_MR_d0129/anat1/NIFTI/``). A session is one day; of several scans the one
without an ``acq-`` entity is read, then the first run. T2*, susceptibility and functional images are left out, and so
is whatever was derived, but for what ``napari-mrtrans prepare`` wrote (``desc-preproc``) where a day has no raw images.
"""

from __future__ import annotations

import re

from ..scan.contrasts import Contrast
from .bids import is_other_image
from .layout import NIFTI, PREPARED, Place, Shares

EXAMPLE = "sub-OAS30001_ses-d0129_T1w.nii.gz"
#: The paper's 156 / 31 / 56.
SHARES: Shares | None = Shares(validation=31 / 243, test=56 / 243)

_NAME = re.compile(rf"(?:^|/)(?P<subject>sub-OAS3\d{{4}})_sess?-(?P<day>d\d{{4}})_(?P<rest>[^/]+){NIFTI}")
_SCAN = re.compile(r"(?:(?:acq|rec|run|echo)-[A-Za-z0-9]+_)*(?:desc-preproc_)?(?P<suffix>T1w|T2w|FLAIR)")


def place(path: str) -> Place | None:
    """What a path below the data folder says; None: not of this data set."""
    if not (name := _NAME.search(path)):
        return None
    scan = None if is_other_image(f"_{name['rest']}") else _SCAN.fullmatch(name["rest"])
    contrast = Contrast.parse(scan["suffix"]) if scan else None
    return Place(name["subject"], f"ses-{name['day']}", contrast, rank=int(PREPARED in path))
