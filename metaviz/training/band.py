"""Runs that differ in their seed alone, whose meta-steps are computed as one batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch

from metaviz.meta.context import Meta
from metaviz.meta.draws import Draws, joined_draws
from metaviz.meta.estimators.base import MetaStep
from metaviz.meta.tasks import TaskBatch, joined
from metaviz.meta.together import parted, rows_bytes, rows_of
from metaviz.training.engines import stepper
from metaviz.training.memory_budget import budget_bytes, is_memory_error
from metaviz.training.setting import Setting
from metaviz.training.stepping import Eager, take_notes
from metaviz.training.trainer import Progress

ROWS = 0.25
"""Share of the memory budget that rows may take: what then is left for parts is enough."""
_FAILURES = (RuntimeError, ValueError, ArithmeticError, MemoryError, OSError)


def pays(device: torch.device) -> bool:
    """Return whether batches of several seeds are faster: a CPU has no idle units to fill."""
    return device.type == "cuda"


def bands_of(settings: Sequence[Setting]) -> "list[Band | None]":
    """Return which band each run belongs to; None for those that no other run can join."""
    alike: dict[str, list[int]] = {}
    for place, setting in enumerate(settings):
        config = setting.config
        if pays(setting.device) and setting.algorithm.traits.rowwise and not config.amendments:
            key = config.model_copy(update={"seed": 0}).model_dump_json()
            alike.setdefault(key, []).append(place)
    found: list[Band | None] = [None] * len(settings)
    for places in alike.values():
        if len(places) > 1:
            band = Band(tuple(settings[place].config.seed for place in places))
            for place in places:
                found[place] = band
    return found


@dataclass(frozen=True)
class Joined(Setting):
    """The settings of several runs as one: its batches hold the tasks of all of them."""

    members: tuple[Setting, ...] = ()

    @classmethod
    def of(cls, members: Sequence[Setting]) -> Self:
        """Join settings that differ in their seed alone."""
        known = {field.name: getattr(members[0], field.name) for field in fields(Setting)}
        return cls(**known, members=tuple(members))

    def batch(self, step: int) -> TaskBatch:
        """Return the meta-batches of a step, one run after another."""
        return joined([member.batch(step) for member in self.members])

    def draws(self, step: int) -> Draws:
        """Return the random numbers of these tasks: each run's own."""
        return joined_draws([member.draws(step) for member in self.members])


@dataclass
class _SharedTime:
    """The seconds of a batch for each run that shares it, once the first has counted them."""

    runs: int
    seconds: float = 0.0


@dataclass(frozen=True)
class _Share:
    """A run's part of a batch, and for which step from which weights it was computed."""

    step: int
    reading: bool
    weights: tuple[tuple[int, int], ...]
    result: MetaStep
    shared_time: _SharedTime


class Member:
    """Computes the meta-steps of a run of a band: its share of a batch, or else the run alone."""

    def __init__(self, band: "Band", setting: Setting, progress: Progress) -> None:
        """Take the run, whose progress says at any time at which step it is."""
        self.notes: list[str] = []
        self.setting = setting
        self.progress = progress
        self.share: _Share | None = None
        self._band = band
        self._own: Eager | None = None
        self._shared_time: _SharedTime | None = None
        self._computes = False

    @property
    def engine(self) -> str:
        """How the band computes, or the run alone."""
        band = self._band.engine
        return band or (self._own.engine if self._own is not None else "")

    def ready(self, meta: Meta, step: int) -> Iterator[str]:
        """Prepare the band's batch where all are at this step, else the run's own."""
        if self.share is not None:
            return
        if self._band.is_gathered(step):
            yield from self._band.ready(step)
        if not self._band.is_ready(step):
            yield from self._alone().ready(meta, step)
            self._collect_notes()

    def take(self, meta: Meta, step: int, *, reading: bool) -> MetaStep:
        """Return the run's share of a batch, which the first that asks for it computes for all."""
        self._computes = self.share is None
        if self.share is None and self._band.is_ready(step):
            self._band.compute(step, reading=reading)
        share, self.share = self.share, None
        wanted = (step, reading, _weights(meta))
        if share is not None and (share.step, share.reading, share.weights) == wanted:
            self._shared_time = share.shared_time
            return share.result
        self._shared_time = None
        result = self._alone().take(meta, step, reading=reading)
        self._collect_notes()
        return result

    def cost(self, seconds: float) -> float:
        """Return an equal share of the time that a batch took the run that computed it.

        The others add what they took themselves, to move their meta-parameters.
        """
        shared_time = self._shared_time
        if shared_time is None:
            return seconds
        if self._computes:
            shared_time.seconds = seconds / shared_time.runs
            return shared_time.seconds
        return seconds + shared_time.seconds

    def leave(self) -> None:
        """Leave the band: the run has ended, and no other should wait for it."""
        self._band.leave(self)

    def _alone(self) -> Eager:
        if self._own is None:
            self._own = stepper(self.setting)
        return self._own

    def _collect_notes(self) -> None:
        self.notes += take_notes(self._alone().notes)


