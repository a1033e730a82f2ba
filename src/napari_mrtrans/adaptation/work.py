"""What an adaptation does with its minutes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from ..asked.place import LEFT, WORK
from ..asked.settings import Hooks, Progress, Settings
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.correction import BLUR_MM
from ..devices import resolve_device
from ..errors import MrtransError, RecipeError
from ..models import Model
from ..scan.contrasts import Pair
from ..training.finished import Finished
from ..training.validation import FixedSlice
from ..wording import plural
from .figures import Answer, Judge, Judged, Line, digest, lines
from .held_error import HeldOut
from .own_voxels import OwnVoxels, own_voxels
from .page import Shown
from .parts import Part, parent_model, parts, recipe_of
from .plan import LONGER, Clock, Plan
from .result import Trained
from .site import Site, has_pair
from .slices import Division, View, divide, fixed, frame
from .spread import corrected_coverage
from .tune import Tuned, Watch, tune

#: Held-out slices that a network is asked about while it is trained; of each pair, those that the figures are of.
CHOSEN, FEWEST_JUDGED, MOST_JUDGED = 24, 2, 24


class Work:
    """One adaptation at work: trained without each of some people and judged on them, then trained on everybody."""

    def __init__(self, parent: Checkpoint, site: Site, out: Path, settings: Settings, hooks: Hooks) -> None:
        self.parent, self.site, self.work, self.settings, self.hooks = parent, site, out / WORK, settings, hooks
        device, notice = resolve_device(settings.device)
        if notice:
            raise MrtransError(f"{notice.split(';')[0]}; choose --device cpu.")
        self.device = device
        self.people = list(site.people.values())
        self.plan = Plan.of(settings.minutes, len(self.people), settings.seed, self._judged_on_pairs())
        self.clock = Clock(self.plan.total)
        self.before, self.options = self._fresh()
        self.view = View(parent.card.framing, self.before.multiple, self.before.neighbours_mm)
        self.judge = Judge(device, parent.card.sampler, settings.seed)
        self.finished = Finished(self.work / "judged.jsonl", Judged)
        self.rows: tuple[list[Judged], list[Judged]] = ([], [])
        self.shown: dict[str, Shown] = {}
        self.curves: dict[str, list[tuple[float, float]]] = {}
        self.seconds, self.slices, self.steps = 0.0, 0, 0
        self.per_slice: float | None = None

    def _judged_on_pairs(self) -> list[int]:
        """On how many pairs each person would be judged, left out: on those that somebody else has, too."""
        own = [[self.site.sessions[index] for index in person] for person in self.people]
        having = {pair: [has_pair(sessions, pair) for sessions in own] for pair in self.site.pairs}
        return [sum(has[i] and sum(has) > 1 for has in having.values()) for i in range(len(own))]

    @cached_property
    def _parent_parts(self) -> list[Part]:
        """Of the parent: what they answer is what was before."""
        return parts(self.before, self.options)

    def _fresh(self) -> tuple[Model, dict[str, Any]]:
        """A network that is as the parent, and its options."""
        model, options = parent_model(self.parent.card, self.parent.build())
        return model.to(self.device), options

    @property
    def cancelled(self) -> bool:
        """Whether the user has had enough."""
        return self.hooks.cancel()

    def run(self) -> Trained:
        """Train and judge."""
        people, count = self.people, len(self.people)
        site = f"{plural(count, 'person', 'people')}, {plural(len(self.site.sessions), 'session')}"
        self.hooks.say(f"{site}; {self.plan.line(count)}")
        reached: list[float] = []  # when each run without a person was best, as a share of its time
        model: Model = self.before
        division: Division | None = None
        changed = True
        for number in self.plan.left_out:
            if self.cancelled and self.rows[0]:
                break
            phase = f"without person {number + 1} of {count}"
            division = divide(self.site.source, people[number])
            model, tuned = self._train(division, phase, self.plan.each)
            reached.append(max((t.best[0] / max(t.seconds, 1e-6) for t in tuned), default=1.0))
            self._judge(model, division, phase)
        whole = divide(self.site.source)
        if division is None or not self.cancelled:
            division = whole
            # Where the short runs were best long before their end, more of the same would be too much.
            usual = float(np.median(reached)) if reached else 1.0
            seconds = min(self.plan.whole, LONGER * usual * self.plan.each) if usual < 0.6 else self.plan.whole
            model, tuned = self._train(whole, "training on everybody" if count > 1 else "training", seconds)
            changed = any(t.best[0] > 0 for t in tuned)
            self.clock.finish(self.plan.whole - seconds)
        if not self.plan.left_out:
            self._judge(model, whole, "figures")
        if not changed:
            self._as_before()
        table, learned = self._table(), {*division.learned.sessions}
        from_whom = [any(self.site.source.sessions[i] in learned for i in own) for own in people]
        return Trained(
            model=model, options=self.options, table=table, rows=self.rows, samples=self.judge.samples(model),
            minutes=self.seconds / 60, slices=self.slices, steps=self.steps, curves=self.curves,
            shown=list(self.shown.values()), judged_on=self._judged_on(),
            warnings=self._warnings(table, count - sum(from_whom), changed), people=sum(from_whom),
            sessions=len(learned),
        )  # fmt: skip

    def _as_before(self) -> None:
        """The figures of a network that nothing made better, whatever those without a person gained: its parent's."""
        self.rows = (self.rows[0], self.rows[0])
        self.shown = {pair: replace(shown, after=shown.before) for pair, shown in self.shown.items()}

    def _train(self, division: Division, phase: str, seconds: float) -> tuple[Model, list[Tuned]]:
        (model, _), crop = self._fresh(), frame(division.learned, self.view)
        self.slices = self.steps = 0  # what other networks saw is not what this one sees
        places, source = division.choosing, self.site.source
        pairs = _learned(self.site.pairs, division)
        each = max(1, CHOSEN // max(len(pairs), 1))
        chosen = [one for _, one in fixed(source, places, pairs, each, self.view)]
        if not chosen:
            raise RecipeError("Nobody has both contrasts of a pair to judge by; add a complete session.")
        held = HeldOut(chosen, self.device, self.parent.card.sampler, self.settings.seed)
        done: list[Tuned] = []
        for part, old in zip(parts(model, self.options), self._parent_parts, strict=True):
            name = f"{phase}: {part.name}" if part.name != "model" else phase
            recipe = recipe_of(self.parent.card, part, self.site.pairs, crop, self.settings.seed)
            folder = self.work / f"{phase.replace(' ', '-')}-{part.name}"
            before = held.answer(old.model) if self.hooks.previews else None
            watch = Watch(self._teller(name, part.share * seconds), self.hooks, before)
            tuned = tune(part.model, recipe, division.learned, held, folder, part.share * seconds, watch)
            self.curves[name], self.seconds = tuned.curve, self.seconds + tuned.seconds
            self.clock.finish(part.share * seconds)
            self.slices += tuned.steps * recipe.stages[0].batch
            self.steps += tuned.steps
            done.append(tuned)
        return model, done

    def _teller(self, phase: str, seconds: float) -> Callable[..., None]:
        def tell(spent: float, curve: list[tuple[float, float]], preview: Any) -> None:
            done, left = self.clock.at(min(spent, seconds))
            self.hooks.progress(Progress(phase, done, left, tuple(curve), preview))

        return tell

    def _judge(self, model: Model, division: Division, phase: str) -> None:
        """Figures of the parent and of ``model`` on the slices kept out."""
        numbers = {index: number for number, own in enumerate(self.people, 1) for index in own}
        ids = digest(self.before), digest(model)
        each, done = self._how_many(division), 0
        chosen = fixed(self.site.source, division.judging, _learned(self.site.pairs, division), each, self.view)
        scanned = own_voxels(self.site.source, chosen, self.view, self._check_stays)
        title = "figures" if phase == "figures" else f"{phase}: figures"
        for (index, one), own in zip(chosen, scanned, strict=True):
            answers: list[Answer] = []
            self._check_stays()
            for side, net in enumerate((self.before, model)):
                key = {
                    "net": ids[side],
                    "pair": one.pair.key,
                    "session": index,
                    "at": one.position,
                    "blur_mm": BLUR_MM,
                    "own": True,
                }
                made = partial(self._judged, net, one, own, numbers[index], answers)
                self.rows[side].append(self.finished.row(key, made))
                done += 1
                share, left = self.clock.at(self.plan.figures * done / (2 * len(chosen)))
                self.hooks.progress(Progress(title, share, left))
            if one.pair.key not in self.shown and len(answers) == 2:  # not those of an earlier, killed run
                self.shown[one.pair.key] = Shown(one.pair.key, one, answers[0], answers[1])
        self.clock.finish(self.plan.figures)

    def _check_stays(self) -> None:
        if self.hooks.leave():
            raise MrtransError(LEFT)

    def _judged(self, model: Model, one: FixedSlice, own: OwnVoxels, person: int, answers: list[Answer]) -> Judged:
        judged, answer = self.judge.judge(model, one, own, person)
        answers.append(answer)
        return judged

    def _how_many(self, division: Division) -> int:
        """Slices of each pair for which there is time."""
        if self.cancelled:
            return FEWEST_JUDGED
        if self.per_slice is None:
            some = fixed(self.site.source, division.judging, _learned(self.site.pairs, division), 1, self.view)
            if not some:
                return FEWEST_JUDGED
            began = time.monotonic()
            self.judge.answer(self.before, some[0][1])
            self.per_slice = max(time.monotonic() - began, 1e-3)
        count = int(self.plan.figures / (2 * self.per_slice * len(self.site.pairs)))
        return int(np.clip(count, FEWEST_JUDGED, MOST_JUDGED))

    def _table(self) -> list[Line]:
        table = lines(*self.rows)
        if self.before.deterministic:
            return table
        corrected = corrected_coverage(
            *self.rows, self.parent.spread, self.judge.samples(self.before), self.parent.card.sampler.n
        )
        return [replace(line, corrected=corrected.get(line.pair)) for line in table]

    def _judged_on(self) -> str:
        people = len({row.person for row in self.rows[0]})
        if self.plan.left_out:
            return f"{plural(people, 'person', 'people')} left out in turn"
        return f"slices kept out of {plural(people, 'person', 'people')}, which proves less than people left out"

    def _warnings(self, table: Sequence[Line], missing: int, changed: bool) -> list[str]:
        out = [] if changed else [f"Trained on everybody, nothing became better: it is '{self.parent.name}' as it was."]
        out += ["Ended before it learned from everybody: one person was left out to judge by."] if missing else []
        out += [
            f"{line.pair.replace('->', '→')} became worse by {-line.gain:.2f} dB."
            for line in table
            if line.gain < -0.02
        ]
        judged = {line.pair for line in table}
        if unknown := [str(pair) for pair in self.site.pairs if pair.key not in judged]:
            out.append(f"Not judged, for want of people or slices kept out that have them: {', '.join(unknown)}.")
        if not self.plan.left_out:
            out.append(
                "Fewer than three people: judged on slices kept out of those it learned from, which flatters. With the "
                "sessions of three, people are left out instead."
            )
        return out


def _learned(pairs: Sequence[Pair], division: Division) -> list[Pair]:
    """Those that somebody has of whom a network learns; of others it knows what its parent knew, or less."""
    return [pair for pair in pairs if has_pair(division.learned.sessions, pair)]
