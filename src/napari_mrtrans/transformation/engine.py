"""Runs the network: groups of slices, chunks of samples, one box around the head for each slice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..checkpoints.card import SamplerDefaults
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.pool import members_of, shares
from ..devices import failure_line, is_out_of_memory, memory_line, to_channels_last
from ..errors import MrtransError, OutOfMemory
from ..scan.framing import Box, Framing
from ..scan.neighbours import seen
from .job import Job, common_step, in_steps

if TYPE_CHECKING:
    import torch

    from ..models import Model

#: Up to this many samples of a slice are held at once (for the median); beyond, moments are accumulated instead.
MAX_HELD = 64


class Cancelled(Exception):
    """Raised inside a sampler when the user cancels."""


class BadNumbers(MrtransError):
    """A network's answer is no image."""


class Moments:
    """Running sums when there are too many samples to hold."""

    def __init__(self) -> None:
        self.count, self.mean, self.square = 0, np.float64(0), np.float64(0)

    def add(self, samples: NDArray[np.float32]) -> None:
        for sample in samples.astype(np.float64):  # Welford 1962
            self.count += 1
            delta = sample - self.mean
            self.mean = self.mean + delta / self.count
            self.square = self.square + delta * (sample - self.mean)


@dataclass(frozen=True)
class _Drawer:
    """A network that draws samples.

    Attributes:
        model: It.
        own: What it is sampled with by itself.
        pooled: Of a pool, whose members keep to that whatever the request says.
    """

    model: Model
    own: SamplerDefaults
    pooled: bool

    def plan(self, job: Job) -> tuple[Any, list[float]]:
        """The sampler and its noise levels."""
        from ..models.sampler_plan import plan

        name, steps = (self.own.name, self.own.steps) if self.pooled else (job.sampler, job.steps)
        return plan(self.model, name, steps, self.own.sigma_min, self.own.sigma_max)

    def calls(self, job: Job) -> int:
        """Of the network, for a batch; roughly, where a sampler takes several for each noise level."""
        return len(self.plan(job)[1]) if self.model.reference[0] else 1


def _reader(job: Job, framing: Framing, step: int) -> Callable[[int], tuple[NDArray[np.float32], Box]]:
    """Slices on the model's grid, with their frames, each read once. A function of its own: a cached method would hold
    its engine, and so volumes and networks, until Python looks for cycles."""

    @lru_cache(maxsize=256)
    def read(index: int) -> tuple[NDArray[np.float32], Box]:
        image = job.grid.to_model(job.images[index])
        return image, framing.box(image, step)

    return read


