"""Worlds of a few states and actions that are tables: chains of states, and bandits."""

from typing import Literal

import torch
from torch import Tensor

from metaviz.worlds.world import Moved


class Tabular:
    """From state s, action a leads to s' with probability P(s'|s, a) and yields r(s, a).

    A task's description is P, row by row, and then r. The noise of a step is a number in [0, 1)
    that chooses the next state and, with `reward_std`, a standard normal one for the reward.
    A bandit is the world of one state. All trajectories start in state 0.
    """

    actions: Literal["continuous", "discrete"] = "discrete"

    def __init__(self, states: int, actions: int, reward_std: float = 0.0) -> None:
        """Take the sizes, and the standard deviation of rewards around r(s, a)."""
        self.states = self.observation_size = states
        self.action_size = actions
        self.reward_std = reward_std
        self.description_size = states * actions * (states + 1)
        self.noise_size = 1 + (reward_std > 0)

    def start(self, task: Tensor) -> Tensor:
        """Return state 0, as a number (tasks, M, 1)."""
        return torch.zeros_like(task[..., :1])

    def observe(self, state: Tensor) -> Tensor:
        """Return 1 at the place of the state and 0 elsewhere."""
        seen = torch.nn.functional.one_hot(state[..., 0].long(), self.states)
        return seen.to(state.dtype)

    def step(self, state: Tensor, action: Tensor, noise: Tensor, task: Tensor) -> Moved:
        """Look up where the action leads, and what it yields."""
        pairs = self.states * self.action_size
        tables, rewards = task.split([pairs * self.states, pairs], -1)
        place = (state[..., 0].long() * self.action_size + action).unsqueeze(-1)
        reward = rewards.gather(-1, place)[..., 0]
        if self.reward_std:
            reward = reward + self.reward_std * noise[..., 1]
        row = tables.unflatten(-1, (pairs, self.states))
        chances = row.gather(-2, place.unsqueeze(-1).expand(*place.shape, self.states))[..., 0, :]
        return Moved(chosen(chances, noise[..., 0]).to(state.dtype).unsqueeze(-1), reward)


def chosen(chances: Tensor, uniform: Tensor) -> Tensor:
    """Return which of n things with such chances (..., n) numbers in [0, 1) choose, (...)."""
    edges = chances.cumsum(-1)[..., :-1]  # whatever rounding makes of the last one: it is left
    return (uniform.unsqueeze(-1) >= edges).sum(-1)
