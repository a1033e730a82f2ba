"""Checkpoints: one safetensors file each, its card as JSON in the file's header. Never pickle.

Reading a card touches only the header, so listing checkpoints imports no torch and loads no weights.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from ..errors import CheckpointError, MrtransError
from ..models.families import POOL
from ..paths import shipped_checkpoint_dir, user_checkpoint_dir, write_together
from ..scan.contrasts import Pair
from .calibration import Calibration
from .card import CARD_VERSION, Card, first_problem
from .correction import SpreadCorrection
from .header import difference, digest, header_size, read_header, stamp

if TYPE_CHECKING:
    import torch

    from ..models import Model

#: What the card is called among the metadata of the file.
CARD_KEY = "napari_mrtrans"
#: What a checkpoint's calibration is called instead of ``.safetensors``.
CALIBRATION_SUFFIX = ".calibration.json"
_NEWER = "Update the plugin, or get the file again."


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk; its weights are read by :meth:`build`."""

    path: Path
    card: Card
    _stamp: tuple[int, int] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_stamp", stamp(self.path))

    @property
    def name(self) -> str:
        """Installed name."""
        return self.card.name

    @property
    def pairs(self) -> list[Pair]:
        """Transformations it serves."""
        return self.card.pairs

    @property
    def deterministic(self) -> bool:
        """One answer and no spread."""
        return self.card.deterministic

    @property
    def single_pass(self) -> bool:
        """One network call for each sample: sampler and steps mean nothing."""
        return self.card.single_pass

    @property
    def steps(self) -> int | None:
        """Network calls for each sample unless others are asked for; None = each member of a pool has its own."""
        return None if self.card.model == POOL else 1 if self.single_pass else self.card.sampler.steps

    @property
    def repairs_outliers(self) -> bool:
        """Whether outliers of the mean are repaired when the user says nothing."""
        return self.card.repairs_outliers

    @property
    def size_bytes(self) -> int:
        """File size."""
        return self.path.stat().st_size

    @cached_property
    def sha256(self) -> str:
        """Digest of the whole file."""
        return digest(self.path)

    @cached_property
    def card_digest(self) -> str:
        """Digest of the card as it stands in the file."""
        return hashlib.sha256(read_header(self.path)[1][CARD_KEY].encode()).hexdigest()

    @cached_property
    def calibration(self) -> Calibration | None:
        """From ``NAME.calibration.json`` beside the file or in the user's checkpoint folder; None without one.

        That in the user's folder comes first for what comes with the package: it was fitted to the user's scans. One
        that is damaged or belongs to another checkpoint is left out, with a warning.
        """
        folders = [self.path.parent, user_checkpoint_dir()]
        if self.path.parent == shipped_checkpoint_dir():
            folders.reverse()
        return next((found for folder in folders if (found := self.calibration_in(folder)) is not None), None)

    def calibration_in(self, folder: Path) -> Calibration | None:
        """The one in a folder; None, and a warning if there is one of no use, without it."""
        path = folder / self.path.with_suffix(CALIBRATION_SUFFIX).name
        if not path.is_file():
            return None
        try:
            found = Calibration.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            warnings.warn(f"'{path}' is left out: {first_problem(error)}.", stacklevel=3)
            return None
        if found.card != self.card_digest:
            warnings.warn(f"'{path}' is left out: it was fitted for another checkpoint; calibrate again.", stacklevel=3)
            return None
        return found

    @property
    def spread(self) -> dict[str, SpreadCorrection]:
        """The corrections of its standard deviation, by pair (``T1->T2``); empty without a calibration."""
        return self.calibration.spread if self.calibration else {}

    @property
    def calibration_digest(self) -> str:
        """Of the calibration in use, empty without one."""
        found = self.calibration
        return hashlib.sha256(found.model_dump_json().encode()).hexdigest() if found else ""

    @cached_property
    def n_parameters(self) -> int:
        """Number of weights."""
        return sum(math.prod(entry["shape"]) for entry in read_header(self.path)[0].values())

    def hold(self) -> None:
        """From now on, tell of this file, whatever takes its place.

        Raises:
            CheckpointError: it is another one than the card was read from, or gone.
        """
        known = self.__dict__.get("sha256")
        with suppress(OSError, KeyError, CheckpointError):
            told, now = (self.sha256, self.card_digest), stamp(self.path)
            if all(told) and (now == self._stamp or known == digest(self.path)):  # written anew, but the same
                object.__setattr__(self, "_stamp", now)
                return
        raise CheckpointError(f"'{self.path.name}' has changed, or is gone, since it was chosen; choose it again.")

    def build(self, device: torch.device | str = "cpu") -> Model:
        """The model with its weights, in evaluation mode, float32.

        Raises:
            CheckpointError: tensors are missing, superfluous or of the wrong shape, or the file is damaged, or another
                one than the card was read from.
        """
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from ..models import FAMILIES, build

        if self.card.model == POOL:
            raise CheckpointError(f"'{self.name}' is a pool and has no network of its own; take one of its members.")
        if self.card.model not in FAMILIES:
            raise CheckpointError(
                f"'{self.path.name}' holds a '{self.card.model}' model; this version knows {', '.join(FAMILIES)}."
            )
        try:
            with torch.device("meta"):
                model = build(self.card.model, self.card.options)
            tensors = load_file(str(self.path))
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError, RuntimeError) as error:
            words = f"a '{self.card.model}' model ({' '.join(str(error).split())}). {_NEWER}"
            raise CheckpointError(f"'{self.path.name}' does not describe {words}") from None
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"'{self.path.name}' is truncated or damaged ({error}); install it again.") from None
        self.hold()
        expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        problem = difference(expected, {name: tuple(value.shape) for name, value in tensors.items()})
        if problem:
            raise CheckpointError(f"'{self.path.name}' does not fit its card: {problem}. Install it again.")
        model.load_state_dict(
            {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()},
            assign=True,
        )
        return model.to(device).eval().requires_grad_(False)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read and check a checkpoint's header and card.

    Raises:
        CheckpointError: missing, damaged, without a card, or with one of a newer version or another scale.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"No checkpoint file at '{path}'.")
    tensors, metadata = read_header(path)
    if CARD_KEY not in metadata:
        raise CheckpointError(f"'{path.name}' has no napari-mrtrans card; it was not made by napari-mrtrans-train.")
    try:
        raw = json.loads(metadata[CARD_KEY])
        version = int(raw.get("version", 0))
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise CheckpointError(f"'{path.name}' has an unreadable card; install it again.") from None
    if version > CARD_VERSION:
        raise CheckpointError(
            f"'{path.name}' has card version {version}, newer than this napari-mrtrans reads ({CARD_VERSION}). {_NEWER}"
        )
    try:
        raw["pairs"] = [Pair.parse(pair) for pair in raw["pairs"]]
        card = Card.model_validate(raw)
    except (ValidationError, KeyError, TypeError, MrtransError) as error:
        why = first_problem(error).removesuffix(".")
        raise CheckpointError(f"'{path.name}' has an invalid card ({why}). {_NEWER}") from None
    if card.other_scale:
        raise CheckpointError(f"'{path.name}' {card.other_scale}")
    end = max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
    if not tensors or path.stat().st_size < header_size(path) + end:
        raise CheckpointError(f"'{path.name}' is truncated; install it again.")
    return Checkpoint(path, card)


