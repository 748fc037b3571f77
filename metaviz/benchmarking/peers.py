"""Second-order MAML by other libraries, each as the examples that it comes with have it.

None of them is needed: a library is imported where its loop is made. The loop of `higher` is run
by the tests, that of torchopt where it is installed: its meta-gradient was that of MetaViz to
2e-16. That of learn2learn follows its documentation: version 0.2.0 does not build on Python 3.11.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from metaviz.benchmarking.exercise import Exercise

TOLERANCE = 1e-9
"""Relative distance up to which float64 meta-gradients are the same."""


@dataclass(frozen=True)
class Loop:
    """One whole meta-step, meta-gradient and Adam, and the module that it trains."""

    step: Callable[[], object]
    model: nn.Module

    def gradient(self, exercise: Exercise) -> Tensor:
        """Return the meta-gradient of the last step, laid out like the exercise's weights."""
        names = (name for name, _ in exercise.layout.shapes)
        found = {
            name: torch.zeros_like(weight) if weight.grad is None else weight.grad
            for name, weight in zip(names, self.model.parameters(), strict=True)
        }
        return exercise.layout.join(found)


Descend = Callable[[Tensor], object]
Lend = Callable[[], AbstractContextManager[tuple[Any, Descend]]]
"""Lends a module to one task, with what takes an inner step by a loss."""
MakeLoop = Callable[[Exercise, torch.dtype], Loop]


def higher_loop(exercise: Exercise, dtype: torch.dtype) -> Loop:
    """Unroll with `higher`."""
    import higher

    model = exercise.module(dtype)
    inner = torch.optim.SGD(model.parameters(), lr=exercise.rate)

    @contextmanager
    def lend() -> Iterator[tuple[Any, Descend]]:
        with higher.innerloop_ctx(model, inner, copy_initial_weights=False) as (fast, descent):
            yield fast, descent.step

    return _loop(exercise, dtype, model, lend)


def learn2learn_loop(exercise: Exercise, dtype: torch.dtype) -> Loop:
    """Unroll with learn2learn. Untested where it is absent."""
    from learn2learn.algorithms import MAML

    model = exercise.module(dtype)
    maml = MAML(model, lr=exercise.rate, first_order=False)

    @contextmanager
    def lend() -> Iterator[tuple[Any, Descend]]:
        learner = maml.clone()
        yield learner, learner.adapt

    return _loop(exercise, dtype, model, lend)


def torchopt_loop(exercise: Exercise, dtype: torch.dtype) -> Loop:
    """Unroll with torchopt, putting the start back after each task. Untested where it is absent."""
    import torchopt

    model = exercise.module(dtype)
    inner = torchopt.MetaSGD(model, lr=exercise.rate)

    @contextmanager
    def lend() -> Iterator[tuple[Any, Descend]]:
        start = torchopt.extract_state_dict(model, by="reference")
        state = torchopt.extract_state_dict(inner, by="reference")
        yield model, inner.step
        torchopt.recover_state_dict(model, start)
        torchopt.recover_state_dict(inner, state)

    return _loop(exercise, dtype, model, lend)


PEERS: dict[str, MakeLoop] = {
    "higher": higher_loop,
    "learn2learn": learn2learn_loop,
    "torchopt": torchopt_loop,
}


def is_there(peer: str) -> bool:
    """Return whether a library can be imported."""
    return find_spec(peer) is not None


def disagreement(mine: Tensor, theirs: Tensor) -> float:
    """Return the relative distance of two meta-gradients."""
    return float((mine - theirs).norm() / theirs.norm())


def _loop(exercise: Exercise, dtype: torch.dtype, model: nn.Module, lend: Lend) -> Loop:
    """Join what all have in common: the tasks one by one, the mean of their losses, and Adam."""
    parameters = list(model.parameters())
    adam = torch.optim.Adam(parameters, lr=exercise.outer_rate)
    tasks = exercise.tasks.to(exercise.tasks.support.x.device, dtype)
    support, query = tasks.support, tasks.query

    def step() -> None:
        adam.zero_grad()
        for task in range(len(tasks)):
            with lend() as (fast, descend):
                for _ in range(exercise.steps):
                    descend(exercise.loss(fast(support.x[task]), support.y[task]))
                loss = exercise.loss(fast(query.x[task]), query.y[task])
                (loss / len(tasks)).backward()
        adam.step()

    return Loop(step, model)
