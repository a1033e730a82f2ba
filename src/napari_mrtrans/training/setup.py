"""From a recipe and a data folder to the sessions of each split."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ..checkpoints.library import load_checkpoint
from ..datasets.bids import PLANE_MARK, Session, data_set, known_by, subject_of
from ..datasets.layout import Shares
from ..datasets.packed import SUFFIX, PackedSession, packed_splits, read_packed
from ..datasets.phantom import Phantom
from ..datasets.phantom_options import PhantomOptions
from ..datasets.readers import read_folders
from ..datasets.splits import PARTS, HeldOut, draw_held_out, read_splits, split_sessions
from ..datasets.store import Source
from ..datasets.turned import TurnedSession, in_planes
from ..errors import CheckpointError, MrtransError, RecipeError
from ..paths import training_cache_dir
from ..scan.contrasts import Pair
from .recipe import Recipe

#: Instead of a data folder: train on phantoms alone.
PHANTOM = "phantom"
#: Of the draw of the people held out.
DIVISION = 0
#: So many people must be new to the checkpoints that a recipe builds on for some of them to join those held out.
FEW_NEW = 5


def check_model(recipe: Recipe) -> None:
    """See before any data are read that the recipe's model can be built and its crops fit the network.

    Raises:
        RecipeError: naming the key.
    """
    import torch

    from ..models import build
    from ..models.sampler_plan import check_sampler
    from ..models.shapes import answer_once

    try:
        check_sampler(recipe.sampler.name)
    except MrtransError as error:
        raise RecipeError(f"Recipe '{recipe.name}': sampler.name: {error}") from None
    never_turned = recipe.augmentation.flip == 0 and recipe.only_contrast is None  # else its parent's matters
    if recipe.sampler.mirror and (never_turned or recipe.data.planes != ("axial",)):
        raise RecipeError(
            f"Recipe '{recipe.name}': sampler.mirror is for networks that see axial slices, mirrored ones among them: "
            "set it to false, or augmentation.flip above 0 and data.planes to [axial]."
        )
    distance = recipe.options.get("neighbours_mm", 0)
    if not isinstance(distance, int | float) or not 0 <= distance < math.inf:
        raise RecipeError(
            f"Recipe '{recipe.name}': options.neighbours_mm: {distance} is no distance; give mm, or 0 for the slice."
        )
    try:
        with torch.device("meta"):
            model = build(recipe.model, {**recipe.options, "conditional": recipe.conditional})
        answer_once(model.eval(), *(model.multiple * -(-model.smallest_crop // model.multiple),) * 2)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise RecipeError(f"Recipe '{recipe.name}': options: {' '.join(str(error).split())}.") from None
    _check_attention(recipe)
    for index, stage in enumerate(recipe.stages):
        where = f"Recipe '{recipe.name}': stages.{index}.crop"
        if any(size < 1 or size % model.multiple for size in stage.crop):
            raise RecipeError(f"{where}: not a multiple of {model.multiple}.")
        if min(stage.crop) < model.smallest_crop:
            raise RecipeError(f"{where}: {recipe.model} needs at least {model.smallest_crop}.")


def _check_attention(recipe: Recipe) -> None:
    """A level that is not there would be left out without a word."""
    from ..networks.unet import UNetOptions

    network = recipe.options.get("network")
    if not isinstance(network, dict) or recipe.model == "resvit":
        return
    levels = range(len(network.get("widths", UNetOptions.widths)))
    if none := [level for level in network.get("attention", ()) if level not in levels]:
        raise RecipeError(
            f"Recipe '{recipe.name}': options.network.attention: no level {none[0]}; they are 0 (the finest) to "
            f"{levels[-1]}."
        )


def check_parents(recipe: Recipe) -> None:
    """See before any data are read that the checkpoints are there that the recipe builds on.

    Raises:
        RecipeError: naming the key.
    """
    for key in ("start_from", "mean_checkpoint", "restyle_from", "cross_means"):
        named = getattr(recipe, key) or ()
        for name in (named,) if isinstance(named, str) else named:
            try:
                load_checkpoint(name)
            except CheckpointError as error:
                value = "FILE" if isinstance(named, str) else "'[FILE, …]'"
                raise RecipeError(
                    f"Recipe '{recipe.name}': {key}: {error} Name one that is there: --set {key}={value}"
                ) from None


def open_splits(recipe: Recipe, root: Path | None, cache: Path | None = None) -> tuple[dict[str, Source], list[str]]:
    """Sessions of ``train``, ``validation`` and ``test``, and one line for whatever is left out.

    Phantoms, if the recipe asks for them, are all in ``train``; without a ``root`` there is nothing else, and what the
    recipe holds out plays no part.

    Raises:
        RecipeError: folders or held-out subjects are missing, or nothing is left to train on.
    """
    data = recipe.data
    if root is not None and root.suffix == SUFFIX:
        return _unpacked(recipe, root, cache or training_cache_dir())
    options = data.phantom or (PhantomOptions() if root is None else None)
    if options and "axial" not in data.planes:
        raise RecipeError("data.planes: phantoms are seen in axial slices only; add axial, or leave phantoms out.")
    phantoms = [Phantom(_data_seed(recipe), index, options) for index in range(options.subjects)] if options else []
    usable, held_out, skipped = ([], HeldOut(), []) if root is None else _find(recipe, root)
    if skipped and not usable and not phantoms:
        raise RecipeError(f"No session can be used, such as {skipped[0]}.")
    divided = split_sessions(usable, held_out)
    parts: dict[str, list[Session | TurnedSession]] = {
        part: in_planes(sessions, ("axial",) if part == "test" else data.planes, skipped)
        for part, sessions in divided.items()
    }
    skipped += _unmasked(recipe, [session.mask is not None for session in divided["train"]])
    if not parts["train"] and not phantoms:
        named = data.test or data.validation or data.splits
        fewer = (
            "name fewer under test and validation" if named else "lower data.holdout_fraction (at 0 nobody is held out)"
        )
        planes = "" if data.planes == ("axial",) else ", or more planes"
        raise RecipeError(f"No subject is left to train on; {fewer}{planes}, or give scans of more people.")
    where = cache or training_cache_dir()
    added = {"train": phantoms}
    return {
        part: Source((*sessions, *added.get(part, [])), data.spacing_mm, where) for part, sessions in parts.items()
    }, skipped


def _unpacked(recipe: Recipe, file: Path, cache: Path) -> tuple[dict[str, Source], list[str]]:
    """What a packed file holds of the recipe's folders, kept apart as the recipe says, and a line for what is left out.

    Whom the recipe does not mention is in the part that he was packed in, or, where it has a holdout_fraction, in that
    for which what it builds on held him out; those of test are there by name only.
    """
    data = recipe.data
    if data.planes != ("axial",):
        raise RecipeError(f"data.planes: '{file.name}' holds axial slices only; give the folder of the scans.")
    packed = read_packed(file)
    sessions = [session for session in packed if PLANE_MARK not in session.name]
    if other := {session.pixel_mm for session in sessions} - {data.spacing_mm}:
        raise RecipeError(f"data.spacing_mm: '{file.name}' has pixels of {min(other):g} mm; pack the scans anew.")
    folders, there = {*data.folders}, {data_set(session.name) for session in sessions}
    if len(folders) == 1 and (folders == {"."} or not folders & there):
        folders = there  # packed of that folder alone, whose name its people go without
    alone = f"{data.folders[0]}/" if len(data.folders) == 1 else ""  # what the recipe's names go without
    phantoms = [session for session in sessions if session.simulated and data.phantom]
    scans = {
        session: subject_of(session.name.removeprefix(alone))
        for session in sessions
        if not session.simulated and data_set(session.name) in folders
    }
    skipped = [] if phantoms or not data.phantom else [f"phantoms: '{file.name}' holds none"]
    if len(sessions) < len(packed):
        skipped.append(f"coronal and sagittal slices: '{file.name}' holds some, which a packed file is not read for")
    parts = dict.fromkeys(data.test, "test") | dict.fromkeys(data.validation, "validation")
    if data.splits:
        parts = read_splits(data.splits)
        left_out = dict.fromkeys(whose for whose in scans.values() if whose not in parts)
        skipped += [f"{whose}: not in '{data.splits}'" for whose in left_out]
        scans = {session: whose for session, whose in scans.items() if whose in parts}
    elif unknown := parts.keys() - {*scans.values()}:
        raise RecipeError(f"Held-out subject '{min(unknown)}' is not in '{file.name}'.")
    if data.holdout_fraction is not None:
        known = _known_before(recipe, scans.values())
        parts = {whose: part for whose, part in known.items() if part != "train"} | parts
    at_home = [f"{s.name}: '{file.name}' keeps its name only" for s, w in scans.items() if _at_home(s, parts.get(w))]
    kept = [
        *phantoms,
        *(s if s.part == "test" else replace(s, part=parts.get(whose, s.part)) for s, whose in scans.items()),
    ]
    if not any(_pairs(recipe, session) for session in kept if session.part == "train"):
        raise RecipeError(f"Nobody in '{file.name}' is left to train on with a pair of the recipe.")
    trained_on = [s for s in kept if s.part == "train" and not s.simulated]
    skipped += [*at_home, *_unmasked(recipe, [session.marked for session in trained_on])]
    return packed_splits(kept, data.spacing_mm, cache), skipped


def _unmasked(recipe: Recipe, masked: list[bool]) -> list[str]:
    """A line where slices with a mask are to be skipped and none of the training sessions (``masked``: which) has
    one."""
    if not recipe.data.exclude_masked or not masked or any(masked):
        return []
    where = "derivatives/masks/sub-XX/anat/*_mask.nii.gz"
    return [f"no slice for data.exclude_masked: nobody who is trained on has an expert mask (BIDS: {where})"]


def _at_home(session: PackedSession, wanted: str | None) -> bool:
    """It is wanted for something, and was packed as one to test on, without its images."""
    return session.part == "test" and wanted in ("train", "validation")


def _data_seed(recipe: Recipe) -> int:
    """Of phantoms and computed PD: a run on from another sees the same ones, and draws others of their slices."""
    return recipe.seed if recipe.data.seed is None else recipe.data.seed


def _find(recipe: Recipe, root: Path) -> tuple[list[Session], HeldOut, list[str]]:
    """Sessions with a pair of the recipe, who of them is held out, and a line for whatever is left out."""
    data = recipe.data
    usable: list[Session] = []
    skipped: list[str] = []
    held_out = HeldOut(data.test, data.validation)
    for found in read_folders(root, data.folders, data.format):
        there = [replace(s, pd_seed=_data_seed(recipe)) for s in found.sessions] if data.computed_pd else found.sessions
        complete = [session for session in there if _pairs(recipe, session)]
        skipped += [*(line for session in there for line in _missing(recipe, session)), *found.skipped]
        fraction = data.holdout_fraction
        shares = found.shares
        if fraction is not None:
            shares = Shares(validation=0 if data.validation else fraction, test=0 if data.test else fraction)
        elif data.test or data.validation:
            shares = None
        others = [session for session in complete if session.subject not in (*data.test, *data.validation)]
        if shares and others and not data.splits:
            drawn = _drawn(recipe, others, shares)
            held_out = HeldOut(held_out.test + drawn.test, held_out.validation + drawn.validation)
        usable += complete
    if not data.splits:
        return usable, held_out, skipped
    parts = read_splits(data.splits)
    subjects = dict.fromkeys(session.subject for session in usable)
    skipped += [f"{name}: not in '{data.splits}'" for name in subjects if name not in parts]
    skipped += [f"{name}: in '{data.splits}', but no usable session of it" for name in parts if name not in subjects]
    held_out = HeldOut(*(tuple(name for name in subjects if parts.get(name) == part) for part in HeldOut._fields))
    return [session for session in usable if session.subject in parts], held_out, skipped


def _drawn(recipe: Recipe, sessions: list[Session], shares: Shares) -> HeldOut:
    """Who is held out of those whom the recipe does not name: whom the checkpoints that it builds on held out, and a
    share of the people whom these do not know. The recipe's seed has no part in it: two networks of the same people
    have both seen the same.

    A part for which that leaves nobody is drawn from the few who are new, or else from all others, which will be noted.
    """
    there = dict.fromkeys(session.subject for session in sessions)
    known = _known_before(recipe, there)
    kept = HeldOut(*(tuple(who for who in there if known.get(who) == part) for part in HeldOut._fields))
    new = [session for session in sessions if session.subject not in known]
    if new and (len(new) == len(sessions) or len({session.subject for session in new}) >= FEW_NEW):
        drawn = draw_held_out(new, shares, DIVISION)
        kept = HeldOut(kept.test + drawn.test, kept.validation + drawn.validation)
    empty = Shares(test=0 if kept.test else shares.test, validation=0 if kept.validation else shares.validation)
    left = [session for session in sessions if session.subject not in (*kept.test, *kept.validation)]
    unseen = [session for session in left if session.subject not in known]
    enough = len({session.subject for session in unseen}) >= bool(empty.test) + bool(empty.validation)
    drawn = draw_held_out(unseen if enough else left, empty, DIVISION)
    found = HeldOut(kept.test + drawn.test, kept.validation + drawn.validation)
    return found if {*there} - {*found.test, *found.validation} else draw_held_out(sessions, shares, DIVISION)


def _known_before(recipe: Recipe, people: Iterable[str]) -> dict[str, str]:
    """The part of those of ``people`` (subjects) whom the checkpoints that a recipe builds on know.

    Who is in several parts was trained on. By a name without the data set's folder, or with another one above it, a
    person may be several of theirs, and is kept out if one of these is.
    """
    cards = [load_checkpoint(name).card for name in sorted(recipe.parents - {*recipe.cross_means})]
    theirs = {part: {subject_of(name) for card in cards for name in card.splits.get(part, [])} for part in PARTS}
    theirs["train"] |= {subject_of(name) for card in cards for name in card.seen}
    known: dict[str, str] = {}
    for who in people:
        same = [part for part in PARTS if who in theirs[part]]
        if parts := same or [part for part in reversed(PARTS) if known_by(who, theirs[part])]:
            known[who] = parts[0]
    return known


def _pairs(recipe: Recipe, session: Session | PackedSession) -> list[Pair]:
    """The recipe's pairs that a session has."""
    return [pair for pair in recipe.pairs if {*pair} <= {*session.contrasts}]


def _missing(recipe: Recipe, session: Session) -> list[str]:
    """What a session lacks: a pair, or contrasts of some pairs."""
    if not _pairs(recipe, session):
        return [f"{session.name}: has only {', '.join(session.contrasts)}; no pair of the recipe is complete"]
    wanted = dict.fromkeys(contrast for pair in recipe.pairs for contrast in pair)
    return [f"{contrast} of {session.name}: no such image" for contrast in wanted if contrast not in session.contrasts]
