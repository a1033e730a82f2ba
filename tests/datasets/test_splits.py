from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from helpers import bids_folder, tiny_checkpoint
from napari_mrtrans.datasets import ixi, oasis
from napari_mrtrans.datasets.bids import Session
from napari_mrtrans.datasets.layout import Shares
from napari_mrtrans.datasets.splits import HeldOut, draw_held_out, read_splits, split_sessions, write_splits
from napari_mrtrans.errors import RecipeError
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.training.recipe import Recipe
from napari_mrtrans.training.setup import open_splits

T1 = Contrast.T1


def sessions(**visits: int) -> list[Session]:
    """``a=2``: subject sub-a with two visits."""
    return [
        Session(f"sub-{subject}", f"ses-{i}" if count > 1 else "", {T1: Path("x")}, None)
        for subject, count in visits.items()
        for i in range(count)
    ]


def drawn(every: list[Session], seed: int) -> dict[str, list[Session]]:
    return split_sessions(every, draw_held_out(every, Shares(0.2, 0.2), seed))


def test_named_subjects_are_held_out_with_all_their_visits() -> None:
    parts = split_sessions(sessions(a=2, b=1, c=3, d=2), HeldOut(("sub-c",), ("sub-a",)))
    assert [s.name for s in parts["test"]] == ["sub-c/ses-0", "sub-c/ses-1", "sub-c/ses-2"]
    assert [s.name for s in parts["validation"]] == ["sub-a/ses-0", "sub-a/ses-1"]
    assert [s.name for s in parts["train"]] == ["sub-b", "sub-d/ses-0", "sub-d/ses-1"]


@pytest.mark.parametrize("seed", range(5))
def test_a_drawn_split_never_divides_a_subject(seed: int) -> None:
    every = sessions(a=2, b=3, c=1, d=2, e=2, f=1, g=2, h=3, i=1, j=2)
    parts = drawn(every, seed)
    assert Counter(s.name for part in parts.values() for s in part) == Counter(s.name for s in every)
    subjects = {part: {s.subject for s in chosen} for part, chosen in parts.items()}
    assert {part: len(names) for part, names in subjects.items()} == {"train": 6, "validation": 2, "test": 2}
    assert not subjects["train"] & subjects["test"]
    assert not subjects["train"] & subjects["validation"]
    assert not subjects["test"] & subjects["validation"]
    again = drawn(every[::-1], seed)
    assert {part: {s.subject for s in chosen} for part, chosen in again.items()} == subjects


def test_the_draw_depends_on_the_seed() -> None:
    every = sessions(**dict.fromkeys("abcdefghijklmnop", 1))
    draws = {tuple(s.name for s in drawn(every, seed)["test"]) for seed in range(8)}
    assert len(draws) > 4


@pytest.mark.parametrize(
    ("test", "validation", "expected"),
    [
        (("sub-z",), (), "Held-out subject 'sub-z' is not in the data folder"),
        ((), ("sub-b/ses-0",), "Held-out subject 'sub-b/ses-0' is not"),
        (("sub-a",), ("sub-a",), "Subject 'sub-a' is listed under both test and validation"),
    ],
)
def test_splits_that_cannot_be(test: tuple[str, ...], validation: tuple[str, ...], expected: str) -> None:
    with pytest.raises(RecipeError, match=expected):
        split_sessions(sessions(a=1, b=2), HeldOut(test, validation))


def at_hospitals(**sizes: int) -> list[Session]:
    return [
        Session(f"sub-IXI{site}{i}", "", {T1: Path("x")}, None, site)
        for site, size in sizes.items()
        for i in range(size)
    ]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"Guys": 311, "HH": 181, "IOP": 83}, {"train": 357, "validation": 74, "test": 144}),  # the paper's 575
        ({"Guys": 30, "HH": 17, "IOP": 8}, {"train": 34, "validation": 7, "test": 14}),
        ({"Guys": 6, "HH": 5, "IOP": 1}, {"train": 7, "validation": 2, "test": 3}),
    ],
)
def test_a_drawn_split_is_balanced_over_the_hospitals(
    sizes: dict[str, int], expected: dict[str, int], seed: int
) -> None:
    every = at_hospitals(**sizes)
    assert ixi.SHARES is not None
    parts = split_sessions(every, draw_held_out(every, ixi.SHARES, seed))
    assert {part: len(chosen) for part, chosen in parts.items()} == expected
    for part, chosen in parts.items():
        there = Counter(session.site for session in chosen)
        for site, size in sizes.items():
            assert abs(there[site] - size * expected[part] / len(every)) < 1.5, (part, site)


def test_a_draw_depends_on_the_seed_alone() -> None:
    every = at_hospitals(Guys=30, HH=17, IOP=8)
    draws = [draw_held_out(order, Shares(0.1, 0.2), 4) for order in (every, every[::-1])]
    assert draws[0] == draws[1] != draw_held_out(every, Shares(0.1, 0.2), 5)


