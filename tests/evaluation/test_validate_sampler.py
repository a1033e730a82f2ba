from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.metrics import structural_similarity

from helpers import bids_folder, save_nifti, tiny_checkpoint
from napari_mrtrans.checkpoints.card import Unnamed
from napari_mrtrans.checkpoints.checkpoint import Checkpoint
from napari_mrtrans.cli import train as cli
from napari_mrtrans.errors import MrtransError
from napari_mrtrans.evaluation import slice_spread, spread
from napari_mrtrans.evaluation.validate_report import verdict
from napari_mrtrans.evaluation.validate_sampler import Settings, thick_slices, validate_sampler
from napari_mrtrans.models.sampler_plan import SAMPLERS
from napari_mrtrans.models.samplers import log_sigmas
from napari_mrtrans.scan.contrasts import Pair

SPLITS = {"train": ["sub-00", "sub-01"], "validation": [], "test": ["sub-02", "sub-03"]}
PAIR = Pair.parse("T1->T2")
SHAPE = (48, 40)
N = 20

Image = NDArray[np.float32]


def disc() -> NDArray[np.bool_]:
    rows, columns = (np.linspace(-1, 1, size) for size in SHAPE)
    return rows[:, None] ** 2 + columns**2 < 0.9


def ramp() -> Image:
    """Standard deviations from 0.002 to 0.1, so that every bin has its voxels."""
    return np.geomspace(0.002, 0.1, SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(SHAPE)


def drawn(rng: np.random.Generator, scale: float = 1.0, n: int = N) -> Image:
    return (0.5 + scale * ramp() * rng.standard_normal((n, *SHAPE))).astype(np.float32)


def measured(
    make: Callable[[np.random.Generator], Image], slices: int = 6, n: int = N
) -> list[slice_spread.SliceSpread]:
    """Slices whose reference is spread as :func:`ramp` says, against samples of ``make``."""
    rng = np.random.default_rng(1)
    found = []
    for index in range(slices):
        target = (0.5 + 0.1 * rng.standard_normal(SHAPE)).astype(np.float32)
        sets = (drawn(rng, n=n), drawn(rng, n=n), make(rng))
        found.append(slice_spread.measure(f"volume {index // 2}", index, sets, disc(), target, disc()))
    return found


def test_an_equal_spread_stays_within_the_noise_floor() -> None:
    slices = measured(drawn)
    for found in spread.bins(slices):
        assert found.judged == (found.name != "< 0.005")
        assert 1 < found.floor < 1.1
        assert 1 / found.floor**1.5 < found.ratio < found.floor**1.5
        assert abs(found.bias) < 0.05
        # Two means of 20 samples differ by 0.21 std in the median.
        assert found.absolute_bias == pytest.approx(0.21, abs=0.03)
        assert found.itself_absolute_bias == pytest.approx(0.21, abs=0.03)
    for volume in spread.volumes(slices):
        assert volume.ratio == pytest.approx(1, abs=0.03)
    for of_fast, of_second in slices[0].coverage.T:
        assert of_fast == pytest.approx(of_second, abs=0.03)
    assert spread.spectrum_ratio(slices, 3) == pytest.approx(np.ones((2, 3)), abs=0.1)


def test_the_noise_floor_holds_what_chance_does() -> None:
    """Over many repetitions, 95 in 100 medians of F / R2 lie within it; slices that vary as a whole widen it."""
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(24), 20)

    def once(common: float) -> tuple[float, float]:
        ratios = [0.2 * rng.standard_normal(owner.size) + common * rng.standard_normal(24)[owner] for _ in range(2)]
        return spread.noise_floor(ratios[0], owner, rng), float(np.exp(abs(np.median(ratios[1]))))

    runs = np.array([[once(common) for _ in range(60)] for common in (0.0, 0.1)])
    inside = (runs[..., 1] <= runs[..., 0]).mean(axis=1)
    assert np.all(inside > 0.85)
    assert runs[1, :, 0].mean() > 1.03 > runs[0, :, 0].mean()


def test_a_spread_scaled_by_0_7_is_reported_as_0_7() -> None:
    report = spread.summary(measured(lambda rng: drawn(rng, 0.7)))
    for found in report["bins"]:
        assert found["ratio"] == pytest.approx(0.7, abs=0.02)
    assert report["spectrum"]["bands"]["value"] == pytest.approx([0.49] * 3, abs=0.06)
    assert [c["value"] < c["itself"] - 0.1 for c in report["coverage"]] == [True, True]
    assert not report["accepted"]
    failed = {c["name"]: c for c in report["criteria"] if not c["passed"]}
    assert {name for name in failed if name.startswith("median std ratio")} == {
        f"median std ratio, std {name}" for name in spread.BIN_NAMES[1:]
    }
    assert all(c["decided"] for name, c in failed.items() if "ratio" in name)


