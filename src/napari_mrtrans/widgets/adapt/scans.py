"""Pairs of open images as sessions: who is the same person, and the folder that the command reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import MrtransError
from ...paths import write_together
from ...scan.contrasts import BIDS_SUFFIX, Contrast, Pair
from ..source import LayerSource, check_layer
from ..who import entities

if TYPE_CHECKING:
    from napari.layers import Image

_REMEDY = "Make room or mend its permissions."


@dataclass(frozen=True, eq=False)
class LayerPair:
    """Two open images of one person, and what they show."""

    source: Image
    target: Image
    pair: Pair

    def __str__(self) -> str:
        return f"{self.source.name} → {self.target.name}"

    @property
    def shown(self) -> tuple[tuple[Contrast, Image], tuple[Contrast, Image]]:
        """Contrast and image of both."""
        return (self.pair.source, self.source), (self.pair.target, self.target)

    def problem(self) -> str:
        """Why it cannot be learned from, in a line; empty where nothing is seen."""
        if self.source is self.target:
            return "Source and target are the same image; choose the acquired target."
        for layer in (self.source, self.target):
            try:
                check_layer(layer)
            except MrtransError as error:
                return str(error)
        people = [person for person in map(entities, (self.source, self.target)) if any(person)]
        if len(people) == 2 and people[0] != people[1]:
            first, second = (" ".join(filter(None, person)) for person in people)
            return (
                f"'{self.source.name}' is of {first} and '{self.target.name}' of {second}; choose images of one person "
                "and one visit."
            )
        return ""


@dataclass
class _Visit:
    """Images of one person at one visit."""

    who: tuple[str, str]
    images: dict[Contrast, Image] = field(default_factory=dict)

    def takes(self, pair: LayerPair) -> bool:
        """Whether the pair is of this visit, too: by name, or because an image is in both."""
        other = entities(pair.source) if any(entities(pair.source)) else entities(pair.target)
        free = all(self.images.get(contrast, layer) is layer for contrast, layer in pair.shown)
        shared = any(self.images.get(contrast) is layer for contrast, layer in pair.shown)
        return free and (shared or (any(other) and other == self.who))


def sessions_of(pairs: Iterable[LayerPair]) -> list[tuple[str, dict[Contrast, LayerSource]]]:
    """Number of the person (``01``) and images of each visit; without the layers, which may go meanwhile."""
    visits: list[_Visit] = []
    for pair in pairs:
        visit = next((one for one in visits if one.takes(pair)), None)
        if visit is None:
            who = entities(pair.source)
            visits.append(visit := _Visit(who if any(who) else entities(pair.target)))
        visit.images |= dict(pair.shown)
    people: list[str] = []
    out = []
    for number, visit in enumerate(visits):
        person = visit.who[0] or f"#{number}"
        if person not in people:
            people.append(person)
        images = {contrast: LayerSource.of(layer, contrast) for contrast, layer in visit.images.items()}
        out.append((f"{people.index(person) + 1:02}", images))
    return out


def write_sessions(sessions: Sequence[tuple[str, dict[Contrast, LayerSource]]], folder: Path) -> None:
    """Write them as a BIDS folder (takes its time; not for the GUI thread).

    Raises:
        MrtransError: an image cannot be used, or the folder cannot be written.
    """
    for visit, (person, images) in enumerate(sessions, 1):
        stem = f"sub-{person}_ses-{visit}"
        volumes = {contrast: source.volume() for contrast, source in images.items()}
        files = {
            f"{stem}_{BIDS_SUFFIX[contrast]}.nii.gz": volume.image_like(volume.data).to_filename
            for contrast, volume in volumes.items()
        }
        write_together(folder / f"sub-{person}" / f"ses-{visit}" / "anat", files, _REMEDY)
