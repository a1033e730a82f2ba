from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import torch

from napari_mrtrans import devices
from napari_mrtrans.training.hardware import arrange


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("BF16", "CHANNELS_LAST"):
        monkeypatch.delenv(f"NAPARI_MRTRANS_{name}", raising=False)
    monkeypatch.setattr(devices, "trial_file", lambda: tmp_path / "cache" / "bf16.json")
    devices._answers.clear()
    yield tmp_path / "cache" / "bf16.json"
    devices._answers.clear()


@pytest.mark.parametrize(("ratio", "fast"), [(0.5, True), (0.95, False), (3.0, False)])
def test_the_faster_format_is_taken_and_remembered(
    ratio: float, fast: bool, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = []
    monkeypatch.setattr(devices, "bf16_trial", lambda: trials.append(1) or ratio)
    assert devices.bf16_is_fast("cpu") is fast
    devices._answers.clear()  # another process on this machine
    assert devices.bf16_is_fast("cpu") is fast
    assert trials == [1]
    assert list(json.loads(file.read_text()).values()) == [fast]


def test_what_is_not_clear_is_the_usual_way_and_not_remembered(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ratios = iter([None, 0.5])
    monkeypatch.setattr(devices, "bf16_trial", lambda: next(ratios))
    assert not devices.bf16_is_fast("cpu")
    assert not devices.bf16_is_fast("cpu")  # one answer for one process
    assert not file.exists()
    devices._answers.clear()
    assert devices.bf16_is_fast("cpu")
    assert list(json.loads(file.read_text()).values()) == [True]


def ratio_of(monkeypatch: pytest.MonkeyPatch, new: list[float], usual: list[float]) -> float | None:
    """What a trial makes of runs that take these seconds, again and again; the first of each is not timed."""
    seconds = {"new": itertools.cycle(new), "usual": itertools.cycle(usual)}
    monkeypatch.setattr(devices, "_seconds", lambda run: next(seconds[run()]))
    return devices._ratio(lambda: "new", lambda: "usual")


def test_a_machine_that_does_something_else_now_and_then_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ratio_of(monkeypatch, [0.5], [1.0]) == 0.5
    assert ratio_of(monkeypatch, [0.5, 0.5, 0.5, 0.5, 9.0], [1.0]) == 0.5
    assert ratio_of(monkeypatch, [2.0], [1.0, 1.0, 1.0, 1.0, 50.0]) == 2.0
    assert ratio_of(monkeypatch, [0.4, 2.0, 0.6, 1.4], [1.0]) is None


def test_another_machine_is_tried_anew(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "bf16_trial", lambda: 0.5)
    assert devices.bf16_is_fast("cpu")
    devices._answers.clear()
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


@pytest.mark.parametrize(
    "trial",
    [devices.bf16_trial, *(partial(devices.channels_last_trial, bf16=bf16) for bf16 in (False, True))],
    ids=["bf16", "order", "order in bf16"],
)
def test_a_trial_changes_no_random_numbers_and_gives_a_ratio(trial: Callable[[], float]) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    ratio = trial()
    assert ratio is None or ratio > 0  # a busy machine may give no clear one
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("faster", [True, False])
def test_networks_are_trained_in_the_memory_order_that_was_faster(
    faster: bool, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(devices, "channels_last_trial", lambda bf16: asked.append(bf16) or (0.7 if faster else 1.2))
    monkeypatch.setattr(devices, "bf16_trial", lambda: 1.2 if faster else 0.7)  # an answer of its own
    for number_format in ("32-true", "bf16-mixed", "32-true"):
        network = torch.nn.Conv2d(8, 16, 3)
        arrange(network, torch.device("cpu"), number_format)
        assert network.weight.is_contiguous(memory_format=torch.channels_last) is faster
    assert asked == [False, True]
    assert devices.bf16_is_fast("cpu") is not faster
    assert len(json.loads(file.read_text())) == 3


@pytest.mark.parametrize(("value", "order"), [("1", torch.channels_last), ("0", torch.contiguous_format)])
def test_the_user_may_decide_the_order(value: str, order: torch.memory_format, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "channels_last_trial", lambda bf16: pytest.fail("tried"))
    monkeypatch.setenv("NAPARI_MRTRANS_CHANNELS_LAST", value)
    network = torch.nn.Conv2d(8, 16, 3)
    arrange(network, torch.device("cpu"), "32-true")
    assert network.weight.is_contiguous(memory_format=order)


@pytest.mark.parametrize(
    ("said", "full"),
    [
        ("CUDA out of memory. Tried to allocate 20.00 MiB.", True),
        ("MPS backend out of memory (MPS allocated: 9.06 GB, max allowed: 9.07 GB).", True),
        ("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to", True),
        ("[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried to", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", True),
        ("CUDA error: an illegal memory access was encountered", False),
        ("Unsupported memory format. Supports only ChannelsLast", False),
    ],
)
def test_a_full_memory_is_told_from_other_faults_of_a_device(said: str, full: bool) -> None:
    assert devices.is_out_of_memory(RuntimeError(said)) is full
    assert devices.is_out_of_memory(MemoryError()) and not devices.is_out_of_memory(ValueError(said))


def test_each_gpu_is_asked_about_bfloat16_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """An old one beside a new one: it is not judged by the first."""
    current = [0]

    @contextmanager
    def chosen(device: torch.device) -> Iterator[None]:
        current.append(device.index or 0)
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device", chosen)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: current[-1] == 0)
    assert devices.bf16_is_fast("cuda") and devices.bf16_is_fast(torch.device("cuda:0"))
    assert not devices.bf16_is_fast(torch.device("cuda:1"))
