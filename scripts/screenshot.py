"""Make the pictures in docs/images: every state of every dock, on the sample brain or a simulated one.

    python scripts/screenshot.py [SCENE ...] [--list]

Needs the shipped checkpoints. Without a display it runs itself under Xvfb. The user's settings are left alone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from scenes import SCENES, let_live

if TYPE_CHECKING:
    import napari

SIZE = (1250, 860)
IMAGES = Path(__file__).parents[1] / "docs" / "images"


def under_xvfb() -> None:
    """Start this script again with a virtual display if there is none."""
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        screen = f"-screen 0 {SIZE[0] + 200}x{SIZE[1] + 100}x24"
        os.execvp("xvfb-run", ["xvfb-run", "-a", "-s", screen, sys.executable, *sys.argv])


def take(viewer: napari.Viewer, path: Path) -> None:
    """Save the window as it is, in 256 colours, which makes the file a third as large."""
    from PIL import Image

    let_live(0.5)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(viewer.window.screenshot(canvas_only=False, flash=False)).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"wrote {path} ({path.stat().st_size // 1000} kB)", flush=True)


def show(name: str) -> None:
    """Open napari, set the scene, take its picture, close."""
    import napari

    viewer = napari.Viewer(title="napari")
    viewer.window.resize(*SIZE)
    end = SCENES[name](viewer)
    take(viewer, IMAGES / f"{name}.png")
    end()
    viewer.close()


def main() -> None:
    """One process for each picture: nothing is left of the one before."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help="default: all")
    parser.add_argument("--list", action="store_true", help="name the scenes")
    arguments = parser.parse_args()
    if unknown := set(arguments.scenes) - SCENES.keys():
        parser.error(f"no scene {', '.join(sorted(unknown))}; --list names them")
    if arguments.list:
        print("\n".join(SCENES))
        return
    under_xvfb()
    names = arguments.scenes or list(SCENES)
    if len(names) == 1:
        with tempfile.TemporaryDirectory() as folder:
            for kind in ("CONFIG", "STATE", "DATA"):
                os.environ[f"XDG_{kind}_HOME"] = folder
            show(names[0])
        return
    failed = [name for name in names if subprocess.run([sys.executable, __file__, name], check=False).returncode]
    if failed:
        sys.exit(f"no picture of {', '.join(failed)}")


if __name__ == "__main__":
    main()
