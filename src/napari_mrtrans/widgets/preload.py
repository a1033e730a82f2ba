"""Loading torch without stopping the window."""

from __future__ import annotations

import ctypes
import os
import sys
from importlib.util import find_spec
from pathlib import Path

LIBRARIES = ("libtorch_cpu.so", "libtorch_cuda.so", "libtorch_python.so")


def preload_torch() -> None:
    """Map torch's libraries ahead of its import, from a thread, with the interpreter lock released.

    ``import torch`` holds that lock for a third of a second or more while the dynamic linker works through these
    files, and napari's window stands still. A foreign call releases it; the import then finds the files mapped.
    Does nothing where it cannot help: other systems, torch imported already, files elsewhere.
    """
    if sys.platform != "linux" or "torch" in sys.modules:
        return
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.argtypes = (ctypes.c_char_p, ctypes.c_int)
    dlopen.restype = ctypes.c_void_p
    for name in LIBRARIES:
        library = Path(spec.origin).parent / "lib" / name
        if library.exists():
            dlopen(os.fsencode(library), os.RTLD_NOW)
