from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from helpers import OPTIONS, TINY, bids_folder, save_nifti, tiny_checkpoint
from napari_mrtrans.checkpoints.card import Adapted, Training
from napari_mrtrans.checkpoints.checkpoint import CARD_KEY, read_checkpoint
from napari_mrtrans.checkpoints.header import read_header
from napari_mrtrans.checkpoints.planes import planes_of
from napari_mrtrans.checkpoints.pool import make_pool
from napari_mrtrans.datasets.bids import Session
from napari_mrtrans.datasets.splits import read_splits, write_splits
from napari_mrtrans.datasets.store import Source
from napari_mrtrans.errors import RecipeError, TrainingError
from napari_mrtrans.models import Direct
from napari_mrtrans.models.base import contrast_index, step_seed
from napari_mrtrans.networks.blocks import ResBlock
from napari_mrtrans.networks.critic import Critic
from napari_mrtrans.paths import part_of
from napari_mrtrans.scan.contrasts import Contrast, Pair
from napari_mrtrans.training import loop
from napari_mrtrans.training.card import make_card
from napari_mrtrans.training.hardware import Hardware, check_shared, fabric_of
from napari_mrtrans.training.initial import prepare_start
from napari_mrtrans.training.loop import Progress, train
from napari_mrtrans.training.opponent import Opponent
from napari_mrtrans.training.recipe import Recipe
from napari_mrtrans.training.recipe_parts import Augmentation
from napari_mrtrans.training.setup import open_splits
from napari_mrtrans.training.state import STATE
from napari_mrtrans.training.stopping import Stopping


def recipe(model: str = "direct", steps: tuple[int, int] = (4, 4), **changes: object) -> Recipe:
    document = {
        "name": f"tiny-{model}",
        "model": model,
        "pairs": ["T1->T2", "T2->T1"],
        "options": {"network": {**TINY, "dropout": 0.1}, **OPTIONS.get(model, {})},
        "data": {"test": ["sub-00"], "validation": ["sub-01"]},
        "validation_slices": 2,
        "validate_every": 5,
        "stages": [
            {"steps": steps[0], "batch": 2, "crop": [32, 32] if model == "resvit" else [16, 16], "downsample": 2},
            {"steps": steps[1], "batch": 2, "crop": [32, 32]},
        ],
        **changes,
    }
    return Recipe.model_validate(document)


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Source]:
    root = tmp_path_factory.mktemp("bids")
    return open_splits(recipe(), bids_folder(root / "data"), root / "cache")[0]


