"""Pools: checkpoints that take the samples of others in turn and have no weights of their own.

Networks that were trained apart know different things, and so their samples differ in more than what each of them
leaves open. Taken together they spread more nearly as the errors do, and their mean is nearer to the truth (deep
ensembles: Lakshminarayanan et al. 2017, arXiv 1612.01474). The card names the members in the order of their turns, and
the digest of each file.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..models.families import POOL
from ..paths import shipped_checkpoint_dir, user_checkpoint_dir, write_together
from .card import Card, SamplerDefaults, Turns, is_file_name
from .checkpoint import Checkpoint, card_metadata, read_checkpoint, write_tensors
from .header import digest

#: A turn is so many samples: an antithetic pair.
TURN = 2


def members_of(checkpoint: Checkpoint) -> list[Checkpoint]:
    """Whose samples a checkpoint takes in turn, a member as often as it has turns; itself alone unless it is a pool.

    Members are looked for beside it, in the user's checkpoint folder and among the shipped ones, and are of its own
    type.

    Raises:
        CheckpointError: one is not there, or another file than the pool was made of.
    """
    card = checkpoint.card
    if card.model != POOL:
        return [checkpoint]
    found = {name: _member(checkpoint, name, card.options["sha256"][name]) for name in dict.fromkeys(card.turns)}
    return [found[name] for name in card.turns]


def shares(turns: Sequence[str], numbers: Sequence[int]) -> dict[str, list[int]]:
    """By the name of who draws them, the places of samples among ``numbers``."""
    found: dict[str, list[int]] = {}
    for place, number in enumerate(numbers):
        found.setdefault(_drawer(turns, number), []).append(place)
    return found


def drawn_by(checkpoint: Checkpoint, n: int) -> list[str]:
    """The name of who draws each of ``n`` samples; of a pool, whose members need not be there."""
    return [_drawer(checkpoint.card.turns, number) for number in range(n)]


def _drawer(turns: Sequence[str], number: int) -> str:
    return turns[number // TURN % len(turns)]


def whole_round(checkpoint: Checkpoint) -> int:
    """Samples in which each turn of a pool comes once; 1 of what is none."""
    turns = len(checkpoint.card.turns)
    return 1 if turns == 1 else TURN * turns


def n_parameters(checkpoint: Checkpoint) -> int:
    """Number of weights, of a pool that of its members' that are there."""
    try:
        members = {member.path: member for member in members_of(checkpoint)}
    except CheckpointError:
        return 0
    return sum(member.n_parameters for member in members.values())


def make_pool(name: str, members: Sequence[Checkpoint], folder: Path) -> Checkpoint:
    """Write a pool as ``NAME.safetensors``.

    Args:
        name: What it is called.
        members: In the order of their turns; who is there twice has two.
        folder: Where to. Members that it would not find from there are copied beside it.

    Raises:
        CheckpointError: they cannot be pooled, or another file has the place of the pool or of a member.
        MrtransError: the folder cannot be written.
    """
    import torch

    by_name = {member.name: member for member in members}
    distinct = [*by_name.values()]
    for member in members:
        if member.sha256 != by_name[member.name].sha256:
            raise CheckpointError(
                f"Two of them are called '{member.name}' in their cards; train one with another name (--set name=…)."
            )
    _check(name, distinct)
    target = folder / f"{name}.safetensors"
    if name in by_name:
        raise CheckpointError(f"A pool cannot be called '{name}', as one of its members is; choose another name.")
    if target.exists() and not _is_pool(target):
        raise CheckpointError(f"'{target}' is there already and is no pool; choose another name.")
    first, cards = distinct[0].card, [member.card for member in distinct]
    parts = {part for card in cards for part in card.splits}
    train = sorted({who for card in cards for who in card.splits.get("train", [])})
    before = sorted({who for card in cards for who in card.seen_before} - {*train})
    kept = {
        part: sorted(set.intersection(*({*card.splits.get(part, [])} for card in cards)) - {*train, *before})
        for part in sorted(parts - {"train"})
    }
    card = Card(
        name=name,
        model=POOL,
        options=Turns(
            turns=[member.name for member in members], sha256={member.name: member.sha256 for member in distinct}
        ).model_dump(),
        pairs=_common_pairs(distinct),
        grid=first.grid,
        intensity=first.intensity,
        framing=first.framing,
        units=first.units,
        sampler=SamplerDefaults(n=first.sampler.n),
        data=once(data for card in cards for data in card.data),
        splits=({"train": train} if train else {}) | kept,
        seen_before=before,
        notes=once(note for card in cards for note in card.notes),
        unnamed_before=once(one for card in cards for one in card.unnamed),
        folder=first.folder if len({card.folder for card in cards}) == 1 else "",
    )
    # What the card says, once more: a checkpoint without any tensor is taken for a truncated one.
    turns = torch.tensor([[*by_name].index(member.name) for member in members])
    _bring(distinct, folder)
    return read_checkpoint(write_tensors(target, {"turns": turns}, card_metadata(card)))


