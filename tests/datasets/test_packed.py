"""Packed slices train as the scans do, but for 8 bits and the slices left out."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers import bids_folder, tiny_checkpoint
from napari_mrtrans.datasets.packed import LEAST_AREA, pack, read_packed
from napari_mrtrans.datasets.store import Source
from napari_mrtrans.datasets.turned import TurnedSession
from napari_mrtrans.errors import RecipeError
from napari_mrtrans.training.recipe import Recipe
from napari_mrtrans.training.setup import open_splits
from napari_mrtrans.training.slices import TrainingSlices


@pytest.fixture(scope="module")
def chosen() -> Recipe:
    document = {
        "name": "x", "model": "direct", "pairs": ["T1->T2", "T2->FLAIR"],
        "stages": [{"steps": 4, "batch": 2, "crop": [32, 32]}],
        "data": {"test": ["sub-03"], "validation": ["sub-02"]},
    }  # fmt: skip
    return Recipe.model_validate(document)


@pytest.fixture(scope="module")
def splits(chosen: Recipe, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Source]:
    root = tmp_path_factory.mktemp("data")
    return open_splits(chosen, bids_folder(root / "bids"), root / "cache")[0]


@pytest.fixture(scope="module")
def file(splits: dict[str, Source], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(splits, tmp_path_factory.mktemp("packed") / "data.mrpack", every_mm=2, say=lambda _: None)


def test_who_is_in_which_part_and_has_what_is_kept(
    file: Path, splits: dict[str, Source], chosen: Recipe, tmp_path: Path
) -> None:
    again, skipped = open_splits(chosen, file, tmp_path)
    assert not skipped
    for part in ("train", "validation", "test"):
        assert [s.name for s in again[part].sessions] == [s.name for s in splits[part].sessions]
        assert [s.contrasts for s in again[part].sessions] == [s.contrasts for s in splits[part].sessions]
    with pytest.raises(RecipeError, match="holds its name only"):
        again["test"][0]
    assert not again["train"].sessions[0].simulated


def test_images_are_those_of_every_second_slice_to_8_bits(
    file: Path, splits: dict[str, Source], chosen: Recipe, tmp_path: Path
) -> None:
    given, found = splits["train"][0], open_splits(chosen, file, tmp_path)[0]["train"][0]
    large = np.flatnonzero(given.area >= LEAST_AREA * given.area.max())[1::2]
    np.testing.assert_allclose(found.images, given.images[:, large], atol=0.5 / 255 + 1e-3)
    np.testing.assert_array_equal(found.area, given.area[large])
    assert found.spacing == 2 * given.spacing
    assert found.images.shape[2:] == given.images.shape[2:]


def test_of_slices_farther_apart_than_the_head_is_high_the_middle_one_is_kept(
    splits: dict[str, Source], tmp_path: Path
) -> None:
    said: list[str] = []
    found = read_packed(pack(splits, tmp_path / "few.mrpack", every_mm=400, say=said.append))
    assert {line.partition(": ")[2] for line in said} == {"1 slice"}
    given = splits["train"][0]
    large = np.flatnonzero(given.area >= LEAST_AREA * given.area.max())
    assert found[0].decoded().area.tolist() == [given.area[large[len(large) // 2]]]


def test_what_is_interrupted_leaves_the_file_as_it_was(splits: dict[str, Source], tmp_path: Path) -> None:
    out = tmp_path / "data.mrpack"
    out.write_text("before")

    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(splits, out, say=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["data.mrpack"] and out.read_text() == "before"


def test_training_draws_from_it(file: Path, chosen: Recipe, tmp_path: Path) -> None:
    source = open_splits(chosen, file, tmp_path)[0]["train"]
    first, again = (TrainingSlices(source, chosen, chosen.stages[0], 0)[3] for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    assert first[0].shape == (1, 32, 32) and first[0].any()
    sideways = chosen.model_copy(update={"data": chosen.data.model_copy(update={"planes": ("coronal",)})})
    with pytest.raises(RecipeError, match=r"'data\.mrpack' holds axial slices only"):
        open_splits(sideways, file, tmp_path)


def test_the_recipe_keeps_its_people_out_and_its_pixels(file: Path, chosen: Recipe, tmp_path: Path) -> None:
    def asks(**data: object) -> Recipe:
        return chosen.model_copy(update={"data": type(chosen.data)(**data)})

    parts, _ = open_splits(asks(test=["sub-00"]), file, tmp_path)
    assert {part: source.names for part, source in parts.items()} == {
        "train": ["sub-01"], "validation": ["sub-02"], "test": ["sub-00", "sub-03"]
    }  # fmt: skip
    with pytest.raises(RecipeError, match=r"data\.spacing_mm: 'data\.mrpack' has pixels of 1 mm; pack the scans anew"):
        open_splits(asks(spacing_mm=2.0), file, tmp_path)
    with pytest.raises(RecipeError, match=r"Nobody in 'data\.mrpack' is left to train on with a pair of the recipe"):
        open_splits(asks(test=["sub-00", "sub-01"]), file, tmp_path)
    with pytest.raises(RecipeError, match=r"Nobody in 'data\.mrpack' is left"):
        open_splits(asks(folders=["glioma", "ms"]), file, tmp_path)


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_what_is_no_packed_file_is_refused_in_one_line(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "x.mrpack"
    if content is None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("sessions.json", '{"format": 99, "sessions": []}')
    else:
        path.write_bytes(content)
    with pytest.raises(RecipeError, match="is no packed data set"):
        read_packed(path)


def test_a_table_and_names_divide_it_as_they_divide_the_folder(file: Path, chosen: Recipe, tmp_path: Path) -> None:
    def asks(**data: object) -> Recipe:
        return chosen.model_copy(update={"data": type(chosen.data)(**data)})

    table = tmp_path / "splits.tsv"
    table.write_text("subject\tpart\nsub-00\tvalidation\nsub-02\ttrain\nsub-03\ttrain\n")
    parts, skipped = open_splits(asks(splits=table), file, tmp_path)
    assert {part: source.names for part, source in parts.items()} == {
        "train": ["sub-02"], "validation": ["sub-00"], "test": ["sub-03"]
    }  # fmt: skip
    assert skipped == [f"sub-01: not in '{table}'", "sub-03: 'data.mrpack' keeps its name only"]
    with pytest.raises(RecipeError, match=r"Held-out subject 'sub-3' is not in 'data\.mrpack'"):
        open_splits(asks(test=["sub-3"]), file, tmp_path)
    parts, skipped = open_splits(asks(phantom={"subjects": 2}), file, tmp_path)
    assert skipped == ["phantoms: 'data.mrpack' holds none"]
    (line,) = open_splits(asks(exclude_masked=True), file, tmp_path)[1]
    assert line.startswith("no slice for data.exclude_masked: nobody who is trained on has an expert mask")


def test_phantoms_in_it_are_those_of_a_recipe_that_asks_for_them(chosen: Recipe, tmp_path: Path) -> None:
    def asks(phantom: object) -> Recipe:
        data = type(chosen.data).model_validate({**chosen.data.model_dump(), "phantom": phantom})
        return chosen.model_copy(update={"data": data})

    with_phantom = asks({"subjects": 1})
    splits, _ = open_splits(with_phantom, bids_folder(tmp_path / "bids"), tmp_path / "cache")
    file = pack(splits, tmp_path / "both.mrpack", every_mm=8, say=lambda _: None)
    for wanted, count in ((with_phantom, 1), (asks(None), 0)):
        source = open_splits(wanted, file, tmp_path)[0]["train"]
        assert sum(session.simulated for session in source.sessions) == count


def test_slices_of_other_planes_are_not_packed(
    chosen: Recipe, splits: dict[str, Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recipe for axial slices would be trained on them; a file that has them is read without."""
    seen = {part: splits[part] for part in ("train", "validation")}
    coronal = {
        part: replace(source, sessions=tuple(TurnedSession(session, "coronal") for session in source.sessions))
        for part, source in seen.items()
    }
    turned = {part: replace(seen[part], sessions=seen[part].sessions + coronal[part].sessions) for part in seen}
    said: list[str] = []
    file = pack(turned, tmp_path / "axial.mrpack", every_mm=8, say=said.append)
    assert said[0] == "left out 3 sessions seen from the side: a packed file holds axial slices only"
    assert len(read_packed(file)) == 3
    with pytest.raises(RecipeError, match=r"data\.planes: a packed file holds axial slices only; add axial"):
        pack({**coronal, "test": splits["test"]}, tmp_path / "none.mrpack", say=said.append)
    monkeypatch.setattr("napari_mrtrans.datasets.packed._axial", lambda splits: (splits, 0))  # as it was
    old = pack(turned, tmp_path / "old.mrpack", every_mm=8, say=said.append)
    assert len(read_packed(old)) == 6
    kept = chosen.model_copy(update={"data": type(chosen.data)()})
    parts, skipped = open_splits(kept, old, tmp_path)
    assert {name for source in parts.values() for name in source.names} == {"sub-00", "sub-01", "sub-02"}
    assert skipped == ["coronal and sagittal slices: 'old.mrpack' holds some, which a packed file is not read for"]


def test_whom_a_parent_tests_is_not_trained_on_of_a_packed_file_either(
    file: Path, chosen: Recipe, tmp_path: Path
) -> None:
    parent = tiny_checkpoint(tmp_path / "parent.safetensors", "direct", splits={"test": ["sub-01"]})
    document = chosen.model_dump(mode="json") | {"pairs": ["T1->T2"], "start_from": str(parent.path)}
    for data, part in (({"holdout_fraction": 0.2}, "test"), ({}, "train")):
        parts, _ = open_splits(Recipe.model_validate(document | {"data": data}), file, tmp_path)
        assert "sub-01" in parts[part].names
