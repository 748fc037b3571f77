"""Second-order MAML on one meta-batch, in terms that every library has."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from metaviz.meta.tasks import TaskBatch
from metaviz.nets.base import Net
from metaviz.nets.conv4 import BLOCKS, Conv4
from metaviz.nets.layout import Layout
from metaviz.nets.mlp import MLP
from metaviz.nets.normalisation import Norm

Loss = Callable[[Tensor, Tensor], Tensor]
MakeModule = Callable[[], nn.Module]


@dataclass(frozen=True)
class Exercise:
    """What is to be adapted to which tasks, and how.

    `weights` (P,) are those to start from, as `layout` reads them; `make_module` makes a module of
    PyTorch with the same tensors in the same order. `loss` takes outputs and targets of one task.
    """

    make_module: MakeModule
    layout: Layout
    weights: Tensor
    tasks: TaskBatch
    loss: Loss
    rate: float
    steps: int
    outer_rate: float = 1e-3

    def module(self, dtype: torch.dtype) -> nn.Module:
        """Return a module that holds the weights."""
        module = self.make_module().to(self.tasks.support.x.device, dtype)
        named = self.layout.split(self.weights.detach().to(self.tasks.support.x.device, dtype))
        with torch.no_grad():
            for mine, given in zip(module.parameters(), named.values(), strict=True):
                mine.copy_(given)
        return module


def counterpart(net: Net) -> MakeModule | None:
    """Return what makes the module of PyTorch that computes the same as a network of ours.

    None where there is none, as for networks that do not normalise by the batch at hand.
    """
    if isinstance(net, MLP):
        return lambda: _perceptron(net)
    plain = Norm()
    if isinstance(net, Conv4) and net.pooling == "max" and net.norm == plain:
        return lambda: _convolutional(net)
    return None


def _perceptron(net: MLP) -> nn.Module:
    between = nn.Tanh if net.activation is torch.tanh else nn.ReLU
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(net.widths):
        layers += [nn.Linear(fan_in, fan_out), between()]
    return nn.Sequential(*layers[:-1])


def _convolutional(net: Conv4) -> nn.Module:
    shapes = dict(net.layout.shapes)
    layers: list[nn.Module] = []
    for block in range(1, BLOCKS + 1):
        outputs, inputs = shapes[f"conv{block}.weight"][:2]
        norm = nn.BatchNorm2d(outputs, net.norm.eps, track_running_stats=False)
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), norm, nn.ReLU(), nn.MaxPool2d(2)]
    ways, features = shapes["head.weight"]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, ways))