def test_blurred_samples_show_in_the_spectrum_even_at_the_right_std() -> None:
    flat = np.full(SHAPE, 0.05)

    def white(rng: np.random.Generator) -> Image:
        return (0.5 + flat * rng.standard_normal((N, *SHAPE))).astype(np.float32)

    rng = np.random.default_rng(3)
    blurred = ndimage.gaussian_filter(white(rng) - 0.5, (0, 1.5, 1.5), mode="wrap")
    sets = (white(rng), white(rng), (0.5 + blurred * 0.05 / blurred.std()).astype(np.float32))
    one = slice_spread.measure("v", 0, sets, disc(), sets[0][0], disc())
    assert one.std[2].mean() == pytest.approx(one.std[1].mean(), rel=0.05)
    low, middle, high = spread.spectrum_ratio([one], 3)[0]
    assert low > 1.5 > 0.7 > middle > high
    assert high < 0.1
    assert spread.spectrum_ratio([one], 3)[1] == pytest.approx([1, 1, 1], abs=0.1)
    assert spread.spectrum_ratio([one]).shape == (2, slice_spread.RINGS)


def test_a_shifted_mean_is_a_bias() -> None:
    slices = measured(lambda rng: drawn(rng) + np.float32(0.3) * ramp())
    assert all(found.bias == pytest.approx(0.3, abs=0.04) for found in spread.bins(slices))
    failed = [c["name"] for c in spread.summary(slices)["criteria"] if not c["passed"]]
    assert "median bias / std, worst bin" in failed


def test_euler_with_few_steps_loses_spread_that_dpm_solver_keeps() -> None:
    """The exact denoiser of independent Gaussian pixels, so that only the sampler errs; F has the noise of R2."""
    variance = torch.from_numpy(ramp() * 2) ** 2  # networks see [-1, 1]
    rng = np.random.default_rng(0)

    def sample(name: str, steps: int, start: NDArray) -> Image:
        levels = log_sigmas(steps)
        denoiser = lambda y, sigma: y * (variance / (variance + sigma.reshape(-1, 1, 1, 1) ** 2))  # noqa: E731
        out = SAMPLERS[name](denoiser, torch.from_numpy(start)[:, None] * levels[0], levels)
        return (0.5 + 0.5 * out[:, 0].numpy()).astype(np.float32)

    def compared(name: str, steps: int) -> list[spread.Bin]:
        slices = []
        for index in range(3):
            first, second = (rng.standard_normal((N, *SHAPE), dtype=np.float32) for _ in range(2))
            sets = (sample("dpm++2m", 30, first), sample("dpm++2m", 30, second), sample(name, steps, second))
            slices.append(slice_spread.measure("v", index, sets, disc(), sets[0][0], disc()))
        return spread.bins(slices)

    for lossy, same in zip(compared("euler", 3)[1:], compared("dpm++2m", 30)[1:], strict=True):
        assert lossy.ratio < 0.5
        assert same.ratio == 1
        assert same.bias == same.absolute_bias == 0
        assert same.floor > 1


