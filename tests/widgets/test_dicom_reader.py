from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel

from dicom.test_read import MPR, NAME, T2, WORDS
from dicom_files import dicom_series
from helpers import head, tiny_checkpoint
from napari_mrtrans import stream
from napari_mrtrans.errors import VolumeError
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.transformation.request import Request
from napari_mrtrans.widgets import dicom_reader
from napari_mrtrans.widgets.dicom_reader import get_reader, read_layers
from napari_mrtrans.widgets.source import guess_layer_contrast, layer_affine
from napari_mrtrans.widgets.transform.run import Run, RunSettings

OBLIQUE = np.array([[0.0, 0.2, 1.9, -9], [-1, 0.1, 0, 14], [0.1, -1.1, 0.3, 20], [0, 0, 0, 1]])
OBLIQUE[:3, :3] = np.linalg.qr(OBLIQUE[:3, :3])[0] * [1.0, 1.2, 2.0]
HEAD = head((24, 18, 20)).astype(np.uint16)


def test_a_folder_dropped_on_the_window(make_napari_viewer: Callable[..., ViewerModel], tmp_path: Path) -> None:
    """A layer for each structural scan, each voxel where it was, named without the patient."""
    folder = tmp_path / "study"
    dicom_series(folder, HEAD, OBLIQUE, uid="1.2.3.1", **(MPR | NAME | {"t0008_103e": "t1_mprage"}))
    dicom_series(folder, HEAD[..., ::-1], OBLIQUE, uid="1.2.3.2", first=50, t0020_0011="7", **(NAME | T2))
    dicom_series(folder, HEAD[..., :3], OBLIQUE, uid="1.2.3.3", first=90, t0008_103e="scout")
    viewer = make_napari_viewer()
    viewer.open(folder, plugin="napari-mrtrans")
    assert [layer.name for layer in viewer.layers] == ["study_series-3_T1w", "study_series-7_T2w"]
    t1, t2 = viewer.layers
    assert [guess_layer_contrast(layer) for layer in (t1, t2)] == [Contrast.T1, Contrast.T2]
    voxel = np.unravel_index(np.argmax(HEAD), HEAD.shape)
    there = np.linalg.inv(layer_affine(t1)) @ OBLIQUE @ [*voxel, 1]
    np.testing.assert_allclose(there, np.round(there), atol=1e-3)
    assert t1.data[tuple(np.round(there[:3]).astype(int))] == HEAD.max()
    said = " ".join(
        f"{layer.name} {layer.metadata} {bytes(layer.metadata['header'].binaryblock)}" for layer in (t1, t2)
    )
    assert not [word for word in WORDS if word in said.lower()]


def test_results_do_not_tell_a_path_that_names_the_patient(
    make_napari_viewer: Callable[..., ViewerModel], tmp_path: Path
) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "tiny-direct.safetensors", "direct")
    viewer = make_napari_viewer()
    told = []
    for place, names in (("Zyxwo_Quentin/T1", NAME), ("plain", MPR)):
        dicom_series(tmp_path / place, HEAD, OBLIQUE, **(MPR | names))
        (layer,) = viewer.open(tmp_path / place, plugin="napari-mrtrans")
        run = Run(viewer, RunSettings(Request(Contrast.T2, source=Contrast.T1)), layer, checkpoint)
        for update in stream(run.work.source.volume(), checkpoint, target="T2", slices=(8, 12)):
            run.add(update)
        told.append(str(run.ensemble().info["input"]))
    assert not [word for word in WORDS if word in told[0].lower()]
    assert told[1] == str(tmp_path / "plain")


def test_other_folders_are_left_to_other_readers(tmp_path: Path) -> None:
    (tmp_path / "sub-01").mkdir()
    (tmp_path / "sub-01" / "a.tif").write_bytes(bytes(200))
    assert get_reader(str(tmp_path)) is None
    assert get_reader([str(tmp_path / "sub-01" / "a.tif")]) is None


def test_slices_dropped_one_by_one_are_one_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(dicom_reader, "monotonic", lambda: now[0])
    files = [str(path) for path in dicom_series(tmp_path, HEAD, OBLIQUE, **MPR)]
    assert [len(layer) for layer in read_layers(files[0])] == [3]
    for file in files[1:]:
        now[0] += 1.5
        assert read_layers(file) == [(None,)]
    now[0] += 3
    assert len(read_layers(files)[0]) == 3


def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    dicom_series(tmp_path, HEAD, OBLIQUE, t0008_0060="PT")
    with pytest.raises(VolumeError, match="is of modality PT, not MR"):
        read_layers(str(tmp_path))
