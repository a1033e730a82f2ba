"""The import contract: arrows run down only, and nothing heavy is imported before work starts.

Read from the source with ``ast``, so that it holds for every branch and needs none of the imported packages.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "napari_mrtrans"
ROOT = Path(__file__).parents[1] / "src" / PACKAGE

# From the ground up: a room, which is a folder (or one of the four files beside them), may use what stands before it.
ROOMS = (
    "errors",
    "wording",
    "paths",
    "devices",
    "page",
    "networks",
    "scan",
    "dicom",
    "models",
    "ood",
    "lesion",
    "checkpoints",
    "metrics",
    "datasets",
    "asked",
    "prepare",
    "transformation",
    "follow",
    "training",
    "evaluation",
    "adaptation",
    "cohort",
    "widgets",
    "cli",
)
LEVEL = {name: level for level, name in enumerate(ROOMS)}
#: How many rooms may stand on one another.
FLOORS = 10
MAX_LINES = 300
MAX_PARAMETERS = 8

WINDOW = {"napari", "magicgui", "superqt", "qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6", "vispy"}
#: Arithmetic: neither networks nor image files.
PURE = ("scan", "ood", "lesion")


@dataclass(frozen=True)
class Import:
    """One name imported by one module; ``at_import``: runs when the importing module is imported."""

    importer: str
    imported: str
    line: int
    at_import: bool

    @property
    def top(self) -> str:
        return self.imported.partition(".")[0]

    @property
    def room(self) -> str | None:
        """``transform`` for napari_mrtrans.transform, None for other packages and for the package itself."""
        return _room(self.imported)

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def _room(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == PACKAGE and len(parts) > 1 else None


def _files() -> dict[str, Path]:
    modules = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = [PACKAGE, *path.relative_to(ROOT).with_suffix("").parts]
        if parts[-1] == "__init__":
            parts.pop()
        modules[".".join(parts)] = path
    return modules


FILES = _files()


def _is_type_checking(test: ast.expr) -> bool:
    return "TYPE_CHECKING" in (getattr(test, "id", None), getattr(test, "attr", None))


def _statements(body: list[ast.stmt], at_import: bool) -> Iterator[tuple[ast.stmt, bool]]:
    """Import statements with whether they run at import; those under ``if TYPE_CHECKING`` never run."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, at_import
            continue
        if isinstance(node, ast.If) and _is_type_checking(node.test):
            yield from _statements(node.orelse, at_import)
            continue
        inside = at_import and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for field in ("body", "orelse", "finalbody"):
            yield from _statements(getattr(node, field, []), inside)
        for branch in [*getattr(node, "handlers", []), *getattr(node, "cases", [])]:
            yield from _statements(branch.body, inside)


def _imports_of(module: str) -> Iterator[Import]:
    path = FILES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node, at_import in _statements(ast.parse(path.read_text(encoding="utf-8")).body, True):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            assert isinstance(node, ast.ImportFrom)
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            # "from . import volume" names a module, "from .volume import Volume" a thing in one
            names = [candidate if (candidate := f"{base}.{alias.name}") in FILES else base for alias in node.names]
        for name in dict.fromkeys(names):
            yield Import(module, name, node.lineno, at_import)


IMPORTS = [found for module in FILES for found in _imports_of(module)]


def _broken(imports: list[Import]) -> str:
    return "\n".join(str(found) for found in imports)


def test_rooms_are_the_folders_of_the_package() -> None:
    assert {_room(module) for module in FILES} - {None} == set(ROOMS)


def test_arrows_run_down_only() -> None:
    up = [
        found
        for found in IMPORTS
        if (importer := _room(found.importer)) and found.room and LEVEL[found.room] > LEVEL[importer]
    ]
    assert not up, _broken(up)


def test_the_house_has_few_floors() -> None:
    below = {room: {i.room for i in IMPORTS if _room(i.importer) == room and i.room} - {room} for room in ROOMS}

    def floor(room: str) -> int:
        return 1 + max((floor(other) for other in below[room]), default=0)

    floors = {room: floor(room) for room in ROOMS}
    assert max(floors.values()) <= FLOORS, floors


def test_files_are_short() -> None:
    long = {path.name: lines for path in FILES.values() if (lines := len(path.read_text().splitlines())) > MAX_LINES}
    assert not long, long


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    arguments = function.args
    return [a for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs) if a.arg not in ("self", "cls")]