def test_the_ssim_of_a_slice_is_two_dimensional() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.random(SHAPE) * disc() for _ in range(2))
    _, similarity = structural_similarity(
        a, b, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    assert slice_spread.slice_ssim(a, b, disc()) == pytest.approx(similarity[disc()].mean(), abs=1e-12)
    assert np.isnan(slice_spread.slice_ssim(a, b, np.zeros(SHAPE, bool)))


def test_rank_correlation() -> None:
    hats = np.array([[1, 1, 1], [2, 3, 3], [3, 2, 2], [4, 4, 4]], dtype=float)
    assert spread.rank_correlation(hats) == (1.0, pytest.approx(0.8))
    assert np.isnan(spread.rank_correlation(hats[:2])).all()
    assert np.isnan(spread.rank_correlation(np.ones((4, 3)))).all()


def test_too_little_to_judge_is_not_accepted() -> None:
    """One slice without any spread: every ratio is 0 / 0."""
    same = np.full((4, *SHAPE), 0.5, dtype=np.float32)
    report = spread.summary([slice_spread.measure("v", 0, (same, same, same), disc(), same[0], disc())])
    assert not report["accepted"]
    assert [c["value"] for c in report["criteria"]] == [None, None, None, None, 0]
    json.dumps(report, allow_nan=False)
    lines = verdict({**report, "checkpoint": "c", "n": 4, "fast": FAST, "reference": FAST})
    assert lines[0].startswith("FAIL")
    assert "–" in lines[0]
    assert any(line.startswith("not measured: what sigma-hat tells") for line in lines)


FAST = {"sampler": "dpm++2m", "steps": 3, "own_steps": 3}


def test_slices_are_spread_over_the_thick_part() -> None:
    inside = np.zeros((40, 10, 10), dtype=bool)
    inside[5:35, 3:5, 3:5] = True
    inside[10:30] = True
    assert thick_slices(inside, 4) == [12, 17, 22, 27]
    assert thick_slices(inside, 1) == [20]
    assert thick_slices(inside, 100) == list(range(10, 30))


# The command


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bids_folder(tmp_path_factory.mktemp("bids"), subjects=4, shape=(40, 48, 16))


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return tiny_checkpoint(tmp_path_factory.mktemp("flow") / "tiny-flow.safetensors", splits=SPLITS)


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return tiny_checkpoint(tmp_path_factory.mktemp("direct") / "tiny-direct.safetensors", "direct", splits=SPLITS)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the figure, which takes longer than all the rest of a tiny run."""
    monkeypatch.setattr(
        "napari_mrtrans.evaluation.validate_report.plot", lambda report, path: path.write_bytes(b"\x89PNG")
    )


def run(root: Path, checkpoint: Checkpoint, out: Path, **options: object) -> tuple[dict, list[str]]:
    said: list[str] = []
    few = {"pairs": [PAIR], "n": 4, "slices_per_subject": 2, "reference_steps": 3, "device": "cpu"}
    paths = validate_sampler(root, checkpoint, out, Settings(**{**few, **options}), say=said.append)
    assert [path.name for path in paths] == [f"validate-sampler.{suffix}" for suffix in ("json", "md", "png")]
    assert sorted(out.iterdir()) == sorted(paths)
    assert paths[2].read_bytes().startswith(b"\x89PNG")
    assert said[-1] in paths[1].read_text()
    return json.loads(paths[0].read_text()), said


def test_a_sampler_is_accepted_against_itself(root: Path, flow: Checkpoint, tmp_path: Path) -> None:
    report, said = run(root, flow, tmp_path / "out")
    assert report["accepted"]
    assert [c["name"] for c in report["criteria"] if not c["passed"]] == []
    assert {b["ratio"] for b in report["bins"] if b["voxels"]} == {1.0}
    assert all(b["floor"] > 1 for b in report["bins"] if b["judged"])
    assert report["rank_correlation"]["slices"]["value"] == 1
    assert report["rank_correlation"]["volumes"]["value"] is None  # two of them
    assert report["checkpoint"] == "tiny-flow"
    assert report["sha256"] == flow.sha256
    assert (report["fast"]["sampler"], report["fast"]["steps"]) == ("dpm++2m", 3)
    assert (report["reference"]["steps"], report["reference"]["own_steps"]) == (3, 200)
    assert report["fast"]["seconds_per_slice"] > 0
    assert report["subjects"] == ["sub-02", "sub-03"]
    assert [(s["volume"], s["index"]) for s in report["slices"]] == [
        (f"T1→T2 {name}", index) for name in report["subjects"] for index in (6, 10)
    ]
    assert said[-1] == "Accepted: dpm++2m, 3 steps, against dpm++2m, 3 steps instead of its 200 (tiny-flow, n = 4)."
    assert "The reference has 3 steps instead of the model's 200; it may be wrong itself." in said


@pytest.mark.usefixtures("undrawn")
def test_another_sampler_and_seed(root: Path, flow: Checkpoint, tmp_path: Path) -> None:
    options = {"sampler": "ancestral", "steps": 2, "subjects": ["sub-03"]}
    first, said = run(root, flow, tmp_path / "a", **options)
    again, _ = run(root, flow, tmp_path / "b", **options)
    other, _ = run(root, flow, tmp_path / "b", **options, seed=1)
    assert not first["accepted"]
    assert said[-1].startswith(("Not accepted: ancestral, 2 steps, against dpm++2m, 3 steps", "Where the reference"))
    assert first["slices"] == again["slices"] != other["slices"]
    assert first["subjects"] == ["sub-03"]


def test_nothing_is_left_of_files_that_cannot_be_written(
    root: Path, flow: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(report: dict, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("napari_mrtrans.evaluation.validate_report.plot", full)
    with pytest.raises(MrtransError, match=r"No space left on device\). Free some space and run it again; "):
        run(root, flow, tmp_path / "out", subjects=["sub-02"], slices_per_subject=1)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.usefixtures("undrawn")
def test_whose_scans_cannot_be_used_is_left_out_and_told(root: Path, flow: Checkpoint, tmp_path: Path) -> None:
    """The T2 of one is NaN throughout, that of the other in a few voxels."""
    data = Path(shutil.copytree(root, tmp_path / "data"))
    for name, part in (("sub-02", ...), ("sub-03", np.s_[18:21, 22:24, 8:10])):
        path = data / name / "anat" / f"{name}_T2w.nii.gz"
        image = nib.load(path)
        damaged = np.asarray(image.dataobj).copy()
        damaged[part] = np.nan
        save_nifti(path, damaged, image.affine)
    report, _ = run(data, flow, tmp_path / "out", slices_per_subject=1)
    assert report["subjects"] == ["sub-03"]
    assert [one["volume"] for one in report["slices"]] == ["T1→T2 sub-03"]
    assert any(
        line.startswith("Left out: T1→T2 sub-02: 'sub-02_T2w' has no finite voxel") for line in report["notices"]
    )
    assert "sub-03: T1 or T2 is NaN or infinite in 12 voxels of the head; they are left out." in report["notices"]
    with pytest.raises(
        MrtransError, match=r"^Nothing could be measured\. Left out: T1→T2 sub-02: 'sub-02_T2w' has no finite voxel"
    ):
        run(data, flow, tmp_path / "none", subjects=["sub-02"])


@pytest.mark.usefixtures("undrawn")
def test_more_samples_than_are_held_at_once(
    root: Path, flow: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_mrtrans.evaluation.validate_sampler.MAX_HELD", 3)
    report, _ = run(root, flow, tmp_path / "out", subjects=["sub-02"], n=5)
    assert report["n"] == 5
    assert {b["ratio"] for b in report["bins"] if b["voxels"]} == {1.0}


@pytest.mark.usefixtures("undrawn")
def test_subjects_that_are_not_there_are_named(
    root: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    splits = {"test": ["sub-03", "sub-88"]}
    partly = tiny_checkpoint(tmp_path_factory.mktemp("partly") / "partly.safetensors", splits=splits)
    report, said = run(root, partly, tmp_path / "out", slices_per_subject=1)
    assert report["subjects"] == ["sub-03"]
    assert said[0] == "Not in the data folder: sub-88."


@pytest.mark.usefixtures("undrawn")
def test_whom_a_parent_has_seen_is_left_out_and_told(
    root: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("child")
    adapted = [Unnamed(people=2, site="Lab")]
    child = tiny_checkpoint(folder / "child.safetensors", splits=SPLITS, seen_before=["sub-03"], unnamed_before=adapted)
    report, said = run(root, child, tmp_path / "out", slices_per_subject=1)
    assert report["subjects"] == ["sub-02"]
    assert said[0] == "sub-03: held out, but what a checkpoint started from was trained on it."
    assert said[1].startswith("'child' was made of what was adapted to 2 people of 'Lab', whom its card does not name")
    assert report["notices"][:2] == said[:2]
    known = tiny_checkpoint(folder / "known.safetensors", splits=SPLITS, seen_before=["sub-02", "sub-03"])
    with pytest.raises(
        MrtransError, match=r"name some by --subjects\. sub-02: held out, but what a checkpoint started"
    ):
        validate_sampler(root, known, tmp_path / "none", Settings())


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """``napari-mrtrans-train`` with these words: exit status, stdout, stderr."""
    monkeypatch.setenv("COLUMNS", "200")

    def command(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["napari-mrtrans-train", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return command


Command = Callable[..., tuple[int, str, str]]


@pytest.mark.usefixtures("undrawn")
def test_the_command(command: Command, root: Path, flow: Checkpoint, tmp_path: Path) -> None:
    code, out, err = command(
        "validate-sampler", flow.path, "--data", root, "-o", tmp_path / "out", "--sampler", "euler", "--steps", 2,
        "--reference-steps", 3, "--pair", "T1->T2", "--pair", "T1->FLAIR", "--subject", "sub-02", "-n", 2,
        "--slices-per-subject", 1, "--seed", 5, "--device", "cpu",
    )  # fmt: skip
    # Not accepted, yet no mistake of the user's.
    assert (code, err) == (0, "")
    assert "'euler' with 2 steps distorts the spread" in out
    assert re.search(r"^FAIL  median std ratio", out, re.MULTILINE)
    assert "Not accepted: euler, 2 steps, against dpm++2m, 3 steps instead of its 200 (tiny-flow, n = 2)." in out
    report = json.loads((tmp_path / "out" / "validate-sampler.json").read_text())
    assert report["pairs"] == ["T1→T2", "T1→FLAIR"]
    assert len(report["volumes"]) == 2


def test_help_tells_of_both_forms(command: Command) -> None:
    code, out, err = command("--help")
    assert (code, err) == (0, "")
    assert "napari-mrtrans-train validate-sampler --help" in " ".join(out.split())
    code, out, err = command("validate-sampler", "--help")
    assert (code, err) == (0, "")
    assert "napari-mrtrans-train validate-sampler [OPTIONS]" in out
    for option in ("--data", "--sampler", "--steps", "--reference-steps", "--pairs", "--subjects", "-n",
                   "--slices-per-subject", "--seed", "--device", "--output"):  # fmt: skip
        assert option in out


MISTAKES: dict[str, tuple[tuple[object, ...], str]] = {
    "sampler": (("--sampler", "magic"), "Unknown sampler 'magic'; choose one of dpm++2m, "),
    "pair": (("--pair", "T1->PD"), "'tiny-flow' does not serve T1→PD"),
    "no pair": (("--pair", "T1"), "'T1' is no pair of contrasts"),
    "training subject": (("--subject", "sub-00"), "'sub-00' is a training subject; choose others."),
    "subject": (("--subject", "sub-77"), "Subject 'sub-77' is not in "),
    "device": (("--device", "abacus"), "Unknown device 'abacus'"),
    "samples": (("-n", "1"), "'-n'"),
    "samples without end": (("-n", "1000000"), "Samples must be at least 2 and at most 1000, steps"),
    "seed": (("--seed", "-1"), "'--seed'"),
    "unknown option": (("--recipe", "x"), "See napari-mrtrans-train validate-sampler --help."),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_one_line(kind: str, command: Command, root: Path, flow: Checkpoint, tmp_path: Path) -> None:
    words, expected = MISTAKES[kind]
    code, _, err = command("validate-sampler", flow.path, "--data", root, "-o", tmp_path / "out", *words)
    assert code == 2
    assert err.count("\n") == 1, err
    assert expected in err
    assert not (tmp_path / "out").exists()


def test_checkpoints_without_a_sampler_or_held_out_subjects(
    command: Command, root: Path, direct: Checkpoint, tmp_path: Path
) -> None:
    away = tiny_checkpoint(tmp_path / "away.safetensors", splits={"test": ["sub-99"]})
    for checkpoint, expected in (
        (direct, "'tiny-direct' is a direct model, which has no sampler"),
        (away, "None of the held-out subjects of 'away' is in "),
    ):
        code, _, err = command("validate-sampler", checkpoint.path, "--data", root, "-o", tmp_path / "out")
        assert code == 2
        assert err.count("\n") == 1, err
        assert expected in err
    code, _, err = command("validate-sampler")
    assert (code, err.count("\n")) == (2, 1)
    assert "validate-sampler --help" in err
    assert not (tmp_path / "out").exists()


def test_a_reference_cannot_have_more_steps_than_the_model_has_levels(root: Path, tmp_path: Path) -> None:
    ddpm = tiny_checkpoint(tmp_path / "ddpm.safetensors", "ddpm", splits=SPLITS)
    with pytest.raises(MrtransError, match="has 1000 noise levels; lower --reference-steps"):
        validate_sampler(root, ddpm, tmp_path / "out", Settings(reference_steps=1500))


@pytest.mark.usefixtures("undrawn")
def test_a_stochastic_reference(root: Path, tmp_path: Path) -> None:
    ddpm = tiny_checkpoint(tmp_path / "ddpm.safetensors", "ddpm", splits=SPLITS)
    report, _ = run(root, ddpm, tmp_path / "out", sampler="ancestral", steps=4, reference_steps=4, subjects=["sub-02"])
    assert (report["reference"]["sampler"], report["reference"]["steps"]) == ("ancestral", 4)
    assert report["fast"]["seconds_per_slice"] > 0
