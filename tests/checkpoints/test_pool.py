"""Checkpoints that take the samples of others in turn: what is in the file, and what is wrong with it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from helpers import PAIRS, RAS, head, tiny_checkpoint
from napari_mrtrans import Contrast, Volume, transform
from napari_mrtrans.adaptation.site import wanted_pairs
from napari_mrtrans.checkpoints import library, pool
from napari_mrtrans.checkpoints.card import Adapted, DataSource
from napari_mrtrans.checkpoints.card_text import details, essence, headline
from napari_mrtrans.checkpoints.checkpoint import Checkpoint, card_metadata, read_checkpoint, write_tensors
from napari_mrtrans.checkpoints.installing import export, install
from napari_mrtrans.checkpoints.library import list_checkpoints, load_checkpoint
from napari_mrtrans.checkpoints.pool import drawn_by, make_pool, members_of, n_parameters, shares
from napari_mrtrans.checkpoints.removing import remove
from napari_mrtrans.checkpoints.shared import partners, sharing, sharing_lines
from napari_mrtrans.cli import train
from napari_mrtrans.errors import CheckpointError, RecipeError
from napari_mrtrans.evaluation.ood_study import FEW, few_of
from napari_mrtrans.scan.framing import Framing


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder; nothing is shipped."""
    for module in (library, pool):
        monkeypatch.setattr(module, "shipped_checkpoint_dir", lambda: tmp_path / "shipped")
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(tmp_path / "user"))
    return tmp_path / "user"


@pytest.fixture
def members(tmp_path: Path) -> list[Checkpoint]:
    """Two that were trained on other people and serve other pairs."""
    data = [DataSource(name=name, licence="CC0", citation="") for name in ("one", "two")]
    first = {"train": ["a", "b"], "validation": ["v"], "test": ["t", "c"]}
    second = {"train": ["c"], "validation": ["v", "w"], "test": ["t", "b"]}
    folder = tmp_path / "made"
    return [
        tiny_checkpoint(folder / "one-flow.safetensors", "flow", splits=first, data=data[:1], notes=["same"]),
        tiny_checkpoint(
            folder / "two-cgan.safetensors",
            "cgan",
            splits=second,
            data=data,
            pairs=PAIRS[::-1][:4],
            notes=["same", "x"],
        ),
    ]


@pytest.fixture
def made(members: list[Checkpoint]) -> Checkpoint:
    first, second = members
    return make_pool("lab-pool", [first, second, first], first.path.parent)


def test_its_card_is_that_of_both(members: list[Checkpoint], made: Checkpoint) -> None:
    card = made.card
    assert set(made.pairs) == set(PAIRS[::-1][:4]) and made.pairs == [pair for pair in PAIRS if pair in made.pairs]
    assert card.splits == {"train": ["a", "b", "c"], "validation": ["v"], "test": ["t"]}
    assert [data.name for data in card.data] == ["one", "two"] and card.notes == ["same", "x"]
    assert (made.deterministic, made.single_pass, card.sampler.n) == (False, True, 4)
    assert [member.name for member in members_of(made)] == ["one-flow", "two-cgan", "one-flow"]
    assert members_of(members[0]) == [members[0]]
    assert n_parameters(made) == sum(member.n_parameters for member in members)
    assert headline(made).startswith("lab-pool  (pool, ") and made.size_bytes < 10_000
    assert essence(made) == "Pool: of 20 samples 14 of one-flow, 6 of two-cgan"


def test_two_samples_a_turn(made: Checkpoint) -> None:
    assert drawn_by(made, 7) == ["one-flow"] * 2 + ["two-cgan"] * 2 + ["one-flow"] * 3
    assert shares(made.card.turns, range(3, 10)) == {"two-cgan": [0, 5, 6], "one-flow": [1, 2, 3, 4]}
    assert drawn_by(members_of(made)[1], 2) == ["two-cgan"] * 2


