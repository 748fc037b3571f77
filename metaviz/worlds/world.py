"""What a network that acts asks of a world."""

from typing import Literal, NamedTuple, Protocol

from torch import Tensor


class Moved(NamedTuple):
    """What one step leads to. Shapes: state (tasks, M, s), reward (tasks, M)."""

    state: Tensor
    reward: Tensor


class World(Protocol):
    """States, actions and rewards of a family of tasks.

    Everything random in it is a function of the noise that is given with each step, so that a
    trajectory is a function of weights and data. Tensors have the axes (tasks, M, ...), where M
    trajectories belong to each task, and carry no graph.
    """

    actions: Literal["continuous", "discrete"]
    action_size: int
    """Numbers of a continuous action, or how many discrete ones there are."""
    observation_size: int
    description_size: int
    """How many numbers tell a task apart."""
    noise_size: int
    """How many random numbers of its own the world needs at each step."""

    def start(self, task: Tensor) -> Tensor:
        """Return the first state of trajectories in tasks (tasks, M, description_size)."""

    def observe(self, state: Tensor) -> Tensor:
        """Return what the policy sees, (tasks, M, observation_size)."""

    def step(self, state: Tensor, action: Tensor, noise: Tensor, task: Tensor) -> Moved:
        """Return the next state and the reward.

        Shapes: action (tasks, M, action_size), or (tasks, M) numbers of discrete ones; noise
        (tasks, M, noise_size); task (tasks, M, description_size).
        """
