"""Brain extraction by programs that the user has installed: HD-BET, SynthStrip, deepbet."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ..errors import VolumeError
from ..scan.contrasts import Contrast
from ..scan.intensity import clean
from ..scan.masks import read_mask
from ..scan.volume import Volume
from .brain import BrainError, brain_mask

BUILT_IN = "built-in"


@dataclass(frozen=True)
class Tool:
    """A command that writes a brain mask.

    Attributes:
        program: Its name on the PATH.
        arguments: For (input, output image, output mask).
        mask: File name of the mask that it writes beside ``brain.nii.gz``.
        contrasts: What it was trained on.
    """

    program: str
    arguments: Callable[[str, str, str], list[str]]
    mask: str = "mask.nii.gz"
    contrasts: tuple[Contrast, ...] = tuple(Contrast)


#: In order of preference.
TOOLS = {
    "hd-bet": Tool(
        "hd-bet",
        lambda image, brain, _: ["-i", image, "-o", brain, "-device", "cpu", "--disable_tta", "--save_bet_mask"],
        mask="brain_bet.nii.gz",
    ),
    "synthstrip": Tool("mri_synthstrip", lambda image, brain, mask: ["-i", image, "-o", brain, "-m", mask]),
    "deepbet": Tool(
        "deepbet-cli", lambda image, brain, mask: ["-i", image, "-o", brain, "-m", mask], contrasts=(Contrast.T1,)
    ),
}


class ToolFailed(BrainError):
    """A program gave no brain.

    Attributes:
        what: What it did, without a remedy.
    """

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}. Use --brain {BUILT_IN}, or --mask.")
        self.what = what


def check_tool(name: str) -> None:
    """Whether ``name`` is ``auto``, ``built-in``, or a tool that is installed.

    Raises:
        BrainError: it is not.
    """
    if name not in ("auto", BUILT_IN, *TOOLS):
        raise BrainError(f"Unknown brain extraction '{name}'. Choose one of auto, {BUILT_IN}, {', '.join(TOOLS)}.")
    if name in TOOLS and not shutil.which(TOOLS[name].program):
        raise BrainError(f"'{TOOLS[name].program}' is not installed. Install it, or use --brain {BUILT_IN}.")


def choose_tool(name: str, contrast: Contrast | None) -> str:
    """``name``, or for ``auto`` the first tool installed that knows the contrast, else the built-in.

    Raises:
        BrainError: unknown, or not installed.
    """
    check_tool(name)
    return usable_tools(contrast)[0] if name == "auto" else name


def usable_tools(contrast: Contrast | None) -> list[str]:
    """Tools that are installed and know the contrast, in the order of their choice, the built-in last."""
    usable = (key for key, tool in TOOLS.items() if contrast in tool.contrasts and shutil.which(tool.program))
    return [*usable, BUILT_IN]


def extract(volume: Volume, tool: str) -> NDArray[np.bool_]:
    """The brain mask of a whole head on its own grid, by a name that :func:`choose_tool` gave.

    Raises:
        BrainError: no plausible brain was found, or the program failed.
        VolumeError: the volume is too thin for the built-in extraction.
    """
    if tool == BUILT_IN:
        return brain_mask(volume)
    chosen = TOOLS[tool]
    with TemporaryDirectory() as folder:
        image, brain, mask = (Path(folder) / name for name in ("head.nii.gz", "brain.nii.gz", chosen.mask))
        head = nib.Nifti1Image(clean(volume.data), volume.affine)  # in mm, whatever the file's unit, and without NaN
        head.header.set_xyzt_units("mm")
        head.to_filename(image)
        try:
            subprocess.run(
                [chosen.program, *chosen.arguments(str(image), str(brain), str(mask))],
                check=True, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL,
            )  # fmt: skip
            found = read_mask(mask, volume)
        except VolumeError as error:
            raise ToolFailed(f"'{chosen.program}' gave no mask that can be used ({str(error).rstrip('.')})") from None
        except subprocess.CalledProcessError as error:
            lines = error.stderr.strip().splitlines() or [f"exit status {error.returncode}"]
            raise ToolFailed(f"'{chosen.program}' failed ({lines[-1]})") from None
        except OSError as error:
            raise ToolFailed(f"'{chosen.program}' could not be started ({error.strerror or error})") from None
    if not found.any():
        raise ToolFailed(f"'{chosen.program}' found no brain in '{volume.name}'")
    return found
