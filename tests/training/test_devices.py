"""Several processes share a batch (gloo, two CPU processes) and take the steps of one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from helpers import TINY, bids_folder
from napari_mrtrans.checkpoints.checkpoint import read_checkpoint
from napari_mrtrans.models.base import SharedGenerator, integers, normal, uniform
from napari_mrtrans.training.hardware import Hardware
from napari_mrtrans.training.loop import train
from napari_mrtrans.training.recipe import Recipe
from napari_mrtrans.training.setup import open_splits

#: Of losses, relative. What is left is the order of sums: gradients are averaged over two halves of the batch.
TOLERANCE = 1e-5
STEPS = 6
#: Of families, beside the network.
OPTIONS: dict[str, dict[str, object]] = {"cgan": {"adversarial": False, "critic_samples": 2, "regularisation": 1.0}}
#: Fast enough that what a new network is shown, which at first goes unused, is seen in its losses.
OPTIMISER = {"lr": 0.01, "warmup": 0}

SCRIPT = """
import json, sys
from pathlib import Path
from napari_mrtrans.scan import field_of_view
from napari_mrtrans.training.hardware import Hardware
from napari_mrtrans.training.loop import train
from napari_mrtrans.training.recipe import Recipe
from napari_mrtrans.training.setup import open_splits

field_of_view.HEAD_MM = (2.0, 500.0)  # as in conftest.py
found = []
for document, data, cache, out, minutes, resume in json.loads(sys.argv[1]):
    recipe, losses, said = Recipe.model_validate(document), [], []
    train(
        recipe, open_splits(recipe, Path(data), Path(cache))[0], Path(out),
        hardware=Hardware("cpu", devices=2, workers=0),
        progress=lambda step: losses.append(step.loss), say=said.append, max_minutes=minutes, resume=resume,
    )
    found.append([losses, said])
if losses:  # the first process alone
    print(json.dumps(found))
"""


def document(model: str) -> dict[str, object]:
    return {
        "name": f"tiny-{model}",
        "model": model,
        "pairs": ["T1->T2", "T2->T1"],
        "options": {"network": TINY, **OPTIONS.get(model, {})},  # without dropout, which each process draws for itself
        "data": {"validation": ["sub-01"]},
        "validation_slices": 2,
        "validate_every": 5,
        "precision": "float32",
        "optimiser": OPTIMISER,
        "stages": [{"steps": STEPS, "batch": 4, "crop": [16, 16], "downsample": 2}],
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shared")
    bids_folder(root / "data", 3, (20, 24, 8))
    return root


@pytest.fixture(scope="module")
def two_processes(folder: Path) -> dict[str, tuple[list[float], list[str]]]:
    """Losses and notices of the first process, the only one to speak; one torchrun for all runs."""
    runs = {
        "direct": ("direct", None, False),
        "flow": ("flow", None, False),
        "cgan": ("cgan", None, False),
        "stopped": ("direct", 0, False),
        "resumed": ("direct", None, True),
    }
    script = folder / "script.py"
    script.write_text(SCRIPT)
    arguments = [
        [document(model), str(folder / "data"), str(folder / "cache"), str(together(folder, name)), minutes, resume]
        for name, (model, minutes, resume) in runs.items()
    ]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        str(script),
        json.dumps(arguments),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    return dict(zip(runs, json.loads(line), strict=True))


def together(folder: Path, name: str) -> Path:
    """Where the two processes wrote; what was stopped goes on in its own folder."""
    return folder / "two" / name.replace("resumed", "stopped")


def one_process(folder: Path, out: Path, model: str) -> list[float]:
    recipe, losses = Recipe.model_validate(document(model)), []
    splits = open_splits(recipe, folder / "data", folder / "cache")[0]
    train(recipe, splits, out, hardware=Hardware("cpu", workers=0), progress=lambda step: losses.append(step.loss))
    return losses


@pytest.mark.slow
@pytest.mark.parametrize("model", ["direct", "flow", "cgan"])
def test_two_processes_have_the_losses_of_one(folder: Path, two_processes, tmp_path: Path, model: str) -> None:
    alone = one_process(folder, tmp_path, model)
    losses, said = two_processes[model]
    assert len(alone) == STEPS
    assert losses == pytest.approx(alone, rel=TOLERANCE)
    assert sum(line.startswith("step 5: psnr") for line in said) == 1
    out = together(folder, model)
    one, two = (read_checkpoint(path / f"tiny-{model}.safetensors") for path in (tmp_path, out))
    assert two.card.metrics["validation"]["psnr"] == pytest.approx(one.card.metrics["validation"]["psnr"], abs=0.01)
    for name, value in one.build().state_dict().items():
        # stored as float16; some processors round half a batch otherwise than a whole one
        torch.testing.assert_close(two.build().state_dict()[name], value, rtol=1e-2, atol=3e-3)
    assert len(list((out / "tensorboard").glob("events*"))) == 1


def test_two_processes_stop_and_resume_together(folder: Path, two_processes, tmp_path: Path) -> None:
    first, said = two_processes["stopped"]
    assert len(first) == 1
    assert said[-1] == f"Stopped after 1 of {STEPS} steps; --resume continues."
    rest, _ = two_processes["resumed"]
    assert first + rest == pytest.approx(one_process(folder, tmp_path, "direct"), rel=TOLERANCE)


@pytest.mark.parametrize(
    "draw",
    [
        lambda count, generator: normal((count, 1, 3, 5), generator),
        lambda count, generator: uniform((count,), generator),
        lambda count, generator: integers(1000, count, generator),
    ],
)
def test_shares_of_noise_make_up_the_whole(draw) -> None:
    whole = draw(6, torch.Generator().manual_seed(3))
    assert len(whole.unique()) > 4
    for rank in range(2):
        generator = SharedGenerator()
        generator.manual_seed(3)
        generator.rank, generator.world = rank, 2
        torch.testing.assert_close(draw(3, generator), whole[rank::2], rtol=0, atol=0)