@pytest.fixture(scope="module")
def unstyled_and_styled(splits: dict[str, Source], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """``direct`` without and with session effects."""
    out = tmp_path_factory.mktemp("styles")
    plain = train(recipe(name="plain"), splits, out, hardware=Hardware(workers=0))
    return plain, train(recipe(name="effects", session_effects=True), splits, out, hardware=Hardware(workers=0))


def weights(path: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(path).build().state_dict()


class Stopped(Exception):
    pass


@pytest.mark.parametrize(
    ("model", "stop", "optimiser"),
    [
        ("direct", 3, "adamw"),
        ("flow", 6, "muon"),
        ("ddpm", 2, "adamw"),
        ("cgan", 5, "adamw"),
        ("resvit", 6, "muon"),
    ],
)
def test_a_resumed_run_ends_with_the_same_bits(
    splits: dict[str, Source], tmp_path: Path, model: str, stop: int, optimiser: str
) -> None:
    changes: dict[str, object] = {"optimiser": {"name": optimiser}}
    if model == "flow":  # wide enough for Muon
        changes["options"] = {"network": {**TINY, "widths": [16, 16], "dropout": 0.1}}
    whole = train(recipe(model, **changes), splits, tmp_path / "whole", hardware=Hardware(workers=0))

    def halt(progress: Progress) -> None:
        # The state of the previous step is on disk (checkpoint_minutes is next to nothing).
        if progress.step == stop + 1:
            raise Stopped

    eager = recipe(model, checkpoint_minutes=1e-9, **changes)
    with pytest.raises(Stopped):
        train(eager, splits, tmp_path / "halved", hardware=Hardware(workers=0), progress=halt)
    steps: list[int] = []
    resumed = train(
        eager,
        splits,
        tmp_path / "halved",
        hardware=Hardware(workers=0),
        resume=True,
        progress=lambda progress: steps.append(progress.step),
    )
    assert steps == list(range(stop + 1, 9))
    expected, found = weights(whole), weights(resumed)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0)


def test_a_table_of_people_that_no_run_has_written_is_not_replaced(splits: dict[str, Source], tmp_path: Path) -> None:
    table = tmp_path / "splits.tsv"
    table.write_text("subject\tpart\tage\nsub-09\ttest\t41\n")
    with pytest.raises(RecipeError, match=r"splits\.tsv' is there, and no training has written it; choose"):
        train(recipe(), splits, tmp_path, hardware=Hardware(workers=0))
    assert [path.name for path in tmp_path.iterdir()] == ["splits.tsv"] and "41" in table.read_text()


def test_the_table_of_another_checkpoint_is_not_replaced(splits: dict[str, Source], tmp_path: Path) -> None:
    nothing = Hardware(workers=0)
    for name in ("first", "second"):  # of the same people
        train(recipe(name=name, steps=(1, 1)), splits, tmp_path, hardware=nothing)
    before = (tmp_path / "splits.tsv").read_text()
    others = {**splits, "train": splits["validation"], "validation": splits["train"]}
    with pytest.raises(RecipeError, match=r"splits\.tsv' says on whom 'first' was trained, and these are other people"):
        train(recipe(name="third", steps=(1, 1)), others, tmp_path, hardware=nothing)
    assert (tmp_path / "splits.tsv").read_text() == before and not (tmp_path / "third.safetensors").exists()
    for name in ("first", "second"):
        (tmp_path / f"{name}.safetensors").unlink()
    assert train(recipe(name="third", steps=(1, 1)), others, tmp_path, hardware=nothing).exists()


def test_the_table_that_the_recipe_names_stays_as_it_is(splits: dict[str, Source], tmp_path: Path) -> None:
    table = tmp_path / "splits.tsv"
    parts = [("sub-00", "test"), ("sub-01", "validation"), ("sub-02", "train"), ("sub-09", "train")]
    table.write_text("subject\tpart\tage\n" + "".join(f"{who}\t{part}\t41\n" for who, part in parts))
    before = table.read_text()
    chosen = recipe(steps=(1, 1), data={"splits": str(table)})
    for resume in (False, True):
        train(chosen, splits, tmp_path, hardware=Hardware(workers=0), resume=resume, max_minutes=0.0)
        assert table.read_text() == before


def test_a_run_that_was_killed_before_its_first_state_begins_again(splits: dict[str, Source], tmp_path: Path) -> None:
    def halt(progress: Progress) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        train(recipe(), splits, tmp_path, hardware=Hardware(workers=0), progress=halt)
    assert not (tmp_path / STATE).exists()
    write_splits(tmp_path, {"train": ["sub-09"]})  # before people came
    assert train(recipe(steps=(1, 1)), splits, tmp_path, hardware=Hardware(workers=0)).exists()
    assert read_splits(tmp_path / "splits.tsv")["sub-02"] == "train"


def test_a_gradient_that_is_not_finite_stops_it_as_well(
    splits: dict[str, Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Direct.loss

    def loss(self: Direct, *arguments: object) -> torch.Tensor:
        value = honest(self, *arguments)
        return value + 0 * (value - value.detach()).abs().sqrt()  # of which the slope at 0 is infinite

    monkeypatch.setattr(Direct, "loss", loss)
    with pytest.raises(TrainingError, match="its gradient was no longer finite at step 1; the weights before"):
        train(recipe(), splits, tmp_path, hardware=Hardware(workers=0))
    weights = read_checkpoint(tmp_path / "tiny-direct.safetensors").build().state_dict()
    assert all(torch.isfinite(value).all() for value in weights.values())


def test_batch_normalisation_is_not_shared_between_devices() -> None:
    shared = SimpleNamespace(world_size=2)
    check_shared(torch.nn.GroupNorm(1, 4), shared)
    check_shared(torch.nn.BatchNorm2d(4), SimpleNamespace(world_size=1))
    with pytest.raises(RecipeError, match=r"batch normalisation .* trains on one device; use --devices 1"):
        check_shared(torch.nn.Sequential(torch.nn.BatchNorm2d(4)), shared)


@pytest.mark.parametrize("bad", [1, 4])
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_weights_before_it(
    splits: dict[str, Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: int
) -> None:
    honest, calls = Direct.loss, []

    def loss(self: Direct, *arguments: object) -> torch.Tensor:
        calls.append(1)
        return honest(self, *arguments) * (float("nan") if len(calls) == bad else 1)

    monkeypatch.setattr(Direct, "loss", loss)
    with pytest.raises(TrainingError, match=f"no longer finite at step {bad}; the weights before it are in '.*direct"):
        train(recipe(), splits, tmp_path, hardware=Hardware(workers=0))
    kept = read_checkpoint(tmp_path / "tiny-direct.safetensors")
    assert kept.card.steps == bad - 1
    assert kept.card.training is not None and kept.card.training.slices == kept.card.images == 2 * (bad - 1)
    assert all(bool(value.isfinite().all()) for value in kept.build().state_dict().values())


def test_session_effects_take_up_what_differs_between_sessions(splits: dict[str, Source], tmp_path: Path) -> None:
    chosen = recipe(session_effects=True)
    effects = weights(train(chosen, splits, tmp_path, hardware=Hardware(workers=0)))["effects"]
    assert effects.shape == (2, 4, 2)
    assert bool(effects[:, [0, 1]].any())
    assert not effects[:, [2, 3]].any()  # contrasts that the recipe does not have


def test_the_card_says_what_was_done(splits: dict[str, Source], tmp_path: Path) -> None:
    chosen = recipe()
    card = read_checkpoint(train(chosen, splits, tmp_path / "out", hardware=Hardware(workers=0))).card
    assert card.recipe_sha256 == chosen.sha256
    assert card.steps == 8
    assert card.images == 16
    assert card.splits == {"train": ["sub-02", "sub-03"], "validation": ["sub-01"], "test": ["sub-00"]}
    assert card.metrics["validation"]["psnr"] > 0
    assert list((tmp_path / "out" / "tensorboard").glob("events*"))


def test_a_network_for_the_other_planes(tmp_path: Path) -> None:
    """Trained on them alone, and used beside the one of the axial slices."""
    pairs = ["T1->T2", "T1->PD"]
    data = {"test": ["sub-00"], "validation": ["sub-01"], "planes": ["coronal", "sagittal"], "computed_pd": True}
    chosen = recipe(name="tiny-direct.planes", pairs=pairs, data=data)
    found = open_splits(chosen, bids_folder(tmp_path / "data", shape=(40, 48, 52)), tmp_path / "cache")[0]
    made = train(chosen, found, tmp_path, hardware=Hardware(workers=0))
    card = read_checkpoint(made).card
    assert card.splits["train"] == [f"sub-0{i}/plane-{plane}" for plane in ("coronal", "sagittal") for i in (2, 3)]
    assert card.splits["validation"] == ["sub-01/plane-coronal", "sub-01/plane-sagittal"]
    assert card.splits["test"] == ["sub-00"]
    table = {"splits": str(tmp_path / "splits.tsv"), "planes": data["planes"], "computed_pd": True}
    again = open_splits(recipe(pairs=pairs, data=table), tmp_path / "data", tmp_path / "cache")[0]
    assert {part: source.names for part, source in again.items()} == {
        part: source.names for part, source in found.items()
    }
    assert card.notes == ["PD: trained on contrast computed from real T1, T2 and FLAIR"]
    axial = tiny_checkpoint(tmp_path / "tiny-direct.safetensors", "direct", pairs=[Pair.parse(pair) for pair in pairs])
    planes = planes_of(axial)
    assert planes is not None and planes.path == made


def test_validation_scores_what_samples_and_leaves_out_a_computed_contrast(
    splits: dict[str, Source], tmp_path: Path
) -> None:
    said: list[str] = []
    path = train(
        recipe("cgan", steps=(1, 1), validate_every=2), splits, tmp_path, hardware=Hardware(workers=0), say=said.append
    )
    figures = read_checkpoint(path).card.metrics["validation"]
    assert {*figures} == {"psnr", "std_over_rmse", "crps"}
    assert 0 < figures["crps"] < 1
    line = next(line for line in said if line.startswith("step 2:"))
    assert f"crps {figures['crps']:.4g}" in line and "psnr_training" in line
    mixed = recipe(pairs=["T1->T2", "T1->PD", "PD->T2"])
    assert mixed.watched == mixed.pairs
    computed = {**mixed.data.model_dump(mode="json", exclude_defaults=True), "computed_pd": True}
    assert [str(pair) for pair in recipe(pairs=["T1->T2", "T1->PD", "PD->T2"], data=computed).watched] == ["T1→T2"]
    assert [str(pair) for pair in recipe(pairs=["T1->PD"], data=computed).watched] == ["T1→PD"]


def test_a_killed_background_process_is_one_line(
    splits: dict[str, Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    monkeypatch.setattr(loop, "_all_batches", killed)
    with pytest.raises(TrainingError, match=r"was killed, as where memory is short; --resume goes on"):
        train(recipe(), splits, tmp_path, hardware=Hardware(workers=0))


def test_one_device_is_one_process_in_a_slurm_job_of_several_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    job = {"NTASKS": "4", "JOB_NAME": "train", "JOB_ID": "1", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}
    for name, value in job.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    fabric = fabric_of(Hardware("cpu"), "32-true")
    assert (fabric.world_size, fabric.global_rank) == (1, 0)


@pytest.mark.parametrize(("every", "times"), [(2, 2), (3, 1)])
def test_what_was_validated_at_the_last_step_is_not_validated_again(
    every: int, times: int, splits: dict[str, Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, ask = [], loop.validate
    monkeypatch.setattr(loop, "validate", lambda *given: asked.append(given[4]) or ask(*given))
    path = train(recipe(steps=(1, 1), validate_every=every), splits, tmp_path, hardware=Hardware(workers=0))
    assert asked == [2] * times  # with the slices trained on, which are only asked on the way
    assert read_checkpoint(path).card.metrics["validation"].keys() == {"psnr"}


def test_a_time_limit_leaves_a_usable_checkpoint_and_a_state(splits: dict[str, Source], tmp_path: Path) -> None:
    said: list[str] = []
    path = train(recipe(), splits, tmp_path, hardware=Hardware(workers=0), max_minutes=0, say=said.append)
    assert read_checkpoint(path).card.steps == 1
    assert (tmp_path / STATE).exists()
    assert said[-2:] == [f"Wrote {path}", "Stopped after 1 of 8 steps; --resume continues."]
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    part = part_of(tmp_path / STATE)  # a kill while a state was being written
    part.with_name(part.name.replace(f"-{os.getpid()}-", f"-{ended.pid}-")).touch()
    train(recipe(), splits, tmp_path, hardware=Hardware(workers=0), resume=True)
    assert not [*tmp_path.glob(f"*{STATE}")]
    stamp = path.stat().st_mtime_ns
    assert train(recipe(), splits, tmp_path, resume=True, say=said.append) == path
    assert said[-1].startswith("Trained to its end before, nothing to do. '") and path.stat().st_mtime_ns == stamp
    moved = {**splits, "validation": splits["train"], "train": splits["validation"]}
    with pytest.raises(RecipeError, match=r"with other people: .* and .* more came since, went, or is in another part"):
        train(recipe(), moved, tmp_path, resume=True, say=said.append)


@pytest.fixture
def heard() -> Iterator[None]:
    """Also where the tests run in the background of a shell, which then ignores Ctrl-C."""
    before = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in before.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_after_its_step(splits: dict[str, Source], tmp_path: Path, number: int) -> None:
    said: list[str] = []

    def press(progress: Progress) -> None:
        if progress.step == 3:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        train(recipe(), splits, tmp_path, hardware=Hardware(workers=1), progress=press, say=said.append)
    assert signal.getsignal(number) is before
    assert said[-1] == "Stopped after 3 of 8 steps; --resume continues."
    assert read_checkpoint(tmp_path / f"{recipe().checkpoint_name}.safetensors").card.steps == 3
    path = train(recipe(), splits, tmp_path, hardware=Hardware(workers=0), resume=True)
    whole = train(recipe(), splits, tmp_path / "whole", hardware=Hardware(workers=0))
    weights = [read_checkpoint(one).build().state_dict() for one in (path, whole)]
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=0)


@pytest.mark.usefixtures("heard")
def test_a_signal_in_the_last_step_changes_nothing(splits: dict[str, Source], tmp_path: Path) -> None:
    def press(progress: Progress) -> None:
        if progress.step == progress.total:
            os.kill(os.getpid(), signal.SIGINT)

    path = train(recipe(), splits, tmp_path, hardware=Hardware(workers=0), progress=press)
    assert read_checkpoint(path).card.steps == 8 and not (tmp_path / STATE).exists()


@pytest.mark.usefixtures("heard")
def test_a_terminal_that_is_gone_stops_no_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise BrokenPipeError

    stopping = Stopping(None, 1)
    with stopping.listening(), monkeypatch.context() as patched:
        patched.setattr(os, "write", gone)
        os.kill(os.getpid(), signal.SIGINT)
    assert stopping.asked


@pytest.mark.usefixtures("heard")
def test_a_second_signal_ends_it_at_once() -> None:
    stopping = Stopping(None, 1)
    with pytest.raises(KeyboardInterrupt), stopping.listening():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("still running")
    assert stopping.asked
    with pytest.raises(KeyboardInterrupt), Stopping(None, 2).listening():
        os.kill(os.getpid(), signal.SIGINT)


def test_an_unfinished_run_is_neither_overwritten_nor_mixed_up(splits: dict[str, Source], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="Nothing to resume"):
        train(recipe(), splits, tmp_path / "new", hardware=Hardware(workers=0), resume=True)
    assert not (tmp_path / "new").exists()
    train(recipe(), splits, tmp_path, hardware=Hardware(workers=0), max_minutes=0)
    with pytest.raises(RecipeError, match="add --resume"):
        train(recipe(), splits, tmp_path, hardware=Hardware(workers=0))
    with pytest.raises(RecipeError, match="another recipe"):
        train(recipe(seed=5), splits, tmp_path, hardware=Hardware(workers=0), resume=True)
    grown = {**splits, "train": splits["validation"], "validation": splits["train"]}  # others are drawn to be kept out
    with pytest.raises(RecipeError, match="people were added to the data or taken away"):
        train(recipe(), grown, tmp_path, hardware=Hardware(workers=0), resume=True)
    parent = tiny_checkpoint(tmp_path / "parent.safetensors", "direct")
    child, out = recipe(start_from=str(parent.path), options={"network": TINY}), tmp_path / "child"
    made = train(child, splits, out, hardware=Hardware(workers=0), max_minutes=0)
    assert read_checkpoint(made).card.parents == {"parent": parent.sha256}
    tiny_checkpoint(parent.path, "direct", seed=8)
    with pytest.raises(RecipeError, match=r"starts from or refers to has become another .*parent"):
        train(child, splits, out, hardware=Hardware(workers=0), resume=True)
    (tmp_path / STATE).write_bytes(b"half")
    with pytest.raises(RecipeError, match="damaged"):
        train(recipe(), splits, tmp_path, hardware=Hardware(workers=0), resume=True)


def test_one_training_at_a_time_in_a_folder(splits: dict[str, Source], tmp_path: Path) -> None:
    def again(progress: Progress) -> None:
        with pytest.raises(RecipeError, match=r"Another training is at work in '.*'; wait until it ends, or choose"):
            train(recipe(steps=(1, 1)), splits, tmp_path, hardware=Hardware(workers=0))
        assert train(recipe(steps=(1, 1)), splits, tmp_path / "other", hardware=Hardware(workers=0)).exists()
        raise Stopped

    with pytest.raises(Stopped):
        train(recipe(steps=(1, 1)), splits, tmp_path, hardware=Hardware(workers=0), progress=again)
    assert train(recipe(steps=(1, 1)), splits, tmp_path, hardware=Hardware(workers=0)).exists()


def test_a_last_crop_that_is_no_frame_in_use_is_told(splits: dict[str, Source]) -> None:
    framing = {"framing": {"rows": 32, "columns": 32}}
    for last, data, lines in (
        ({"crop": [32, 32]}, framing, []),
        ({"crop": [32, 32]}, {}, ["The last stage's crops are 32 x 32, and frames in use are 128 x 128,"]),
        ({"crop": [32, 32], "downsample": 2}, framing, ["The last stage's crops are 32 x 32 averaged by 2, and"]),
    ):
        said: list[str] = []
        prepare_start(recipe(stages=[{"steps": 1}, {"steps": 1, **last}], data=data), splits["train"], said.append)
        told = [line for line in said if line.startswith("The last stage's")]
        assert len(told) == len(lines) and all(a.startswith(b) for a, b in zip(told, lines, strict=True))


def test_a_date_as_seed(splits: dict[str, Source], tmp_path: Path) -> None:
    """Seed and step share the 64 bits that torch takes."""
    train(recipe(steps=(1, 1), seed=20261128), splits, tmp_path, hardware=Hardware(workers=0))
    assert len({step_seed(seed, step) for seed in (0, 1, 1 << 22, 20261128, 2**32 - 1) for step in range(50)}) == 250
    with pytest.raises(ValueError, match="seed"):
        recipe(seed=2**32)


def test_training_learns_a_known_mapping(splits: dict[str, Source], tmp_path: Path) -> None:
    losses: list[float] = []
    long = recipe(
        steps=(60, 1),
        augmentation=dict.fromkeys(Augmentation.model_fields, 0),
        optimiser={"lr": 0.01, "warmup": 5},
        validate_every=1000,
    )
    train(long, splits, tmp_path, hardware=Hardware(workers=0), progress=lambda progress: losses.append(progress.loss))
    assert sum(losses[50:60]) < 0.5 * sum(losses[:10])


@pytest.mark.parametrize("model", ["flow", "ncsn", "ddpm", "cgan"])
def test_residual_models_carry_the_direct_network_they_refine(
    splits: dict[str, Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    from napari_mrtrans.scan.contrasts import Pair

    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(tmp_path))
    pairs = [Pair.parse("T1->T2"), Pair.parse("T2->T1")]
    mean = tiny_checkpoint(tmp_path / "tiny-mean.safetensors", "direct", pairs=pairs)
    chosen = recipe(model, mean_checkpoint="tiny-mean")
    path = train(chosen, splits, tmp_path / "out", hardware=Hardware(workers=0))
    trained = weights(path)
    for name, value in mean.build().net.state_dict().items():  # type: ignore[union-attr]
        torch.testing.assert_close(trained[f"mean_net.{name}"], value, rtol=0, atol=0)
    assert 0.01 < read_checkpoint(path).card.options["residual_std"] < 2
    with pytest.raises(RecipeError, match="is no Direct model"):
        train(recipe(model, mean_checkpoint=str(path)), splits, tmp_path / "again", hardware=Hardware(workers=0))
    seeing = recipe(model, mean_checkpoint="tiny-mean")
    seeing = seeing.model_copy(update={"options": {**seeing.options, "neighbours_mm": 3.0}})
    with pytest.raises(RecipeError, match=r"sees neighbours at 0 mm, the recipe at 3; set options\.neighbours_mm"):
        train(seeing, splits, tmp_path / "seeing", hardware=Hardware(workers=0))


def test_the_critic_can_learn_at_a_rate_of_its_own(
    splits: dict[str, Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = []

    def learn(self: Opponent, *args: object) -> float:
        rates.append([group["lr"] for group in self.optimiser.param_groups])
        return 0.0

    monkeypatch.setattr(Opponent, "learn", learn)
    for name, optimiser in (("own", {"lr": 0.5, "critic_lr": 0.25}), ("same", {"lr": 0.5})):
        chosen = recipe("cgan", (1, 1), optimiser={**optimiser, "warmup": 1, "schedule": "constant"})
        train(chosen, splits, tmp_path / name, hardware=Hardware(workers=0))
    assert rates == [[0.25], [0.25], [0.5], [0.5]]


def test_one_pair_of_a_network_that_knows_several(splits: dict[str, Source], tmp_path: Path) -> None:
    parent = tiny_checkpoint(tmp_path / "several.safetensors", "direct")
    chosen = recipe(pairs=["T1->FLAIR"], start_from=str(parent.path), options={"network": TINY}, steps=(1, 1))
    made = read_checkpoint(train(chosen, splits, tmp_path / "one", hardware=Hardware(workers=0)))
    assert [str(pair) for pair in made.pairs] == ["T1→FLAIR"]
    assert made.card.options["conditional"]
    assert made.build().state_dict().keys() == parent.build().state_dict().keys()


@pytest.mark.parametrize(
    ("model", "widths", "first"),
    [
        ("flow", [8, 16], "Unexpected key(s) in state_dict: "),
        ("direct", [8, 24], "size mismatch for "),
    ],
)
def test_a_parent_of_another_network_says_what_to_do(
    model: str, widths: list[int], first: str, splits: dict[str, Source], tmp_path: Path
) -> None:
    """And of torch's complaints the first one, not cut within a word."""
    parent = tiny_checkpoint(tmp_path / "parent.safetensors", model)
    with pytest.raises(RecipeError) as caught:
        chosen = recipe(start_from=str(parent.path), options={"network": {**TINY, "widths": widths}})
        train(chosen, splits, tmp_path / "one", hardware=Hardware(workers=0))
    line = str(caught.value)
    assert line.startswith(f"start_from: 'parent' is another network than the recipe's ({first}") and "\n" not in line
    assert "Error(s) in loading" not in line
    assert line.endswith(f"); give the recipe its model ({model}) and options, or start from another.")


def test_a_parent_that_knows_who_is_kept_out_is_named(splits: dict[str, Source], tmp_path: Path) -> None:
    """Else the card would call people unseen from whom its weights began, at this visit or another."""
    once = splits["validation"]
    visits = (replace(session, session="ses-2") for session in once.sessions if isinstance(session, Session))
    again = replace(once, sessions=tuple(visits))
    parents = {
        name: train(
            recipe(name=name, steps=(1, 1)), {**splits, "train": people}, tmp_path / name, hardware=Hardware(workers=0)
        )
        for name, people in (("same", splits["train"]), ("other", once), ("visit", again))
    }
    for name, expected in (("same", 0), ("other", 1), ("visit", 1)):
        told: list[str] = []
        chosen = recipe(name="child", steps=(1, 1), start_from=str(parents[name]))
        path = train(chosen, splits, tmp_path / f"of-{name}", say=told.append, hardware=Hardware(workers=0))
        notes = [note for note in read_checkpoint(path).card.notes if "was trained on sub-01, kept out" in note]
        assert len(notes) == expected
        assert [line for line in told if "kept out" in line] == notes


def test_a_card_knows_whom_and_what_its_parents_learned_from(splits: dict[str, Source], tmp_path: Path) -> None:
    """Trained on in turn: on sub-01 first, which is kept out ever since."""
    nothing = Hardware(workers=0)
    source = {"name": "A hospital", "licence": "CC0", "citation": "nobody"}
    data = {"test": ["sub-00"], "validation": ["sub-01"], "sources": [source]}
    first = train(
        recipe(name="first", steps=(1, 1), data=data),
        {**splits, "train": splits["validation"]},
        tmp_path,
        hardware=nothing,
    )
    second = train(recipe(name="second", steps=(1, 1), start_from=str(first)), splits, tmp_path, hardware=nothing)
    third = train(recipe(name="third", steps=(1, 1), start_from=str(second)), splits, tmp_path, hardware=nothing)
    assert "seen_before" not in read_header(first)[1][CARD_KEY]
    for path in (second, third):
        card = read_checkpoint(path).card
        assert card.seen_before == ["sub-01"] and "sub-01" in card.seen
        assert [one.name for one in card.data] == ["A hospital"]
        assert any("was trained on sub-01, kept out here" in note for note in card.notes)
    pool = make_pool("both", [tiny_checkpoint(tmp_path / "a.safetensors", splits={"validation": ["sub-01"]}),
                              tiny_checkpoint(tmp_path / "b.safetensors", splits={"validation": ["sub-01"]},
                                              seen_before=["sub-01"], seed=1)], tmp_path / "pool")  # fmt: skip
    assert pool.card.splits["validation"] == [] and pool.card.seen_before == ["sub-01"]


def test_a_card_calls_people_of_a_parent_s_folder_by_it(splits: dict[str, Source], tmp_path: Path) -> None:
    """Each site has a sub-01."""
    parent = tiny_checkpoint(
        tmp_path / "parent.safetensors", "direct", folder="ixi",
        seen_before=["sub-07", "sub-phantom0x0002", "oasis/sub-01"],
        splits={"train": ["sub-00", "sub-02", "sub-phantom0x0001"]}
    ).card  # fmt: skip
    start = SimpleNamespace(parents=[parent], options={}, before=None, notes=())
    for folder, before in (
        ("lab", ["ixi/sub-00", "ixi/sub-02", "sub-phantom0x0001", "ixi/sub-07", "sub-phantom0x0002", "oasis/sub-01"]),
        ("ixi", ["sub-00", "sub-phantom0x0001", "sub-07", "sub-phantom0x0002", "oasis/sub-01"]),
    ):
        chosen = recipe(data={"folders": [folder]})
        card = make_card(chosen, start, splits, 1, {}, Training(), {})  # type: ignore[arg-type]
        assert (card.folder, card.seen_before) == (folder, before)


def test_a_card_knows_whom_its_parents_were_adapted_to(splits: dict[str, Source], tmp_path: Path) -> None:
    """They have no names, and so may be among those kept out."""
    told = Adapted(parent="flow", parent_sha256="", lineage=["flow"], site="Lab", people=2, sessions=2, minutes=1.0)
    parent = tiny_checkpoint(tmp_path / "lab.safetensors", "direct", adapted=told, splits={"train": ["x/sub-77"]})
    data = {"test": ["sub-00"], "validation": ["sub-01"], "folders": ["./raw//site/"]}
    for name, start in (("child", parent.path), ("grandchild", tmp_path / "child.safetensors")):
        said: list[str] = []
        chosen = recipe(name=name, steps=(1, 1), start_from=str(start), data=data, options={"network": TINY})
        card = read_checkpoint(train(chosen, splits, tmp_path, say=said.append, hardware=Hardware(workers=0))).card
        assert card.adapted is None and [(one.people, one.site) for one in card.unnamed] == [(2, "Lab")]
        (line,) = [line for line in said if "adapted to 2 people of 'Lab', whom its card does not name" in line]
        assert line in card.notes
        assert card.folder == "raw/site"


def test_whole_heads_and_a_mean_of_other_frames_are_told(tmp_path: Path) -> None:
    root = bids_folder(tmp_path / "data", 3, (40, 48, 20))
    for file in root.rglob("*.nii.gz"):
        image = nib.load(file)
        noise = np.random.default_rng(0).rayleigh(4.0, image.shape)
        save_nifti(file, np.asarray(image.dataobj) + noise.astype(np.float32), image.affine)
    mean = tiny_checkpoint(tmp_path / "mean.safetensors", "direct", framing={"rows": 48, "columns": 64})
    chosen = recipe("flow", (1, 1), mean_checkpoint=str(mean.path))
    told: list[str] = []
    path = train(
        chosen,
        open_splits(chosen, root, tmp_path / "cache")[0],
        tmp_path,
        say=told.append,
        hardware=Hardware(workers=0),
    )
    expected = (
        "sub-02 looks like a whole head.",
        "mean was trained in frames of 48 x 64, and answers worse in those of 128 x 128; set data.framing",
    )
    for line in expected:
        assert any(said.startswith(line) for said in told)
        assert any(note.startswith(line) for note in read_checkpoint(path).card.notes)


@pytest.mark.parametrize("asked", ["bf16", "float32"])
def test_networks_learn_in_the_recipes_number_format(
    splits: dict[str, Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    """Also the losses of a generator, which are not Fabric's forward(); a critic is exact always."""
    seen: set[tuple[str, torch.dtype]] = set()
    for part in ("net", "critic"):
        module = ResBlock if part == "net" else Critic
        forward = module.forward

        def watched(
            self: torch.nn.Module, *args: object, part: str = part, forward: Any = forward, **more: object
        ) -> Any:
            answer = forward(self, *args, **more)
            if self.training:
                seen.add((part, answer.dtype))
            return answer

        monkeypatch.setattr(module, "forward", watched)
    train(recipe("cgan", (1, 1), precision=asked), splits, tmp_path, hardware=Hardware(workers=0))
    expected = torch.bfloat16 if asked == "bf16" else torch.float32
    assert seen == {("net", expected), ("critic", torch.float32)}


def test_restyled_targets_need_the_effects_of_the_same_sessions(
    splits: dict[str, Source],
    unstyled_and_styled: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(tmp_path))
    plain, effects = unstyled_and_styled
    other = {**splits, "train": splits["validation"]}
    for mean, where, problem in ((plain, splits, "without session_effects"), (effects, other, "on other sessions")):
        with pytest.raises(RecipeError, match=f"restyle: .* trained {problem}"):
            train(
                recipe("flow", mean_checkpoint=str(mean), restyle=True),
                where,
                tmp_path / "no",
                hardware=Hardware(workers=0),
            )
    chosen = recipe("flow", mean_checkpoint=str(effects), restyle=True)
    whole = weights(train(chosen, splits, tmp_path / "whole", hardware=Hardware(workers=0)))
    train(chosen, splits, tmp_path / "halved", hardware=Hardware(workers=0), max_minutes=0)
    resumed = weights(train(chosen, splits, tmp_path / "halved", hardware=Hardware(workers=0), resume=True))
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=0)


def test_counts_of_batches_stay_whole_numbers_in_average_and_checkpoint(
    splits: dict[str, Source], tmp_path: Path
) -> None:
    """Batch normalisation counts its updates: two a step, of critic and generator."""
    found = weights(train(recipe("resvit"), splits, tmp_path, hardware=Hardware(workers=0)))
    counts = [value for name, value in found.items() if name.endswith("num_batches_tracked")]
    assert counts
    assert all(value.dtype == torch.int64 and int(value) == 16 for value in counts)


def test_restyling_needs_someones_effects() -> None:
    with pytest.raises(ValueError, match="restyle needs a mean_checkpoint"):
        recipe("flow", restyle=True)
    with pytest.raises(ValueError, match="restyle_from is for a model with neither"):
        recipe("flow", mean_checkpoint="some", restyle_from="some")
    with pytest.raises(ValueError, match="restyle_from is for a model with neither"):
        recipe("direct", session_effects=True, restyle_from="some")
    with pytest.raises(ValueError, match="restyle_strength needs restyle or restyle_from"):
        recipe("cgan", restyle_strength=0.5)


def test_a_model_without_a_mean_takes_the_effects_of_another(
    splits: dict[str, Source],
    unstyled_and_styled: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its targets change, and nothing else: the weights of the other do not get into it."""
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(tmp_path))
    plain, effects = unstyled_and_styled
    with pytest.raises(RecipeError, match="restyle: 'plain' was trained without session_effects"):
        prepare_start(recipe("cgan", restyle_from=str(plain)), splits["train"], print)
    start = prepare_start(recipe("cgan", restyle_from=str(effects)), splits["train"], print)
    average = prepare_start(recipe("cgan", restyle_from=str(effects), restyle_strength=0.0), splits["train"], print)
    assert start.restyle is not None and bool(start.restyle.spread.any())
    assert average.restyle is not None and not bool(average.restyle.spread.any())
    usual = prepare_start(recipe("cgan"), splits["train"], print)
    assert usual.restyle is None
    assert start.options == usual.options
    assert start.model.state_dict().keys() == usual.model.state_dict().keys()
    made = train(recipe("cgan", restyle_from=str(effects)), splits, tmp_path / "own", hardware=Hardware(workers=0))
    other = train(recipe("cgan"), splits, tmp_path / "usual", hardware=Hardware(workers=0))
    assert any(not torch.equal(weights(made)[name], value) for name, value in weights(other).items())


def test_a_finished_checkpoint_is_not_overwritten(splits: dict[str, Source], tmp_path: Path) -> None:
    first = recipe("direct")
    path = train(first, splits, tmp_path, hardware=Hardware(workers=0))
    before = path.read_bytes()
    other = first.model_copy(update={"seed": 7})
    with pytest.raises(RecipeError, match="is there already; choose another folder, or delete it"):
        train(other, splits, tmp_path, hardware=Hardware(workers=0))
    with pytest.raises(RecipeError, match="has been trained by another recipe, or other --set; choose another folder"):
        train(other, splits, tmp_path, hardware=Hardware(workers=0), resume=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("model", ["direct", "ddpm", "cgan", "resvit"])
def test_one_contrast_is_learned_and_the_pairs_without_it_stay(
    splits: dict[str, Source], tmp_path: Path, model: str
) -> None:
    pairs = ["T1->T2", "T2->T1", "T1->FLAIR", "FLAIR->T1"]
    effects = {"session_effects": True} if model == "direct" else {}
    changes: dict[str, object] = {"pairs": pairs, "ema": 0.5, **effects}
    parent = train(recipe(model, name="parent", **changes), splits, tmp_path, hardware=Hardware(workers=0))
    changes |= {"start_from": str(parent), "only_contrast": "FLAIR", "optimiser": {"lr": 0.1, "warmup": 1}}
    child = train(recipe(model, name="child", **changes), splits, tmp_path / "child", hardware=Hardware(workers=0))
    before, after = weights(parent), weights(child)
    index = contrast_index(Contrast.FLAIR)
    for name, value in before.items():
        others = value.clone()
        now = after[name].clone()
        if name in ("net.source.weight", "net.target.weight", "net.decode.7.weight", "net.decode.7.bias"):
            assert (now[index] != others[index]).any()
            now[index] = others[index]
        if name == "effects":
            assert (now[:, index] != others[:, index]).any()
            now[:, index] = others[:, index]
        assert torch.equal(now, others), name
    assert [pair.key for pair in read_checkpoint(child).pairs] == pairs


def test_one_contrast_alone_needs_weights_of_its_own(splits: dict[str, Source], tmp_path: Path) -> None:
    one = {"pairs": ["T1->T2"], "steps": (1, 1)}
    parent = train(recipe(name="parent", **one), splits, tmp_path, hardware=Hardware(workers=0))
    chosen = recipe(name="child", start_from=str(parent), only_contrast="T2", **one)
    with pytest.raises(RecipeError, match="no weights for one contrast alone; leave the key out"):
        train(chosen, splits, tmp_path / "child", hardware=Hardware(workers=0))
    with pytest.raises(ValueError, match="only_contrast needs a start_from"):
        recipe(only_contrast="T2")
    with pytest.raises(ValueError, match="a pair that the contrast is in"):
        recipe(start_from=str(parent), only_contrast="PD")


def test_one_contrast_of_a_model_around_a_mean_keeps_its_scale(
    splits: dict[str, Source], unstyled_and_styled: tuple[Path, Path], tmp_path: Path
) -> None:
    mean = str(unstyled_and_styled[0])
    parent = train(recipe("flow", name="parent", mean_checkpoint=mean), splits, tmp_path, hardware=Hardware(workers=0))
    chosen = recipe("flow", name="child", mean_checkpoint=mean, start_from=str(parent), only_contrast="T2", seed=9)
    child = train(chosen, splits, tmp_path / "child", hardware=Hardware(workers=0))
    kept, given = (read_checkpoint(path).card.options["residual_std"] for path in (child, parent))
    assert kept == given
