"""Meta-steps that were recorded once, for fixed shapes, and are eager wherever that fails."""

from collections.abc import Callable, Generator, Iterator

import torch
from torch import Tensor

from metaviz.meta.context import Meta
from metaviz.meta.estimators.base import MetaStep
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
        # Steps that are read and steps that are not are programs of their own.
        self._kinds = (True,) if setting.config.shared.reading_every == 1 else (False, True)
        self._recorded: dict[bool, tuple[Recipe, Program]] = {}
        self._tasks = 0

    @property
    def engine(self) -> str:
        """How steps are computed now: eagerly where recording failed."""
        return self._engine if self._recorded else super().engine

    def prepare(self, meta: Meta, step: int) -> Iterator[str]:
        """Choose the parts, record, and compare."""
        yield from super().prepare(meta, step)
        setting, tasks = self._setting, self.batch(step)
        self._tasks = len(tasks)
        try:
            for reading in self._kinds:
                recipe = Recipe(setting.algorithm, setting.learner, setting.shards, reading=reading)
                program = yield from self._build(recipe, recipe.inputs(meta, tasks))
                self._recorded[reading] = recipe, program
                self._check(meta, step, reading=reading)
        except (RuntimeError, MemoryError) as error:
            self._recorded.clear()
            known = isinstance(error, CannotRecordError)
            if not known and not is_memory_error(error):
                raise
            self.failure = str(error) if known else "memory does not suffice"
            sentence = f"The meta-step is not {self._engine}: {self.failure}. It runs eagerly."
            self.notes.append(sentence)

    def _check(self, meta: Meta, step: int, *, reading: bool) -> None:
        """Compare with eager meta-steps: on a second batch, what was taken for fixed shows.

        Raises: CannotRecordError where they differ.
        """
        setting = self._setting
        for number in (step, step + 1):
            tasks = setting.batch(number)
            if len(tasks) != self._tasks:
                continue
            found = self(meta, tasks, number, reading=reading)
            expected = super().__call__(meta, tasks, number, reading=reading)
            apart = distance(found, expected)
            if not apart <= TOLERANCES[setting.dtype]:
                raise CannotRecordError(f"it would differ from the eager one by {apart:.1e}")

    def __call__(self, meta: Meta, tasks: TaskBatch, step: int, *, reading: bool) -> MetaStep:
        """Return a meta-step, eagerly where the batch has another shape."""
        if reading not in self._recorded or len(tasks) != self._tasks:
            return super().__call__(meta, tasks, step, reading=reading)
        recipe, program = self._recorded[reading]
        return recipe.read(program(recipe.inputs(meta, tasks)))


def distance(found: MetaStep, expected: MetaStep) -> float:
    """Return how far meta-gradients and losses are apart, relative to their length.

    Residuals are left out: of a problem that is solved they are rounding errors.
    """
    losses = [name for name in expected.readings if name.endswith("_loss")]
    pairs = [(found.gradients[name], value) for name, value in expected.gradients.items()]
    pairs += [(found.readings[name], expected.readings[name]) for name in losses]
    pairs.append((found.support_loss, expected.support_loss))
    return max(float((a - b).norm() / b.norm().clamp_min(1e-12)) for a, b in pairs)
