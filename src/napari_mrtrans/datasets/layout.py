"""What a file's name says, in the terms of BIDS; each reader of a data set turns paths into this."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..scan.contrasts import Contrast

#: Ends every reader's pattern.
NIFTI = r"(?i:\.nii(?:\.gz)?)$"
#: In the name of an image that ``napari-mrtrans prepare`` wrote.
PREPARED = "_desc-preproc_"


class Shares(NamedTuple):
    """How much of a data set is held out by default, each of the subjects in [0, 1)."""

    validation: float
    test: float


#: Where a data set brings no split of its own.
FIFTHS = Shares(validation=0.2, test=0.2)


class Place(NamedTuple):
    """Where a file belongs.

    Attributes:
        subject: ``sub-XX``, from :func:`subject_label`.
        session: ``ses-X`` or empty.
        contrast: None for what is of this data set, but not used (contrast agent, angiography, …), and for masks.
        mask: Whether it is the experts' mask.
        site: Hospital or centre, over which a drawn split is balanced; may be empty.
        rank: Of several versions of a session's images, raw and preprocessed, only those of the lowest are read; of
            several masks, the first of the lowest.
    """

    subject: str
    session: str = ""
    contrast: Contrast | None = None
    mask: bool = False
    site: str = ""
    rank: int = 0


def subject_label(identifier: str) -> str:
    """A BIDS subject of a data set's own identifier: ``IXI002-Guys-0828`` is ``sub-IXI002Guys0828``."""
    return "sub-" + re.sub(r"[^A-Za-z0-9]", "", identifier)
