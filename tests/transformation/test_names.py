from __future__ import annotations

import json
from pathlib import Path

import pytest

from napari_mrtrans.errors import MrtransError
from napari_mrtrans.transformation.names import KINDS, check_free, file_name, synthetic


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("sub-01_T1w", "mean", "sub-01_desc-synthetic_T2w.nii.gz"),
        ("sub-01_T1w", "json", "sub-01_desc-synthetic_T2w.json"),
        ("sub-01_ses-2_run-1_FLAIR", "std", "sub-01_ses-2_run-1_desc-syntheticStd_T2w.nii.gz"),
        ("sub-01_desc-preproc_T1w", "mean", "sub-01_desc-preprocSynthetic_T2w.nii.gz"),
        ("IXI002-Guys-0828-T1", "std-calibrated", "sub-IXI002Guys0828_desc-syntheticStdCalibrated_T2w.nii.gz"),
        ("sub-é5_ses-张_acq-0.8é_T1w", "mean", "sub-é5_ses-张_acq-08_desc-synthetic_T2w.nii.gz"),
        ("张三-T1", "mean", "sub-张三_desc-synthetic_T2w.nii.gz"),
        ("T1", "samples", "sub-T1_desc-syntheticSamples_T2w.nii.gz"),
    ],
)
def test_bids_names(name: str, kind: str, expected: str) -> None:
    assert file_name(name, "T2", kind, bids=True) == expected


def test_no_two_files_of_a_result_have_one_name() -> None:
    for bids in (True, False):
        assert len({file_name("sub-01_T1w", "FLAIR", kind, bids=bids) for kind in KINDS}) == len(KINDS)
    assert file_name("a/b", "T2", "mean") == "a_b_T2_mean.nii.gz"


def test_a_result_says_that_it_is_synthetic() -> None:
    info = {"source": "T1", "target": "T2", "checkpoint": "t1-t2-flair-flow", "n": 20}
    assert synthetic(info) == "synthetic T2 from T1, t1-t2-flair-flow, n=20"
    assert synthetic(info, "std") == "synthetic T2 std from T1, t1-t2-flair-flow, n=20"
    assert synthetic({"target": "T2"}) == "synthetic T2"
    long = synthetic({**info, "checkpoint": "σ" * 200}, "std-calibrated")
    assert len(long.encode()) == 79 and long.endswith(", n=20")


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(
        MrtransError, match=r"^The results' names would have \d+ bytes, and 233 are possible; rename the"
    ):
        check_free(tmp_path / f"{'x' * 230}_T2.json", "x", "d")


@pytest.mark.parametrize(
    ("there", "free"),
    [
        (None, True),
        ({"input": "/a/T1.nii", "input_digest": "other"}, True),
        ({"input": "/moved/T1.nii", "input_digest": "digest"}, True),
        ({"input": "/b/T1.nii", "input_digest": "other"}, False),
        ({}, False),
    ],
)
def test_another_input_s_result_is_in_the_way(there: dict[str, str] | None, free: bool, tmp_path: Path) -> None:
    record = tmp_path / "T1_T2.json"
    if there is not None:
        record.write_text(json.dumps(there))
    if free:
        check_free(record, "/a/T1.nii", "digest")
    else:
        with pytest.raises(MrtransError, match=r"is the result of another input of that name .* or --overwrite\.$"):
            check_free(record, "/a/T1.nii", "digest")
