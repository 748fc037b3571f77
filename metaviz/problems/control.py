"""Reinforcement learning: a policy acts in each task, and adapts by policy gradients."""

from abc import abstractmethod
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from metaviz.config.episodes import EpisodeShape
from metaviz.config.options import Options, option
from metaviz.config.run_config import Shared
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.agent import Agent, returns, surrogate_loss, walked
from metaviz.nets.spec import NetSpec, build, net_spec
from metaviz.problems.base import Family, PredictSteps
from metaviz.problems.registry import register_problem
from metaviz.problems.stream import normals, uniforms
from metaviz.worlds.advantages import Baseline
from metaviz.worlds.surrogates import Surrogate

PICTURED_TASKS, PICTURED_PATHS, PICTURED_STEPS = 6, 5, 10
LOSS_NAME = "negative return"
_GRAPH = 24
"""Bytes that a differentiated inner step keeps of each activation, roughly."""


class ControlOptions(Options):
    """Options of all problems in which a policy acts."""

    estimator: Surrogate = option(
        "lvc",
        "Policy gradient",
        "What is differentiated through inner steps. LVC: π/stop(π) · A at each time, whose second "
        "derivative lacks products of different times (exact at horizon 1). Plain: log π · A, as "
        "MAML's own code has it, whose second derivative is that of nothing. DiCE: exact in "
        "expectation, with more variance. First derivatives are alike; in navigation with α = 0.1 "
        "the choice made no difference that we could measure.",
        labels={"lvc": "LVC (ratio)", "plain": "plain (log π)", "dice": "DiCE"},
    )
    baseline: Baseline = option(
        "linear",
        "Baseline",
        "What is subtracted from the sum of later rewards. Linear: fitted to the task's own "
        "trajectories by least squares in (s, s², t, t², t³, 1). Mean: over trajectories at each "
        "time.",
        labels={"linear": "linear in state and time", "time_mean": "mean at each time", "none": "none"},
    )
    discount: float = option(
        0.99, "Discount γ", "Weight of a reward one step later, in advantages alone: returns are sums.", ge=0, le=1
    )
    mixture: float = option(
        1.0,
        "λ of advantages",
        "Generalised advantage estimation: 1 takes all later rewards, 0 the next one and the "
        "baseline after it.",
        ge=0,
        le=1,
    )
    normalise: bool = option(
        True,
        "Normalise advantages",
        "Centre and scale them for each task, so that the size of rewards does not matter.",
    )
    over_time: Literal["mean", "sum"] = option(
        "mean",
        "Gradient over time",
        "Mean over the steps of a trajectory, as most code has it, or their sum, as the gradient "
        "of the return is: the same as an α larger by the horizon.",
        labels={"mean": "mean", "sum": "sum"},
    )


