"""Reader of IXI (brain-development.org): ``IXI002-Guys-0828-T1.nii.gz``, ``-T2``, ``-PD``.

In one folder or in those of the three archives (``IXI-T1/``, ``IXI-T2/``, ``IXI-PD/``). Angiography and diffusion are
left out. The hospital (Guys, HH, IOP) is in the name, also as ``napari-mrtrans prepare`` writes it:
``sub-IXI002Guys0828/anat/sub-IXI002Guys0828_desc-preproc_T1w.nii.gz``, which is read where a person has no raw images.
"""

from __future__ import annotations

import re

from ..scan.contrasts import Contrast
from .layout import NIFTI, PREPARED, Place, Shares, subject_label

EXAMPLE = "IXI002-Guys-0828-T1.nii.gz"
#: The paper's 357 / 74 / 144.
SHARES: Shares | None = Shares(validation=74 / 575, test=144 / 575)

_NAME = re.compile(
    rf"(?:^|/)(?:sub-)?(?P<subject>IXI\d{{3}}-?(?P<site>Guys|HH|IOP)-?\d{{4}})[-_](?P<rest>[^/]+){NIFTI}"
)
_SCAN = re.compile(r"(?:desc-preproc_)?(?P<contrast>(?:T1|T2|PD)w?|FLAIR)")


def place(path: str) -> Place | None:
    """What a path below the data folder says; None: not of this data set."""
    if not (name := _NAME.search(path)):
        return None
    scan = _SCAN.fullmatch(name["rest"])
    contrast = Contrast.parse(scan["contrast"]) if scan else None
    return Place(subject_label(name["subject"]), contrast=contrast, site=name["site"], rank=int(PREPARED in path))
