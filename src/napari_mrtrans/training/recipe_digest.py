"""The digest of a recipe: it tells whether a run, or a file, is of this very recipe."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, TypeAdapter

#: Keys that came after checkpoints had been shipped: they count where they are used, so that the digests of the
#: recipes that made those still hold.
_LATER = (
    ("optimiser", "critic_lr"),
    ("checkpoint",),
    ("restyle_from",),
    ("restyle_strength",),
    ("only_contrast",),
    ("cross_means",),
    ("data", "framing"),
    ("data", "computed_pd"),
    ("data", "planes"),
    ("data", "seed"),
    ("augmentation", "source_curve"),
    ("augmentation", "source_slab_mm"),
    ("optimiser", "name"),
    ("sampler", "mirror"),
)


def digest_of(recipe: BaseModel) -> str:
    """Of everything that determines the result."""
    document = recipe.model_dump(mode="json")
    for *parents, key in _LATER:
        holder, kind = document, type(recipe)
        for parent in parents:
            holder, kind = holder[parent], type(getattr(recipe, parent))
        if holder[key] == TypeAdapter(Any).dump_python(kind.model_fields[key].default, mode="json"):
            del holder[key]
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
