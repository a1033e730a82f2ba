"""Recipes that come with the package, and recipes from files, with overrides."""

from __future__ import annotations

import copy
import difflib
import itertools
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ..checkpoints.card import first_problem
from ..errors import RecipeError
from ..paths import recipe_dir
from .recipe import Recipe


def list_recipes() -> dict[str, Path]:
    """Recipes that come with the package, by name, with the file that holds each."""
    return {name: path for name, (path, _) in _catalogue().items()}


def chain_recipes(chain: str) -> list[str]:
    """The recipes of a chain, in their order: of one of the package's folders, apart from those that name another.

    Raises:
        RecipeError: there is no such chain.
    """
    names = [name for name, (path, recipe) in _catalogue().items() if recipe.get("chain", path.parent.name) == chain]
    if not names:
        raise RecipeError(f"No chain of recipes '{chain}'; there are shipped and full.")
    return names


@cache
def _catalogue() -> dict[str, tuple[Path, dict[str, Any]]]:
    """File and content of each of the package's recipes.

    A file holds one, or those below ``recipes`` on top of what is ``common``, or those that its ``matrix`` spans.
    """
    recipes = {}
    for path in sorted(recipe_dir().rglob("*.yaml")):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        if "matrix" in document:
            found = _span(document["matrix"])
        elif "recipes" in document:
            found = {
                name: {"name": name, **_merged(document["common"], own)} for name, own in document["recipes"].items()
            }
        else:
            found = {path.stem: document}
        recipes.update({name: (path, recipe) for name, recipe in found.items()})
    return recipes


def _span(matrix: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every model on every ordered pair of every data set's contrasts: the common keys, the set's, the model's."""
    recipes = {}
    for dataset, about in matrix["datasets"].items():
        for source, target in itertools.permutations(about["contrasts"], 2):
            stem = f"paper-{dataset}-{source}-{target}".lower()
            for model, own in matrix["models"].items():
                document = _merged(_merged(matrix["common"], about["recipe"]), own)
                document |= {"name": f"{stem}-{model}", "pairs": [f"{source}->{target}"]}
                if "start_from" in document:
                    document["start_from"] = document["start_from"].format(stem=stem)
                recipes[document["name"]] = document
    return recipes


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = {
        key: _merged(base[key], over[key]) for key in base.keys() & over.keys()
        if isinstance(base[key], dict) and isinstance(over[key], dict)
    }  # fmt: skip
    return {**base, **over, **both}


class _EachKeyOnce(yaml.SafeLoader):
    """Refuses a key that is written twice in one place, of which YAML would take the last."""

    @classmethod
    def document(cls, text: str) -> Any:
        """What the text says."""
        loader = cls(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()

    def compose_mapping_node(self, anchor: dict[Any, Any]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key in (key for key, _ in node.value if key.tag == "tag:yaml.org,2002:str"):
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"'{key.value}' stands twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return node


def load_recipe(name: str | Path, overrides: list[str] | None = None) -> Recipe:
    """A recipe by shipped name or by file, with ``key.sub=value`` overrides (values are YAML).

    Raises:
        RecipeError: no such recipe, not YAML, an unknown key or a wrong type; the text names the key.
    """
    path = Path(name)
    try:
        if path.suffix in (".yaml", ".yml"):
            document = _EachKeyOnce.document(path.read_text(encoding="utf-8"))
        else:
            document = _shipped(str(name))
    except OSError as error:
        raise RecipeError(f"Recipe '{path}' cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise RecipeError(f"Recipe '{path}' is not in UTF-8; save it in that encoding.") from None
    except yaml.YAMLError as error:
        words = " ".join(str(error).split()).replace(' in "<unicode string>"', "")
        spaces = ". Indent with spaces instead of tabs." if "'\\t'" in words else ""
        raise RecipeError(f"Recipe '{path}' is not YAML: {words}{spaces}") from None
    if not isinstance(document, dict):
        raise RecipeError(f"Recipe '{path}' is empty or not a mapping of keys.")
    for override in overrides or []:
        _override(document, override)
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        raise RecipeError(f"Recipe '{path.name}': {first_problem(error)}{_meant(error)}") from None


def _meant(error: ValidationError) -> str:
    """What an unknown key may have been meant for."""
    first = error.errors()[0]
    if first["type"] != "extra_forbidden":
        return "."
    schema = Recipe.model_json_schema()
    known = {key for part in (schema, *schema["$defs"].values()) for key in part.get("properties", {})}
    close = difflib.get_close_matches(str(first["loc"][-1]), sorted(known), 1)
    return f"; did you mean '{close[0]}'?" if close else "; --show lists the keys."


def _shipped(name: str) -> dict[str, Any]:
    """A copy of the package's recipe ``name``."""
    if name not in _catalogue():
        own = [known for known in _catalogue() if not known.startswith("paper-")]
        raise RecipeError(
            f"No recipe '{name}'. Shipped recipes: {', '.join(own)}, and paper-DATASET-SOURCE-TARGET-MODEL "
            "(see --list); or give a .yaml file."
        )
    return {key: copy.deepcopy(value) for key, value in _catalogue()[name][1].items() if key != "chain"}


def _override(document: dict[str, Any], text: str) -> None:
    key, separator, value = text.partition("=")
    if not separator or not all(key.split(".")):
        raise RecipeError(f"--set {text}: write it as key=value, e.g. optimiser.lr=0.0002.")
    node: Any = document
    *parents, last = key.split(".")
    for part in parents:
        if isinstance(node, dict):
            node = node.setdefault(part, {})
        else:
            node = node[int(part)] if isinstance(node, list) and part.isdigit() and int(part) < len(node) else None
    try:
        new = yaml.safe_load(value)
    except yaml.YAMLError:
        raise RecipeError(f"--set {text}: the value is not YAML.") from None
    if isinstance(node, list) and last.isdigit() and int(last) < len(node):
        node[int(last)] = new
    elif isinstance(node, dict):
        node[last] = new
    else:
        raise RecipeError(f"--set {text}: the recipe has no place for '{key}'.")
