"""What is never done: no file is unpickled, evaluated or handed to a shell, and no scan leaves the machine."""

from __future__ import annotations

import ast
import socket
from pathlib import Path

import pytest

from helpers import RAS, head, tiny_checkpoint
from napari_mrtrans import Contrast, Volume, transform

SOURCES = sorted((Path(__file__).parents[1] / "src").rglob("*.py"))
#: Calls that run what a file says.
FORBIDDEN = {"pickle.load", "pickle.loads", "torch.load", "yaml.load", "yaml.unsafe_load", "eval", "exec", "os.system"}
#: Modules that do nothing else.
MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return ""


def _faults(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            found += [f"{node.lineno}: imports {name}" for name in names if name.partition(".")[0] in MODULES]
        elif isinstance(node, ast.Call):
            options = {keyword.arg: keyword.value for keyword in node.keywords}
            tensors_alone = getattr(options.get("weights_only"), "value", False) is True
            if _name(node.func) in FORBIDDEN and not (_name(node.func) == "torch.load" and tensors_alone):
                found.append(f"{node.lineno}: {_name(node.func)}")
            for option in ("allow_pickle", "shell"):
                if option in options and getattr(options[option], "value", None) is not False:
                    found.append(f"{node.lineno}: {option}")
    return found


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from joblib import load", "torch.load(p)", "np.load(p, allow_pickle=True)", "eval(text)",
     "subprocess.run(c, shell=True)"],
)  # fmt: skip
def test_the_search_finds_what_it_looks_for(source: str) -> None:
    assert _faults(source)


def test_nothing_that_a_file_says_is_run() -> None:
    faults = {path.name: found for path in SOURCES if (found := _faults(path.read_text(encoding="utf-8")))}
    assert not faults, faults


def test_no_scan_leaves_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transformation, its preparation and its files ask nothing of a network."""

    def refused(*_: object) -> None:
        raise AssertionError("the network was asked")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    with pytest.raises(AssertionError, match="network was asked"):
        socket.create_connection(("localhost", 9))
    volume = Volume(head((20, 24, 8)), RAS, Contrast.T1, "scan")
    result = transform(volume, tiny_checkpoint(tmp_path / "tiny.safetensors"), target="T2", n=2, steps=1)
    assert result.save(tmp_path / "out")["json"].exists() and result.mean.any()