def test_the_sessions_of_the_oasis_paper() -> None:
    every = [Session(f"sub-OAS3{i:04}", "ses-d0000", {T1: Path("x")}, None) for i in range(243)]
    assert oasis.SHARES is not None
    parts = split_sessions(every, draw_held_out(every, oasis.SHARES, 0))
    assert [len(parts[part]) for part in ("train", "validation", "test")] == [156, 31, 56]


def test_no_share_is_nobody() -> None:
    assert draw_held_out(sessions(a=1, b=1, c=1), Shares(0, 0.3), 0).validation == ()


def test_a_table_comes_back(tmp_path: Path) -> None:
    parts = split_sessions(sessions(a=2, b=1, c=3), HeldOut(("sub-c",), ("sub-b",)))
    write_splits(tmp_path, {part: [session.name for session in own] for part, own in parts.items()})
    assert (tmp_path / "splits.tsv").read_text().splitlines() == [
        "subject\tsession\tpart",
        "sub-a\tses-0\ttrain",
        "sub-a\tses-1\ttrain",
        "sub-b\tn/a\tvalidation",
        "sub-c\tses-0\ttest",
        "sub-c\tses-1\ttest",
        "sub-c\tses-2\ttest",
    ]
    assert read_splits(tmp_path / "splits.tsv") == {"sub-a": "train", "sub-b": "validation", "sub-c": "test"}


