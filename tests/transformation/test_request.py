from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest

from helpers import RAS, head, tiny_checkpoint
from napari_mrtrans.checkpoints.checkpoint import Checkpoint
from napari_mrtrans.errors import CheckpointError, MrtransError
from napari_mrtrans.scan.contrasts import Contrast, Pair
from napari_mrtrans.scan.volume import Volume
from napari_mrtrans.transformation.job import open_job
from napari_mrtrans.transformation.request import INDIFFERENT, Asked, Request, mask_digest

T1_T2 = Pair(Contrast.T1, Contrast.T2)
MASK = np.zeros((4, 5, 6), np.uint8)
MASK[1:3, 1:3, 1:3] = 1


@pytest.fixture(scope="module")
def sampling(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """3 steps, 4 samples, all pairs of T1, T2 and FLAIR."""
    return tiny_checkpoint(tmp_path_factory.mktemp("c") / "tiny-flow.safetensors")


@pytest.fixture(scope="module")
def deterministic(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return tiny_checkpoint(tmp_path_factory.mktemp("c") / "tiny-direct.safetensors", "direct", pairs=[T1_T2])


def volume(contrast: Contrast | None = Contrast.T1) -> Volume:
    return Volume(head((20, 24, 8)), RAS, contrast, "scan")


def test_keywords_are_the_fields() -> None:
    assert [*get_type_hints(Asked)] == [field.name for field in fields(Request)]


def test_a_request_does_not_change() -> None:
    request = Request("t2w")  # type: ignore[arg-type]
    assert request.target is Contrast.T2
    with pytest.raises(FrozenInstanceError):
        request.n = 3  # type: ignore[misc]


LEAST = "Samples and steps must be at least 1, and the seed at least 0."

#: Keywords besides ``target="T2"`` -> the whole line.
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "n 0": ({"n": 0}, LEAST),
    "n negative": ({"n": -4}, LEAST),
    "n in words": ({"n": "many"}, "n='many' is no whole number."),
    "n in digits": ({"n": "4"}, "n='4' is no whole number."),
    "n broken": ({"n": 2.5}, "n=2.5 is no whole number."),
    "n True": ({"n": True}, "n=True is no whole number."),
    "steps 0": ({"steps": 0}, LEAST),
    "steps broken": ({"steps": 8.0}, "steps=8.0 is no whole number."),
    "seed -1": ({"seed": -1}, LEAST),
    "seed None": ({"seed": None}, "seed=None is no whole number."),
    "sampler": ({"sampler": 3}, "sampler=3 is no name."),
    "slices a number": ({"slices": 10}, "slices=10 is no range; give (first, past-last) or a range, e.g. (60, 80)."),
    "slices of three": (
        {"slices": (1, 2, 3)},
        "slices=(1, 2, 3) is no range; give (first, past-last) or a range, e.g. (60, 80).",
    ),
    "slices broken": (
        {"slices": (1.5, 3)},
        "slices=(1.5, 3) is no range; give (first, past-last) or a range, e.g. (60, 80).",
    ),
    "slices in words": (
        {"slices": "ab"},
        "slices='ab' is no range; give (first, past-last) or a range, e.g. (60, 80).",
    ),
    "slices empty": ({"slices": range(5, 5)}, "The range of slices is empty."),
    "start broken": ({"start_slice": 2.5}, "start_slice=2.5 is no whole number."),
    "mask file": ({"mask_file": 3}, "mask_file=3 is no path."),
    "repair": ({"repair": "yes"}, "repair='yes' is neither True nor False."),
    "prepare": ({"prepare": 1}, "prepare=1 is neither True nor False."),
    "device": ({"device": None}, "device=None is no name."),
    "no such device": ({"device": "gpu"}, "Unknown device 'gpu'; choose auto, cpu, cuda, cuda:k or mps."),
    "batch in words": ({"batch": "x"}, "Batch 'x' is neither a positive number nor auto."),
    "batch 0": ({"batch": 0}, "Batch '0' is neither a positive number nor auto."),
    "batch broken": ({"batch": 2.5}, "Batch '2.5' is neither a positive number nor auto."),
    "batch None": ({"batch": None}, "Batch 'None' is neither a positive number nor auto."),
    "target": ({"target": "CT"}, "Unknown contrast 'CT'. Choose one of T1, T2, PD, FLAIR."),
    "no target": ({"target": None}, "Unknown contrast 'None'. Choose one of T1, T2, PD, FLAIR."),
    "source": ({"source": "CT"}, "Unknown contrast 'CT'. Choose one of T1, T2, PD, FLAIR."),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_value_is_one_line(kind: str) -> None:
    keywords, line = BAD[kind]
    with pytest.raises(MrtransError) as raised:
        Request(**{"target": "T2", **keywords})
    assert str(raised.value) == line


#: Keywords besides ``target="T2"`` -> what the line says of them, once volume and checkpoint are known.
UNSERVED: dict[str, tuple[dict[str, Any], str]] = {
    "the same": ({"source": "T2"}, "'scan' is T2 already; choose another target."),
    "another pair": (
        {"source": "T1", "target": "FLAIR"},
        "'tiny-direct' does not serve T1→FLAIR; it serves T1→T2. Train one with napari-mrtrans-train.",
    ),
    "sampler": ({"sampler": "magic"}, "Unknown sampler 'magic'; choose one of "),
    "device": ({"device": "tpu"}, "Unknown device 'tpu'; choose auto, cpu, cuda, cuda:k or mps."),
    "slices beyond": ({"slices": (3, 9)}, "Slices 3:9 are not within 0:8."),
    "slices backwards": ({"slices": (5, 3)}, "Slices 5:3 are not within 0:8."),
    "a range beyond": ({"slices": range(8, 3, -2)}, "Slices 4:9 are not within 0:8."),
    "no head": ({"slices": range(0, 1)}, "No head in slices 0:1; choose others."),
    "start beyond": ({"start_slice": 8}, "Start slice 8 is not within 0:8."),
    "mask of another shape": ({"mask": MASK}, "The mask has shape (4, 5, 6), 'scan' has (20, 24, 8); they must lie"),
    "mask empty": ({"mask": np.zeros((20, 24, 8))}, "The mask is empty."),
}


@pytest.mark.parametrize("kind", UNSERVED)
def test_what_cannot_be_served_is_one_line(kind: str, deterministic: Checkpoint) -> None:
    keywords, line = UNSERVED[kind]
    with pytest.raises(MrtransError) as raised:
        open_job(volume(), deterministic, Request(**{"target": "T2", **keywords}))
    assert str(raised.value).startswith(line)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("keywords", [{"sampler": "magic"}, {"device": "tpu"}])
def test_names_are_checked_before_a_head_is_stripped(
    keywords: dict[str, str], sampling: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("worked in vain")

    monkeypatch.setattr("napari_mrtrans.transformation.job.fit_for_models", never)
    with pytest.raises(MrtransError, match=r"^Unknown "):
        open_job(volume(), sampling, Request(Contrast.T2, **keywords))


def test_what_is_not_finite_inside_the_head_is_told(sampling: Checkpoint) -> None:
    whole = volume()
    middle = tuple(size // 2 for size in whole.data.shape)
    for value, place, count in ((np.nan, middle, 1), (np.inf, middle, 1), (np.nan, (0, 0, 0), 0)):
        data, said = whole.data.astype(np.float32), list[str]()
        data[place] = value
        open_job(replace(whole, data=data), sampling, Request(Contrast.T2), said.append)
        told = [line for line in said if "is NaN or infinite in 1 voxel of the head" in line]
        assert len(told) == count


@pytest.mark.parametrize("slices", [(2, 6), range(2, 6), range(5, 1, -1), range(2, 6, 3), range(5, 1, -3)])
def test_a_range_is_a_set_of_slices(slices: range | tuple[int, int], sampling: Checkpoint) -> None:
    order = open_job(volume(), sampling, Request(Contrast.T2, slices=slices)).order
    assert sorted(order) == ([2, 5] if isinstance(slices, range) and abs(slices.step) == 3 else [2, 3, 4, 5])


def test_an_unknown_contrast_is_asked_for(sampling: Checkpoint) -> None:
    line = r"^The contrast of 'scan' is not known from its name; say it with --from T1 \(source=\"T1\"\)\.$"
    with pytest.raises(MrtransError, match=line):
        Request(Contrast.T2).resolved(sampling, volume(None))
    with pytest.raises(MrtransError, match=r"^The contrast of 'volume' is not known"):
        Request(Contrast.T2).resolved(sampling)


def test_defaults_are_those_of_the_checkpoint(sampling: Checkpoint, tmp_path: Path) -> None:
    resolved = Request(Contrast.T2).resolved(sampling, volume())
    assert (resolved.pair, resolved.n, resolved.steps, resolved.sampler) == (T1_T2, 4, 3, "dpm++2m")
    assert resolved.repair is False
    assert resolved.to_json() == resolved.resolved(sampling, volume(Contrast.FLAIR)).to_json()
    asked = Request(Contrast.FLAIR, Contrast.T2, n=7, steps=2, sampler="heun", repair=True)
    assert asked.resolved(sampling, volume()).to_json() == asked.to_json()
    ddpm = tiny_checkpoint(tmp_path / "tiny-ddpm.safetensors", "ddpm")
    assert Request(Contrast.T2).resolved(ddpm, volume()).repair is True
    assert Request(Contrast.T2, repair=False).resolved(ddpm, volume()).repair is False


def test_a_deterministic_checkpoint_answers_once(deterministic: Checkpoint) -> None:
    resolved = Request(Contrast.T2, Contrast.T1, n=9).resolved(deterministic)
    assert (resolved.n, resolved.repair) == (1, False)
    assert resolved.steps is not None and resolved.sampler is not None
    with pytest.raises(CheckpointError):
        Request(Contrast.T1, Contrast.T2).resolved(deterministic)


FULL = Request(
    Contrast.T2, Contrast.T1, n=5, seed=7, steps=9, sampler="heun", slices=(2, 6), start_slice=4, mask=MASK,
    mask_file=Path("/data/m.nii.gz"), roi=MASK, roi_file=Path("/data/r.nii.gz"), repair=True, prepare=False,
    device="cpu", batch=3,
)  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"slices": range(2, 9, 3)},
        {"slices": range(9, 2, -3)},
        {"slices": None},
        {"mask": None, "mask_file": None},
        {"mask_file": None},
        {"roi": None, "roi_file": None},
        {"roi_only": True},
        {"batch": "auto", "start_slice": None, "repair": None, "prepare": None, "n": None, "sampler": None},
    ],
    ids=["full", "range", "downwards", "all slices", "no mask", "mask of no file", "no region", "region only", "open"],
)
def test_there_and_back_through_json(changes: dict[str, Any]) -> None:
    request = replace(FULL, **changes)
    document = json.loads(json.dumps(request.to_json()))
    assert document["mask"] == (None if request.mask is None else mask_digest(MASK))
    again = Request.from_json(document, request.mask, request.roi)
    for name in (field.name for field in fields(Request)):
        assert getattr(again, name) is getattr(request, name) or getattr(again, name) == getattr(request, name), name
    assert type(again.slices) is type(request.slices)
    assert again.to_json() == request.to_json()
    assert again.result_key() == request.result_key()


def test_numbers_of_numpy_are_written_and_read() -> None:
    request = Request(
        Contrast.T2, n=np.int64(5), seed=np.uint8(7), steps=np.int32(9), slices=[np.int64(2), np.int64(6)],
        start_slice=np.int16(4), repair=np.bool_(True), batch=np.int64(3), mask_file="/data/m.nii.gz",
    )  # type: ignore[arg-type]  # fmt: skip
    assert Request.from_json(json.loads(json.dumps(request.to_json()))).to_json() == request.to_json()
    assert request.result_key() == Request(Contrast.T2, n=5, seed=7, steps=9, slices=(2, 6), repair=True).result_key()


UNREPEATABLE = "The report holds no request that this version can repeat ("


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"colour": "red"}, UNREPEATABLE + "unknown: colour)."),
        ({"colour": 1, "adapter": 2}, UNREPEATABLE + "unknown: adapter, colour)."),
        ({"n": "5"}, UNREPEATABLE + "n='5' is no whole number)."),
        ({"seed": None}, UNREPEATABLE + "seed=None is no whole number)."),
        ({"slices": 5}, UNREPEATABLE + "slices=5 is no range; "),
        ({"slices": [2, "6"]}, UNREPEATABLE + "slices=[2, '6'] is no range; "),
        ({"slices": {"start": 2, "stop": 6}}, UNREPEATABLE + "no 'step')."),
        ({"slices": {"start": 2, "stop": 6, "step": 0}}, UNREPEATABLE + "range() arg 3 must not be zero)."),
        ({"slices": {"start": 2, "stop": "6", "step": 1}}, UNREPEATABLE + "'str' object cannot be interpreted"),
        ({"target": "CT"}, UNREPEATABLE + "Unknown contrast 'CT'. Choose one of T1, T2, PD, FLAIR)."),
        ({"source": 1}, UNREPEATABLE + "Unknown contrast '1'."),
        ({"sampler": ["heun"]}, UNREPEATABLE + "sampler=['heun'] is no name)."),
        ({"mask_file": 5}, UNREPEATABLE + "mask_file=5 is no path)."),
        ({"repair": 0}, UNREPEATABLE + "repair=0 is neither True nor False)."),
        ({"device": 0}, UNREPEATABLE + "device=0 is no name)."),
        ({"batch": -1}, UNREPEATABLE + "Batch '-1' is neither a positive number nor auto)."),
        ({"mask": "0123"}, "The mask '/data/m.nii.gz' has changed since this result was made."),
        ({"mask": "0123", "mask_file": None}, "The mask has changed since this result was made."),
        ({"mask": None}, "The mask '/data/m.nii.gz' has changed since this result was made."),
        ({"roi": "0123"}, "The ROI '/data/r.nii.gz' has changed since this result was made."),
        ({"roi_only": 1}, UNREPEATABLE + "roi_only=1 is neither True nor False)."),
    ],
)
def test_what_is_no_request_is_one_line(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(MrtransError) as raised:
        Request.from_json({**FULL.to_json(), **changes}, MASK, MASK)
    assert str(raised.value).startswith(line)
    assert "\n" not in str(raised.value)


def test_without_a_target_or_without_its_mask_it_is_no_request() -> None:
    document = FULL.to_json()
    with pytest.raises(MrtransError, match="has changed since"):
        Request.from_json(document)
    del document["target"]
    with pytest.raises(MrtransError, match=r"^The report holds no request .*'target'\)\.$"):
        Request.from_json(document, MASK, MASK)


OTHER_MASK = MASK.copy()
OTHER_MASK[0, 0, 0] = 1

#: Another value of every field.
OTHER: dict[str, Any] = {
    "target": Contrast.FLAIR, "source": Contrast.PD, "n": 6, "seed": 8, "steps": 8, "sampler": "dpm++2m",
    "antithetic": False, "three_planes": True,
    "slices": (2, 7), "start_slice": 3, "mask": OTHER_MASK, "mask_file": Path("/elsewhere/m.nii.gz"), "repair": False,
    "prepare": True, "device": "cuda", "batch": "auto", "roi": OTHER_MASK, "roi_file": Path("/elsewhere/r.nii.gz"),
    "roi_only": True,
}  # fmt: skip


@pytest.mark.parametrize("name", [field.name for field in fields(Request)])
def test_the_key_tells_all_that_matters(name: str) -> None:
    same = replace(FULL, **{name: OTHER[name]}).result_key() == FULL.result_key()
    assert same is (name in ("device", "batch", "start_slice", "mask_file", "roi_file"))
    assert same is (name in INDIFFERENT)


def test_only_where_a_mask_is_above_zero_matters() -> None:
    graded = np.where(MASK, 0.3, np.nan)
    graded[0, 0, 0] = -2
    assert replace(FULL, mask=graded).result_key() == FULL.result_key()
    assert mask_digest(MASK > 0) == mask_digest(MASK) != mask_digest(MASK.reshape(5, 4, 6))
    assert replace(FULL, mask=None).result_key() != FULL.result_key()


@pytest.mark.parametrize("slices", [(1, 3), range(1, 7, 2), range(1, 6, 2), range(6, 0, -2), None])
def test_upside_down_the_same_slices_are_meant(slices: range | tuple[int, int] | None) -> None:
    def meant(request: Request) -> set[int]:
        given = request.slices
        return set(given if isinstance(given, range) else range(*given) if given else range(8))

    turned = replace(FULL, slices=slices, start_slice=2).upside_down(8)
    assert meant(turned) == {7 - index for index in meant(replace(FULL, slices=slices))}
    assert turned.start_slice == 5
    assert replace(FULL, start_slice=None).upside_down(8).start_slice is None
