"""The one place that knows where files live."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

import platformdirs

_APP = "napari-mrtrans"


def shipped_checkpoint_dir() -> Path:
    """Checkpoints that come with the package."""
    return Path(str(files("napari_mrtrans"))) / "resources" / "checkpoints"


def user_checkpoint_dir() -> Path:
    """The user's own checkpoints; the environment variable NAPARI_MRTRANS_CHECKPOINTS overrides the place."""
    override = os.environ.get("NAPARI_MRTRANS_CHECKPOINTS")
    return Path(override) if override else platformdirs.user_data_path(_APP) / "checkpoints"


def training_cache_dir() -> Path:
    """Decoded training volumes."""
    return platformdirs.user_cache_path(_APP) / "training"


def recipe_dir() -> Path:
    """Recipes that come with the package."""
    return Path(str(files("napari_mrtrans"))) / "training" / "recipes"
