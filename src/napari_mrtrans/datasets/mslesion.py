"""Reader of two sets of people with multiple sclerosis, with the experts' consensus as the mask.

- MSSEG 2016 (Commowick 2021, 10.1016/j.neuroimage.2021.118589), as archived:
  ``[Training/|Testing/][Center_01/]PATIENT/Preprocessed_Data/{T1,T2,DP,FLAIR,GADO}_preprocessed.nii.gz``,
  ``PATIENT/Raw_Data/{T1,T2,DP,FLAIR,GADO}.nii.gz``, ``PATIENT/Masks/Consensus.nii.gz``; and as handed out in 2016:
  ``01016SACH/{T1,T2,DP,FLAIR,GADO}_preprocessed.nii.gz`` or ``01016SACH/{3DT1,T2,DP,3DFLAIR,3DT1GADO}.nii.gz`` with
  ``Consensus.nii.gz`` beside it (its first two digits are the centre). ``GroundTruth.nii.gz`` is a mask, too.
- 3D-MR-MS (Lesjak 2017, 10.1007/s12021-017-9348-7): ``patient01/patient01_{T1W,T2W,FLAIR}.nii.gz``,
  ``patient01_consensus_gt.nii.gz``, and ``patient01/raw/``; also without the repeated ``patient01_``.

DP is proton density. T1 with gadolinium (GADO, T1WKS), brain masks and single raters are left out. Raw images are read
only where a patient has no preprocessed ones.
"""

from __future__ import annotations

import re

from ..scan.contrasts import guess_contrast
from .layout import FIFTHS, NIFTI, Place, Shares, subject_label

EXAMPLE = "Patient_01/Preprocessed_Data/T1_preprocessed.nii.gz, patient01/patient01_T1W.nii.gz"
SHARES: Shares | None = FIFTHS

_FILE = (
    r"(?P<file>(?:3D)?(?:T1|T2|DP|FLAIR|GADO|T1GADO)(?:_preprocessed)?"
    rf"|(?P<mask>Consensus|GroundTruth)|ManualSegmentation_\d|Brain_Mask){NIFTI}"
)
_ARCHIVE = re.compile(
    r"(?:^|/)(?P<patient>(?:(?:(?:Training|Testing)/)?(?P<site>Center_\d+)/)?[^/]+)/"
    rf"(?:Preprocessed_Data|Raw_Data|Masks)/{_FILE}"
)
_CHALLENGE = re.compile(rf"(?:^|/)(?P<patient>(?P<site>\d\d)\d{{3}}[A-Z]{{4}})[^/]*/(?:[^/]+/)*{_FILE}")
_LESJAK = re.compile(
    r"(?:^|/)(?P<patient>(?P<site>)patient\d\d)/(?:raw/)?(?:(?P=patient)_)?"
    rf"(?P<file>T1W|T1WKS|T2W|FLAIR|(?P<mask>consensus_gt)|brainmask){NIFTI}"
)


def place(path: str) -> Place | None:
    """What a path below the data folder says; None: not of this data set."""
    for pattern in (_CHALLENGE, _ARCHIVE, _LESJAK):
        if name := pattern.search(path):
            file = name["file"]
            raw = "raw" in path.split("/") if pattern is _LESJAK else not file.endswith("_preprocessed")
            return Place(
                subject_label(name["patient"]),
                contrast=guess_contrast(file),
                mask=bool(name["mask"]),
                site=name["site"] or "",
                rank=int(raw),
            )
    return None
