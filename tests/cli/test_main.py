from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from helpers import PAIRS, bids_folder, head, save_nifti, tiny_checkpoint
from napari_mrtrans import paths
from napari_mrtrans.checkpoints import library
from napari_mrtrans.checkpoints.card_text import essence
from napari_mrtrans.checkpoints.checkpoint import read_checkpoint
from napari_mrtrans.cli import main as cli
from napari_mrtrans.cli.main import at_home, each_with_its_option, run_app
from napari_mrtrans.ood.score import verdict
from napari_mrtrans.scan.contrasts import Contrast, Pair
from scan.test_volume import REFUSED

Run = Callable[..., tuple[int, str, str]]
SHAPE = (20, 24, 8)
COMMANDS = ("demo", "models", "transform", "report", "lesion", "evaluate", "cohort")
#: Axes towards right, anterior and *inferior*: the axial index runs against the world.
RAI = np.array([[1.0, 0, 0, -9], [0, 1.2, 0, -14], [0, 0, -3, 20], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    tiny_checkpoint(folder / "tiny-flow.safetensors", notes=["only a test"])
    tiny_checkpoint(folder / "tiny-direct.safetensors", "direct", pairs=[Pair(Contrast.T1, Contrast.T2)])
    return folder


@pytest.fixture
def run(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """``napari-mrtrans`` with these words, two checkpoints installed: exit status, stdout, stderr."""
    nothing = tmp_path / "nothing-shipped"
    monkeypatch.setattr(library, "shipped_checkpoint_dir", lambda: nothing)
    monkeypatch.setattr(paths, "shipped_checkpoint_dir", lambda: nothing)
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(installed))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["napari-mrtrans", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    return save_nifti(tmp_path / "sub-01_T1w.nii.gz", head(SHAPE), RAI)


def assert_one_line(err: str, *parts: str) -> None:
    assert err.count("\n") == 1, err
    assert err.endswith("\n")
    assert "Traceback" not in err
    for part in parts:
        assert part in err


def load(folder: Path, kind: str, stem: str = "sub-01_T1w_T2") -> np.ndarray:
    return np.asarray(nib.load(folder / f"{stem}_{kind}.nii.gz").dataobj)


def report(folder: Path, stem: str = "sub-01_T1w_T2") -> dict[str, Any]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads((folder / f"{stem}.json").read_text(encoding="utf-8"), parse_constant=refuse)


# --- help ---------------------------------------------------------------------------------------------------------


def test_help_names_every_command(run: Run) -> None:
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    for command in COMMANDS:
        assert f" {command} " in out
    assert "Research use only" in out


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("demo", ("--headless", "--output")),
        ("models", ("--json",)),
        (
            "transform",
            ("--to", "--from", "--model", "-n", "--steps", "--sampler", "--slices", "--seed", "--mask",
             "--repair", "--no-repair", "--no-antithetic",
             "--save-samples", "--device", "--batch", "--again", "--output", "IN.nii.gz"),
        ),
        ("evaluate", ("--data", "--checkpoint", "--output", "--pairs", "--subjects", "-n", "--steps", "--seed",
                      "--no-montages", "--no-antithetic", "--two-sample")),
    ],
)  # fmt: skip
def test_help_of_every_command(command: str, options: tuple[str, ...], run: Run) -> None:
    code, out, err = run(command, "--help")
    assert (code, err) == (0, "")
    for option in options:
        assert option in out


def test_no_command_prints_the_help(run: Run) -> None:
    code, out, err = run()
    assert (code, err) == (2, "")
    assert " transform " in out


@pytest.mark.parametrize("words", [("--help",), ("transform", "--help"), ("models", "--json")])
def test_light_commands_import_nothing_heavy(words: tuple[str, ...], installed: Path) -> None:
    code = (
        f"import sys; sys.argv = ['napari-mrtrans', *{words!r}]\n"
        "from napari_mrtrans.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as ended: status = ended.code\n"
        "print('STATUS', status, *sorted({'torch', 'napari', 'qtpy', 'scipy', 'nibabel'} & set(sys.modules)))\n"
    )
    env = {**os.environ, "NAPARI_MRTRANS_CHECKPOINTS": str(installed)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "STATUS 0", done.stdout + done.stderr


# --- models -------------------------------------------------------------------------------------------------------


def test_models(run: Run) -> None:
    code, out, err = run("models")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("tiny-flow  (flow, ")
    assert "3 steps x 4 samples" in lines[0]
    assert lines[1].strip().startswith("is: Flow matching")
    assert f"pairs: {', '.join(map(str, PAIRS))}" in lines[2]
    assert "note: only a test" in out
    assert "tiny-direct  (direct, " in out
    assert "1 pass" in out


def test_models_as_json(run: Run, installed: Path) -> None:
    code, out, err = run("models", "--json")
    assert (code, err) == (0, "")
    rows = json.loads(out)
    assert [row["name"] for row in rows] == ["tiny-flow", "tiny-direct"]
    for row in rows:
        checkpoint = read_checkpoint(installed / f"{row['name']}.safetensors")
        assert row == {
            "name": checkpoint.name,
            "model": checkpoint.card.model,
            "is": essence(checkpoint),
            "pairs": [str(pair) for pair in checkpoint.pairs],
            "size_bytes": checkpoint.path.stat().st_size,
            "parameters": checkpoint.n_parameters,
            "sampler": {"name": "dpm++2m", "steps": 3, "n": 4, "sigma_min": 0.002, "sigma_max": 20.0},
            "steps": 1 if row["model"] == "direct" else 3,
            "origin": "user",
            "parent": None,
            "path": str(checkpoint.path),
            "sha256": checkpoint.sha256,
            "card": json.loads(json.dumps(checkpoint.card.model_dump(mode="json"))),
            "calibration": None,
        }


def test_no_models(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(tmp_path / "none"))
    code, out, _ = run("models")
    assert code == 0
    assert out == f"No checkpoints installed; put .safetensors files into {tmp_path / 'none'}.\n"
    assert run("models", "--json")[:2] == (0, "[]\n")


def test_a_damaged_checkpoint_is_one_remark(
    run: Run, installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    blob = (installed / "tiny-flow.safetensors").read_bytes()
    (folder / "good.safetensors").write_bytes(blob)
    (folder / "bad.safetensors").write_bytes(blob[:-1])
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(folder))
    code, out, err = run("models", "--json")
    assert code == 0
    assert [row["name"] for row in json.loads(out)] == ["tiny-flow"]
    assert err == "'bad.safetensors' is truncated; install it again.\n"


# --- transform ----------------------------------------------------------------------------------------------------


def test_transform_writes_images_and_a_complete_report(run: Run, scan: Path, installed: Path, tmp_path: Path) -> None:
    code, out, err = run("transform", scan, "--to", "T2", "-n", 3, "--seed", 5, "--device", "cpu", "-o", "out/new")
    assert (code, err) == (0, "")
    folder = tmp_path / "out" / "new"
    files = sorted(path.name for path in folder.iterdir())
    assert files == ["sub-01_T1w_T2.json", "sub-01_T1w_T2_mean.nii.gz", "sub-01_T1w_T2_std.nii.gz"]
    assert sorted(line.rsplit("/", 1)[-1] for line in out.splitlines() if line.startswith("wrote ")) == files

    before = nib.load(scan)
    for kind in ("mean", "std"):
        image = nib.load(folder / f"sub-01_T1w_T2_{kind}.nii.gz")
        assert image.shape == before.shape
        assert image.get_data_dtype() == np.float32
        np.testing.assert_array_equal(image.affine, before.affine)
    inside = head(SHAPE) > 0
    mean, std = load(folder, "mean"), load(folder, "std")
    assert not mean[~inside].any()
    assert not std[~inside].any()
    assert (std[inside] > 0).all()

    checkpoint = read_checkpoint(installed / "tiny-flow.safetensors")
    found = report(folder)
    expected = {
        "checkpoint": "tiny-flow",
        "sha256": checkpoint.sha256,
        "model": "flow",
        "source": "T1",
        "target": "T2",
        "seed": 5,
        "n": 3,
        "sampler": "dpm++2m",
        "steps": 3,
        "device": "cpu",
        "units": checkpoint.card.units,
        "ood_probability": None,
        "verdict": "not calibrated",
        "repair": False,
        "repaired_voxels": 0,
        "notices": [],
    }
    assert {key: found[key] for key in expected} == expected
    assert "normalised units [0, 1]" in found["units"]
    assert found["seconds"] > 0
    assert found["input"] == str(scan)
    assert found["sigma_hat"] == pytest.approx(std[inside].mean(), abs=1e-5)
    assert f"sigma-hat {found['sigma_hat']:.4f}" in out
    per_slice = [std[..., k][inside[..., k]].mean() if inside[..., k].any() else None for k in range(SHAPE[2])]
    assert [value is None for value in found["sigma_hat_per_slice"]] == [value is None for value in per_slice]
    for got, wanted in zip(found["sigma_hat_per_slice"], per_slice, strict=True):
        assert got == (None if wanted is None else pytest.approx(wanted, abs=1e-5))


def test_same_seed_same_bits_other_seed_other_samples(run: Run, scan: Path, tmp_path: Path) -> None:
    words = ("transform", scan, "--to", "T2", "-n", 2, "--steps", 1, "--slices", "3:5")
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run(*words, "--seed", seed, "-o", folder)[0] == 0
    a, b, c = (load(tmp_path / folder, "std") for folder in "abc")
    np.testing.assert_array_equal(a, b)
    assert (a != c)[..., 3:5].any()


def test_slices_are_array_indices_along_the_axial_axis(run: Run, scan: Path, tmp_path: Path) -> None:
    """The axial axis of this file runs downwards; 2:4 still means array indices 2 and 3."""
    assert run("transform", scan, "--to", "T2", "-n", 2, "--steps", 1, "--slices", "2:4", "-o", "out")[0] == 0
    mean = load(tmp_path / "out", "mean")
    assert np.flatnonzero(mean.any(axis=(0, 1))).tolist() == [2, 3]
    np.testing.assert_array_equal(mean[..., 2:4] > 0, head(SHAPE)[..., 2:4] > 0)
    found = report(tmp_path / "out")
    assert found["slices_done"] == 2
    assert [k for k, value in enumerate(found["sigma_hat_per_slice"]) if value is not None] == [2, 3]


def test_slices_follow_the_axial_axis_wherever_it_is(run: Run, tmp_path: Path) -> None:
    turned = nib.Nifti1Image(head(SHAPE), RAI).as_reoriented(np.array([[1, 1], [2, -1], [0, -1]]))
    assert nib.aff2axcodes(turned.affine)[0] in "SI"
    turned.to_filename(tmp_path / "a_T1w.nii")
    assert run("transform", "a_T1w.nii", "--to", "T2", "-n", 1, "--steps", 1, "--slices", "2:4", "-o", "out")[0] == 0
    mean = load(tmp_path / "out", "mean", "a_T1w_T2")
    assert np.flatnonzero(mean.any(axis=(1, 2))).tolist() == [2, 3]


def test_mask(run: Run, scan: Path, tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[6:12, 8:15, 3:5] = 1
    save_nifti(tmp_path / "m.nii.gz", mask, RAI)
    words = ("transform", scan, "--to", "T2", "-n", 2, "--steps", 1, "--mask", "m.nii.gz", "-o", "out")
    assert run(*words)[0] == 0
    np.testing.assert_array_equal(load(tmp_path / "out", "mean") > 0, mask > 0)


@pytest.mark.parametrize(
    ("model", "words", "on"), [("flow", ("--repair",), True), ("DDPM", (), True), ("DDPM", ("--no-repair",), False)]
)
def test_repair(model: str, words: tuple[str, ...], on: bool, run: Run, scan: Path, tmp_path: Path) -> None:
    if model == "DDPM":
        model = str(tiny_checkpoint(tmp_path / "tiny-ddpm.safetensors", "ddpm").path)
    words = ("transform", scan, "--to", "T2", "--model", model, "-n", 2, "--steps", 1, "--slices", "3:5", *words)
    assert run(*words, "-o", "out")[0] == 0
    assert report(tmp_path / "out")["repair"] is on


def test_save_samples(run: Run, scan: Path, tmp_path: Path) -> None:
    words = ("transform", scan, "--to", "T2", "-n", 3, "--steps", 1, "--slices", "3:5", "--save-samples", "-o", "out")
    assert run(*words)[0] == 0
    samples = load(tmp_path / "out", "samples")
    assert samples.shape == (*SHAPE, 3)
    np.testing.assert_allclose(samples.mean(-1), load(tmp_path / "out", "mean"), atol=1e-6)
    np.testing.assert_allclose(samples.std(-1), load(tmp_path / "out", "std"), atol=1e-6)
    image = nib.load(tmp_path / "out" / "sub-01_T1w_T2_samples.nii.gz")
    np.testing.assert_array_equal(image.affine, nib.load(scan).affine)


@pytest.mark.parametrize("model", ["direct", "tiny-direct", "FILE"])
def test_deterministic_model(model: str, run: Run, scan: Path, installed: Path, tmp_path: Path) -> None:
    if model == "FILE":
        model = str(installed / "tiny-direct.safetensors")
    code, out, err = run("transform", scan, "--to", "T2", "--model", model, "-n", 9, "--slices", "3:5", "-o", "out")
    assert (code, err) == (0, "")
    assert "sigma-hat" not in out
    found = report(tmp_path / "out")
    values = {key: found[key] for key in ("checkpoint", "model", "n", "sampler", "steps", "sigma_hat")}
    assert values == {
        "checkpoint": "tiny-direct", "model": "direct", "n": 1, "sampler": None, "steps": 1, "sigma_hat": None,
    }  # fmt: skip
    assert load(tmp_path / "out", "mean").any()
    assert not load(tmp_path / "out", "std").any()


def test_options_reach_the_sampler(run: Run, scan: Path, tmp_path: Path) -> None:
    words = ("transform", scan, "--to", "flair", "--from", "t2w", "-n", 2, "--steps", 2, "--sampler", "heun")
    code, _, err = run(*words, "--slices", "3:4", "--batch", 1, "-o", "out")
    assert code == 0
    assert_one_line(err, "'heun' with 2 steps distorts mean and spread; use dpm++2m, or 12 steps.")
    found = report(tmp_path / "out", "sub-01_T1w_FLAIR")
    values = {key: found[key] for key in ("source", "target", "sampler", "steps", "n")}
    assert values == {"source": "T2", "target": "FLAIR", "sampler": "heun", "steps": 2, "n": 2}


def test_a_lossy_sampler_is_remarked_on(run: Run, scan: Path, tmp_path: Path) -> None:
    code, _, err = run("transform", scan, "--to", "T2", "-n", 2, "--sampler", "euler", "--slices", "3:4", "-o", "out")
    assert code == 0
    assert_one_line(err, "'euler' with 3 steps distorts the spread; use dpm++2m, or 50 steps.")
    assert report(tmp_path / "out")["notices"] == [err.strip()]


def test_without_cuda_the_cpu_is_used_and_said(
    run: Run, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, _, err = run("transform", scan, "--to", "T2", "-n", 1, "--device", "cuda", "--slices", "3:4", "-o", "out")
    assert (code, err) == (0, "CUDA not available; using CPU.\n")
    assert report(tmp_path / "out")["device"] == "cpu"


# --- transform: mistakes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", REFUSED)
def test_unusable_files_are_refused_with_one_line(kind: str, run: Run, tmp_path: Path) -> None:
    write, expected = REFUSED[kind]
    code, out, err = run("transform", write(tmp_path), "--to", "T2", "-o", tmp_path / "out")
    assert (code, out) == (2, "")
    assert_one_line(err, expected)
    assert not (tmp_path / "out").exists()


#: Words after "transform SCAN -o out" -> what the line says.
MISTAKES: dict[str, tuple[tuple[object, ...], str]] = {
    "no target": ((), "Give a volume and its target: napari-mrtrans transform IN.nii.gz --to T2 -o OUT."),
    "unknown target": (("--to", "CT"), "Unknown contrast 'CT'. Choose one of T1, T2, PD, FLAIR."),
    "unknown source": (("--to", "T2", "--from", "CT"), "Unknown contrast 'CT'. Choose one of T1, T2, PD, FLAIR."),
    "same target": (("--to", "t1w"), "'sub-01_T1w' is T1 already; choose another target with --to."),
    "same by --from": (("--to", "T2", "--from", "T2"), "'sub-01_T1w' is T2 already; choose another target with --to."),
    "no checkpoint for the pair": (
        ("--to", "PD"),
        "No checkpoint for T1 → PD. Installed: tiny-flow, tiny-direct. Train one with napari-mrtrans-train.",
    ),
    "family not installed": (
        ("--to", "T2", "--model", "ddpm"),
        "No checkpoint 'ddpm'. Installed: tiny-flow, tiny-direct.",
    ),
    "model does not serve the pair": (
        ("--to", "FLAIR", "--model", "direct"),
        "'tiny-direct' does not serve T1→FLAIR; it serves T1→T2. Train one with napari-mrtrans-train.",
    ),
    "model file missing": (("--to", "T2", "--model", "x.safetensors"), "No checkpoint file at 'x.safetensors'."),
    "slices without colon": (("--to", "T2", "--slices", "5"), "--slices '5' is no range; write it as 40:60."),
    "slices of letters": (("--to", "T2", "--slices", "a:b"), "--slices 'a:b' is no range; write it as 40:60."),
    "slices open": (("--to", "T2", "--slices", "3:"), "--slices '3:' is no range; write it as 40:60."),
    "slices backwards": (("--to", "T2", "--slices", "5:3"), "Slices 5:3 are not within 0:8."),
    "slices beyond": (("--to", "T2", "--slices", "3:9"), "Slices 3:9 are not within 0:8."),
    "slices negative": (("--to", "T2", "--slices=-2:3"), "Slices -2:3 are not within 0:8."),
    "slices without head": (("--to", "T2", "--slices", "0:1"), "No head in slices 0:1; choose others."),
    "no samples": (("--to", "T2", "-n", "0"), "Invalid value for '-n': "),
    "negative samples": (("--to", "T2", "-n", "-1", "--save-samples"), "Invalid value for '-n': "),
    "samples in words": (("--to", "T2", "-n", "many"), "Invalid value for '-n': "),
    "too many samples to keep": (
        ("--to", "T2", "-n", "65", "--save-samples"),
        "At most 64 samples can be kept; lower n or drop --save-samples.",
    ),
    "no steps": (("--to", "T2", "--steps", "0"), "Invalid value for '--steps': "),
    "negative seed": (("--to", "T2", "--seed", "-1"), "Invalid value for '--seed': "),
    "unknown sampler": (
        ("--to", "T2", "--sampler", "magic"),
        "Unknown sampler 'magic'; choose one of dpm++2m, heun, ancestral, ddim, euler, langevin, langevin-ncsnv2, "
        "reference.",
    ),
    "unknown device": (
        ("--to", "T2", "--device", "tpu"),
        "Unknown device 'tpu'; choose auto, cpu, cuda, cuda:k or mps.",
    ),
    "batch 0": (("--to", "T2", "--batch", "0"), "Batch '0' is neither a positive number nor auto."),
    "batch in words": (("--to", "T2", "--batch", "big"), "Batch 'big' is neither a positive number nor auto."),
    "mask missing": (("--to", "T2", "--mask", "m.nii"), "'m.nii' does not exist."),
    "mask elsewhere": (("--to", "T2", "--mask", "elsewhere.nii"), "The mask 'elsewhere.nii' does not lie on the grid"),
    "mask empty": (("--to", "T2", "--mask", "empty.nii"), "The mask is empty."),
    "mask beside the head": (("--to", "T2", "--mask", "beside.nii"), "No signal inside the head mask;"),
    "mask damaged": (("--to", "T2", "--mask", "damaged.nii.gz"), "'damaged.nii.gz' is truncated or damaged"),
    "unknown option": (("--to", "T2", "--colour", "red"), "No such option: --colour"),
    "a second file": (("--to", "T2", "more.nii"), "more.nii"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(kind: str, run: Run, scan: Path, tmp_path: Path) -> None:
    inside = head(SHAPE) > 0
    save_nifti(tmp_path / "elsewhere.nii", inside.astype(np.uint8))
    save_nifti(tmp_path / "empty.nii", np.zeros(SHAPE, np.uint8), RAI)
    save_nifti(tmp_path / "beside.nii", (~inside).astype(np.uint8), RAI)
    noise = np.random.default_rng(0).integers(0, 2, SHAPE).astype(np.uint8)
    (tmp_path / "damaged.nii.gz").write_bytes(gzip.compress(nib.Nifti1Image(noise, RAI).to_bytes())[:-40])
    words, expected = MISTAKES[kind]
    code, out, err = run("transform", scan, "-o", tmp_path / "out", *words)
    assert (code, out) == (2, "")
    assert_one_line(err, expected)
    assert not (tmp_path / "out").exists()


def test_contrast_not_in_the_name(run: Run, tmp_path: Path) -> None:
    save_nifti(tmp_path / "scan.nii.gz", head(SHAPE))
    code, _, err = run("transform", "scan.nii.gz", "--to", "T2", "-o", "out")
    assert code == 2
    assert_one_line(err, "The contrast of 'scan' is not known from its name; say it with --from (T1, T2, PD or FLAIR).")
    assert run("transform", "scan.nii.gz", "--to", "T2", "--from", "T1", "-n", 1, "--steps", 1, "-o", "out")[0] == 0


def test_nothing_installed_at_all(run: Run, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(tmp_path / "none"))
    code, _, err = run("transform", scan, "--to", "T2", "-o", "out")
    assert code == 2
    assert err == "No checkpoint for T1 → T2. Installed: none. Train one with napari-mrtrans-train.\n"


def test_unwritable_output_is_said_before_the_work(
    run: Run, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("worked in vain")

    monkeypatch.setattr("napari_mrtrans.transformation.whole_volume.transform_request", never)
    (tmp_path / "file").write_text("mine")
    for place in ("file", "file/below", scan):
        code, _, err = run("transform", scan, "--to", "T2", "-o", place)
        assert code == 2
        assert_one_line(err, f"Cannot write to '{place}' (", "Choose another folder with -o.")
    assert (tmp_path / "file").read_text() == "mine"


def test_disk_full_while_writing(run: Run, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(image: nib.Nifti1Image, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nib.Nifti1Image, "to_filename", full)
    code, _, err = run("transform", scan, "--to", "T2", "-n", 1, "--steps", 1, "-o", "out")
    assert code == 2
    assert err.startswith("Cannot write to 'out' (No space left on device). Free some space and run it again; ")
    assert [path.name[:12] for path in (tmp_path / "out").iterdir()] == [".unfinished-"]  # the slices, for another try


def test_what_a_disk_did_not_keep_is_not_said_to_be_kept(
    run: Run, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nib.Nifti1Image, "to_filename", full)
    monkeypatch.setattr(np, "savez", full)
    code, _, err = run("transform", scan, "--to", "T2", "-n", 1, "--steps", 1, "-o", "out")
    *_, kept, last = err.splitlines()
    assert code == 2 and kept.startswith("Finished slices cannot be kept in")
    assert last == "Cannot write to 'out' (No space left on device). Free some space and run it again."


@pytest.mark.parametrize(
    "where", ["napari_mrtrans.scan.volume.Volume.load", "napari_mrtrans.transformation.engine.Engine.transform"]
)
def test_ctrl_c(where: str, run: Run, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(where, interrupt)
    code, out, err = run("transform", scan, "--to", "T2", "-n", 1, "-o", "out")
    assert (code, out, err) == (130, "", "Interrupted.\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("napari_mrtrans.cohort.run.find_scans", ("cohort", ".", "--to", "T2")),
        ("napari_mrtrans.evaluation.evaluate.evaluate", ("evaluate", "--data", ".", "--checkpoint", "tiny-flow")),
        ("napari_mrtrans.transformation.whole_volume.transform_request", ("transform", "sub-01_T1w.nii.gz", "-tT2")),
    ],
)
def test_ctrl_c_says_what_goes_on(
    where: str, words: tuple[str, ...], run: Run, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, store: Any = None, **__: object) -> None:
        if store is not None:  # as after a slice
            store.folder.mkdir(parents=True)
        raise KeyboardInterrupt

    monkeypatch.setattr(where, interrupt)
    code, out, err = run(*words, "-o", "out")
    assert (code, out, err) == (130, "", "Interrupted; the same command goes on.\n")


def test_the_sigterm_of_a_scheduler_is_as_ctrl_c(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def terminate(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def unheard(*_: object) -> None:
        """Not to end the tests."""

    before = signal.signal(signal.SIGTERM, unheard)
    try:
        monkeypatch.setattr("napari_mrtrans.cohort.run.find_scans", terminate)
        code, _, err = run("cohort", ".", "--to", "T2", "-o", "out")
        assert (code, err) == (130, "Interrupted; the same command goes on.\n")
        assert signal.getsignal(signal.SIGTERM) is unheard
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_result_of_another_model_is_replaced_with_a_word(run: Run, scan: Path) -> None:
    words = "transform", scan, "--to", "T2", "--slices", "2:5", "-o", "out"
    assert "Replaced" not in run(*words, "--model", "tiny-flow", "-n", 2)[2]
    line = "Replaced T1→T2 of 'sub-01_T1w.nii.gz' by tiny-flow: 3 slices, 2 samples.\n"
    assert run(*words, "--model", "tiny-direct")[2] == line
    assert run(*words, "--model", "tiny-direct", "--overwrite")[2] == ""


def test_a_fault_of_ours_is_not_passed_off_as_the_user_s(run: Run, scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("napari_mrtrans.transformation.whole_volume.transform_request", broken)
    with pytest.raises(ZeroDivisionError):
        run("transform", scan, "--to", "T2", "-o", "out")


@pytest.mark.parametrize("montages", ["--montages", "--no-montages"])
def test_evaluate_writes_a_report_and_shows_how_far_it_is(
    montages: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAPARI_MRTRANS_ALEXNET", str(tmp_path / "none"))
    shown: list[tuple[str, float, int]] = []
    monkeypatch.setattr("napari_mrtrans.cli.terminal.ProgressBar.show", lambda self, *now: shown.append(now))
    folder = bids_folder(tmp_path / "data", subjects=1)
    code, out, err = run(
        "evaluate", "--data", folder, "--checkpoint", "tiny-direct", "--subjects", "sub-00", montages, "-o", "out"
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "wrote out/report.html" in out
    assert shown[-1][1:] == (2, 2)
    assert (tmp_path / "out" / "montages").exists() == (montages == "--montages")


def test_evaluate_with_an_empty_list_of_subjects_takes_nobody_else(run: Run, tmp_path: Path) -> None:
    folder = bids_folder(tmp_path / "data", subjects=1)
    words = ("evaluate", "--data", folder, "--checkpoint", "tiny-direct", "-o", "out", "--subjects", "")
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert_one_line(err, "--subjects '' holds an empty name")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("tramsform",), "No such command 'tramsform'"),
        (("transform",), "Missing option '-o' / '--output'. See napari-mrtrans transform --help."),
        (("--version-of-what",), "No such option: --version-of-what"),
        (("models", "extra"), "extra"),
        (("evaluate", "--data", "."), "Missing option '--checkpoint'"),
        (("evaluate", "--data", ".", "--checkpoint", "t9", "-o", "out"), "No checkpoint 't9'. Installed: "),
        (("evaluate", "--data", "gone", "--checkpoint", "tiny-flow", "-o", "out"), "does not exist"),
        (
            ("evaluate", "--data", ".", "--checkpoint", "tiny-flow", "--pairs", "T1:T2", "-o", "out"),
            "'T1:T2' is no pair of contrasts; write it as T1->T2.",
        ),
    ],
)
def test_mistakes_in_other_commands(words: tuple[str, ...], expected: str, run: Run, tmp_path: Path) -> None:
    code, _, err = run(*words)
    assert code == 2
    assert_one_line(err, expected)
    assert not (tmp_path / "out").exists()


# --- demo ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [True, False], ids=["--headless", "no display"])
def test_demo_without_a_window(asked: bool, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_mrtrans.cli.demo.SLICES", (90, 92))
    monkeypatch.setattr("napari_mrtrans.cli.demo.SAMPLES", 2)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    if asked:
        monkeypatch.setenv("DISPLAY", ":99")
    else:
        monkeypatch.delenv("DISPLAY", raising=False)
        monkeypatch.setattr(sys, "platform", "linux")
    code, out, err = run("demo", "-o", "shown", *(["--headless"] if asked else []))
    assert (code, err) == (0, "")
    assert ("No display found" in out) is not asked
    names = {line.split("/")[-1] for line in out.splitlines() if line.startswith("wrote ")}
    assert names == {path.name for path in (tmp_path / "shown").iterdir()}
    assert names == {
        f"icbm152_T1w_T2{end}" for end in ("_mean.nii.gz", "_std.nii.gz", "_samples.nii.gz", ".json", ".png")
    }
    assert (tmp_path / "shown" / "icbm152_T1w_T2.png").read_bytes().startswith(b"\x89PNG")
    mean = load(tmp_path / "shown", "mean", "icbm152_T1w_T2")
    assert np.flatnonzero(mean.any(axis=(0, 1))).tolist() == [90, 91]


def test_demo_without_checkpoints(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(tmp_path / "none"))
    code, _, err = run("demo", "--headless", "-o", "shown")
    assert code == 2
    assert_one_line(err, "Installed: none.")
    assert not (tmp_path / "shown").exists()


def test_ood_says_what_is_known_and_goes_on_after_a_bad_file(run: Run, tmp_path: Path) -> None:
    good = save_nifti(tmp_path / "sub-01_T1w.nii.gz", head(SHAPE))
    bad = tmp_path / "sub-02_T1w.nii.gz"
    status, out, err = run("ood", str(bad), str(good), "-n", "2", "--slices", "2", "--model", "tiny-flow")
    assert status == 2
    assert "sub-02_T1w.nii.gz' does not exist" in err
    assert "sub-01_T1w.nii.gz  sigma-hat 0." in out and "not calibrated  (tiny-flow, T1→T2)" in out


def test_ood_counts_those_that_were_judged(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [str(save_nifti(tmp_path / f"sub-0{k}_T1w.nii.gz", head(SHAPE))) for k in (1, 2)]
    row = {"sigma_hat": 0.1, "checkpoint": "tiny-flow", "source": "T1", "target": "T2", "notices": []}
    rows = [
        row | {"input": names[0], "ood_probability": 0.9, "verdict": "out of distribution"},
        row | {"input": names[1], "ood_probability": None, "verdict": verdict(None, {"slices": 2.0})},
    ]
    given = iter(rows)
    monkeypatch.setattr("napari_mrtrans.transformation.whole_volume.assess", lambda *_, **__: next(given))
    status, out, _ = run("ood", *names, "--model", "tiny-flow")
    assert status == 0 and "not judged: fewer than 3 slices" in out
    assert out.splitlines()[-2:] == ["1 of 2 files assessed", "1 of 1 volume out of distribution"]


def test_ood_goes_on_after_a_fault_and_a_file_that_may_not_be_read(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_mrtrans.transformation import job

    names = [str(save_nifti(tmp_path / f"sub-0{k}_T1w.nii.gz", head(SHAPE))) for k in (1, 2, 3)]
    access, fit = os.access, job.fit_for_models

    def full(volume: object, *arguments: object) -> object:
        if volume.name.startswith("sub-02"):
            raise MemoryError("Unable to allocate 468. MiB")
        return fit(volume, *arguments)

    monkeypatch.setattr(os, "access", lambda path, *how, **more: str(path) != names[0] and access(path, *how, **more))
    monkeypatch.setattr(job, "fit_for_models", full)
    words = ("-n", "2", "--slices", "2", "--model", "tiny-flow", "--json")
    status, out, err = run("ood", *names, *words)
    assert status == 2 and [Path(row["input"]).name for row in json.loads(out)] == ["sub-03_T1w.nii.gz"]
    first, second = err.splitlines()
    assert first.startswith(f"{names[0]}: ") and "cannot be read (no permission)" in first
    assert second == f"{names[1]}: Unexpected MemoryError: Unable to allocate 468. MiB"
    status, out, err = run("ood", names[1], *words)  # there is nothing to go on with
    assert (status, out) == (2, "")
    assert err == "Memory is too short (Unable to allocate 468. MiB). Give the job more, or a smaller volume.\n"


def test_ood_as_json(run: Run, tmp_path: Path) -> None:
    good = save_nifti(tmp_path / "sub-01_T1w.nii.gz", head(SHAPE))
    status, out, _ = run("ood", str(good), "--to", "FLAIR", "-n", "2", "--slices", "2", "--json")
    (row,) = json.loads(out)
    assert status == 0
    assert row["target"] == "FLAIR" and row["slices_done"] == 2
    assert row["sigma_hat"] > 0 and row["ood_probability"] is None


def test_ood_without_a_model_for_the_contrast(run: Run, tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "sub-01_PDw.nii.gz", head(SHAPE))
    status, _, err = run("ood", str(path))
    assert status == 2 and "No checkpoint transforms PD. Installed: " in err


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("r.yaml --set seed=1 ema=0.9 --data d", "r.yaml --set seed=1 --set ema=0.9 --data d"),
        ("--set seed=1 r.yaml --data d e=f", "--set seed=1 r.yaml --data d e=f"),
        ("evaluate --checkpoint a b c -o out", "evaluate --checkpoint a --checkpoint b --checkpoint c -o out"),
        ("evaluate --checkpoint a --checkpoint b", "evaluate --checkpoint a --checkpoint b"),
        ("transform a.nii b.nii --to T2", "transform a.nii b.nii --to T2"),
    ],
)
def test_several_values_may_follow_an_option_that_takes_several(given: str, taken: str) -> None:
    assert each_with_its_option(given.split()) == taken.split()


def test_a_tilde_that_the_shell_left_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    given = ["--output=~/x", "~/a.nii.gz", "~", "--model=a~/b", "b~/c", "--set", "a=~/b"]
    taken = [f"--output={tmp_path}/x", f"{tmp_path}/a.nii.gz", str(tmp_path), "--model=a~/b", "b~/c", "--set", "a=~/b"]
    assert [at_home(argument) for argument in given] == taken


def test_too_little_memory_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(**_: object) -> None:
        raise MemoryError("Unable to allocate 2.7 GiB")

    monkeypatch.setattr(sys, "argv", ["tell"])
    with pytest.raises(SystemExit) as ended:
        run_app(full, "tell")  # type: ignore[arg-type]
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said == "Memory is too short (Unable to allocate 2.7 GiB). Give the job more, or a smaller volume.\n"


def test_the_version_is_told(run: Callable[..., tuple[int, str, str]]) -> None:
    from napari_mrtrans import __version__

    assert run("--version")[:2] == (0, f"napari-mrtrans {__version__}\n")


def test_a_user_without_a_home_has_folders_among_the_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: str) -> Path:
        raise RuntimeError("Could not determine home directory.")

    for kind in ("data", "cache", "state"):
        monkeypatch.setattr(paths.platformdirs, f"user_{kind}_path", none)
    monkeypatch.delenv("NAPARI_MRTRANS_CHECKPOINTS", raising=False)
    folders = (paths.user_checkpoint_dir(), paths.last_used_file(), paths.training_cache_dir())
    assert {folder.parent.name for folder in folders} == {f"napari-mrtrans-{os.getuid()}"}