def test_a_table_may_begin_with_the_mark_of_a_spreadsheet(tmp_path: Path) -> None:
    (tmp_path / "splits.tsv").write_text("subject\tpart\nsub-a\ttrain\n", encoding="utf-8-sig")
    assert read_splits(tmp_path / "splits.tsv") == {"sub-a": "train"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "splits.tsv' cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"", "needs tab-separated columns subject and part"),
        (b"subject\tpart\n", "needs tab-separated columns"),
        (b"subject,part\nsub-1,train\n", "needs tab-separated columns"),
        (b"subject\tpart\nsub-1\n", "needs tab-separated columns"),
        (
            b"subject\tpart\nsub-1\ttrain\nsub-2\ttrain \n",
            "one of train, validation, test; row 2 has 'sub-2' and 'train '.",
        ),
        (b"subject\tpart\nsub-1\tdev\n", "each part one of train, validation, test"),
        (
            b"subject\tsession\tpart\nsub-1\tses-1\ttrain\nsub-1\tses-2\ttest\n",
            "'sub-1' into both train and test",
        ),
    ],
)
def test_tables_that_are_wrong(content: bytes | None, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "splits.tsv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecipeError, match=expected) as caught:
        read_splits(path)
    assert "\n" not in str(caught.value)


def recipe(**data: object) -> Recipe:
    document = {"name": "r", "model": "direct", "pairs": ["T1->T2"], "data": data, "stages": [{"steps": 1}]}
    return Recipe.model_validate(document)


def test_a_recipe_takes_a_table(tmp_path: Path) -> None:
    """Subjects that only one of table and folder knows are named, and those of the folder are left out."""
    root = bids_folder(tmp_path / "data", 4, (12, 12, 6))
    table = tmp_path / "mine.tsv"
    table.write_text("subject\tpart\nsub-00\ttest\nsub-01\ttrain\nsub-02\tvalidation\nsub-77\ttest\n")
    splits, skipped = open_splits(recipe(splits=str(table)), root, tmp_path)
    assert {part: [s.name for s in source.sessions] for part, source in splits.items()} == {
        "train": ["sub-01"],
        "validation": ["sub-02"],
        "test": ["sub-00"],
    }
    assert skipped == [f"sub-03: not in '{table}'", f"sub-77: in '{table}', but no usable session of it"]


@pytest.mark.parametrize("also", [{"test": ["sub-00"]}, {"validation": ["sub-00"]}, {"holdout_fraction": 0.2}])
def test_a_table_is_the_whole_split(also: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="leave out test, validation and holdout_fraction"):
        recipe(splits="mine.tsv", **also)


def test_only_whom_nobody_named_is_drawn_and_nobody_where_the_share_is_zero(tmp_path: Path) -> None:
    root = bids_folder(tmp_path / "data", 4, (12, 12, 6))
    for data, expected in (
        ({"test": ["sub-00"], "holdout_fraction": 0.25}, [2, 1, 1]),
        ({"validation": ["sub-00"], "holdout_fraction": 0.5}, [1, 1, 2]),
        ({"test": ["sub-00"], "validation": ["sub-01"], "holdout_fraction": 0.5}, [2, 1, 1]),
        ({"test": ["sub-00"], "holdout_fraction": 0.0}, [3, 0, 1]),
        ({"test": ["sub-00"]}, [3, 0, 1]),
        ({"holdout_fraction": 0.0}, [4, 0, 0]),
        ({}, [4, 0, 0]),
        ({"holdout_fraction": 0.25}, [2, 1, 1]),
    ):
        splits, _ = open_splits(recipe(**data), root, tmp_path)
        assert [len(splits[part].sessions) for part in ("train", "validation", "test")] == expected


def test_a_seed_moves_nobody_and_a_parents_division_holds(tmp_path: Path) -> None:
    """Two networks of the same people, as the members of a pool, or one and the mean that it samples around."""

    def division(root: Path, **changes: object) -> dict[str, str]:
        document = recipe(holdout_fraction=0.2).model_dump(mode="json") | {"pairs": ["T1->T2"], **changes}
        splits, _ = open_splits(Recipe.model_validate(document), root, tmp_path)
        return {s.name: part for part, source in splits.items() for s in source.sessions}

    root = bids_folder(tmp_path / "data", 10, (12, 12, 6))
    first = division(root)
    assert sorted(first.values()) == ["test"] * 2 + ["train"] * 6 + ["validation"] * 2
    assert division(root, seed=1) == first
    parts = {part: [name for name, own in first.items() if own == part] for part in ("train", "validation", "test")}
    parent = tiny_checkpoint(tmp_path / "parent.safetensors", "direct", splits=parts)
    for k in (10, 11, 12, 13, 14):
        bids_folder(tmp_path / "more", 1, (12, 12, 6))
        (tmp_path / "more" / "sub-00").rename(root / f"sub-{k}")
        for file in (root / f"sub-{k}" / "anat").iterdir():
            file.rename(file.with_name(file.name.replace("sub-00", f"sub-{k}")))
        grown = division(root, start_from=str(parent.path))
        assert {name: grown[name] for name in first} == first
        new = [part for name, part in grown.items() if name not in first]
        assert sorted(new) == (["train"] * (k - 9) if k < 14 else ["test", "train", "train", "train", "validation"])


def parts_of(root: Path, cache: Path, parent: Path, **data: object) -> dict[str, str]:
    """Who is in which part of a child of ``parent`` that holds out a fifth."""
    document = recipe(**{"holdout_fraction": 0.2, **data}).model_dump(mode="json")
    document |= {"pairs": ["T1->T2"], "start_from": str(parent)}
    splits, _ = open_splits(Recipe.model_validate(document), root, cache)
    return {session.name: part for part, source in splits.items() for session in source.sessions}


def test_whom_a_parent_tests_its_child_never_trains_on(tmp_path: Path) -> None:
    """A parent that validates nobody, one of the folder above, and a child that names some of its own."""
    root, parent = bids_folder(tmp_path / "a" / "b", 10, (12, 12, 6)), tmp_path / "parent.safetensors"
    tested, trained = ["sub-00", "sub-01"], [f"sub-{k:02}" for k in range(2, 10)]
    tiny_checkpoint(parent, "direct", splits={"train": trained, "test": tested})
    for above, folders in ((root, {}), (root.parent, {"folders": ["b"]})):
        found = parts_of(above, tmp_path, parent, **folders)
        assert sorted(found.values()) == ["test"] * 2 + ["train"] * 6 + ["validation"] * 2
        assert [found[who] for who in tested] == ["test", "test"]
    bids_folder(tmp_path / "a" / "c", 1, (12, 12, 6))
    found = parts_of(root.parent, tmp_path, parent, folders=["b", "c"])  # with a namesake, who is kept out as well
    assert [found[f"b/{who}"] for who in tested] == ["test", "test"] and found["c/sub-00"] == "test"
    found = parts_of(root, tmp_path, parent, test=["sub-05"])
    assert {who for who, part in found.items() if part == "test"} == {*tested, "sub-05"}
    tiny_checkpoint(parent, "direct", splits={"train": ["x/sub-00"], "test": ["y/sub-00"], "validation": ["y/sub-01"]})
    found = parts_of(root, tmp_path, parent)  # which of both he is nobody knows
    assert (found["sub-00"], found["sub-01"]) == ("test", "validation")


def test_whom_a_grandparent_learned_from_is_not_new(tmp_path: Path) -> None:
    root, parent = bids_folder(tmp_path / "data", 10, (12, 12, 6)), tmp_path / "parent.safetensors"
    before = [f"sub-{k:02}" for k in range(6)]
    tiny_checkpoint(parent, "direct", splits={"train": ["other"], "test": ["another"]}, seen_before=before)
    found = parts_of(root, tmp_path, parent)
    assert sorted(found.values()) == ["test"] + ["train"] * 8 + ["validation"]
    assert all(found[who] == "train" for who in before)


def test_people_of_the_names_of_a_parents_are_drawn_anew(tmp_path: Path) -> None:
    """Of another site, most likely; that the parent knows people called so will be noted."""
    root = bids_folder(tmp_path / "data", 10, (12, 12, 6))
    known = {"train": [f"sub-{k:02}" for k in range(30)]}
    parent = tiny_checkpoint(tmp_path / "parent.safetensors", "direct", splits=known)
    document = recipe(holdout_fraction=0.2).model_dump(mode="json")
    document |= {"pairs": ["T1->T2"], "start_from": str(parent.path)}
    splits, _ = open_splits(Recipe.model_validate(document), root, tmp_path)
    assert [len(splits[part].sessions) for part in ("train", "validation", "test")] == [6, 2, 2]