class Control(Family):
    """Tasks in a world, whose examples are the noise that trajectories are made with.

    x (tasks, M, F) describes the task and has the noise of every step; support sets hold one round
    of fresh trajectories for each inner step and one more, (tasks, M, rounds, F). y (tasks, M, d)
    is the description alone. M is `shots`, and `query_shots` of query sets.
    The loss is minus the return, and its derivatives are the policy gradient's. Tasks and their
    noise are functions of seed, split and number, so that all methods act by the same.
    """

    id: ClassVar[str]
    has_accuracy = False
    chunk = 10
    shards = 1

    def __init__(self, options: ControlOptions, shared: Shared, seed: int) -> None:
        """Take options, sizes and the seed."""
        self.control = options
        self.shots, self.query_shots = shared.shots, shared.query_shots
        self.seed = seed
        self.rounds = {False: shared.inner_steps + 1, True: shared.eval_steps + 1}
        net = self.net()
        self.noise_size = net.noise_size

    @property
    def dataset(self) -> str:
        """The id: nothing is read."""
        return self.id

    @abstractmethod
    def horizon(self, *, evaluating: bool) -> int:
        """Return how many steps a trajectory has."""

    @abstractmethod
    def descriptions(self, split: str, first: int, count: int) -> np.ndarray:
        """Return what tells tasks apart, (count, d)."""

    @abstractmethod
    def noise(self, purpose: str, first: int, count: int, shape: tuple[int, int]) -> np.ndarray:
        """Return the noise of trajectories (M, H), shape (count, M, H * noise)."""

    @override
    def net(self) -> Agent:
        made = build(self.net_spec())
        if not isinstance(made, Agent):
            raise TypeError("Only an agent acts in a world.")
        return made

    @override
    def expect(self, steps: int, eval_steps: int) -> None:
        for evaluating, wanted in ((False, steps), (True, eval_steps)):
            self.rounds[evaluating] = max(self.rounds[evaluating], wanted + 1)

    @override
    def bytes_of(self, tasks: int, steps: int, *, evaluating: bool) -> int:
        net, horizon = self.net(), self.horizon(evaluating=evaluating)
        size = net.world.description_size + horizon * self.noise_size
        trajectories = self.shots * self.rounds[evaluating] + self.query_shots
        drawn = 12 * tasks * trajectories * size  # in float64, and in the precision of the run
        kept = 1 if evaluating else steps + 1
        seen = max(self.shots, self.query_shots) * horizon
        return drawn + _GRAPH * kept * seen * sum(net.widths)

    @override
    def tasks(
        self, split: str, first: int, count: int, shape: EpisodeShape | None = None
    ) -> TaskBatch:
        """Return tasks, see the class; of fresh trajectories in the length of training."""
        del shape
        return self._tasks(split, first, count, evaluating=False)

    @override
    def evaluation_tasks(self, first: int, count: int) -> TaskBatch:
        """Return tasks in the length of evaluations."""
        return self._tasks("evaluation", first, count, evaluating=True)

    def _tasks(self, split: str, first: int, count: int, *, evaluating: bool) -> TaskBatch:
        told = self.descriptions(split, first, count)
        horizon = self.horizon(evaluating=evaluating)

        def examples(purpose: str, size: int) -> np.ndarray:
            noise = self.noise(f"{self.id} {split} {purpose}", first, count, (size, horizon))
            return np.concatenate([np.broadcast_to(told[:, None], (count, size, told.shape[1])), noise], 2)

        rounds = self.rounds[evaluating]
        support = np.stack([examples(f"round {k}", self.shots) for k in range(rounds)], 2)
        query = examples("query", self.query_shots)
        y = [np.repeat(told[:, None], size, 1) for size in (self.shots, self.query_shots)]
        return TaskBatch(
            Batch(torch.from_numpy(support), torch.from_numpy(y[0]), rounds=rounds)
            if rounds > 1
            else Batch(torch.from_numpy(support[:, :, 0]), torch.from_numpy(y[0])),
            Batch(torch.from_numpy(query), torch.from_numpy(y[1])),
        )

    @override
    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return minus the returns, (tasks,); their derivatives are those of minus the surrogate."""
        del batch
        return surrogate_loss(outputs, per_step=self.control.over_time == "mean")

    def measures(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the returns."""
        del batch
        return {"return": returns(outputs)}

    @override
    def accuracy(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Refuse: there are no classes."""
        raise NotImplementedError("Policies have no accuracy.")

    @override
    def pool(self, tasks: TaskBatch) -> Batch:
        """Return the support set, with its rounds: trajectories of the query set are no more data."""
        return tasks.support

    def _agent(self, **world: object) -> NetSpec:
        options = self.control
        return net_spec(
            "agent",
            estimator=options.estimator,
            baseline=options.baseline,
            discount=options.discount,
            mixture=options.mixture,
            normalise=options.normalise,
            **world,
        )


class NavigationOptions(ControlOptions):
    """Options of navigation."""

    horizon: int = option(
        40, "Horizon", "Steps of a trajectory while training.", ge=1, le=1_000_000
    )
    eval_horizon: int | None = option(
        100,
        "Horizon of evaluations",
        "Steps of a trajectory in evaluations, those that weights adapt by, too. Empty: as in "
        "training.",
        ge=1,
        le=1_000_000,
    )
    reward: Literal["distance", "squared"] = option(
        "distance",
        "Reward",
        "Minus the distance to the goal after the step, as MAML's own code has it, or minus its "
        "square, as the paper says.",
        labels={"distance": "− distance", "squared": "− distance²"},
    )
    hidden: int = option(
        64, "Hidden units", "Width of the policy's two hidden layers of tanh.", ge=1, le=4096
    )
    std_init: float = option(
        1.0,
        "First deviation of actions",
        "Standard deviation of actions before training, where 1 is full speed; it is learned.",
        gt=0,
        le=100,
    )


@register_problem(
    NavigationOptions,
    id="navigation",
    title="Navigation in the plane",
    summary="Walk to a goal that is not told: rewards alone say where it is, from task to task.",
    loss_name=LOSS_NAME,
    has_accuracy=False,
    citation="Finn, Abbeel & Levine 2017, section 5.3 (2D navigation)",
    steps=40,
    shared={
        "inner_lr": 0.1,
        "inner_steps": 1,
        "outer_lr": 0.01,
        "meta_batch": 20,
        "shots": 20,
        "query_shots": 20,
        "eval_tasks": 40,
        "eval_steps": 3,
        "later_scale": 0.5,
        "eval_every": 10,
    },
    hidden=("ways",),
    offers=("layers",),
)
class NavigationProblem(Control):
    """Goals are uniform in [-1/2, 1/2]^2; the start is the origin."""

    id = "navigation"

    def __init__(self, options: NavigationOptions, shared: Shared, seed: int) -> None:
        """Take options, sizes and the seed."""
        self.options = options
        super().__init__(options, shared, seed)

    @override
    def net_spec(self) -> NetSpec:
        options = self.options
        return self._agent(
            world="navigation",
            squared=options.reward == "squared",
            hidden=(options.hidden, options.hidden),
            std=options.std_init,
        )

    @override
    def horizon(self, *, evaluating: bool) -> int:
        asked = self.options.eval_horizon if evaluating else None
        return self.options.horizon if asked is None else asked

    @override
    def descriptions(self, split: str, first: int, count: int) -> np.ndarray:
        return uniforms(self.seed, f"navigation {split}", first, count, 2) - 0.5

    @override
    def noise(self, purpose: str, first: int, count: int, shape: tuple[int, int]) -> np.ndarray:
        draws = shape[0] * shape[1] * self.noise_size
        drawn = normals(uniforms(self.seed, purpose, first, count, draws))
        return drawn.reshape(count, shape[0], -1)

    @override
    def picture(self, predict: PredictSteps) -> dict[str, np.ndarray]:
        """Return some trajectories of a few tasks after each inner step.

        Shapes: paths (k, tasks, paths, H+1, 2) float16, goals (tasks, 2), path_returns (k, tasks,
        paths): the return of each.
        """
        tasks = self.evaluation_tasks(0, PICTURED_TASKS)
        few = TaskBatch(tasks.support, tasks.query.examples(slice(PICTURED_PATHS)))
        outputs = predict(few)[: PICTURED_STEPS + 1]
        places = walked(outputs)
        places = torch.cat([torch.zeros_like(places[..., :1, :]), places], -2)
        return {
            "paths": places.numpy().astype(np.float16),
            "goals": tasks.query.y[:, 0].numpy().astype(np.float32),
            "path_returns": outputs[..., 1].sum(-1).numpy().astype(np.float32),
        }


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
        "inner_lr": 0.1,
        "inner_steps": 1,
        "outer_lr": 0.01,
        "meta_batch": 40,
        "shots": 20,
        "query_shots": 20,
        "eval_tasks": 100,
        "eval_steps": 3,
        "eval_every": 20,
    },
    hidden=("ways",),
    offers=(),
)
class Chain(Tables):
    """Transitions are Dirichlet(1), mean rewards N(1, 1); all begin in state 0.

    Deviation: TorchOpt draws the first state at random.
    """

    id = "chain"

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
        "inner_lr": 0.1,
        "inner_steps": 1,
        "outer_lr": 0.01,
        "meta_batch": 40,
        "shots": 20,
        "query_shots": 20,
        "eval_tasks": 200,
        "eval_steps": 3,
        "eval_every": 20,
    },
    hidden=("ways",),
    offers=(),
)
class Bandit(Tables):
    """One step, one state; mean rewards are N(m_a, 1), where m_a differs from arm to arm.

    m_a = 1 - 2 a / (arms - 1): what is the same in all tasks is learned across them.
    """

    id = "bandit"
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
