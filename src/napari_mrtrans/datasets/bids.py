"""Sessions, and the reader of plain BIDS: ``sub-*/[ses-*/]anat/*_{T1w,T2w,PDw,FLAIR}.nii.gz``.

Masks of lesions lie under ``derivatives/masks/sub-*/[ses-*/]anat/*_mask.nii.gz``; of several, those that are called so
come first (:data:`_LESION`), and those of brains are none. Other derivatives are left out, and so are images with
contrast agent (BIDS entity ce), which are another contrast under the same suffix, and the phase, real or imaginary part
of one (part), which is no image of the anatomy. Images that ``napari-mrtrans prepare`` wrote (``desc-preproc``) are
read where a session has no raw ones.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RecipeError
from ..scan.contrasts import Contrast, names_agent, names_mask
from ..scan.intensity import clean, find_head
from ..scan.masks import read_mask
from ..scan.volume import Volume
from . import computed_pd
from .layout import NIFTI, PREPARED, Place, Shares
from .loaded import check_one_grid

EXAMPLE = "sub-01/anat/sub-01_T1w.nii.gz"
SHARES: Shares | None = None

_NAME = re.compile(
    r"(?P<masks>derivatives/masks/)?(?P<subject>sub-[^/]+)/(?:(?P<session>ses-[^/]+)/)?(?:[^/]+/)*anat/"
    rf"(?P<stem>[^/]+)_(?P<suffix>T1w|T2w|PDw|FLAIR|mask){NIFTI}"
)
#: What masks below ``derivatives/masks`` are called that mark something ill, and those that do not.
_LESION = re.compile(r"_[^_]*(?:lesion|tumou?r|wmh|stroke|infarct)", re.IGNORECASE)
_BRAIN = re.compile(r"_(?:(?:desc|label)-)?brain(?:mask)?(?=_|$)", re.IGNORECASE)


#: In a session's name: the data set's folder and the person, whatever else the folder is called.
_PERSON = re.compile(r"(?:.*/)?sub-[^/]*")

#: Ends the session's name in that of one seen from the side (:mod:`.turned`), before the plane's.
PLANE_MARK = "/plane-"

#: In the name of what BIDS gives a contrast's suffix, but is another one, or not its magnitude.
_OTHER_IMAGE = re.compile(r"_ce-|_part-(?:phase|real|imag)(?=_|$)")

#: What BIDS says of an acquisition where something may tell of a contrast agent, too, and the contrast it is said of.
_LABEL, _T1 = re.compile(r"_(?:acq|rec|desc)-([A-Za-z0-9+]+)"), re.compile(r"_T1w(?=\.|$)")

#: In the name of an image that a model made.
_MADE = re.compile(r"_desc-\w*[Ss]ynthetic")


def is_other_image(name: str) -> bool:
    """Whether a file's name, with or without its ending, says that it is another image than its suffix does: one with
    contrast agent (``ce``, or a word for it in ``acq``, ``rec`` or ``desc`` of a T1), the phase, or a part of one."""
    labels = _LABEL.findall(name) if _T1.search(name) else ()
    return bool(_OTHER_IMAGE.search(name)) or any(map(names_agent, labels))


def is_made(name: str) -> bool:
    """Whether a file's name says that it is a result of this package, saved among the scans."""
    return bool(_MADE.search(name))


def subject_of(name: str) -> str:
    """A session's name without its visit, and without the plane that it is seen in; ``./a//sub-1`` is ``a/sub-1``."""
    plain = posixpath.normpath(name)
    person = _PERSON.match(plain)
    return person[0] if person else plain.partition(PLANE_MARK)[0].partition("/ses-")[0]


def data_set(name: str) -> str:
    """The folder below ``--data`` that a subject or session of this name is in; ``.`` when that is the data set."""
    return subject_of(name).rpartition("/")[0] or "."


def in_folder(folder: str, name: str) -> str:
    """A session's name with its data set's folder, where it goes without; an empty ``folder`` is not known."""
    return f"{folder}/{name}" if folder and data_set(name) == "." else name


