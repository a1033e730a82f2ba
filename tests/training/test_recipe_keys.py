"""The list of a recipe's keys."""

from __future__ import annotations

import yaml

from napari_mrtrans.training.catalogue import load_recipe
from napari_mrtrans.training.recipe import Recipe
from napari_mrtrans.training.recipe_keys import keys_of


def test_every_key_is_told_and_has_its_default() -> None:
    keys = {key.name: key for key in keys_of(Recipe)}
    assert all(key.meaning for key in keys.values())
    assert (keys["optimiser.lr"].usual, keys["model"].usual, keys["data.phantom"].usual) == ("0.001", "", "null")
    assert yaml.safe_load(keys["optimiser.betas"].usual) == [0.9, 0.99]


def test_no_key_of_a_shipped_recipe_is_missing() -> None:
    document = load_recipe("t1-t2-flair-direct").model_dump(mode="json")
    names = {key.name.replace("[]", "") for key in keys_of(Recipe)}

    def walk(part: object, above: str) -> None:
        if isinstance(part, dict) and above != "options.":
            for name, value in part.items():
                assert any(known == above + name or known.startswith(f"{above}{name}.") for known in names), name
                walk(value, f"{above}{name}.")
        elif isinstance(part, list):
            for value in part:
                walk(value, above)

    walk(document, "")
