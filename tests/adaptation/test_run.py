"""Adapting tiny networks to tiny heads: what comes of it, what is refused, and what survives being stopped."""

from __future__ import annotations

import errno
import itertools
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

import napari_mrtrans as mt
from helpers import PAIRS, RAS, SMALL_FRAME, TINY, bids_folder, head, save_nifti, tiny_checkpoint, tiny_model
from napari_mrtrans.adaptation import run as adapting
from napari_mrtrans.adaptation import site as site_module
from napari_mrtrans.adaptation import tune, work
from napari_mrtrans.adaptation.plan import Plan
from napari_mrtrans.asked import settings as asked
from napari_mrtrans.asked.place import WORK
from napari_mrtrans.asked.settings import Progress
from napari_mrtrans.checkpoints.calibration import Calibration
from napari_mrtrans.checkpoints.card import Adapted, Card, Grid, Intensity, SamplerDefaults
from napari_mrtrans.checkpoints.checkpoint import Checkpoint, read_checkpoint, write_calibration, write_checkpoint
from napari_mrtrans.checkpoints.correction import SpreadCorrection
from napari_mrtrans.datasets.sessions import RawSession
from napari_mrtrans.errors import MrtransError
from napari_mrtrans.models import Direct
from napari_mrtrans.prepare.pipeline import Options
from napari_mrtrans.scan.contrasts import Contrast, Pair
from napari_mrtrans.scan.intensity import HEADROOM

T1_T2 = (Pair.parse("T1->T2"),)
#: Minutes in which a tiny network learns a little.
SHORT = 0.03
SHAPE = (40, 48, 30)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bids_folder(tmp_path_factory.mktemp("site"), 3, SHAPE)


class Clock:
    """Every look at it takes as long."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 0.05
        return self.now


@pytest.fixture(autouse=True)
def no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many steps and figures on a slow machine as on a fast one."""
    monkeypatch.setattr(tune, "time", Clock())
    monkeypatch.setattr(work, "MOST_JUDGED", work.FEWEST_JUDGED)


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(tmp_path / "user"))
    return tmp_path / "user"


def parent_on_a_mean(path: Path) -> Checkpoint:
    model, options = tiny_model("flow", mean_network=TINY)
    card = Card(
        name=path.stem, model="flow", options=options, pairs=PAIRS, grid=Grid(), framing=SMALL_FRAME,
        intensity=Intensity(headroom=HEADROOM), sampler=SamplerDefaults(steps=2, n=4),
        notes=["PD: trained on simulated contrast", "Trained on nobody."], splits={"train": ["sub-x"]},
    )  # fmt: skip
    return read_checkpoint(write_checkpoint(path, model, card))


def alone(site: Path, tmp_path: Path) -> Path:
    """One subject of a site."""
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "sub-00").symlink_to(site / "sub-00", target_is_directory=True)
    return tmp_path / "one"


def test_mean_and_sampler_are_adapted_and_installed(
    site: Path, user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = itertools.count(100, -1)
    monkeypatch.setattr(tune.HeldOut, "error", lambda self, model: float(next(errors)))  # ever better
    parent = parent_on_a_mean(tmp_path / "old.safetensors")
    write_calibration(
        parent, Calibration(card=parent.card_digest, spread={"T1->T2": SpreadCorrection(floor=0.1, factor=1)}), tmp_path
    )
    told: list[Progress] = []
    said: list[str] = []
    made = mt.adapt(
        parent, site / "sub-00", minutes=SHORT, name="Lab", pairs=T1_T2, out=tmp_path / "out", keep=True,
        progress=told.append, say=said.append,
    )  # fmt: skip
    assert made.path == user / "Lab-flow.safetensors"
    assert mt.load_checkpoint("Lab-flow").pairs == [*T1_T2]
    before, after = parent.build().state_dict(), made.build().state_dict()
    assert before.keys() == after.keys()
    for part in ("net.", "mean_net."):
        assert any(not torch.equal(before[k], after[k]) for k in before if k.startswith(part)), part
    card = made.card
    assert card.adapted is not None
    assert (card.adapted.lineage, card.adapted.people, card.adapted.site) == (["old"], 1, "Lab")
    assert "proves less" in card.adapted.judged_on
    assert card.notes == ["Trained on nobody."]  # the other was about PD
    assert "sub-00" not in card.model_dump_json()
    assert made.calibration is not None
    assert made.calibration.spread["T1->T2"].floor == 0.1  # two slices are too few to fit another
    assert any("the parent's correction is kept" in line for line in said)
    assert told[0].phase == "training: mean" and told[-1].phase == "figures"
    shares = [p.done for p in told]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1)
    shown = next(p.preview for p in told if p.preview is not None)
    assert shown.before.shape == shown.now.shape == shown.target.shape
    assert next(p.curve for p in told if p.curve)[0] == (0.0, 1.0)
    out = tmp_path / "out"
    assert {"report.html", "figures.json", "pictures.png", "Lab-flow.safetensors"} <= {p.name for p in out.iterdir()}
    assert not (out / WORK).exists()
    assert "before" in (out / "report.html").read_text(encoding="utf-8")