def write_checkpoint(path: str | Path, model: Model, card: Card) -> Path:
    """Write ``model``'s weights as float16 with its card; the file appears under its name only when complete."""
    return write_weights(Path(path), model.state_dict(), card_metadata(card))


def card_metadata(card: Card) -> dict[str, str]:
    """The card as it stands in a file's header."""
    document = card.model_dump(mode="json")
    document["pairs"] = [pair.key for pair in card.pairs]
    for holder, later in (
        (document, "seen_before"),
        (document, "unnamed_before"),
        (document, "folder"),
        (document["sampler"], "mirror"),
    ):  # which versions before them do not know
        if not holder[later]:
            del holder[later]
    return {CARD_KEY: json.dumps(document, sort_keys=True, ensure_ascii=False)}


def write_weights(path: Path, weights: Mapping[str, torch.Tensor], metadata: dict[str, str]) -> Path:
    """:func:`write_tensors` of tensors on any device, floating ones as float16."""

    def stored(value: torch.Tensor) -> torch.Tensor:
        value = value.detach().cpu().contiguous()
        return value.half() if value.is_floating_point() else value  # a count of batches may exceed float16

    return write_tensors(path, {name: stored(value) for name, value in weights.items()}, metadata)


def write_tensors(
    path: Path,
    tensors: Mapping[str, torch.Tensor],
    metadata: dict[str, str],
    remedy: str = "Free some space, or choose another folder.",
) -> Path:
    """Write contiguous tensors as they are; the file appears under its name only when complete.

    ``remedy`` ends the line of an error.

    Raises:
        MrtransError: it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    def save(part: Path) -> None:
        part.touch()
        usual = part.stat().st_mode  # safetensors makes a file that its owner alone may read
        try:
            save_file({**tensors}, str(part), metadata=metadata)
            if part.stat().st_mode != usual:
                with suppress(OSError):  # some file systems refuse it; the file is whole without
                    part.chmod(usual)
        except SafetensorError as error:  # its word for a full disk
            raise OSError(str(error).strip()) from None

    return write_together(path.parent, {path.name: save}, remedy)[0]


def write_calibration(checkpoint: Checkpoint, calibration: Calibration, folder: Path) -> Path:
    """Write a calibration under the name by which it is found beside ``checkpoint``."""
    return write_together(
        folder, {checkpoint.path.with_suffix(CALIBRATION_SUFFIX).name: calibration_text(calibration)}
    )[0]


def calibration_text(calibration: Calibration) -> str:
    """The file's content."""
    return json.dumps(calibration.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
