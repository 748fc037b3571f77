"""Inner rules: what one step of adaptation is."""

from collections.abc import Mapping
from copy import copy
from enum import Enum
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from metaviz.meta.context import Context, Meta
from metaviz.meta.tasks import Batch
from metaviz.nets.base import Net
from metaviz.nets.layout import Weights

State = Any
"""What the inner loop iterates on; every tensor in it has a leading tasks axis."""


class Enters(Enum):
    """Where a group of meta-parameters enters adaptation."""

    START = "the starting point"
    POINT = "the map from the state to the point where the gradient is taken"
    STEP = "the step"
    DECODE = "the map from the point to the network's weights"
    OBJECTIVE = "the inner objective"
    FIXED = "what is drawn once and kept; it is not trained"
    MEMORY = "memory that adaptation leaves behind; it is carried on, not trained"


class InnerRule(Protocol):
    """One step of adaptation, and where each group of meta-parameters enters it."""

    groups: Mapping[str, frozenset[Enters]]
    rate: float
    """Inner step size, or the one that learned step sizes start from."""
    shares_rate: bool
    """Whether all weights step by `rate` times something, and not by learned sizes."""

    def scaled(self, factor: float) -> Self:
        """Return the same rule with steps of `factor` times the size."""

    rests: bool
    """Whether a weight whose gradient is zero stays where it is."""
    rowwise: bool
    """Whether every group may come with a tasks axis: meta-parameters of each task's own."""

    def fit(self, net: Net) -> None:
        """Learn how the network's weights are laid out; called before anything else."""

    def init(self, net: Net, generator: torch.Generator) -> Meta:
        """Draw meta-parameters: flat float64 vectors by group."""

    def start(self, meta: Meta, support: Batch) -> State:
        """Return the state before the first step."""

    def point(self, meta: Meta, state: State) -> Tensor:
        """Return where the gradient is taken, shape (tasks, P)."""

    def decode(self, meta: Meta, point: Tensor) -> Weights:
        """Return the network's weights at a point, flat (tasks, P_net) or by name."""

    def step(self, meta: Meta, state: State, gradient: Tensor, loss: Tensor, k: int) -> State:
        """Take step number k (from 0); the support loss (tasks,) has this gradient at the point."""

    def memory(self, meta: Meta, state: State) -> Meta:
        """Return the new values of MEMORY groups after adaptation; empty where there are none."""

    def picture(self, context: Context, meta: Meta) -> dict[str, np.ndarray]:
        """Return arrays that show what was learned about steps; empty where nothing was."""


class GradientDescent:
    """phi <- phi - alpha grad L_S(phi), from a meta-learned start.

    Source: Finn et al. 2017, equation 1.
    """

    groups: Mapping[str, frozenset[Enters]] = {"init": frozenset({Enters.START})}
    shares_rate = True
    rests = True
    rowwise = True

    def __init_subclass__(cls, *, rowwise: bool = False) -> None:
        """Make every subclass declare whether it is rowwise; by default it is not."""
        cls.rowwise = rowwise

    def __init__(self, rate: float) -> None:
        """Take the inner step size alpha."""
        self.rate = rate

    def scaled(self, factor: float) -> Self:
        """Return the same rule with steps of `factor` times the size."""
        other = copy(self)
        other.rate = factor * self.rate
        return other

    def fit(self, net: Net) -> None:
        """Do nothing: plain steps treat all weights alike."""

    def init(self, net: Net, generator: torch.Generator) -> Meta:
        """Draw the start from the network's initialisation."""
        return {"init": net.init(generator)}

    def start(self, meta: Meta, support: Batch) -> State:
        """Give every task the same start, shape (tasks, P)."""
        return meta["init"].expand(len(support), -1)

    def point(self, meta: Meta, state: State) -> Tensor:
        """Return the state itself."""
        del meta
        point: Tensor = state
        return point

    def decode(self, meta: Meta, point: Tensor) -> Weights:
        """Return the point itself."""
        del meta
        return point

    def step(self, meta: Meta, state: State, gradient: Tensor, loss: Tensor, k: int) -> State:
        """Take one gradient step."""
        del meta, loss, k
        return torch.add(state, gradient, alpha=-self.rate)

    def memory(self, meta: Meta, state: State) -> Meta:
        """Return nothing."""
        del meta, state
        return {}

    def picture(self, context: Context, meta: Meta) -> dict[str, np.ndarray]:
        """Return nothing."""
        del context, meta
        return {}


