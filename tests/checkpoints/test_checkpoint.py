from __future__ import annotations

import hashlib
import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from helpers import PAIRS, tiny_checkpoint, tiny_model
from napari_mrtrans.checkpoints.card import CARD_VERSION, Card, DataSource, Grid, Intensity, SamplerDefaults
from napari_mrtrans.checkpoints.checkpoint import CARD_KEY, read_checkpoint, write_checkpoint
from napari_mrtrans.errors import CheckpointError, MrtransError
from napari_mrtrans.scan.contrasts import Contrast, Pair

Header = dict[str, Any]
Change = Callable[[Header], None]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a good checkpoint."""
    return tiny_checkpoint(tmp_path_factory.mktemp("sound") / "tiny.safetensors").path.read_bytes()


def take_apart(blob: bytes) -> tuple[Header, bytes]:
    length = struct.unpack("<Q", blob[:8])[0]
    return json.loads(blob[8 : 8 + length]), blob[8 + length :]


def put_together(header: Header, body: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def in_card(**changes: object) -> Change:
    def change(header: Header) -> None:
        card = json.loads(header["__metadata__"][CARD_KEY])
        card.update(changes)
        header["__metadata__"][CARD_KEY] = json.dumps(card)

    return change


def without(key: str) -> Change:
    def change(header: Header) -> None:
        card = json.loads(header["__metadata__"][CARD_KEY])
        del card[key]
        header["__metadata__"][CARD_KEY] = json.dumps(card)

    return change


def as_card(text: str) -> Change:
    return lambda header: header["__metadata__"].update({CARD_KEY: text})


def as_metadata(value: object) -> Change:
    return lambda header: header.update({"__metadata__": value})


def network(**options: object) -> Change:
    return in_card(options={"network": options, "conditional": True})


def in_tensor(key: str, value: object) -> Change:
    def change(header: Header) -> None:
        header[first_tensor(header)][key] = value

    return change


def first_tensor(header: Header) -> str:
    return next(name for name in header if name != "__metadata__")


def refusal(path: Path) -> str:
    """The one line with which a file is refused, on reading or on building."""
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path).build()
    line = str(caught.value)
    assert "\n" not in line
    assert path.name in line
    return line


@pytest.mark.parametrize("family", ["flow", "direct"])
def test_round_trip(family: str, tmp_path: Path) -> None:
    model, options = tiny_model(family, seed=3)
    card = Card(
        name="my-model",
        model=family,
        options=options,
        pairs=[Pair(Contrast.T1, Contrast.T2), Pair(Contrast.PD, Contrast.FLAIR)],
        grid=Grid(spacing_mm=0.8),
        intensity=Intensity(headroom={Contrast.T1: 2.0, Contrast.T2: 3.5}),
        sampler=SamplerDefaults(steps=7, n=11, sigma_max=5.0),
        data=[DataSource(name="Zwölf Köpfe", licence="CC BY 4.0", citation="Lesjak 2017")],
        splits={"test": ["sub-01"]},
        seed=5,
        recipe="r",
        recipe_sha256="0" * 64,
        steps=12,
        images=96,
        metrics={"T1->T2": {"psnr": 24.5}},
        notes=["σ is not calibrated"],
    )
    path = write_checkpoint(tmp_path / "new" / "m.safetensors", model, card)
    checkpoint = read_checkpoint(path)
    assert checkpoint.card == card
    assert checkpoint.name == "my-model"
    assert checkpoint.pairs == card.pairs
    assert checkpoint.deterministic is (family == "direct")
    assert checkpoint.size_bytes == path.stat().st_size
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert checkpoint.n_parameters == sum(value.numel() for value in model.state_dict().values())
    rebuilt = checkpoint.build()
    assert not rebuilt.training
    assert not any(parameter.requires_grad for parameter in rebuilt.parameters())
    weights, expected = rebuilt.state_dict(), model.state_dict()
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        assert weights[name].dtype == torch.float32
        assert weights[name].device.type == "cpu"
        torch.testing.assert_close(weights[name], value.half().float(), rtol=0, atol=0)
    assert any(value.any() for value in weights.values())


def test_writing_twice_gives_the_same_bytes_and_leaves_nothing_else(tmp_path: Path) -> None:
    first = tiny_checkpoint(tmp_path / "a" / "m.safetensors")
    second = tiny_checkpoint(tmp_path / "b" / "m.safetensors")
    assert first.sha256 == second.sha256
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["m.safetensors"]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tiny_checkpoint(tmp_path / "m.safetensors").sha256
    model, _ = tiny_model("flow", seed=1)

    def fail(weights: object, name: str, **_: object) -> None:
        Path(name).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(MrtransError, match=r"Cannot write to '.*' \(disk full\)\. Free some space"):
        write_checkpoint(tmp_path / "m.safetensors", model, read_checkpoint(tmp_path / "m.safetensors").card)
    assert read_checkpoint(tmp_path / "m.safetensors").sha256 == before


def test_other_tools_can_read_the_card(tmp_path: Path) -> None:
    path = tiny_checkpoint(tmp_path / "m.safetensors").path
    with safe_open(path, "pt") as file:
        card = json.loads(file.metadata()[CARD_KEY])
    assert card["name"] == "m"
    assert card["version"] == CARD_VERSION
    assert card["pairs"] == [f"{pair.source}->{pair.target}" for pair in PAIRS]


CUTS = [0, 1, 7, 8, 9, 100, "header-1", "header", "header+1", 0.5, 0.9, -1]


@pytest.mark.parametrize("cut", CUTS)
def test_truncated_anywhere(cut: int | float | str, sound: bytes, tmp_path: Path) -> None:
    header = 8 + struct.unpack("<Q", sound[:8])[0]
    size = {"header-1": header - 1, "header": header, "header+1": header + 1, 0.5: len(sound) // 2}.get(cut, cut)
    size = int(len(sound) * size) if isinstance(size, float) else size
    path = tmp_path / "cut.safetensors"
    path.write_bytes(sound[:size])
    with pytest.raises(CheckpointError, match=r"^'cut\.safetensors' is truncated[^\n]*install it again\.$"):
        read_checkpoint(path)


def test_bytes_too_many(sound: bytes, tmp_path: Path) -> None:
    path = tmp_path / "long.safetensors"
    path.write_bytes(sound + b"\0" * 64)
    assert "damaged" in refusal(path)


BROKEN: dict[str, tuple[Change, str]] = {
    "no metadata": (lambda header: header.pop("__metadata__"), "has no napari-mrtrans card"),
    "no card": (as_metadata({"format": "pt"}), "has no napari-mrtrans card"),
    "metadata null": (as_metadata(None), "truncated or not a safetensors checkpoint"),
    "metadata text": (as_metadata(CARD_KEY), "truncated or not a safetensors checkpoint"),
    "metadata list": (as_metadata([CARD_KEY]), "truncated or not a safetensors checkpoint"),
    "card broken": (as_card('{"version": 1'), "unreadable card"),
    "card list": (as_card("[1]"), "unreadable card"),
    "card number": (as_card("7"), "unreadable card"),
    "version text": (in_card(version="one"), "unreadable card"),
    "version null": (in_card(version=None), "unreadable card"),
    "version infinite": (in_card(version=float("inf")), "unreadable card"),
    "version newer": (
        in_card(version=CARD_VERSION + 1),
        "newer than this napari-mrtrans reads (1). Update the plugin, or get the file again.",
    ),
    "version and content newer": (in_card(version=99, model=["new"], surprise=1), "newer than this napari-mrtrans"),
    "unknown key": (in_card(surprise=1), "surprise: Extra inputs are not permitted). Update the plugin, or"),
    "unknown key below": (in_card(sampler={"stepz": 3}), "sampler.stepz: Extra inputs are not permitted"),
    "key missing": (without("grid"), "grid: Field required"),
    "no pairs": (without("pairs"), "missing key 'pairs'"),
    "pairs empty": (in_card(pairs=[]), "pairs: "),
    "pairs null": (in_card(pairs=None), "invalid card"),
    "pair unknown": (in_card(pairs=["T1->T9"]), "Unknown contrast 'T9'"),
    "pair of one": (in_card(pairs=["T1->T1"]), "same contrast"),
    "wrong type": (in_card(seed="zero"), "seed: "),
    "step count 0": (in_card(sampler={"steps": 0}), "sampler.steps: "),
    "spacing 0": (in_card(grid={"spacing_mm": 0}), "grid.spacing_mm: "),
    "method unknown": (in_card(intensity={"method": "minmax", "headroom": {}}), "intensity.method: "),
    "another scale": (
        in_card(intensity={"headroom": {"T1": 2.0, "T2": 4.0}}),
        "takes T2 with a headroom of 4, and this version gives 3.5. Train it again",
    ),
    "family unknown": (in_card(model="wizard"), "holds a 'wizard' model; this version knows flow, ddpm"),
    "no network": (in_card(options={}), "does not describe a 'flow' model"),
    "options unknown": (in_card(options={"network": {}, "magic": 1}), "'magic'). Update the plugin, or get the file"),
    "network null": (in_card(options={"network": None}), "does not describe a 'flow' model"),
    "network text": (in_card(options={"network": "unet"}), "does not describe a 'flow' model"),
    "no levels": (network(widths=[]), "does not describe a 'flow' model"),
    "widths text": (network(widths="ab"), "does not describe a 'flow' model"),
    "widths negative": (network(widths=[-8, 16]), "does not describe a 'flow' model"),
    "widths absurd": (network(widths=[10**9, 10**9]), "does not describe a 'flow' model"),
    "groups 0": (network(widths=[8, 16], groups=0), "does not describe a 'flow' model"),
    "groups odd": (network(widths=[8, 16], groups=3), "does not describe a 'flow' model"),
    "shape of text": (in_tensor("shape", "abc"), "truncated or not a safetensors checkpoint"),
    "offsets of text": (in_tensor("data_offsets", ["a", "b"]), "truncated or not a safetensors checkpoint"),
    "no shape": (lambda header: header[first_tensor(header)].pop("shape"), "not a safetensors checkpoint"),
    "shape and bytes differ": (in_tensor("shape", [1]), "damaged"),
    "number type unknown": (in_tensor("dtype", "F99"), "damaged"),
}


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("kind", BROKEN)
def test_broken_header_or_card(kind: str, sound: bytes, tmp_path: Path) -> None:
    change, expected = BROKEN[kind]
    header, body = take_apart(sound)
    change(header)
    path = tmp_path / "broken.safetensors"
    path.write_bytes(put_together(header, body))
    assert expected in refusal(path)


def test_taking_apart_and_putting_together_changes_nothing(sound: bytes, tmp_path: Path) -> None:
    path = tmp_path / "same.safetensors"
    path.write_bytes(put_together(*take_apart(sound)))
    assert read_checkpoint(path).build().multiple >= 1


def rewritten(checkpoint_path: Path, change: Callable[[dict[str, torch.Tensor]], None], path: Path) -> Path:
    """A well-formed safetensors file with the same card and other tensors."""
    from safetensors.torch import load_file, save_file

    with safe_open(checkpoint_path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(checkpoint_path)
    change(tensors)
    save_file(tensors, path, metadata=metadata)
    return path


@pytest.mark.parametrize("kind", ["missing", "extra", "misshaped", "transposed", "renamed", "none"])
def test_tensors_must_fit_the_card(kind: str, tmp_path: Path) -> None:
    good = tiny_checkpoint(tmp_path / "good.safetensors").path
    name = max(tiny_model()[0].state_dict().items(), key=lambda item: item[1].numel())[0]

    def change(tensors: dict[str, torch.Tensor]) -> None:
        if kind == "missing":
            del tensors[name]
        elif kind == "extra":
            tensors["left.over"] = torch.zeros(3)
        elif kind == "misshaped":
            tensors[name] = torch.cat([tensors[name], tensors[name]])
        elif kind == "transposed":
            tensors[name] = tensors[name].reshape(tensors[name].shape[0], -1)
        elif kind == "renamed":
            tensors[name + "x"] = tensors.pop(name)
        else:
            tensors.clear()
            tensors["alone"] = torch.zeros(1)

    path = rewritten(good, change, tmp_path / "bad.safetensors")
    line = refusal(path)
    expected = {
        "missing": f"1 tensors are missing ({name}, …)",
        "extra": "1 tensors are superfluous (left.over, …)",
        "misshaped": f"tensor {name} has shape",
        "transposed": f"tensor {name} has shape",
        "renamed": f"1 tensors are missing ({name}, …)",
        "none": "tensors are missing",
    }[kind]
    assert "does not fit its card" in line
    assert expected in line


def test_a_file_that_has_changed_since_it_was_read_is_refused(tmp_path: Path) -> None:
    path = tiny_checkpoint(tmp_path / "mine.safetensors", seed=1).path
    kept, fresh = read_checkpoint(path), read_checkpoint(path)
    first = kept.sha256
    kept.build()
    os.utime(tiny_checkpoint(path, seed=2).path, ns=(0, 0))  # of the same size
    for checkpoint in (kept, fresh):
        with pytest.raises(CheckpointError, match=r"'mine\.safetensors' has changed, .* since it was chosen"):
            checkpoint.build()
    assert kept.sha256 == first != read_checkpoint(path).sha256
    read_checkpoint(path).build()


def test_what_a_built_one_tells_stays_that_of_its_weights(tmp_path: Path) -> None:
    path = tiny_checkpoint(tmp_path / "mine.safetensors", seed=1).path
    before, built = read_checkpoint(path), read_checkpoint(path)
    told = before.sha256, before.card_digest
    built.build()
    tiny_checkpoint(path, seed=2, notes=["retrained"])
    assert (built.sha256, built.card_digest) == told
    path.unlink()
    with pytest.raises(CheckpointError, match="or is gone, since it was chosen"):
        built.hold()


def test_the_same_file_written_anew_is_the_same(tmp_path: Path) -> None:
    """A copy put back, ``touch``, a folder that is kept in step with another."""
    found = tiny_checkpoint(tmp_path / "mine.safetensors", "direct")
    found.build()
    os.utime(found.path, (1, 1))
    found.build()
    found.hold()


def test_a_checkpoint_of_another_size_does_not_fit(tmp_path: Path) -> None:
    path = tiny_checkpoint(tmp_path / "m.safetensors").path
    header, body = take_apart(path.read_bytes())
    network(widths=[8, 16, 24], blocks=1, unshuffle=2, groups=4)(header)
    path.write_bytes(put_together(header, body))
    assert "does not fit its card" in refusal(path)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("a pickle was loaded",)


@pytest.mark.parametrize("tool", ["pickle", "torch"])
def test_a_pickle_under_another_name_is_never_loaded(tool: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    if tool == "pickle":
        path.write_bytes(pickle.dumps({"weights": Bomb(), "padding": "x" * 1000}))
    else:
        torch.save({"weights": torch.zeros(100)}, path)
    expected = "'weights.safetensors' is truncated or not a safetensors checkpoint; give another, or install it again."
    assert refusal(path) == expected


def test_a_file_that_has_gone_since_it_was_read_is_named(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "gone.safetensors")
    checkpoint = read_checkpoint(checkpoint.path)
    checkpoint.path.unlink()
    with pytest.raises(CheckpointError, match=r"gone\.safetensors' cannot be read \(No such file[^)]*\)\. Put it back"):
        _ = checkpoint.sha256


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(CheckpointError, match="No checkpoint file at"):
            read_checkpoint(path)


def test_a_file_system_that_refuses_modes_takes_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a share mounted as somebody else's."""

    def refused(self: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refused)
    made = tiny_checkpoint(tmp_path / "tiny.safetensors")
    assert made.build().state_dict()
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.safetensors"]
