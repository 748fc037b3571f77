"""Exact meta-gradients of small tabular worlds, by going through every trajectory there is."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from metaviz.worlds.advantages import Credit
from metaviz.worlds.surrogates import SURROGATES, Surrogate, surrogate

MOST_TRAJECTORIES = 200_000
MOST_NUMBERS = 8_000_000
"""Steps of trajectories that derivatives are held of at a time."""
FIRST_ORDER = "first_order"


@dataclass(frozen=True)
class Chains:
    """Worlds that share their transitions; tasks differ in rewards. All is float64.

    Shapes: transition (s, a, s'), rewards (tasks, s, a). A policy is a table of logits (s, a).
    Trajectories have `horizon` steps and begin in state 0; nothing is discounted, and there is no
    baseline.
    """

    transition: Tensor
    rewards: Tensor
    horizon: int

    @cached_property
    def paths(self) -> int | None:
        """How many trajectories are possible; None where they are more than can be enumerated.

        Counted state by state, by what is reached from state 0.
        """
        leads = (self.transition > 0).double()
        actions = self.transition.shape[1]
        reached = torch.zeros(len(leads), dtype=torch.float64)
        reached[0] = 1
        for _ in range(self.horizon - 1):
            reached = torch.einsum("s,sax->x", reached, leads)
            if float(reached.sum()) * actions > MOST_TRAJECTORIES:
                return None
        count = int(reached.sum()) * actions
        return count if count <= MOST_TRAJECTORIES else None

    @cached_property
    def walks(self) -> "Walks":
        """Every trajectory that is possible."""
        actions = self.transition.shape[1]
        every = torch.arange(actions)
        last, chance = every, torch.ones(actions, dtype=torch.float64)  # in state 0
        lasts, origins = [last], []
        for _ in range(self.horizon - 1):
            chances = self.transition.flatten(0, 1)[last]
            row, state = chances.nonzero(as_tuple=True)
            chance = (chance[row] * chances[row, state]).repeat_interleave(actions)
            last = (state.unsqueeze(1) * actions + every).flatten()
            lasts.append(last)
            origins.append(row.repeat_interleave(actions))
        pairs = torch.empty(len(last), self.horizon, dtype=torch.int64)
        at = torch.arange(len(last))
        for step in reversed(range(self.horizon)):
            pairs[:, step] = lasts[step][at]
            if step:
                at = origins[step - 1][at]
        return Walks(pairs, chance, self.rewards.flatten(1)[:, pairs])


@dataclass(frozen=True)
class Walks:
    """Trajectories.

    Shapes: pairs (N, H), numbers s * actions + a; chance (N,), the product of the probabilities of
    the transitions; rewards (tasks, N, H).
    """

    pairs: Tensor
    chance: Tensor
    rewards: Tensor

    def log_probs(self, logits: Tensor) -> Tensor:
        """Return the logarithms of the chances of what is done, (..., N, H)."""
        return logits.log_softmax(-1).flatten(-2)[..., self.pairs]

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probability of each trajectory, (..., N)."""
        return self.chance * self.log_probs(logits).sum(-1).exp()


@dataclass(frozen=True)
class Exact:
    """A meta-gradient and what estimators make of it in expectation; gradients are (s, a).

    `returns` are those of every task before and after the update.
    """

    objective: float
    returns: Tensor
    adapted_returns: Tensor
    gradient: Tensor
    estimates: Mapping[str, Tensor]
    score: Tensor | None = None
    """What the choice of trajectories adds, where the update is a sampled one."""


def returns(chains: Chains, logits: Tensor) -> Tensor:
    """Return the exact return of a policy in every task, (tasks,), differentiable."""
    sums = chains.walks.rewards.sum(-1)
    return (chains.walks.probabilities(logits) * sums).sum(-1)


def expected_update(chains: Chains, logits: Tensor, rate: float) -> Exact:
    """Differentiate J = mean_t V_t(theta + rate grad V_t(theta)).

    Estimates replace the Hessian of V by the expected second derivative of a surrogate, or leave it
    out.
    """
    start = logits.detach().requires_grad_()
    before = returns(chains, start)
    slopes = _each(before, start, create_graph=True)
    ends = [start + rate * slope for slope in slopes]
    after = torch.stack([returns(chains, end)[task] for task, end in enumerate(ends)])
    objective = after.mean()
    (gradient,) = torch.autograd.grad(objective, start, retain_graph=True)
    outer = torch.stack([_slope(chains, end.detach(), task) for task, end in enumerate(ends)])
    estimates = {FIRST_ORDER: outer.mean(0)}
    for kind in SURROGATES:
        leaf = logits.detach().requires_grad_()
        expected = _expected_surrogate(kind, chains, leaf)
        bent = [
            rate * torch.autograd.grad((slope * one).sum(), leaf, retain_graph=True)[0]
            for slope, one in zip(_each(expected, leaf, create_graph=True), outer, strict=True)
        ]
        estimates[kind] = (outer + torch.stack(bent)).mean(0)
    value = float(objective.detach())
    return Exact(value, before.detach(), after.detach(), gradient, estimates)


def sampled_update(chains: Chains, logits: Tensor, rate: float, trajectories: int) -> Exact:
    """Differentiate J = mean_t E[V_t(theta + rate g)], where g is of so many trajectories.

    Estimates are the part through the update, with trajectories as they are; `score` is what their
    probabilities add, sum_m E[grad log p(tau_m) V(phi)].
    """
    walks = chains.walks
    number = torch.arange(len(walks.chance))
    chosen = torch.cartesian_prod(*[number] * trajectories).view(-1, trajectories)
    found = [_sampled(chains, task, logits, rate, chosen) for task in range(len(chains.rewards))]
    names = found[0][2]
    estimates = {name: torch.stack([one[2][name] for one in found]).mean(0) for name in names}
    after = torch.stack([one[0] for one in found])
    gradient = torch.stack([one[1] for one in found]).mean(0)
    score = estimates.pop("score")
    before = returns(chains, logits).detach()
    return Exact(float(after.mean()), before, after, gradient, estimates, score)


def _sampled(
    chains: Chains, task: int, logits: Tensor, rate: float, chosen: Tensor
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return E[V(phi)] of a task, its gradient, and the parts of that by estimator."""
    walks = chains.walks
    credit = _credit(walks.rewards[task])
    sums = walks.rewards[task].sum(-1)
    start = logits.detach().requires_grad_()
    alike = start.expand(len(walks.chance), *logits.shape)
    own = _own_log_probs(walks, alike)
    (slopes,) = torch.autograd.grad(surrogate("plain", own, credit).sum(), alike, create_graph=True)
    ends = start + rate * slopes[chosen].mean(1)
    probability = walks.probabilities(start)[chosen].prod(-1)
    value = (walks.probabilities(ends) * sums).sum(-1)
    objective = (probability * value).sum()
    (gradient,) = torch.autograd.grad(objective, start, retain_graph=True)
    (score,) = torch.autograd.grad((probability * value.detach()).sum(), start, retain_graph=True)
    weight = probability.detach()
    (outer,) = torch.autograd.grad((weight * value).sum(), ends)  # weighted
    direct = outer.sum(0)
    parts = {FIRST_ORDER: direct, "score": score}
    for kind in SURROGATES:
        leaf = logits.detach().expand(len(walks.chance), *logits.shape).clone().requires_grad_()
        terms = surrogate(kind, _own_log_probs(walks, leaf), credit)
        (own_slopes,) = torch.autograd.grad(terms.sum(), leaf, create_graph=True)
        # Each walk's second derivative times the sum of what every choice with it has outside.
        share = torch.zeros_like(leaf)
        for place in chosen.unbind(1):
            share = share.index_add(0, place, outer)
        (bent,) = torch.autograd.grad((own_slopes * share).sum(), leaf)
        parts[kind] = direct + rate * bent.sum(0) / chosen.shape[1]
    return objective.detach(), gradient, {name: part.detach() for name, part in parts.items()}


def hessian_errors(chains: Chains, logits: Tensor) -> dict[str, Tensor]:
    """Return, by estimator and for each task, |E[H of the surrogate] - H of V| / |H of V|."""
    leaf = logits.detach().requires_grad_()
    exact = _hessians(returns(chains, leaf), leaf)
    found = {kind: _hessians(_expected_surrogate(kind, chains, leaf), leaf) for kind in SURROGATES}
    norms = exact.norm(dim=(1, 2))
    return {kind: (wrong - exact).norm(dim=(1, 2)) / norms for kind, wrong in found.items()}


def _hessians(values: Tensor, at: Tensor) -> Tensor:
    """Return the second derivatives of every value, (values, P, P)."""
    return torch.stack(
        [
            torch.stack(
                [
                    torch.autograd.grad(one, at, retain_graph=True)[0].flatten()
                    for one in slope.flatten()
                ]
            )
            for slope in _each(values, at, create_graph=True)
        ]
    )


def _expected_surrogate(kind: Surrogate, chains: Chains, logits: Tensor) -> Tensor:
    """Return the expected surrogate of every task, (tasks,), of which derivatives are meant."""
    walks = chains.walks
    weight = walks.probabilities(logits).detach()
    terms = surrogate(kind, walks.log_probs(logits), _credit(walks.rewards))
    return (weight * terms.sum(-1)).sum(-1)


def _credit(rewards: Tensor) -> Credit:
    """Return sums of later rewards, without discount or baseline. Shape (..., H)."""
    after = rewards.flip(-1).cumsum(-1).flip(-1)
    return Credit(after, rewards, torch.zeros_like(rewards))


def _own_log_probs(walks: Walks, logits: Tensor) -> Tensor:
    """Return what each trajectory's own logits (N, s, a) make of it, (N, H)."""
    return logits.log_softmax(-1).flatten(1).gather(1, walks.pairs)


def _slope(chains: Chains, logits: Tensor, task: int) -> Tensor:
    leaf = logits.detach().requires_grad_()
    (slope,) = torch.autograd.grad(returns(chains, leaf)[task], leaf)
    return slope


def _each(values: Tensor, at: Tensor, *, create_graph: bool) -> list[Tensor]:
    """Return the gradient of every value."""
    return [
        torch.autograd.grad(value, at, create_graph=create_graph, retain_graph=True)[0]
        for value in values
    ]
