"""The inner loop: adaptation of all tasks of a batch at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from metaviz.meta.context import Context, Meta
from metaviz.meta.learner import Learner
from metaviz.meta.predictor import Adapted, AdaptedNetwork, Prediction, Seen
from metaviz.meta.rules import InnerRule, State
from metaviz.meta.tasks import Batch


class Graph(IntEnum):
    """How much of adaptation can be differentiated afterwards."""

    NONE = 0
    FIRST_ORDER = 1
    """Inner gradients are constants; the state's dependence on meta-parameters is kept."""
    SECOND_ORDER = 2


@dataclass(frozen=True)
class Step:
    """What was seen at one point of the inner loop. Tensors are detached.

    Shapes: point (tasks, P), loss and gradient_norm (tasks,), outputs (tasks, n, d).
    """

    point: Tensor
    loss: Tensor
    outputs: Tensor
    gradient_norm: Tensor


@dataclass(frozen=True)
class Descent:
    """The end of an inner loop and what was seen on the way.

    Shapes: point (tasks, P); gradient_norm (K, tasks).
    """

    state: State
    point: Tensor
    steps: tuple[Step, ...]

    @property
    def gradient_norm(self) -> Tensor:
        """Norm of the support gradient with respect to what adapts, at k = 0..K-1."""
        if not self.steps:
            return self.point.new_zeros(0, self.point.shape[0])
        return torch.stack([step.gradient_norm for step in self.steps])


def inner_step(
    rule: InnerRule,
    learner: Learner,
    meta: Meta,
    support: Batch,
    state: State,
    k: int,
    graph: Graph,
) -> tuple[State, Step]:
    """Take step k of adaptation, on that round of the support set.

    Losses of tasks are summed before differentiating, so that each task's gradient comes out by
    itself: no task's loss depends on another task's point. Weights that the network holds get a
    gradient of zero; their part in the loss stays differentiable.
    """
    support = support.at(k)
    with torch.enable_grad():
        point = rule.point(meta, state)
        if not point.requires_grad:
            point = point.detach().requires_grad_()
        outputs = learner.outputs(rule.decode(meta, point), support)
        loss = learner.judge.loss(outputs, support)
        (gradient,) = torch.autograd.grad(
            loss.sum(), point, create_graph=graph is Graph.SECOND_ORDER
        )
        gradient = learner.adapted(gradient)
    with torch.set_grad_enabled(graph is not Graph.NONE):
        known = loss if graph is Graph.SECOND_ORDER else loss.detach()
        following = rule.step(meta, state, gradient, known, k)
    norm = torch.linalg.vector_norm(gradient.detach(), dim=1)
    return following, Step(point.detach(), loss.detach(), outputs.detach(), norm)


def descend(
    rule: InnerRule,
    learner: Learner,
    meta: Meta,
    support: Batch,
    steps: int,
    graph: Graph = Graph.NONE,
    batches: Iterator[Batch] | None = None,
) -> Descent:
    """Take `steps` inner steps from the rule's start.

    Each step sees the whole support set, or the next of `batches` where they are given.
    """
    seen: list[Step] = []
    with torch.set_grad_enabled(graph is not Graph.NONE):
        state = rule.start(meta, support)
    for k in range(steps):
        batch = support if batches is None else next(batches)
        state, step = inner_step(rule, learner, meta, batch, state, k, graph)
        seen.append(step)
    with torch.set_grad_enabled(graph is not Graph.NONE):
        return Descent(state, rule.point(meta, state), tuple(seen))


def adaptation(
    rule: InnerRule, context: Context, meta: Meta, trained: int | None = None
) -> Iterator[Adapted]:
    """Yield the network at k = 0..K, with what was seen there, without a graph.

    Steps beyond the `trained` number, where it is given, have the size that the context asks for.
    """
    learner, support = context.learner, context.tasks.support
    later = rule.scaled(context.later_scale)
    with torch.no_grad():
        state = rule.start(meta, support)
    for k in range(context.steps + 1):
        with torch.no_grad():
            weights = rule.decode(meta, rule.point(meta, state))
        usual = trained is None or k < trained or context.later_scale == 1
        stepping = rule if usual else later
        state, step = inner_step(stepping, learner, meta, support, state, k, Graph.NONE)
        seen = Seen(step.loss, Prediction(step.outputs), step.gradient_norm)
        yield AdaptedNetwork(learner, support, weights, seen)


def inner_states(rule: InnerRule, context: Context, meta: Meta, more: int = 0) -> Iterator[State]:
    """Yield the states of the inner loop at k = 0..K, and of `more` steps."""
    support = context.tasks.support
    with torch.no_grad():
        state = rule.start(meta, support)
    yield state
    for k in range(context.steps + more):
        state, _ = inner_step(rule, context.learner, meta, support, state, k, Graph.NONE)
        yield state


@torch.no_grad()
def inner_points(rule: InnerRule, context: Context, meta: Meta) -> Tensor:
    """Return the points of all tasks at k = 0..K, shape (K+1, tasks, P)."""
    return torch.stack([rule.point(meta, state) for state in inner_states(rule, context, meta)])
