"""How meta-steps are computed: by which engine, in which parts, within which memory."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import torch

from metaviz.meta.context import Context, Meta
from metaviz.meta.estimators.base import MetaStep
from metaviz.meta.footprint import kept_bytes
from metaviz.meta.sharding import part_of, sharded_meta_gradient
from metaviz.meta.tasks import TaskBatch
from metaviz.meta.together import rows_bytes
from metaviz.training.memory_budget import ON_TOP, budget_bytes, is_memory_error, plan_parts
from metaviz.training.setting import Setting


class Steps(Protocol):
    """Computes the meta-steps of a run."""

    notes: list[str]
    """Messages for a person that have not been shown yet; `take_notes` empties it."""

    @property
    def engine(self) -> str:
        """How steps are computed now, in a person's words: a recording may have failed."""

    def ready(self, meta: Meta, step: int) -> Iterator[str]:
        """Prepare what a step needs that is not prepared yet; yield what is being done."""

    def take(self, meta: Meta, step: int, *, reading: bool) -> MetaStep:
        """Return a meta-step, with all readings or with those that are at hand."""

    def cost(self, seconds: float) -> float:
        """Return what the step that was just taken, in so many seconds, cost the run."""


class Eager:
    """One operation after another, the batch in parts that fit into memory and caches."""

    def __init__(self, setting: Setting) -> None:
        """Compute on the setting's threads."""
        self.notes: list[str] = []
        """Messages for a person that have not been shown yet; `take_notes` empties it."""
        self.failure = ""
        """Why steps are not computed as they were asked for; empty where they are."""
        self._setting = setting
        self._ready = False
        self._aside: torch.cuda.Stream | None = None
        self._fetched: tuple[int, TaskBatch] | None = None

    @property
    def engine(self) -> str:
        """How steps are computed now, in a person's words."""
        return "eager"

    def ready(self, meta: Meta, step: int) -> Iterator[str]:
        """Prepare once; yields what is being done, as long as it takes."""
        if not self._ready:
            yield from self.prepare(meta, step)
            self._ready = True

    def take(self, meta: Meta, step: int, *, reading: bool) -> MetaStep:
        """Return a meta-step on the batch of that step, and fetch the next one."""
        result = self(meta, self.batch(step), step, reading=reading)
        self.ahead(step + 1)
        return result

    def cost(self, seconds: float) -> float:
        """Return all of it."""
        return seconds

    def __call__(self, meta: Meta, tasks: TaskBatch, step: int, *, reading: bool) -> MetaStep:
        """Return the meta-step number `step` of a batch, in smaller parts where memory runs out.

        With all readings, or with those that are at hand.
        """
        setting = self._setting
        context = setting.context(step, tasks, reading=reading)
        allow_tf32(setting.device, allowed=setting.config.tf32)
        while True:
            try:
                return sharded_meta_gradient(setting.algorithm, context, meta, setting.shards)
            except (RuntimeError, MemoryError) as error:
                if not is_memory_error(error) or not self._shrink(len(tasks)):
                    raise
            if setting.device.type == "cuda":
                torch.cuda.empty_cache()

    def batch(self, step: int) -> TaskBatch:
        """Return the meta-batch of a step: the one that was fetched ahead, or a new one."""
        fetched, self._fetched = self._fetched, None
        if fetched is None or self._aside is None or fetched[0] != step:
            return self._setting.batch(step)
        torch.cuda.current_stream().wait_stream(self._aside)
        return fetched[1]

    def ahead(self, step: int) -> None:
        """Fetch a meta-batch on a stream of its own; a CPU has no time to spare for it."""
        if self._setting.device.type != "cuda":
            return
        if self._aside is None:
            self._aside = torch.cuda.Stream()
        with torch.cuda.stream(self._aside):
            self._fetched = (step, self._setting.batch(step))

    def prepare(self, meta: Meta, step: int) -> Iterator[str]:
        """Choose how many tasks are one tensor batch, from what one of them keeps.

        Yields what is being done, as long as it takes.
        """
        yield from ()
        setting = self._setting
        if setting.algorithm.traits.sequential:
            return
        first, own = part_of(setting.context(step, self.batch(step)), meta, (0, 1))
        try:
            one = kept_bytes(lambda: setting.algorithm.meta_gradient(first, own))
        except (RuntimeError, MemoryError):  # the step itself will say what is wrong
            return
        if setting.device.type == "cuda" and setting.config.tf32:
            self._tell_tf32(first, own)
        budget = budget_bytes(setting.device, setting.config.memory_gib) - rows_bytes(meta)
        plan_parts(setting.shards, one, budget, setting.device)
        if ON_TOP * one > budget:
            self.notes.append(
                f"One task needs about {ON_TOP * one / 2**30:.2g} GiB, more than the budget of "
                f"{budget / 2**30:.2g} GiB: fewer query examples or inner steps need less."
            )

    def _tell_tf32(self, first: Context, meta: Meta) -> None:
        """Note how much of the meta-gradient of one task rounding to TF32 costs."""
        found: list[torch.Tensor] = []
        for allowed in (False, True):
            allow_tf32(self._setting.device, allowed=allowed)
            step = self._setting.algorithm.meta_gradient(replace(first, reading=False), meta)
            found.append(torch.cat([value.flatten() for value in step.gradients.values()]))
        exact, rounded = found
        apart = float((rounded - exact).norm() / exact.norm().clamp_min(1e-30))
        self.notes.append(
            f"TF32 changes the meta-gradient of the first task by {apart:.1e} of its length."
        )

    def _shrink(self, tasks: int) -> bool:
        """Make the parts smaller after memory ran out; return whether that was possible."""
        setting, shards = self._setting, self._setting.shards
        if setting.algorithm.traits.sequential:
            return False
        edges = shards.edges(tasks)
        largest = max(end - start for start, end in itertools.pairwise(edges))
        if largest > 1:
            shards.together = -(-largest // 2)
        elif shards.count > 1 and not shards.alone:
            shards.alone = True
        else:
            return False
        size = "one task" if shards.together == 1 else f"{shards.together} tasks"
        self.notes.append(f"Memory ran out: the meta-batch is computed in parts of {size} now.")
        return True


def allow_tf32(device: torch.device, *, allowed: bool) -> None:
    """Let products and convolutions on a GPU round to TF32, or not; it holds for the process."""
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = allowed
        torch.backends.cudnn.allow_tf32 = allowed


def take_notes(notes: list[str]) -> Sequence[str]:
    """Return the notes and empty the list."""
    taken = list(notes)
    notes.clear()
    return taken
