"""What the files of a result are called, and what they say of themselves."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..datasets.bids import is_made
from ..errors import MrtransError
from ..paths import LONGEST_NAME
from ..scan.contrasts import BIDS_SUFFIX, Contrast, guess_contrast
from ..scan.nifti import stem

#: What may be written of a result: images by the last part of their names, and the report.
KINDS = ("mean", "std", "std-calibrated", "samples", "json")
#: In ``desc-``, which takes letters and digits only; the mean is the image itself, and the JSON its sidecar.
_BIDS = {"mean": "", "json": "", "std": "Std", "std-calibrated": "StdCalibrated", "samples": "Samples"}


def file_name(name: str, target: str, kind: str, *, bids: bool = False) -> str:
    """What the file of one of :data:`KINDS` is called for the volume ``name``.

    As a BIDS derivative, ``sub-01_ses-2_T1w`` becomes ``sub-01_ses-2_desc-synthetic_T2w.nii.gz``, and its standard
    deviation ``…_desc-syntheticStd_T2w.nii.gz``. What BIDS does not allow in a label is left out of it
    (:func:`bids_entity`).
    """
    plain = re.sub(r"[\\/\n\r]", "_", name)
    if not bids:
        stem = f"{plain}_{target}"
        return f"{stem}.json" if kind == "json" else f"{stem}_{kind}.nii.gz"
    start, described = _entities(plain)
    desc = f"{described}Synthetic" if described else "synthetic"
    suffix = BIDS_SUFFIX[Contrast.parse(target)]
    return f"{start}_desc-{desc}{_BIDS[kind]}_{suffix}{'.json' if kind == 'json' else '.nii.gz'}"


def _entities(stem: str) -> tuple[str, str]:
    """What a BIDS name starts with, without suffix and description, and the description."""
    parts = stem.split("_")
    if not re.match(r"sub-.*[^\W_]", parts[0]) or guess_contrast(parts[0]) is not None:
        told = "".join(part for part in re.split(r"[_-]", stem) if guess_contrast(part) is None)
        label = re.sub(r"[\W_]", "", told) or re.sub(r"[\W_]", "", stem) or "volume"
        return f"sub-{label}", ""
    kept = [entity for part in parts if (entity := bids_entity(part))]
    described = "".join(part.removeprefix("desc-") for part in kept if part.startswith("desc-"))
    return "_".join(part for part in kept if not part.startswith("desc-")), described


def bids_entity(part: str) -> str:
    """``acq-0.8mm`` as BIDS has it, ``acq-08mm``; empty where it is no entity.

    In the labels of people and visits letters of any script stay: without them two people may have one name.
    """
    key, _, label = part.partition("-")
    kept = re.sub(r"[^\w+]|_" if key in ("sub", "ses") else r"[^A-Za-z0-9+]", "", label)
    return f"{key}-{kept}" if kept and re.fullmatch(r"[A-Za-z]+", key) else ""


def is_result(path: Path) -> bool:
    """Whether an image is a result of this package, by its name; if others may use that, too, by its report."""
    name = stem(path)
    if is_made(name):
        return True
    kinds = "|".join(kind for kind in KINDS if kind != "json")
    found = re.fullmatch(rf"(.+_(?:{'|'.join(Contrast)}))_(?:{kinds})", name)
    if found is None:
        return False
    try:
        return "checkpoint" in json.loads(path.with_name(f"{found[1]}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def synthetic(info: Mapping[str, Any], kind: str = "mean") -> str:
    """For the header of a result, at most 79 bytes: ``synthetic T2 from T1, t1-t2-flair-flow, n=20``."""
    what = "" if kind == "mean" else f" {kind}"
    known = {"source", "checkpoint", "n"} <= info.keys()
    text = f"synthetic {info['target']}{what}" + (f" from {info['source']}, {info['checkpoint']}" if known else "")
    end = f", n={info['n']}" if known else ""
    return text.encode("ascii", "replace").decode()[: 79 - len(end)] + end


def check_free(record: Path, source: str, digest: str) -> None:
    """See that no result of another input has the name of this one.

    Args:
        record: The JSON that is to be written.
        source: The input's path; of a volume without a file its name.
        digest: Of its voxels.

    Raises:
        MrtransError: there is one, or the name is too long for a file.
    """
    if (size := len(os.fsencode(record.name)) + len("_std-calibrated.nii.gz")) > LONGEST_NAME:
        raise MrtransError(
            f"The results' names would have {size} bytes, and {LONGEST_NAME} are possible; rename the input."
        )
    if not record.exists():
        return
    try:
        info: Any = json.loads(record.read_text(encoding="utf-8"))
        # the name of a volume without a file is no place
        same = digest == info["input_digest"] or (Path(source).is_absolute() and source == info["input"])
        other = str(info["input"])
    except (OSError, ValueError, LookupError, TypeError):
        same, other = False, "something else"
    if not same:
        raise MrtransError(
            f"'{record}' is the result of another input of that name ({other}); choose another folder, or --overwrite."
        )