def test_it_agrees_with_its_members_and_they_not_with_each_other(members: list[Checkpoint], made: Checkpoint) -> None:
    other = tiny_checkpoint(made.path.parent / "other.safetensors", "ncsn", seed=5)
    every = [*members, made, other]
    assert sharing(every) == []
    assert [[one.name for one in some] for some in partners(every)] == [
        ["lab-pool"], ["lab-pool"], ["one-flow", "two-cgan"], []
    ]  # fmt: skip
    assert sharing_lines([made, members[0], other]) == [
        "lab-pool has samples of one-flow, two-cgan: that it agrees with one-flow is no evidence."
    ]
    assert sharing_lines([made, *members, other]) == [
        "lab-pool has samples of one-flow, two-cgan: that it agrees with them is no evidence."
    ]
    assert sharing_lines([made, other]) == []


def test_it_has_no_network_of_its_own(made: Checkpoint) -> None:
    with pytest.raises(CheckpointError, match="'lab-pool' is a pool and has no network of its own"):
        made.build()


def test_a_pool_that_has_changed_since_it_was_read_is_not_taken_for_it(
    made: Checkpoint, members: list[Checkpoint]
) -> None:
    make_pool(made.name, [*reversed(members)], made.path.parent)
    os.utime(made.path, ns=(0, 0))
    with pytest.raises(CheckpointError, match=r"'lab-pool\.safetensors' has changed"):
        transform(Volume(head(), RAS, Contrast.T2), made, target="T1", n=2, steps=1)


def test_it_cannot_be_adapted_but_its_members_can(made: Checkpoint) -> None:
    with pytest.raises(RecipeError, match=r"'lab-pool' is a pool .* adapt one of one-flow, two-cgan"):
        wanted_pairs(made, None, [])


def test_members_are_installed_with_it_and_leave_with_it(
    user: Path, members: list[Checkpoint], made: Checkpoint, tmp_path: Path
) -> None:
    install(members[0].path)
    install(made.path)
    assert sorted(file.name for file in user.iterdir()) == [
        "lab-pool.safetensors", "one-flow.safetensors", "two-cgan.safetensors"
    ]  # fmt: skip
    there = load_checkpoint("lab-pool")
    assert {member.path.parent for member in members_of(there)} == {user}
    copies = export("lab-pool", tmp_path / "share")
    assert [copy.name for copy in copies] == ["one-flow.safetensors", "two-cgan.safetensors", "lab-pool.safetensors"]
    with pytest.raises(CheckpointError, match=r"^'lab-pool' would miss samples of 'two-cgan'; remove it first\.$"):
        remove("two-cgan")
    assert members_of(there) and not any(label == "cannot be used" for label, _ in details(there))
    (user / "two-cgan.safetensors").unlink()  # by hand
    line = dict(details(there))["cannot be used"]
    assert "'lab-pool' takes samples of 'two-cgan', which is not installed. Install it, or" in line
    assert load_checkpoint("lab-pool") in list_checkpoints()  # it can still be removed
    with pytest.raises(CheckpointError, match="takes samples of 'two-cgan', which is not installed"):
        members_of(there)
    with pytest.raises(CheckpointError, match="takes samples of 'two-cgan', which is not installed"):
        export("lab-pool", tmp_path / "again")
    remove("lab-pool")
    remove("one-flow")  # nothing needs it any more
    assert install(copies[-1]).name == "lab-pool" and len(members_of(load_checkpoint("lab-pool"))) == 3


def test_another_file_of_a_members_name_can_be_removed(user: Path, made: Checkpoint, tmp_path: Path) -> None:
    """The pool has no use for it; it is in the way of the member."""
    install(made.path)
    tiny_checkpoint(user / "one-flow.safetensors", "flow", seed=9)
    remove("one-flow")
    install(made.path.parent / "one-flow.safetensors")
    make_pool("second-pool", members_of(made)[:2], user)
    with pytest.raises(CheckpointError, match=r"'lab-pool', 'second-pool' would miss .*; remove them first"):
        remove("one-flow")
    (tmp_path / "shipped").mkdir()
    shutil.copy(user / "one-flow.safetensors", tmp_path / "shipped")  # a later version comes with this very file
    assert remove("one-flow") and len(members_of(load_checkpoint("lab-pool"))) == 3


def test_a_pool_is_not_installed_without_a_member(user: Path, members: list[Checkpoint], made: Checkpoint) -> None:
    members[0].path.unlink()
    line = "'lab-pool' takes samples of 'one-flow', which is not installed. Install it, or make a pool"
    with pytest.raises(CheckpointError, match=line):
        install(made.path)
    assert not user.exists()


