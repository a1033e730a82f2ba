"""The paper's Figs. 1, 2, 4, 10 and 11 from the slices that an evaluation has kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...datasets.bids import data_set
from ..tiles import Drawn, read_tile
from ..unusual import KINDS
from .montage import Panel, grid
from .results import Results

#: Pixels around a lesion that a close-up shows.
AROUND = 12
#: What the paper shows its artefacts and lesions with; the first pair where there is no such.
PAIR = "T1→T2"

Tile = dict[str, NDArray]
Rows = list[tuple[str, list[Panel]]]


@dataclass(frozen=True)
class Slices:
    """What has been kept: by pair, data set and checkpoint; artefacts by checkpoint."""

    tiles: dict[tuple[str, str], dict[str, Tile]]
    unusual: dict[str, Tile]

    @classmethod
    def read(cls, drawn: Mapping[tuple[str, str, str], Drawn], unusual: Mapping[str, Path]) -> Slices:
        """From files; ``drawn`` by pair, checkpoint and subject, ``unusual`` by checkpoint."""
        tiles: dict[tuple[str, str], dict[str, Tile]] = {}
        for (pair, method, subject), where in drawn.items():
            if where.tile is not None:
                tiles.setdefault((pair, data_set(subject)), {})[method] = read_tile(where.tile)
        return cls(tiles, {name: read_tile(path) for name, path in unusual.items()})


def draw(slices: Slices, results: Results, folder: Path) -> dict[str, Path]:
    """Draw what there are slices for; PNG files by caption.

    Raises:
        MrtransError: the folder cannot be written.
    """
    names = list(results.models)
    found: dict[str, Path] = {}

    def add(stem: str, caption: str, rows: Rows, tile: Tile) -> None:
        if rows:
            found[caption] = folder / f"{stem}.png"
            grid(found[caption], rows, float(tile["aspect"]))

    for data in dict.fromkeys(data for _, data in slices.tiles):
        where = "" if data == "." else f" of {data}"
        tile = next(iter(next(tiles for (_, of), tiles in slices.tiles.items() if of == data).values()))
        rows = _rows(slices, data, lambda _, tiles: _overview(tiles, names))
        add(f"overview-{data.strip('.') or 'all'}", f"One slice{where}, as the paper's Figs. 1 and 2: source, target, "
            "and of each checkpoint the prediction, its absolute error and the standard deviation",
            rows, tile)  # fmt: skip
        rows = _rows(slices, data, lambda pair, tiles: _marked(tiles, names) if pair.endswith("→FLAIR") else None)
        add(f"flair-{data.strip('.') or 'all'}", f"The slice with most of the lesion{where}, FLAIR made of another "
            "contrast, as the paper's Fig. 10; the expert mask in red", rows, tile)  # fmt: skip
        rows = _rows(slices, data, lambda pair, tiles: _closeup(tiles, names))
        add(f"lesion-{data.strip('.') or 'all'}", f"A lesion{where} close up, as the paper's Fig. 11; the expert mask "
            "in red", rows, tile)  # fmt: skip
    if simulated := [name for name in names if name in slices.unusual]:
        add("unusual", "Unusual inputs, as the paper's Fig. 4: simulated artefacts without a target, and lesions",
            _unusual(slices, simulated), slices.unusual[simulated[0]])  # fmt: skip
    return found


def _rows(slices: Slices, data: str, make: Callable[[str, dict[str, Tile]], list[Panel] | None]) -> Rows:
    made = ((pair, make(pair, tiles)) for (pair, of), tiles in slices.tiles.items() if of == data)
    return [(pair, panels) for pair, panels in made if panels]


def _overview(tiles: dict[str, Tile], names: list[str]) -> list[Panel]:
    first = next(iter(tiles.values()))
    panels = [Panel("source", first["source"]), Panel("target", first["target"])]
    sampling = {name for name in names if "std" in tiles.get(name, {})}
    for name in names:
        tile = tiles.get(name, {})
        panels += [Panel(_short(name), tile.get("mean")), Panel("|error|", tile.get("error"))]
        if name in sampling:
            panels.append(Panel("std", tile.get("std")))
    return panels


def _marked(tiles: dict[str, Tile], names: list[str]) -> list[Panel] | None:
    first = next(iter(tiles.values()))
    if "lesion_mask" not in first:
        return None
    outline = first["lesion_mask"]
    answers = [Panel(_short(name), tiles.get(name, {}).get("lesion_mean"), outline) for name in names]
    return [
        Panel("source", first["lesion_source"], outline),
        *answers,
        Panel("target", first["lesion_target"], outline),
    ]


def _closeup(tiles: dict[str, Tile], names: list[str]) -> list[Panel] | None:
    """Source, and source, answers and target around the largest lesion of the slice, and the target."""
    from scipy.ndimage import label

    first = next(iter(tiles.values()))
    if "lesion_mask" not in first:
        return None
    mask = first["lesion_mask"] > 0
    parts, _ = label(mask, np.ones((3, 3)))
    hit = np.nonzero(parts == np.argmax(np.bincount(parts.ravel())[1:]) + 1)
    box = tuple(slice(max(0, int(at.min()) - AROUND), int(at.max()) + AROUND + 1) for at in hit)
    edge = mask[box]
    inner = [
        Panel("source, close", first["lesion_source"][box], edge),
        *(Panel(_short(name), _cut(tiles.get(name, {}).get("lesion_mean"), box), edge) for name in names),
        Panel("target, close", first["lesion_target"][box], edge),
    ]
    return [Panel("source", first["lesion_source"], mask), *inner, Panel("target", first["lesion_target"], mask)]


def _unusual(slices: Slices, names: list[str]) -> Rows:
    if not slices.tiles:
        return []
    rows: Rows = []
    for kind in KINDS:
        tiles = {name: slices.unusual[name] for name in names}
        panels = [Panel("source", tiles[names[0]][f"{kind}_source"]), Panel("target")]
        for name in names:
            panels += [Panel(_short(name), tiles[name][f"{kind}_mean"]), Panel("std", tiles[name][f"{kind}_std"])]
        rows.append((kind, panels))
    pairs = [pair for pair, _ in slices.tiles]
    chosen = PAIR if PAIR in pairs else pairs[0]
    for (pair, data), found in slices.tiles.items():
        first = next(iter(found.values()))
        if pair != chosen or "lesion_mask" not in first:
            continue
        panels = [
            Panel("source", first["lesion_source"], first["lesion_mask"]),
            Panel("target", first["lesion_target"]),
        ]
        for name in names:
            tile = found.get(name, {})
            panels += [Panel(_short(name), tile.get("lesion_mean")), Panel("std", tile.get("lesion_std"))]
        rows.append((f"lesion, {data}".removesuffix(", ."), panels))
    return rows


def _cut(image: NDArray | None, box: tuple[slice, ...]) -> NDArray | None:
    return None if image is None else image[box]


def _short(name: str) -> str:
    """The last word of a checkpoint's name, which is its family as a rule."""
    return name.rpartition("-")[2]
