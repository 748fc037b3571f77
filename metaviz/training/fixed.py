"""Meta-steps that were recorded once, for fixed shapes, and are eager wherever that fails."""

from collections.abc import Callable, Generator, Iterator

import torch
from torch import Tensor

from metaviz.config.quantities import quantity_of
from metaviz.meta.context import Meta
from metaviz.meta.estimators.base import MetaStep
from metaviz.meta.tasks import TaskBatch
from metaviz.training.memory_budget import is_memory_error
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
                recipe = Recipe(
                    setting.algorithm,
                    setting.context(step, tasks, reading=reading),
                    setting.shards,
                )
                program = yield from self._build(recipe, recipe.inputs(meta, tasks))
                self._recorded[reading] = recipe, program
                self._check(meta, step, reading=reading)
        except (RuntimeError, MemoryError) as error:
            self._recorded.clear()
            self.failure = _reason(error)
            if not self.failure:
                raise
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


def _reason(error: RuntimeError | MemoryError) -> str:
    """Return why a step cannot be recorded; empty for what is wrong with the method itself."""
    if isinstance(error, CannotRecordError):
        return str(error)
    if isinstance(error, torch.linalg.LinAlgError):  # type: ignore[attr-defined]
        return "a matrix is no longer finite"  # the step itself will say at which step
    return "memory does not suffice" if is_memory_error(error) else ""


def distance(found: MetaStep, expected: MetaStep) -> float:
    """Return how far meta-gradients and readings are apart, relative to their length.

    NaN where one of them has a number and the other none. Readings that rounding may decide are
    left out.
    """
    kept = [name for name in expected.readings if not quantity_of(name).rounding]
    pairs = [(found.gradients[name], value) for name, value in expected.gradients.items()]
    pairs += [(found.readings[name], expected.readings[name]) for name in kept]
    pairs += [(found.replaced[name], value) for name, value in expected.replaced.items()]
    pairs.append((found.support_loss, expected.support_loss))
    return float(torch.stack([_apart(*pair).cpu() for pair in pairs]).max())


def _apart(found: Tensor, expected: Tensor) -> Tensor:
    """Return the distance of two tensors over the length of the second; infinities may be equal."""
    same = (found == expected) | (found.isnan() & expected.isnan())
    length = torch.where(expected.isfinite(), expected, 0).norm().clamp_min(1e-12)
    apart: Tensor = torch.where(same, 0, found - expected).norm() / length
    return apart
