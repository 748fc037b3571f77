"""What is measured of a run, and of the libraries that can do the same."""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812  (the name every PyTorch reader expects)
from torch import Tensor

from metaviz.benchmarking.exercise import Exercise, counterpart
from metaviz.benchmarking.peers import PEERS, disagreement
from metaviz.config.run_config import RunConfig
from metaviz.meta.sharding import Shards, sharded_meta_gradient
from metaviz.problems.base import Problem
from metaviz.training.operations import ProductRecorder, operations
from metaviz.training.setting import Setting, settle

SAME = "maml"
"""The algorithm that peers are asked for."""


def exercise_of(setting: Setting) -> Exercise | None:
    """Return a run's first meta-step as an exercise; None where peers have no such network."""
    make_module = counterpart(setting.learner.net)
    if make_module is None:
        return None
    accurate = setting.problem.has_accuracy
    return Exercise(
        make_module,
        setting.learner.net.layout,
        setting.init()["init"],
        setting.batch(0),
        F.cross_entropy if accurate else F.mse_loss,
        setting.algorithm.rate,
        setting.algorithm.steps,
        setting.config.shared.outer_lr,
    )


def peer_step(peer: str, setting: Setting) -> Callable[[], object]:
    """Return a peer's whole meta-step on a run's first meta-batch.

    Raises: ValueError where the peer has no such network, ImportError where it is absent.
    """
    exercise = exercise_of(setting)
    if exercise is None:
        raise ValueError(f"{peer} has no network like the one of {setting.config.problem}.")
    return PEERS[peer](exercise, setting.dtype).step


def counted_operations(step: Callable[[], object]) -> int:
    """Count the operations of a meta-step, which it takes."""
    with ProductRecorder() as recorder:
        step()
    return operations(recorder.products)


def distance(peer: str, config: RunConfig, problem: Problem) -> float:
    """Return the relative distance of a peer's float64 meta-gradient from ours."""
    setting = settle(config.model_copy(update={"dtype": "float64"}), problem)
    try:
        exercise = exercise_of(setting)
        if exercise is None:
            raise ValueError(f"{peer} has no network like the one of {config.problem}.")
        loop = PEERS[peer](exercise, torch.float64)
        loop.step()
        return disagreement(_our_gradient(setting), loop.gradient(exercise))
    finally:
        setting.shards.close()


def _our_gradient(setting: Setting) -> Tensor:
    result = sharded_meta_gradient(
        *(setting.algorithm, setting.learner, setting.init(), setting.batch(0)),
        setting.draws(0),
        Shards(1),
    )
    return result.gradients["init"]
