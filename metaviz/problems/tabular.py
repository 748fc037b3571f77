"""Worlds that are tables: chains of states, and bandits."""

from typing import Literal

import numpy as np
from typing_extensions import override

from metaviz.config.options import option
from metaviz.config.run_config import Shared
from metaviz.nets.spec import NetSpec
from metaviz.problems.control import LOSS_NAME, Control, ControlOptions
from metaviz.problems.registry import register_problem
from metaviz.problems.stream import normals, uniforms


class TableOptions(ControlOptions):
    """Options of worlds that are tables."""

    over_time: Literal["mean", "sum"] = option(
        "sum",
        "Gradient over time",
        "Sum over the steps of a trajectory, as the gradient of the return is, or their mean: the "
        "same as an α smaller by the horizon.",
        labels={"mean": "mean", "sum": "sum"},
    )
    reward_std: float = option(
        1.0, "Noise of rewards σ", "Standard deviation of a reward around its mean.", ge=0, le=1000
    )


class Tables(Control):
    """Tasks whose transitions and mean rewards are tables."""

    states: int
    actions: int
    table: TableOptions

    @override
    def net_spec(self) -> NetSpec:
        sizes = {"states": self.states, "actions": self.actions}
        return self._agent(world="tabular", **sizes, reward_std=self.table.reward_std)

    @override
    def noise(self, purpose: str, first: int, count: int, shape: tuple[int, int]) -> np.ndarray:
        trajectories, horizon = shape
        own = self.noise_size - 2
        draws = uniforms(self.seed, purpose, first, count, trajectories * horizon * (2 + 2 * own))
        drawn = draws.reshape(count, trajectories, horizon, -1)
        parts = [drawn[..., :2]]
        if own:
            parts.append(normals(drawn[..., 2:])[..., :1])
        return np.concatenate(parts, -1).reshape(count, trajectories, -1)


class ChainOptions(TableOptions):
    """Options of the chain."""

    states: int = option(10, "States", "Number of states.", ge=1, le=20)
    actions: int = option(5, "Actions", "Number of actions.", ge=2, le=10)
    horizon: int = option(10, "Horizon", "Steps of a trajectory.", ge=1, le=1_000_000)


@register_problem(
    ChainOptions,
    id="chain",
    title="Chain of states",
    summary="A few states and actions whose transitions and rewards are random tables.",
    loss_name=LOSS_NAME,
    has_accuracy=False,
    citation="The tabular world of TorchOpt's MAML-RL example",
    steps=100,
    shared={
        "inner_lr": 2.0,
        "inner_steps": 1,
        "outer_lr": 0.05,
        "meta_batch": 40,
        "shots": 20,
        "query_shots": 20,
        "eval_tasks": 100,
        "eval_steps": 3,
    },
    hidden=("ways",),
    offers=(),
)
class Chain(Tables):
    """Transitions are Dirichlet(1), mean rewards N(1, 1); all begin in state 0.

    Deviation: TorchOpt draws the first state at random.
    """

    dataset = "chain"

    def __init__(self, options: ChainOptions, shared: Shared, seed: int) -> None:
        """Take options, sizes and the seed."""
        self.options, self.table = options, options
        self.states, self.actions = options.states, options.actions
        super().__init__(options, shared, seed)

    @override
    def horizon(self, *, evaluating: bool) -> int:
        return self.options.horizon

    @override
    def descriptions(self, split: str, first: int, count: int) -> np.ndarray:
        pairs = self.states * self.actions
        draws = uniforms(self.seed, f"chain {split}", first, count, pairs * (self.states + 2))
        weights, rewards = np.split(draws, [pairs * self.states], axis=1)
        # Exponential numbers divided by their sum are uniform on the simplex.
        rows = -np.log1p(-weights).reshape(count, pairs, self.states)
        rows /= rows.sum(2, keepdims=True)
        means = 1 + normals(rewards)[:, :pairs]
        return np.concatenate([rows.reshape(count, -1), means], 1)


class BanditOptions(TableOptions):
    """Options of bandits."""

    arms: int = option(5, "Arms", "Number of arms.", ge=2, le=1000)


@register_problem(
    BanditOptions,
    id="bandit",
    title="Bandit",
    summary="Choose among arms whose mean rewards change from task to task.",
    loss_name=LOSS_NAME,
    has_accuracy=False,
    steps=100,
    shared={
        "inner_lr": 1.0,
        "inner_steps": 1,
        "outer_lr": 0.05,
        "meta_batch": 40,
        "shots": 20,
        "query_shots": 20,
        "eval_tasks": 200,
        "eval_steps": 3,
    },
    hidden=("ways",),
    offers=(),
)
class Bandit(Tables):
    """One step, one state; mean rewards are N(m_a, 1), where m_a differs from arm to arm.

    m_a = 1 - 2 a / (arms - 1): what is the same in all tasks is learned across them.
    """

    dataset = "bandit"
    states = 1

    def __init__(self, options: BanditOptions, shared: Shared, seed: int) -> None:
        """Take options, sizes and the seed."""
        self.options, self.table, self.actions = options, options, options.arms
        super().__init__(options, shared, seed)

    @override
    def horizon(self, *, evaluating: bool) -> int:
        return 1

    @override
    def descriptions(self, split: str, first: int, count: int) -> np.ndarray:
        arms = self.actions
        draws = normals(uniforms(self.seed, f"bandit {split}", first, count, 2 * arms))
        means = np.linspace(1, -1, arms) + draws[:, :arms]
        return np.concatenate([np.ones((count, arms)), means], 1)
