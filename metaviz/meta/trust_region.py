"""Trust-region policy optimisation as an outer rule: how far a step may change adapted policies."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from metaviz.config.quantities import TRUST
from metaviz.meta.algorithm import Algorithm, Composed
from metaviz.meta.context import Context, Meta
from metaviz.meta.estimators import Joint, Unrolled, Untrained
from metaviz.meta.estimators.base import Case, MetaStep
from metaviz.meta.inner import Graph
from metaviz.meta.solvers import conjugate_gradient
from metaviz.nets.agent import Policy, Replay
from metaviz.nets.layout import Weights

_TRIES, _SHORTER = 15, 0.8
DAMPING = 1e-5


@dataclass(frozen=True)
class TrustRegion:
    """The largest mean divergence of adapted policies, in nats, and the products that a step takes.

    A product is one with the divergence's Hessian, through all inner steps.
    """

    limit: float = 0.01
    products: int = 10


@dataclass(frozen=True)
class _Seen:
    """What was done before the step: trajectories of all inner steps and of the query sets."""

    case: Case
    graph: Graph
    replay: Replay
    policy: Policy

    def measured(self, meta: Meta, graph: Graph) -> tuple[Tensor, Tensor]:
        """Return surrogate and divergence of policies that adapted from `meta`, (tasks,) each.

        They adapt to, and are judged by, the trajectories that were seen.
        """
        case = replace(self.case, meta=meta)
        self.replay.rewind()
        weights, _ = _adapted(case, graph)
        with torch.set_grad_enabled(graph is not Graph.NONE):
            gain = self.replay.terms(weights).mean((1, 2))
            policy = self.replay.policy(weights, self.replay.last.observations)
            return gain, self.policy.divergence(policy).mean((1, 2))


def outer_graph(algorithm: Algorithm) -> Graph | None:
    """Return how much of adaptation a method's outer step differentiates.

    None where its meta-gradient is not that of the return after adaptation.
    """
    if not isinstance(algorithm, Composed):
        return None
    estimator = algorithm.estimator
    if isinstance(estimator, Joint | Untrained):
        return Graph.NONE
    if isinstance(estimator, Unrolled) and not estimator.terms:
        return estimator.graph
    return None


def trust_region_step(
    algorithm: Composed, context: Context, meta: Meta, step: MetaStep, region: TrustRegion
) -> MetaStep:
    """Return a meta-step with the groups' new values: natural gradient and line search.

    The direction solves (H + damping) d = g by conjugate gradients, where g is minus the
    meta-gradient and H the Hessian, at the start, of the mean divergence KL(old || new) of
    policies after adaptation, in the states of the query trajectories. The step is as long as
    d'H d / 2 = limit allows, and is shortened by 0.8 up to 14 times until the surrogate rises and
    the divergence is at most the limit; else nothing moves. Trajectories stay those that the start
    has collected: inner steps of other starts see them, too.
    Source: Schulman et al. 2015, arXiv:1502.05477; as an outer rule, Finn et al. 2017.
    Deviation: every state of the query trajectories is used, not every fifth one.
    """
    names = [name for name in meta if step.gradients.get(name) is not None]
    ascent = -torch.cat([step.gradients[name] for name in names]).detach()
    tasks, k = len(context.tasks), context.steps
    still = torch.zeros(tasks, dtype=ascent.dtype, device=ascent.device)
    if not bool(ascent.any()):
        return _with(step, (still, still, still), (0, 0))
    seen = _seen(algorithm, context, meta)
    direction, curvature = _direction(seen, meta, names, ascent, region)
    cost = k + 2, region.products * (k + 1)
    found = still, still, still
    moved: Meta = {}
    if curvature > 0:
        longest = direction * (2 * region.limit / curvature) ** 0.5
        before, _ = seen.measured(meta, Graph.NONE)
        for share in (_SHORTER**number for number in range(_TRIES)):
            there = meta | dict(_parts(meta, names, share * longest))
            gain, divergence = seen.measured(there, Graph.NONE)
            gain = gain - before
            cost = cost[0] + k, cost[1]
            if gain.mean() > 0 and divergence.mean() <= region.limit:
                found = divergence, gain, torch.full_like(still, share)
                moved = {name: there[name] for name in names}
                break
    return replace(_with(step, found, cost), replaced=step.replaced | moved)


def _with(step: MetaStep, found: tuple[Tensor, ...], cost: tuple[int, int]) -> MetaStep:
    readings = {quantity.id: value for quantity, value in zip(TRUST, found, strict=True)}
    return replace(
        step,
        readings=step.readings | readings,
        gradient_evaluations=step.gradient_evaluations + cost[0],
        hessian_vector_products=step.hessian_vector_products + cost[1],
    )


def _seen(algorithm: Composed, context: Context, meta: Meta) -> _Seen:
    """Collect the trajectories that the start adapts by, and those of its adapted policies."""
    graph = outer_graph(algorithm)
    if graph is None:
        raise TypeError("The meta-gradient is not that of the return after adaptation.")
    replay = Replay(context.learner.net)  # type: ignore[arg-type]  # settle asks for a policy
    steps = 0 if graph is Graph.NONE else context.steps
    inside = replace(context, learner=replace(context.learner, net=replay), steps=steps)
    case = Case(algorithm.rule, inside, {name: value.detach() for name, value in meta.items()})
    weights, _ = _adapted(case, Graph.NONE)
    with torch.no_grad():
        policy = replay.policy(weights, replay.last.observations)
    return _Seen(case, graph, replay, policy)


def _adapted(case: Case, graph: Graph) -> tuple[Weights, Tensor]:
    """Adapt, act on the query sets, and return the weights with which that was done."""
    descent = case.descend(graph)
    with torch.set_grad_enabled(graph is not Graph.NONE):
        weights = case.rule.decode(case.meta, descent.point)
        return weights, case.context.learner.outputs(weights, case.context.tasks.query)


def _direction(
    seen: _Seen, meta: Meta, names: list[str], ascent: Tensor, region: TrustRegion
) -> tuple[Tensor, float]:
    """Return d of (H + damping) d = ascent, and d'(H + damping) d."""
    inside = {name: value.detach() for name, value in meta.items()}
    leaves = [inside[name].requires_grad_() for name in names]
    graph = Graph.FIRST_ORDER if seen.graph is Graph.NONE else seen.graph
    _, divergence = seen.measured(inside, graph)
    slope = _flat(torch.autograd.grad(divergence.mean(), leaves, create_graph=True))

    def product(vector: Tensor) -> Tensor:
        bent = torch.autograd.grad((slope * vector[0]).sum(), leaves, retain_graph=True)
        return (_flat(bent) + DAMPING * vector[0]).unsqueeze(0)

    direction = conjugate_gradient(product, ascent.unsqueeze(0), region.products).x
    return direction[0], float((direction * product(direction)).sum())


def _flat(parts: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([part.flatten() for part in parts])


def _parts(meta: Meta, names: list[str], moved: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield the groups' values after a step."""
    sizes = [meta[name].numel() for name in names]
    for name, part in zip(names, moved.split(sizes), strict=True):
        yield name, meta[name].detach() + part
