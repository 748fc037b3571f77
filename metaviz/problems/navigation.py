"""Navigation in the plane, to goals that are not told."""

from typing import Literal

import numpy as np
import torch
from typing_extensions import override

from metaviz.config.options import option
from metaviz.config.run_config import Shared
from metaviz.meta.tasks import TaskBatch
from metaviz.nets.agent import walked
from metaviz.nets.spec import NetSpec
from metaviz.problems.base import PredictSteps
from metaviz.problems.control import LOSS_NAME, Control, ControlOptions
from metaviz.problems.registry import register_problem
from metaviz.problems.stream import normals, uniforms

PICTURED_TASKS, PICTURED_PATHS, PICTURED_STEPS = 6, 5, 10


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
        "eval_tasks": 200,
        "eval_steps": 3,
        "later_scale": 0.5,
    },
    hidden=("ways",),
    offers=("layers",),
)
class NavigationProblem(Control):
    """Goals are uniform in [-1/2, 1/2]^2; the start is the origin."""

    dataset = "navigation"

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
