"""A meta-step as a function from tensors to tensors, which can be recorded once for all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from torch import Tensor
from typing_extensions import override

from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Context, Meta
from metaviz.meta.draws import Draws
from metaviz.meta.estimators.base import MetaStep
from metaviz.meta.sharding import Shards, merge, part_of
from metaviz.meta.tasks import PARTS, Batch, TaskBatch

Program = Callable[[list[Tensor]], Sequence[Tensor]]
"""A recorded meta-step: outputs of a recipe from its inputs."""


class CannotRecordError(RuntimeError):
    """A step cannot be recorded; the message says why, as the end of a sentence."""


class _Refused(Draws):
    """Refuses to draw random numbers: they would be the same at every step."""

    @override
    def __getitem__(self, tasks: slice) -> Draws:
        del tasks
        return self

    @override
    def of(self, purpose: str, k: int, count: int) -> np.ndarray:
        raise CannotRecordError(f"the method draws its own random numbers, for {purpose}")


@dataclass(frozen=True)
class _Names:
    """Which output is what."""

    groups: tuple[str, ...]
    readings: tuple[str, ...]
    warnings: tuple[str, ...]
    replaced: tuple[str, ...]
    gradient_evaluations: int
    hessian_vector_products: int


class Recipe:
    """A meta-step as a function from a flat list of tensors to another."""

    def __init__(self, algorithm: Algorithm, context: Context, shards: Shards) -> None:
        """Take what is computed, and the parts in which it is, one after another.

        The context's tasks are replaced by those of each call.
        """
        self.reading = context.reading
        """Whether the losses before and after adaptation are among the outputs."""
        self._algorithm = algorithm
        self._context = replace(context, draws=_Refused(()))
        self._shards = shards
        self._groups: tuple[str, ...] = ()
        self._given: tuple[tuple[str, ...], ...] = ()
        self._rounds: tuple[int, ...] = ()
        self._names: _Names | None = None

    def inputs(self, meta: Meta, tasks: TaskBatch) -> list[Tensor]:
        """Return meta-parameters and tasks as a flat list."""
        self._groups = tuple(meta)
        sets = [part for part in (tasks.support, tasks.query, tasks.plain) if part is not None]
        self._given = tuple(
            tuple(name for name in PARTS if getattr(examples, name) is not None)
            for examples in sets
        )
        self._rounds = tuple(examples.rounds for examples in sets)
        given = [value.detach() for value in meta.values()]
        for examples, names in zip(sets, self._given, strict=True):
            given += [getattr(examples, name) for name in names]
        return given

    def __call__(self, *given: Tensor) -> list[Tensor]:
        """Compute the meta-step; every output is a tensor of its own."""
        rest = iter(given)
        meta = {name: next(rest) for name in self._groups}
        sets = [
            Batch(**{name: next(rest) for name in names}, rounds=rounds)
            for names, rounds in zip(self._given, self._rounds, strict=True)
        ]
        step = self._step(meta, TaskBatch(*sets))
        self._names = _Names(
            tuple(step.gradients),
            tuple(step.readings),
            tuple(step.warnings),
            tuple(step.replaced),
            step.gradient_evaluations,
            step.hessian_vector_products,
        )
        found = [
            *step.gradients.values(),
            *step.readings.values(),
            *step.warnings.values(),
            *step.replaced.values(),
            step.support_loss,
            step.gradient_norm,
        ]
        return [value.detach() for value in found]

    def _step(self, meta: Meta, tasks: TaskBatch) -> MetaStep:
        whole = self._algorithm.traits.sequential
        edges = [0, len(tasks)] if whole else self._shards.edges(len(tasks))
        spans = list(pairwise(edges))
        context = replace(self._context, tasks=tasks)
        parts = [(context, meta)]
        if len(spans) > 1:
            parts = [part_of(context, meta, span) for span in spans]
        steps = [self._algorithm.meta_gradient(*part) for part in parts]
        return merge(steps, [end - start for start, end in spans])

    def read(self, found: Sequence[Tensor]) -> MetaStep:
        """Return outputs as a meta-step."""
        names = self._names
        if names is None:
            raise RuntimeError("The meta-step has not been recorded yet.")
        rest = iter(found)
        gradients, readings, warnings, replaced = (
            {name: next(rest) for name in group}
            for group in (names.groups, names.readings, names.warnings, names.replaced)
        )
        return MetaStep(
            gradients,
            readings,
            next(rest),
            next(rest),
            names.gradient_evaluations,
            names.hessian_vector_products,
            warnings,
            replaced,
        )
