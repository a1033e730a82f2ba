"""The links of the package, which depend on where the project lives: Hatch asks for them when it builds.

The address is that of the git remote ``origin`` on a public forge, or ``NAPARI_MRTRANS_REPOSITORY``. With it the
metadata gets Documentation, Source, Issues and Changelog, and the README's pictures and links are made absolute, since
a package index shows it without the repository around it. Without one (no remote yet) there is neither, rather than
dead links.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

#: The environment variable that says it where git does not.
TOLD = "NAPARI_MRTRANS_REPOSITORY"
PAPER = "https://doi.org/10.1038/s41598-025-31958-3"
#: What stands between the repository and the path of a page, and of a picture, and its issues, by forge.
PATHS = {
    "github.com": ("blob/HEAD", "raw/HEAD", "issues"),
    "gitlab.com": ("-/blob/HEAD", "-/raw/HEAD", "-/issues"),
    "codeberg.org": ("src/branch/main", "raw/branch/main", "issues"),
}
_REMOTE = re.compile(r"(?:https://|ssh://|git://)?(?:[^@/]*@)?(?P<host>[^/:@]+)[:/](?P<path>[^:]+?)(?:\.git)?/?")
_LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s#:]+)(?P<part>#[^)\s]*)?\)")


class LinksHook(MetadataHookInterface):
    """Fills ``urls`` and ``readme``, which pyproject.toml leaves open."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        root = Path(self.root)
        home = repository(root)
        metadata["urls"] = urls(home)
        text = (root / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": with_links(text, home)}


def repository(root: Path) -> str:
    """Where the project lives, as https and without the name or the key of whoever cloned it; empty where unknown.

    Raises:
        ValueError: what was told is no address of a forge that is known.
    """
    told = os.environ.get(TOLD, "")
    found = _REMOTE.fullmatch(told or _origin(root))
    if found is not None and found["host"] in PATHS:
        return f"https://{found['host']}/{found['path']}"
    if told:
        raise ValueError(
            f"{TOLD} is '{told}'; it must be a repository at {', '.join(PATHS)}, as https://HOST/OWNER/NAME."
        )
    return ""


def _origin(root: Path) -> str:
    if not (root / ".git").exists():  # the sources may lie in another's repository
        return ""
    command = ["git", "-C", str(root), "remote", "get-url", "origin"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def urls(home: str) -> dict[str, str]:
    """The metadata's links."""
    links = {"Paper": PAPER}
    if home:
        pages, _, issues = _paths(home)
        links |= {
            "Documentation": f"{pages}/README.md",
            "Source": home,
            "Issues": issues,
            "Changelog": f"{pages}/CHANGELOG.md",
        }
    return links


def with_links(text: str, home: str) -> str:
    """A Markdown ``text`` whose pictures and links into the repository lead to ``home``; unchanged without one."""
    if not home:
        return text
    pages, pictures, _ = _paths(home)

    def absolute(link: re.Match[str]) -> str:
        base = pictures if link["picture"] else pages
        return f"{link['picture']}[{link['text']}]({base}/{link['target']}{link['part'] or ''})"

    return _LINK.sub(absolute, text)


def _paths(home: str) -> list[str]:
    return [f"{home}/{path}" for path in PATHS[home.split("/")[2]]]