def test_another_member_of_that_name_is_not_replaced(user: Path, made: Checkpoint) -> None:
    theirs = tiny_checkpoint(user / "one-flow.safetensors", "flow", seed=9).path.read_bytes()
    with pytest.raises(CheckpointError, match="'one-flow' is installed already"):
        install(made.path)
    assert [file.name for file in user.iterdir()] == ["one-flow.safetensors"]
    assert (user / "one-flow.safetensors").read_bytes() == theirs


def test_members_elsewhere_are_copied_beside_it(user: Path, members: list[Checkpoint], tmp_path: Path) -> None:
    install(members[0].path)
    made = make_pool("lab-pool", members, tmp_path / "out")
    assert sorted(file.name for file in made.path.parent.iterdir()) == ["lab-pool.safetensors", "two-cgan.safetensors"]
    assert [member.path.parent for member in members_of(made)] == [user, made.path.parent]


def test_a_network_in_the_pools_place_is_kept(members: list[Checkpoint], tmp_path: Path) -> None:
    folder = members[0].path.parent
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(CheckpointError, match="A pool cannot be called 'one-flow', as one of its members is"):
        make_pool("one-flow", members, folder)
    other = tiny_checkpoint(tmp_path / "made" / "third-flow.safetensors", "flow").path.read_bytes()
    with pytest.raises(CheckpointError, match=r"third-flow\.safetensors' is there already and is no pool"):
        make_pool("third-flow", members, folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {**before, "third-flow.safetensors": other}
    for _ in range(2):  # a pool may be made anew
        make_pool("lab-pool", members, folder)


def test_a_file_in_a_members_place_is_kept(members: list[Checkpoint], tmp_path: Path) -> None:
    tiny_checkpoint(tmp_path / "out" / "two-cgan.safetensors", "cgan", seed=9)
    with pytest.raises(CheckpointError, match=r"two-cgan\.safetensors' is another file than the one that is pooled"):
        make_pool("lab-pool", members, tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["two-cgan.safetensors"]


def test_another_file_of_a_members_name_is_not_taken_for_it(members: list[Checkpoint], made: Checkpoint) -> None:
    tiny_checkpoint(members[1].path, "cgan", seed=9)
    with pytest.raises(CheckpointError, match="samples of 'two-cgan', which is another file than the pool was made of"):
        members_of(made)
    assert n_parameters(made) == 0 and partners([made, members[0]]) == [[], []]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "Field required"),
        ({"turns": ["one-flow"], "sha256": {"one-flow": ""}}, "at least 2"),
        ({"turns": ["one-flow", "x"], "sha256": {"one-flow": ""}}, "no digest of 'x'"),
        ({"turns": 3, "sha256": {}}, "valid list"),
    ],
)
def test_a_card_that_does_not_say_whose_is_no_card(made: Checkpoint, options: dict[str, object], problem: str) -> None:
    card = made.card.model_copy(update={"options": options})
    write_tensors(made.path, {"turns": torch.zeros(3)}, card_metadata(card))
    with pytest.raises(CheckpointError, match=rf"'lab-pool\.safetensors' has an invalid card \(.*{problem}"):
        read_checkpoint(made.path)


def test_members_are_looked_for_in_folders_of_checkpoints_alone(made: Checkpoint, tmp_path: Path) -> None:
    outside = tiny_checkpoint(tmp_path / "outside.safetensors", "flow")
    options = {"turns": ["../outside", "two-cgan"], "sha256": {"../outside": outside.sha256}}
    with pytest.raises(CheckpointError, match=r"'\.\./outside', which is not installed"):
        members_of(Checkpoint(made.path, made.card.model_copy(update={"options": options})))


def one(members: list[Checkpoint]) -> list[Checkpoint]:
    return members[:1]


def one_answer(members: list[Checkpoint]) -> list[Checkpoint]:
    return [members[0], tiny_checkpoint(members[0].path.with_name("plain.safetensors"), "direct")]


def another_frame(members: list[Checkpoint]) -> list[Checkpoint]:
    file = members[0].path.with_name("wide.safetensors")
    return [members[0], tiny_checkpoint(file, "ncsn", framing=Framing(rows=64, columns=64))]


