"""Train the networks that judge slices: several, each without some of the people, so that nobody's scans need be judged
by what has seen them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

from ..checkpoints.judge_file import Judge, JudgeCard, write_judge
from ..datasets.bids import subject_of
from ..datasets.store import Source
from ..errors import MrtransError
from ..networks.judge import SliceJudge
from ..training.slices import sockets_in_short_paths
from .judge_slices import CONTRASTS, KINDS, JudgeSlices
from .scans import person

#: Networks, each of which has not seen the people of its fold.
FOLDS = 4


@dataclass(frozen=True)
class Settings:
    """How much is trained.

    Attributes:
        slices: Seen by all networks together, each leaving a fold out.
        batch: Slices of a step.
        lr: Largest learning rate.
        seed: Of everything drawn.
        workers: Background processes that draw slices.
    """

    slices: int
    batch: int = 32
    lr: float = 2e-3
    seed: int = 0
    workers: int = 1


def folds_of(source: Source) -> dict[str, int]:
    """Fold of each subject (``data-set/sub-XX``), data sets spread evenly over the folds, a person who is in several in
    one; phantoms are in none (-1)."""
    names = sorted({session.name for session in source.sessions if not session.simulated}, key=_origin)
    found: dict[str, int] = {}
    for name in names:
        found.setdefault(person(name), len(found) % FOLDS)
    return {subject_of(name): found[person(name)] for name in names}


def _origin(name: str) -> tuple[str, str]:
    return name.partition("sub-")[0], name


class _LeftOut:
    """How often the networks are right about people whom they have not seen; older slices count less and less."""

    def __init__(self) -> None:
        self.right, self.seen = np.zeros(2), 0.0

    def look(self, net: SliceJudge, images: torch.Tensor, contrast: torch.Tensor, kind: torch.Tensor) -> None:
        """Ask one network."""
        with torch.no_grad():
            answers = [part.argmax(1) for part in net(images)]
        hits = [float((answer == truth).sum()) for answer, truth in zip(answers, (contrast, kind), strict=True)]
        self.right, self.seen = 0.98 * self.right + np.array(hits), 0.98 * self.seen + len(images)

    def __str__(self) -> str:
        contrast, kind = self.right / max(self.seen, 1.0)
        return f"people left out: contrast {contrast:.1%}, kind {kind:.1%} right"


def train_judge(
    source: Source, out: Path, settings: Settings, card: JudgeCard, say: Callable[[str], None] = print
) -> Judge:
    """Train on the sessions of ``source`` and write ``out``.

    Raises:
        MrtransError: there are fewer people than folds.
    """
    folds = folds_of(source)
    if len(set(folds.values())) < FOLDS:
        raise MrtransError(
            f"Judging networks need at least {FOLDS} people to train on; there are {len({*map(person, folds)})}."
        )
    fold_of = torch.tensor([folds.get(subject_of(s.name), -1) if not s.simulated else -1 for s in source.sessions])
    torch.manual_seed(settings.seed)
    networks = [SliceJudge(len(CONTRASTS), len(KINDS)) for _ in range(FOLDS)]
    optimiser = torch.optim.AdamW([p for net in networks for p in net.parameters()], lr=settings.lr, weight_decay=0.02)
    steps = settings.slices // settings.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.lr, total_steps=steps, pct_start=0.1)
    if settings.workers:
        sockets_in_short_paths()
    loader = DataLoader(
        JudgeSlices(source, steps * settings.batch, settings.seed), settings.batch, num_workers=settings.workers
    )
    left_out, began = _LeftOut(), time.monotonic()
    for step, (images, contrast, kind, session) in enumerate(loader, 1):
        total = torch.zeros(())
        for number, net in enumerate(networks):
            known = fold_of[session] != number
            if step % 20 == 0 and (~known).sum() > 1:
                left_out.look(net.eval(), images[~known], contrast[~known], kind[~known])
            told, found = net.train()(images[known])
            for logits, truth in ((told, contrast), (found, kind)):
                total = total + F.cross_entropy(logits, truth[known], label_smoothing=0.02) / FOLDS
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        optimiser.step()
        schedule.step()
        if step % 100 == 0 or step == steps:
            left = (time.monotonic() - began) / step * (steps - step) / 60
            say(f"step {step}/{steps}  loss {total.item():.3f}  {left_out}  {left:.0f} min left")
    for net in networks:
        net.eval()
    card = card.model_copy(
        update={"contrasts": list(CONTRASTS), "kinds": list(KINDS), "folds": folds, "slices": steps * settings.batch,
                "seed": settings.seed}
    )  # fmt: skip
    judge = Judge(card, networks)
    write_judge(out, judge)
    return judge
