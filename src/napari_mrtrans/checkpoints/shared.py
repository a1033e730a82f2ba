"""Which checkpoints have weights in common, so that their agreement is not taken for evidence."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from .checkpoint import Checkpoint, header_size, read_header

#: Bytes from which a tensor counts: vectors that all start at 0 or 1 are alike by chance.
LARGE = 1024


def sharing(checkpoints: Iterable[Checkpoint]) -> list[list[Checkpoint]]:
    """The groups, of two or more, that have a large tensor in common or were adapted from one another.

    Directly, or by way of others of the group.
    """
    given = list(checkpoints)
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


def sharing_lines(checkpoints: Iterable[Checkpoint]) -> list[str]:
    """One line for each group of :func:`sharing`."""
    return [
        f"{', '.join(member.name for member in group)} share weights: that their answers agree is no evidence."
        for group in sharing(checkpoints)
    ]


def tensor_digests(checkpoint: Checkpoint) -> frozenset[str]:
    """Digests of the large tensors of a checkpoint's file, that of a tensor of one number throughout left out."""
    return _digests(checkpoint.path, checkpoint.path.stat().st_mtime_ns)


@cache
def _digests(path: Path, changed: int) -> frozenset[str]:
    data, start = path.read_bytes(), header_size(path)
    spans = [entry["data_offsets"] for entry in read_header(path)[0].values()]
    large = [data[start + low : start + high] for low, high in spans if high - low >= LARGE]
    return frozenset(hashlib.sha256(tensor).hexdigest() for tensor in large if tensor.strip(tensor[:2]))
