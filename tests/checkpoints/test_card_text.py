"""What a checkpoint is, in one line, and which of them have weights in common."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from tests.helpers import tiny_checkpoint

from napari_mrtrans.checkpoints.card import Training
from napari_mrtrans.checkpoints.card_text import details, essence, provenance
from napari_mrtrans.checkpoints.checkpoint import read_checkpoint, write_checkpoint
from napari_mrtrans.checkpoints.shared import sharing, sharing_lines


def test_size_and_budget_stand_beside_the_published_ones(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "a.safetensors", "ddpm", training=Training(slices=250_000))
    weights = f"{checkpoint.n_parameters / 1e6:.1f}"
    assert (
        essence(checkpoint)
        == f"DDPM as published, small: {weights} of 85.6 M weights, 250,000 of 9.6 million slices seen"
    )
    assert dict(details(checkpoint))["is"] == essence(checkpoint)


@pytest.mark.parametrize("family", ["flow", "ncsn", "cgan", "resvit", "direct"])
def test_every_family_says_what_it_is(tmp_path: Path, family: str) -> None:
    line = essence(tiny_checkpoint(tmp_path / "a.safetensors", family, training=Training(slices=4)))
    assert "\n" not in line and line.endswith("4 slices seen") and "M weights" in line
    assert ("as published" in line) == (family != "flow")


def test_a_regularised_gan_is_not_as_published(tmp_path: Path) -> None:
    options = tiny_checkpoint(tmp_path / "a.safetensors", "cgan").card.options
    options |= {"critic_samples": 2, "regularisation": 100.0}
    line = essence(tiny_checkpoint(tmp_path / "b.safetensors", "cgan", options=options))
    assert "as published" not in line and "are also held to the target's mean and spread (Bendel 2023)" in line
    options |= {"score": "crps", "adversarial": False}
    line = essence(tiny_checkpoint(tmp_path / "c.safetensors", "cgan", options=options))
    assert "are, without its critic, held to the target's distribution, by the CRPS (Lang 2024)" in line


def test_a_resvit_whose_last_run_had_no_critic_is_not_as_published(tmp_path: Path) -> None:
    options = tiny_checkpoint(tmp_path / "a.safetensors", "resvit").card.options | {"adversarial_weight": 0.0}
    line = essence(tiny_checkpoint(tmp_path / "b.safetensors", "resvit", options=options))
    assert line.startswith("ResViT, in its last run without its critic, ")


def test_a_direct_of_many_sessions_is_not_as_published(tmp_path: Path) -> None:
    options = tiny_checkpoint(tmp_path / "a.safetensors", "direct").card.options | {"sessions": 2}
    line = essence(tiny_checkpoint(tmp_path / "b.safetensors", "direct", options=options))
    assert line.startswith("Direct U-Net with session effects (not in the paper), small: ")


def test_a_file_that_does_not_tell_the_whole_budget_says_so(tmp_path: Path) -> None:
    for number, training in enumerate((None, Training(slices=None, hours=1))):
        line = essence(tiny_checkpoint(tmp_path / f"{number}.safetensors", "direct", training=training, images=1600))
        assert line.endswith("1,600 slices seen in its last run")


def test_hours_and_memory_are_told(tmp_path: Path) -> None:
    took = Training(slices=8, hours=1.26, peak_memory_gib=2.04, device="some GPU")
    checkpoint = tiny_checkpoint(tmp_path / "a.safetensors", "direct", training=took)
    assert dict(provenance(checkpoint))["took"] == "1.3 h, 2.0 GiB, some GPU"


def test_a_run_on_from_a_checkpoint_adds_what_it_took() -> None:
    gpu = Training(slices=100, hours=0.5, peak_memory_gib=7.0, device="some GPU")
    cpu = Training(slices=40, hours=1.25, peak_memory_gib=2.0, device="some CPU")
    on = Training(slices=140, hours=1.75, peak_memory_gib=7.0, device="some GPU, then some CPU")
    assert cpu.after(gpu) == on
    assert cpu.after(on) == Training(slices=180, hours=3.0, peak_memory_gib=7.0, device="some GPU, then some CPU")
    assert cpu.after(Training(slices=0)) == cpu
    assert cpu.after(Training(hours=1)).slices is None and cpu.after(None) == cpu.model_copy(update={"slices": None})


def test_three_planes_are_told_where_there_is_a_network_for_them(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "a.safetensors", "direct")
    assert "three planes" not in dict(details(checkpoint))
    tiny_checkpoint(tmp_path / "a.planes.safetensors", "direct")
    assert dict(details(checkpoint))["three planes"] == "coronal and sagittal slices too, where asked for"


def test_shared_weights_are_found_and_own_ones_are_not(tmp_path: Path) -> None:
    a = tiny_checkpoint(tmp_path / "a.safetensors", "ncsn", seed=1)
    b = tiny_checkpoint(tmp_path / "b.safetensors", "ncsn", seed=2)
    assert sharing([a, b]) == []
    model = b.build()
    taken = dict(a.build().named_parameters())["net.stem.weight"]
    with torch.no_grad():
        dict(model.named_parameters())["net.stem.weight"].copy_(taken)
    c = read_checkpoint(write_checkpoint(tmp_path / "c.safetensors", model, b.card.model_copy(update={"name": "c"})))
    assert [[x.name for x in group] for group in sharing([a, b, c])] == [["a", "b", "c"]]
    assert sharing_lines([a, b, c]) == ["a, b, c share weights: that their answers agree is no evidence."]


def test_a_file_written_anew_is_looked_at_anew(tmp_path: Path) -> None:
    a = tiny_checkpoint(tmp_path / "a.safetensors", "direct", seed=1)
    b = tiny_checkpoint(tmp_path / "b.safetensors", "direct", seed=2)
    assert not sharing([a, b])
    shutil.copy(a.path, b.path)
    assert len(sharing([a, b])) == 1