def other_pairs(members: list[Checkpoint]) -> list[Checkpoint]:
    files = [members[0].path.with_name(f"{letter}.safetensors") for letter in "ab"]
    return [tiny_checkpoint(file, "ncsn", pairs=[pair]) for file, pair in zip(files, PAIRS[:2], strict=True)]


def namesakes(members: list[Checkpoint]) -> list[Checkpoint]:
    elsewhere = members[0].path.parent.parent / "elsewhere"
    return [*members, tiny_checkpoint(elsewhere / members[0].path.name, "flow", seed=9)]


def in_itself(members: list[Checkpoint]) -> list[Checkpoint]:
    return [members[0], make_pool("inner", members, members[0].path.parent)]


@pytest.mark.parametrize(
    ("chosen", "line"),
    [
        (one, "A pool needs two different checkpoints or more"),
        (one_answer, "'plain' gives one answer and no samples; pool those that sample"),
        (another_frame, "'wide' and 'one-flow' differ in framing; they cannot be pooled"),
        (other_pairs, "a, b have no pair of contrasts in common"),
        (in_itself, "'inner' is a pool itself"),
        (namesakes, "Two of them are called 'one-flow' in their cards; train one with another name"),
    ],
)
def test_what_cannot_be_pooled(
    members: list[Checkpoint], tmp_path: Path, chosen: Callable[[list[Checkpoint]], list[Checkpoint]], line: str
) -> None:
    with pytest.raises(CheckpointError, match=line):
        make_pool("lab-pool", chosen(members), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_name_that_is_no_file_name(members: list[Checkpoint], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="'a/b' is no file name"):
        make_pool("a/b", members, tmp_path)


def test_made_on_the_command_line(
    members: list[Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["lab-pool", "--of", str(members[0].path), "--of", str(members[1].path), "-o", str(members[0].path.parent)]
    monkeypatch.setattr(sys, "argv", ["napari-mrtrans-train", "pool", *words])
    with pytest.raises(SystemExit) as ended:
        train.main()
    assert not ended.value.code
    file = members[0].path.with_name("lab-pool.safetensors")
    said = f"Pool: of 20 samples 10 of one-flow, 10 of two-cgan\nwrote {file}\n"
    assert capsys.readouterr().out == said and len(members_of(read_checkpoint(file))) == 2


def test_a_damaged_pool_is_named(made: Checkpoint) -> None:
    write_tensors(made.path, {"turns": torch.zeros(3)}, {})
    with pytest.raises(CheckpointError, match=r"'lab-pool\.safetensors' has no napari-mrtrans card"):
        read_checkpoint(made.path)


def test_a_pool_of_an_adapted_member_is_adapted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the family's name goes on meaning the other."""
    monkeypatch.setattr(library, "shipped_checkpoint_dir", lambda: tmp_path)
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(tmp_path / "user"))
    told = Adapted(parent="flow", parent_sha256="", lineage=["flow"], site="a", people=1, sessions=1, minutes=1.0)
    plain = [tiny_checkpoint(tmp_path / f"{name}.safetensors", name) for name in ("flow", "cgan")]
    own = tiny_checkpoint(tmp_path / "a-flow.safetensors", "flow", adapted=told)
    other = tiny_checkpoint(
        tmp_path / "b-cgan.safetensors", "cgan", adapted=told.model_copy(update={"site": "b", "people": 2}), seed=1
    )
    make_pool("a-pool", [own, plain[1], other], tmp_path)
    make_pool("the-pool", plain, tmp_path)
    assert library.load_checkpoint("pool").name == "the-pool"
    made = library.load_checkpoint("a-pool")
    assert [(one.people, one.site) for one in made.card.unnamed] == [(1, "a"), (2, "b")]
    assert ("learned before from", "1 person of 'a' and 2 people of 'b'") in details(made)
    assert not any("PSNR" in text for _, text in details(made))  # what each of them gained is not what the pool does
    assert b"unnamed_before" not in own.path.read_bytes()


def test_a_pool_is_calibrated_by_whole_rounds(tmp_path: Path) -> None:
    members = [tiny_checkpoint(tmp_path / f"{name}.safetensors", name) for name in ("flow", "cgan", "ncsn")]
    made = make_pool("of-three", [members[k] for k in (0, 1, 0, 2)], tmp_path)
    assert few_of(made) == 8 and few_of(members[0]) == FEW == 6