def _is_option_list(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Every parameter of a command's function is one of its options or arguments, or typer's context."""
    names = {
        target.id
        for node in ast.parse(FILES[f"{PACKAGE}.cli.options"].read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return all(
        "Annotated" in (told := ast.dump(a.annotation)) or "typer" in told or getattr(a.annotation, "id", "") in names
        for a in _parameters(function)
        if a.annotation
    )


def test_signatures_are_short() -> None:
    """But for the maker of ``Request``, whose parameters are its fields, constructors of networks, and commands."""
    long = [
        f"{module}.{node.name}: {len(_parameters(node))} parameters"
        for module, path in FILES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and len(_parameters(node)) > MAX_PARAMETERS
        and not (_room(module) == "cli" and _is_option_list(node))
    ]
    assert not long, "\n".join(long)


def test_only_widgets_know_qt_and_napari() -> None:
    strays = [found for found in IMPORTS if found.top in WINDOW and _room(found.importer) != "widgets"]
    assert not strays, _broken(strays)


@pytest.mark.parametrize("room", PURE)
def test_pure_rooms_know_neither_torch_nor_files(room: str) -> None:
    """Our own file modules are in higher rooms; nibabel's affine arithmetic is welcome."""
    strays = [
        found
        for found in IMPORTS
        if _room(found.importer) == room and found.top in {"torch", "safetensors", "SimpleITK"}
    ]
    assert not strays, _broken(strays)


def test_scheduling_knows_the_standard_library_only() -> None:
    imported = {found.top for found in IMPORTS if found.importer == f"{PACKAGE}.follow.scheduling"}
    assert imported <= sys.stdlib_module_names


def test_networks_know_tensors_only() -> None:
    allowed = {"torch"} | sys.stdlib_module_names
    strays = [
        found
        for found in IMPORTS
        if _room(found.importer) == "networks" and found.room != "networks" and found.top not in allowed
    ]
    assert not strays, _broken(strays)


def _loaded_by(roots: list[str]) -> dict[str, str]:
    """Our modules that importing ``roots`` executes, each with the chain of imports that leads to it."""
    loaded: dict[str, str] = {}
    waiting = [(root, root) for root in roots]
    while waiting:
        module, chain = waiting.pop(0)
        if module in loaded or module not in FILES:
            continue
        loaded[module] = chain
        # importing a module executes the packages it is in
        executed = [found.imported for found in IMPORTS if found.importer == module and found.at_import]
        waiting += [(name, f"{chain} > {name}") for name in [module.rpartition(".")[0], *executed]]
    return loaded


def _early(roots: list[str], packages: set[str]) -> str:
    loaded = _loaded_by(roots)
    return "\n".join(
        f"{loaded[found.importer]} > {found.imported}"
        for found in IMPORTS
        if found.importer in loaded and found.at_import and found.top in packages
    )


def test_torch_comes_when_work_starts() -> None:
    widgets = [module for module in FILES if _room(module) == "widgets"]
    roots = [PACKAGE, f"{PACKAGE}.cli.main", f"{PACKAGE}.cli.train", f"{PACKAGE}.checkpoints.library", *widgets]
    early = _early(roots, {"torch", "lightning_fabric"})
    assert not early, early


def test_headless_parts_load_no_window() -> None:
    early = _early([module for module in FILES if _room(module) != "widgets"], WINDOW)
    assert not early, early


def test_the_reader_of_imports_sees_what_it_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = """
from typing import TYPE_CHECKING
import torch.nn as nn
from . import b
from .b import thing
if TYPE_CHECKING:
    import napari
try:
    import nibabel
except ImportError:
    import SimpleITK
def later():
    with open("x"):
        from ..top import other
class Now:
    import scipy
"""
    path = tmp_path / "a.py"
    path.write_text(source)
    monkeypatch.setitem(FILES, "p.q.a", path)
    monkeypatch.setitem(FILES, "p.q.b", path)
    found = {(item.imported, item.at_import) for item in _imports_of("p.q.a")}
    assert found == {
        ("typing", True),
        ("torch.nn", True),
        ("p.q.b", True),
        ("nibabel", True),
        ("SimpleITK", True),
        ("p.top", False),
        ("scipy", True),
    }
