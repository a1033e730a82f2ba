"""What the first use of a checkpoint loads."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
from napari_mrtrans.checkpoints.library import list_checkpoints
from napari_mrtrans.checkpoints.pool import members_of
for checkpoint in (member for listed in list_checkpoints() for member in members_of(listed)):
    checkpoint.build()
    assert "torch._dynamo" not in sys.modules, checkpoint.name
"""


def test_no_compiler_is_loaded_to_build_a_checkpoint() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