def known_by(name: str, people: Collection[str]) -> bool:
    """Whether a session is of one of ``people`` (subjects), named with their data set's folder or without.

    Names of a run on one folder go without it, and without what lies above the data folder.
    """
    whole = f"/{subject_of(name)}"
    return any(whole.endswith(f"/{one}") or f"/{one}".endswith(whole) for one in people)


@dataclass(frozen=True)
class Session:
    """The contrasts of one person at one visit, all on one grid.

    Attributes:
        subject: ``sub-XX``, or ``folder/sub-XX`` when several folders are read; the unit of splitting.
        session: ``ses-X`` or empty.
        files: One file for each contrast present.
        mask: Expert lesion or tumour mask on the same grid, if any.
        site: Hospital or centre, if known.
        pd_seed: Of a PD image computed from the others (:mod:`.computed_pd`) where none was acquired; None = none is.
    """

    subject: str
    session: str
    files: dict[Contrast, Path] = field(hash=False)
    mask: Path | None
    site: str = ""
    pd_seed: int | None = None

    @property
    def name(self) -> str:
        """Subject and session."""
        return f"{self.subject}/{self.session}" if self.session else self.subject

    @property
    def contrasts(self) -> tuple[Contrast, ...]:
        """Those present, acquired or computed."""
        return (*self.files, *([Contrast.PD] if self._computes_pd else []))

    @property
    def _computes_pd(self) -> bool:
        enough = len({Contrast.T1, Contrast.T2, Contrast.FLAIR} & self.files.keys()) >= computed_pd.NEEDED
        return self.pd_seed is not None and Contrast.PD not in self.files and enough

    @property
    def simulated(self) -> bool:
        """It is not."""
        return False

    def stamp(self, *, needed: Collection[str] | None = None) -> list[Any]:
        """What each file is, its path, size and time.

        Args:
            needed: Contrasts whose files must be there; those of others, and the mask, get neither size nor time where
                they are not. None: everything must be.

        Raises:
            RecipeError: one that must be there is not.
        """
        kinds = [(contrast.value, path) for contrast, path in self.files.items()]
        kinds += [("mask", self.mask)] if self.mask else []
        files: list[list[Any]] = []
        for kind, path in kinds:
            size = time = None
            try:
                size, time = (stat := path.stat()).st_size, stat.st_mtime_ns
            except OSError as error:
                if needed is None or kind in needed:
                    why = f"cannot be read ({error.strerror}). Put it back and run it again."
                    raise RecipeError(f"'{error.filename}' of {self.name} {why}") from None
            files.append([kind, os.path.realpath(path), size, time])
        return [*files, *([["PD", computed_pd.FORMAT, self.pd_seed, self.name]] if self._computes_pd else [])]

    def load(self) -> tuple[dict[Contrast, Volume], NDArray[np.bool_] | None]:
        """The images, and the mask if there is one.

        Raises:
            RecipeError: the contrasts lie on different grids.
            VolumeError: a file cannot be used.
        """
        volumes = {contrast: Volume.load(path, contrast) for contrast, path in self.files.items()}
        check_one_grid(self.name, volumes.values())
        first = next(iter(volumes.values()))
        if self._computes_pd:
            images = {contrast: clean(volume.data) for contrast, volume in volumes.items()}
            brain, _ = find_head(next(iter(images.values())), first.voxel_sizes)
            rng = np.random.default_rng([self.pd_seed or 0, *self.name.encode()])
            made = computed_pd.computed_pd(images, brain, rng)
            volumes[Contrast.PD] = Volume(made, first.affine, Contrast.PD, f"{self.name}_PD")
        return volumes, read_mask(self.mask, first) if self.mask else None


def place(path: str) -> Place | None:
    """What a path below the data folder says; None: not of this data set."""
    name = _NAME.match(path)
    if not name or (name["masks"] and name["suffix"] != "mask"):
        return None
    unused = names_mask(path) or is_other_image(f"{name['stem']}_{name['suffix']}") or is_made(name["stem"])
    contrast = None if unused else Contrast.parse(name["suffix"])
    rank = int(PREPARED in path) if contrast else int(not _LESION.search(name["stem"]))
    mask = bool(name["masks"]) and not _BRAIN.search(name["stem"])
    return Place(name["subject"], name["session"] or "", contrast, mask, rank=rank)
