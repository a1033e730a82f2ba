"""Slices that were finished before a run ended, kept for the next one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import RAS, head, tiny_checkpoint
from napari_mrtrans.ood.signs import UNKNOWN
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.scan.volume import Volume
from napari_mrtrans.transformation import unfinished, whole_volume
from napari_mrtrans.transformation.request import Request
from napari_mrtrans.transformation.slice_update import SliceUpdate
from napari_mrtrans.transformation.unfinished import Unfinished, finished
from napari_mrtrans.transformation.whole_volume import transform_request


def update(value: float) -> SliceUpdate:
    image = np.full((4, 5), value, dtype=np.float32)
    return SliceUpdate(
        index=3,
        mean=image,
        std=image,
        median=None,
        samples=None,
        sigma_hat=value,
        signs=UNKNOWN,
        voxels=20,
        done=1,
        total=2,
    )


def test_two_runs_into_one_folder_do_not_mix_their_slices(tmp_path: Path) -> None:
    """Each its own model, begun one after the other, and both killed."""
    first, second = (Unfinished(tmp_path / "a_T2.json", key) for key in ("one model", "another"))
    assert first.read() == {}
    first.write(update(0.25))
    assert second.read() == {}
    first.write(update(0.25))
    second.write(update(0.75))
    (kept,) = Unfinished(tmp_path / "a_T2.json", "one model").read().values()
    assert kept.sigma_hat == 0.25 and (kept.mean == 0.25).all()
    first.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_result_with_an_empty_file_is_not_finished(tmp_path: Path) -> None:
    """As a machine leaves it whose power failed."""
    volume, record = Volume(head((8, 8, 8)), RAS, name="a"), tmp_path / "a_T2.json"
    info = {"key": "k-h", "complete": True, "samples_kept": False, "sigma_hat_calibrated": None, "target": "T2"}
    record.write_text(json.dumps(info))
    images = [tmp_path / f"a_T2_{kind}.nii.gz" for kind in ("mean", "std")]
    for path in images:
        path.write_bytes(b"voxels")
    assert finished(record, "k", volume) == [*images, record]
    images[1].write_bytes(b"")
    assert finished(record, "k", volume) is None


def test_slices_of_another_brain_are_dropped(tmp_path: Path) -> None:
    """A tool was installed since the run was stopped."""
    for found, there in (("built-in", 0), ("built-in", 1), ("hd-bet", 0), ("built-in", 0)):
        store = Unfinished(tmp_path / "a_T2.json", "one model")
        store.keep_to(found, {})
        assert len(store.read()) == there
        store.write(update(0.25))


def test_a_disk_that_was_full_for_a_moment_costs_one_slice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    store = Unfinished(tmp_path / "a_T2.json", "one model", say=said.append)
    store.keep_to("built-in", {"torch": "1"})
    savez, full = np.savez, iter([True, True, False, False])

    def save(*given: object, **values: object) -> None:
        if next(full):
            raise OSError(28, "No space left on device")
        savez(*given, **values)  # type: ignore[arg-type]

    monkeypatch.setattr(np, "savez", save)
    for index in range(4):
        assert store.holds_slices == (index > 2)
        store.write(replace(update(0.25), index=index))
    assert len(said) == 1 and "No space left on device" in said[0]
    again = Unfinished(tmp_path / "a_T2.json", "one model")
    again.keep_to("built-in", {"torch": "1"})
    assert sorted(again.read()) == [2, 3] and again.makers == [{"torch": "1"}]

    # Going on with another torch, what a full disk takes is the line of that, and no slice.
    def no_room(path: Path, _: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    again.keep_to("built-in", {"torch": "2"})
    with monkeypatch.context() as patch:
        patch.setattr(unfinished, "write_shared", no_room)
        again.write(replace(update(0.25), index=5))
    last = Unfinished(tmp_path / "a_T2.json", "one model")
    last.keep_to("built-in", {"torch": "2"})
    assert sorted(last.read()) == [2, 3] and last.makers == [{"torch": "1"}]


def made_on(machine: str, day: int) -> dict[str, object]:
    return {"torch": "1.0", "threads": None, "number_format": "float32", "processor": machine, "date": f"2026-11-{day}"}


def test_what_was_stopped_and_went_on_elsewhere_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever machine writes the report; on another day of the same one, there is nothing to say."""
    checkpoint = tiny_checkpoint(tmp_path / "tiny.safetensors", "direct")
    volume = Volume(head((20, 24, 8)), np.diag([1.0, 1.75, 5.5, 1.0]), Contrast.T1, "a")
    request = Request(Contrast.T2, Contrast.T1, slices=(2, 6), batch=1, device="cpu")

    def run(folder: str, day: int, machine: str, until: int) -> dict[str, Any]:
        monkeypatch.setattr(whole_volume, "made_on", lambda device: made_on(machine, day))
        seen: list[int] = []
        return transform_request(
            volume, checkpoint, request, store=Unfinished(tmp_path / folder / "a_T2.json", "key"),
            progress=lambda update: seen.append(update.index), cancelled=lambda: len(seen) >= until,
        ).info  # fmt: skip

    first = made_on("one", 1)
    assert run("same", 1, "one", 1)["made_on"] == first
    info = run("same", 2, "one", 9)
    assert (info["complete"], info["made_on"], info["notices"]) == (True, first, [])

    run("other", 1, "one", 1)
    run("other", 2, "two", 2)  # and once more on the first one, which must not make that forgotten
    line = "Some slices were made on one, others on two: the last bits may differ."
    info = run("other", 3, "one", 9)
    assert (info["complete"], info["made_on"], info["notices"]) == (True, first, [line])
    info = run("other", 4, "three", 9)  # all of it is there
    assert (info["complete"], info["made_on"], info["notices"]) == (True, first, [line])


def test_slices_of_an_earlier_version_go_on(tmp_path: Path) -> None:
    """It did not write down what they were made on."""
    earlier, now = (Unfinished(tmp_path / "a_T2.json", "key") for _ in range(2))
    earlier.write(update(0.25))
    (earlier.folder / "made_on").unlink()
    now.keep_to("", made_on("one", 1))
    assert len(now.read()) == 1 and now.makers == []
    now.write(update(0.5))
    assert now.makers == [made_on("one", 1)]
