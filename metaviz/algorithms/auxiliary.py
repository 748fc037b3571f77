"""What methods learn beside episodes: to tell all training classes apart, on the same features."""

import torch
from torch import Tensor
from torch.nn import functional

from metaviz.config.quantities import Quantity, register_quantity
from metaviz.meta.learner import Learner
from metaviz.meta.tasks import Batch
from metaviz.nets.base import feature_count
from metaviz.nets.blocks import linear, linear_shapes, uniform
from metaviz.nets.layout import Layout

AUXILIARY = register_quantity(
    Quantity("auxiliary_loss", "Auxiliary loss, 0 where it is left out", better="smaller")
)


def base_layout(learner: Learner) -> Layout:
    """Return the linear layer of all training classes."""
    return Layout(tuple(linear_shapes("base", feature_count(learner.net), learner.classes)))


def drawn_base(learner: Learner, generator: torch.Generator) -> Tensor:
    """Draw the linear layer of all training classes."""
    return uniform(base_layout(learner), feature_count(learner.net), generator)


def base_losses(learner: Learner, plain: Batch, weights: Tensor, base: Tensor) -> Tensor:
    """Return mean cross-entropies of plain examples, (tasks,); weights and base (tasks, P)."""
    z = learner.net.features(weights, plain.x)
    logits = linear(base_layout(learner).for_tasks(base, len(plain)), "base", z)
    losses = functional.cross_entropy(logits.flatten(0, 1), plain.y.flatten(), reduction="none")
    return losses.view(len(plain), -1).mean(1)