class Engine:
    """Holds the model on its device; knows how to compute a group of slices."""

    def __init__(
        self,
        job: Job,
        checkpoint: Checkpoint,
        device: torch.device,
        cancel: Callable[[], bool] | None,
        on_step: Callable[[int, int], None] | None,
        others: Callable[[int], NDArray[np.float32]] | None = None,
    ) -> None:
        from ..devices import bf16_is_fast

        self.device, self.cancel, self.on_step, self._others = device, cancel, on_step, others
        self._theirs: Exception | None = None
        checkpoint.hold()
        members = {member.name: member for member in members_of(checkpoint)}
        self.turns, pooled = checkpoint.card.turns, len(members) > 1
        self.drawers = {
            name: _Drawer(_loaded(member, device), member.card.sampler, pooled) for name, member in members.items()
        }
        self.bf16 = bf16_is_fast(device)
        self.name = checkpoint.name
        self.framing, self.step = checkpoint.card.framing, common_step(d.model for d in self.drawers.values())
        self.job = in_steps(job, self.framing, self.step)
        self._slice = _reader(self.job, self.framing, self.step)

    def _seen(self, index: int, box: Box, neighbours_mm: float) -> NDArray[np.float32]:
        """A slice's frame and, where the network sees them, those of its neighbours: (plane, row, column)."""
        numbers = seen(index, len(self.job.images), self.job.prepared.spacing[0], neighbours_mm)
        return np.stack([self.source_slice(number)[box] for number in numbers])

    def _other_views(self, group: list[int], boxes: list[Box]) -> list[NDArray[np.float32]]:
        """What other views of the head say, framed as the slices: (slice, 1, row, column); empty = not asked for."""
        if self._others is None:
            return []
        images = [np.asarray(self.job.grid.to_model(self._others(index)), dtype=np.float32) for index in group]
        return [np.stack([image[box][None] for image, box in zip(images, boxes, strict=True)])]

    def with_job(self, job: Job) -> Engine:
        """The same model on a job with the same slices and grid; what has been read of them is shared.

        Members of a pool, too, are sampled as that job says.
        """
        twin = copy(self)
        twin.job = in_steps(job, self.framing, self.step)
        twin.drawers = {name: replace(drawer, pooled=False) for name, drawer in self.drawers.items()}
        return twin

    def source_slice(self, index: int) -> NDArray[np.float32]:
        """The source slice on the model's grid, in [0, 1]."""
        return self._slice(index)[0]

    def next_group(self, pending: Sequence[int], size: int) -> list[int]:
        """The next slices that fit one batch: as many as have the same box shape, at least one."""
        group = [pending[0]]
        shape = _shape(self._slice(pending[0])[1])
        for index in pending[1 : max(1, size // self.job.n)]:
            if _shape(self._slice(index)[1]) != shape:
                break
            group.append(index)
        return group

    def transform(self, group: list[int], size: int) -> tuple[list[Moments | NDArray[np.float32]], bool]:
        """Samples (or moments) of each slice on the model's pixels inside its box; second: memory ran out."""
        n = self.job.n
        held: list[list[NDArray[np.float32]]] = [[] for _ in group]
        moments = [Moments() for _ in group]
        chunk = max(1, size // len(group))
        for first in range(0, n, chunk):
            numbers = range(first, min(first + chunk, n))
            samples, short = self._attempt(group, numbers)
            if short:
                return [], True
            for i, index in enumerate(group):
                on_source = self._to_source(index, samples[i])
                if n <= MAX_HELD:
                    held[i].append(on_source)
                else:
                    moments[i].add(on_source)
        return ([np.concatenate(parts) for parts in held] if n <= MAX_HELD else list(moments)), False

    def _attempt(self, group: list[int], numbers: range) -> tuple[NDArray[np.float32], bool]:
        """Network samples (slices, samples, rows, columns); second: memory ran out.

        The error is dropped before returning, because its traceback would keep the tensors alive.
        """
        import torch

        try:
            return self._sample(group, numbers), False
        except (MemoryError, RuntimeError) as error:
            if error is self._theirs:
                self._theirs = None
                raise
            if not is_out_of_memory(error):
                # A generator-based Qt worker would swallow a RuntimeError without a trace.
                raise MrtransError(failure_line(self.device.type, error)) from None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return np.empty((0, 0, 0, 0), dtype=np.float32), True

    def _sample(self, group: list[int], numbers: range) -> NDArray[np.float32]:
        """Each member of a pool draws its share, any other checkpoint all."""
        parts = [(self.drawers[name], places) for name, places in shares(self.turns, numbers).items()]
        calls = [drawer.calls(self.job) for drawer, _ in parts]
        drawn: list[NDArray[np.float32]] = []
        for part, (drawer, places) in enumerate(parts):
            tell = partial(self._tell, calls, part)
            drawn.append(self._draw(drawer, group, [numbers[place] for place in places], tell))
        back = np.argsort([place for _, places in parts for place in places])
        return np.concatenate(drawn, axis=1)[:, back]

    def _tell(self, calls: list[int], part: int, done: int, total: int) -> None:
        """Part ``part`` is so far; ``calls`` are what the parts take, roughly."""
        if len(calls) > 1:
            done, total = round(sum(calls[:part]) + calls[part] * done / total), sum(calls)
        try:
            if self.cancel is not None and self.cancel():
                raise Cancelled
            if self.on_step is not None:
                self.on_step(done, total)
        except (MemoryError, RuntimeError) as error:  # the caller's own, not the device's
            self._theirs = error
            raise

    def _draw(
        self, drawer: _Drawer, group: list[int], numbers: list[int], callback: Callable[[int, int], None]
    ) -> NDArray[np.float32]:
        import torch

        from ..models.drawing import Places, Way, draw
        from ..models.noise import Noise

        job, model, request = self.job, drawer.model, self.job.request
        boxes = [self._slice(index)[1] for index in group]
        places = Places(job.grid.shape, boxes, [index * job.prepared.spacing[0] for index in group], drawer.own.mirror)
        images = np.stack(
            [self._seen(index, box, model.neighbours_mm) for index, box in zip(group, boxes, strict=True)]
        )
        others = self._other_views(group, boxes)
        noise = Noise(request.seed, request.antithetic, model.stream)
        way = Way(*drawer.plan(job), callback)
        callback(0, 1)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            source = torch.from_numpy(images).to(self.device).contiguous(memory_format=torch.channels_last)
            beside = [torch.from_numpy(views).to(self.device) for views in others]
            out = draw(model, source, request.pair, places, noise, numbers, way, *beside).float()
            broken = (~torch.isfinite(out)).flatten(2).any(2).cpu().numpy()
            if broken.any():  # NaN would be black and infinity white: both look plausible
                one, sample_ = np.argwhere(broken)[0]
                index = job.orientation.slice_index(group[one], len(job.mask))
                raise BadNumbers(
                    f"'{self.name}' gave NaN or infinity for slice {index}, sample {numbers[sample_] + 1}: the file is "
                    "damaged or was trained badly. Choose another model."
                )
            return np.asarray(out.clamp(0, 1).cpu())

    def _to_source(self, index: int, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Samples on model pixels of the slice's box to the source's pixels, canonical, 0 outside the head."""
        return self.job.grid.to_source(samples, self.job.mask[index], self._slice(index)[1])


def _loaded(member: Checkpoint, device: torch.device) -> Model:
    """A network on its device, its weights in the memory order that is fast.

    Raises:
        OutOfMemory: it does not fit there.
        MrtransError: the device failed.
    """
    try:
        return to_channels_last(member.build(device))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise MrtransError(failure_line(device.type, error)) from None
    raise OutOfMemory(memory_line(device.type, f"as '{member.name}' was loaded"))


def _shape(box: Box) -> tuple[int, int]:
    return box[0].stop - box[0].start, box[1].stop - box[1].start
