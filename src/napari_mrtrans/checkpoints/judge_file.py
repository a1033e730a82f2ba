"""The file of the networks that judge slices: one safetensors file, its card as JSON in the header."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import CheckpointError
from ..paths import file_digest, judge_file
from ..scan.contrasts import Contrast
from .card import DataSource, first_problem
from .checkpoint import write_weights

if TYPE_CHECKING:
    from ..networks.judge import SliceJudge

#: What the card is called among the metadata of the file.
CARD_KEY = "napari_mrtrans_judge"


class JudgeCard(BaseModel):
    """What the networks tell apart, and where they come from.

    Attributes:
        contrasts: In the order of their outputs.
        kinds: Of artefacts, ``none`` first.
        folds: Number of the network that has not seen a subject, by ``data-set/sub-XX``: many sets have a ``sub-01``.
        slices: Seen in training.
        seed: Of the training.
        data: What they were trained on.
    """

    model_config = ConfigDict(extra="forbid")

    contrasts: list[Contrast] = []
    kinds: list[str] = []
    folds: dict[str, int] = {}
    slices: int = 0
    seed: int = 0
    data: list[DataSource] = []


@dataclass(frozen=True)
class Judge:
    """Several networks with one card.

    Attributes:
        card: What they tell apart.
        networks: Each of which has not seen some of the people.
        digest: SHA-256 of the file.
    """

    card: JudgeCard
    networks: list[SliceJudge]
    digest: str = ""

    def __call__(self, slices: NDArray[np.float32], subject: str = "") -> NDArray[np.float64]:
        """Log probability of each contrast, then of each kind: (batch, both).

        Args:
            slices: (batch, 3, rows, columns) as :func:`~napari_mrtrans.transformation.slice_signs.judged`; rows and
                columns are multiples of 16.
            subject: Whose, with the data set; networks that were trained on them are not asked.
        """
        import torch

        fold = self.card.folds.get(subject)
        asked = self.networks if fold is None else [self.networks[fold]]
        with torch.inference_mode():
            given = torch.from_numpy(np.ascontiguousarray(slices, dtype=np.float32))
            told = [[part.log_softmax(1) for part in network(given)] for network in asked]
            means = [torch.stack(parts).mean(0).log_softmax(1) for parts in zip(*told, strict=True)]
        return torch.cat(means, dim=1).double().numpy()


def write_judge(path: Path, judge: Judge) -> None:
    """Write networks and card; the file appears under its name only when complete."""
    weights = {
        f"{number}.{name}": value
        for number, network in enumerate(judge.networks)
        for name, value in network.state_dict().items()
    }
    write_weights(path, weights, {CARD_KEY: json.dumps(judge.card.model_dump(mode="json"), sort_keys=True)})


def load_judge(path: Path | None = None) -> Judge:
    """The networks of a file; None: those that come with the package.

    Raises:
        CheckpointError: the file is missing, damaged or of another kind.
    """
    return _load(judge_file() if path is None else path)


def is_judge(path: Path) -> bool:
    """Whether a file holds such networks."""
    try:
        load_judge(path)
    except CheckpointError:
        return False
    return True


@cache
def _load(path: Path) -> Judge:
    from safetensors import SafetensorError, safe_open

    from ..networks.judge import SliceJudge

    try:
        with safe_open(str(path), "pt") as file:
            card = JudgeCard.model_validate_json((file.metadata() or {})[CARD_KEY])
            tensors: dict[int, dict[str, Any]] = {}
            for full in file.keys():  # noqa: SIM118 -- not a mapping
                number, key = full.split(".", 1)
                value = file.get_tensor(full)
                tensors.setdefault(int(number), {})[key] = value.float() if value.is_floating_point() else value
        networks = []
        for number in sorted(tensors):
            network = SliceJudge(len(card.contrasts), len(card.kinds))
            network.load_state_dict(tensors[number])
            networks.append(network.eval().requires_grad_(False))
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError, ValidationError) as error:
        raise CheckpointError(f"'{path}' is no file of judging networks ({first_problem(error)}).") from None
    return Judge(card, networks, file_digest(path))
