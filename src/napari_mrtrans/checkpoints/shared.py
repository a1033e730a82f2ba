"""Which checkpoints have weights in common, so that their agreement is not taken for evidence."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from ..errors import CheckpointError
from ..models.families import POOL
from .checkpoint import Checkpoint
from .header import header_size, read_header
from .pool import members_of

#: Bytes from which a tensor counts: vectors that all start at 0 or 1 are alike by chance.
LARGE = 1024


def sharing(checkpoints: Iterable[Checkpoint]) -> list[list[Checkpoint]]:
    """The groups, of two or more, that have a large tensor in common or were adapted from one another.

    Directly, or by way of others of the group. Pools, which have no weights of their own, are in none.
    """
    given = [checkpoint for checkpoint in checkpoints if checkpoint.card.model != POOL]
    groups: list[tuple[list[int], frozenset[str]]] = []
    for number, checkpoint in enumerate(given):
        members, digests = [number], tensor_digests(checkpoint) | _family(checkpoint)
        apart = []
        for group in groups:
            if group[1] & digests:
                members, digests = [*group[0], *members], digests | group[1]
            else:
                apart.append(group)
        groups = [*apart, (members, digests)]
    return [[given[i] for i in sorted(members)] for members, _ in groups if len(members) > 1]


def _family(checkpoint: Checkpoint) -> frozenset[str]:
    """Its own name, and those of what it was adapted from."""
    adapted = checkpoint.card.adapted
    return frozenset([checkpoint.name, *(adapted.lineage if adapted else [])])


def partners(checkpoints: Sequence[Checkpoint]) -> list[list[Checkpoint]]:
    """For each, those of the others that agree with it for a reason.

    They are of one group of :func:`sharing`, or one is a pool that takes the samples of such.
    """
    drawn = [_there(checkpoint) for checkpoint in checkpoints]
    every = {one.path: one for some in drawn for one in some}
    group_of = {path: number for number, path in enumerate(every)}
    for number, group in enumerate(sharing(every.values()), len(every)):
        group_of |= dict.fromkeys((one.path for one in group), number)
    kin = [{group_of[one.path] for one in some} for some in drawn]
    return [
        [other for other, theirs in zip(checkpoints, kin, strict=True) if other is not checkpoint and theirs & mine]
        for checkpoint, mine in zip(checkpoints, kin, strict=True)
    ]


def sharing_lines(checkpoints: Iterable[Checkpoint]) -> list[str]:
    """One line for each group of :func:`sharing`, and for each pool that is no judge of the others."""
    given = list(checkpoints)
    lines = [
        f"{', '.join(member.name for member in group)} share weights: that their answers agree is no evidence."
        for group in sharing(given)
    ]
    for checkpoint, others in zip(given, partners(given), strict=True):
        if checkpoint.card.model == POOL and others:
            names = dict.fromkeys(member.name for member in _there(checkpoint))
            alike = [other.name for other in others]
            if names.keys() <= {*alike}:
                alike = ["them", *(name for name in alike if name not in names)]
            lines.append(
                f"{checkpoint.name} has samples of {', '.join(names)}: that it agrees with {' or '.join(alike)} is no "
                "evidence."
            )
    return lines


def _there(checkpoint: Checkpoint) -> list[Checkpoint]:
    """Whose samples it takes; none where a member of a pool is missing."""
    try:
        return members_of(checkpoint)
    except CheckpointError:
        return []


def tensor_digests(checkpoint: Checkpoint, start: str = "") -> frozenset[str]:
    """Digests of the large tensors of a checkpoint's file whose names ``start`` so, that of a tensor of one number
    throughout left out."""
    return _digests(checkpoint.path, start, checkpoint.path.stat().st_mtime_ns)


@cache
def _digests(path: Path, start_of_name: str, changed: int) -> frozenset[str]:
    data, start = path.read_bytes(), header_size(path)
    tensors = read_header(path)[0].items()
    spans = [entry["data_offsets"] for name, entry in tensors if name.startswith(start_of_name)]
    large = [data[start + low : start + high] for low, high in spans if high - low >= LARGE]
    return frozenset(hashlib.sha256(tensor).hexdigest() for tensor in large if tensor.strip(tensor[:2]))
