"""How much better than usual an action was: baselines, discounts and their mixtures."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Baseline = Literal["linear", "time_mean", "none"]
RIDGE = 1e-5
_LONG = 100.0
_TINY = 1e-12


class Credit(NamedTuple):
    """What steps are worth, (tasks, M, H) each.

    `rewards` and `values`, the baseline's, are discounted from the start, and divided by the same
    number as the advantages.
    """

    advantages: Tensor
    rewards: Tensor
    values: Tensor


@dataclass(frozen=True)
class Advantages:
    """A_t = sum_l (gamma lambda)^l delta_{t+l}, delta_t = r_t + gamma b_{t+1} - b_t.

    The baseline b of each task is fitted to its own trajectories: linear in the features of
    `features`, or the mean over trajectories at each time. With lambda 1, A_t is the discounted
    sum of later rewards minus b_t. `normalise` centres and scales the advantages of a task.
    Source: Schulman et al. 2016 (lambda), Duan et al. 2016 (linear features, ridge 1e-5).
    """

    baseline: Baseline = "linear"
    discount: float = 0.99
    mixture: float = 1.0
    normalise: bool = True

    def values(self, observations: Tensor, rewards: Tensor) -> Tensor:
        """Return the baseline at every time, (tasks, M, H).

        Shapes: observations (tasks, M, H, o), rewards (tasks, M, H).
        """
        if self.baseline == "none":
            return torch.zeros_like(rewards)
        after = discounted(rewards, self.discount)
        if self.baseline == "time_mean":
            return after.mean(1, keepdim=True).expand_as(after)
        seen = features(observations).flatten(1, 2).double()
        wanted = after.flatten(1).double().unsqueeze(-1)
        gram = seen.mT @ seen
        ridge = RIDGE * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
        fitted, _ = torch.linalg.solve_ex(gram + ridge, seen.mT @ wanted)
        found: Tensor = (seen @ fitted).view(rewards.shape).to(rewards.dtype)
        return found

    def __call__(self, observations: Tensor, rewards: Tensor) -> Credit:
        """Return what every step is worth; shapes as of `values`."""
        values = self.values(observations, rewards)
        following = torch.nn.functional.pad(values[..., 1:], (0, 1))
        surprise = rewards + self.discount * following - values
        found = discounted(surprise, self.discount * self.mixture)
        times = torch.arange(rewards.shape[-1], dtype=rewards.dtype, device=rewards.device)
        shrunk = self.discount**times
        early = Credit(found, rewards * shrunk, values * shrunk)
        if not self.normalise:
            return early
        centred = found - found.mean((1, 2), keepdim=True)
        spread = centred.square().mean((1, 2), keepdim=True).sqrt().clamp_min(_TINY)
        return Credit(centred / spread, early.rewards / spread, early.values / spread)


def discounted(rewards: Tensor, discount: float) -> Tensor:
    """Return sum_{u >= t} discount^(u - t) r_u, (tasks, M, H)."""
    if discount == 0:
        return rewards
    sums = []
    after = torch.zeros_like(rewards[..., 0])
    for reward in reversed(rewards.unbind(-1)):
        after = reward + discount * after
        sums.append(after)
    return torch.stack(sums[::-1], -1)


def features(observations: Tensor) -> Tensor:
    """Return (s, s^2, t/100, its square and cube, 1), shape (tasks, M, H, 2 o + 4)."""
    horizon = observations.shape[2]
    time = torch.arange(horizon, dtype=observations.dtype, device=observations.device) / _LONG
    times = torch.stack([time, time**2, time**3, torch.ones_like(time)], -1)
    times = times.expand(*observations.shape[:2], -1, -1)
    return torch.cat([observations, observations.square(), times], -1)
