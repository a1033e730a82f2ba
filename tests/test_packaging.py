"""What a user installs: the wheel, the sdist, the entry points, and how light the first import is."""

from __future__ import annotations

import email
import os
import re
import runpy
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import pytest
import yaml

CHECKOUT = Path(__file__).parents[1]
PACKAGE = CHECKOUT / "src" / "napari_mrtrans"
SCAN_OR_PICTURE = (
    ".nii",
    ".nii.gz",
    ".mgz",
    ".mnc",
    ".dcm",
    ".png",
    ".jpg",
    ".jpeg",
    ".gif",
    ".tif",
    ".tiff",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist of this checkout, and the wheel made from that sdist."""
    for needed in ("build", "hatchling"):
        pytest.importorskip(needed, reason=f"{needed} is not installed: pip install 'napari-mrtrans[test]'")
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(CHECKOUT)]
    told = {**os.environ, "NAPARI_MRTRANS_REPOSITORY": "https://github.com/someone/napari-mrtrans"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=told)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> list[str]:
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def sdist(built: Path) -> list[str]:
    """Names inside the sdist, below its one top folder."""
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        assert not [member.name for member in archive if member.islnk() or member.issym()]
        return [str(PurePosixPath(*PurePosixPath(member.name).parts[1:])) for member in archive if member.isfile()]


def _files_in_package() -> list[str]:
    return sorted(
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )


def _below(folder: str, names: list[str]) -> list[str]:
    return sorted(name.removeprefix(folder) for name in names if name.startswith(folder))


def test_wheel_holds_the_package_once(wheel: list[str]) -> None:
    assert _below("napari_mrtrans/", wheel) == _files_in_package()
    others = {name.partition("/")[0] for name in wheel} - {"napari_mrtrans"}
    assert others == {f"napari_mrtrans-{distribution('napari-mrtrans').version}.dist-info"}


def test_sdist_holds_the_package_once(sdist: list[str]) -> None:
    assert _below("src/napari_mrtrans/", sdist) == _files_in_package()
    assert {name.partition("/")[0] for name in sdist}.isdisjoint({"napari.yaml", "training", "resources"})


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_manifest_recipes_and_checkpoints_come_once(kind: str, request: pytest.FixtureRequest) -> None:
    names: list[str] = request.getfixturevalue(kind)
    count = Counter(PurePosixPath(name).name for name in names)
    assert count["napari.yaml"] == 1
    checkpoints = [path.name for path in (PACKAGE / "resources" / "checkpoints").glob("*.safetensors")]
    recipes = [path.name for path in (PACKAGE / "training" / "recipes").rglob("*.yaml")]
    assert checkpoints
    assert recipes
    for name in checkpoints + recipes:
        assert count[name] == 1, name


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_no_scan_and_no_picture_is_packed(kind: str, request: pytest.FixtureRequest) -> None:
    names: list[str] = request.getfixturevalue(kind)
    assert not [name for name in names if name.lower().endswith(SCAN_OR_PICTURE)]


def test_an_index_shows_links_and_pictures_that_lead_somewhere(built: Path) -> None:
    """The wheel was made from the sdist, which has no git to ask."""
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        stated = email.message_from_bytes(archive.read(name))
    home = "https://github.com/someone/napari-mrtrans"
    urls = dict(line.split(", ", 1) for line in stated.get_all("Project-URL", []))
    assert urls.pop("Paper").startswith("https://doi.org/")
    assert urls == {
        "Documentation": f"{home}/blob/HEAD/README.md",
        "Source": home,
        "Issues": f"{home}/issues",
        "Changelog": f"{home}/blob/HEAD/CHANGELOG.md",
    }
    readme = str(stated.get_payload())
    assert f"]({home}/raw/HEAD/docs/images/transform-done.png)" in readme
    targets = re.findall(r"\]\(([^)\s]+)\)", readme)
    assert not [target for target in targets if not target.startswith(("https://", "#"))]
    for target in targets:
        inside = re.fullmatch(rf"{home}/(?:blob|raw)/HEAD/([^#]+)(?:#.*)?", target)
        assert inside is None or (CHECKOUT / inside[1]).exists(), target


@pytest.fixture(scope="module")
def repository() -> Callable[[Path], str]:
    pytest.importorskip("hatchling", reason="hatchling is not installed: pip install 'napari-mrtrans[test]'")
    asked: Callable[[Path], str] = runpy.run_path(str(CHECKOUT / "scripts" / "package_metadata.py"))["repository"]
    return asked


@pytest.mark.parametrize(
    ("origin", "home"),
    [
        ("git@github.com:lab/napari-mrtrans.git", "https://github.com/lab/napari-mrtrans"),
        ("https://me:secret@github.com/lab/napari-mrtrans.git", "https://github.com/lab/napari-mrtrans"),
        ("ssh://git@gitlab.com/lab/group/napari-mrtrans", "https://gitlab.com/lab/group/napari-mrtrans"),
        ("https://codeberg.org/lab/napari-mrtrans/", "https://codeberg.org/lab/napari-mrtrans"),
        ("https://git.lab.example/napari-mrtrans", ""),
        ("/srv/git/napari-mrtrans", ""),
        (None, ""),
    ],
)
def test_the_address_is_that_of_a_public_forge(
    repository: Callable[[Path], str], origin: str | None, home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NAPARI_MRTRANS_REPOSITORY", raising=False)
    assert repository(tmp_path) == ""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    if origin is not None:
        subprocess.run(["git", "-C", str(tmp_path), "remote", "add", "origin", origin], check=True)
    assert repository(tmp_path) == home


def test_a_told_address_that_is_none_is_refused(
    repository: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAPARI_MRTRANS_REPOSITORY", "https://git.lab.example/napari-mrtrans")
    with pytest.raises(ValueError, match=r"must be a repository at github\.com, gitlab\.com"):
        repository(tmp_path)


@pytest.mark.parametrize("link", ["napari.yaml", "training", "resources"])
def test_top_level_links_lead_into_the_package(link: str) -> None:
    path = CHECKOUT / link
    if not path.is_symlink():
        pytest.skip("the links are part of a git checkout only")
    assert not path.readlink().is_absolute()
    assert path.resolve() == (PACKAGE / link).resolve()
    assert path.exists()


def test_entry_points() -> None:
    points = {(point.group, point.name): point.value for point in distribution("napari-mrtrans").entry_points}
    assert points == {
        ("console_scripts", "napari-mrtrans"): "napari_mrtrans.cli.main:main",
        ("console_scripts", "napari-mrtrans-train"): "napari_mrtrans.cli.train:main",
        ("napari.manifest", "napari-mrtrans"): "napari_mrtrans:napari.yaml",
    }


def test_manifest_names_things_that_exist() -> None:
    manifest = yaml.safe_load((PACKAGE / "napari.yaml").read_text(encoding="utf-8"))
    assert manifest["name"] == "napari-mrtrans"
    for command in manifest["contributions"]["commands"]:
        module, _, attribute = command["python_name"].partition(":")
        spec = find_spec(module)
        assert spec is not None, f"no module {module}"
        assert spec.origin is not None
        source = Path(spec.origin).read_text(encoding="utf-8")
        assert f"class {attribute}" in source or f"def {attribute}(" in source, command["python_name"]
    package, _, icon = manifest["icon"].partition(":")
    assert PACKAGE.parent.joinpath(*package.split("."), icon).is_file()


HEAVY = (
    "torch",
    "napari",
    "qtpy",
    "magicgui",
    "lightning_fabric",
    "nilearn",
    "sklearn",
    "skimage",
    "matplotlib",
)


@pytest.mark.parametrize(
    "code",
    [
        "import napari_mrtrans",
        "import napari_mrtrans.checkpoints.library; napari_mrtrans.list_checkpoints()",
        "from napari_mrtrans.cli.main import main; sys.argv = ['napari-mrtrans', '--help']; main()",
        "from napari_mrtrans.cli.train import main; sys.argv = ['napari-mrtrans-train', '--help']; main()",
    ],
    ids=["import", "list_checkpoints", "help", "train-help"],
)
def test_first_contact_is_light(code: str) -> None:
    """Nothing heavy is loaded by the import or by --help (that is what keeps --help under a second)."""
    report = f"print('LOADED', *(name for name in {HEAVY!r} if name in sys.modules))"
    program = f"import sys, atexit\natexit.register(lambda: {report})\n{code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["LOADED"]
