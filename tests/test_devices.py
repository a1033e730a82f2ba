from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from napari_mrtrans import devices


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("NAPARI_MRTRANS_BF16", raising=False)
    monkeypatch.setattr(devices, "trial_file", lambda: tmp_path / "cache" / "bf16.json")
    devices._remembered_trial.cache_clear()
    yield tmp_path / "cache" / "bf16.json"
    devices._remembered_trial.cache_clear()


@pytest.mark.parametrize(("ratio", "fast"), [(0.5, True), (0.95, False), (3.0, False)])
def test_the_faster_format_is_taken_and_remembered(
    ratio: float, fast: bool, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = []
    monkeypatch.setattr(devices, "bf16_trial", lambda: trials.append(1) or ratio)
    assert devices.bf16_is_fast("cpu") is fast
    devices._remembered_trial.cache_clear()  # another process on this machine
    assert devices.bf16_is_fast("cpu") is fast
    assert trials == [1]
    assert list(json.loads(file.read_text()).values()) == [fast]


def test_another_machine_is_tried_anew(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "bf16_trial", lambda: 0.5)
    assert devices.bf16_is_fast("cpu")
    devices._remembered_trial.cache_clear()
    monkeypatch.setattr(devices, "cpu_name", lambda: "another")
    monkeypatch.setattr(devices, "bf16_trial", lambda: 2.0)
    assert not devices.bf16_is_fast("cpu")
    assert sorted(json.loads(file.read_text()).values()) == [False, True]


@pytest.mark.parametrize("damaged", ["", "[]", "{", '{"x": "yes"}'])
def test_a_damaged_file_is_replaced(damaged: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.parent.mkdir()
    file.write_text(damaged)
    monkeypatch.setattr(devices, "bf16_trial", lambda: 0.5)
    assert devices.bf16_is_fast("cpu")
    assert True in json.loads(file.read_text()).values()


@pytest.mark.parametrize(("value", "fast"), [("1", True), ("0", False)])
def test_the_user_may_decide(value: str, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "bf16_trial", lambda: pytest.fail("tried"))
    monkeypatch.setenv("NAPARI_MRTRANS_BF16", value)
    assert devices.bf16_is_fast("cpu") is fast


def test_a_trial_changes_no_random_numbers_and_gives_a_ratio() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    assert devices.bf16_trial() > 0
    assert torch.equal(torch.rand(3), expected)