def test_adapting_learns_in_bfloat16_where_that_is_fast(
    site: Path, user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune, "precision", lambda *_: "bf16-mixed")
    enabled: list[bool] = []
    loss = Direct.loss

    def watched(self: Direct, *args: object) -> torch.Tensor:
        enabled.append(torch.is_autocast_enabled("cpu"))
        return loss(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Direct, "loss", watched)
    parent = tiny_checkpoint(tmp_path / "old.safetensors", "direct", sampler=SamplerDefaults(steps=2, n=2))
    mt.adapt(parent, site / "sub-00", minutes=SHORT, out=tmp_path / "out", pairs=T1_T2, install=False)
    assert enabled and all(enabled)


def test_people_are_left_out_where_there_are_three(site: Path, user: Path, tmp_path: Path) -> None:
    parent = tiny_checkpoint(tmp_path / "old.safetensors", "direct", sampler=SamplerDefaults(steps=2, n=2))
    names: list[str] = []
    made = mt.adapt(
        parent, site, minutes=SHORT, out=tmp_path / "out", pairs=T1_T2, install=False,
        progress=lambda p: names.append(p.phase),
    )  # fmt: skip
    phases = list(dict.fromkeys(names))
    assert (
        re.fullmatch(r"without person \d of 3", phases[0])
        and phases[1] == f"{phases[0]}: figures"
        and phases[2] == "training on everybody"
    )
    assert made.card.adapted is not None and made.card.adapted.judged_on == "1 person left out in turn"
    figures = json.loads((tmp_path / "out" / "figures.json").read_text())
    (line,) = figures["pairs"]
    assert line["people"] == 1
    assert made.card.adapted.gain_db == pytest.approx(line["psnr"][1] - line["psnr"][0], abs=1e-3)
    assert made.path.parent == tmp_path / "out"
    # Another adaptation may start from this one.
    again = mt.adapt(made, site, minutes=SHORT, out=tmp_path / "second", pairs=T1_T2, name="next", install=False)
    assert again.card.adapted is not None and again.card.adapted.lineage == ["old", "my-scanner-direct"]


@pytest.mark.parametrize("family", ["cgan", "ncsn", "ddpm", "resvit"])
def test_other_families_and_a_pair_the_parent_never_saw(family: str, site: Path, user: Path, tmp_path: Path) -> None:
    parent = tiny_checkpoint(
        tmp_path / "old.safetensors", family, pairs=[Pair.parse("T2->T1"), Pair.parse("T2->FLAIR")]
    )
    made = mt.adapt(parent, alone(site, tmp_path), minutes=0.01, pairs=T1_T2, out=tmp_path / "out", install=False)
    assert made.pairs == [*T1_T2]
    assert made.card.model == family
    made.build()


