"""Policies that act in a world: the network of problems in which data depend on the weights."""

import math
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from metaviz.config.options import Options
from metaviz.nets.layout import Layout, Params, Weights
from metaviz.nets.linear import Linear
from metaviz.nets.mlp import MLP
from metaviz.nets.spec import register_net
from metaviz.worlds.advantages import Advantages, Baseline, Credit
from metaviz.worlds.navigation import Navigation
from metaviz.worlds.surrogates import Surrogate, surrogate
from metaviz.worlds.tabular import Tabular, chosen
from metaviz.worlds.world import World

LOG_STD = "log_std"
_LEAST = math.log(1e-6)
_SURROGATE, _REWARD, _STATE = 0, 1, 2
"""Places of what an agent tells of each step: see `Agent.__call__`."""


class Trajectories(NamedTuple):
    """What was seen and done, without a graph.

    Shapes: observations (tasks, M, H, o), actions (tasks, M, H, a) or (tasks, M, H) numbers of
    discrete ones, rewards (tasks, M, H), states (tasks, M, H, s) after each step.
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    states: Tensor


class Policy(NamedTuple):
    """What a policy does in some states: its means and deviations, or the chances' logarithms.

    Shapes: middle (tasks, M, H, a), deviation (tasks, 1, 1, a), None where actions are discrete.
    """

    middle: Tensor
    deviation: Tensor | None

    def divergence(self, other: "Policy") -> Tensor:
        """Return KL(self || other) in nats, (tasks, M, H)."""
        if self.deviation is None or other.deviation is None:
            apart = self.middle - other.middle
            return (self.middle.exp() * apart).sum(-1)
        ratio = self.deviation / other.deviation
        away = (self.middle - other.middle) / other.deviation
        found: Tensor = (0.5 * (ratio.square() + away.square() - 1) - ratio.log()).sum(-1)
        return found


class Agent:
    """A policy in a world, as a function of its weights and of the noise that it acts by.

    An example is a trajectory: what describes its task, and then the noise of each step, first
    that of the action (standard normal numbers, or one in [0, 1) that chooses a discrete one) and
    then the world's. Continuous actions are normal, with a standard deviation that does not depend
    on the state; the logits of discrete ones are linear in the observation where there are no
    hidden layers, which is a table of them in a tabular world.
    """

    held: frozenset[str] = frozenset()
    running = Layout(())
    independent = False
    """The baseline of a task is fitted to all of its trajectories."""
    norm = None
    example_size = 0

    def __init__(
        self,
        world: World,
        advantages: Advantages,
        *,
        hidden: tuple[int, ...] = (),
        estimator: Surrogate = "lvc",
        std: float = 1.0,
    ) -> None:
        """Build a policy with hidden layers of tanh, whose actions begin with this deviation."""
        self.world, self.advantages, self.estimator = world, advantages, estimator
        self.std = std
        size = world.observation_size, world.action_size
        self.continuous = world.actions == "continuous"
        self.body: MLP | Linear
        if hidden or self.continuous:
            self.body = MLP((size[0], *hidden, size[1]), "tanh")
        else:
            self.body = Linear(*size, bias=False)
        own = ((LOG_STD, (size[1],)),) if self.continuous else ()
        # The last layer comes last, as methods that know of a head expect.
        self.layout = Layout(own + self.body.layout.shapes)
        self.noise_size = (size[1] if self.continuous else 1) + world.noise_size

    @property
    def widths(self) -> tuple[int, ...]:
        """How many numbers each layer of the policy has, observations first."""
        return (self.world.observation_size, *self.feature_shape, self.world.action_size)

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """What the last layer sees."""
        return self.body.feature_shape

    def warps(self, *, residual: bool) -> Layout:
        """Return layers between the policy's."""
        return self.body.warps(residual=residual)

    def merged(self, params: Params) -> Params:
        """Return weights that compute the same without linear warps."""
        if not isinstance(self.body, MLP):
            return {name: params[name] for name, _ in self.layout.shapes}
        own = {LOG_STD: params[LOG_STD]} if self.continuous else {}
        return own | self.body.merged(params)

    def init(self, generator: torch.Generator) -> Tensor:
        """Draw Xavier-uniform weights, with biases of zero; tables of logits begin at zero."""
        params: Params = {}
        if self.continuous:
            size = self.world.action_size
            params[LOG_STD] = torch.full((size,), math.log(self.std), dtype=torch.float64)
        if isinstance(self.body, Linear):
            return self.body.init(generator)
        for layer, (fan_in, fan_out) in enumerate(pairwise(self.body.widths), 1):
            draw = torch.rand(fan_out, fan_in, generator=generator, dtype=torch.float64)
            params[f"layer{layer}.weight"] = (2 * draw - 1) * (6 / (fan_in + fan_out)) ** 0.5
            params[f"layer{layer}.bias"] = torch.zeros(fan_out, dtype=torch.float64)
        return self.layout.join(params)

    def features(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """Refuse: what the last layer sees depends on what was done. Raises: ValueError."""
        raise ValueError("What a policy sees depends on what it did, so that it has no features.")

    def features_and_statistics(self, weights: Weights, x: Tensor) -> tuple[Tensor, Params]:
        """Refuse: see `features`. Raises: ValueError."""
        return self.features(weights, x), {}

    def __call__(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """Act, and tell of each step the surrogate's term, the reward and the state after it.

        Shapes: x (tasks, M, description + H * noise); the result is (tasks, M, H, 2 + s). Only
        the surrogate's term has a graph; where none is built it is zero.
        """
        del beside
        seen = self.act(weights, x)
        if torch.is_grad_enabled():
            credit = self.advantages(seen.observations, seen.rewards)
            terms = surrogate(self.estimator, self.log_probs(weights, seen), credit)
        else:
            terms = torch.zeros_like(seen.rewards)
        return torch.cat([terms.unsqueeze(-1), seen.rewards.unsqueeze(-1), seen.states], -1)

    @torch.no_grad()
    def act(self, weights: Weights, x: Tensor) -> Trajectories:
        """Let all trajectories of all tasks walk side by side."""
        own = self.world.action_size if self.continuous else 1
        task, noise = x.tensor_split([self.world.description_size], -1)
        steps = noise.unflatten(-1, (-1, self.noise_size)).unbind(2)
        body, std = self._parted(weights)
        state = self.world.start(task)
        told: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        for drawn in steps:
            observation = self.world.observe(state)
            shown = self.body(body, observation)
            if self.continuous:
                action = shown + std * drawn[..., :own]
            else:
                action = chosen(shown.softmax(-1), drawn[..., 0])
            state, reward = self.world.step(state, action, drawn[..., own:], task)
            told.append((observation, action, reward, state))
        return Trajectories(*(torch.stack(kept, 2) for kept in zip(*told, strict=True)))

    def log_probs(self, weights: Weights, seen: Trajectories) -> Tensor:
        """Return the logarithms of the chances of what was done, (tasks, M, H)."""
        shown, std = self.policy(weights, seen.observations)
        if std is None:
            found: Tensor = shown.gather(-1, seen.actions.unsqueeze(-1))[..., 0]
            return found
        away = (seen.actions - shown) / std
        density: Tensor = -0.5 * away.square() - std.log() - 0.5 * math.log(2 * math.pi)
        return density.sum(-1)

    def policy(self, weights: Weights, observations: Tensor) -> Policy:
        """Return what the policy does where it sees (tasks, M, H, o)."""
        body, std = self._parted(weights)
        shape = observations.shape[1:3]
        shown = self.body(body, observations.flatten(1, 2)).unflatten(1, shape)
        if not self.continuous:
            return Policy(shown.log_softmax(-1), None)
        return Policy(shown, std.unsqueeze(1))

    def _parted(self, weights: Weights) -> tuple[Weights, Tensor]:
        """Return the body's weights and the deviations of actions, (tasks, 1, a)."""
        if not self.continuous:
            return weights, torch.empty(0)
        if isinstance(weights, dict):
            own: Tensor = weights[LOG_STD]
            body: Weights = {name: value for name, value in weights.items() if name != LOG_STD}
        else:
            own, body = weights.tensor_split([self.world.action_size], -1)
        return body, own.clamp_min(_LEAST).exp().unsqueeze(-2)


class Replay(Agent):
    """A policy that acts once, and tells of the same trajectories whatever its weights are then.

    Trajectories are told apart by their place among the calls since `rewind`.
    """

    def __init__(self, agent: Agent) -> None:
        """Act as the agent does."""
        self.__dict__.update(vars(agent))
        self._taken: list[tuple[Trajectories, Credit, Tensor]] = []
        self._at = 0

    def rewind(self) -> None:
        """Tell of the first trajectories next."""
        self._at = 0

    @property
    def last(self) -> Trajectories:
        """The trajectories that were told of last."""
        return self._taken[self._at - 1][0]

    @override
    def __call__(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """Tell of each step the surrogate's term, the reward and the state, as an agent does.

        The term has the chances under these weights against those when it acted.
        """
        if self._at == len(self._taken):
            seen = self.act(weights, x)
            credit = self.advantages(seen.observations, seen.rewards)
            with torch.no_grad():
                self._taken.append((seen, credit, self.log_probs(weights, seen)))
        seen, credit, before = self._taken[self._at]
        self._at += 1
        terms = surrogate(self.estimator, self.log_probs(weights, seen), credit, before)
        return torch.cat([terms.unsqueeze(-1), seen.rewards.unsqueeze(-1), seen.states], -1)

    def terms(self, weights: Weights) -> Tensor:
        """Return the terms of the last trajectories whose mean is the outer objective.

        Those of the plain surrogate are no measure of a policy: it has the ratio's.
        """
        seen, credit, before = self._taken[self._at - 1]
        kind: Surrogate = "dice" if self.estimator == "dice" else "lvc"
        return surrogate(kind, self.log_probs(weights, seen), credit, before)


def returns(outputs: Tensor) -> Tensor:
    """Return the mean over trajectories of the sums of their rewards, (tasks,)."""
    return outputs[..., _REWARD].sum(-1).mean(-1)


def surrogate_loss(outputs: Tensor, *, per_step: bool) -> Tensor:
    """Return minus the return, (tasks,), whose derivatives are those of minus the surrogate.

    The surrogate is the mean over trajectories of the sum over time, or `per_step` of the mean.
    """
    terms = outputs[..., _SURROGATE]
    over_time = terms.mean(-1) if per_step else terms.sum(-1)
    estimate = over_time.mean(-1)
    return estimate.detach() - estimate - returns(outputs)


def walked(outputs: Tensor) -> Tensor:
    """Return the states after every step, (tasks, M, H, s)."""
    return outputs[..., _STATE:]


class AgentOptions(Options):
    """What a policy, its world and its estimator are made of."""

    world: Literal["navigation", "tabular"]
    squared: bool = False
    states: int = Field(default=1, ge=1)
    actions: int = Field(default=2, ge=2)
    reward_std: float = Field(default=0.0, ge=0)
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = ()
    std: float = Field(default=1.0, gt=0)
    estimator: Surrogate = "lvc"
    baseline: Baseline = "linear"
    discount: float = Field(default=0.99, ge=0, le=1)
    mixture: float = Field(default=1.0, ge=0, le=1)
    normalise: bool = True


@register_net(AgentOptions, id="agent")
def agent(options: AgentOptions) -> Agent:
    """Build a policy in its world."""
    world: World
    if options.world == "navigation":
        world = Navigation(squared=options.squared)
    else:
        world = Tabular(options.states, options.actions, options.reward_std)
    advantages = Advantages(options.baseline, options.discount, options.mixture, options.normalise)
    return Agent(
        world,
        advantages,
        hidden=options.hidden,
        estimator=options.estimator,
        std=options.std,
    )
