"""What is known of a safetensors file without its tensors: its header, and its digest."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..paths import file_digest


def digest(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        CheckpointError: it is gone, or cannot be read.
    """
    try:
        return file_digest(path)
    except OSError as error:
        raise CheckpointError(
            f"'{path}' cannot be read ({error.strerror or error}). Put it back, or choose another."
        ) from None


def header_size(path: Path) -> int:
    """Bytes before the tensors of a safetensors file."""
    with path.open("rb") as file:
        return 8 + int(struct.unpack("<Q", file.read(8))[0])


def read_header(path: Path) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Tensor entries and metadata of a safetensors file (format: 8-byte little-endian length, then JSON).

    Raises:
        CheckpointError: it is none, or truncated.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(8)
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
            if not 2 <= length <= min(size - 8, 100_000_000):
                raise ValueError("not a safetensors header")
            header = json.loads(file.read(length))
        metadata = header.pop("__metadata__", {})
        if not isinstance(metadata, dict):
            raise ValueError("metadata is no mapping")
        for entry in header.values():
            if not all(isinstance(size, int) for size in (*entry["shape"], entry["data_offsets"][1])):
                raise ValueError("sizes are no integers")
    except OSError as error:
        raise CheckpointError(f"'{path}' cannot be read ({error.strerror or error}).") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise CheckpointError(
            f"'{path.name}' is truncated or not a safetensors checkpoint; give another, or install it again."
        ) from None
    return header, metadata


def stamp(path: Path) -> tuple[int, int] | None:
    """Size in bytes and time of the last change; None where there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def difference(expected: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]) -> str:
    """What tensors of these shapes have other than is expected, in words; empty: nothing."""
    if missing := sorted(expected.keys() - found.keys()):
        return f"{len(missing)} tensors are missing ({missing[0]}, …)"
    if extra := sorted(found.keys() - expected.keys()):
        return f"{len(extra)} tensors are superfluous ({extra[0]}, …)"
    for name, shape in expected.items():
        if found[name] != shape:
            return f"tensor {name} has shape {found[name]}, expected {shape}"
    return ""