def test_the_parents_weights_are_kept_where_nothing_is_better(
    site: Path, user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter([1.0, *([2.0] * 100)])
    monkeypatch.setattr(tune.HeldOut, "error", lambda self, model: next(values))
    parent = tiny_checkpoint(tmp_path / "old.safetensors", "direct")
    said: list[str] = []
    found, _ = adapting.find_sessions(alone(site, tmp_path))
    outcome = adapting.adapt_sessions(
        parent, found, tmp_path / "out", asked.Settings(minutes=0.01, pairs=T1_T2), asked.Hooks(say=said.append)
    )
    assert (outcome.better, outcome.installed) == (False, False)
    assert "not better than 'old'" in outcome.lines[-1] and "--keep" in outcome.lines[-1]
    assert not list(user.glob("*")) if user.exists() else True
    for name, value in parent.build().state_dict().items():
        torch.testing.assert_close(outcome.checkpoint.build().state_dict()[name], value, rtol=0, atol=0)


def test_nothing_is_better_without_any_of_three_people(
    site: Path, user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then there is nothing to train for, and the answer is the same."""
    seen: set[int] = set()

    def worse(held: tune.HeldOut, model: object) -> float:
        first = id(held) not in seen
        seen.add(id(held))
        return 1.0 if first else 2.0

    monkeypatch.setattr(tune.HeldOut, "error", worse)
    parent = tiny_checkpoint(tmp_path / "old.safetensors", "direct")
    found, _ = adapting.find_sessions(site)
    outcome = adapting.adapt_sessions(
        parent, found, tmp_path / "out", asked.Settings(minutes=SHORT, pairs=T1_T2), asked.Hooks()
    )
    assert not outcome.better and "not better than 'old'" in outcome.lines[-1]


def adapted_where(
    errors: dict[int, list[float]], site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Checkpoint, adapting.Outcome]:
    """Three people left out in turn; held-out errors of each run (3: on everybody), the last one again and again."""
    runs: list[tune.HeldOut] = []
    asked_before: list[int] = []

    def error(held: tune.HeldOut, model: object) -> float:
        if not any(held is known for known in runs):
            runs.append(held)
            asked_before.append(0)
        number = next(i for i, known in enumerate(runs) if known is held)
        asked_before[number] += 1
        return errors[number][min(asked_before[number], len(errors[number])) - 1]

    monkeypatch.setattr(tune.HeldOut, "error", error)
    plan = Plan(2.4, (0, 1, 2), 0.4, 0.8, 0.1)
    monkeypatch.setattr(Plan, "of", classmethod(lambda cls, *_: plan))
    parent = tiny_checkpoint(tmp_path / "old.safetensors", "direct")
    found, _ = adapting.find_sessions(site)
    settings = asked.Settings(minutes=SHORT, pairs=T1_T2)
    return parent, adapting.adapt_sessions(parent, found, tmp_path / "out", settings, asked.Hooks())


def test_one_person_whom_nothing_helps_does_not_take_the_time_from_everybody(
    site: Path, user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    better = [1.0, *(0.9 - 0.01 * k for k in range(50))]
    parent, outcome = adapted_where({0: better, 1: [1.0, 2.0], 2: better, 3: better}, site, tmp_path, monkeypatch)
    old, new = parent.build().state_dict(), outcome.checkpoint.build().state_dict()
    assert any(not torch.equal(old[name], value) for name, value in new.items())


def test_what_people_left_out_gained_is_not_said_of_a_network_that_is_its_parent(
    site: Path, user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    better = [1.0, *(0.9 - 0.01 * k for k in range(50))]
    _, outcome = adapted_where({0: better, 1: better, 2: better, 3: [1.0, 2.0]}, site, tmp_path, monkeypatch)
    adapted = outcome.checkpoint.card.adapted
    assert (outcome.better, outcome.installed) == (False, False)
    assert adapted is not None and adapted.gain_db == 0 and all(line.gain == 0 for line in outcome.table)
    assert any("as it was" in line for line in outcome.lines)


@pytest.mark.parametrize(("family", "pair"), [("flow", "T1->T2"), ("direct", "T2->T1"), ("cgan", "T2->T1")])
def test_a_contrast_of_a_part_of_the_head_judges_that_part(
    family: str, pair: str, user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "FEWEST_JUDGED", 8)
    monkeypatch.setattr(work, "MOST_JUDGED", 8)
    root = bids_folder(tmp_path / "site", 3, SHAPE)
    for file in root.rglob("*_T2w.nii.gz"):
        image = nib.load(file)
        cut = image.get_fdata(dtype=np.float32)
        cut[..., :14] = 0
        nib.Nifti1Image(cut, image.affine).to_filename(file)
    parent = tiny_checkpoint(tmp_path / "old.safetensors", family, sampler=SamplerDefaults(steps=2, n=2))
    made = mt.adapt(parent, root, minutes=SHORT, out=tmp_path / "out", pairs=(Pair.parse(pair),), install=False)
    assert made.card.adapted is not None and np.isfinite(made.card.adapted.gain_db)


def test_it_goes_back_to_where_it_was_best_and_learns_more_slowly(
    site: Path, user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter([1.0, 0.9, *([2.0] * tune.PATIENCE), 0.8, *([2.0] * 100)])
    monkeypatch.setattr(tune.HeldOut, "error", lambda self, model: next(values))
    seen: list[tuple[int, bool, bool, float]] = []
    back, learn = tune._Run._go_back, tune._Run._learn

    def watched_back(run: tune._Run) -> None:
        best, net = load_file(run.folder / tune.BEST), run.model.get_submodule("net")
        away = all(torch.equal(value, best[name]) for name, value in net.state_dict().items())
        rate = run.optimiser.param_groups[0]["lr"]
        back(run)
        here = all(torch.equal(value, best[name]) for name, value in net.state_dict().items())
        seen.append((len(run.curve) - 1, away, here, rate))

    def watched_learn(run: tune._Run, batch: object) -> None:
        learn(run, batch)
        rates.append(run.optimiser.param_groups[0]["lr"])

    rates: list[float] = []
    monkeypatch.setattr(tune, "LOOKS", 20)
    monkeypatch.setattr(tune._Run, "_go_back", watched_back)
    monkeypatch.setattr(tune._Run, "_learn", watched_learn)
    parent = tiny_checkpoint(tmp_path / "old.safetensors", "direct")
    made = mt.adapt(
        parent, alone(site, tmp_path), minutes=0.2, pairs=T1_T2, out=tmp_path / "out", install=False, keep=True
    )
    assert made.card.adapted is not None
    assert [turn[:3] for turn in seen] == [(1 + tune.PATIENCE, False, True), (2 + 2 * tune.PATIENCE, False, True)]
    after = rates[rates.index(seen[0][3]) + 1]
    assert after < 0.5 * seen[0][3]


class Killed(BaseException):
    pass


def test_killed_it_goes_on(site: Path, user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "SAVED_EVERY", 0.0)
    parent = tiny_checkpoint(tmp_path / "old.safetensors", "direct")
    one, out = alone(site, tmp_path), tmp_path / "out"

    def halt(progress: Progress) -> None:
        if progress.done > 0.3:
            raise Killed

    common = {"minutes": SHORT, "pairs": T1_T2, "out": out, "name": "Lab", "install": False}
    with pytest.raises(Killed):
        mt.adapt(parent, one, progress=halt, **common)
    assert (out / WORK / "training-model" / "state.safetensors").exists()
    assert not (out / "Lab-direct.safetensors").exists()
    first: list[Progress] = []
    made = mt.adapt(parent, one, progress=first.append, **common)
    assert first[0].done > 0.2  # not from the beginning
    said: list[float] = []
    assert mt.adapt(parent, one, progress=lambda p: said.append(p.done), **common).sha256 == made.sha256
    assert not said  # done before
    with pytest.raises(MrtransError, match="of other scans or with other settings; choose another folder"):
        mt.adapt(parent, one, **{**common, "minutes": 1.0})


def test_left_it_saves_at_once_and_goes_on(site: Path, user: Path, tmp_path: Path) -> None:
    parent = tiny_checkpoint(tmp_path / "old.safetensors", "direct")
    one, out, told = alone(site, tmp_path), tmp_path / "out", list[Progress]()
    found, _ = adapting.find_sessions(one)
    wanted = asked.Settings(minutes=SHORT, pairs=T1_T2, install=False)
    leaving = asked.Hooks(told.append, leave=lambda: len(told) > 4)
    with pytest.raises(MrtransError, match=r"Left; the same command goes on where it was\."):
        adapting.adapt_sessions(parent, found, out, wanted, leaving)
    assert (out / WORK / "training-model" / "state.safetensors").exists()
    last, again = told[-1].done, list[Progress]()
    outcome = adapting.adapt_sessions(parent, found, out, wanted, asked.Hooks(again.append, previews=False))
    assert again[0].done >= last
    assert told[0].preview is not None and all(progress.preview is None for progress in again)
    # What was made is told again as it was then.
    second = adapting.adapt_sessions(parent, found, out, wanted, asked.Hooks())
    assert (second.table, second.better, second.warnings) == (outcome.table, outcome.better, outcome.warnings)
    assert "nothing to do" in second.lines[0]


def test_what_was_before_is_the_parents_answer_for_each_of_its_networks(
    site: Path, user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = itertools.count(100, -1)
    monkeypatch.setattr(tune.HeldOut, "error", lambda self, model: float(next(errors)))  # the mean becomes another
    parent, told = parent_on_a_mean(tmp_path / "old.safetensors"), list[Progress]()
    mt.adapt(
        parent, alone(site, tmp_path), minutes=SHORT, pairs=T1_T2, out=tmp_path / "out", install=False,
        progress=told.append,
    )  # fmt: skip
    shown = [p.preview for p in told if p.phase == "training: samples" and p.preview is not None]
    assert len({one.before.tobytes() for one in shown}) == 1
    assert np.abs(shown[0].now - shown[0].before).max() > 1e-4  # for the mean that it leans on has learned


def test_cancel_keeps_the_best_so_far(site: Path, user: Path, tmp_path: Path) -> None:
    parent = tiny_checkpoint(tmp_path / "old.safetensors", "direct")
    steps = 0

    def count(progress: Progress) -> None:
        nonlocal steps
        steps += 1

    made = mt.adapt(
        parent, alone(site, tmp_path), minutes=60, pairs=T1_T2, out=tmp_path / "out", install=False,
        progress=count, cancel=lambda: steps > 5,
    )  # fmt: skip
    assert made.card.adapted is not None and made.card.adapted.minutes < 1
    assert made.card.steps <= 6


def _mixed(root: Path) -> None:
    anat = root / "sub-00" / "anat"
    (anat / "sub-00_T2w.nii.gz").rename(anat / "sub-07_T2w.nii.gz")


def _one_contrast(root: Path) -> None:
    for name in ("T2w", "FLAIR"):
        (root / "sub-00" / "anat" / f"sub-00_{name}.nii.gz").unlink()


def _other_grid(root: Path) -> None:
    save_nifti(root / "sub-00" / "anat" / "sub-00_T2w.nii.gz", head((40, 48, 30), 3), np.diag([1.0, 1.0, 1.2, 1.0]))


def _three_slices(root: Path) -> None:
    for name in ("T1w", "T2w"):
        data = head(SHAPE, 4 if name == "T1w" else 5)
        data[:, :, :13] = data[:, :, 16:] = 0
        save_nifti(root / "sub-00" / "anat" / f"sub-00_{name}.nii.gz", data)


def _same(root: Path) -> None:
    save_nifti(root / "sub-00" / "anat" / "sub-00_T2w.nii.gz", 3 * head(SHAPE, 0), RAS)


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (_mixed, r"is of sub-\d+ and '.*' of sub-\d+; give the files of one person"),
        (_one_contrast, r"No session has both contrasts of T1→T2; there are T1\."),
        (_other_grid, "lie on different grids; run napari-mrtrans prepare first"),
        (_three_slices, "only 3 slices with enough brain; adapting needs 10 or more"),
        (_same, "T1 and T2 are the same image; give the file of each contrast"),
    ],
)
def test_bad_scans_are_refused_in_one_line(
    spoil: Callable[[Path], None], line: str, user: Path, tmp_path: Path
) -> None:
    spoil(bids_folder(tmp_path / "data", 1, SHAPE))
    parent = tiny_checkpoint(tmp_path / "old.safetensors", "direct")
    with pytest.raises(MrtransError, match=line) as caught:
        mt.adapt(parent, tmp_path / "data", minutes=1, pairs=T1_T2, out=tmp_path / "out", prepare=False)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "out").glob("*.safetensors")) and not user.exists()


@pytest.mark.parametrize("own", [False, True])
def test_contrasts_on_different_grids_are_prepared_first(
    user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    """Folders of the user's in the output folder (``own``), called as those of an adaptation, are left alone."""
    _other_grid(bids_folder(tmp_path / "data", 1, SHAPE))

    def prepare(session: RawSession, folder: Path, options: Options, *_: object) -> None:
        assert options.overwrite  # of a run that was stopped, which had other pairs and so other contrasts
        t1 = head(SHAPE)
        for contrast, data in (("T1w", t1), ("T2w", np.where(t1 > 0, 700 - t1, 0))):
            save_nifti(folder / session.folder / f"{session.stem}_desc-preproc_{contrast}.nii.gz", data)

    monkeypatch.setattr(site_module, "prepare_session", prepare)
    said: list[str] = []
    parent = tiny_checkpoint(tmp_path / "old.safetensors", "direct")
    out = tmp_path / "out"
    there = Path("prepared") / "sub-00" / "anat" / "sub-00_desc-preproc_T2w.nii.gz"
    for mine in (there, Path("work") / "notes.txt") if own else ():
        (out / mine).parent.mkdir(parents=True)
        (out / mine).write_text("precious")
    made = mt.adapt(parent, tmp_path / "data", minutes=0.01, pairs=T1_T2, out=out, install=False, say=said.append)
    assert made.pairs == [*T1_T2]
    assert "lie on different grids; preparing it first." in said[0]
    assert (out / there).exists() and not (out / WORK).exists()
    if own:
        assert (out / there).read_text() == (out / "work" / "notes.txt").read_text() == "precious"


@pytest.mark.parametrize(
    "name",
    ["report.html", "pictures.png", "figures.json", "adaptation.json", "Lab-direct.safetensors",
     "Lab-direct.calibration.json"],
)  # fmt: skip
def test_files_that_no_adaptation_has_written_are_not_replaced(
    site: Path, user: Path, tmp_path: Path, name: str
) -> None:
    parent, out = tiny_checkpoint(tmp_path / "old.safetensors", "direct"), tmp_path / "out"
    out.mkdir()
    (out / name).write_text("{}")
    with pytest.raises(MrtransError, match=f"{name}' is there, and no adaptation has written it; choose another"):
        mt.adapt(parent, site / "sub-00", minutes=SHORT, pairs=T1_T2, out=out, name="Lab", install=False)
    assert {path.name for path in out.iterdir()} <= {name, ".adapt.lock"} and (out / name).read_text() == "{}"


def test_two_at_once_and_a_full_disk(site: Path, user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent, out = tiny_checkpoint(tmp_path / "old.safetensors", "direct"), tmp_path / "out"
    common = {"minutes": 0.01, "pairs": T1_T2, "out": out}
    out.mkdir()
    with FileLock(str(out / ".adapt.lock")), pytest.raises(MrtransError, match="Another adaptation is at work in"):
        mt.adapt(parent, site / "sub-00", **common)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(MrtransError, match=r"\(No space left on device\)\. Make room; the same command then goes on"):
        mt.adapt(parent, site / "sub-00", **common)
    assert not list(out.glob("*.safetensors")) and not user.exists()


def test_names_that_are_taken_or_none_are_refused_before_the_work(site: Path, user: Path, tmp_path: Path) -> None:
    parent = tiny_checkpoint(tmp_path / "old.safetensors", "direct")
    with pytest.raises(MrtransError, match="'t1-t2-flair-direct' comes with the plugin; choose another --name"):
        mt.adapt(parent, site / "sub-00", name="t1-t2-flair", out=tmp_path / "out", pairs=T1_T2)
    with pytest.raises(MrtransError, match="cannot name a site"):
        mt.adapt(parent, site, name="../x")
    with pytest.raises(MrtransError, match="Minutes must be more than 0"):
        mt.adapt(parent, site, minutes=0)


def test_volumes_that_are_open_already(site: Path, user: Path, tmp_path: Path) -> None:
    before = Adapted(parent="x", parent_sha256="", lineage=["x"], site="before", people=4, sessions=4, minutes=1.0)
    parent = tiny_checkpoint(tmp_path / "old.safetensors", "direct", adapted=before)
    t1 = head(SHAPE)
    volumes = {Contrast.T1: mt.Volume(t1, RAS), Contrast.T2: mt.Volume(np.where(t1 > 0, 700 - t1, 0), RAS)}
    made = mt.adapt(parent, [volumes], minutes=0.01, out=tmp_path / "out", install=False)
    assert made.pairs == [Pair.parse("T1->T2"), Pair.parse("T2->T1")]
    assert [one.people for one in made.card.unnamed] == [1, 4] and made.card.unnamed[1].site == "before"
    volumes[Contrast.T2] = mt.Volume(t1[:, :, 2:], RAS)
    with pytest.raises(MrtransError, match="lie on different grids"):
        mt.adapt(parent, [volumes], minutes=0.01, out=tmp_path / "other", install=False)


def test_ended_without_one_person_the_card_counts_the_others(site: Path, user: Path, tmp_path: Path) -> None:
    """The network that is kept has not learned from the person who judged it."""
    parent = tiny_checkpoint(tmp_path / "old.safetensors", "direct")
    phases: list[str] = []
    made = mt.adapt(
        parent, site, minutes=0.5, pairs=T1_T2, out=tmp_path / "out", install=False,
        progress=lambda progress: phases.append(progress.phase), cancel=lambda: len(phases) > 2,
    )  # fmt: skip
    assert not any("everybody" in phase for phase in phases)
    adapted = made.card.adapted
    assert adapted is not None and (adapted.people, adapted.sessions) == (2, 2)
    assert made.card.data[-1].name.startswith("2 people")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Ended before it learned from everybody" in page and "2 people, 2 sessions" in page


def test_who_is_left_out_is_judged_on_what_others_have(site: Path, user: Path, tmp_path: Path) -> None:
    """One of three has a FLAIR: without this person nothing of the site's FLAIR is learned."""
    own = Path(shutil.copytree(site, tmp_path / "site"))
    for name in ("sub-01", "sub-02"):
        for file in (own / name).rglob("*FLAIR*"):
            file.unlink()
    parent = tiny_checkpoint(tmp_path / "old.safetensors", "direct", sampler=SamplerDefaults(steps=2, n=2))
    seed = next(seed for seed in range(20) if Plan.of(SHORT, 3, seed).left_out == (0,))
    mt.adapt(parent, own, minutes=SHORT, seed=seed, out=tmp_path / "out", install=False)
    figures = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert {line["pair"] for line in figures["pairs"]} == {"T1->T2", "T2->T1"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Not judged, for want of people or slices kept out that have them: T1→FLAIR, " in page


def test_those_who_are_judged_on_the_most_pairs_are_left_out_first() -> None:
    for seed in range(9):
        assert Plan.of(SHORT, 3, seed, (2, 6, 2)).left_out == (1,)
        assert Plan.of(SHORT, 3, seed, (6, 6, 6)) == Plan.of(SHORT, 3, seed)


def test_another_adaptation_of_the_same_name_has_a_folder_of_its_own(
    site: Path, user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_mrtrans.adaptation.run.adaptation_dir", lambda: tmp_path / "adaptations")
    parent = tiny_checkpoint(tmp_path / "old.safetensors", "direct")
    made = [
        mt.adapt(parent, site / name, minutes=0.01, pairs=T1_T2, install=False)
        for name in ("sub-00", "sub-01", "sub-00")
    ]
    first, second = (tmp_path / "adaptations" / f"my-scanner-direct{end}" for end in ("", "-2"))
    assert [one.path.parent for one in made] == [first, second, first]
