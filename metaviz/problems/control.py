"""Reinforcement learning: a policy acts in each task, and adapts by policy gradients."""

from abc import abstractmethod
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from metaviz.config.episodes import EpisodeShape
from metaviz.config.options import Options, option
from metaviz.config.run_config import Shared
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.meta.trust_region import TrustRegion
from metaviz.nets.agent import Agent, returns, surrogate_loss
from metaviz.nets.spec import NetSpec, build, net_spec
from metaviz.problems.base import Family
from metaviz.worlds.advantages import Baseline
from metaviz.worlds.surrogates import Surrogate

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
        "expectation, with far more variance. First derivatives are alike. On navigation LVC, "
        "plain and first-order MAML learned alike, DiCE little in 40 meta-steps.",
        labels={"lvc": "LVC (ratio)", "plain": "plain (log π)", "dice": "DiCE"},
    )
    baseline: Baseline = option(
        "linear",
        "Baseline",
        "What is subtracted from the sum of later rewards. Linear: fitted to the task's own "
        "trajectories by least squares in (s, s², t, t², t³, 1). Mean: over trajectories at each "
        "time.",
        labels={
            "linear": "linear in state and time",
            "time_mean": "mean at each time",
            "none": "none",
        },
    )
    discount: float = option(
        0.99,
        "Discount γ",
        "Weight of a reward one step later, in advantages alone: returns are sums.",
        ge=0,
        le=1,
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
    outer: Literal["optimiser", "trpo"] = option(
        "optimiser",
        "Outer rule",
        "Optimiser: the shared one, with step size β. TRPO: the natural gradient of the policies "
        "after adaptation, by conjugate gradients, and a line search that keeps them within a "
        "divergence and asks for a gain; β, its optimiser and clipping have no part in it. Each of "
        "its products goes through all inner steps: on navigation a meta-step takes about 12 times "
        "as long, and after 10 of them MAML's return was -17.7, with Adam -27.7 (one seed). For "
        "methods whose meta-gradient is that of the return after inner steps (MAML, first-order "
        "MAML, Meta-SGD), or without (joint training).",
        labels={"optimiser": "optimiser", "trpo": "TRPO"},
    )
    trust_limit: float = option(
        0.01,
        "Trust region δ",
        "TRPO: the largest mean divergence KL(before ‖ after) of adapted policies, in nats.",
        gt=0,
        le=10,
        log=True,
    )
    trust_products: int = option(
        10,
        "Conjugate gradients",
        "TRPO: products with the Hessian of the divergence in a meta-step.",
        ge=1,
        le=1000,
    )


class Control(Family):
    """Tasks in a world, whose examples are the noise that trajectories are made with.

    x (tasks, M, F) describes the task and has the noise of every step; support sets hold one round
    of fresh trajectories for each inner step and one more, (tasks, M, rounds, F). y (tasks, M, d)
    is the description alone. M is `shots`, and `query_shots` of query sets.
    The loss is minus the return, and its derivatives are the policy gradient's. Tasks and their
    noise are functions of seed, split and number, so that all methods act by the same.
    """

    dataset: str
    has_accuracy = False
    compiles = False
    chunk = 10
    shards = 1

    def __init__(self, options: ControlOptions, shared: Shared, seed: int) -> None:
        """Take options, sizes and the seed."""
        self.control = options
        if options.outer == "trpo":
            self.trust_region = TrustRegion(options.trust_limit, options.trust_products)
        self.shots, self.query_shots = shared.shots, shared.query_shots
        self.seed = seed
        self.rounds = {False: shared.inner_steps + 1, True: shared.eval_steps + 1}
        net = self.net()
        self.noise_size = net.noise_size

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
        if self.trust_region is not None and not evaluating:
            kept *= 3  # the divergence's slope, and its product, are differentiated again
        seen = max(self.shots, self.query_shots) * horizon
        return drawn + _GRAPH * kept * seen * sum(net.widths)

    def tasks(
        self, split: str, first: int, count: int, shape: EpisodeShape | None = None
    ) -> TaskBatch:
        """Return tasks, see the class; of fresh trajectories in the length of training."""
        del shape
        return self._tasks(split, first, count, evaluating=False)

    def evaluation_tasks(self, first: int, count: int) -> TaskBatch:
        """Return tasks in the length of evaluations."""
        return self._tasks("evaluation", first, count, evaluating=True)

    def _tasks(self, split: str, first: int, count: int, *, evaluating: bool) -> TaskBatch:
        told = self.descriptions(split, first, count)
        horizon = self.horizon(evaluating=evaluating)

        def examples(purpose: str, size: int) -> np.ndarray:
            stream, shape = f"{self.dataset} {split} {purpose}", (size, horizon)
            noise = self.noise(stream, first, count, shape)
            return np.concatenate([np.repeat(told[:, None], size, 1), noise], 2)

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

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return minus the returns, (tasks,); derivatives are those of minus the surrogate."""
        del batch
        return surrogate_loss(outputs, per_step=self.control.over_time == "mean")

    def measures(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the returns."""
        del batch
        return {"return": returns(outputs)}

    def accuracy(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Refuse: there are no classes."""
        raise NotImplementedError("Policies have no accuracy.")

    def pool(self, tasks: TaskBatch) -> Batch:
        """Return the support set with its rounds; query trajectories are of other weights."""
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
