"""Several recipes in their order: each starts from what those before it made. Stopped, it goes on where it was."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..checkpoints.checkpoint import read_checkpoint
from ..checkpoints.library import searched_first
from ..checkpoints.pool import make_pool
from ..datasets.splits import FILE
from ..errors import RecipeError
from ..paths import write_together
from .catalogue import chain_recipes, load_recipe
from .recipe import Recipe
from .state import STATE, is_trained
from .table import is_given

#: Below the output folder: what is finished, by the names that later recipes know.
FINISHED = "checkpoints"
#: Data folder that is made of another: raw scans, prepared.
RAW, PREPARED = "ms-raw", "ms-raw-prepared"

#: The pool that comes with the package, and the turns of its members.
POOLED, TURNS = "t1-t2-flair-pool", ("flow", "cgan", "flow", "ncsn", "ddpm")

#: Trains one recipe into a folder; second: resume.
Train = Callable[[Recipe, Path, bool], None]
#: Sees that a finished checkpoint of a recipe was trained on the data at hand.
Check = Callable[[Recipe, Path], None]


@dataclass(frozen=True)
class Link:
    """A recipe of the chain.

    Attributes:
        recipe: It.
        folder: Of its run.
    """

    recipe: Recipe
    folder: Path

    @property
    def made(self) -> Path:
        """The checkpoint that it writes."""
        return self.folder / f"{self.recipe.checkpoint_name}.safetensors"

    @property
    def done(self) -> bool:
        """Whether it has been trained to its end, by this very recipe."""
        return is_trained(self.made, self.recipe)

    def make_room(self, say: Callable[[str], None]) -> None:
        """Put aside what another recipe has left there."""
        if self.made.exists() and not (self.folder / STATE).exists():
            names = (f"{self.recipe.checkpoint_name}.earlier{k or ''}.safetensors" for k in itertools.count())
            aside = next(path for name in names if not (path := self.made.with_name(name)).exists())
            self.made.replace(aside)
            if (table := self.folder / FILE).exists() and not is_given(table, self.recipe):
                table.replace(aside.with_suffix(".splits.tsv"))
            say(f"what was there before is '{aside}' now")


def links(chain: str, out: Path, only: str | None = None, overrides: list[str] | None = None) -> list[Link]:
    """The recipes of a chain, in their order: of one of the package's folders, apart from those that name another.

    Args:
        chain: Its name: ``shipped``, ``full``.
        out: Where each has its folder.
        only: A recipe, or the checkpoint that one writes: it and what it starts from.
        overrides: As for a single recipe.

    Raises:
        RecipeError: there is no such chain or recipe.
    """
    recipes = [load_recipe(name, overrides) for name in chain_recipes(chain)]
    if only is not None:
        wanted = [r.name for r in recipes if only in (r.name, r.checkpoint_name)]
        if not wanted:
            raise RecipeError(f"No recipe '{only}' in '{chain}': {', '.join(r.name for r in recipes)}.")
        recipes = _with_parents(recipes, wanted[-1])
    return [Link(recipe, out / recipe.name) for recipe in recipes]


def to_calibrate(recipes: Sequence[Recipe]) -> set[str]:
    """Names of the checkpoints to be used as they are: no way stations, and no networks for other planes."""
    axial = [recipe for recipe in recipes if recipe.data.planes == ("axial",)]
    return {recipe.checkpoint_name for recipe in axial} - {recipe.start_from for recipe in axial}


def _with_parents(recipes: Sequence[Recipe], name: str) -> list[Recipe]:
    """The recipe and, of each checkpoint that it starts from, the last one before it that writes that."""
    chosen: list[Recipe] = []
    needed: set[str] = set()
    for recipe in reversed(recipes):
        if recipe.name == name or recipe.checkpoint_name in needed:
            needed.discard(recipe.checkpoint_name)
            needed |= recipe.parents
            chosen.append(recipe)
    return chosen[::-1]


def run_chain(
    chain: Sequence[Link],
    out: Path,
    train: Train,
    say: Callable[[str], None] = print,
    check: Check = lambda recipe, made: None,
) -> list[Path]:
    """Train what is not trained yet; the checkpoints, in their order.

    Raises:
        MrtransError: a recipe cannot be trained, or what was trained before is refused by ``check``; those before it
            are kept.
    """
    finished = out / FINISHED
    made: list[Path] = []
    with searched_first(finished):
        for number, link in enumerate(chain, 1):
            if link.done:
                check(link.recipe, link.made)
                say(f"{number}/{len(chain)} {link.recipe.name}: done before")
            else:
                say(f"{number}/{len(chain)} {link.recipe.name}")
                link.make_room(say)
                train(link.recipe, link.folder, (link.folder / STATE).exists())
                if not link.done:
                    say(f"{link.recipe.name} is not finished; the same command goes on with it.")
                    return made
            made += write_together(finished, {link.made.name: partial(shutil.copyfile, link.made)})
    return made


def pool_of(finished: Path) -> Path | None:
    """The package's pool, of checkpoints in ``finished``; None where not all of its members are there."""
    files = {family: finished / f"t1-t2-flair-{family}.safetensors" for family in TURNS}
    if not all(file.is_file() for file in files.values()):
        return None
    return make_pool(POOLED, [read_checkpoint(files[family]) for family in TURNS], finished).path