def _is_pool(file: Path) -> bool:
    try:
        return read_checkpoint(file).card.model == POOL
    except (CheckpointError, OSError):
        return False


def left_behind(pool: Checkpoint, folder: Path) -> list[Checkpoint]:
    """Members that lie neither in ``folder`` nor among the shipped ones, each once; none of what is no pool.

    Raises:
        CheckpointError: the pool itself does not find one.
    """
    if pool.card.model != POOL:
        return []
    members = {member.name: member for member in members_of(pool)}
    return [member for member in members.values() if not _lies(member, folder, shipped_checkpoint_dir())]


def check_unpooled(checkpoint: Checkpoint, installed: Sequence[Checkpoint]) -> None:
    """See that none of the installed pools would miss a checkpoint that is to be removed.

    Raises:
        CheckpointError: naming those that would.
    """
    name, every = checkpoint.name, [one for one in installed if one.card.model == POOL]
    pools = [pool for pool in every if pool.card.options["sha256"].get(name) == checkpoint.sha256]
    if pools and not _lies(checkpoint, shipped_checkpoint_dir()):
        whose, first = ", ".join(f"'{pool.name}'" for pool in pools), "it" if len(pools) == 1 else "them"
        raise CheckpointError(f"{whose} would miss samples of '{name}'; remove {first} first.")


def missing_line(checkpoint: Checkpoint) -> str:
    """Why a pool cannot be used, and what to do; empty where all members are there, and of what is no pool."""
    try:
        members_of(checkpoint)
    except CheckpointError as error:
        return str(error)
    return ""


def _bring(members: Sequence[Checkpoint], folder: Path) -> None:
    """Copy those that a pool in ``folder`` would not find to there."""
    known = folder, user_checkpoint_dir(), shipped_checkpoint_dir()
    files = {f"{member.name}.safetensors": member.path for member in members if not _lies(member, *known)}
    for name in files:
        if (folder / name).exists():
            raise CheckpointError(
                f"'{folder / name}' is another file than the one that is pooled; choose another folder with -o."
            )
    write_together(folder, {name: partial(shutil.copyfile, path) for name, path in files.items()})


def _lies(member: Checkpoint, *folders: Path) -> bool:
    return _find(member.name, member.sha256, folders) is not None


def _check(name: str, members: Sequence[Checkpoint]) -> None:
    if not is_file_name(name):
        raise CheckpointError(f"'{name[:100]}' is no file name; choose another for the pool.")
    if len(members) < 2:
        raise CheckpointError("A pool needs two different checkpoints or more; each may be named several times.")
    for member in members:
        if member.deterministic or member.card.model == POOL:
            what = "is a pool itself" if member.card.model == POOL else "gives one answer and no samples"
            raise CheckpointError(f"'{member.name}' {what}; pool those that sample.")
        for what in ("grid", "intensity", "framing"):
            if getattr(member.card, what) != getattr(members[0].card, what):
                raise CheckpointError(
                    f"'{member.name}' and '{members[0].name}' differ in {what}; they cannot be pooled. Train "
                    "both with the same data.framing and data.spacing_mm."
                )
    if not _common_pairs(members):
        raise CheckpointError(f"{', '.join(member.name for member in members)} have no pair of contrasts in common.")


def _common_pairs(members: Sequence[Checkpoint]) -> list[Any]:
    return [pair for pair in members[0].pairs if all(pair in member.pairs for member in members)]


def once(items: Any) -> list[Any]:
    """Each of several things once, in their order."""
    found: list[Any] = []
    for item in items:
        if item not in found:
            found.append(item)
    return found


def _member(pool: Checkpoint, name: str, sha256: str) -> Checkpoint:
    folders = pool.path.parent, user_checkpoint_dir(), shipped_checkpoint_dir()
    file = _find(name, sha256, folders)
    if file is not None:
        return type(pool)(file, read_checkpoint(file).card)
    there = any(_files(name, folder) for folder in folders)
    why = "is another file than the pool was made of" if there else "is not installed"
    raise CheckpointError(
        f"'{pool.name}' takes samples of '{name}', which {why}. Install it, or make a pool of what you have with "
        "napari-mrtrans-train pool."
    )


def _find(name: str, sha256: str, folders: Sequence[Path]) -> Path | None:
    """The first file of a checkpoint with that name and digest."""
    files = (file for folder in folders for file in _files(name, folder))
    return next((file for file in files if _digest(file, file.stat().st_mtime_ns) == sha256), None)


def _files(name: str, folder: Path) -> list[Path]:
    file = folder / f"{name}.safetensors"
    return [file] if file.parent == folder and file.is_file() else []


@cache
def _digest(file: Path, changed: int) -> str:
    del changed
    return digest(file)
