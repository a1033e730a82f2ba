"""The dock with a stand-in for the command, which says what the test has written down for it."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import Qt, QThreadPool
from qtpy.QtWidgets import QMessageBox

from napari_mrtrans.asked import begun
from napari_mrtrans.widgets.adapt import process
from napari_mrtrans.widgets.adapt.dock import AdaptWidget
from napari_mrtrans.widgets.state import DockState

from ..conftest import write_card

PLAYER = """
import json, pathlib, sys, time
plan = json.loads(pathlib.Path(sys.argv[1]).read_text())
out = pathlib.Path(sys.argv[sys.argv.index("-o") + 1])
(out.parent / "words.json").write_text(json.dumps(sys.argv[2:]))
if plan["learned"]:
    (out / ".adapt-work" / "training").mkdir(parents=True, exist_ok=True)
    (out / ".adapt-work" / "training" / "best.safetensors").write_text("weights")
print("a library talks", flush=True)
for line in plan["lines"]:
    print(json.dumps(line), flush=True)
if plan["waits"]:
    order = sys.stdin.readline()
    if not order:
        (out / "left").write_text("saved")
        sys.exit(2)
    time.sleep(plan["ends_after"])
if plan["error"]:
    print("a remark\\n" + plan["error"], file=sys.stderr)
    sys.exit(2)
(out / "adaptation.json").write_text(json.dumps({"done": True}))
(out / "report.html").write_text("page")
print(json.dumps({**plan["result"], "report": str(out / "report.html")}), flush=True)
"""


def image(value: float) -> dict[str, object]:
    """A 6 x 4 image with a head of one grey in it, as the command tells it."""
    grey = np.zeros((6, 4), np.uint8)
    grey[1:5, 1:3] = round(255 * value)
    return {"shape": [6, 4], "bytes": base64.b64encode(grey.tobytes()).decode()}


LEARNING = [
    {"notice": "1 person, 1 session; 8 min of training and about 2 min of figures."},
    {
        "phase": "training", "done": 0.1, "seconds_left": 540.0, "curve": [[0.0, 1.0]],
        "preview": {
            "pair": "T1->T2", "source": image(0.2), "before": image(0.3), "now": image(0.4), "target": image(0.5)
        },
    },
    {"phase": "training", "done": 0.42, "seconds_left": 348.0, "curve": [[0.0, 1.0], [60.0, 0.9]]},
]  # fmt: skip
ROW = {
    "pair": "T1->T2", "people": 1, "slices": 24, "psnr": [22.89, 24.04], "ssim": [0.77, 0.81], "std_over_rmse": None,
    "covered": None, "corrected": None,
}  # fmt: skip


@dataclass
class Plan:
    """What the command is going to do."""

    path: Path
    lines: list[dict[str, object]] = field(default_factory=lambda: list(LEARNING))
    learned: bool = True
    waits: bool = False
    ends_after: float = 0.0
    error: str = ""
    result: dict[str, object] = field(default_factory=dict)

    def write(self) -> None:
        document = {name: value for name, value in vars(self).items() if name != "path"}
        self.path.write_text(json.dumps(document))


@dataclass
class Adapting:
    """The dock, and the hands of a user."""

    viewer: object
    dock: AdaptWidget
    qtbot: object
    plan: Plan
    home: Path
    user: Path

    def scans(self, *names: str) -> Path:
        """A new folder with files of these names, which nobody reads."""
        folder = self.home.parent / f"data-{len(list(self.home.parent.glob('data-*')))}"
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return folder

    def choose_folder(self, *names: str) -> None:
        """Type the folder and let it be looked at."""
        names = names or ("sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_T2w.nii.gz")
        self.dock.form.folder.line.setText(str(self.scans(*names)))
        self.qtbot.waitUntil(lambda: bool(self.dock.form._found.line or self.dock.form._found.problem))

    def press(self, button: object = None) -> None:
        """Click a button, the big one by default."""
        button = button or self.dock.button
        assert button.isEnabled()
        self.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    def begin(self) -> None:
        """Press Adapt as things are planned."""
        self.plan.write()
        self.press()

    def wait_for(self, *states: DockState) -> None:
        """Let the window live until the dock is in one of ``states``, and its threads have ended."""
        self.qtbot.waitUntil(lambda: self.dock.state in states, timeout=60_000)
        self.qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=10_000)
        self.qtbot.wait(10)

    def end(self) -> DockState:
        """Wait for the end of what runs."""
        self.wait_for(DockState.DONE, DockState.FAILED, DockState.CANCELLED)
        return self.dock.state

    def words(self) -> list[str]:
        """What the command was given."""
        return json.loads((self.home / "words.json").read_text())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a window's adaptations go."""
    monkeypatch.setattr(begun, "adaptation_dir", lambda: tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def sure(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every question is answered with yes, and noted."""
    asked: list[str] = []

    def answer(_: object, __: str, question: str) -> object:
        asked.append(question)
        return QMessageBox.StandardButton.Yes

    monkeypatch.setattr(QMessageBox, "question", answer)
    return asked


@pytest.fixture
def adapting(
    make_napari_viewer: Callable, qtbot: object, checkpoints: Path, home: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Adapting]:  # fmt: skip
    """The dock from the plugin's menu, and a command that is played."""
    made = write_card(checkpoints, "lab-flow", "flow", ["T1->T2", "T2->T1"])
    made.rename(tmp_path / "lab-flow.safetensors")
    result = {
        "name": "lab-flow", "path": str(tmp_path / "lab-flow.safetensors"), "installed": False, "better": True,
        "table": [ROW, {**ROW, "pair": "T2->T1", "psnr": [20.0, 21.0]}], "judged_on": "1 person left out in turn",
        "warnings": [], "lines": [],
    }  # fmt: skip
    plan = Plan(tmp_path / "plan.json", result=result)
    player = tmp_path / "player.py"
    player.write_text(PLAYER)
    monkeypatch.setattr(process, "command", lambda: [sys.executable, str(player), str(plan.path)])
    viewer = make_napari_viewer(show=True)
    _, dock = viewer.window.add_plugin_dock_widget("napari-mrtrans", "Adapt to my scanner")
    dock.form.site.setText("lab")
    yield Adapting(viewer, dock, qtbot, plan, home, checkpoints)
    for one in list(process._alive):
        one.kill()
    qtbot.waitUntil(lambda: not process._alive, timeout=10_000)
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=10_000)
