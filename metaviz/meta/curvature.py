"""The curvature of a loss by the weights of each layer, as Kronecker products (K-FAC)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from metaviz.config.options import OptionError
from metaviz.meta.learner import Learner
from metaviz.meta.tasks import Batch
from metaviz.nets.base import Net, Tap, Tapped
from metaviz.nets.layout import Weights


@dataclass(frozen=True)
class Factor:
    """The Fisher matrix of a layer's weights, for one example: A (x) G, in float64.

    Shapes: inputs A (tasks, i, i), where a layer with a bias has 1 as its last input; outputs G
    (tasks, o, o). Source: Martens & Grosse 2015; of convolutions Grosse & Martens 2016.
    """

    name: str
    inputs: Tensor
    outputs: Tensor


def tapped(net: Net, method: str) -> Tapped:
    """Return a network that tells of its layers. Raises: OptionError for others."""
    if isinstance(net, Tapped):
        return net
    raise OptionError(
        method,
        f"{method} needs what goes in and out of each layer, which {type(net).__name__} does not "
        "tell: choose a fully connected network or Conv4.",
    )


def kronecker_factors(
    learner: Learner, weights: Weights, batch: Batch, *, classes: bool
) -> list[Factor]:
    """Return the Fisher factors of each layer that adapts, means over the examples of a batch.

    Of the distribution that the outputs stand for: classes by their softmax, else normal with
    variance 1. A convolution sums over places in A and takes their mean in G. Scales and shifts of
    normalisation have none. Where examples meet in normalisation, outputs are differentiated as a
    sum. Differentiable where the weights are.
    """
    net, batch = tapped(learner.net, "llama"), batch.at(0)
    graph = torch.is_grad_enabled() and isinstance(weights, Tensor) and weights.requires_grad
    if isinstance(weights, Tensor) and not graph:
        weights = weights.detach().requires_grad_()
    with torch.enable_grad():
        every = list(net.layers(weights, batch.x, batch.beside))
        taps = [tap for tap in every if f"{tap.name}.weight" not in learner.held]
        outputs = every[-1].outputs
        roots = _softmax_roots(outputs) if classes else _unit_roots(outputs)
        wanted = [tap.outputs for tap in taps]
        slopes = [
            torch.autograd.grad(outputs, wanted, root, create_graph=graph, retain_graph=True)
            for root in roots
        ]
        found = [
            Factor(tap.name, input_factor(tap), _output_factor(tap, [one[n] for one in slopes]))
            for n, tap in enumerate(taps)
        ]
    if graph:
        return found
    return [Factor(one.name, one.inputs.detach(), one.outputs.detach()) for one in found]


def _unit_roots(outputs: Tensor) -> list[Tensor]:
    """Return the unit vectors at every output: their products with themselves sum to 1."""
    basis = torch.eye(outputs.shape[2], dtype=outputs.dtype, device=outputs.device)
    return [row.expand_as(outputs) for row in basis]


def _softmax_roots(outputs: Tensor) -> list[Tensor]:
    """Return sqrt(p_c) (e_c - p) of each class c: the products sum to diag(p) - p p'."""
    logs = torch.log_softmax(outputs, 2)
    p, basis = logs.exp(), _unit_roots(outputs)
    return [(logs[..., c : c + 1] / 2).exp() * (basis[c] - p) for c in range(outputs.shape[2])]


def input_factor(tap: Tap) -> Tensor:
    """Return A: the mean over examples of the sum over places of a a', (tasks, i, i)."""
    a = tap.inputs
    if tap.bias:
        a = torch.cat([a, torch.ones_like(a[..., :1])], 3)
    examples, flat = a.shape[1], a.flatten(1, 2)
    return (flat.mT @ flat).double() / examples


def _output_factor(tap: Tap, slopes: Sequence[Tensor]) -> Tensor:
    """Return G: the mean over examples and places of the sum of g g', (tasks, o, o)."""
    total = None
    for slope in slopes:
        g = tap.arranged(slope).flatten(1, 2)
        product = (g.mT @ g).double() / g.shape[1]
        total = product if total is None else total + product
    if total is None:
        raise ValueError("A network without outputs has no curvature.")
    return total


def information(factors: Sequence[Factor], count: float, prior: float) -> Tensor:
    """Return log det(count A (x) G + prior) less that of the prior alone, in nats, (tasks,).

    `count` is the number of examples over the variance of the noise, `prior` the precision of each
    weight before them. Eigenvalues are differentiable where some are equal, too; those below 0 by
    rounding count as 0. NaN for tasks whose factors are not finite.
    """
    parts = []
    for factor in factors:
        a, g = (_eigenvalues(one) for one in (factor.inputs, factor.outputs))
        parts.append(torch.log1p(count / prior * a.unsqueeze(2) * g.unsqueeze(1)).sum((1, 2)))
    return torch.stack(parts).sum(0)


def _eigenvalues(matrices: Tensor) -> Tensor:
    """Return eigenvalues (tasks, i), those below 0 as 0; NaN where a matrix is not finite."""
    finite = matrices.isfinite().all(2).all(1)
    known = torch.where(finite[:, None, None], matrices, torch.zeros_like(matrices))
    found: Tensor = torch.linalg.eigvalsh(known).clamp_min(0)
    return torch.where(finite[:, None], found, torch.nan)


def last_layer_variance(known: Tap, asked: Tap, count: float, prior: float) -> Tensor:
    """Return the variance of predictions by the last layer's posterior, (tasks, n, 1).

    `known` is the layer at the examples that are known, `asked` at those that are predicted. The
    Fisher matrix of a last layer with normal outputs is exact. Source: Laplace's approximation.
    """
    a = input_factor(known)
    eye = torch.eye(a.shape[1], dtype=a.dtype, device=a.device)
    at = asked.inputs.squeeze(2).double()
    if asked.bias:
        at = torch.cat([at, torch.ones_like(at[..., :1])], 2)
    solved = torch.linalg.solve(count * a + prior * eye, at.mT).mT
    found: Tensor = (at * solved).sum(2, keepdim=True).to(asked.inputs.dtype)
    return found