class Band:
    """Runs of several seeds. Where all that are left are at one step, they take it as one batch.

    A run at another step makes the others compute alone, so runs are to be advanced in turn.
    No batch is computed before all have taken their shares of the last one, because a recorded
    step writes its results where it wrote the last ones. Where a batch fails, each computes alone,
    so that the failing run is known.
    """

    def __init__(self, seeds: tuple[int, ...]) -> None:
        """Take the seeds of all runs; these then `enter`."""
        self.seeds = seeds
        self._members: list[Member] = []
        self._group: tuple[Member, ...] = ()
        self._setting: Joined | None = None
        self._compute: Eager | None = None
        self._dissolved = False

    @property
    def description(self) -> str:
        """The seeds of its runs, like "seeds 0, 1, 2"."""
        return f"seeds {', '.join(map(str, self.seeds))}"

    @property
    def engine(self) -> str:
        """How a batch is computed; empty where each run computes its own."""
        if self._compute is None:
            return ""
        return f"{self._compute.engine}, {len(self._group)} seeds as one batch"

    def enter(self, setting: Setting, progress: Progress) -> Member:
        """Take in a run that has begun."""
        self._members.append(Member(self, setting, progress))
        return self._members[-1]

    def leave(self, member: Member) -> None:
        """Go on without a run."""
        if member in self._members:
            self._members.remove(member)
        if len(self._members) < 2:  # noqa: PLR2004  (one is alone)
            self._close()

    def is_gathered(self, step: int) -> bool:
        """Return whether all runs that are left are at a step."""
        return (
            not self._dissolved
            and len(self._members) > 1
            and all(member.progress.step == step for member in self._members)
        )

    def is_ready(self, step: int) -> bool:
        """Return whether `compute` may be called for a step."""
        prepared = self._compute is not None and self._group == tuple(self._members)
        return prepared and self.is_gathered(step)

    def ready(self, step: int) -> Iterator[str]:
        """Prepare the batch of those that are left, once; yield what is being done."""
        if self.is_ready(step):
            return
        self._close()
        group = tuple(self._members)
        setting = self._setting = Joined.of([member.setting for member in group])
        compute = stepper(setting)
        try:
            meta = _rows(group, step)
            if rows_bytes(meta) > ROWS * budget_bytes(setting.device, setting.config.memory_gib):
                raise MemoryError
            yield from compute.ready(meta, step)
        except _FAILURES as error:
            self._dissolve(_reason(error))
            return
        if compute.failure:
            self._dissolve(compute.failure)
            return
        self._group, self._compute = group, compute
        self._note(take_notes(compute.notes))

    def compute(self, step: int, *, reading: bool) -> None:
        """Compute a step of all runs, and store each one's share with it."""
        compute, group = self._compute, self._group
        if compute is None:
            return
        try:
            result = compute.take(_rows(group, step), step, reading=reading)
        except _FAILURES as error:
            self._dissolve(_reason(error))
            return
        shared_time = _SharedTime(len(group))
        for member, own in zip(group, parted(result, _sizes(group, step)), strict=True):
            weights = _weights(member.progress.meta)
            member.share = _Share(step, reading, weights, own, shared_time)
        self._note(take_notes(compute.notes))

    def _dissolve(self, reason: str) -> None:
        self._dissolved = True
        self._close()
        self._note([f"Seeds are not computed as one batch: {reason}. Each computes its own."])

    def _close(self) -> None:
        if self._setting is not None:
            self._setting.shards.close()
        self._setting, self._compute, self._group = None, None, ()

    def _note(self, notes: Sequence[str]) -> None:
        for member in self._members:
            member.notes += notes


def _sizes(group: Sequence[Member], step: int) -> list[int]:
    return [len(member.setting.places(step)) for member in group]


def _rows(group: Sequence[Member], step: int) -> Meta:
    return rows_of([member.progress.meta for member in group], _sizes(group, step))


def _weights(meta: Meta) -> tuple[tuple[int, int], ...]:
    """Return what changes where the meta-parameters do."""
    return tuple((id(value), value._version) for value in meta.values())


def _reason(error: BaseException) -> str:
    """Return why, as the end of a sentence."""
    if is_memory_error(error):
        return "memory does not suffice"
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
