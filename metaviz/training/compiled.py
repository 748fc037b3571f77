"""Meta-steps translated to machine code.

A whole meta-step (inner loop, its derivatives, readings) is recorded once as a graph of tensor
operations, all of its shapes fixed, and compiled by PyTorch's inductor, which fuses neighbouring
operations. It pays where operations are small, so that calling them one by one costs more than
they do.
"""

import os
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metaviz.meta.algorithm import Algorithm
from metaviz.meta.estimators.base import MetaStep
from metaviz.meta.learner import Learner
from metaviz.meta.rules import Meta
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.paths import data_dir
from metaviz.training.setting import Setting
from metaviz.training.stepping import Eager

TOLERANCES = {torch.float32: 1e-4, torch.float64: 1e-10}
"""Largest distance of a compiled meta-gradient from the eager one, relative to its length."""
LARGE = 20_000
"""Numbers of meta-parameters and tasks above which operations cost more than calling them."""
_BEAT_SECONDS = 0.25
_COMPILERS = ("g++", "clang++", "c++", "cl")
_INPUTS = ("x", "y", "beside")

Program = Callable[[list[Tensor]], Sequence[Tensor]]


class CannotCompileError(RuntimeError):
    """A step cannot be compiled; the message says why, as the end of a sentence."""


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

    def __init__(self, algorithm: Algorithm, learner: Learner, *, reading: bool) -> None:
        """Take what is computed."""
        self._algorithm, self._learner, self._reading = algorithm, learner, reading
        self._groups: tuple[str, ...] = ()
        self._beside = (False, False)
        self._names: _Names | None = None

    def inputs(self, meta: Meta, tasks: TaskBatch) -> list[Tensor]:
        """Return meta-parameters and tasks as a flat list."""
        self._groups = tuple(meta)
        sets = (tasks.support, tasks.query)
        self._beside = (sets[0].beside is not None, sets[1].beside is not None)
        given = [value.detach() for value in meta.values()]
        for examples in sets:
            values = (getattr(examples, name) for name in _INPUTS)
            given += [value for value in values if value is not None]
        return given

    def __call__(self, *given: Tensor) -> list[Tensor]:
        """Compute the meta-step; every output is a tensor of its own."""
        rest = iter(given)
        meta = {name: next(rest) for name in self._groups}
        sets = [
            Batch(next(rest), next(rest), next(rest) if beside else None) for beside in self._beside
        ]
        # Whoever draws random numbers fails here: they would be the same at every step.
        nothing: Any = object()
        step = self._algorithm.meta_gradient(
            self._learner, meta, TaskBatch(*sets), nothing, reading=self._reading
        )
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


def compile_recipe(recipe: Recipe, given: list[Tensor]) -> Program:
    """Record a recipe at given inputs, and compile it for their shapes.

    Raises: CannotCompileError.
    """
    if sum(value.numel() for value in given) > LARGE:
        raise CannotCompileError("its operations are so large that it would not pay")
    if not any(map(shutil.which, (os.environ.get("CXX", ""), *_COMPILERS))):
        raise CannotCompileError("there is no C++ compiler here: install g++ or clang++")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(data_dir() / "compiled"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its modules warn of what they use themselves
            from torch._inductor import config
            from torch._inductor.compile_fx import compile_fx_inner
            from torch._inductor.decomposition import select_decomp_table
            from torch.fx.experimental.proxy_tensor import make_fx
    except (ImportError, OSError) as error:
        raise CannotCompileError("this PyTorch comes without its compiler") from error
    try:
        graph = make_fx(recipe, decomposition_table=select_decomp_table())(*given)
    except Exception as error:
        raise CannotCompileError(
            "the method decides on numbers that it has just computed, or draws its own"
        ) from error
    graph.graph.eliminate_dead_code()
    graph.recompile()
    try:
        with config.patch(compile_threads=1), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compiled: Program = compile_fx_inner(graph, given)
            compiled(list(given))
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise CannotCompileError(f"compiling failed ({reason[0] if reason else error})") from error
    return compiled


def distance(found: MetaStep, expected: MetaStep) -> float:
    """Return how far meta-gradients and losses are apart, relative to their length.

    Residuals are left out: of a problem that is solved they are rounding errors.
    """
    losses = [name for name in expected.readings if name.endswith("_loss")]
    pairs = [(found.gradients[name], value) for name, value in expected.gradients.items()]
    pairs += [(found.readings[name], expected.readings[name]) for name in losses]
    pairs.append((found.support_loss, expected.support_loss))
    return max(float((a - b).norm() / b.norm().clamp_min(1e-12)) for a, b in pairs)


def in_background(work: Callable[[], Any]) -> Iterator[float]:
    """Work in a thread; yield the seconds gone by until it is over, then raise what it raised."""
    raised: list[BaseException] = []

    def guarded() -> None:
        torch.set_num_threads(1)  # it belongs to a thread, and the compiler looks at it
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - it is raised again below
            raised.append(error)

    thread = threading.Thread(target=guarded, name="metaviz-compile", daemon=True)
    began = time.monotonic()
    thread.start()
    while thread.is_alive():
        thread.join(_BEAT_SECONDS)
        yield time.monotonic() - began
    if raised:
        raise raised[0]


class CompiledSteps:
    """Meta-steps compiled for the shapes of a run; eager where that is not possible."""

    engine = "compiled"

    def __init__(self, setting: Setting) -> None:
        """Compile for a setting, once `prepare` is called."""
        self._setting = setting
        self._eager = Eager(setting)
        self.notes = self._eager.notes
        # Compiling both kinds of steps would take twice as long.
        self._reading = setting.config.shared.reading_every == 1
        self._recipe = Recipe(setting.algorithm, setting.learner, reading=self._reading)
        self._program: Program | None = None
        self._tasks = 0

    def prepare(self, meta: Meta, step: int) -> Iterator[str]:
        """Compile, then compare with eager steps on two batches."""
        yield from self._eager.prepare(meta, step)
        setting = self._setting
        tasks = setting.batch(step)
        given = self._recipe.inputs(meta, tasks)
        made: list[Program] = []
        try:
            for seconds in in_background(lambda: made.append(compile_recipe(self._recipe, given))):
                yield f"compiling, {seconds:.0f} s"
            self._program, self._tasks = made[0], len(tasks)
            self._check(meta, step)
        except CannotCompileError as error:
            self._program = None
            self.notes.append(f"The meta-step is not compiled: {error}. It runs eagerly.")

    def _check(self, meta: Meta, step: int) -> None:
        """Compare with eager meta-steps: on a second batch, what was taken for fixed shows.

        Raises: CannotCompileError where they differ.
        """
        setting = self._setting
        for number in (step, step + 1):
            tasks = setting.batch(number)
            if len(tasks) != self._tasks:
                continue
            seed = setting.step_seed(number)
            expected = self._eager(meta, tasks, seed, reading=self._reading)
            apart = distance(self(meta, tasks, seed, reading=self._reading), expected)
            if not apart <= TOLERANCES[setting.dtype]:
                raise CannotCompileError(f"it would differ from the eager one by {apart:.1e}")

    def __call__(self, meta: Meta, tasks: TaskBatch, seed: int, *, reading: bool) -> MetaStep:
        """Return the meta-step of a batch, eagerly where its shapes are other ones."""
        if self._program is None or reading is not self._reading or len(tasks) != self._tasks:
            return self._eager(meta, tasks, seed, reading=reading)
        return self._recipe.read(self._program(self._recipe.inputs(meta, tasks)))
