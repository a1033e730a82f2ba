from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.runs import Material, Reference, References, Server


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if sys.platform != "linux":
        pytest.skip("forks processes that have everything loaded")
    server = Server(tmp_path_factory.mktemp("faults"))
    yield server
    server.close()


@pytest.fixture(scope="package")
def material(server: Server) -> Material:
    folder: Path = server.folder / "material"
    folder.mkdir()
    return Material(folder)


@pytest.fixture(scope="package")
def references(server: Server, material: Material) -> dict[str, Reference]:
    return References(server, material)
