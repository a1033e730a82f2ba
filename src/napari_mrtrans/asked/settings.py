"""What is asked of an adaptation, and what it tells while it runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.library import is_shipped, list_checkpoints
from ..errors import MrtransError
from ..scan.contrasts import Pair

#: What a site is called that was given no name.
UNNAMED = "my-scanner"
#: How much better, in dB of PSNR and on average over the pairs, an adapted checkpoint must be to be installed.
WORTH_IT_DB = 0.1


class Asked(TypedDict, total=False):
    """The fields of :class:`Settings`, as keywords."""

    minutes: float
    name: str
    pairs: Sequence[Pair | str] | None
    seed: int
    device: str
    prepare: bool
    install: bool
    keep: bool


@dataclass(frozen=True)
class Settings:
    """How an adaptation is done.

    Attributes:
        minutes: Of wall clock for training and for the figures; reading and preparing scans come before.
        name: Of the site; the checkpoint is called ``NAME-FAMILY``, and its card says it.
        pairs: Transformations, also as texts such as ``T1->T2``; None = those of the checkpoint that the sessions have.
        seed: Of draws of slices, augmentation and noise.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        prepare: Whole heads, and contrasts on different grids, are registered and stripped first; False: refused.
        install: The result is installed if it is better.
        keep: It is installed even if it is not.

    Raises:
        MrtransError: a value is none of these.
    """

    minutes: float = 10.0
    name: str = UNNAMED
    pairs: tuple[Pair, ...] | None = None
    seed: int = 0
    device: str = "auto"
    prepare: bool = True
    install: bool = True
    keep: bool = False

    def __post_init__(self) -> None:
        for name, value, kind in (("Minutes", self.minutes, Real), ("The seed", self.seed, Integral)):
            if not isinstance(value, kind) or isinstance(value, bool):
                raise MrtransError(f"{name} must be a{' whole' if kind is Integral else ''} number; got {value!r}.")
        if not 0 < self.minutes < 1e5:
            raise MrtransError(f"Minutes must be more than 0; got {self.minutes:g}.")
        if not 0 <= self.seed < 2**32:
            raise MrtransError(f"The seed must be at least 0 and less than 2^32; got {self.seed}.")
        if not isinstance(self.name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,59}", self.name):
            raise MrtransError(
                f"'{str(self.name)[:60]}' cannot name a site; take letters, digits, '.', '+' and '-', at most 60 of "
                "them."
            )
        if self.device not in ("auto", "cpu", "cuda", "mps"):
            raise MrtransError(f"Unknown device '{self.device}'; choose auto, cpu, cuda or mps.")
        if self.pairs is not None:
            given = () if isinstance(self.pairs, str) or not isinstance(self.pairs, Iterable) else self.pairs
            pairs = tuple(pair if isinstance(pair, Pair) else Pair.parse(pair) for pair in given)
            if not pairs:
                raise MrtransError("Name at least one pair of contrasts, in a list such as ['T1->T2'].")
            object.__setattr__(self, "pairs", pairs)

    def checkpoint_name(self, parent: Checkpoint) -> str:
        """What the result is called."""
        return f"{self.name}-{parent.card.model}"


def check_free(name: str) -> None:
    """See that a name is not taken, before the work and not after it.

    Raises:
        MrtransError: it is; a shipped file is never replaced.
    """
    for checkpoint in list_checkpoints():
        if checkpoint.name.lower() == name.lower():
            if is_shipped(checkpoint):
                raise MrtransError(f"'{name}' comes with the plugin; choose another --name.")
            raise MrtransError(
                f"'{name}' is installed already; choose another --name, or remove the old one first "
                f"(napari-mrtrans models --remove {checkpoint.name})."
            )


@dataclass(frozen=True)
class Preview:
    """One held-out slice as it is answered so far; arrays (row, column) in [0, 1], rows from posterior to anterior."""

    pair: Pair
    source: NDArray[np.float32]
    before: NDArray[np.float32]
    now: NDArray[np.float32]
    target: NDArray[np.float32]


@dataclass(frozen=True)
class Progress:
    """How far an adaptation is.

    Attributes:
        phase: What is going on, for the user: ``without person 2 of 3: mean``, ``training on everybody``, ``figures``.
        done: Share of the whole, 0 to 1.
        seconds_left: Of the whole.
        curve: Of the network that is trained now: seconds and held-out error over that of the parent, which begins it
            with 1. New points come now and then.
        preview: The slice on show; None while there is none.
    """

    phase: str
    done: float
    seconds_left: float
    curve: tuple[tuple[float, float], ...] = ()
    preview: Preview | None = None


@dataclass(frozen=True)
class Hooks:
    """Who is told, and who may stop it.

    Attributes:
        progress: Told after every step.
        say: Told one-line notices.
        cancel: Polled at every step; once it says True, the best so far is kept and judged.
        leave: Polled likewise; once it says True, all there is goes to disk and a line is raised; to be gone on with.
        previews: Somebody looks at them; each costs an answer.
    """

    progress: Callable[[Progress], None] = lambda progress: None
    say: Callable[[str], None] = lambda line: None
    cancel: Callable[[], bool] = lambda: False
    leave: Callable[[], bool] = lambda: False
    previews: bool = True
