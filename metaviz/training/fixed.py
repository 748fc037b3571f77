"""Meta-steps that were recorded once, for fixed shapes, and are eager wherever that fails."""

from collections.abc import Callable, Generator, Iterator

import torch
from torch import Tensor

from metaviz.meta.estimators.base import MetaStep
from metaviz.meta.rules import Meta
from metaviz.meta.tasks import TaskBatch
from metaviz.training.memory import is_memory_error
from metaviz.training.recipe import CannotRecordError, Program, Recipe
from metaviz.training.setting import Setting
from metaviz.training.stepping import Eager

TOLERANCES = {torch.float32: 1e-4, torch.float64: 1e-10}
"""Largest distance of a recorded meta-gradient from the eager one, relative to its length."""

Build = Callable[[Recipe, list[Tensor]], Generator[str, None, Program]]
"""Records a recipe for the shapes of given inputs; yields what is being done meanwhile.

Raises: CannotRecordError."""


class FixedSteps(Eager):
    """Records the meta-step, compares it with eager ones on two batches, and then uses it."""

    def __init__(self, setting: Setting, engine: str, build: Build) -> None:
        """Record for a setting, once `prepare` is called; `engine` is a participle."""
        super().__init__(setting)
        self._engine = engine
        self._build = build
        # Recording both kinds of steps would take twice as long, or twice the memory.
        self._reading = setting.config.shared.reading_every == 1
        self._recipe = Recipe(
            setting.algorithm, setting.learner, setting.shards, reading=self._reading
        )
        self._program: Program | None = None
        self._tasks = 0

    def prepare(self, meta: Meta, step: int) -> Iterator[str]:
        """Choose the parts, record, and compare."""
        yield from super().prepare(meta, step)
        tasks = self.batch(step)
        try:
            self._program = yield from self._build(self._recipe, self._recipe.inputs(meta, tasks))
            self._tasks = len(tasks)
            self._check(meta, step)
        except (RuntimeError, MemoryError) as error:
            self._program = None
            known = isinstance(error, CannotRecordError)
            if not known and not is_memory_error(error):
                raise
            self.failure = str(error) if known else "memory does not suffice"
            sentence = f"The meta-step is not {self._engine}: {self.failure}. It runs eagerly."
            self.notes.append(sentence)

    def _check(self, meta: Meta, step: int) -> None:
        """Compare with eager meta-steps: on a second batch, what was taken for fixed shows.

        Raises: CannotRecordError where they differ.
        """
        setting = self._setting
        for number in (step, step + 1):
            tasks = setting.batch(number)
            if len(tasks) != self._tasks:
                continue
            seed = setting.step_seed(number)
            found = self(meta, tasks, seed, reading=self._reading)
            expected = super().__call__(meta, tasks, seed, reading=self._reading)
            apart = distance(found, expected)
            if not apart <= TOLERANCES[setting.dtype]:
                raise CannotRecordError(f"it would differ from the eager one by {apart:.1e}")

    def __call__(self, meta: Meta, tasks: TaskBatch, seed: int, *, reading: bool) -> MetaStep:
        """Return the meta-step of a batch, eagerly where its shapes are other ones."""
        if self._program is None or reading is not self._reading or len(tasks) != self._tasks:
            return super().__call__(meta, tasks, seed, reading=reading)
        return self._recipe.read(self._program(self._recipe.inputs(meta, tasks)))


def distance(found: MetaStep, expected: MetaStep) -> float:
    """Return how far meta-gradients and losses are apart, relative to their length.

    Residuals are left out: of a problem that is solved they are rounding errors.
    """
    losses = [name for name in expected.readings if name.endswith("_loss")]
    pairs = [(found.gradients[name], value) for name, value in expected.gradients.items()]
    pairs += [(found.readings[name], expected.readings[name]) for name in losses]
    pairs.append((found.support_loss, expected.support_loss))
    return max(float((a - b).norm() / b.norm().clamp_min(1e-12)) for a, b in pairs)