class ProximalDescent(GradientDescent):
    """phi <- phi - alpha (grad L_S(phi) + lambda (phi - theta)).

    Descends L_S(phi) + lambda/2 ||phi - theta||^2, whose solution depends on theta although it is
    reached from anywhere. With `plain_steps` the first steps leave the proximal term out, as the
    official iMAML code does in all steps but the last.
    Source: Rajeswaran et al. 2019, eq. 3.
    """

    def __init__(
        self, rate: float, prox: float, *, plain_steps: int = 0, learn_prox: bool = False
    ) -> None:
        """Take alpha, lambda, how many steps leave lambda out, and whether to learn it."""
        super().__init__(rate)
        self.prox = prox
        self.plain_steps = plain_steps
        self.learn_prox = learn_prox
        self.groups = {"init": frozenset({Enters.START, Enters.OBJECTIVE})}
        if learn_prox:
            self.groups["prox"] = frozenset({Enters.OBJECTIVE})

    def init(self, net: Net, generator: torch.Generator) -> Meta:
        """Draw the start; lambda starts at the given value."""
        meta = super().init(net, generator)
        if self.learn_prox:
            meta["prox"] = torch.tensor([self.prox], dtype=torch.float64)
        return meta

    def weight(self, meta: Meta) -> Tensor | float:
        """Return lambda; a learned one is kept above 1e-6."""
        return meta["prox"].clamp_min(1e-6) if self.learn_prox else self.prox

    def pull(self, meta: Meta, point: Tensor) -> Tensor:
        """Return the gradient lambda (phi - theta) of the proximal term, shape (tasks, P)."""
        return self.weight(meta) * (point - meta["init"])

    def step(self, meta: Meta, state: State, gradient: Tensor, loss: Tensor, k: int) -> State:
        """Take one step on the proximal objective."""
        if k >= self.plain_steps:
            gradient = gradient + self.pull(meta, state)
        return super().step(meta, state, gradient, loss, k)


class GuardedState(NamedTuple):
    """Point (tasks, P), step size (tasks, 1) and the last gradient of the objective (tasks, P)."""

    point: Tensor
    rate: Tensor
    slope: Tensor


class GuardedProximalDescent(ProximalDescent):
    """Proximal descent in which a task halves its step size whenever its gradient turns back.

    Two successive gradients with a negative inner product mean that the step jumped over the
    minimum along the steepest direction. With a fixed step, meta-training sharpens the loss until
    some inner loops oscillate, and an implicit gradient far from stationarity is then noise.
    Deviation: the paper leaves the inner solver open; its code keeps the step fixed.
    """

    def start(self, meta: Meta, support: Batch) -> State:
        """Give every task the same start and step size."""
        point = meta["init"].expand(len(support), -1)
        return GuardedState(
            point, torch.full_like(point[:, :1], self.rate), torch.zeros_like(point)
        )

    def point(self, meta: Meta, state: State) -> Tensor:
        """Return the point of the state."""
        del meta
        point: Tensor = state.point
        return point

    def step(self, meta: Meta, state: State, gradient: Tensor, loss: Tensor, k: int) -> State:
        """Take one step on the proximal objective."""
        del loss
        slope = gradient if k < self.plain_steps else gradient + self.pull(meta, state.point)
        turned = (slope * state.slope).sum(dim=1, keepdim=True) < 0
        rate = torch.where(turned, state.rate / 2, state.rate)
        return GuardedState(state.point - rate * slope, rate, slope)


class AdamState(NamedTuple):
    """Point (tasks, P), second moment (tasks, P) and number of updates behind it (tasks, 1)."""

    point: Tensor
    moment: Tensor
    updates: Tensor


class AdamDescent(GradientDescent):
    """Adam without momentum (beta1 = 0), whose second moment persists from task to task.

    m <- beta2 m + (1 - beta2) g^2; phi <- phi - alpha g / (sqrt(m / (1 - beta2^t)) + eps).
    Source: the official Reptile code's inner optimiser. Deviation: tasks that adapt side by side
    start from the same moment, and its mean over them is carried on; one by one they are in the
    official order.
    """

    beta2 = 0.999
    epsilon = 1e-8

    def __init__(self, rate: float, *, keep: bool = True) -> None:
        """Take alpha and whether the second moment is carried on to later tasks."""
        super().__init__(rate)
        self.keep = keep
        self.groups = {"init": frozenset({Enters.START})}
        if keep:
            self.groups["moment"] = frozenset({Enters.MEMORY})
            self.groups["moment_count"] = frozenset({Enters.MEMORY})

    def init(self, net: Net, generator: torch.Generator) -> Meta:
        """Draw the start; the second moment starts at zero."""
        meta = super().init(net, generator)
        if self.keep:
            meta["moment"] = torch.zeros_like(meta["init"])
            meta["moment_count"] = torch.zeros(1, dtype=meta["init"].dtype)
        return meta

    def start(self, meta: Meta, support: Batch) -> State:
        """Give every task the same start and second moment."""
        point = meta["init"].expand(len(support), -1)
        if not self.keep:
            return AdamState(point, torch.zeros_like(point), torch.zeros_like(point[:, :1]))
        return AdamState(
            point,
            meta["moment"].expand(len(support), -1),
            meta["moment_count"].expand(len(support), -1),
        )

    def point(self, meta: Meta, state: State) -> Tensor:
        """Return the point of the state."""
        del meta
        point: Tensor = state.point
        return point

    def step(self, meta: Meta, state: State, gradient: Tensor, loss: Tensor, k: int) -> State:
        """Take one Adam step."""
        del meta, loss, k
        moment = self.beta2 * state.moment + (1 - self.beta2) * gradient**2
        updates = state.updates + 1
        scale = (moment / (1 - self.beta2**updates)).sqrt() + self.epsilon
        return AdamState(state.point - self.rate * gradient / scale, moment, updates)

    def memory(self, meta: Meta, state: State) -> Meta:
        """Return the mean second moment over tasks."""
        del meta
        if not self.keep:
            return {}
        return {"moment": state.moment.mean(0), "moment_count": state.updates.mean(0)}
