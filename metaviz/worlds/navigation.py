"""A point in the plane that walks to a goal it cannot see."""

from typing import Literal

import torch
from torch import Tensor

from metaviz.worlds.world import Moved

REACH = 0.1
"""How far one step goes along each axis at full speed."""


class Navigation:
    """s <- s + clip(a, -1, 1) / 10 from the origin; the reward is minus the distance to the goal.

    The distance is that after the step, or its square. The goal is the task's description.
    Source: the 2D navigation of Finn et al. 2017 and its official code, whose environment scales
    an action of 1 to full speed. Deviation: trajectories never end early, so that all are of one
    shape; staying at the goal costs nothing.
    """

    actions: Literal["continuous", "discrete"] = "continuous"
    action_size = 2
    observation_size = 2
    description_size = 2
    noise_size = 0

    def __init__(self, *, squared: bool = False) -> None:
        """Choose minus the distance, or minus its square, as reward."""
        self.squared = squared

    def start(self, task: Tensor) -> Tensor:
        """Return the origin."""
        return torch.zeros_like(task)

    def observe(self, state: Tensor) -> Tensor:
        """Return the place itself."""
        return state

    def step(self, state: Tensor, action: Tensor, noise: Tensor, task: Tensor) -> Moved:
        """Walk."""
        del noise
        place = torch.add(state, action.clamp(-1, 1), alpha=REACH)
        away = (place - task).square().sum(-1)
        return Moved(place, -(away if self.squared else away.sqrt()))
